/**
 * The available ring as its driver writes it: one chain after the other, or many of one buffer each in one loop.
 *
 * @module
 */
import type { Region } from "../../core/address_space.ts";
import type { Allocation } from "../../core/dma_memory.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { distance16, needEvent16 } from "../../core/index.ts";
import type { Memory } from "../../core/memory.ts";
import { CHAIN_STATE, type DriverDescriptors } from "./driver_descriptors.ts";
import type { DriverRing } from "./driver_ring.ts";
import { virtio_net_hdr_v1, vring_avail, vring_desc, VRING_DESC_F_WRITE } from "./layout.ts";

const DESC_SIZE = vring_desc.size;
const DESC_ADDR = vring_desc.offsetOf("addr");
const DESC_LEN = vring_desc.offsetOf("len");
const DESC_FLAGS = vring_desc.offsetOf("flags");
const AVAIL_RING = vring_avail.offsetOf("ring[]");
const AVAIL_STRIDE = vring_avail.stride;
const WRITE = VRING_DESC_F_WRITE;
const UPPER_HALF = 2 ** -32;
/** `next` as it stands in one word with `flags`. */
const NEXT_SHIFT = 8 * (vring_desc.offsetOf("next") - DESC_FLAGS);
const SHORT_HEADER = virtio_net_hdr_v1.size;
const PLAIN = CHAIN_STATE.plain;
const OTHER = CHAIN_STATE.other;

/** See the module. */
export class DriverAvailable {
  /** Index that the next chain gets. */
  index = 0;
  /** What the device has been shown. */
  published = 0;
  /** Heads in the order they were made available: only with IN_ORDER. */
  readonly order: Uint16Array;
  /** Chains published. */
  chains = 0;
  /** Times that the device wanted a kick. */
  kicks = 0;
  /** Times that it wanted none. */
  kicksSuppressed = 0;
  readonly #ring: DriverRing;
  readonly #descriptors: DriverDescriptors;

  /** Takes over a ring and its descriptors. */
  constructor(ring: DriverRing, descriptors: DriverDescriptors) {
    this.#ring = ring;
    this.#descriptors = descriptors;
    this.order = new Uint16Array(ring.inOrder ? ring.size : 0);
  }

  /** Puts a chain into the ring. */
  push(head: number): void {
    const ring = this.#ring;
    const slot = this.index & ring.mask;
    ring.view.setUint16(ring.avail + AVAIL_RING + slot * AVAIL_STRIDE, head, true);
    if (ring.inOrder) this.order[slot] = head;
    this.index = (this.index + 1) & 0xffff;
  }

  /** Adds chains of one readable buffer each: see {@linkcode DriverQueue.addFrames}. */
  addFrames(
    frames: FrameBatch,
    memory: Memory,
    from: number,
    headerLength: number,
    region: Region,
    longest: number,
  ): number {
    const { shift, high, last } = region;
    // The upper halves of addresses differ: one by one, then.
    if (high < 0) return from;
    const first = region.first + headerLength;
    const long = headerLength > SHORT_HEADER;
    const { offsets, lengths } = frames;
    const { view: buffers } = memory;
    const { view, desc: table, mask, inOrder } = this.#ring;
    const ring = this.#ring.avail + AVAIL_RING;
    const { order } = this;
    const descriptors = this.#descriptors;
    const { links, out } = descriptors;
    const end = Math.min(frames.count, from + descriptors.free);
    let head = descriptors.freeHead;
    let { index } = this;
    let i = from;
    for (; i < end; i++) {
      const offset = offsets[i]!;
      const length = lengths[i]!;
      if (length > longest || offset < first || length > last - offset) break;
      const start = (offset - headerLength) | 0;
      buffers.setInt32(start, 0);
      buffers.setInt32((start + 4) | 0, 0);
      buffers.setInt32((offset - 4) | 0, 0);
      if (long === true) {
        buffers.setInt32((start + 8) | 0, 0);
        buffers.setInt32((start + 12) | 0, 0);
      }
      const next = links[head]!;
      const at = (table + head * DESC_SIZE) | 0;
      view.setInt32((at + DESC_ADDR) | 0, (start - shift) | 0, true);
      view.setInt32((at + DESC_ADDR + 4) | 0, high, true);
      view.setInt32((at + DESC_LEN) | 0, (headerLength + length) | 0, true);
      view.setInt32((at + DESC_FLAGS) | 0, next << NEXT_SHIFT, true);
      out[head] = PLAIN;
      const slot = index & mask;
      view.setInt16((ring + slot * AVAIL_STRIDE) | 0, head, true);
      if (inOrder === true) order[slot] = head;
      index = (index + 1) & 0xffff;
      head = next;
    }
    this.index = index;
    descriptors.freeHead = head;
    descriptors.free -= i - from;
    descriptors.written += i - from;
    return i;
  }

  /** Adds chains of one writable buffer each: see {@linkcode DriverQueue.addBuffers}. */
  addBuffers(area: Allocation, length: number, stride: number, count: number, places: Int32Array): void {
    const { view, desc: table, mask, inOrder } = this.#ring;
    const ring = this.#ring.avail + AVAIL_RING;
    const { order } = this;
    const descriptors = this.#descriptors;
    const { links, out, writable } = descriptors;
    let head = descriptors.freeHead;
    let { index } = this;
    for (let i = 0; i < count; i++) {
      const next = links[head]!;
      const at = table + head * DESC_SIZE;
      const start = area.address + i * stride;
      view.setUint32(at + DESC_ADDR, start, true);
      view.setUint32(at + DESC_ADDR + 4, start * UPPER_HALF, true);
      view.setUint32(at + DESC_LEN, length, true);
      view.setInt32(at + DESC_FLAGS, WRITE | next << NEXT_SHIFT, true);
      out[head] = OTHER;
      writable[head] = length;
      places[head] = area.offset + i * stride;
      const slot = index & mask;
      view.setUint16(ring + slot * AVAIL_STRIDE, head, true);
      if (inOrder) order[slot] = head;
      index = (index + 1) & 0xffff;
      head = next;
    }
    this.index = index;
    descriptors.freeHead = head;
    descriptors.free -= count;
    descriptors.written += count;
  }

  /** Makes used chains available again, as they are: not with IN_ORDER. */
  repostAll(heads: Uint16Array, count: number): void {
    const { view, mask } = this.#ring;
    const ring = this.#ring.avail + AVAIL_RING;
    const { out } = this.#descriptors;
    let { index } = this;
    for (let i = 0; i < count; i++) {
      const head = heads[i]!;
      view.setInt16((ring + (index & mask) * AVAIL_STRIDE) | 0, head, true);
      out[head] = OTHER;
      index = (index + 1) & 0xffff;
    }
    this.index = index;
  }

  /**
   * Shows the device what was added.
   *
   * @param at Index of the used element that a fault is to name.
   * @returns Whether it wants a kick.
   * @throws {RingFault} If the device's flags are bad.
   */
  publish(at: number): boolean {
    const idx = this.index;
    const old = this.published;
    if (idx === old) return false;
    const ring = this.#ring;
    if (ring.broken) throw ring.broken;
    ring.storeAvailIdx(idx);
    this.published = idx;
    this.chains += distance16(idx, old);
    const flagged = ring.wantsKicks(at);
    const wanted = ring.eventIdx ? needEvent16(ring.loadAvailEvent(), idx, old) : flagged;
    if (wanted) this.kicks++;
    else this.kicksSuppressed++;
    return wanted;
  }
}
