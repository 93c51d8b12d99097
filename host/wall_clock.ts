/**
 * The time of day in nanoseconds, for the stamps of captured frames.
 *
 * @module
 */
import { libc } from "./libc.ts";

const CLOCK_REALTIME = 0;

/** Reads the machine's clock. Deno's own has milliseconds. */
export class WallClock {
  readonly #bytes = new Uint8Array(16);
  /** The two halves of a `timespec`, each a 64-bit number of which the lower half is used. */
  readonly #words = new Uint32Array(this.#bytes.buffer);

  /** A clock that has been read once. */
  constructor() {
    this.read();
  }

  /** Takes a reading. */
  read(): void {
    libc.clock_gettime(CLOCK_REALTIME, this.#bytes);
  }

  /** Seconds since 1970 at the last reading. */
  get seconds(): number {
    return this.#words[0]!;
  }

  /** Nanoseconds on top of them. */
  get nanoseconds(): number {
    return this.#words[2]!;
  }
}
