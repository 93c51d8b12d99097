/**
 * What the driver does to the headers of a TSO packet.
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
