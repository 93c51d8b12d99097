/**
 * The Toeplitz hash by which network devices spread flows over receive queues (RSS).
 *
 * @module
 */

/** The longest input of a receive-side-scaling hash: two IPv6 addresses and two ports. */
const LONGEST_TUPLE = 36;

/**
 * The 40-byte key of Microsoft's "Verifying the RSS Hash Calculation", whose published hash values all
 * implementations are checked against; many drivers and devices start with it.
 */
export const MICROSOFT_RSS_KEY: readonly number[] = [
  ...[0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67],
  ...[0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb],
  ...[0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30],
  ...[0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa],
];

/**
 * A key, prepared: one table row of 256 hashes for each byte position, so that an input byte costs one look-up.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { MICROSOFT_RSS_KEY, ToeplitzKey } from "@ringpipe/ringpipe";
 *
 * const key = new ToeplitzKey(MICROSOFT_RSS_KEY);
 * const addresses = new Uint8Array([66, 9, 149, 187, 161, 142, 100, 80]);
 * assertEquals(key.hash(addresses, 0, 8), 0x323e8fc2);
 * ```
 */
export class ToeplitzKey {
  readonly #key: Uint8Array;
  /** For each position and byte the hash of that byte there: made with the first hash, as it takes its time. */
  #rows: Int32Array | undefined;
  /** Input bytes that the hash depends on: behind them the key has only zero bits. */
  readonly #positions: number;

  /**
   * Prepares a key of any length; behind its end it counts as continued with zeros, as Xen defines it.
   *
   * @param key The key's bytes.
   */
  constructor(key: ArrayLike<number>) {
    this.#key = Uint8Array.from(key);
    this.#positions = Math.max(key.length, LONGEST_TUPLE);
  }

  #makeRows(): Int32Array {
    const rows = new Int32Array(this.#positions * 256);
    for (let position = 0; position < this.#positions; position++) {
      const row = position * 256;
      for (let bit = 0; bit < 8; bit++) {
        const top = 0x80 >> bit;
        // All bytes whose highest bit is `top` are this bit's window of the key, plus the hash of the bits below.
        rows[row + top] = window(this.#key, position * 8 + bit);
      }
      for (let value = 1; value < 256; value++) {
        const lowest = value & -value;
        rows[row + value] = rows[row + lowest]! ^ rows[row + value - lowest]!;
      }
    }
    return this.#rows = rows;
  }

  /** The hash of `length` bytes at `offset`: a number in 0..2^32-1. */
  hash(bytes: Uint8Array, offset: number, length: number): number {
    return this.extend(0, 0, bytes, offset, length) >>> 0;
  }

  /**
   * Goes on with a hash whose input lies in several places (addresses here, ports there).
   *
   * @param hash The hash so far; 0 at the start.
   * @param position How many input bytes it covers.
   * @param bytes The buffer with the next part of the input.
   * @param offset Where the part starts.
   * @param length How long it is.
   * @returns The hash including this part, as a signed 32-bit number: `>>> 0` makes the last one unsigned.
   */
  extend(hash: number, position: number, bytes: Uint8Array, offset: number, length: number): number {
    const rows = this.#rows ?? this.#makeRows();
    const end = (offset + Math.min(length, this.#positions - position)) | 0;
    let row = position << 8;
    for (let at = offset | 0; at < end; at = (at + 1) | 0) {
      hash ^= rows[row + bytes[at]!]!;
      row = (row + 256) | 0;
    }
    return hash | 0;
  }
}

/** The 32 bits of the key from bit `start` on, zeros behind its end. */
function window(key: ArrayLike<number>, start: number): number {
  const first = start >>> 3;
  const shift = start & 7;
  let bits = 0;
  for (let i = 0; i < 4; i++) bits = (bits << 8) | (key[first + i] ?? 0);
  return shift === 0 ? bits : (bits << shift) | ((key[first + 4] ?? 0) >>> (8 - shift));
}
