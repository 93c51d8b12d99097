/**
 * The GQI-QPL transmit FIFO: where in the page list the driver puts a packet's bytes.
 *
 * @module
 */
import { CACHE_LINE, PAGE } from "../constants.ts";

/** Pieces in the FIFO per packet: padding, header, and payload in one or two. Each is offset, length, padding. */
const PIECES = 4;
export const PIECE_WORDS: number = 3 * PIECES;

/** A ring of bytes over the pages of a page list. Space is given out in order and taken back in order. */
export class Fifo {
  /** Bytes in all. */
  readonly size: number;
  /** Where the next piece starts: a multiple of 64 below the size. */
  head = 0;
  /** Bytes that no packet in flight holds, pieces and paddings. */
  available: number;

  /** Starts empty. */
  constructor(size: number) {
    this.size = size;
    this.available = size;
  }

  /** Bytes left unused before a header that would reach the end, or pass it: it is moved to offset 0. */
  headerPadding(headerLength: number): number {
    return this.head + headerLength < this.size ? 0 : this.size - this.head;
  }

  /** Bytes to be available for a packet: the header's padding, what aligns its end, and the packet. */
  bytesRequired(headerLength: number, length: number): number {
    return this.headerPadding(headerLength) + padding(headerLength) + length;
  }

  /** Whether the FIFO takes so many bytes now. Linux wants more room than needed, strictly. */
  fits(bytes: number): boolean {
    return this.available > bytes;
  }

  /** Pieces of a payload that follows such a header: two if it goes around the end. */
  payloadPieces(headerLength: number, payload: number): number {
    if (payload === 0) return 0;
    const start = this.headerPadding(headerLength) > 0 ? 0 : this.head;
    const space = this.size - start - headerLength - padding(headerLength);
    return space > 0 && payload > space ? 2 : 1;
  }

  /**
   * Takes `bytes` bytes in one piece or, around the end, two; then moves on to the next cache line.
   *
   * @param pieces Gets offset, length and padding of each piece: three numbers per piece from `at` on.
   * @returns How many pieces.
   */
  allocate(bytes: number, pieces: Int32Array, at: number): number {
    const first = Math.min(bytes, this.size - this.head);
    const count = first < bytes ? 2 : 1;
    pieces[at] = this.head;
    pieces[at + 1] = first;
    pieces[at + 2] = 0;
    let last = at;
    if (count === 2) {
      last = at + 3;
      pieces[last] = 0;
      pieces[last + 1] = bytes - first;
      pieces[last + 2] = 0;
    }
    const end = this.head + bytes;
    const wasted = padding(end);
    pieces[last + 2] = wasted;
    this.available -= bytes + wasted;
    this.head = (end + wasted) % this.size;
    return count;
  }
}

/** Bytes from `offset` to the next cache line. */
function padding(offset: number): number {
  return -offset & (CACHE_LINE - 1);
}

/** How many pages the pieces of a packet touch. */
export function pagesTouched(pieces: Int32Array): number {
  let pages = 0;
  for (let word = 0; word < PIECE_WORDS; word += 3) {
    const length = pieces[word + 1]!;
    if (length === 0) continue;
    pages += Math.floor((pieces[word]! + length - 1) / PAGE) - Math.floor(pieces[word]! / PAGE) + 1;
  }
  return pages;
}
