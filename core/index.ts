/**
 * Free-running ring indices: they count modulo 2^16 or 2^32, and only their low bits choose a slot.
 *
 * @module
 */

/** `index + count` modulo 2^16. */
export function add16(index: number, count: number): number {
  return (index + count) & 0xffff;
}

/** How far 16-bit index `a` is ahead of `b`. */
export function distance16(a: number, b: number): number {
  return (a - b) & 0xffff;
}

/** `index + count` modulo 2^32. */
export function add32(index: number, count: number): number {
  return (index + count) >>> 0;
}

/** How far 32-bit index `a` is ahead of `b`. */
export function distance32(a: number, b: number): number {
  return (a - b) >>> 0;
}

/**
 * Whether the step from `old` to `now` passes `event`: the peer asked to hear of the entry at `event`,
 * and it is among those just published. `vring_need_event()` of the virtio specification, 2.7.7.
 */
export function needEvent16(event: number, now: number, old: number): boolean {
  return distance16(add16(now, -1), event) < distance16(now, old);
}

/**
 * The 32-bit form of {@linkcode needEvent16} as Xen's `RING_PUSH_*_AND_CHECK_NOTIFY` has it: there the event
 * is the index to be reached, one more than the entry.
 */
export function needEvent32(event: number, now: number, old: number): boolean {
  return distance32(now, event) < distance32(now, old);
}

/** Whether `value` is a power of two in `1..2^31`. */
export function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value > 0 && value <= 0x80000000 && (value & (value - 1)) === 0;
}

/** `value` rounded up to a multiple of `alignment`. */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
