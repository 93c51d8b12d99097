/**
 * Plain memory: one buffer with the two views that the halves read and write it through.
 *
 * @module
 */

/** Up to this many bytes a loop of 64-bit moves beats the fixed cost of `copyWithin` and `set`. */
const LOOP_LIMIT = 256;
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

  /**
   * Takes or makes a buffer.
   *
   * @param buffer The buffer to look at, or the size in bytes of a new one filled with zeros.
   * @throws {RangeError} If it is 2 GiB or more: look at a larger mapping in several parts.
   */
  constructor(buffer: ArrayBufferLike | number) {
    const owned = typeof buffer === "number" ? new ArrayBuffer(buffer) : buffer;
    if (owned.byteLength > LARGEST) {
      throw new RangeError(`Cannot take ${owned.byteLength} bytes as one memory: at most ${LARGEST}`);
    }
    this.bytes = new Uint8Array(owned);
    this.view = new DataView(owned);
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
    const view = this.view;
    const own = bytes === this.bytes;
    for (let i = 0; i < count; i++) {
      let target = targets[i]!;
      let source = sources[from + i]!;
      const length = lengths[from + i]!;
      const distance = (target - source) | 0;
      if (!own || length > LOOP_LIMIT || length < 8 || (distance < length && distance > -length)) {
        this.copyFrom(target, bytes, source, length);
        continue;
      }
      // As in copyWithin.
      const last = (source + length - 8) | 0;
      while (source < last) {
        view.setBigUint64(target, view.getBigUint64(source, true), true);
        source = (source + 8) | 0;
        target = (target + 8) | 0;
      }
      view.setBigUint64((last + distance) | 0, view.getBigUint64(last, true), true);
    }
  }

  /** Copies `length` bytes from `bytes`, which may be this memory's own, to `target`. */
  copyFrom(target: number, bytes: Uint8Array, source: number, length: number): void {
    if (bytes === this.bytes) this.copyWithin(target, source, length);
    else this.bytes.set(bytes.subarray(source, source + length), target);
  }
}
