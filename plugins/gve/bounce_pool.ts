/**
 * Where the driver puts packets that lie outside what the device can reach (the software IOTLB of raw addressing).
 *
 * @module
 */
import type { Allocation, DmaMemory } from "../../core/dma_memory.ts";

/** Sizes of bounce buffers: one for most packets, one for the largest. */
const SMALL = 2048;
const LARGE = 65536;
/** Memory for bounce buffers of each size at most: neither size can starve the other. */
const BUDGET = 8 * 1024 * 1024;
/** Buffers start at a cache line. */
const ALIGNMENT = 64;

/** Buffers in two sizes, made when first needed. */
export class BouncePool {
  readonly #dma: DmaMemory;
  readonly #buffers: Allocation[] = [];
  readonly #free: readonly [number[], number[]] = [[], []];
  readonly #budget = [BUDGET, BUDGET];

  /** Takes buffers from the driver's memory. */
  constructor(dma: DmaMemory) {
    this.#dma = dma;
  }

  /** Number of a buffer of at least `length` bytes (at most 65536), or -1 if none is free now. */
  take(length: number): number {
    const small = length > SMALL ? -1 : this.#take(0);
    return small < 0 ? this.#take(1) : small;
  }

  /** Offset of a buffer in the driver's memory. */
  offset(number: number): number {
    return this.#buffers[number]!.offset;
  }

  /** The device's address of a buffer. */
  address(number: number): number {
    return this.#buffers[number]!.address;
  }

  /** Takes a buffer back. */
  release(number: number): void {
    this.#free[this.#buffers[number]!.size > SMALL ? 1 : 0].push(number);
  }

  #take(kind: 0 | 1): number {
    const free = this.#free[kind].pop();
    if (free !== undefined) return free;
    const size = kind ? LARGE : SMALL;
    if (this.#budget[kind]! < size || this.#dma.free < 2 * size) return -1;
    this.#budget[kind]! -= size;
    this.#buffers.push(this.#dma.allocate(size, ALIGNMENT));
    return this.#buffers.length - 1;
  }
}
