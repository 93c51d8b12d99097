/**
 * The device's side of one split virtqueue: takes chains from the available ring, gives them back through the used ring.
 *
 * Everything in the rings is the driver's and may change at any time: each field is read once, and the copy is checked.
 *
 * @module
 */
import { type AddressSpace, NO_REGION, READ, READ_WRITE, type Region } from "../../core/address_space.ts";
import { RingFault } from "../../core/fault.ts";
import { BATCH_SIZE, type FrameBatch } from "../../core/frame_batch.ts";
import { add16, distance16, isPowerOfTwo, needEvent16 } from "../../core/index.ts";
import { Memory } from "../../core/memory.ts";
import type { DeviceFaultCode, Profile } from "./faults.ts";
import { hasFeature } from "./features.ts";
import {
  VIRTQUEUE_MAX_SIZE,
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
const HIGH = 2 ** 32;

/** Rounds are counted up to here, and then anew. */
const LAST_ROUND = 2 ** 16;
/** State of a descriptor that heads a chain which the device has. */
const HEAD = LAST_ROUND + 1;
/** The same, of a chain whose further descriptors are marked. */
const LINKED_HEAD = LAST_ROUND + 2;
/** A further descriptor of such a chain. */
const MEMBER = LAST_ROUND + 3;

/** How many entries an indirect table may have, by profile; strict and DPDK allow the queue size. */
const INDIRECT_LIMIT: Readonly<Record<Profile, number>> = { strict: 0, linux: 65536, qemu: 1024, dpdk: 0 };

/** What one queue's device side has done. */
export interface DeviceQueueCounters {
  /** Chains taken. */
  readonly chains: number;
  /** Their buffers: descriptors that say where an indirect table is do not count. */
  readonly descriptors: number;
  /** Indirect tables followed. */
  readonly indirectTables: number;
  /** Interrupts sent. */
  readonly interrupts: number;
  /** Times that used chains were published but the driver wanted no interrupt. */
  readonly interruptsSuppressed: number;
}

/** How a {@linkcode DeviceQueue} behaves beyond the negotiated features. */
export interface DeviceQueueOptions {
  /** How odd chains are judged; strict if not given. */
  readonly profile?: Profile;
  /** Whether the rings are shared with another thread or process, so that index accesses must be atomic and ordered. */
  readonly shared?: boolean;
  /**
   * Whether, with IN_ORDER, one used element stands for a whole batch of chains (virtio 1.4, 2.7.7.1). For queues
   * into which nothing is written: lengths get lost.
   */
  readonly coalesce?: boolean;
}

/** See the module. The chain that {@linkcode DeviceQueue.pop} took stands in the fields from `head` on. */
export class DeviceQueue {
  /** For fault messages: `rx0`, `tx0`, `ctrl`. */
  readonly name: string;
  /** Queue index, as doorbells and interrupts carry it. */
  readonly index: number;
  /** Largest size the device allows. */
  readonly maxSize: number;
  /** Where the three ring parts are looked up. Replace it only while the queue is stopped. */
  rings: AddressSpace;
  /** Where buffers and indirect tables are looked up. Replace it only while the queue is stopped. */
  buffers: AddressSpace;

  /** Whether it is started and not broken. */
  running = false;
  /** Head of the chain popped last: what {@linkcode push} wants back. */
  head = 0;
  /** Buffers of that chain. */
  count = 0;
  /** How many of them are device-readable; the writable ones follow. */
  readable = 0;
  /** Bytes in the readable ones. */
  readableBytes = 0;
  /** Bytes in the writable ones. */
  writableBytes = 0;
  /** Address of each buffer. */
  readonly addresses: number[] = [0];
  /** Length of each buffer. */
  readonly lengths: number[] = [0];

  /** Heads fetched from the available ring, by slot. */
  heads: Uint16Array = new Uint16Array(0);
  /** Where the buffers of chains that {@linkcode popPlain} takes lie in the region's memory, by slot. */
  offsets: Int32Array = new Int32Array(0);
  /** How long they are, by slot. */
  sizes: Int32Array = new Int32Array(0);
  /** Bytes that {@linkcode fillFrames} has written, the last time. */
  filledBytes = 0;
  /** Where a buffer was found last: the user of the queue keeps it here. */
  region: Region = NO_REGION;
  /** And where the one before it was found: header and frame often lie in two regions. */
  previousRegion: Region = NO_REGION;

  readonly #profile: Profile;
  readonly #strict: boolean;
  readonly #shared: boolean;
  readonly #mayCoalesce: boolean;
  #broken: RingFault | undefined;
  #size = 0;
  #mask = 0;
  #indirectLimit = 0;
  #eventIdx = false;
  #indirect = false;
  #coalesce = false;
  #areas: RingAddresses = { desc: 0, driver: 0, device: 0 };
  #generation = -1;
  #buffersGeneration = -1;
  #descView: DataView = new Memory(0).view;
  #desc = 0;
  #availView: DataView = this.#descView;
  #avail = 0;
  #usedView: DataView = this.#descView;
  #used = 0;
  #availIndex: Uint16Array = new Uint16Array(2);
  #usedIndexes: Uint16Array = this.#availIndex;
  /** Bounds of all three parts together, if buffers could overlap them. */
  #low = 0;
  #high = 0;
  /** The same as offsets: whatever lies between is looked at closely. */
  #ringsFirst = 0;
  #ringsLast = 0;
  /** Up to where chains are known to be plain: see {@linkcode DeviceQueue.popPlain}. */
  #ahead = 0;
  /**
   * For each descriptor {@linkcode HEAD}, {@linkcode LINKED_HEAD} or {@linkcode MEMBER} while the device has it; else
   * the round in which it was given back. One of the present round does not show yet: the driver must not use it. So
   * what is less than the present round is free.
   */
  #states: Int32Array = new Int32Array(0);
  /** A round ends when what was given back in it is published. */
  #round = 1;
  /** Where the element is that stands for all chains given back last, one after the other; or -1. */
  #run = -1;
  /** The head of each member's chain. */
  #owners: Uint16Array = new Uint16Array(0);
  /** The member behind each descriptor of a chain; the last one names itself. */
  #members: Uint16Array = this.#owners;
  /** Whether chains must take the descriptors in their order: IN_ORDER, if strict. */
  #ordered = false;
  /** Then the descriptor that the next chain must begin with; negative if any will do. */
  #expected = -1;
  /** Chains up to this number have been counted, although some were put back. */
  #counted = 0;
  #next = 0;
  #fetched = 0;
  #usedIndex = 0;
  #published = 0;
  #signalled = 0;
  #signalledValid = false;
  /** Where indirect tables were found last. */
  #tableRegion: Region = NO_REGION;
  #scratch: Memory = new Memory(0);
  /** Where frames are copied to, and their places there. */
  #filled: Memory = this.#scratch;
  #targets: Int32Array = new Int32Array(0);
  #popped = 0;
  #extraDescriptors = 0;
  #indirectTables = 0;
  #interrupts = 0;
  #interruptsSuppressed = 0;

  /** Makes a stopped queue. */
  constructor(
    name: string,
    index: number,
    maxSize: number,
    rings: AddressSpace,
    buffers: AddressSpace,
    options: DeviceQueueOptions = {},
  ) {
    this.name = name;
    this.index = index;
    this.maxSize = maxSize;
    this.rings = rings;
    this.buffers = buffers;
    this.#profile = options.profile ?? "strict";
    this.#strict = this.#profile === "strict";
    this.#shared = options.shared ?? false;
    this.#mayCoalesce = options.coalesce ?? false;
  }

  /** What it has done so far. */
  get counters(): DeviceQueueCounters {
    return {
      chains: this.#popped,
      descriptors: this.#popped + this.#extraDescriptors,
      indirectTables: this.#indirectTables,
      interrupts: this.#interrupts,
      interruptsSuppressed: this.#interruptsSuppressed,
    };
  }

  /** The fault that stopped it, if one did. */
  get broken(): RingFault | undefined {
    return this.#broken;
  }

  /** Number of entries, once started. */
  get size(): number {
    return this.#size;
  }

  /** Index of the next chain to take. */
  get availIndex(): number {
    return this.#next;
  }

  /** Index of the next used element to write. */
  get usedIndex(): number {
    return this.#usedIndex;
  }

  /** Addresses of the three parts, once started. */
  get areas(): RingAddresses {
    return this.#areas;
  }

  /**
   * Starts the queue.
   *
   * @param size Number of entries: a power of two up to `maxSize`.
   * @param areas Addresses of the three parts in `rings`.
   * @param features Negotiated feature bits.
   * @param availIndex Where to go on in the available ring.
   * @param usedIndex Where to go on in the used ring.
   * @throws {RingFault} If the size, an alignment or an address is bad.
   */
  start(
    size: number,
    areas: RingAddresses,
    features: bigint,
    availIndex = 0,
    usedIndex: number = availIndex,
  ): void {
    this.#broken = undefined;
    if (!isPowerOfTwo(size) || size > Math.min(this.maxSize, VIRTQUEUE_MAX_SIZE)) {
      this.fault("bad-queue-size", size, { max: this.maxSize });
    }
    if (areas.desc % DESC_ALIGN || areas.driver % AVAIL_ALIGN || areas.device % USED_ALIGN) {
      this.fault("misaligned-ring", 0, { ...areas });
    }
    this.#size = size;
    this.#mask = size - 1;
    this.#areas = areas;
    this.#eventIdx = hasFeature(features, "EVENT_IDX");
    this.#indirect = hasFeature(features, "INDIRECT_DESC");
    this.#coalesce = this.#mayCoalesce && hasFeature(features, "IN_ORDER");
    this.#indirectLimit = INDIRECT_LIMIT[this.#profile] || size;
    this.heads = new Uint16Array(size);
    this.offsets = new Int32Array(size);
    this.sizes = new Int32Array(size);
    this.#states = new Int32Array(size);
    this.#round = 1;
    this.#run = -1;
    this.#owners = new Uint16Array(this.#strict ? size : 0);
    this.#members = new Uint16Array(this.#strict ? size : 0);
    this.#ordered = this.#strict && hasFeature(features, "IN_ORDER");
    // A ring that goes on somewhere tells its place in the table with its first chain.
    this.#expected = availIndex === 0 ? 0 : -1;
    this.#counted = 0;
    this.#next = this.#fetched = this.#ahead = availIndex;
    this.#usedIndex = this.#published = this.#signalled = usedIndex;
    this.#signalledValid = false;
    this.#generation = this.#buffersGeneration = -1;
    this.refresh();
    this.running = true;
  }

  /** Stops the queue, and forgets the fault if one did before. Returns the index of the next chain it would have taken. */
  stop(): number {
    this.running = false;
    this.#broken = undefined;
    return this.#next;
  }

  /**
   * Looks the ring parts up again if the map has changed. To be called before work on the queue.
   *
   * @throws {RingFault} If a part is no longer mapped.
   */
  refresh(): void {
    if (this.rings.generation !== this.#generation) this.#resolve();
    if (this.buffers.generation === this.#buffersGeneration) return;
    this.#buffersGeneration = this.buffers.generation;
    this.region = this.previousRegion = this.#tableRegion = NO_REGION;
    if (this.#ahead === this.#next) return;
    this.#ahead = this.#next;
    this.#expected = this.heads[this.#next & this.#mask]!;
  }

  #resolve(): void {
    const { desc, driver, device } = this.#areas;
    const part = (address: number, length: number, access: number): Region =>
      this.rings.contiguous(address, length, access) ??
        this.fault("bad-ring-address", 0, { address, length });
    const descRegion = part(desc, descBytes(this.#size), READ);
    const availRegion = part(driver, availBytes(this.#size), READ);
    const usedRegion = part(device, usedBytes(this.#size), READ_WRITE);
    this.#descView = descRegion.memory.view;
    this.#desc = descRegion.offsetOf(desc);
    this.#availView = availRegion.memory.view;
    this.#avail = availRegion.offsetOf(driver);
    this.#usedView = usedRegion.memory.view;
    this.#used = usedRegion.offsetOf(device);
    if (this.#shared) {
      const words = availBytes(this.#size) >> 1;
      this.#availIndex = new Uint16Array(availRegion.memory.view.buffer, this.#avail, words);
      this.#usedIndexes = new Uint16Array(usedRegion.memory.view.buffer, this.#used, 2);
    }
    const watch = this.#strict && this.rings === this.buffers;
    this.#low = watch ? Math.min(desc, driver, device) : 0;
    this.#high = watch
      ? Math.max(
        desc + descBytes(this.#size),
        driver + availBytes(this.#size),
        device + usedBytes(this.#size),
      )
      : 0;
    this.#ringsFirst = watch ? Math.min(this.#desc, this.#avail, this.#used) : 0;
    this.#ringsLast = watch
      ? Math.max(
        this.#desc + descBytes(this.#size),
        this.#avail + availBytes(this.#size),
        this.#used + usedBytes(this.#size),
      )
      : 0;
    this.#generation = this.rings.generation;
  }

  /**
   * Raises a fault and breaks the queue: it serves nothing more until it is started again.
   *
   * @throws {RingFault} Always.
   */
  fault(code: DeviceFaultCode, index: number, values: Record<string, number | bigint | string> = {}): never {
    this.running = false;
    this.#broken = new RingFault("device", this.name, code, index, values);
    throw this.#broken;
  }

  /** Reads avail.idx. In shared memory an atomic load, which also keeps later reads behind it. */
  #loadAvailIdx(): number {
    if (this.#shared) return Atomics.load(this.#availIndex, AVAIL_IDX >> 1);
    return this.#availView.getUint16(this.#avail + AVAIL_IDX, true);
  }

  /** Reads avail.idx, and checks that there are not more chains than descriptors. */
  #readAvailIdx(): number {
    const idx = this.#loadAvailIdx();
    const size = this.#size;
    if (distance16(idx, this.#next) > size) this.fault("avail-idx-jump", this.#next, { idx, size });
    return idx;
  }

  /**
   * Takes over the heads that the driver has made available since, each read once into memory of our own.
   * Returns whether there is anything.
   */
  #fetch(): boolean {
    const idx = this.#readAvailIdx();
    const ring = this.#avail + AVAIL_RING;
    const mask = this.#mask;
    const view = this.#availView;
    for (let at = this.#fetched; at !== idx; at = add16(at, 1)) {
      const head = view.getUint16(ring + (at & mask) * AVAIL_STRIDE, true);
      if (this.#isBad(head)) this.#faultHead(at, head);
      this.#states[head] = HEAD;
      this.heads[at & mask] = head;
    }
    this.#fetched = idx;
    return idx !== this.#next;
  }

  /** Whether a chain must not begin with this descriptor: it does not exist, or the device has it. */
  #isBad(head: number): boolean {
    const state = this.#states[head];
    return state === undefined || (this.#strict && state >= this.#round);
  }

  #faultHead(at: number, head: number): never {
    const size = this.#size;
    if (head >= size) this.fault("head-out-of-range", at, { head, size });
    this.fault(this.#states[head] === MEMBER ? "descriptor-shared" : "head-available-twice", at, { head });
  }

  /**
   * Looks ahead: as most chains are one buffer of one kind in one region, it notes where each such buffer lies, up to
   * the first chain that is anything else. Returns whether the next chain is among them.
   */
  #lookAhead(kind: number): boolean {
    const next = this.#next;
    // Either all chains have been fetched before, or none.
    const fresh = next === this.#fetched;
    const last = fresh ? this.#readAvailIdx() : this.#fetched;
    if (next === last) return false;
    const { first, last: limit, high: upper, shift } = this.region;
    // The upper halves of addresses differ: one by one, then.
    if (upper < 0) return false;
    const availView = this.#availView;
    const ring = this.#avail + AVAIL_RING;
    const size = this.#size;
    const strict = this.#strict;
    const states = this.#states;
    const round = this.#round;
    const view = this.#descView;
    const table = this.#desc;
    const mask = this.#mask;
    const ringsFirst = this.#ringsFirst;
    // Offsets in another memory than the rings' say nothing of them.
    const ringsLast = this.region.memory.view === view ? this.#ringsLast : 0;
    const heads = this.heads;
    const offsets = this.offsets;
    const sizes = this.sizes;
    const ordered = this.#ordered;
    let expected = this.#expected;
    let odd = 0;
    let at = next;
    for (; at !== last; at = (at + 1) & 0xffff) {
      const slot = at & mask;
      let head: number;
      if (fresh === true) {
        head = availView.getUint16((ring + slot * AVAIL_STRIDE) | 0, true);
        if (head >= size) this.#faultHead(at, head);
        if (strict === true && states[head]! >= round) this.#faultHead(at, head);
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
      if (offset < ringsLast && ((offset + length) | 0) > ringsFirst) break;
      offsets[slot] = offset;
      sizes[slot] = length;
      expected = (expected + 1) & mask;
      odd = 0;
    }
    if (ordered === true) this.#expected = expected;
    this.#ahead = at;
    if (fresh) this.#fetched = (at + odd) & 0xffff;
    return at !== next;
  }

  /**
   * Takes the next chain if it is one buffer of the given kind (0 or `VRING_DESC_F_WRITE`) within {@linkcode region}.
   *
   * @returns Its slot in `heads`, `offsets` and `sizes`; or -1: then {@linkcode pop} tells what the chain is.
   * @throws {RingFault} If the driver broke a rule.
   */
  popPlain(kind: number): number {
    const next = this.#next;
    if (next === this.#ahead && !this.#lookAhead(kind)) return -1;
    this.#next = (next + 1) & 0xffff;
    this.#popped++;
    return next & this.#mask;
  }

  /** Makes the region that holds `length` bytes at `address` the present one, if it was one of the last two. */
  recall(address: number, length: number): boolean {
    const present = this.region;
    if (present.holds(address, length)) return true;
    if (!this.previousRegion.holds(address, length)) return false;
    this.region = this.previousRegion;
    this.previousRegion = present;
    return true;
  }

  /** How many chains, from the next one on, {@linkcode popPlain} would take one after the other; see there. */
  plainAhead(kind: number): number {
    if (this.#next === this.#ahead && !this.#lookAhead(kind)) return 0;
    return distance16(this.#ahead, this.#next);
  }

  /** Takes the next `count` chains, which {@linkcode plainAhead} has told of. */
  takePlain(count: number): void {
    this.#next = add16(this.#next, count);
    this.#popped += count;
  }

  /**
   * Fills the next chains with a frame each, as far as they are one writable buffer that holds it, and gives them back.
   *
   * @param frames The frames.
   * @param from Index of the first.
   * @param prefix What each buffer begins with, as three words.
   * @param prefixLength How much of that goes before the frame, in bytes: 12 or a little less.
   * @returns Index of the first frame that found no such chain.
   * @throws {RingFault} If the driver broke a rule.
   */
  fillFrames(frames: FrameBatch, from: number, prefix: Int32Array, prefixLength: number): number {
    const { bytes, offsets: sources, lengths, count } = frames;
    const word0 = prefix[0]!;
    const word1 = prefix[1]!;
    const word2 = prefix[2]!;
    const least = prefix.byteLength;
    let filled = 0;
    const mask = this.#mask;
    const states = this.#states;
    const round = this.#round;
    const usedView = this.#usedView;
    const ring = this.#used;
    let i = from;
    while (i < count && this.plainAhead(WRITE) > 0) {
      const { heads, offsets, sizes } = this;
      const { memory } = this.region;
      const { view } = memory;
      if (memory !== this.#filled) this.#fill(memory);
      const targets = this.#targets;
      const ahead = this.#ahead;
      let taken = 0;
      let next = this.#next;
      let used = this.#usedIndex;
      // Nothing is called in this loop: so the engine keeps all that does not change in registers.
      for (; i < count && next !== ahead; i = (i + 1) | 0) {
        const slot = next & mask;
        const length = lengths[i]!;
        const size = sizes[slot]!;
        const total = (length + prefixLength) | 0;
        if (size < total || size < least) break;
        const at = offsets[slot]!;
        view.setInt32(at, word0, true);
        view.setInt32((at + 4) | 0, word1, true);
        view.setInt32((at + 8) | 0, word2, true);
        targets[taken] = (at + prefixLength) | 0;
        taken = (taken + 1) | 0;
        const head = heads[slot]!;
        states[head] = round;
        const element = (ring + (used & mask) * USED_STRIDE) | 0;
        usedView.setInt32((element + USED_ID) | 0, head, true);
        usedView.setInt32((element + USED_LEN) | 0, total, true);
        used = (used + 1) & 0xffff;
        next = (next + 1) & 0xffff;
        filled = (filled + total) | 0;
      }
      memory.copyEach(targets, bytes, sources, lengths, i - taken, taken);
      this.#popped += taken;
      this.#next = next;
      this.#usedIndex = used;
      if (next !== ahead) break;
    }
    this.#run = -1;
    this.filledBytes = filled;
    return i;
  }

  /** From now on frames are copied into this memory. */
  #fill(memory: Memory): void {
    this.#filled = memory;
    this.#targets = memory.words(BATCH_SIZE);
  }

  /** How many chains are known to be available. */
  get available(): number {
    return distance16(this.#fetched, this.#next);
  }

  /**
   * Takes the next chain. Returns false if there is none.
   *
   * @throws {RingFault} If the driver broke a rule.
   */
  pop(): boolean {
    const next = this.#next;
    if (next === this.#fetched && !this.#fetch()) return false;
    const head = this.heads[next & this.#mask]!;
    const view = this.#descView;
    const at = this.#desc + head * DESC_SIZE;
    const flags = view.getUint16(at + DESC_FLAGS, true);
    const length = view.getUint32(at + DESC_LEN, true);
    let address = view.getUint32(at + DESC_ADDR, true);
    const high = view.getUint32(at + DESC_ADDR + 4, true);
    // Addresses below 4 GiB stay integers for the engine.
    if (high !== 0) address += high * HIGH;
    this.head = head;
    if ((flags & ~WRITE) !== 0 || this.#ordered) {
      this.#walk(address, length, flags, view.getUint16(at + DESC_NEXT, true));
    } else {
      if (length === 0 || (address < this.#high && address + length > this.#low)) {
        this.#checkBuffer(address, length);
      }
      this.addresses[0] = address;
      this.lengths[0] = length;
      this.count = 1;
      if (flags === 0) {
        this.readable = 1;
        this.readableBytes = length;
        this.writableBytes = 0;
      } else {
        this.readable = this.readableBytes = 0;
        this.writableBytes = length;
      }
    }
    this.#next = this.#ahead = (next + 1) & 0xffff;
    this.#popped++;
    return true;
  }

  /** Puts the last `chains` chains back: they will be popped again. */
  unpop(chains: number): void {
    this.#next = this.#ahead = add16(this.#next, -chains);
    this.#counted = Math.max(this.#counted, this.#popped);
    this.#popped -= chains;
    this.#expected = this.heads[this.#next & this.#mask]!;
  }

  /** Adds a buffer to the chain. */
  #add(address: number, length: number, flags: number): void {
    const at = this.count++;
    this.#checkBuffer(address, length);
    if (flags & WRITE) {
      this.writableBytes += length;
    } else {
      if (this.readable !== at && this.#profile !== "dpdk") {
        this.fault("readable-after-writable", this.#next, { at });
      }
      this.readable = at + 1;
      this.readableBytes += length;
    }
    this.addresses[at] = address;
    this.lengths[at] = length;
  }

  /**
   * Walks a chain of more than one plain buffer, from its first descriptor on. Nothing that the driver writes makes
   * it run longer than its limit.
   */
  #walk(address: number, length: number, flags: number, next: number): void {
    let view = this.#descView;
    let base = this.#desc;
    let entries = this.#size;
    let left = this.#size;
    let nested = false;
    const profile = this.#profile;
    const mask = this.#mask;
    // A chain that was put back is read again, but counts once.
    const counts = this.#popped >= this.#counted;
    let last = this.head;
    this.count = this.readable = 0;
    this.readableBytes = this.writableBytes = 0;
    if (this.#ordered && this.#expected >= 0 && this.head !== this.#expected) {
      this.fault("not-in-order", this.#next, { head: this.head, expected: this.#expected });
    }
    for (let i = this.head;;) {
      if (left-- === 0) this.fault("chain-too-long", this.#next, { head: this.head, size: this.#size });
      if (this.#strict && (flags & ~(NEXT | WRITE | INDIRECT)) !== 0) {
        this.fault("descriptor-flags", this.#next, { descriptor: i, flags });
      }
      if (flags & INDIRECT && !(nested && (profile === "qemu" || profile === "dpdk"))) {
        this.#checkIndirect(nested, flags, length);
        entries = left = Math.floor(length / DESC_SIZE);
        if (!this.#tableRegion.holds(address, length)) {
          this.#tableRegion = this.buffers.contiguous(address, length, READ) ?? NO_REGION;
        }
        const region = this.#tableRegion;
        const whole = region.holds(address, length);
        view = whole ? region.memory.view : this.#gather(address, length);
        base = whole ? region.offsetOf(address) : 0;
        nested = true;
        i = 0;
        if (counts) this.#indirectTables++;
      } else {
        this.#add(address, length, flags);
        if (this.#strict && this.readableBytes + this.writableBytes > HIGH) {
          this.fault("chain-too-large", this.#next, { bytes: this.readableBytes + this.writableBytes });
        }
        if (!(flags & NEXT)) {
          // pop counts one.
          if (counts) this.#extraDescriptors += this.count - 1;
          this.#expected = (last + 1) & mask;
          return;
        }
        if (this.#ordered && next !== (nested ? i + 1 : (i + 1) & mask)) {
          this.fault("not-in-order", this.#next, { descriptor: i, next });
        }
        // vhost reads the entries of an indirect table one after the other, whatever `next` says.
        i = nested && profile === "linux" ? i + 1 : next;
        if (i >= entries) this.fault("next-out-of-range", this.#next, { next: i, entries });
        if (!nested) {
          if (this.#strict) this.#mark(last, i);
          last = i;
        }
      }
      const at = base + i * DESC_SIZE;
      address = view.getUint32(at + DESC_ADDR, true);
      const high = view.getUint32(at + DESC_ADDR + 4, true);
      if (high !== 0) address += high * HIGH;
      length = view.getUint32(at + DESC_LEN, true);
      flags = view.getUint16(at + DESC_FLAGS, true);
      next = view.getUint16(at + DESC_NEXT, true);
    }
  }

  /** Notes that a descriptor of the ring belongs to the chain now walked, behind `previous`. */
  #mark(previous: number, member: number): void {
    const head = this.head;
    const states = this.#states;
    // A chain that runs in circles meets its own: it ends as too long. One that was put back does, too.
    if (member === head || (states[member] === MEMBER && this.#owners[member] === head)) return;
    if (states[member]! >= this.#round) {
      this.fault("descriptor-shared", this.#next, { head, descriptor: member });
    }
    states[member] = MEMBER;
    states[head] = LINKED_HEAD;
    this.#owners[member] = head;
    this.#members[previous] = this.#members[member] = member;
  }

  /** The further descriptors of a chain are the driver's again, as soon as it hears of it. */
  #unmark(head: number): void {
    let member = head;
    do {
      member = this.#members[member]!;
      this.#states[member] = this.#round;
    } while (this.#members[member] !== member);
  }

  #checkIndirect(nested: boolean, flags: number, length: number): void {
    const profile = this.#profile;
    if (nested) this.fault("indirect-nested", this.#next);
    if (!this.#indirect && profile === "strict") this.fault("indirect-not-negotiated", this.#next);
    if (flags & NEXT && profile === "strict") this.fault("indirect-and-next", this.#next);
    if (this.count > 0 && (profile === "qemu" || profile === "dpdk")) {
      this.fault("indirect-not-first", this.#next);
    }
    // DPDK leaves the bytes behind the last whole entry alone.
    if (length < DESC_SIZE || (length % DESC_SIZE !== 0 && profile !== "dpdk")) {
      this.fault("indirect-length", this.#next, { length });
    }
    if (length / DESC_SIZE > this.#indirectLimit) {
      this.fault("indirect-too-long", this.#next, {
        entries: length / DESC_SIZE,
        limit: this.#indirectLimit,
      });
    }
  }

  /** Copies an indirect table that lies across mappings, so that it can be read like any other. */
  #gather(address: number, length: number): DataView {
    if (this.#scratch.size < length) this.#scratch = new Memory(length);
    if (!this.buffers.read(address, this.#scratch.bytes.subarray(0, length))) {
      this.fault("bad-address", this.#next, { address, length });
    }
    return this.#scratch.view;
  }

  #checkBuffer(address: number, length: number): void {
    if (length === 0 && (this.#profile === "strict" || this.#profile === "qemu")) {
      this.fault("zero-length", this.#next);
    }
    if (address >= this.#high || address + length <= this.#low) return;
    const { desc, driver, device } = this.#areas;
    const size = this.#size;
    const hits = (start: number, bytes: number) => address < start + bytes && address + length > start;
    if (hits(desc, descBytes(size)) || hits(driver, availBytes(size)) || hits(device, usedBytes(size))) {
      this.fault("buffer-overlaps-ring", this.#next, { address, length });
    }
  }

  /** Gives a chain back, with the number of bytes written into it. It shows with {@linkcode publish}. */
  push(head: number, length: number): void {
    if (this.#states[head] === LINKED_HEAD) this.#unmark(head);
    this.#states[head] = this.#round;
    const index = this.#usedIndex;
    this.#usedIndex = add16(index, 1);
    let element = this.#used + (index & this.#mask) * USED_STRIDE;
    if (this.#coalesce) {
      // One element for a run of chains of which nothing was written: at its first slot, with its last head.
      if (length !== 0) this.#run = -1;
      else if (this.#run < 0) this.#run = element;
      else element = this.#run;
    }
    this.#usedView.setUint32(element + USED_ID, head, true);
    this.#usedView.setUint32(element + USED_LEN, length, true);
  }

  /** Gives `count` chains back, by their heads, with the number of bytes written into each. They show with {@linkcode publish}. */
  pushAll(heads: Uint16Array, lengths: Uint32Array, count: number): void {
    if (this.#coalesce) {
      for (let i = 0; i < count; i++) this.push(heads[i]!, lengths[i]!);
      return;
    }
    const mask = this.#mask;
    const states = this.#states;
    const round = this.#round;
    const view = this.#usedView;
    const ring = this.#used;
    let used = this.#usedIndex;
    for (let i = 0; i < count; i++) {
      const head = heads[i]!;
      if (states[head] === LINKED_HEAD) this.#unmark(head);
      states[head] = round;
      const element = (ring + (used & mask) * USED_STRIDE) | 0;
      view.setInt32((element + USED_ID) | 0, head, true);
      view.setUint32((element + USED_LEN) | 0, lengths[i]!, true);
      used = (used + 1) & 0xffff;
    }
    this.#usedIndex = used;
  }

  /**
   * Gives chains of one buffer back, of which nothing was written: those taken from index `first` of the available
   * ring on.
   */
  pushBack(first: number, count: number): void {
    const mask = this.#mask;
    const heads = this.heads;
    if (this.#coalesce) {
      for (let i = 0; i < count; i++) this.push(heads[(first + i) & mask]!, 0);
      return;
    }
    const states = this.#states;
    const round = this.#round;
    const view = this.#usedView;
    const ring = this.#used;
    const used = this.#usedIndex;
    for (let i = 0; i < count; i++) {
      const head = heads[(first + i) & mask]!;
      states[head] = round;
      const element = (ring + ((used + i) & mask) * USED_STRIDE) | 0;
      view.setInt32((element + USED_ID) | 0, head, true);
      view.setInt32((element + USED_LEN) | 0, 0, true);
    }
    this.#usedIndex = add16(used, count);
  }

  /**
   * Shows the driver what was pushed.
   *
   * @returns Whether it wants an interrupt.
   * @throws {RingFault} If the driver's flags are bad.
   */
  publish(): boolean {
    const idx = this.#usedIndex;
    if (idx === this.#published) return false;
    this.#published = idx;
    this.#run = -1;
    if (++this.#round === LAST_ROUND) this.#countAnew();
    // The store must not become visible before the elements, nor the load of used_event or flags below happen
    // before the store (2.7.8.1): an atomic access orders both.
    if (this.#shared) Atomics.store(this.#usedIndexes, USED_IDX >> 1, idx);
    else this.#usedView.setUint16(this.#used + USED_IDX, idx, true);
    const old = this.#signalled;
    const valid = this.#signalledValid;
    this.#signalled = idx;
    this.#signalledValid = true;
    const wanted = this.#eventIdx
      ? needEvent16(this.#loadUsedEvent(), idx, old) || !valid
      : (this.#loadAvailFlags() & NO_INTERRUPT) === 0;
    if (wanted) this.#interrupts++;
    else this.#interruptsSuppressed++;
    return wanted;
  }

  /** Forgets the rounds so far. */
  #countAnew(): void {
    const states = this.#states;
    for (let i = 0; i < states.length; i++) if (states[i]! <= LAST_ROUND) states[i] = 0;
    this.#round = 1;
  }

  #loadUsedEvent(): number {
    if (this.#profile === "strict" && this.#loadAvailFlags() !== 0) this.fault("avail-flags", this.#next);
    return this.#availView.getUint16(this.#avail + availBytes(this.#size) + USED_EVENT, true);
  }

  #loadAvailFlags(): number {
    const flags = this.#shared
      ? Atomics.load(this.#availIndex, AVAIL_FLAGS >> 1)
      : this.#availView.getUint16(this.#avail + AVAIL_FLAGS, true);
    if (flags & ~NO_INTERRUPT && this.#profile === "strict") this.fault("avail-flags", this.#next, { flags });
    return flags;
  }

  /** Asks the driver for no kicks: a hint. With EVENT_IDX the event index simply stays behind. */
  disableNotify(): void {
    if (!this.#eventIdx) this.#usedView.setUint16(this.#used + USED_FLAGS, NO_NOTIFY, true);
  }

  /**
   * Asks the driver for a kick with the next chain.
   *
   * @returns Whether a chain came in meanwhile: then no kick may follow, and the caller must go on.
   * @throws {RingFault} If the available ring is bad.
   */
  enableNotify(): boolean {
    if (this.#eventIdx) {
      this.#usedView.setUint16(this.#used + usedBytes(this.#size) + AVAIL_EVENT, this.#fetched, true);
    } else {
      this.#usedView.setUint16(this.#used + USED_FLAGS, 0, true);
    }
    // The store above must be visible before avail.idx is read again: the atomic exchange is a full barrier.
    if (this.#shared) Atomics.or(this.#usedIndexes, USED_FLAGS >> 1, 0);
    return this.#fetch();
  }
}
