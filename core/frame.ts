/**
 * A frame on its way between a device and the wire: pieces of memory, not a copy.
 *
 * @module
 */
import type { Memory } from "./memory.ts";

/**
 * A gather list that is made once and used for one frame after the other. The pieces are the frame's own bytes
 * where they lie (in a transmit buffer, say) and are only valid until the call that got the frame returns.
 */
export class Frame {
  /** Bytes in all pieces together. */
  length = 0;
  /** How many pieces there are. */
  pieces = 0;
  /** The buffer of each piece. */
  readonly bytes: Uint8Array[] = [];
  /** Where each piece starts in its buffer. */
  readonly offsets: number[] = [];
  /** How long each piece is. */
  readonly lengths: number[] = [];

  /** Forgets the pieces. */
  clear(): void {
    this.length = 0;
    this.pieces = 0;
  }

  /** Makes the frame one piece. */
  set(bytes: Uint8Array, offset: number, length: number): void {
    this.length = length;
    this.pieces = 1;
    // Most frames come from the same buffer as the one before; the engine's bookkeeping for a reference costs more.
    if (this.bytes[0] !== bytes) this.bytes[0] = bytes;
    this.offsets[0] = offset;
    this.lengths[0] = length;
  }

  /** Adds a piece at the end. */
  push(bytes: Uint8Array, offset: number, length: number): void {
    const at = this.pieces++;
    this.bytes[at] = bytes;
    this.offsets[at] = offset;
    this.lengths[at] = length;
    this.length += length;
  }

  /** Adds the pieces of another frame at the end. */
  append(frame: Frame): void {
    for (let i = 0; i < frame.pieces; i++) this.push(frame.bytes[i]!, frame.offsets[i]!, frame.lengths[i]!);
  }

  /** Drops the first piece: there must be one. */
  shift(): void {
    this.length -= this.lengths[0]!;
    this.pieces--;
    for (let i = 0; i < this.pieces; i++) {
      this.bytes[i] = this.bytes[i + 1]!;
      this.offsets[i] = this.offsets[i + 1]!;
      this.lengths[i] = this.lengths[i + 1]!;
    }
  }

  /**
   * Drops the first `length` bytes. Pieces that become empty stay, with length 0.
   *
   * @throws {RangeError} If the frame is shorter.
   */
  skip(length: number): void {
    if (length > this.length) {
      throw new RangeError(`Cannot skip ${length} of a frame of ${this.length} bytes`);
    }
    this.length -= length;
    for (let i = 0; length > 0; i++) {
      const part = Math.min(length, this.lengths[i]!);
      this.offsets[i]! += part;
      this.lengths[i]! -= part;
      length -= part;
    }
  }

  /**
   * Copies `length` bytes from `position` of the frame to `target` in `memory`.
   *
   * @throws {RangeError} If the frame is shorter.
   */
  copyTo(memory: Memory, target: number, position: number, length: number): void {
    if (position + length > this.length) {
      throw new RangeError(`Cannot copy ${position}+${length} of a frame of ${this.length} bytes`);
    }
    let piece = 0;
    while (position >= this.lengths[piece]! && length > 0) position -= this.lengths[piece++]!;
    while (length > 0) {
      const part = Math.min(length, this.lengths[piece]! - position);
      memory.copyFrom(target, this.bytes[piece]!, this.offsets[piece]! + position, part);
      target += part;
      length -= part;
      position = 0;
      piece++;
    }
  }
}
