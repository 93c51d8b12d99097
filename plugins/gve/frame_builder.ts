/**
 * A received frame under construction: the driver hands it over once it is complete.
 *
 * @module
 */
import type { FrameSink } from "../../core/plugin.ts";

/** No frame is longer; one that grows on is the device's fault. */
export const LONGEST_FRAME = 262144;

/** Pieces of one frame after the other, all in one memory. */
export class FrameBuilder {
  /** Pieces so far. */
  pieces = 0;
  /** Bytes so far. */
  length = 0;
  readonly #bytes: Uint8Array;
  #offsets = new Uint32Array(64);
  #lengths = new Int32Array(64);

  /** Pieces lie in `bytes`. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Adds a piece. */
  push(offset: number, length: number): void {
    if (this.pieces === this.#offsets.length) this.#grow();
    this.#offsets[this.pieces] = offset;
    this.#lengths[this.pieces++] = length;
    this.length += length;
  }

  /** Hands the frame over and starts the next one. */
  deliver(sink: FrameSink, queue: number): void {
    const last = this.pieces - 1;
    for (let i = 0; i <= last; i++) {
      sink.piece(queue, this.#bytes, this.#offsets[i]!, this.#lengths[i]!, i < last);
    }
    this.clear();
  }

  /** Forgets the frame. */
  clear(): void {
    this.pieces = 0;
    this.length = 0;
  }

  /** A frame has at most {@linkcode LONGEST_FRAME} bytes and no empty pieces, so this ends. */
  #grow(): void {
    const offsets = new Uint32Array(this.pieces * 2);
    const lengths = new Int32Array(this.pieces * 2);
    offsets.set(this.#offsets);
    lengths.set(this.#lengths);
    this.#offsets = offsets;
    this.#lengths = lengths;
  }
}
