/**
 * The driver's side of one split virtqueue: puts chains into the available ring, takes them back from the used ring.
 *
 * What the driver must rely on later (which chains are out, how long they are) stands in memory of its own: the rings
 * can be written by the device at any time, and each field that the device writes is read once and checked. Where the
 * rings are stands in `driver_ring.ts`, what is known of the descriptors in `driver_descriptors.ts`, each side in
 * `driver_available.ts` and `driver_used.ts`.
 *
 * @module
 */
import type { Region } from "../../core/address_space.ts";
import type { Allocation, DmaMemory } from "../../core/dma_memory.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { distance16 } from "../../core/index.ts";
import type { Memory } from "../../core/memory.ts";
import { DriverAvailable } from "./driver_available.ts";
import { DriverDescriptors } from "./driver_descriptors.ts";
import { allocateRing, DriverRing, type DriverRingOptions } from "./driver_ring.ts";
import { DriverUsed } from "./driver_used.ts";
import type { DriverFaultCode } from "./faults.ts";
import { hasFeature } from "./features.ts";
import type { RingAddresses } from "./ring_areas.ts";

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
export interface DriverQueueOptions extends DriverRingOptions {
  /** Longest chain that will be added: decides how long indirect tables are. */
  readonly longestChain: number;
  /** Where indirect tables go: they count among the buffers. The ring's own memory if not given. */
  readonly tables?: DmaMemory;
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
  readonly #ring: DriverRing;
  readonly #descriptors: DriverDescriptors;
  readonly #available: DriverAvailable;
  readonly #used: DriverUsed;

  /** Allocates and zeroes the ring parts. */
  constructor(name: string, index: number, dma: DmaMemory, options: DriverQueueOptions) {
    const { features, longestChain, tables = dma } = options;
    const tableEntries = hasFeature(features, "INDIRECT_DESC") && longestChain > 1 ? longestChain : 0;
    this.#ring = new DriverRing(name, options, allocateRing(dma, options));
    this.#descriptors = new DriverDescriptors(this.#ring, tables, tableEntries);
    this.#available = new DriverAvailable(this.#ring, this.#descriptors);
    this.#used = new DriverUsed(this.#ring, this.#descriptors, this.#available);
    this.name = name;
    this.index = index;
    this.size = this.#ring.size;
    this.areas = this.#ring.areas;
    this.inOrder = this.#ring.inOrder;
  }

  /**
   * Raises a fault and breaks the queue: whoever publishes or takes used chains meets the same fault again.
   *
   * @throws {RingFault} Always.
   */
  fault(code: DriverFaultCode, values: Record<string, number | bigint | string> = {}): never {
    this.#ring.fault(code, this.#used.taken, values);
  }

  /** What it has done so far. */
  get counters(): DriverQueueCounters {
    const { chains, kicks, kicksSuppressed } = this.#available;
    const { written, tables } = this.#descriptors;
    return { chains, descriptors: written, indirectTables: tables, kicks, kicksSuppressed };
  }

  /** Descriptors not in use. */
  get free(): number {
    return this.#descriptors.free;
  }

  /** Head that the next chain will have. */
  get nextHead(): number {
    return this.#descriptors.freeHead;
  }

  /** Index that the next chain gets: what a notification with data carries. */
  get availIndex(): number {
    return this.#available.index;
  }

  /** Chains that the device has, or has given back unseen. */
  get outstanding(): number {
    return distance16(this.#available.index, this.#used.taken);
  }

  /** How many used chains are known to wait for {@linkcode nextUsed}. */
  get pendingUsed(): number {
    return distance16(this.#used.known, this.#used.taken);
  }

  /** Head of the chain that {@linkcode nextUsed} took; or that {@linkcode takeFrames} met, if not negative. */
  get usedHead(): number {
    return this.#used.head;
  }

  /** Bytes that the device wrote into it. */
  get usedLength(): number {
    return this.#used.length;
  }

  /** Whether a chain of `length` buffers finds room. */
  fits(length: number): boolean {
    return this.#descriptors.fits(length);
  }

  /** Adds a chain of one buffer. The caller has seen that it {@linkcode fits}. Returns its head. */
  add(address: number, length: number, write: boolean): number {
    const head = this.#descriptors.add(address, length, write);
    this.#available.push(head);
    return head;
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
    const head = this.#descriptors.addChain(addresses, lengths, count, readable);
    this.#available.push(head);
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
    return this.#available.addFrames(frames, memory, from, headerLength, region, longest);
  }

  /**
   * Adds chains of one writable buffer each. The caller has seen that so many descriptors are free.
   *
   * @param area What the buffers are cut from.
   * @param length How long each is.
   * @param stride How far they are apart.
   * @param count How many there are.
   * @param places Offset in memory of the buffer of each head; to be filled.
   */
  addBuffers(area: Allocation, length: number, stride: number, count: number, places: Int32Array): void {
    this.#available.addBuffers(area, length, stride, count, places);
  }

  /**
   * Makes the chain that {@linkcode nextUsed} took available again, as it is. With IN_ORDER it moves to the next free
   * descriptors, as those must be taken in the order of the table (virtio 1.4, 2.7.7).
   *
   * @returns The head of the chain: another one if it moved.
   */
  repost(head: number): number {
    const to = this.#descriptors.reuse(head);
    this.#available.push(to);
    return to;
  }

  /** Makes several chains that {@linkcode takeFrames} took available again, as they are: not with IN_ORDER. */
  repostAll(heads: Uint16Array, count: number): void {
    this.#available.repostAll(heads, count);
  }

  /**
   * Shows the device what was added.
   *
   * @returns Whether it wants a kick.
   * @throws {RingFault} If the device's flags are bad.
   */
  publish(): boolean {
    return this.#available.publish(this.#used.taken);
  }

  /**
   * Takes the next used chain: its head and length stand in `usedHead` and `usedLength`.
   *
   * @returns False if there is none.
   * @throws {RingFault} If the device broke a rule.
   */
  nextUsed(): boolean {
    return this.#used.next();
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
    this.#used.takeFrames(frames, heads, memory, buffers, headerLength, mergeable);
  }

  /** Frees the descriptors of the chain that {@linkcode nextUsed} took. */
  release(head: number): void {
    this.#descriptors.release(head);
  }

  /**
   * Takes all used chains and frees their descriptors.
   *
   * @returns How many there were.
   * @throws {RingFault} If the device broke a rule.
   */
  releaseUsed(): number {
    return this.#used.releaseAll();
  }

  /** Asks the device to interrupt when it uses the next chain. */
  enableInterrupts(): void {
    this.#ring.enableInterrupts(this.#used.known);
  }

  /** Asks the device not to interrupt: a hint. With EVENT_IDX the event index simply stays behind. */
  disableInterrupts(): void {
    this.#ring.disableInterrupts();
  }
}
