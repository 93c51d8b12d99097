/**
 * The internet checksum (RFC 1071): ones' complement sums of 16-bit words in network order.
 *
 * @module
 */
import { type FlowParser, L3_IPV6 } from "./flow.ts";

/** Where UDP has its checksum, from its header on (RFC 768). */
const UDP_CHECKSUM = 6;

/** So many bytes of 0xff add up to less than 2^31. */
const LARGEST_RUN = 0x10000;

/** A ones' complement sum with its carries added in: 0..0xffff. */
export function foldSum(sum: number): number {
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

/**
 * The ones' complement sum of `length` bytes at `offset`, folded. Sums of pieces are added, then folded.
 *
 * @param bytes The buffer.
 * @param offset Where the range starts.
 * @param length How long it is; after an odd number of bytes a zero is thought.
 * @param odd Whether an odd number of bytes precede the range in what is summed.
 */
export function onesSum(bytes: Uint8Array, offset: number, length: number, odd = false): number {
  const end = offset + length;
  let sum = 0;
  while (offset < end) {
    const stop = Math.min(end, offset + LARGEST_RUN);
    let run = 0;
    for (const even = stop - 1; offset < even; offset += 2) run += (bytes[offset]! << 8) | bytes[offset + 1]!;
    if (offset < stop) run += bytes[offset++]! << 8;
    sum = foldSum(sum + run);
  }
  return odd ? ((sum & 0xff) << 8) | (sum >>> 8) : sum;
}

/**
 * The folded sum of the pseudo header that TCP and UDP checksums cover: what a driver leaves in the checksum field
 * of a packet whose checksum the device is to finish.
 *
 * @param flow A parser that has seen the frame, which carries IPv4 or IPv6.
 * @param length Length of the transport header and its payload.
 */
export function pseudoHeaderSum(flow: FlowParser, length: number): number {
  const addresses = flow.l3 === L3_IPV6 ? 32 : 8;
  // The length is 32 bits wide in IPv6's pseudo header; its halves add up to the same sum.
  return foldSum(onesSum(flow.bytes, flow.sourceOffset, addresses) + flow.protocol + length);
}

/**
 * Finishes a checksum that a driver has left to the device: the field holds the sum of the pseudo header, and gets the
 * checksum over all from `start` to the end. UDP, known by the place of its field, cannot have a checksum of 0, which
 * tells "none": it gets 0xffff, the same number (RFC 768). No other protocol needs that, and some readers of captures
 * call it wrong.
 *
 * @param bytes The buffer.
 * @param start Where the sum starts: the transport header.
 * @param field Where the checksum is, in the buffer.
 * @param end Where the packet ends.
 * @throws {RangeError} If the field is not between `start` and `end`.
 */
export function finishChecksum(bytes: Uint8Array, start: number, field: number, end: number): void {
  if (field < start || field + 2 > end) {
    throw new RangeError(`Cannot put a checksum at ${field} as the sum is over ${start}..${end}`);
  }
  const sum = ~onesSum(bytes, start, end - start) & 0xffff;
  const checksum = sum === 0 && field - start === UDP_CHECKSUM ? 0xffff : sum;
  bytes[field] = checksum >>> 8;
  bytes[field + 1] = checksum & 0xff;
}
