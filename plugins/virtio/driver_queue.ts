/**
 * The driver's side of one split virtqueue: puts chains into the available ring, takes them back from the used ring.
 *
 * What the driver must rely on later (which chains are out, how long they are) stands in memory of its own: the rings
 * can be written by the device at any time, and each field that the device writes is read once and checked.
 *
 * @module
 */
import type { Region } from "../../core/address_space.ts";
import type { DmaMemory } from "../../core/dma_memory.ts";
import { RingFault } from "../../core/fault.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { add16, distance16, needEvent16 } from "../../core/index.ts";
import type { DriverFaultCode } from "./faults.ts";
import { hasFeature } from "./features.ts";
import {
  vring_avail,
  VRING_AVAIL_F_NO_INTERRUPT,
  vring_desc,
  VRING_DESC_F_INDIRECT,
  VRING_DESC_F_NEXT,
  VRING_DESC_F_WRITE,
  vring_used,
  vring_used_elem,
  VRING_USED_F_NO_NOTIFY,
} from "./layout.ts";
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

const DESC_SIZE = vring_desc.size;
const DESC_ADDR = vring_desc.offsetOf("addr");
const DESC_LEN = vring_desc.offsetOf("len");
const DESC_FLAGS = vring_desc.offsetOf("flags");
const DESC_NEXT = vring_desc.offsetOf("next");
const AVAIL_FLAGS = vring_avail.offsetOf("flags");
const AVAIL_IDX = vring_avail.offsetOf("idx");
const AVAIL_RING = vring_avail.offsetOf("ring[]");
const AVAIL_STRIDE = vring_avail.stride;
/** Counted back from the end of the ring. */
const USED_EVENT = vring_avail.offsetOf("used_event");
const USED_FLAGS = vring_used.offsetOf("flags");
const USED_IDX = vring_used.offsetOf("idx");
const USED_ID = vring_used.offsetOf("ring[].id");
const USED_LEN = vring_used.offsetOf("ring[].len");
const USED_STRIDE = vring_used_elem.size;
/** Counted back from the end of the ring. */
const AVAIL_EVENT = vring_used.offsetOf("avail_event");
const NEXT = VRING_DESC_F_NEXT;
const WRITE = VRING_DESC_F_WRITE;
const INDIRECT = VRING_DESC_F_INDIRECT;
const NO_INTERRUPT = VRING_AVAIL_F_NO_INTERRUPT;
const NO_NOTIFY = VRING_USED_F_NO_NOTIFY;
const UPPER_HALF = 2 ** -32;

/** What one queue's driver side has done. */
export interface DriverQueueCounters {
  /** Chains made available. */
  readonly chains: number;
  /** Descriptors written, those of indirect tables included. */
  readonly descriptors: number;
  /** Indirect tables written. */
  readonly indirectTables: number;
  /** Kicks sent. */
  readonly kicks: number;
  /** Times that chains were published but the device wanted no kick. */
  readonly kicksSuppressed: number;
}

/** How a {@linkcode DriverQueue} is laid out. */
export interface DriverQueueOptions {
  /** Number of entries: a power of two. */
  readonly size: number;
  /** Whether the parts lie in one contiguous area as legacy devices want them. */
  readonly legacy: boolean;
  /** Negotiated feature bits. */
  readonly features: bigint;
  /** Longest chain that will be added: decides how long indirect tables are. */
  readonly longestChain: number;
  /** Where indirect tables go: they count among the buffers. The ring's own memory if not given. */
  readonly tables?: DmaMemory;
  /** Alignment of the used ring, if more than it must have: a page, where the device may write to nothing else. */
  readonly usedAlign?: number;
}

/** See the module. */
export class DriverQueue {
  /** For fault messages: `rx0`, `tx0`, `ctrl`. */
  readonly name: string;
  /** Queue index, as doorbells carry it. */
  readonly index: number;
  /** Number of entries. */
  readonly size: number;
  /** Addresses of the three parts, for the device. */
  readonly areas: RingAddresses;
  /** Whether IN_ORDER was negotiated. */
  readonly inOrder: boolean;
  /** Descriptors not in use. */
  free: number;
  /** Head of the chain that {@linkcode nextUsed} took. */
  usedHead = 0;
  /** Bytes that the device wrote into it. */
  usedLength = 0;

  readonly #mask: number;
  readonly #view: DataView;
  readonly #desc: number;
  readonly #avail: number;
  readonly #used: number;
  readonly #usedEvent: number;
  readonly #availEvent: number;
  readonly #eventIdx: boolean;
  /** Entries per indirect table; 0 without the feature. */
  readonly #tableEntries: number;
  /** Offset and address of the first indirect table: one per descriptor. */
  readonly #tableView: DataView;
  readonly #tables: number;
  readonly #tablesAddress: number;
  /** The free list and the links of chains: the driver's own copy of `next`. */
  readonly #links: Uint16Array;
  /** Descriptors of the chain with this head. */
  readonly #lengths: Uint16Array;
  /** Whether the device has the chain with this head. */
  readonly #out: Uint8Array;
  /** Writable bytes of the chain with this head. */
  readonly #writable: Uint32Array;
  /** Heads in the order they were made available: only with IN_ORDER. */
  readonly #order: Uint16Array;
  #broken: RingFault | undefined;
  #freeHead = 0;
  #availIndex = 0;
  #published = 0;
  /** Up to where used elements were read, and up to where {@linkcode DriverQueue.nextUsed} handed them out. */
  #lastUsed = 0;
  #taken = 0;
  /** Heads and lengths of used elements read, by slot. */
  readonly usedHeads: Uint16Array;
  readonly usedLengths: Uint32Array;
  #chains = 0;
  #descriptors = 0;
  #indirectTables = 0;
  #kicks = 0;
  #kicksSuppressed = 0;

  /** Allocates and zeroes the ring parts. */
  constructor(name: string, index: number, dma: DmaMemory, options: DriverQueueOptions) {
    const { size, legacy, features, longestChain, usedAlign = USED_ALIGN, tables: tableMemory = dma } =
      options;
    this.name = name;
    this.index = index;
    this.size = this.free = size;
    this.#mask = size - 1;
    this.#view = dma.memory.view;
    this.#eventIdx = hasFeature(features, "EVENT_IDX");
    this.inOrder = hasFeature(features, "IN_ORDER");
    this.#tableEntries = hasFeature(features, "INDIRECT_DESC") && longestChain > 1 ? longestChain : 0;
    this.areas = legacy ? allocateLegacy(dma, size) : allocateFlexible(dma, size, usedAlign);
    this.#desc = dma.region.offsetOf(this.areas.desc);
    this.#avail = dma.region.offsetOf(this.areas.driver);
    this.#used = dma.region.offsetOf(this.areas.device);
    this.#usedEvent = this.#avail + availBytes(size) + USED_EVENT;
    this.#availEvent = this.#used + usedBytes(size) + AVAIL_EVENT;
    const tables = this.#tableEntries > 0
      ? tableMemory.allocate(descBytes(this.#tableEntries) * size, DESC_ALIGN)
      : undefined;
    this.#tableView = tableMemory.memory.view;
    this.#tables = tables?.offset ?? 0;
    this.#tablesAddress = tables?.address ?? 0;
    this.#links = Uint16Array.from({ length: size }, (_, i) => (i + 1) & this.#mask);
    this.#lengths = new Uint16Array(size);
    this.#out = new Uint8Array(size);
    this.usedHeads = new Uint16Array(size);
    this.usedLengths = new Uint32Array(size);
    this.#writable = new Uint32Array(size);
    this.#order = new Uint16Array(this.inOrder ? size : 0);
  }

  /**
   * Raises a fault and breaks the queue: whoever publishes or takes used chains meets the same fault again.
   *
   * @throws {RingFault} Always.
   */
  fault(code: DriverFaultCode, values: Record<string, number | bigint | string> = {}): never {
    // What was read of the used ring is not handed out any more.
    this.#taken = this.#lastUsed;
    this.#broken = new RingFault("driver", this.name, code, this.#lastUsed, values);
    throw this.#broken;
  }

  /** What it has done so far. */
  get counters(): DriverQueueCounters {
    return {
      chains: this.#chains,
      descriptors: this.#descriptors,
      indirectTables: this.#indirectTables,
      kicks: this.#kicks,
      kicksSuppressed: this.#kicksSuppressed,
    };
  }

  /** Head that the next chain will have. */
  get nextHead(): number {
    return this.#freeHead;
  }

  /** Whether a chain of `length` buffers finds room. */
  fits(length: number): boolean {
    return this.free >= (this.#tableEntries >= length && length > 1 ? 1 : length);
  }

  /** Adds a chain of one buffer. The caller has seen that it {@linkcode fits}. Returns its head. */
  add(address: number, length: number, write: boolean): number {
    const head = this.#freeHead;
    const next = this.#links[head]!;
    this.#write(this.#view, this.#desc + head * DESC_SIZE, address, length, write ? WRITE : 0, next);
    this.#freeHead = next;
    this.free--;
    this.#lengths[head] = 1;
    this.#writable[head] = write ? length : 0;
    this.#enqueue(head);
    return head;
  }

  /**
   * Adds chains of one readable buffer each for the frames of a batch, from index `from` on: header and frame, for which
   * the caller has written the header before the frame. Stops when no descriptor is free, or at a frame outside
   * `first..last`.
   *
   * @param frames The frames.
   * @param from Index of the first.
   * @param headerLength Bytes before each frame that belong to its buffer.
   * @param region Where the buffers must lie.
   * @param longest Longest frame to take.
   * @returns The index of the first frame not added.
   */
  addFrames(frames: FrameBatch, from: number, headerLength: number, region: Region, longest: number): number {
    const { offsets, lengths } = frames;
    const view = this.#view;
    const links = this.#links;
    const descLengths = this.#lengths;
    const writable = this.#writable;
    const out = this.#out;
    const mask = this.#mask;
    const { shift, high, last } = region;
    const first = region.first + headerLength;
    const { inOrder } = this;
    const order = this.#order;
    // The upper halves of addresses differ: one by one, then.
    if (high < 0) return from;
    const table = this.#desc;
    const ring = this.#avail + AVAIL_RING;
    const end = Math.min(frames.count, from + this.free);
    let head = this.#freeHead;
    let index = this.#availIndex;
    let i = from;
    for (; i < end; i++) {
      const offset = offsets[i]!;
      const length = lengths[i]!;
      if (length > longest || offset < first || length > last - offset) break;
      const next = links[head]!;
      const at = (table + head * DESC_SIZE) | 0;
      view.setInt32((at + DESC_ADDR) | 0, (offset - headerLength - shift) | 0, true);
      view.setInt32((at + DESC_ADDR + 4) | 0, high, true);
      view.setInt32((at + DESC_LEN) | 0, (headerLength + length) | 0, true);
      view.setInt16((at + DESC_FLAGS) | 0, 0, true);
      view.setInt16((at + DESC_NEXT) | 0, next, true);
      descLengths[head] = 1;
      writable[head] = 0;
      out[head] = 1;
      const slot = index & mask;
      view.setInt16((ring + slot * AVAIL_STRIDE) | 0, head, true);
      if (inOrder === true) order[slot] = head;
      index = (index + 1) & 0xffff;
      head = next;
    }
    this.#freeHead = head;
    this.#availIndex = index;
    this.free -= i - from;
    this.#descriptors += i - from;
    return i;
  }

  /**
   * Adds a chain of several buffers, as an indirect table if that was negotiated. The caller has seen that it
   * {@linkcode fits}.
   *
   * @param addresses Where the buffers are.
   * @param lengths How long they are.
   * @param count How many there are.
   * @param readable How many of them, the first ones, the device only reads.
   * @returns The head of the chain.
   */
  addChain(
    addresses: ArrayLike<number>,
    lengths: ArrayLike<number>,
    count: number,
    readable: number,
  ): number {
    const head = this.#freeHead;
    const indirect = this.#tableEntries >= count && count > 1;
    const table = head * this.#tableEntries * DESC_SIZE;
    let slot = head;
    let writable = 0;
    for (let i = 0; i < count; i++) {
      const flags = (i < readable ? 0 : WRITE) | (i < count - 1 ? NEXT : 0);
      const view = indirect ? this.#tableView : this.#view;
      const at = indirect ? this.#tables + table + i * DESC_SIZE : this.#desc + slot * DESC_SIZE;
      this.#write(view, at, addresses[i]!, lengths[i]!, flags, indirect ? i + 1 : this.#links[slot]!);
      if (i >= readable) writable += lengths[i]!;
      if (i < count - 1 && !indirect) slot = this.#links[slot]!;
    }
    if (indirect) {
      this.#write(
        this.#view,
        this.#desc + head * DESC_SIZE,
        this.#tablesAddress + table,
        count * DESC_SIZE,
        INDIRECT,
        this.#links[head]!,
      );
      this.#indirectTables++;
    }
    this.#offer(head, indirect ? 1 : count, writable);
    return head;
  }

  #write(
    view: DataView,
    at: number,
    address: number,
    length: number,
    flags: number,
    next: number,
  ): void {
    // A DataView keeps the low 32 bits of what it is given, and cuts off fractions.
    view.setUint32(at + DESC_ADDR, address, true);
    view.setUint32(at + DESC_ADDR + 4, address * UPPER_HALF, true);
    view.setUint32(at + DESC_LEN, length, true);
    view.setUint16(at + DESC_FLAGS, flags, true);
    view.setUint16(at + DESC_NEXT, next, true);
    this.#descriptors++;
  }

  /** Takes `descriptors` from the free list, beginning at `head`, and puts the head into the available ring. */
  #offer(head: number, descriptors: number, writable: number): void {
    let tail = head;
    for (let i = 1; i < descriptors; i++) tail = this.#links[tail]!;
    this.#freeHead = this.#links[tail]!;
    this.free -= descriptors;
    this.#lengths[head] = descriptors;
    this.#writable[head] = writable;
    this.#enqueue(head);
  }

  #enqueue(head: number): void {
    const slot = this.#availIndex & this.#mask;
    this.#view.setUint16(this.#avail + AVAIL_RING + slot * AVAIL_STRIDE, head, true);
    if (this.inOrder) this.#order[slot] = head;
    this.#out[head] = 1;
    this.#availIndex = (this.#availIndex + 1) & 0xffff;
  }

  /**
   * Makes the chain that {@linkcode nextUsed} took available again, as it is. With IN_ORDER it moves to the next free
   * descriptors, as those must be taken in the order of the table (virtio 1.4, 2.7.7).
   *
   * @returns The head of the chain: another one if it moved.
   */
  repost(head: number): number {
    if (!this.inOrder) {
      this.#enqueue(head);
      return head;
    }
    const to = this.#freeHead;
    const descriptors = this.#lengths[head]!;
    if (to !== head) this.#move(head, to, descriptors);
    this.free += descriptors;
    this.#offer(to, descriptors, this.#writable[head]!);
    return to;
  }

  /** Copies the descriptors of a chain that goes from one after the other to where it goes so, too. */
  #move(from: number, to: number, descriptors: number): void {
    const view = this.#view;
    for (let i = 0; i < descriptors; i++) {
      const source = this.#desc + (from + i & this.#mask) * DESC_SIZE;
      const target = this.#desc + (to + i & this.#mask) * DESC_SIZE;
      for (let word = 0; word < DESC_NEXT; word += 2) {
        view.setUint16(target + word, view.getUint16(source + word, true), true);
      }
      view.setUint16(target + DESC_NEXT, to + i + 1 & this.#mask, true);
    }
  }

  /** Makes several chains that were taken available again, as they are: not with IN_ORDER. */
  repostAll(heads: Uint16Array, count: number): void {
    const view = this.#view;
    const ring = this.#avail + AVAIL_RING;
    const mask = this.#mask;
    const out = this.#out;
    let index = this.#availIndex;
    for (let i = 0; i < count; i++) {
      const head = heads[i]!;
      view.setInt16((ring + (index & mask) * AVAIL_STRIDE) | 0, head, true);
      out[head] = 1;
      index = (index + 1) & 0xffff;
    }
    this.#availIndex = index;
  }

  /** Frees the descriptors of the chain that {@linkcode nextUsed} took. */
  release(head: number): void {
    const descriptors = this.#lengths[head]!;
    this.free += descriptors;
    // In order, descriptors go round the table; else the one freed last is taken first, as its lines are warm.
    if (this.inOrder) return;
    let tail = head;
    for (let i = 1; i < descriptors; i++) tail = this.#links[tail]!;
    this.#links[tail] = this.#freeHead;
    this.#freeHead = head;
  }

  /**
   * Takes all used chains and frees their descriptors.
   *
   * @returns How many there were.
   * @throws {RingFault} If the device broke a rule.
   */
  releaseUsed(): number {
    let chains = 0;
    while (this.#taken !== this.#lastUsed || this.#collect()) {
      const heads = this.usedHeads;
      const lengths = this.#lengths;
      const links = this.#links;
      const mask = this.#mask;
      const last = this.#lastUsed;
      let free = this.#freeHead;
      const { inOrder } = this;
      for (let at = this.#taken; at !== last; at = (at + 1) & 0xffff) {
        const head = heads[at & mask]!;
        if (lengths[head] !== 1 || inOrder === true) {
          this.#freeHead = free;
          this.release(head);
          free = this.#freeHead;
        } else {
          links[head] = free;
          free = head;
          this.free++;
        }
      }
      chains += distance16(last, this.#taken);
      this.#freeHead = free;
      this.#taken = last;
    }
    return chains;
  }

  /** Chains that the device has, or has given back unseen. */
  get outstanding(): number {
    return distance16(this.#availIndex, this.#taken);
  }

  /** Index that the next chain gets: what a notification with data carries. */
  get availIndex(): number {
    return this.#availIndex;
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
    if (this.#broken) throw this.#broken;
    this.#view.setUint16(this.#avail + AVAIL_IDX, idx, true);
    this.#published = idx;
    this.#chains += distance16(idx, old);
    const flags = this.#view.getUint16(this.#used + USED_FLAGS, true);
    if (flags & ~NO_NOTIFY || (this.#eventIdx && flags !== 0)) this.fault("used-flags", { flags });
    const wanted = this.#eventIdx
      ? needEvent16(this.#view.getUint16(this.#availEvent, true), idx, old)
      : flags === 0;
    if (wanted) this.#kicks++;
    else this.#kicksSuppressed++;
    return wanted;
  }

  /** How many used chains are known to wait for {@linkcode nextUsed}. */
  get pendingUsed(): number {
    return distance16(this.#lastUsed, this.#taken);
  }

  /** How many used chains, from index {@linkcode takenIndex} on, stand in `usedHeads` and `usedLengths`. */
  usedAhead(): number {
    if (this.#taken === this.#lastUsed && !this.#collect()) return 0;
    return distance16(this.#lastUsed, this.#taken);
  }

  /** Index of the next used chain to take. */
  get takenIndex(): number {
    return this.#taken;
  }

  /** Takes the next `count` used chains. */
  take(count: number): void {
    this.#taken = add16(this.#taken, count);
  }

  /**
   * Takes the next used chain: its head and length stand in `usedHead` and `usedLength`.
   *
   * @returns False if there is none.
   * @throws {RingFault} If the device broke a rule.
   */
  nextUsed(): boolean {
    const taken = this.#taken;
    if (taken === this.#lastUsed && !this.#collect()) return false;
    const slot = taken & this.#mask;
    this.usedHead = this.usedHeads[slot]!;
    this.usedLength = this.usedLengths[slot]!;
    this.#taken = (taken + 1) & 0xffff;
    return true;
  }

  /** Reads all used elements that are new, each once, and checks them. Returns whether there were any. */
  #collect(): boolean {
    const view = this.#view;
    if (this.#broken) throw this.#broken;
    const idx = view.getUint16(this.#used + USED_IDX, true);
    const last = this.#lastUsed;
    if (idx === last) return false;
    const outstanding = distance16(this.#published, last);
    if (distance16(idx, last) > outstanding) this.fault("used-idx-jump", { idx, outstanding });
    const ring = this.#used;
    const mask = this.#mask;
    const size = this.size;
    const out = this.#out;
    const heads = this.usedHeads;
    const lengths = this.usedLengths;
    const writable = this.#writable;
    const { inOrder } = this;
    for (let index = last; index !== idx; index = (index + 1) & 0xffff) {
      const slot = index & mask;
      const at = (ring + slot * USED_STRIDE) | 0;
      const id = view.getUint32((at + USED_ID) | 0, true);
      const length = view.getUint32((at + USED_LEN) | 0, true);
      if (id >= size) this.fault("used-id-out-of-range", { id, size });
      if (out[id] === 0) this.fault("used-id-not-outstanding", { id });
      if (length > writable[id]!) this.fault("used-length", { id, length, writable: writable[id]! });
      if (inOrder === true && this.#order[slot] !== id) index = this.#skipTo(id, index, idx);
      out[id] = 0;
      heads[index & mask] = id;
      lengths[index & mask] = length;
    }
    this.#lastUsed = idx;
    return true;
  }

  /**
   * With IN_ORDER one used element may stand for a batch: its id is the batch's last head (virtio 1.4, 2.7.7.1), and
   * the buffers before it count as used to the full. Returns the ring index of that head.
   */
  #skipTo(id: number, index: number, end: number): number {
    const mask = this.#mask;
    while (this.#order[index & mask] !== id) {
      const head = this.#order[index & mask]!;
      this.#out[head] = 0;
      this.usedHeads[index & mask] = head;
      this.usedLengths[index & mask] = this.#writable[head]!;
      index = add16(index, 1);
      if (index === end) this.fault("used-out-of-order", { id, expected: head });
    }
    return index;
  }

  /** Asks the device to interrupt when it uses the next chain. */
  enableInterrupts(): void {
    if (this.#eventIdx) this.#view.setUint16(this.#usedEvent, this.#lastUsed, true);
    else this.#view.setUint16(this.#avail + AVAIL_FLAGS, 0, true);
  }

  /** Asks the device not to interrupt: a hint. With EVENT_IDX the event index simply stays behind. */
  disableInterrupts(): void {
    if (!this.#eventIdx) this.#view.setUint16(this.#avail + AVAIL_FLAGS, NO_INTERRUPT, true);
  }
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
