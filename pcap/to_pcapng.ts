/**
 * Writes a classic capture as pcapng.
 *
 * @module
 */
import type { Memory } from "../core/memory.ts";
import {
  BLOCK_TYPES,
  BYTE_ORDER_MAGIC,
  OPTION_CODES,
  pcapng_epb,
  pcapng_idb,
  pcapng_option,
  pcapng_shb,
} from "./layout.ts";
import type { Rewriter } from "./rewriter.ts";
import { type CaptureInterface, packetFacts, type Scanner } from "./scanner.ts";
import { joinTime } from "./time.ts";

const TRAILER = 4;
const EPB_SIZE = pcapng_epb.size;
const TYPE = pcapng_epb.offsetOf("type");
const TOTAL_LENGTH = pcapng_epb.offsetOf("total_length");
const INTERFACE_ID = pcapng_epb.offsetOf("interface_id");
const TIME_HIGH = pcapng_epb.offsetOf("timestamp_high");
const TIME_LOW = pcapng_epb.offsetOf("timestamp_low");
const CAPLEN = pcapng_epb.offsetOf("caplen");
const LEN = pcapng_epb.offsetOf("len");
const ENHANCED_PACKET = BLOCK_TYPES["enhanced_packet"]!;

/** Writes pcapng in little endian, one section with one interface. */
export class PcapngRewriter implements Rewriter {
  readonly #memory: Memory;
  readonly #scanner: Scanner;
  readonly #facts = packetFacts();
  /** Packets longer than the interface says they may be. */
  #longer = 0;
  /** Packets with more in their header than an enhanced packet block has. */
  #annotated = 0;

  /** Writes into `memory` what `scanner` tells. */
  constructor(memory: Memory, scanner: Scanner) {
    this.#memory = memory;
    this.#scanner = scanner;
  }

  around(at: number): number {
    const section = this.#section(at);
    return section + this.#interface(at + section, this.#scanner.interfaces[0]!);
  }

  before(): number {
    return 0;
  }

  head(at: number, start: number, length: number, end: number): number {
    const facts = this.#facts;
    this.#scanner.describe(start, end, facts);
    const [high, low] = joinTime(facts.seconds, facts.fraction, facts.perSecond);
    const { snaplen } = this.#scanner.interfaces[0]!;
    if (length > snaplen && snaplen > 0) this.#longer++;
    if (facts.annotated) this.#annotated++;
    const view = this.#memory.view;
    view.setUint32(at + TYPE, ENHANCED_PACKET, true);
    view.setUint32(at + TOTAL_LENGTH, EPB_SIZE + ((length + 3) & ~3) + TRAILER, true);
    view.setUint32(at + INTERFACE_ID, 0, true);
    view.setUint32(at + TIME_HIGH, high, true);
    view.setUint32(at + TIME_LOW, low, true);
    view.setUint32(at + CAPLEN, length, true);
    view.setUint32(at + LEN, facts.originalLength, true);
    return EPB_SIZE;
  }

  tail(at: number, length: number): number {
    const view = this.#memory.view;
    const padding = -length & 3;
    for (let i = 0; i < padding; i++) view.setUint8(at + i, 0);
    view.setUint32(at + padding, EPB_SIZE + length + padding + TRAILER, true);
    return padding + TRAILER;
  }

  finish(): number {
    return 0;
  }

  losses(): string[] {
    const lost: string[] = [];
    if (this.#longer > 0) {
      lost.push(`packets longer than the snaplen: ${this.#longer}; some readers refuse that in pcapng`);
    }
    if (this.#annotated > 0) {
      lost.push(
        `pcapng does not hold all of modified pcap: ${this.#annotated} interface numbers, protocols and kinds of packets`,
      );
    }
    return lost;
  }

  #section(at: number): number {
    const total = pcapng_shb.size + TRAILER;
    const header = pcapng_shb.encode({
      type: BLOCK_TYPES["section_header"]!,
      total_length: total,
      byte_order_magic: BYTE_ORDER_MAGIC,
      version_major: 1,
      section_length: -1,
    });
    this.#memory.bytes.set(header, at);
    this.#memory.view.setUint32(at + header.length, total, true);
    return total;
  }

  #interface(at: number, from: CaptureInterface): number {
    const { linkType, snaplen, resolution, fcsLength } = from;
    let position = at + pcapng_idb.size;
    if (resolution !== 6) position += this.#option(position, "if_tsresol", resolution);
    if (fcsLength >= 0) position += this.#option(position, "if_fcslen", fcsLength);
    if (position > at + pcapng_idb.size) position += this.#option(position, "endofopt");
    const total = position - at + TRAILER;
    const header = pcapng_idb.encode({
      type: BLOCK_TYPES["interface_description"]!,
      total_length: total,
      linktype: linkType,
      snaplen: snaplen > 0x7fffffff ? 0 : snaplen,
    });
    this.#memory.bytes.set(header, at);
    this.#memory.view.setUint32(position, total, true);
    return total;
  }

  /** Writes an option of one byte, or of none. */
  #option(at: number, name: string, value?: number): number {
    const length = value === undefined ? 0 : 1;
    this.#memory.bytes.set(pcapng_option.encode({ code: OPTION_CODES[name]!, length }), at);
    if (value === undefined) return pcapng_option.size;
    this.#memory.view.setUint32(at + pcapng_option.size, value, true);
    return pcapng_option.size + 4;
  }
}
