/**
 * The used ring as its driver reads it: each element is read once and checked, one after the other or many in one loop.
 *
 * @module
 */
import { BATCH_SIZE, type FrameBatch } from "../../core/frame_batch.ts";
import { add16, distance16 } from "../../core/index.ts";
import type { Memory } from "../../core/memory.ts";
import type { DriverAvailable } from "./driver_available.ts";
import { CHAIN_STATE, type DriverDescriptors } from "./driver_descriptors.ts";
import type { DriverRing } from "./driver_ring.ts";
import { virtio_net_hdr_v1, vring_used, vring_used_elem } from "./layout.ts";

const USED_ID = vring_used.offsetOf("ring[].id");
const USED_LEN = vring_used.offsetOf("ring[].len");
const USED_STRIDE = vring_used_elem.size;
/** `flags` and `gso_type`, its neighbour: a header that says nothing about its frame has zeros there. */
const HDR_HINTS = virtio_net_hdr_v1.offsetOf("flags");
const NUM_BUFFERS = virtio_net_hdr_v1.offsetOf("num_buffers");
const PLAIN = CHAIN_STATE.plain;
const BATCH = BATCH_SIZE;

/** See the module. */
export class DriverUsed {
  /** Head of the chain taken last; or of the one that {@linkcode takeFrames} met, if not negative. */
  head = 0;
  /** Bytes that the device wrote into it. */
  length = 0;
  /** Index of the next element to take. */
  taken = 0;
  /** used.idx as it was read last. */
  known = 0;
  readonly #ring: DriverRing;
  readonly #descriptors: DriverDescriptors;
  readonly #available: DriverAvailable;
  /** Last head of the batch that one used element stood for, and what was written into that chain; negative: none. */
  #batchEnd = -1;
  #batchLength = 0;

  /** Takes over a ring, its descriptors and what has been made available. */
  constructor(ring: DriverRing, descriptors: DriverDescriptors, available: DriverAvailable) {
    this.#ring = ring;
    this.#descriptors = descriptors;
    this.#available = available;
  }

  /** Whether elements wait; reads the index if none are known. */
  #waiting(): boolean {
    const ring = this.#ring;
    if (ring.broken) throw ring.broken;
    const { taken } = this;
    if (taken !== this.known) return true;
    const idx = ring.loadUsedIdx();
    if (idx === taken) return false;
    const outstanding = distance16(this.#available.published, taken);
    if (distance16(idx, taken) > outstanding) ring.fault("used-idx-jump", taken, { idx, outstanding });
    this.known = idx;
    return true;
  }

  /**
   * Takes the next used chain: it stands in `head` and `length`.
   *
   * @returns False if there is none.
   * @throws {RingFault} If the device broke a rule.
   */
  next(): boolean {
    if (!this.#waiting()) return false;
    const { mask, view, used } = this.#ring;
    const slot = this.taken & mask;
    const head = this.#available.order[slot]!;
    if (this.#batchEnd < 0) {
      const at = used + slot * USED_STRIDE;
      this.#accept(view.getUint32(at + USED_ID, true), view.getUint32(at + USED_LEN, true));
    } else if (head === this.#batchEnd) {
      this.#hand(head, this.#batchLength);
      this.#batchEnd = -1;
    } else {
      this.#hand(head, this.#descriptors.writable[head]!);
    }
    return true;
  }

  /**
   * Takes the element that was read from the next slot, after a look at it. With IN_ORDER it may stand for a batch: its
   * id is the batch's last head (virtio 1.4, 2.7.7.1), and the buffers before it count as used to the full.
   */
  #accept(id: number, length: number): void {
    const ring = this.#ring;
    const { taken } = this;
    const { size, mask } = ring;
    const { out, writable } = this.#descriptors;
    const { order } = this.#available;
    if (id >= size) ring.fault("used-id-out-of-range", taken, { id, size });
    if (out[id] === 0) ring.fault("used-id-not-outstanding", taken, { id });
    const most = writable[id]!;
    if (length > most) ring.fault("used-length", taken, { id, length, writable: most });
    const first = order[taken & mask]!;
    if (!ring.inOrder || first === id) {
      this.#hand(id, length);
      return;
    }
    for (let at = add16(taken, 1);; at = add16(at, 1)) {
      if (at === this.known) ring.fault("used-out-of-order", taken, { id, expected: first });
      if (order[at & mask] === id) break;
    }
    this.#batchEnd = id;
    this.#batchLength = length;
    this.#hand(first, writable[first]!);
  }

  /** The next used chain is this one. */
  #hand(head: number, length: number): void {
    this.#descriptors.out[head] = 0;
    this.head = head;
    this.length = length;
    this.taken = add16(this.taken, 1);
  }

  /**
   * Takes all used chains and frees their descriptors.
   *
   * @returns How many there were.
   * @throws {RingFault} If the device broke a rule.
   */
  releaseAll(): number {
    let chains = 0;
    if (!this.#ring.inOrder) { while (this.#waiting()) chains += this.#releasePlain(); }
    for (; this.next(); chains++) this.#descriptors.release(this.head);
    return chains;
  }

  /**
   * Frees used chains of one buffer that was only read, one after the other. If it meets another, it frees that and
   * ends.
   */
  #releasePlain(): number {
    const { view, used: ring, mask, size } = this.#ring;
    const descriptors = this.#descriptors;
    const { out, links } = descriptors;
    const last = this.known;
    const first = this.taken;
    let free = descriptors.freeHead;
    let at = first;
    let id = 0;
    let length = 0;
    for (; at !== last; at = (at + 1) & 0xffff) {
      const element = (ring + (at & mask) * USED_STRIDE) | 0;
      id = view.getInt32((element + USED_ID) | 0, true);
      length = view.getInt32((element + USED_LEN) | 0, true);
      if (id < 0 || id >= size || out[id] !== PLAIN || length !== 0) break;
      out[id] = 0;
      links[id] = free;
      free = id;
    }
    const chains = distance16(at, first);
    descriptors.free += chains;
    descriptors.freeHead = free;
    this.taken = at;
    if (at === last) return chains;
    this.#accept(id >>> 0, length >>> 0);
    descriptors.release(this.head);
    return chains + 1;
  }

  /** Takes used chains of one buffer that hold a whole frame: see {@linkcode DriverQueue.takeFrames}. */
  takeFrames(
    frames: FrameBatch,
    heads: Uint16Array,
    memory: Memory,
    buffers: Int32Array,
    headerLength: number,
    mergeable: boolean,
  ): void {
    frames.count = 0;
    this.head = -1;
    if (this.#batchEnd >= 0) this.next();
    if (this.head >= 0 || !this.#waiting()) return;
    const { offsets, lengths } = frames;
    const { view: bufferView } = memory;
    const { view, used: ring, mask, size, inOrder } = this.#ring;
    const { out, writable } = this.#descriptors;
    const { order } = this.#available;
    const last = this.known;
    let at = this.taken;
    let count = 0;
    let id = 0;
    let length = 0;
    for (; at !== last && count < BATCH; at = (at + 1) & 0xffff) {
      const slot = at & mask;
      const element = (ring + slot * USED_STRIDE) | 0;
      id = view.getInt32((element + USED_ID) | 0, true);
      length = view.getInt32((element + USED_LEN) | 0, true);
      // As whole numbers of 32 bits: what does not compare well like that is left to the code behind the loop.
      if (id < 0 || id >= size || out[id] === 0 || length < headerLength || length > (writable[id]! | 0)) {
        break;
      }
      const start = buffers[id]!;
      if (bufferView.getUint16((start + HDR_HINTS) | 0, true) !== 0) break;
      if (mergeable === true && bufferView.getUint16((start + NUM_BUFFERS) | 0, true) !== 1) break;
      if (inOrder === true && order[slot] !== id) break;
      out[id] = 0;
      heads[count] = id;
      offsets[count] = (start + headerLength) | 0;
      lengths[count] = (length - headerLength) | 0;
      count++;
    }
    frames.count = count;
    this.taken = at;
    if (at !== last && count < BATCH) this.#accept(id >>> 0, length >>> 0);
  }
}
