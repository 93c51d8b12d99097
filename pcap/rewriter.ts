/**
 * What converting a capture is: the packets stay, all around them is written anew.
 *
 * @module
 */

/** Writes a format in place of another. All places are offsets in the memory it was made with. */
export interface Rewriter {
  /** Writes at `at` what stands for bytes that are not a packet; returns how many bytes that is. */
  around(at: number, start: number, end: number, kind: number): number;
  /** Writes at `at` what must come before a packet and stays if that is left out; returns how many bytes that is. */
  before(at: number, start: number, end: number): number;
  /** Writes at `at` what stands before a packet; returns how many bytes that is. */
  head(at: number, start: number, length: number, end: number): number;
  /** Writes at `at` what stands behind a packet of `length` bytes; returns how many bytes that is. */
  tail(at: number, length: number): number;
  /** Writes at `at` what is still missing at the end of the input; returns how many bytes that is. */
  finish(at: number): number;
  /** What the target format could not hold, a line each. */
  losses(): string[];
}
