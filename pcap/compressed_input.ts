/**
 * Compressed bytes, piece by piece.
 *
 * @module
 */
import type { ByteSource } from "./byte_source.ts";

/** Bytes asked for at a time. */
const PIECE_SIZE = 64 * 1024;
/** A piece that is handed over in steps has at most about so many, which are not shorter than this. */
const STEPS = 64;
const SHORTEST_STEP = 256;

/** The input ends within what should be whole; said as the decompressors of the runtime do. */
export function unexpectedEnd(): Error {
  return new Error("unexpected end of file");
}

/** What is still to be decompressed. */
export class CompressedInput {
  readonly #source: ByteSource;
  readonly #buffer = new Uint8Array(PIECE_SIZE);
  #piece: Uint8Array;
  /** Whether the piece is as long as it could be, so that more follows. */
  #full = false;

  /**
   * Starts with bytes that have been read before.
   *
   * @param head Those bytes.
   * @param source What follows them.
   */
  constructor(head: Uint8Array, source: ByteSource) {
    this.#piece = head;
    this.#source = source;
  }

  /** Waits for bytes: false if there are no more. */
  async fill(): Promise<boolean> {
    while (this.#piece.length === 0) {
      const length = await this.#source.read(this.#buffer);
      if (length === null) return false;
      this.#piece = this.#buffer.subarray(0, length);
      this.#full = length === PIECE_SIZE;
    }
    return true;
  }

  /**
   * The bytes to hand over next. A decompressor that finds an error forgets what it had made of the bytes handed over
   * last, so these are few; but where more follows, speed matters, and it is the whole piece.
   */
  get step(): Uint8Array {
    const { length } = this.#piece;
    return this.#piece.subarray(0, this.#full ? length : Math.max(SHORTEST_STEP, length / STEPS));
  }

  /** Goes on behind so many bytes. */
  skip(length: number): void {
    this.#piece = this.#piece.subarray(length);
  }

  /** Takes so many bytes, the first one lowest. */
  async number(length: number): Promise<number> {
    let value = 0;
    for (let i = 0; i < length; i++) {
      if (!await this.fill()) throw unexpectedEnd();
      value += this.#piece[0]! * 2 ** (8 * i);
      this.skip(1);
    }
    return value;
  }

  /** Passes over bytes of this value: false if there is nothing behind them. */
  async skipAll(value: number): Promise<boolean> {
    while (await this.fill()) {
      if (this.#piece[0] !== value) return true;
      this.skip(1);
    }
    return false;
  }
}
