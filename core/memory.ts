/**
 * Plain memory: one buffer with the two views that the halves read and write it through.
 *
 * @module
 */

import { type Copier, makeCopier, makeWasmMemory } from "./copy_module.ts";

/** Up to this many bytes a loop of 64-bit moves beats the fixed cost of `copyWithin` and `set`. */
const LOOP_LIMIT = 256;
/** Most copies that a plan holds. */
export const MOST_PLANNED = 256;
/** Words of a planned copy. */
export const PLANNED = 3;
const TARGET = 0;
const SOURCE = 1;
const LENGTH = 2;
const PLAN_WORDS = MOST_PLANNED * PLANNED;
const PLAN_BYTES = 4 * PLAN_WORDS;
/** From so many bytes on a new memory is worth what planned copies cost to prepare. */
const WORTHWHILE = 1024 * 1024;
/** Offsets stay small integers for the engine, which keeps accesses fast. */
const LARGEST = 2 ** 31 - 1;

/**
 * A buffer, as bytes and as a `DataView`. Both views span the whole buffer, so one byte offset
 * means the same place in either, and two regions over one buffer share the same `bytes` object
 * (which is how a copy between them is known to stay inside one buffer).
 */
export class Memory {
  /** The buffer as bytes. */
  readonly bytes: Uint8Array;
  /** The buffer as a `DataView`, for fields at any alignment. */
  readonly view: DataView;
  readonly #wasm: WebAssembly.Memory | undefined;
  #copier: Copier | undefined;
  #plan: Int32Array | undefined;

  /**
   * Takes or makes a buffer.
   *
   * @param buffer The buffer to look at, or the size in bytes of a new one filled with zeros.
   * @throws {RangeError} If it is 2 GiB or more: look at a larger mapping in several parts.
   */
  constructor(buffer: ArrayBufferLike | number) {
    const size = typeof buffer === "number" ? buffer : buffer.byteLength;
    if (size > LARGEST) throw new RangeError(`Cannot take ${size} bytes as one memory: at most ${LARGEST}`);
    if (typeof buffer === "number" && size >= WORTHWHILE) this.#wasm = makeWasmMemory(size + PLAN_BYTES);
    const owned = this.#wasm?.buffer ?? (typeof buffer === "number" ? new ArrayBuffer(buffer) : buffer);
    this.bytes = new Uint8Array(owned, 0, size);
    this.view = new DataView(owned, 0, size);
    // The plan comes behind them, where nobody else can reach it.
    if (this.#wasm) this.#plan = new Int32Array(owned, owned.byteLength - PLAN_BYTES, PLAN_WORDS);
  }

  /** Size of the buffer in bytes. */
  get size(): number {
    return this.bytes.length;
  }

  /** Copies `length` bytes inside this memory; the ranges may overlap. */
  copyWithin(target: number, source: number, length: number): void {
    // Sums that might be anything but small integers cost the engine a check each.
    const distance = (target - source) | 0;
    if (length > LOOP_LIMIT || length < 8 || (distance < length && distance > -length)) {
      this.bytes.copyWithin(target, source, source + length);
      return;
    }
    // Eight bytes at a time, the last eight even if some of them were copied before.
    const view = this.view;
    const last = (source + length - 8) | 0;
    while (source < last) {
      view.setBigUint64(target, view.getBigUint64(source, true), true);
      source = (source + 8) | 0;
      target = (target + 8) | 0;
    }
    view.setBigUint64((last + distance) | 0, view.getBigUint64(last, true), true);
  }

  /**
   * Copies to be made by {@linkcode copyPlanned}: for each its target, its source and its length, one after the other. There
   * is room for {@linkcode MOST_PLANNED}.
   */
  get plan(): Int32Array {
    return this.#plan ??= new Int32Array(PLAN_WORDS);
  }

  /**
   * Makes the first `count` copies of the plan, in their order, as so many calls of {@linkcode copyFrom} would.
   *
   * @param bytes Where the sources are; may be this memory's own.
   * @param count How many copies.
   */
  copyPlanned(bytes: Uint8Array, count: number): void {
    if (count === 0) return;
    if (bytes === this.bytes && this.#wasm !== undefined) {
      this.#copier ??= makeCopier(this.#wasm);
      this.#copier(this.plan.byteOffset, count);
      return;
    }
    const plan = this.plan;
    for (let at = 0; at < count * PLANNED; at += PLANNED) {
      this.copyFrom(plan[at + TARGET]!, bytes, plan[at + SOURCE]!, plan[at + LENGTH]!);
    }
  }

  /** Copies `length` bytes from `bytes`, which may be this memory's own, to `target`. */
  copyFrom(target: number, bytes: Uint8Array, source: number, length: number): void {
    if (bytes === this.bytes) this.copyWithin(target, source, length);
    else this.bytes.set(bytes.subarray(source, source + length), target);
  }
}
