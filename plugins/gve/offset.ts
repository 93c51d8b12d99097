/**
 * Offsets that the engine computes with as integers.
 *
 * @module
 */

/** Up to here a number fits the engine's small integers on every platform. */
const LARGEST_SMALL = 0x3fffffff;

/**
 * The same offset. What comes out of sums with addresses above 4 GiB is a floating-point number for the engine, and all
 * that is computed from it as well: a small one is made an integer again.
 */
export function smallOffset(offset: number): number {
  return offset <= LARGEST_SMALL ? offset | 0 : offset;
}
