/**
 * The device's side of one split virtqueue: takes chains from the available ring, gives them back through the used ring.
 *
 * Everything in the rings is the driver's and may change at any time: each field is read once, and the copy is checked.
 *
 * @module
 */
import { type AddressSpace, READ, READ_WRITE, type Region } from "../../core/address_space.ts";
import { RingFault } from "../../core/fault.ts";
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

/** How many entries an indirect table may have, by profile; strict and DPDK allow the queue size. */
const INDIRECT_LIMIT: Readonly<Record<Profile, number>> = { strict: 0, linux: 65536, qemu: 1024, dpdk: 0 };

/** What one queue's device side has done. */
export class DeviceQueueCounters {
  /** Chains taken. */
  chains = 0;
  /** Descriptors read, those of indirect tables included. */
  descriptors = 0;
  /** Indirect tables followed. */
  indirectTables = 0;
  /** Interrupts sent. */
  interrupts = 0;
  /** Times that used chains were published but the driver wanted no interrupt. */
  interruptsSuppressed = 0;
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
  /** What it has done. */
  readonly counters: DeviceQueueCounters = new DeviceQueueCounters();

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
  addresses: Float64Array = new Float64Array(1);
  /** Length of each buffer. */
  lengths: Float64Array = new Float64Array(1);

  readonly #profile: Profile;
  readonly #shared: boolean;
  readonly #mayCoalesce: boolean;
  #running = false;
  #broken: RingFault | undefined;
  #size = 0;
  #mask = 0;
  #indirectLimit = 0;
  #eventIdx = false;
  #indirect = false;
  #coalesce = false;
  #areas: RingAddresses = { desc: 0, driver: 0, device: 0 };
  #generation = -1;
  #descView: DataView = new Memory(0).view;
  #desc = 0;
  #availView: DataView = this.#descView;
  #avail = 0;
  #usedView: DataView = this.#descView;
  #used = 0;
  #availIndex: Uint16Array = new Uint16Array(2);
  #usedIndexes: Uint16Array = this.#availIndex;
  /** Bounds of all three parts together, if buffers could overlap them. */
  #low = Infinity;
  #high = 0;
  /** Heads fetched from the available ring, by slot. */
  #heads: Uint16Array = new Uint16Array(0);
  /** Which heads are with the device. */
  #live: Uint8Array = new Uint8Array(0);
  #next = 0;
  #fetched = 0;
  #usedIndex = 0;
  #published = 0;
  #signalled = 0;
  #signalledValid = false;
  #lastHead = 0;
  /** Chains given back whose element is still to be written. */
  #coalesced = 0;
  #scratch: Memory = new Memory(0);

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
    this.#shared = options.shared ?? false;
    this.#mayCoalesce = options.coalesce ?? false;
  }

  /** Whether it is started and not broken. */
  get running(): boolean {
    return this.#running && this.#broken === undefined;
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
    const limit = size + this.#indirectLimit;
    if (this.addresses.length < limit) {
      this.addresses = new Float64Array(limit);
      this.lengths = new Float64Array(limit);
    }
    this.#heads = new Uint16Array(size);
    this.#live = new Uint8Array(size);
    this.#next = this.#fetched = availIndex;
    this.#usedIndex = this.#published = this.#signalled = usedIndex;
    this.#signalledValid = false;
    this.#coalesced = 0;
    this.#resolve();
    this.#running = true;
  }

  /** Stops the queue. Returns the index of the next chain it would have taken. */
  stop(): number {
    this.#running = false;
    return this.#next;
  }

  /**
   * Looks the ring parts up again if the map has changed. To be called before work on the queue.
   *
   * @throws {RingFault} If a part is no longer mapped.
   */
  refresh(): void {
    if (this.rings.generation !== this.#generation) this.#resolve();
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
    this.#desc = desc + descRegion.delta;
    this.#availView = availRegion.memory.view;
    this.#avail = driver + availRegion.delta;
    this.#usedView = usedRegion.memory.view;
    this.#used = device + usedRegion.delta;
    if (this.#shared) {
      const words = availBytes(this.#size) >> 1;
      this.#availIndex = new Uint16Array(availRegion.memory.view.buffer, this.#avail, words);
      this.#usedIndexes = new Uint16Array(usedRegion.memory.view.buffer, this.#used, 2);
    }
    const watch = this.#profile === "strict" && this.rings === this.buffers;
    this.#low = watch ? Math.min(desc, driver, device) : Infinity;
    this.#high = watch
      ? Math.max(
        desc + descBytes(this.#size),
        driver + availBytes(this.#size),
        device + usedBytes(this.#size),
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
    this.#broken = new RingFault("device", this.name, code, index, values);
    throw this.#broken;
  }

  /** Reads avail.idx. In shared memory an atomic load, which also keeps later reads behind it. */
  #loadAvailIdx(): number {
    if (this.#shared) return Atomics.load(this.#availIndex, AVAIL_IDX >> 1);
    return this.#availView.getUint16(this.#avail + AVAIL_IDX, true);
  }

  /** Takes over what the driver has made available since. Returns whether there is anything. */
  #fetch(): boolean {
    const idx = this.#loadAvailIdx();
    const size = this.#size;
    if (distance16(idx, this.#next) > size) this.fault("avail-idx-jump", this.#next, { idx, size });
    const strict = this.#profile === "strict";
    for (let at = this.#fetched; at !== idx; at = add16(at, 1)) {
      const slot = at & this.#mask;
      const head = this.#availView.getUint16(this.#avail + AVAIL_RING + slot * AVAIL_STRIDE, true);
      if (head >= size) this.fault("head-out-of-range", at, { head, size });
      if (strict) {
        if (this.#live[head]) this.fault("head-available-twice", at, { head });
        this.#live[head] = 1;
      }
      this.#heads[slot] = head;
    }
    this.#fetched = idx;
    return idx !== this.#next;
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
    if (this.#next === this.#fetched && !this.#fetch()) return false;
    const head = this.#heads[this.#next & this.#mask]!;
    const view = this.#descView;
    const at = this.#desc + head * DESC_SIZE;
    const flags = view.getUint16(at + DESC_FLAGS, true);
    this.head = head;
    if ((flags & ~WRITE) !== 0) {
      this.#walk(head, flags);
    } else {
      const length = view.getUint32(at + DESC_LEN, true);
      const address = view.getUint32(at + DESC_ADDR + 4, true) * HIGH + view.getUint32(at + DESC_ADDR, true);
      this.count = 0;
      this.readable = 0;
      this.readableBytes = this.writableBytes = 0;
      this.#add(address, length, flags);
    }
    this.#next = add16(this.#next, 1);
    this.counters.chains++;
    return true;
  }

  /** Puts the last `chains` chains back: they will be popped again. */
  unpop(chains: number): void {
    this.#next = add16(this.#next, -chains);
    this.counters.chains -= chains;
  }

  /** Adds a buffer to the chain. */
  #add(address: number, length: number, flags: number): void {
    const at = this.count++;
    if (length === 0 && (this.#profile === "strict" || this.#profile === "qemu")) {
      this.fault("zero-length", this.#next);
    }
    if (address < this.#high && address + length > this.#low) this.#checkOverlap(address, length);
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
    this.counters.descriptors++;
  }

  /** Walks a chain of more than one plain buffer. Nothing that the driver writes makes it run longer than its limit. */
  #walk(head: number, flags: number): void {
    let view = this.#descView;
    let base = this.#desc;
    let entries = this.#size;
    let nested = false;
    let i = head;
    let left = this.#size;
    const profile = this.#profile;
    this.count = this.readable = 0;
    this.readableBytes = this.writableBytes = 0;
    for (;;) {
      if (left-- === 0) this.fault("chain-too-long", this.#next, { head, size: this.#size });
      const at = base + i * DESC_SIZE;
      const length = view.getUint32(at + DESC_LEN, true);
      const address = view.getUint32(at + DESC_ADDR + 4, true) * HIGH + view.getUint32(at + DESC_ADDR, true);
      if (profile === "strict" && (flags & ~(NEXT | WRITE | INDIRECT)) !== 0) {
        this.fault("descriptor-flags", this.#next, { descriptor: i, flags });
      }
      if (flags & INDIRECT && !(nested && profile !== "strict" && profile !== "linux")) {
        this.#checkIndirect(nested, flags, length);
        entries = left = length / DESC_SIZE;
        const region = this.buffers.contiguous(address, length, READ) ?? this.#gather(address, length);
        view = region.memory.view;
        base = address + region.delta;
        nested = true;
        i = 0;
        this.counters.indirectTables++;
      } else {
        this.#add(address, length, flags);
        if (this.readableBytes + this.writableBytes > HIGH && profile === "strict") {
          this.fault("chain-too-large", this.#next, { bytes: this.readableBytes + this.writableBytes });
        }
        if (!(flags & NEXT)) return;
        // vhost reads the entries of an indirect table one after the other, whatever `next` says.
        i = nested && profile === "linux" ? i + 1 : view.getUint16(at + DESC_NEXT, true);
        if (i >= entries) this.fault("next-out-of-range", this.#next, { next: i, entries });
      }
      flags = view.getUint16(base + i * DESC_SIZE + DESC_FLAGS, true);
    }
  }

  #checkIndirect(nested: boolean, flags: number, length: number): void {
    const profile = this.#profile;
    if (nested) this.fault("indirect-nested", this.#next);
    if (!this.#indirect && profile === "strict") this.fault("indirect-not-negotiated", this.#next);
    if (flags & NEXT && profile === "strict") this.fault("indirect-and-next", this.#next);
    if (this.count > 0 && (profile === "qemu" || profile === "dpdk")) {
      this.fault("indirect-not-first", this.#next);
    }
    if (length === 0 || length % DESC_SIZE !== 0) this.fault("indirect-length", this.#next, { length });
    if (length / DESC_SIZE > this.#indirectLimit) {
      this.fault("indirect-too-long", this.#next, {
        entries: length / DESC_SIZE,
        limit: this.#indirectLimit,
      });
    }
  }

  /** Copies an indirect table that lies across mappings, so that it can be read like any other. */
  #gather(address: number, length: number): { memory: Memory; delta: number } {
    if (this.#scratch.size < length) this.#scratch = new Memory(length);
    if (!this.buffers.read(address, this.#scratch.bytes.subarray(0, length))) {
      this.fault("bad-address", this.#next, { address, length });
    }
    return { memory: this.#scratch, delta: -address };
  }

  #checkOverlap(address: number, length: number): void {
    const { desc, driver, device } = this.#areas;
    const size = this.#size;
    const hits = (start: number, bytes: number) => address < start + bytes && address + length > start;
    if (hits(desc, descBytes(size)) || hits(driver, availBytes(size)) || hits(device, usedBytes(size))) {
      this.fault("buffer-overlaps-ring", this.#next, { address, length });
    }
  }

  /** Gives a chain back, with the number of bytes written into it. It shows with {@linkcode publish}. */
  push(head: number, length: number): void {
    this.#live[head] = 0;
    if (this.#coalesce && length === 0) {
      this.#lastHead = head;
      this.#coalesced++;
    } else {
      this.#endBatch();
      this.#writeElement(this.#usedIndex, head, length);
    }
    this.#usedIndex = add16(this.#usedIndex, 1);
  }

  /** Writes the one element of a batch of which nothing was written: at its first slot, with its last head. */
  #endBatch(): void {
    if (this.#coalesced === 0) return;
    this.#writeElement(add16(this.#usedIndex, -this.#coalesced), this.#lastHead, 0);
    this.#coalesced = 0;
  }

  #writeElement(index: number, head: number, length: number): void {
    const at = this.#used + (index & this.#mask) * USED_STRIDE;
    this.#usedView.setUint32(at + USED_ID, head, true);
    this.#usedView.setUint32(at + USED_LEN, length, true);
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
    this.#endBatch();
    this.#published = idx;
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
    if (wanted) this.counters.interrupts++;
    else this.counters.interruptsSuppressed++;
    return wanted;
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
