/**
 * Random numbers that repeat: tests name their seed.
 *
 * @module
 */

/** Marsaglia's xorshift with 32 bits of state. */
export class Random {
  #state: number;

  /** Starts the sequence of a seed. */
  constructor(seed: number) {
    // Seeds that differ in few bits give unlike sequences; 0, at which xorshift stands still, is never reached.
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x85ebca6b) || 1;
    for (let i = 0; i < 4; i++) this.u32();
  }

  /** The next number in 0..2^32-1. */
  u32(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }

  /** A whole number in 0..limit-1. */
  below(limit: number): number {
    return Math.floor(this.u32() / 0x100000000 * limit);
  }

  /** A whole number from `low` to `high`, both possible. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True with the given chance. */
  chance(probability: number): boolean {
    return this.u32() < probability * 0x100000000;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** That many random bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer> {
    const result = new Uint8Array(length);
    for (let i = 0; i < length; i++) result[i] = this.u32() >>> 24;
    return result;
  }
}
