/**
 * What the device does to packets when the driver asks for it: L4 checksums and TCP segmentation.
 *
 * @module
 */
import { finishChecksum, foldSum, onesSum, pseudoHeaderSum } from "../../core/checksum.ts";
import { FlowParser, L3_IPV4, L3_IPV6, L4_TCP, L4_UDP } from "../../core/flow.ts";
import { Frame } from "../../core/frame.ts";
import { Memory } from "../../core/memory.ts";

/** Headers and payload of the longest TSO packet: 18 bits of payload, 8 of headers. */
const LONGEST = 262144 + 256;
/** The longest segment: what an IP length field says, and an Ethernet header with tags. */
const LONGEST_SEGMENT = 65536 + 64;

const IPV4_TOTAL_LENGTH = 2;
const IPV4_ID = 4;
const IPV4_CHECKSUM = 10;
const IPV6_PAYLOAD_LENGTH = 4;
const IPV6_HEADER = 40;
const TCP_SEQUENCE = 4;
const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const FIN_PSH = 0x09;
const CWR = 0x80;

/** What there is before the first packet. */
const NO_MEMORY = new Memory(0);

/** Makes packets anew in memory of its own: what the driver shows is only read. */
export class Offload {
  /** The packet that was made last. */
  readonly frame: Frame = new Frame();
  #packet = NO_MEMORY;
  #segment = NO_MEMORY;
  readonly #flow = new FlowParser();

  /** Bytes of the longest packet that can be made. */
  get longest(): number {
    return LONGEST;
  }

  /** Fills in the checksum whose sum starts at `start` and whose field is at `field`; both must lie in the packet. */
  checksumAt(source: Frame, start: number, field: number): void {
    const length = this.#take(source);
    finishChecksum(this.#packet.bytes, start, field, length);
    this.#give(this.#packet, length);
  }

  /** Fills in the checksum of a TCP or UDP packet, whose headers the device finds itself. Others stay as they are. */
  checksum(source: Frame): void {
    const length = this.#take(source);
    const flow = this.#flow;
    flow.parse(this.#packet.bytes, 0, length);
    const field = flow.l4 === L4_TCP ? TCP_CHECKSUM : flow.l4 === L4_UDP ? UDP_CHECKSUM : -1;
    if (field >= 0 && !flow.fragmented) {
      finishChecksum(this.#packet.bytes, flow.l4Offset, flow.l4Offset + field, flow.end);
    }
    this.#give(this.#packet, length);
  }

  /** Whether a packet's headers are those of TCP over IP and `header` bytes long. Call before {@linkcode segment}. */
  canSegment(source: Frame, header: number): boolean {
    const length = this.#take(source);
    const flow = this.#flow;
    flow.parse(this.#packet.bytes, 0, length);
    return flow.l4 === L4_TCP && flow.payloadOffset === header && header < length;
  }

  /**
   * Makes the segment whose payload starts `position` bytes behind the headers of the packet last looked at by
   * {@linkcode canSegment}.
   *
   * @returns Bytes of its payload.
   */
  segment(length: number, header: number, position: number, size: number): number {
    const flow = this.#flow;
    const payload = Math.min(size, length - header - position);
    const { bytes, view } = this.#segment;
    const from = this.#packet.bytes;
    bytes.set(from.subarray(0, header), 0);
    bytes.set(from.subarray(header + position, header + position + payload), header);
    const { l3Offset: l3, l4Offset: l4 } = flow;
    const end = header + payload;
    const first = position === 0;
    const last = position + payload === length - header;
    if (flow.l3 === L3_IPV4) {
      view.setUint16(l3 + IPV4_TOTAL_LENGTH, end - l3);
      view.setUint16(l3 + IPV4_ID, view.getUint16(l3 + IPV4_ID) + Math.floor(position / size));
      view.setUint16(l3 + IPV4_CHECKSUM, 0);
      view.setUint16(l3 + IPV4_CHECKSUM, ~onesSum(bytes, l3, l4 - l3) & 0xffff);
    } else if (flow.l3 === L3_IPV6) view.setUint16(l3 + IPV6_PAYLOAD_LENGTH, end - l3 - IPV6_HEADER);
    view.setUint32(l4 + TCP_SEQUENCE, view.getUint32(l4 + TCP_SEQUENCE) + position);
    let flags = bytes[l4 + TCP_FLAGS]!;
    if (!last) flags &= ~FIN_PSH;
    if (!first) flags &= ~CWR;
    bytes[l4 + TCP_FLAGS] = flags;
    // The parser's buffer is the whole packet: addresses and protocol are the same in each segment.
    view.setUint16(l4 + TCP_CHECKSUM, foldSum(pseudoHeaderSum(flow, end - l4)));
    finishChecksum(bytes, l4, l4 + TCP_CHECKSUM, end);
    this.#give(this.#segment, end);
    return payload;
  }

  #take(source: Frame): number {
    if (this.#packet === NO_MEMORY) {
      this.#packet = new Memory(LONGEST);
      this.#segment = new Memory(LONGEST_SEGMENT);
    }
    source.copyTo(this.#packet, 0, 0, source.length);
    return source.length;
  }

  #give(memory: Memory, length: number): void {
    this.frame.clear();
    this.frame.push(memory.bytes, 0, length);
  }
}
