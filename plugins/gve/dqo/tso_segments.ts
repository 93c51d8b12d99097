/**
 * Segments of a TSO packet: what the driver does to the headers that they get, and how many buffers they touch, of which
 * the NIC takes only so many for each.
 *
 * @module
 */
import { foldSum } from "../../../core/checksum.ts";
import type { TransmitRequest } from "../transmit_request.ts";

/** Where the checksum is in a TCP header. */
const TCP_CHECKSUM = 16;

/**
 * Takes the length out of the pseudo header sum that stands in the TCP checksum field: the device puts in that of each
 * segment.
 */
export function finishSegmentHeader(request: TransmitRequest): void {
  const bytes = request.bytes[0]!;
  const at = request.offsets[0]! + request.transportOffset + TCP_CHECKSUM;
  const sum = (bytes[at]! << 8) | bytes[at + 1]!;
  const length = request.length - request.transportOffset;
  const result = ~foldSum((~sum & 0xffff) + length) & 0xffff;
  bytes[at] = result >>> 8;
  bytes[at + 1] = result & 0xff;
}

/**
 * The most buffers that one segment touches: its headers are one, a buffer on a border counts for both sides.
 *
 * @param lengths Bytes of each piece: the headers first.
 * @param pieces How many there are.
 * @param largest Bytes per buffer at most: longer pieces lie in several.
 * @param header Bytes of headers.
 * @param mss Payload bytes per segment, at least 1.
 */
export function widestSegment(
  lengths: ArrayLike<number>,
  pieces: number,
  largest: number,
  header: number,
  mss: number,
): number {
  let left = mss;
  let touched = 1;
  let widest = 1;
  let skip = header;
  for (let i = 0; i < pieces; i++) {
    for (let rest = lengths[i]!; rest > 0;) {
      const buffer = Math.min(rest, largest);
      rest -= buffer;
      const headers = Math.min(skip, buffer);
      skip -= headers;
      for (let length = buffer - headers; length > 0;) {
        touched++;
        if (touched > widest) widest = touched;
        const part = Math.min(length, left);
        length -= part;
        left -= part;
        if (left > 0) continue;
        left = mss;
        touched = 1;
      }
    }
  }
  return widest;
}
