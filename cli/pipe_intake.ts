/**
 * Brings the input into memory chunk by chunk, reading the next chunk while the present one is worked on.
 *
 * @module
 */
import type { Memory } from "../core/memory.ts";
import type { ByteSource } from "../pcap/byte_source.ts";
import { LONGEST_PACKET } from "../pcap/link_types.ts";
import { LONGEST_BLOCK } from "../pcap/scanner.ts";

/** Bytes read at a time: docs/speed.md has what other sizes cost. */
const CHUNK_SIZE = 1536 * 1024;
/** Room before a chunk for what the chunk before it left over: any usual record that is not whole. */
const GAP_SIZE = LONGEST_PACKET + 64 * 1024;
/** Room for what is left over when that is more. */
const LARGE_SIZE = LONGEST_BLOCK + CHUNK_SIZE;

/** How many bytes an intake takes up in its memory. */
export const INTAKE_SIZE: number = 2 * (GAP_SIZE + CHUNK_SIZE) + LARGE_SIZE;
/** The most bytes that an intake usually holds at once; only a record that is longer than usual makes it more. */
export const USUAL_INTAKE: number = GAP_SIZE + CHUNK_SIZE;

/** What {@linkcode Intake.more} may bring instead of bytes. */
export type NoMore = "ended" | "interrupted";

/** The unread bytes of a source, contiguous in memory. */
export class Intake {
  /** Where the unread bytes start. */
  position: number;
  /** Where they end. */
  end: number;
  /** Offset in the input less offset in memory. */
  origin = 0;
  readonly #memory: Memory;
  readonly #large: number;
  /** The two places that chunks are read to, in turn. */
  readonly #chunks: readonly [number, number];
  #turn: 0 | 1 = 0;
  #source: ByteSource;
  #reading: Promise<number | null> | undefined;
  #interrupt: (() => void) | undefined;

  /** Reads `source` into the part of `memory` that starts at `offset`. */
  constructor(source: ByteSource, memory: Memory, offset: number) {
    this.#source = source;
    this.#memory = memory;
    this.#chunks = [offset + GAP_SIZE, offset + GAP_SIZE + CHUNK_SIZE + GAP_SIZE];
    this.#large = offset + 2 * (GAP_SIZE + CHUNK_SIZE);
    this.position = this.end = this.#chunks[0];
    this.origin = -this.position;
  }

  /** How many bytes are unread. */
  get length(): number {
    return this.end - this.position;
  }

  /** Takes another source in place of all that was read and all that would follow. */
  replace(wrap: (head: Uint8Array, rest: ByteSource) => ByteSource): void {
    this.#source = wrap(this.#memory.bytes.slice(this.position, this.end), this.#source);
    this.position = this.end = this.#chunks[this.#turn];
    this.origin = -this.position;
  }

  /** Starts to read the next chunk. Bytes before the unread ones are overwritten. */
  ahead(): void {
    if (this.#reading) return;
    const start = this.#chunks[this.#turn];
    this.#reading = this.#source.read(this.#memory.bytes.subarray(start, start + CHUNK_SIZE));
    // Whoever waits for it hears of an error, then.
    this.#reading.catch(() => {});
  }

  /**
   * Waits for more bytes behind the unread ones, which may move.
   *
   * @returns Nothing, or why there are none.
   */
  async more(): Promise<NoMore | undefined> {
    this.ahead();
    const length = await this.#interruptible(this.#reading!);
    if (length === "interrupted") return length;
    this.#reading = undefined;
    if (length === null) return "ended";
    const start = this.#chunks[this.#turn];
    const left = this.length;
    const offset = this.position + this.origin;
    if (left <= GAP_SIZE) {
      this.#memory.bytes.copyWithin(start - left, this.position, this.end);
      this.position = start - left;
      this.#turn = this.#turn === 0 ? 1 : 0;
    } else {
      if (this.position !== this.#large) {
        this.#memory.bytes.copyWithin(this.#large, this.position, this.end);
        this.position = this.#large;
      }
      this.#memory.bytes.copyWithin(this.#large + left, start, start + length);
    }
    this.end = this.position + left + length;
    this.origin = offset - this.position;
    return undefined;
  }

  /** Ends a wait for bytes, now and from now on. */
  interrupt(): void {
    this.#interrupt?.();
  }

  #interruptible(reading: Promise<number | null>): Promise<number | null | "interrupted"> {
    return new Promise((resolve, reject) => {
      this.#interrupt = () => resolve("interrupted");
      reading.then(resolve, reject);
    });
  }
}
