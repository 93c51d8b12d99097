/**
 * The available ring as its device reads it: heads are fetched from it once, and chains of one buffer are told apart
 * from others many at a time.
 *
 * @module
 */
import type { Region } from "../../core/address_space.ts";
import { add16, distance16 } from "../../core/index.ts";
import type { DescriptorSnapshots } from "./descriptor_snapshots.ts";
import { DESCRIPTOR_STATE, type DescriptorStates } from "./descriptor_states.ts";
import type { DeviceRing } from "./device_ring.ts";
import { vring_avail, vring_desc } from "./layout.ts";

const DESC_SIZE = vring_desc.size;
const DESC_ADDR = vring_desc.offsetOf("addr");
const DESC_LEN = vring_desc.offsetOf("len");
const DESC_FLAGS = vring_desc.offsetOf("flags");
const AVAIL_RING = vring_avail.offsetOf("ring[]");
const AVAIL_STRIDE = vring_avail.stride;
const HEAD = DESCRIPTOR_STATE.head;

/** See the module. */
export class DeviceAvailable {
  /** Heads fetched, by slot. */
  heads: Uint16Array = new Uint16Array(0);
  /** Where the buffers of plain chains lie in their region's memory, by slot. */
  offsets: Int32Array = new Int32Array(0);
  /** How long they are, by slot. */
  sizes: Int32Array = new Int32Array(0);
  /** Index of the next chain to take. */
  next = 0;
  /** Up to where heads have been fetched. */
  fetched = 0;
  /** Up to where chains are known to be plain: one buffer of one kind in one region. */
  ahead = 0;
  /** Chains taken, less those put back. */
  taken = 0;
  /** Chains up to this number have been counted, although some were put back. */
  counted = 0;
  readonly #ring: DeviceRing;
  readonly #states: DescriptorStates;
  readonly #snapshots: DescriptorSnapshots | undefined;
  #mask = 0;

  /** Takes over a ring, not yet started, and what is known of its descriptors. */
  constructor(ring: DeviceRing, states: DescriptorStates, snapshots: DescriptorSnapshots | undefined) {
    this.#ring = ring;
    this.#states = states;
    this.#snapshots = snapshots;
  }

  /** Begins at this index. */
  start(index: number): void {
    const { size, mask } = this.#ring;
    this.#mask = mask;
    this.heads = new Uint16Array(size);
    this.offsets = new Int32Array(size);
    this.sizes = new Int32Array(size);
    this.counted = 0;
    this.next = this.fetched = this.ahead = index;
  }

  /** Reads avail.idx, and checks that it did not go back, and that there are not more chains than descriptors. */
  #readIdx(): number {
    const ring = this.#ring;
    const idx = ring.loadAvailIdx();
    const { size } = ring;
    const { next, fetched } = this;
    if (distance16(idx, fetched) > size - distance16(fetched, next)) {
      ring.fault("avail-idx-jump", next, { idx, size });
    }
    return idx;
  }

  /**
   * Takes over the heads that the driver has made available since, each read once into memory of our own.
   *
   * @returns Whether there is anything.
   * @throws {RingFault} If the driver broke a rule.
   */
  fetch(): boolean {
    const idx = this.#readIdx();
    if (idx === this.fetched) return idx !== this.next;
    const states = this.#states;
    const view = this.#ring.availView;
    const ring = this.#ring.avail + AVAIL_RING;
    const { mask } = this.#ring;
    for (let at = this.fetched; at !== idx; at = add16(at, 1)) {
      const head = view.getUint16(ring + (at & mask) * AVAIL_STRIDE, true);
      if (states.isBad(head)) states.faultHead(at, head);
      states.states[head] = HEAD;
      this.heads[at & mask] = head;
    }
    if (this.#snapshots !== undefined) {
      for (let at = this.fetched; at !== idx; at = add16(at, 1)) this.#snapshots.take(this.heads[at & mask]!);
    }
    this.fetched = idx;
    return idx !== this.next;
  }

  /**
   * Looks ahead: as most chains are one buffer of one kind in one region, it notes where each such buffer lies, up to
   * the first chain that is anything else. Returns whether the next chain is among them.
   */
  #lookAhead(kind: number, region: Region): boolean {
    const { next } = this;
    // Either all chains have been fetched before, or none.
    const fresh = next === this.fetched;
    const last = fresh ? this.#readIdx() : this.fetched;
    if (next === last) return false;
    const { first, last: limit, high: upper, shift } = region;
    // The upper halves of addresses differ, or descriptors are watched: one by one, then.
    if (upper < 0 || this.#snapshots !== undefined) return false;
    const { size, mask, strict, availView, descView: view, desc: table } = this.#ring;
    const ring = this.#ring.avail + AVAIL_RING;
    const { states, round, ordered } = this.#states;
    const { heads, offsets, sizes } = this;
    let { expected } = this.#states;
    let odd = 0;
    let at = next;
    for (; at !== last; at = (at + 1) & 0xffff) {
      const slot = at & mask;
      let head: number;
      if (fresh === true) {
        head = availView.getUint16((ring + slot * AVAIL_STRIDE) | 0, true);
        if (head >= size) this.#states.faultHead(at, head);
        if (strict === true && states[head]! >= round) this.#states.faultHead(at, head);
        states[head] = HEAD;
        heads[slot] = head;
      } else {
        head = heads[slot]!;
      }
      odd = 1;
      if (ordered === true && head !== expected) break;
      const desc = (table + head * DESC_SIZE) | 0;
      // Addresses as whole numbers would be floats for the engine: all this is done with integers.
      const length = view.getInt32((desc + DESC_LEN) | 0, true);
      const offset = (view.getInt32((desc + DESC_ADDR) | 0, true) + shift) | 0;
      if (view.getInt32((desc + DESC_ADDR + 4) | 0, true) !== upper || offset < first) break;
      if (view.getUint16((desc + DESC_FLAGS) | 0, true) !== kind) break;
      if (length <= 0 || length > ((limit - offset) | 0)) break;
      offsets[slot] = offset;
      sizes[slot] = length;
      expected = (expected + 1) & mask;
      odd = 0;
    }
    if (ordered === true) this.#states.expected = expected;
    this.ahead = at;
    if (fresh) this.fetched = (at + odd) & 0xffff;
    return at !== next;
  }

  /**
   * How many chains, from the next one on, are known to be one buffer of this kind (0 or `VRING_DESC_F_WRITE`) in this
   * region. If none are, it looks.
   *
   * @throws {RingFault} If the driver broke a rule.
   */
  plainAhead(kind: number, region: Region): number {
    if (this.next === this.ahead && !this.#lookAhead(kind, region)) return 0;
    return distance16(this.ahead, this.next);
  }

  /** Takes the next chain if it is one of those. Returns its slot; or -1. */
  takePlain(kind: number, region: Region): number {
    const { next } = this;
    if (next === this.ahead && !this.#lookAhead(kind, region)) return -1;
    this.next = (next + 1) & 0xffff;
    this.taken++;
    return next & this.#mask;
  }

  /** Takes the next chains, which are known to be plain. */
  take(count: number): void {
    this.next = add16(this.next, count);
    this.taken += count;
  }

  /** Takes the next chain, which is fetched, whatever it is. */
  takeAny(): void {
    this.next = this.ahead = (this.next + 1) & 0xffff;
    this.taken++;
  }

  /** Puts the last `chains` chains back. */
  putBack(chains: number): void {
    this.next = add16(this.next, -chains);
    this.counted = Math.max(this.counted, this.taken);
    this.taken -= chains;
    this.forgetAhead();
  }

  /** What was seen ahead does not hold any more. */
  forgetAhead(): void {
    this.ahead = this.next;
    this.#states.expected = this.heads[this.next & this.#mask]!;
  }
}
