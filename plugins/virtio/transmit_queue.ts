/**
 * The driver's transmit side of one queue pair.
 *
 * @module
 */
import { type AddressSpace, NO_REGION, type Region } from "../../core/address_space.ts";
import type { Allocation, DmaMemory } from "../../core/dma_memory.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { FULL, OVERSIZE } from "../../core/plugin.ts";
import type { DriverQueue } from "./driver_queue.ts";

const BOUNCE_ALIGN = 64;
/** Most memory for bounce buffers; a ring whose frames do not lie in memory that the device sees goes slower, not larger. */
const MOST_BOUNCE = 64 * 1024 * 1024;
const SMALLEST_BOUNCE = 2048;

/** See the module. */
export class TransmitQueue {
  /** The ring. */
  readonly queue: DriverQueue;
  /** Bytes of the net header. */
  readonly headerLength: number;
  /** Frames whose own bytes a descriptor points at. */
  maps = 0;
  /** Bytes copied because the device does not see the frame where it lies. */
  bounceBytes = 0;
  /** Times that a frame found no room. */
  stalls = 0;
  readonly #pair: number;
  readonly #dma: DmaMemory;
  readonly #space: AddressSpace;
  /** Address of a header of zeros: every frame that has no room for its own before its first byte shares it. */
  readonly #zeroHeader: number;
  #region: Region = NO_REGION;
  /** Bounce buffer of each head: offset and size. */
  readonly #bounceOffsets: Int32Array;
  readonly #bounceSizes: Int32Array;
  /** What bounce buffers are cut from, once one is needed. */
  #arena: Allocation | undefined;
  #arenaUsed = 0;
  readonly #addresses = [0, 0];
  readonly #lengths = [0, 0];

  /** Takes over a ring. `space` is where the device finds frames. */
  constructor(queue: DriverQueue, pair: number, dma: DmaMemory, space: AddressSpace, headerLength: number) {
    this.queue = queue;
    this.#pair = pair;
    this.#dma = dma;
    this.#space = space;
    this.headerLength = headerLength;
    const header = dma.allocate(headerLength, BOUNCE_ALIGN);
    dma.memory.bytes.fill(0, header.offset, header.offset + header.size);
    this.#zeroHeader = header.address;
    this.#bounceOffsets = new Int32Array(queue.size);
    this.#bounceSizes = new Int32Array(queue.size);
  }

  /** See {@linkcode DriverHalf.transmit}. */
  transmit(bytes: Uint8Array, offset: number, length: number, headroom: number): number {
    const { queue } = this;
    const headerLength = this.headerLength;
    if (bytes !== this.#dma.memory.bytes) return this.#bounce(bytes, offset, length);
    let region = this.#region;
    if (!region.holds(region.addressOf(offset), length)) {
      const found = this.#regionOf(offset, length);
      if (found === undefined) return this.#bounce(bytes, offset, length);
      region = this.#region = found;
    }
    const address = region.addressOf(offset);
    if (headroom >= headerLength && address - headerLength >= region.start) {
      if (queue.free === 0) return this.#full();
      this.#zero(offset - headerLength);
      queue.add(address - headerLength, headerLength + length, false);
    } else if (length === 0) {
      if (queue.free === 0) return this.#full();
      queue.add(this.#zeroHeader, headerLength, false);
    } else {
      if (queue.size === 1) return this.#bounce(bytes, offset, length);
      if (!queue.fits(2)) return this.#full();
      this.#addresses[0] = this.#zeroHeader;
      this.#lengths[0] = headerLength;
      this.#addresses[1] = address;
      this.#lengths[1] = length;
      queue.addChain(this.#addresses, this.#lengths, 2, 2);
    }
    this.maps++;
    return this.#pair;
  }

  /**
   * Points descriptors at frames, each with its header of zeros in the bytes before it.
   *
   * @returns The index of the first frame that it did not take.
   */
  transmitBatch(frames: FrameBatch, from: number, longest: number): number {
    if (frames.bytes !== this.#dma.memory.bytes) return from;
    const headerLength = this.headerLength;
    const offset = frames.offsets[from]!;
    if (!this.#region.holds(this.#region.addressOf(offset), frames.lengths[from]!)) {
      this.#region = this.#regionOf(offset, frames.lengths[from]!) ?? NO_REGION;
    }
    const end = this.queue.addFrames(frames, this.#dma.memory, from, headerLength, this.#region, longest);
    this.maps += end - from;
    return end;
  }

  #full(): number {
    this.stalls++;
    return FULL;
  }

  /** A net header that asks for nothing: 10, 12 or 20 bytes of zeros. */
  #zero(at: number): void {
    const view = this.#dma.memory.view;
    view.setUint32(at, 0);
    view.setUint32(at + 4, 0);
    view.setUint16(at + 8, 0);
    if (this.headerLength > 10) view.setUint16(at + 10, 0);
    if (this.headerLength > 12) this.#dma.memory.bytes.fill(0, at + 12, at + this.headerLength);
  }

  /** The region through which the device sees bytes of the driver's own buffer, if it does. */
  #regionOf(offset: number, length: number): Region | undefined {
    return this.#space.regions.find((region) =>
      region.memory === this.#dma.memory && region.holds(region.addressOf(offset), length)
    );
  }

  /** Copies header and frame into a buffer of the driver's own: one descriptor. */
  #bounce(bytes: Uint8Array, offset: number, length: number): number {
    const { queue } = this;
    if (queue.free === 0) return this.#full();
    const head = queue.nextHead;
    const size = this.headerLength + length;
    this.#arena ??= this.#dma.allocate(Math.min(MOST_BOUNCE, this.#dma.free >> 1), BOUNCE_ALIGN);
    if (size > this.#arena.size >> 1) return OVERSIZE;
    if (this.#bounceSizes[head]! < size && !this.#grow(head, size)) return this.#full();
    const at = this.#bounceOffsets[head]!;
    this.#zero(at);
    this.#dma.memory.copyFrom(at + this.headerLength, bytes, offset, length);
    queue.add(this.#dma.region.addressOf(at), size, false);
    this.bounceBytes += length;
    return this.#pair;
  }

  /**
   * Gives a head a larger buffer. What it had is lost until none is in use: then all buffers are given out afresh.
   * Returns whether there is room now.
   */
  #grow(head: number, size: number): boolean {
    const room = Math.max(SMALLEST_BOUNCE, 2 ** Math.ceil(Math.log2(size)));
    const arena = this.#arena!;
    if (this.#arenaUsed + room > arena.size) {
      if (this.queue.free < this.queue.size) return false;
      this.#bounceSizes.fill(0);
      this.#arenaUsed = 0;
    }
    this.#bounceOffsets[head] = arena.offset + this.#arenaUsed;
    this.#bounceSizes[head] = room;
    this.#arenaUsed += room;
    return true;
  }

  /**
   * Takes back what the device has transmitted.
   *
   * @returns How many chains came back.
   * @throws {RingFault} If the device broke a rule.
   */
  reclaim(): number {
    return this.queue.releaseUsed();
  }
}
