/**
 * What a device does for a driver that left work to it: finishes checksums and cuts large frames into segments.
 *
 * Nothing of the kind happens unless the driver asked for it in the net header, which it can only if the features were
 * negotiated.
 *
 * @module
 */
import { finishChecksum, foldSum, onesSum, pseudoHeaderSum } from "../../core/checksum.ts";
import { FlowParser, L3_IPV4, L3_IPV6, L4_TCP, L4_UDP } from "../../core/flow.ts";
import { virtio_net_hdr_v1 } from "./layout.ts";

const GSO_VALUES = virtio_net_hdr_v1.field("gso_type").values!;
/** No segmentation. */
export const GSO_NONE: number = GSO_VALUES.NONE!;
/** TCP over IPv4. */
export const GSO_TCPV4: number = GSO_VALUES.TCPV4!;
/** TCP over IPv6. */
export const GSO_TCPV6: number = GSO_VALUES.TCPV6!;
/** UDP datagrams in a row. */
export const GSO_UDP_L4: number = GSO_VALUES.UDP_L4!;
/** Set in addition if the first segment alone carries TCP's CWR. */
export const GSO_ECN: number = GSO_VALUES.ECN!;

// RFC 791, 8200, 9293 and 768.
const IPV4_LENGTH = 2;
const IPV4_IDENTIFICATION = 4;
const IPV4_CHECKSUM = 10;
const IPV6_LENGTH = 4;
const IPV6_HEADER = 40;
const TCP_SEQUENCE = 4;
const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;
const TCP_FIN_PSH = 0x09;
const TCP_CWR = 0x80;
const UDP_LENGTH = 4;
const UDP_CHECKSUM = 6;

/** Takes one finished frame; its bytes are valid during the call only. */
export type FrameTaker = (bytes: Uint8Array, offset: number, length: number) => void;

/**
 * Finishes the checksum of a frame in place.
 *
 * @param bytes The buffer.
 * @param offset Where the frame starts.
 * @param length How long it is.
 * @param start `csum_start` of its net header.
 * @param field `csum_offset` of its net header.
 * @returns Whether the header made sense; if not, nothing was changed.
 */
export function finishFrame(
  bytes: Uint8Array,
  offset: number,
  length: number,
  start: number,
  field: number,
): boolean {
  if (start + field + 2 > length) return false;
  finishChecksum(bytes, offset + start, offset + start + field, offset + length);
  return true;
}

/** Cuts frames into segments, as hardware with TSO or USO does. */
export class Segmenter {
  readonly #flow = new FlowParser();
  #segment = new Uint8Array(0);
  #view = new DataView(this.#segment.buffer);

  /**
   * Cuts one frame: each segment gets its own lengths, sequence number, identification and checksums.
   *
   * @param bytes The buffer.
   * @param offset Where the frame starts.
   * @param length How long it is.
   * @param type `gso_type` of its net header.
   * @param size `gso_size` of its net header: payload bytes per segment.
   * @param take Takes the segments, in order.
   * @returns Whether the frame is what the header says; if not, no segment was made.
   */
  cut(
    bytes: Uint8Array,
    offset: number,
    length: number,
    type: number,
    size: number,
    take: FrameTaker,
  ): boolean {
    const flow = this.#flow;
    flow.parse(bytes, offset, length);
    const kind = type & ~GSO_ECN;
    const tcp = kind !== GSO_UDP_L4;
    const l3 = kind === GSO_TCPV4 ? L3_IPV4 : kind === GSO_TCPV6 ? L3_IPV6 : flow.l3;
    if (![GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4].includes(kind) || size === 0 || flow.fragmented) return false;
    if (flow.l3 !== l3 || flow.l4 !== (tcp ? L4_TCP : L4_UDP)) return false;
    const headers = flow.payloadOffset - offset;
    const l3At = flow.l3Offset - offset;
    const l4At = flow.l4Offset - offset;
    const payload = length - headers;
    this.#reserve(headers + size);
    const segment = this.#segment;
    const view = this.#view;
    segment.set(bytes.subarray(offset, offset + headers));
    const identification = view.getUint16(l3At + IPV4_IDENTIFICATION);
    const sequence = tcp ? view.getUint32(l4At + TCP_SEQUENCE) : 0;
    const flags = segment[l4At + TCP_FLAGS]!;
    const field = tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
    const addresses = pseudoHeaderSum(flow, 0);
    for (let done = 0, number = 0; done < payload || number === 0; number++) {
      const part = Math.min(size, payload - done);
      const start = offset + headers + done;
      const last = done + part >= payload;
      segment.set(bytes.subarray(start, start + part), headers);
      const transport = headers - l4At + part;
      if (l3 === L3_IPV4) {
        view.setUint16(l3At + IPV4_LENGTH, l4At - l3At + transport);
        view.setUint16(l3At + IPV4_IDENTIFICATION, identification + number);
        view.setUint16(l3At + IPV4_CHECKSUM, 0);
        view.setUint16(l3At + IPV4_CHECKSUM, ~onesSum(segment, l3At, l4At - l3At));
      } else {
        view.setUint16(l3At + IPV6_LENGTH, l4At - l3At - IPV6_HEADER + transport);
      }
      if (tcp) {
        view.setUint32(l4At + TCP_SEQUENCE, sequence + done);
        segment[l4At + TCP_FLAGS] = flags & ~(last ? 0 : TCP_FIN_PSH) & ~(number === 0 ? 0 : TCP_CWR);
      } else {
        view.setUint16(l4At + UDP_LENGTH, transport);
      }
      view.setUint16(l4At + field, foldSum(addresses + transport));
      finishChecksum(segment, l4At, l4At + field, headers + part);
      take(segment, 0, headers + part);
      done += part;
    }
    return true;
  }

  #reserve(length: number): void {
    if (this.#segment.length >= length) return;
    this.#segment = new Uint8Array(length);
    this.#view = new DataView(this.#segment.buffer);
  }
}
