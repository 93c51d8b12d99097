/**
 * Last-in first-out lists of small numbers in two halves: one side takes from its own list and steals what the other
 * side has given back once its own is empty.
 *
 * @module
 */

/** End of a list. */
const NONE = -1;

/** Free tags, or free bounce buffers, of a DQO transmit queue. */
export class FreeList {
  /** Numbers are below this. */
  readonly size: number;
  readonly #next: Int32Array;
  /** Taken from by the transmit side. */
  #own: number;
  /** Added to by the completion side. */
  #returned = NONE;
  #free: number;

  /** All of 0..size-1 are free, the lowest first. */
  constructor(size: number) {
    this.size = size;
    this.#next = Int32Array.from({ length: size }, (_, i) => i + 1 < size ? i + 1 : NONE);
    this.#own = size > 0 ? 0 : NONE;
    this.#free = size;
  }

  /** How many are free. */
  get free(): number {
    return this.#free;
  }

  /** Takes one. There must be one. */
  take(): number {
    if (this.#own === NONE) {
      this.#own = this.#returned;
      this.#returned = NONE;
    }
    const number = this.#own;
    this.#own = this.#next[number]!;
    this.#free--;
    return number;
  }

  /** Gives one back: it will be the first of those returned. */
  give(number: number): void {
    this.#next[number] = this.#returned;
    this.#returned = number;
    this.#free++;
  }
}
