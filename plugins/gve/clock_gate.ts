/**
 * When to look at the clock.
 *
 * @module
 */

/** A round that moves so many ring entries is a busy one. */
const BUSY = 64;
/** Of so many busy rounds in a row all but the last go by without a look. */
const ROUNDS = 256;

/** Looking at the clock costs as much as some packets: in busy rounds, which follow one another fast, it is done seldom. */
export class ClockGate {
  #rounds = 0;

  /** Whether to look at the clock after a round that moved so many ring entries. */
  opens(moved: number): boolean {
    if (moved >= BUSY && ++this.#rounds < ROUNDS) return false;
    this.#rounds = 0;
    return true;
  }
}
