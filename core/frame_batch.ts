/**
 * Many frames at once, for halves that move them in one loop.
 *
 * @module
 */

import type { Memory } from "./memory.ts";

/** Most frames of a {@linkcode FrameBatch}. */
export const BATCH_SIZE: number = 256;

/**
 * Frames that lie in one piece each in one buffer. A batch is made once and filled again and again; its frames are
 * valid until the call that got it returns.
 */
export class FrameBatch {
  /** The buffer that all frames lie in. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Where each frame starts. */
  readonly offsets: Int32Array;
  /** How long each frame is. */
  readonly lengths: Int32Array;
  /** How many frames there are. */
  count = 0;

  /** Makes an empty batch, for frames in `memory` if it is given: see {@linkcode Memory.words}. */
  constructor(memory?: Memory) {
    if (memory) this.bytes = memory.bytes;
    this.offsets = memory?.words(BATCH_SIZE) ?? new Int32Array(BATCH_SIZE);
    this.lengths = memory?.words(BATCH_SIZE) ?? new Int32Array(BATCH_SIZE);
  }
}

/** Most pieces of a {@linkcode PieceBatch}. */
export const BATCH_PIECES: number = 2 * BATCH_SIZE;

/**
 * Frames that lie in any number of pieces each, all in one buffer. As with a {@linkcode FrameBatch}, they are valid until
 * the call that got them returns.
 */
export class PieceBatch {
  /** The buffer that all pieces lie in. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Where each piece starts. */
  readonly offsets: Int32Array;
  /** How long each piece is: at least one byte. */
  readonly lengths: Int32Array;
  /** For each frame: the index behind its last piece. A frame's pieces follow those of the frame before it. */
  readonly ends: Int32Array = new Int32Array(BATCH_SIZE);
  /** How long each frame is. */
  readonly sizes: Int32Array = new Int32Array(BATCH_SIZE);
  /** How many frames there are. */
  count = 0;

  /** Makes an empty batch, for pieces in `memory` if it is given: see {@linkcode Memory.words}. */
  constructor(memory?: Memory) {
    if (memory) this.bytes = memory.bytes;
    this.offsets = memory?.words(BATCH_PIECES) ?? new Int32Array(BATCH_PIECES);
    this.lengths = memory?.words(BATCH_PIECES) ?? new Int32Array(BATCH_PIECES);
  }
}
