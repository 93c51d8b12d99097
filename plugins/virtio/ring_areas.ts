/**
 * Where the three parts of a split virtqueue lie.
 *
 * @module
 */
import { alignUp } from "../../core/index.ts";
import { vring_avail, vring_desc, vring_used } from "./layout.ts";

/** Alignment of the descriptor table, available ring and used ring: virtio 1.4, 2.7. */
export const DESC_ALIGN: number = 16;
/** See {@linkcode DESC_ALIGN}. */
export const AVAIL_ALIGN: number = 2;
/** See {@linkcode DESC_ALIGN}. */
export const USED_ALIGN: number = 4;
/** Alignment of the used ring in the legacy layout of virtio-pci, and the unit of its page frame number. */
export const LEGACY_ALIGN: number = 4096;

/** Addresses of the three parts. */
export interface RingAddresses {
  /** Descriptor table ("descriptor area"). */
  readonly desc: number;
  /** Available ring ("driver area"). */
  readonly driver: number;
  /** Used ring ("device area"). */
  readonly device: number;
}

/** Bytes of a descriptor table: 16q. */
export function descBytes(size: number): number {
  return vring_desc.size * size;
}

/** Bytes of an available ring, used_event included: 6 + 2q. */
export function availBytes(size: number): number {
  return vring_avail.size + vring_avail.stride * size;
}

/** Bytes of a used ring, avail_event included: 6 + 8q (see {@linkcode vring_used} about 6 + 4q). */
export function usedBytes(size: number): number {
  return vring_used.size + vring_used.stride * size;
}

/** Where the parts lie in the one contiguous area of the legacy layout. */
export interface LegacyLayout {
  /** Offset of the available ring. */
  readonly avail: number;
  /** Offset of the used ring. */
  readonly used: number;
  /** Bytes to its end: `vring_size()` of linux/virtio_ring.h. */
  readonly size: number;
  /** Bytes in whole units of the alignment, as the specification allots them. */
  readonly total: number;
}

/** The legacy layout: virtio 1.4, 2.7.2. */
export function legacyLayout(size: number, align: number = LEGACY_ALIGN): LegacyLayout {
  const avail = descBytes(size);
  const used = alignUp(avail + availBytes(size), align);
  const end = used + usedBytes(size);
  return { avail, used, size: end, total: used + alignUp(usedBytes(size), align) };
}

/** Bytes and padding of a queue's parts in both layouts, to compare them. */
export interface RingFootprint {
  /** Bytes of the three parts. */
  readonly bytes: number;
  /** Padding if they are allocated one behind the other, each aligned as it must be. */
  readonly flexiblePadding: number;
  /** Padding in the legacy layout's whole pages. */
  readonly legacyPadding: number;
}

/** What a queue of `size` entries takes. */
export function ringFootprint(size: number): RingFootprint {
  const bytes = descBytes(size) + availBytes(size) + usedBytes(size);
  const used = alignUp(alignUp(descBytes(size), AVAIL_ALIGN) + availBytes(size), USED_ALIGN);
  const flexible = alignUp(used + usedBytes(size), DESC_ALIGN);
  return { bytes, flexiblePadding: flexible - bytes, legacyPadding: legacyLayout(size).total - bytes };
}
