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
import { BATCH_SIZE, type FrameBatch } from "../../core/frame_batch.ts";
import type { Memory } from "../../core/memory.ts";
import { add16, distance16, needEvent16 } from "../../core/index.ts";
import type { DriverFaultCode } from "./faults.ts";
import { hasFeature } from "./features.ts";
import {
  virtio_net_hdr_v1,
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
/** `next` as it stands in one word with `flags`. */
const NEXT_SHIFT = 8 * (DESC_NEXT - DESC_FLAGS);
const HDR_FLAGS = virtio_net_hdr_v1.offsetOf("flags");
/** That and `gso_type`, its neighbour: a header that says nothing about its frame has zeros there. */
const HDR_HINTS = HDR_FLAGS;
const NUM_BUFFERS = virtio_net_hdr_v1.offsetOf("num_buffers");
const SHORT_HEADER = virtio_net_hdr_v1.size;
/** The device has a chain of one buffer that it only reads. */
const PLAIN = 1;
/** The device has another chain. */
const OTHER = 2;

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
  /** Head of the chain that {@linkcode nextUsed} took; or that {@linkcode takeFrames} met, if not negative. */
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
  /** Descriptors of the chain with this head; 1 if it is free. */
  readonly #lengths: Uint16Array;
  /** {@linkcode PLAIN} or {@linkcode OTHER} while the device has the chain with this head, else 0. */
  readonly #out: Uint8Array;
  /** Writable bytes of the chain with this head; 0 if it is free. */
  readonly #writable: Int32Array;
  /** Heads in the order they were made available: only with IN_ORDER. */
  readonly #order: Uint16Array;
  #broken: RingFault | undefined;
  #freeHead = 0;
  #availIndex = 0;
  #published = 0;
  /** used.idx as it was read last, and index of the next element to take. */
  #lastUsed = 0;
  #taken = 0;
  /** Last head of the batch that one used element stood for, and what was written into that chain; negative: none. */
  #batchEnd = -1;
  #batchLength = 0;
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
    this.#lengths = new Uint16Array(size).fill(1);
    this.#out = new Uint8Array(size);
    this.#writable = new Int32Array(size);
    this.#order = new Uint16Array(this.inOrder ? size : 0);
  }

  /**
   * Raises a fault and breaks the queue: whoever publishes or takes used chains meets the same fault again.
   *
   * @throws {RingFault} Always.
   */
  fault(code: DriverFaultCode, values: Record<string, number | bigint | string> = {}): never {
    this.#broken = new RingFault("driver", this.name, code, this.#taken, values);
    // No more is taken.
    this.#lastUsed = this.#taken;
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
    this.#writable[head] = write ? length : 0;
    this.#enqueue(head, write ? OTHER : PLAIN);
    return head;
  }

  /**
   * Adds chains of one readable buffer each for the frames of a batch, from index `from` on: a net header of zeros,
   * written into the bytes before the frame, and the frame. Stops when no descriptor is free, or at a frame outside
   * `first..last`.
   *
   * @param frames The frames.
   * @param memory Where they are.
   * @param from Index of the first.
   * @param headerLength Length of the net header: 10, 12 or 20 bytes.
   * @param region Where the buffers must lie.
   * @param longest Longest frame to take.
   * @returns The index of the first frame not added.
   */
  addFrames(
    frames: FrameBatch,
    memory: Memory,
    from: number,
    headerLength: number,
    region: Region,
    longest: number,
  ): number {
    const { offsets, lengths } = frames;
    const { view: buffers } = memory;
    const view = this.#view;
    const links = this.#links;
    const out = this.#out;
    const mask = this.#mask;
    const { shift, high, last } = region;
    const first = region.first + headerLength;
    const long = headerLength > SHORT_HEADER;
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
    this.#enqueue(head, OTHER);
  }

  /** Puts a chain into the available ring: {@linkcode PLAIN} or {@linkcode OTHER}. */
  #enqueue(head: number, kind: number): void {
    const slot = this.#availIndex & this.#mask;
    this.#view.setUint16(this.#avail + AVAIL_RING + slot * AVAIL_STRIDE, head, true);
    if (this.inOrder) this.#order[slot] = head;
    this.#out[head] = kind;
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
      this.#enqueue(head, OTHER);
      return head;
    }
    const to = this.#freeHead;
    const descriptors = this.#lengths[head]!;
    const writable = this.#writable[head]!;
    if (to !== head) this.#move(head, to, descriptors);
    this.#forget(head);
    this.#offer(to, descriptors, writable);
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

  /** Makes several chains that {@linkcode takeFrames} took available again, as they are: not with IN_ORDER. */
  repostAll(heads: Uint16Array, count: number): void {
    const view = this.#view;
    const ring = this.#avail + AVAIL_RING;
    const mask = this.#mask;
    const out = this.#out;
    let index = this.#availIndex;
    for (let i = 0; i < count; i++) {
      const head = heads[i]!;
      view.setInt16((ring + (index & mask) * AVAIL_STRIDE) | 0, head, true);
      out[head] = OTHER;
      index = (index + 1) & 0xffff;
    }
    this.#availIndex = index;
  }

  /** Frees the descriptors of the chain that {@linkcode nextUsed} took. */
  release(head: number): void {
    const descriptors = this.#lengths[head]!;
    this.#forget(head);
    // In order, descriptors go round the table; else the one freed last is taken first, as its lines are warm.
    if (this.inOrder) return;
    let tail = head;
    for (let i = 1; i < descriptors; i++) tail = this.#links[tail]!;
    this.#links[tail] = this.#freeHead;
    this.#freeHead = head;
  }

  /** The descriptors of a chain are free. */
  #forget(head: number): void {
    this.free += this.#lengths[head]!;
    this.#lengths[head] = 1;
    this.#writable[head] = 0;
  }

  /**
   * Takes all used chains and frees their descriptors.
   *
   * @returns How many there were.
   * @throws {RingFault} If the device broke a rule.
   */
  releaseUsed(): number {
    let chains = 0;
    if (!this.inOrder) { while (this.#waiting()) chains += this.#releasePlain(); }
    for (; this.nextUsed(); chains++) this.release(this.usedHead);
    return chains;
  }

  /**
   * Frees used chains of one buffer that was only read, one after the other. If it meets another, it frees that and
   * ends.
   */
  #releasePlain(): number {
    const view = this.#view;
    const ring = this.#used;
    const mask = this.#mask;
    const size = this.size;
    const out = this.#out;
    const links = this.#links;
    const last = this.#lastUsed;
    const first = this.#taken;
    let free = this.#freeHead;
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
    this.free += chains;
    this.#freeHead = free;
    this.#taken = at;
    if (at === last) return chains;
    this.#accept(id >>> 0, length >>> 0);
    this.release(this.usedHead);
    return chains + 1;
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

  /**
   * Takes the next used chain: its head and length stand in `usedHead` and `usedLength`.
   *
   * @returns False if there is none.
   * @throws {RingFault} If the device broke a rule.
   */
  nextUsed(): boolean {
    if (!this.#waiting()) return false;
    const head = this.#order[this.#taken & this.#mask]!;
    if (this.#batchEnd < 0) {
      const at = this.#used + (this.#taken & this.#mask) * USED_STRIDE;
      this.#accept(this.#view.getUint32(at + USED_ID, true), this.#view.getUint32(at + USED_LEN, true));
    } else if (head === this.#batchEnd) {
      this.#hand(head, this.#batchLength);
      this.#batchEnd = -1;
    } else {
      this.#hand(head, this.#writable[head]!);
    }
    return true;
  }

  /**
   * Takes used chains of one buffer that hold a whole frame, behind a net header that says nothing about it. If it meets
   * another chain, it takes that too and ends: then `usedHead` and `usedLength` tell of it; else `usedHead` is negative.
   *
   * @param frames Where the frames are; to be filled.
   * @param heads The heads of their chains; to be filled.
   * @param memory Where the buffers are.
   * @param buffers Where the buffer of each head is there.
   * @param headerLength Length of the net header.
   * @param mergeable Whether that says how many buffers the frame is in.
   * @throws {RingFault} If the device broke a rule; `frames` are what came before.
   */
  takeFrames(
    frames: FrameBatch,
    heads: Uint16Array,
    memory: Memory,
    buffers: Int32Array,
    headerLength: number,
    mergeable: boolean,
  ): void {
    frames.count = 0;
    this.usedHead = -1;
    if (this.#batchEnd >= 0) this.nextUsed();
    if (this.usedHead >= 0 || !this.#waiting()) return;
    const { offsets, lengths } = frames;
    const { view: bufferView } = memory;
    const view = this.#view;
    const ring = this.#used;
    const mask = this.#mask;
    const size = this.size;
    const out = this.#out;
    const writable = this.#writable;
    const last = this.#lastUsed;
    const { inOrder } = this;
    const order = this.#order;
    let at = this.#taken;
    let count = 0;
    let id = 0;
    let length = 0;
    for (; at !== last && count < BATCH_SIZE; at = (at + 1) & 0xffff) {
      const slot = at & mask;
      const element = (ring + slot * USED_STRIDE) | 0;
      id = view.getInt32((element + USED_ID) | 0, true);
      length = view.getInt32((element + USED_LEN) | 0, true);
      if (id < 0 || id >= size || out[id] === 0 || length < headerLength || length > writable[id]!) break;
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
    this.#taken = at;
    if (at !== last && count < BATCH_SIZE) this.#accept(id >>> 0, length >>> 0);
  }

  /** Whether used elements wait; reads the index if none are known. */
  #waiting(): boolean {
    const taken = this.#taken;
    if (taken !== this.#lastUsed) return true;
    if (this.#broken) throw this.#broken;
    const idx = this.#view.getUint16(this.#used + USED_IDX, true);
    if (idx === taken) return false;
    const outstanding = distance16(this.#published, taken);
    if (distance16(idx, taken) > outstanding) this.fault("used-idx-jump", { idx, outstanding });
    this.#lastUsed = idx;
    return true;
  }

  /**
   * Takes the element that was read from the next slot, after a look at it. With IN_ORDER it may stand for a batch: its
   * id is the batch's last head (virtio 1.4, 2.7.7.1), and the buffers before it count as used to the full.
   */
  #accept(id: number, length: number): void {
    if (id >= this.size) this.fault("used-id-out-of-range", { id, size: this.size });
    if (this.#out[id] === 0) this.fault("used-id-not-outstanding", { id });
    const writable = this.#writable[id]!;
    if (length > writable) this.fault("used-length", { id, length, writable });
    const first = this.#order[this.#taken & this.#mask]!;
    if (!this.inOrder || first === id) {
      this.#hand(id, length);
      return;
    }
    const order = this.#order;
    for (let at = add16(this.#taken, 1);; at = add16(at, 1)) {
      if (at === this.#lastUsed) this.fault("used-out-of-order", { id, expected: first });
      if (order[at & this.#mask] === id) break;
    }
    this.#batchEnd = id;
    this.#batchLength = length;
    this.#hand(first, this.#writable[first]!);
  }

  /** The next used chain is this one. */
  #hand(head: number, length: number): void {
    this.#out[head] = 0;
    this.usedHead = head;
    this.usedLength = length;
    this.#taken = add16(this.#taken, 1);
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
