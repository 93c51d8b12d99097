/**
 * Time for whatever needs it, so that tests decide how fast it passes.
 *
 * @module
 */

/** A monotonic clock in milliseconds. */
export interface Clock {
  /** Milliseconds since some fixed moment. */
  now(): number;
}

/** The machine's own monotonic clock. */
export const systemClock: Clock = { now: () => performance.now() };

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #now: number;

  /** Starts at the given reading in milliseconds. */
  constructor(start = 0) {
    this.#now = start;
  }

  /** The present reading in milliseconds. */
  now(): number {
    return this.#now;
  }

  /** Moves the clock forward by so many milliseconds. */
  advance(milliseconds: number): void {
    this.#now += milliseconds;
  }
}
