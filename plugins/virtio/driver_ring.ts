/**
 * The memory of one split virtqueue as its driver lays it out: where the three parts lie, and the indices and flags in
 * them.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import { RingFault } from "../../core/fault.ts";
import type { DriverFaultCode } from "./faults.ts";
import { hasFeature } from "./features.ts";
import { vring_avail, VRING_AVAIL_F_NO_INTERRUPT, vring_used, VRING_USED_F_NO_NOTIFY } from "./layout.ts";
import {
  AVAIL_ALIGN,
  availBytes,
  DESC_ALIGN,
  descBytes,
  LEGACY_ALIGN,
  legacyLayout,
  type RingAddresses,
  USED_ALIGN,
  usedBytes,
} from "./ring_areas.ts";

const AVAIL_FLAGS = vring_avail.offsetOf("flags");
const AVAIL_IDX = vring_avail.offsetOf("idx");
/** Counted back from the end of the ring. */
const USED_EVENT = vring_avail.offsetOf("used_event");
const USED_FLAGS = vring_used.offsetOf("flags");
const USED_IDX = vring_used.offsetOf("idx");
/** Counted back from the end of the ring. */
const AVAIL_EVENT = vring_used.offsetOf("avail_event");
const NO_INTERRUPT = VRING_AVAIL_F_NO_INTERRUPT;
const NO_NOTIFY = VRING_USED_F_NO_NOTIFY;

/** How a {@linkcode DriverRing} is laid out. */
export interface DriverRingOptions {
  /** Number of entries: a power of two. */
  readonly size: number;
  /** Whether the parts lie in one contiguous area as legacy devices want them. */
  readonly legacy: boolean;
  /** Negotiated feature bits. */
  readonly features: bigint;
  /** Alignment of the used ring, if more than it must have: a page, where the device may write to nothing else. */
  readonly usedAlign?: number;
}

/** Where the parts of a ring are. */
export interface RingPlace {
  /** Addresses of the three parts, for the device. */
  readonly areas: RingAddresses;
  /** The memory that they are in. */
  readonly view: DataView;
  /** Offset of the descriptor table there. */
  readonly desc: number;
  /** Offset of the available ring. */
  readonly avail: number;
  /** Offset of the used ring. */
  readonly used: number;
}

/** See the module. What reads or writes entries does so itself, through the view: it takes that over before its loop. */
export class DriverRing {
  /** For fault messages. */
  readonly name: string;
  /** Number of entries. */
  readonly size: number;
  /** One less: what makes a slot of an index. */
  readonly mask: number;
  /** Whether EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** Whether IN_ORDER was negotiated. */
  readonly inOrder: boolean;
  /** Addresses of the three parts, for the device. */
  readonly areas: RingAddresses;
  /** The memory that the parts are in. */
  readonly view: DataView;
  /** Offset of the descriptor table there. */
  readonly desc: number;
  /** Offset of the available ring. */
  readonly avail: number;
  /** Offset of the used ring. */
  readonly used: number;
  /** The fault that broke it, if one did. */
  broken: RingFault | undefined;
  readonly #usedEvent: number;
  readonly #availEvent: number;

  /** Begins with parts that are all zeros. */
  constructor(
    name: string,
    { size, features }: Pick<DriverRingOptions, "size" | "features">,
    place: RingPlace,
  ) {
    this.name = name;
    this.size = size;
    this.mask = size - 1;
    this.eventIdx = hasFeature(features, "EVENT_IDX");
    this.inOrder = hasFeature(features, "IN_ORDER");
    this.areas = place.areas;
    this.view = place.view;
    this.desc = place.desc;
    this.avail = place.avail;
    this.used = place.used;
    this.#usedEvent = this.avail + availBytes(size) + USED_EVENT;
    this.#availEvent = this.used + usedBytes(size) + AVAIL_EVENT;
  }

  /**
   * Raises a fault and breaks the ring.
   *
   * @throws {RingFault} Always.
   */
  fault(code: DriverFaultCode, index: number, values: Record<string, number | bigint | string> = {}): never {
    this.broken = new RingFault("driver", this.name, code, index, values);
    throw this.broken;
  }

  /** Writes avail.idx. */
  storeAvailIdx(idx: number): void {
    this.view.setUint16(this.avail + AVAIL_IDX, idx, true);
  }

  /** Reads used.idx. */
  loadUsedIdx(): number {
    return this.view.getUint16(this.used + USED_IDX, true);
  }

  /** Reads avail_event. */
  loadAvailEvent(): number {
    return this.view.getUint16(this.#availEvent, true);
  }

  /**
   * Whether the device's flags ask for kicks.
   *
   * @param at Index of the used element that a fault is to name.
   * @throws {RingFault} If there are unknown ones, or any with EVENT_IDX.
   */
  wantsKicks(at: number): boolean {
    const flags = this.view.getUint16(this.used + USED_FLAGS, true);
    if (flags & ~NO_NOTIFY || (this.eventIdx && flags !== 0)) this.fault("used-flags", at, { flags });
    return flags === 0;
  }

  /** Asks the device to interrupt when it writes the used element of this index. */
  enableInterrupts(index: number): void {
    if (this.eventIdx) this.view.setUint16(this.#usedEvent, index, true);
    else this.view.setUint16(this.avail + AVAIL_FLAGS, 0, true);
  }

  /** Asks the device not to interrupt: a hint. With EVENT_IDX the event index simply stays behind. */
  disableInterrupts(): void {
    if (!this.eventIdx) this.view.setUint16(this.avail + AVAIL_FLAGS, NO_INTERRUPT, true);
  }
}

/** Allocates and zeroes the parts. */
export function allocateRing(dma: DmaMemory, options: DriverRingOptions): RingPlace {
  const { size, legacy, usedAlign = USED_ALIGN } = options;
  const areas = legacy ? allocateLegacy(dma, size) : allocateFlexible(dma, size, usedAlign);
  return {
    areas,
    view: dma.memory.view,
    desc: dma.region.offsetOf(areas.desc),
    avail: dma.region.offsetOf(areas.driver),
    used: dma.region.offsetOf(areas.device),
  };
}

function allocateFlexible(dma: DmaMemory, size: number, usedAlign: number): RingAddresses {
  const desc = dma.allocate(descBytes(size), DESC_ALIGN);
  const avail = dma.allocate(availBytes(size), AVAIL_ALIGN);
  const used = dma.allocate(usedBytes(size), usedAlign);
  for (const part of [desc, avail, used]) dma.memory.bytes.fill(0, part.offset, part.offset + part.size);
  return { desc: desc.address, driver: avail.address, device: used.address };
}

function allocateLegacy(dma: DmaMemory, size: number): RingAddresses {
  const layout = legacyLayout(size);
  const area = dma.allocate(layout.total, LEGACY_ALIGN);
  dma.memory.bytes.fill(0, area.offset, area.offset + area.size);
  return { desc: area.address, driver: area.address + layout.avail, device: area.address + layout.used };
}
