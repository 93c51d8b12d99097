/**
 * The device's side of one split virtqueue: takes chains from the available ring, gives them back through the used ring.
 *
 * Everything in the rings is the driver's and may change at any time: each field is read once, and the copy is checked.
 * Where the rings are stands in `device_ring.ts`, each side in `device_available.ts` and `device_used.ts`, what a chain
 * must be in `device_chain.ts`, which descriptors the device has in `descriptor_states.ts`.
 *
 * @module
 */
import { type AddressSpace, NO_REGION, type Region } from "../../core/address_space.ts";
import type { RingFault } from "../../core/fault.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { distance16 } from "../../core/index.ts";
import { DescriptorSnapshots } from "./descriptor_snapshots.ts";
import { DescriptorStates } from "./descriptor_states.ts";
import { DeviceAvailable } from "./device_available.ts";
import { DeviceChain } from "./device_chain.ts";
import { DeviceFill } from "./device_fill.ts";
import { DeviceRing } from "./device_ring.ts";
import { DeviceUsed } from "./device_used.ts";
import type { DeviceFaultCode, Profile } from "./faults.ts";
import { hasFeature } from "./features.ts";
import type { RingAddresses } from "./ring_areas.ts";
import { RingMap, type Rooms } from "./ring_map.ts";

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
  /** Whether it looks if descriptors of chains that it has are changed. It takes time. */
  readonly snapshot?: boolean;
  /** Where the rings of all the device's queues are noted, as no buffer may overlap one; a map of its own if not given. */
  readonly ringMap?: RingMap;
}

/** See the module. The chain that {@linkcode DeviceQueue.pop} took stands in `head`, `count` and what follows it. */
export class DeviceQueue {
  /** For fault messages: `rx0`, `tx0`, `ctrl`. */
  readonly name: string;
  /** Queue index, as doorbells and interrupts carry it. Change it only while the queue is stopped. */
  index: number;
  /** Largest size the device allows. */
  readonly maxSize: number;
  /** Where the three ring parts are looked up. Replace it only while the queue is stopped. */
  rings: AddressSpace;
  /** Where buffers and indirect tables are looked up. Replace it only while the queue is stopped. */
  buffers: AddressSpace;
  /** Address of each buffer of the chain popped last. */
  readonly addresses: readonly number[];
  /** Length of each of them. */
  readonly lengths: readonly number[];
  /** Heads fetched from the available ring, by slot. */
  heads: Uint16Array;
  /** Where the buffers of chains that {@linkcode popPlain} takes lie in the region's memory, by slot. */
  offsets: Int32Array;
  /** How long they are, by slot. */
  sizes: Int32Array;
  /** Where a buffer was found last, by {@linkcode find}: the user of the queue keeps it here. */
  region: Region = NO_REGION;
  /** And where the one before it was found: header and frame often lie in two regions. */
  previousRegion: Region = NO_REGION;

  readonly #mayCoalesce: boolean;
  readonly #ring: DeviceRing;
  readonly #states: DescriptorStates;
  readonly #snapshots: DescriptorSnapshots | undefined;
  readonly #available: DeviceAvailable;
  readonly #chain: DeviceChain;
  readonly #used: DeviceUsed;
  readonly #fill: DeviceFill;
  #inReset = false;
  readonly #ringMap: RingMap;
  #rooms: Rooms;
  #buffersGeneration = -1;
  #ringMapGeneration = -1;

  /** Makes a stopped queue. */
  constructor(
    name: string,
    index: number,
    maxSize: number,
    rings: AddressSpace,
    buffers: AddressSpace,
    options: DeviceQueueOptions = {},
  ) {
    const { profile = "strict", shared = false, coalesce = false, snapshot = false } = options;
    this.name = name;
    this.index = index;
    this.maxSize = maxSize;
    this.rings = rings;
    this.buffers = buffers;
    this.#mayCoalesce = coalesce;
    this.#ringMap = options.ringMap ?? new RingMap();
    this.#rooms = this.#ringMap.rooms(buffers);
    this.#ring = new DeviceRing(name, profile, shared);
    this.#states = new DescriptorStates(this.#ring);
    this.#snapshots = snapshot ? new DescriptorSnapshots(this.#ring) : undefined;
    this.#available = new DeviceAvailable(this.#ring, this.#states, this.#snapshots);
    this.#chain = new DeviceChain(this.#ring, this.#states);
    this.#used = new DeviceUsed(this.#ring, this.#states);
    this.#fill = new DeviceFill(this.#ring, this.#states, this.#available, this.#used);
    ({ addresses: this.addresses, lengths: this.lengths } = this.#chain);
    ({ heads: this.heads, offsets: this.offsets, sizes: this.sizes } = this.#available);
  }

  /** What it has done so far. */
  get counters(): DeviceQueueCounters {
    const { taken } = this.#available;
    return {
      chains: taken,
      descriptors: taken + this.#chain.extraBuffers,
      indirectTables: this.#chain.tables,
      interrupts: this.#used.interrupts,
      interruptsSuppressed: this.#used.interruptsSuppressed,
    };
  }

  /** Whether it is started and not broken. */
  get running(): boolean {
    return this.#ring.running;
  }

  /** Whether it was {@linkcode reset}, and has not been started since. */
  get inReset(): boolean {
    return this.#inReset;
  }

  /** The fault that stopped it, if one did. */
  get broken(): RingFault | undefined {
    return this.#ring.broken;
  }

  /** Number of entries, once started. */
  get size(): number {
    return this.#ring.size;
  }

  /** Addresses of the three parts, once started. */
  get areas(): RingAddresses {
    return this.#ring.areas;
  }

  /** Index of the next chain to take. */
  get availIndex(): number {
    return this.#available.next;
  }

  /** Index of the next used element to write. */
  get usedIndex(): number {
    return this.#used.index;
  }

  /** How many chains are known to be available. */
  get available(): number {
    return distance16(this.#available.fetched, this.#available.next);
  }

  /** Head of the chain popped last: what {@linkcode push} wants back. */
  get head(): number {
    return this.#chain.head;
  }

  /** Buffers of that chain. */
  get count(): number {
    return this.#chain.count;
  }

  /** How many of them are device-readable; the writable ones follow. */
  get readable(): number {
    return this.#chain.readable;
  }

  /** Bytes in the readable ones. */
  get readableBytes(): number {
    return this.#chain.readableBytes;
  }

  /** Bytes in the writable ones. */
  get writableBytes(): number {
    return this.#chain.writableBytes;
  }

  /** Bytes that {@linkcode fillFrames} has written, the last time. */
  get filledBytes(): number {
    return this.#fill.filledBytes;
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
    const inOrder = hasFeature(features, "IN_ORDER");
    const ring = this.#ring;
    this.#ringMap.remove(this.name);
    ring.start(size, this.maxSize, areas, hasFeature(features, "EVENT_IDX"));
    ring.refresh(this.rings);
    if (ring.strict) this.#ringMap.add(this.name, this.rings, size, areas);
    // A ring that goes on somewhere tells its place in the table with its first chain.
    this.#states.start(inOrder && ring.strict, availIndex === 0 ? 0 : -1);
    this.#available.start(availIndex);
    ({ heads: this.heads, offsets: this.offsets, sizes: this.sizes } = this.#available);
    this.#chain.start(hasFeature(features, "INDIRECT_DESC"));
    this.#used.start(usedIndex, inOrder && this.#mayCoalesce);
    this.#snapshots?.start();
    this.#buffersGeneration = -1;
    this.refresh();
    ring.running = true;
    this.#inReset = false;
  }

  /** Stops the queue, and forgets the fault if one did before. Returns the index of the next chain it would have taken. */
  stop(): number {
    this.#ring.running = false;
    this.#ring.broken = undefined;
    this.#inReset = false;
    this.#ringMap.remove(this.name);
    return this.#available.next;
  }

  /** Stops the queue as the driver asked for with RING_RESET: frames that belong on it are dropped, they do not wait. */
  reset(): void {
    this.stop();
    this.#inReset = true;
  }

  /**
   * Looks the ring parts up again if the map has changed, and forgets where buffers were found if that, or the rings
   * that they must not overlap, did. To be called before work on the queue.
   *
   * @throws {RingFault} If a part is no longer mapped.
   */
  refresh(): void {
    const { rings, buffers } = this;
    const ringMap = this.#ringMap;
    this.#ring.refresh(rings);
    if (buffers.generation === this.#buffersGeneration && ringMap.generation === this.#ringMapGeneration) {
      return;
    }
    this.#buffersGeneration = buffers.generation;
    this.#ringMapGeneration = ringMap.generation;
    this.#rooms = ringMap.rooms(buffers);
    this.region = this.previousRegion = NO_REGION;
    this.#chain.remap(this.#rooms);
    this.#snapshots?.remap(buffers);
    if (this.#available.ahead !== this.#available.next) this.#available.forgetAhead();
  }

  /**
   * Raises a fault and breaks the queue: it serves nothing more until it is started again.
   *
   * @throws {RingFault} Always.
   */
  fault(code: DeviceFaultCode, index: number, values: Record<string, number | bigint | string> = {}): never {
    this.#ring.fault(code, index, values);
  }

  /**
   * Takes the next chain. Returns false if there is none.
   *
   * @throws {RingFault} If the driver broke a rule.
   */
  pop(): boolean {
    const available = this.#available;
    const { next } = available;
    if (next === available.fetched && !available.fetch()) return false;
    // Looking ahead went on with the order of the table, too.
    if (next !== available.ahead) available.forgetAhead();
    // One that was put back is read again, but counts once.
    const counts = available.taken >= available.counted;
    const head = available.heads[next & this.#ring.mask]!;
    if (this.#snapshots !== undefined) this.#snapshots.check(head, next);
    this.#chain.read(head, next, counts);
    available.takeAny();
    return true;
  }

  /** Puts the last `chains` chains back: they will be popped again. */
  unpop(chains: number): void {
    this.#available.putBack(chains);
  }

  /**
   * Takes the next chain if it is one buffer of the given kind (0 or `VRING_DESC_F_WRITE`) within {@linkcode region}.
   *
   * @returns Its slot in `heads`, `offsets` and `sizes`; or -1: then {@linkcode pop} tells what the chain is.
   * @throws {RingFault} If the driver broke a rule.
   */
  popPlain(kind: number): number {
    return this.#available.takePlain(kind, this.region);
  }

  /** How many chains, from the next one on, {@linkcode popPlain} would take one after the other; see there. */
  plainAhead(kind: number): number {
    return this.#available.plainAhead(kind, this.region);
  }

  /** Takes the next `count` chains, which {@linkcode plainAhead} has told of. */
  takePlain(count: number): void {
    this.#available.take(count);
  }

  /** The region that holds the byte of a buffer at `address` and grants `access`, as far as no ring lies in it. */
  find(address: number, access: number): Region | undefined {
    return this.#rooms.find(address, access);
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
    return this.#fill.fill(frames, from, prefix, prefixLength, this.region);
  }

  /** Gives a chain back, with the number of bytes written into it. It shows with {@linkcode publish}. */
  push(head: number, length: number): void {
    if (this.#snapshots !== undefined) this.#snapshots.release(head, this.#available.next);
    this.#used.push(head, length);
  }

  /** Gives `count` chains back, by their heads, with the number of bytes written into each. They show with {@linkcode publish}. */
  pushAll(heads: Uint16Array, lengths: Uint32Array, count: number): void {
    if (this.#snapshots !== undefined) {
      for (let i = 0; i < count; i++) this.#snapshots.release(heads[i]!, this.#available.next);
    }
    this.#used.pushAll(heads, lengths, count);
  }

  /**
   * Gives chains of one buffer back, of which nothing was written: those taken from index `first` of the available
   * ring on.
   */
  pushBack(first: number, count: number): void {
    this.#used.pushUnwritten(this.#available.heads, first, count);
  }

  /**
   * Shows the driver what was pushed.
   *
   * @returns Whether it wants an interrupt.
   * @throws {RingFault} If the driver's flags are bad.
   */
  publish(): boolean {
    if (!this.#used.unshown) return false;
    if (this.#ring.running) this.refresh();
    // A broken queue may have lost its place in memory.
    else if (!this.#ring.isCurrent(this.rings)) return false;
    return this.#used.publish(this.#available.next);
  }

  /** Asks the driver for no kicks: a hint. With EVENT_IDX the event index simply stays behind. */
  disableNotify(): void {
    this.#ring.disableNotify();
  }

  /**
   * Asks the driver for a kick with the next chain.
   *
   * @returns Whether a chain came in meanwhile: then no kick may follow, and the caller must go on.
   * @throws {RingFault} If the available ring is bad.
   */
  enableNotify(): boolean {
    this.#ring.enableNotify(this.#available.fetched);
    return this.#available.fetch();
  }
}
