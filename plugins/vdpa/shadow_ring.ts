/**
 * The hypervisor's ring of a shadow virtqueue: the driver's side of a split virtqueue that only ever has plain
 * descriptors, as a shadow ring does without indirect tables and IN_ORDER.
 *
 * Every chain carries a tag: the guest's head of the chain that it stands for. Chains of one buffer, which are nearly
 * all, go in and come back many at once. As with every driver, what must be relied on later (which chains are out, how
 * long they are) stands in memory of its own, and what the device writes is read once and checked.
 *
 * @module
 */
import type { Region } from "../../core/address_space.ts";
import { add16, distance16, needEvent16 } from "../../core/index.ts";
import type { Memory } from "../../core/memory.ts";
import type { DeviceQueue } from "../virtio/device_queue.ts";
import { DriverRing } from "../virtio/driver_ring.ts";
import {
  vring_avail,
  vring_desc,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  vring_used,
  vring_used_elem,
} from "../virtio/layout.ts";
import { availBytes, descBytes, type RingAddresses, usedBytes } from "../virtio/ring_areas.ts";

const DESC_SIZE = vring_desc.size;
const DESC_ADDR = vring_desc.offsetOf("addr");
const DESC_LEN = vring_desc.offsetOf("len");
const DESC_FLAGS = vring_desc.offsetOf("flags");
/** Where `next` stands in one 32-bit word with `flags`. */
const NEXT_SHIFT = (vring_desc.offsetOf("next") - DESC_FLAGS) * 8;
const AVAIL_RING = vring_avail.offsetOf("ring[]");
const AVAIL_STRIDE = vring_avail.stride;
const USED_ID = vring_used.offsetOf("ring[].id");
const USED_LEN = vring_used.offsetOf("ring[].len");
const USED_STRIDE = vring_used_elem.size;
const UPPER_HALF = 2 ** -32;

const MOST_WRITTEN = 2 ** 32 - 1;

/** A chain that is out is kept as one number, never 0: its tag, and above that how many descriptors it has. */
const TAG_MASK = 0xffff;
const COUNT_SHIFT = 16;
const ONE_DESCRIPTOR = 1 << COUNT_SHIFT;

/** What a {@linkcode ShadowRing} is made of. */
export interface ShadowRingOptions {
  /** For fault messages: `rx0`, `tx0`, `ctrl`. */
  readonly name: string;
  /** Entries: a power of two. */
  readonly size: number;
  /** Negotiated feature bits. */
  readonly features: bigint;
  /** Where the ring is: descriptor table and available ring from offset 0. */
  readonly memory: Memory;
  /** Offset of the used ring. */
  readonly used: number;
  /** The device's address of offset 0. */
  readonly iova: number;
}

/** See the module. */
export class ShadowRing {
  /** Entries. */
  readonly size: number;
  /** Addresses of the three parts, for the device. */
  readonly areas: RingAddresses;
  /** Descriptors not in use. */
  free: number;
  /** Tags of the chains that {@linkcode ShadowRing.collect} took, and how many bytes were written into each. */
  readonly usedTags: Uint16Array;
  readonly usedLengths: Uint32Array;
  /** Chains shown to the device. */
  chains = 0;
  /** Descriptors written. */
  descriptors = 0;

  readonly #ring: DriverRing;
  /** The free list and the links of chains: our own copy of `next`. */
  readonly #links: Uint16Array;
  /** The chain with each head, 0 if none is out. */
  readonly #out: Int32Array;
  /** Writable bytes of the chain with each head. */
  readonly #writable: Uint32Array;
  #freeHead = 0;
  #availIndex = 0;
  #published = 0;
  #lastUsed = 0;

  /** Begins with an empty ring. */
  constructor({ name, size, features, memory, used, iova }: ShadowRingOptions) {
    const avail = descBytes(size);
    this.size = this.free = size;
    this.areas = { desc: iova, driver: iova + avail, device: iova + used };
    this.#ring = new DriverRing(name, { size, features }, {
      areas: this.areas,
      view: memory.view,
      desc: 0,
      avail,
      used,
    });
    this.#links = Uint16Array.from({ length: size }, (_, i) => (i + 1) % size);
    this.#out = new Int32Array(size);
    this.#writable = new Uint32Array(size);
    this.usedTags = new Uint16Array(size);
    this.usedLengths = new Uint32Array(size);
    // Only the parts themselves: with large pages there is a lot between them.
    memory.bytes.fill(0, 0, avail + availBytes(size));
    memory.bytes.fill(0, used, used + usedBytes(size));
  }

  /** Chains that the device has, or has given back unseen. */
  get outstanding(): number {
    return distance16(this.#availIndex, this.#lastUsed);
  }

  /** Index that the next chain gets. */
  get availIndex(): number {
    return this.#availIndex;
  }

  /** Tags of the chains that are out, in no order. */
  get tags(): number[] {
    return [...this.#out].filter((chain) => chain !== 0).map((chain) => chain & TAG_MASK);
  }

  /**
   * Adds the next `count` chains of the guest, each of one buffer, as {@linkcode DeviceQueue.plainAhead} has told of
   * them. The caller has seen that so many descriptors are free.
   *
   * @param guest The guest's ring. Its chains are left to the caller to take.
   * @param count How many.
   * @param window The guest's region as the device sees it; it does not cross a multiple of 4 GiB.
   * @param flags 0 or `VRING_DESC_F_WRITE`, for all of them.
   */
  addPlain(guest: DeviceQueue, count: number, window: Region, flags: number): void {
    const { heads, offsets, sizes } = guest;
    const { high, shift } = window;
    const guestMask = guest.size - 1;
    const first = guest.availIndex;
    const { view, mask, avail } = this.#ring;
    const links = this.#links;
    const out = this.#out;
    const writable = this.#writable;
    const ring = avail + AVAIL_RING;
    const written = flags === 0 ? 0 : -1;
    let head = this.#freeHead;
    let index = this.#availIndex;
    for (let i = 0; i < count; i++) {
      const slot = (first + i) & guestMask;
      const length = sizes[slot]!;
      const at = (head * DESC_SIZE) | 0;
      const next = links[head]!;
      // Addresses as whole numbers would be floats for the engine.
      view.setInt32((at + DESC_ADDR) | 0, (offsets[slot]! - shift) | 0, true);
      view.setInt32((at + DESC_ADDR + 4) | 0, high, true);
      view.setInt32((at + DESC_LEN) | 0, length, true);
      view.setInt32((at + DESC_FLAGS) | 0, flags | next << NEXT_SHIFT, true);
      view.setInt16((ring + (index & mask) * AVAIL_STRIDE) | 0, head, true);
      out[head] = heads[slot]! | ONE_DESCRIPTOR;
      writable[head] = length & written;
      head = next;
      index = (index + 1) & 0xffff;
    }
    this.#freeHead = head;
    this.#availIndex = index;
    this.free -= count;
    this.descriptors += count;
  }

  /**
   * Adds a chain. The caller has seen that so many descriptors are free.
   *
   * @param addresses Where the buffers are, for the device.
   * @param lengths How long they are.
   * @param count How many there are, at least one.
   * @param readable How many of them, the first ones, the device only reads.
   * @param tag What comes back with it.
   */
  addChain(
    addresses: ArrayLike<number>,
    lengths: ArrayLike<number>,
    count: number,
    readable: number,
    tag: number,
  ): void {
    const { view, mask, avail } = this.#ring;
    const head = this.#freeHead;
    let next = head;
    let writable = 0;
    for (let i = 0; i < count; i++) {
      const at = next * DESC_SIZE;
      const flags = (i < readable ? 0 : VRING_DESC_F_WRITE) | (i < count - 1 ? VRING_DESC_F_NEXT : 0);
      next = this.#links[next]!;
      // A DataView keeps the low 32 bits of what it is given, and cuts off fractions.
      view.setUint32(at + DESC_ADDR, addresses[i]!, true);
      view.setUint32(at + DESC_ADDR + 4, addresses[i]! * UPPER_HALF, true);
      view.setUint32(at + DESC_LEN, lengths[i]!, true);
      view.setUint32(at + DESC_FLAGS, flags | next << NEXT_SHIFT, true);
      if (i >= readable) writable += lengths[i]!;
    }
    view.setUint16(avail + AVAIL_RING + (this.#availIndex & mask) * AVAIL_STRIDE, head, true);
    this.#out[head] = tag | count << COUNT_SHIFT;
    // A chain can hold one byte more than a used element can tell of.
    this.#writable[head] = Math.min(writable, MOST_WRITTEN);
    this.#freeHead = next;
    this.#availIndex = add16(this.#availIndex, 1);
    this.free -= count;
    this.descriptors += count;
  }

  /**
   * Shows the device what was added.
   *
   * @returns Whether it wants a kick.
   * @throws {RingFault} If the device's flags are bad.
   */
  publish(): boolean {
    const idx = this.#availIndex;
    const old = this.#published;
    if (idx === old) return false;
    const ring = this.#ring;
    if (ring.broken) throw ring.broken;
    ring.storeAvailIdx(idx);
    this.#published = idx;
    this.chains += distance16(idx, old);
    const wanted = ring.wantsKicks(this.#lastUsed);
    return ring.eventIdx ? needEvent16(ring.loadAvailEvent(), idx, old) : wanted;
  }

  /**
   * Takes all chains that the device has used, and frees their descriptors.
   *
   * @returns How many there were: their tags and lengths stand in `usedTags` and `usedLengths` from index 0 on.
   * @throws {RingFault} If the device broke a rule.
   */
  collect(): number {
    const ring = this.#ring;
    if (ring.broken) throw ring.broken;
    const idx = ring.loadUsedIdx();
    const last = this.#lastUsed;
    const count = distance16(idx, last);
    if (count === 0) return 0;
    const outstanding = distance16(this.#published, last);
    if (count > outstanding) ring.fault("used-idx-jump", last, { idx, outstanding });
    const { size, usedTags, usedLengths } = this;
    const { view, mask, used } = ring;
    const links = this.#links;
    const out = this.#out;
    const writable = this.#writable;
    let freed = count;
    let free = this.#freeHead;
    for (let i = 0; i < count; i++) {
      const at = (used + ((last + i) & mask) * USED_STRIDE) | 0;
      const id = view.getUint32((at + USED_ID) | 0, true);
      const length = view.getUint32((at + USED_LEN) | 0, true);
      if (id >= size) ring.fault("used-id-out-of-range", last, { id, size });
      const chain = out[id]!;
      if (chain === 0) ring.fault("used-id-not-outstanding", last, { id });
      if (length > writable[id]!) ring.fault("used-length", last, { id, length, writable: writable[id]! });
      out[id] = 0;
      usedTags[i] = chain;
      usedLengths[i] = length;
      // The descriptors freed last are taken first, as their lines are warm.
      let tail = id;
      for (let left = (chain >>> COUNT_SHIFT) - 1; left > 0; left--) {
        tail = links[tail]!;
        freed = (freed + 1) | 0;
      }
      links[tail] = free;
      free = id;
    }
    this.#freeHead = free;
    this.free += freed;
    this.#lastUsed = idx;
    return count;
  }

  /** Asks the device to interrupt when it uses the next chain. */
  enableInterrupts(): void {
    this.#ring.enableInterrupts(this.#lastUsed);
  }
}
