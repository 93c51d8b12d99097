/**
 * Plain memory: one buffer with the two views that the halves read and write it through.
 *
 * @module
 */

import { type Copier, makeCopier, makeWasmMemory } from "./copy_module.ts";

/** Up to this many bytes a loop of 64-bit moves beats the fixed cost of `copyWithin` and `set`. */
const LOOP_LIMIT = 256;
/** Bytes for {@linkcode Memory.words} behind the bytes that were asked for. */
const WORDS_SIZE = 4 * 1024 * 1024;
/** How much {@linkcode Memory.copyHeads} copies of each. */
const HEAD_SIZE = 16;
/** From so many bytes on a new memory is one of WebAssembly. */
const WORTHWHILE = 1024 * 1024;
/** Offsets stay small integers for the engine, which keeps accesses fast. */
const LARGEST = 2 ** 31 - 1;

/**
 * A buffer, as bytes and as a `DataView`. Both views begin where the buffer does, so one byte offset
 * means the same place in either, and two regions over one buffer share the same `bytes` object
 * (which is how a copy between them is known to stay inside one buffer).
 *
 * A large memory that is made here is one of WebAssembly where the engine has that: then {@linkcode copyEach} takes a few
 * cycles for what takes a loop of the engine's tens of them.
 */
export class Memory {
  /** The buffer as bytes. */
  readonly bytes: Uint8Array;
  /** The buffer as a `DataView`, for fields at any alignment. */
  readonly view: DataView;
  readonly #wasm: WebAssembly.Memory | undefined;
  #copier: Copier | undefined;
  /** Where {@linkcode words} takes from next. */
  #nextWord = 0;

  /**
   * Takes or makes a buffer.
   *
   * @param buffer The buffer to look at, or the size in bytes of a new one filled with zeros.
   * @throws {RangeError} If it is 2 GiB or more: look at a larger mapping in several parts.
   */
  constructor(buffer: ArrayBufferLike | number) {
    const size = typeof buffer === "number" ? buffer : buffer.byteLength;
    if (size > LARGEST) throw new RangeError(`Cannot take ${size} bytes as one memory: at most ${LARGEST}`);
    if (typeof buffer === "number" && size >= WORTHWHILE) this.#wasm = makeWasmMemory(size + WORDS_SIZE);
    const owned = this.#wasm?.buffer ?? (typeof buffer === "number" ? new ArrayBuffer(buffer) : buffer);
    this.bytes = new Uint8Array(owned, 0, size);
    this.view = new DataView(owned, 0, size);
    this.#nextWord = Math.ceil(size / 4) * 4;
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
   * An array for what {@linkcode copyEach} is told, which that reads fastest: it lies in this memory, if there is room,
   * behind the bytes that were asked for. Arrays are not given back.
   */
  words(count: number): Int32Array {
    const wasm = this.#wasm;
    const end = this.#nextWord + 4 * count;
    if (wasm === undefined || end > wasm.buffer.byteLength) return new Int32Array(count);
    const words = new Int32Array(wasm.buffer, this.#nextWord, count);
    this.#nextWord = end;
    return words;
  }

  /**
   * Copies many ranges, as so many calls of {@linkcode copyFrom} would.
   *
   * @param targets Where each goes, from index 0 on.
   * @param bytes Where they are taken from; may be this memory's own.
   * @param sources Where each starts there, from index `from` on.
   * @param lengths How long each is, from index `from` on.
   * @param from Index of the first.
   * @param count How many there are.
   */
  copyEach(
    targets: Int32Array,
    bytes: Uint8Array,
    sources: Int32Array,
    lengths: Int32Array,
    from: number,
    count: number,
  ): void {
    const { buffer } = this.bytes;
    if (
      this.#wasm !== undefined && bytes === this.bytes && targets.buffer === buffer &&
      sources.buffer === buffer && lengths.buffer === buffer
    ) {
      this.#copier ??= makeCopier(this.#wasm);
      this.#copier.copy(
        targets.byteOffset,
        sources.byteOffset + 4 * from,
        lengths.byteOffset + 4 * from,
        count,
      );
      return;
    }
    for (let i = 0; i < count; i++) this.copyFrom(targets[i]!, bytes, sources[from + i]!, lengths[from + i]!);
  }

  /**
   * Copies the 16 bytes before each of many offsets, which both lie in this memory.
   *
   * @param targets Where each goes.
   * @param offsets Where each ends.
   * @param count How many there are.
   */
  copyHeads(targets: Int32Array, offsets: Int32Array, count: number): void {
    const { buffer } = this.bytes;
    if (this.#wasm !== undefined && targets.buffer === buffer && offsets.buffer === buffer) {
      this.#copier ??= makeCopier(this.#wasm);
      this.#copier.copyHeads(targets.byteOffset, offsets.byteOffset, count);
      return;
    }
    for (let i = 0; i < count; i++) this.copyWithin(targets[i]!, offsets[i]! - HEAD_SIZE, HEAD_SIZE);
  }

  /** Copies `length` bytes from `bytes`, which may be this memory's own, to `target`. */
  copyFrom(target: number, bytes: Uint8Array, source: number, length: number): void {
    if (bytes === this.bytes) this.copyWithin(target, source, length);
    else this.bytes.set(bytes.subarray(source, source + length), target);
  }
}
