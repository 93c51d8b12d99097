/**
 * Writes a pcapng capture as a classic one.
 *
 * @module
 */
import type { Memory } from "../core/memory.ts";
import { ConversionError } from "./capture_error.ts";
import { BLOCK_TYPES, pcap_file_header, PCAP_MAGICS, pcap_pkthdr } from "./layout.ts";
import { LONGEST_PACKET } from "./link_types.ts";
import type { Rewriter } from "./rewriter.ts";
import { type CaptureInterface, packetFacts, type Scanner } from "./scanner.ts";
import { isMicroseconds } from "./time.ts";

const TS_SEC = pcap_pkthdr.offsetOf("ts_sec");
const TS_USEC = pcap_pkthdr.offsetOf("ts_usec");
const CAPLEN = pcap_pkthdr.offsetOf("caplen");
const LEN = pcap_pkthdr.offsetOf("len");

/** What is counted of what a classic capture cannot hold: singular, plural. */
const LOSSES = {
  options: ["packet with options or flags", "packets with options or flags"],
  untimed: ["packet without a time, written with time 0", "packets without a time, written with time 0"],
  outside: [
    "time before 1970 or after 2106, written modulo 2^32 s",
    "times outside 1970 to 2106, written modulo 2^32 s",
  ],
  rounded: ["time cut to the precision of the output", "times cut to the precision of the output"],
  blocks: [
    "block that is no packet (names, statistics, secrets, custom)",
    "blocks that are no packets (names, statistics, secrets, custom)",
  ],
} as const;

/** Writes pcap in little endian: nanoseconds if an interface known at the first packet has them. */
export class PcapRewriter implements Rewriter {
  readonly #memory: Memory;
  readonly #scanner: Scanner;
  readonly #facts = packetFacts();
  readonly #lost: Record<keyof typeof LOSSES, number> = {
    options: 0,
    untimed: 0,
    outside: 0,
    rounded: 0,
    blocks: 0,
  };
  /** Units per second of the output; 0 before its header is written. */
  #perSecond = 0;
  #linkType = 0;
  #fcsLength = -1;

  /** Writes into `memory` what `scanner` tells. */
  constructor(memory: Memory, scanner: Scanner) {
    this.#memory = memory;
    this.#scanner = scanner;
  }

  around(_at: number, _start: number, _end: number, kind: number): number {
    const described = kind === BLOCK_TYPES["section_header"] || kind === BLOCK_TYPES["interface_description"];
    if (!described) this.#lost.blocks++;
    return 0;
  }

  head(at: number, start: number, length: number, end: number): number {
    const facts = this.#facts;
    this.#scanner.describe(start, end, facts);
    const from = this.#scanner.interfaces[facts.interfaceId]!;
    const headerSize = this.#perSecond === 0 ? this.#header(at, from) : 0;
    if (from.linkType !== this.#linkType) {
      throw new ConversionError(
        `a pcap capture holds packets of one link type: so far ${this.#linkType}, the next one is of ${from.linkType}`,
      );
    }
    if (from.fcsLength !== this.#fcsLength) {
      throw new ConversionError(
        "a pcap capture holds packets with frame check sequences of one length, and the next one has another",
      );
    }
    const record = at + headerSize;
    const view = this.#memory.view;
    view.setUint32(record + TS_SEC, facts.seconds, true);
    view.setUint32(record + TS_USEC, this.#fraction(), true);
    view.setUint32(record + CAPLEN, length, true);
    view.setUint32(record + LEN, facts.originalLength, true);
    if (facts.annotated) this.#lost.options++;
    if (!facts.timed) this.#lost.untimed++;
    if (facts.seconds < 0 || facts.seconds > 0xffffffff) this.#lost.outside++;
    return headerSize + pcap_pkthdr.size;
  }

  tail(): number {
    return 0;
  }

  finish(at: number): number {
    const [first] = this.#scanner.interfaces;
    return this.#perSecond === 0 && first ? this.#header(at, first) : 0;
  }

  losses(): string[] {
    const parts = (Object.keys(LOSSES) as (keyof typeof LOSSES)[])
      .filter((key) => this.#lost[key] > 0)
      .map((key) => `${this.#lost[key]} ${LOSSES[key][this.#lost[key] === 1 ? 0 : 1]}`);
    return parts.length === 0 ? [] : [`pcap does not hold all of pcapng: ${parts.join("; ")}`];
  }

  /** The fraction of the present packet's second in units of the output. */
  #fraction(): number {
    const { fraction, perSecond, exact } = this.#facts;
    const scaled = fraction * (this.#perSecond / perSecond);
    const whole = Math.floor(scaled);
    if (!exact || whole !== scaled) this.#lost.rounded++;
    return whole;
  }

  #header(at: number, first: CaptureInterface): number {
    const { interfaces } = this.#scanner;
    const micro = interfaces.every(({ resolution }) => isMicroseconds(resolution));
    this.#perSecond = micro ? 1e6 : 1e9;
    this.#linkType = first.linkType;
    this.#fcsLength = first.fcsLength;
    const snaplens = interfaces.map(({ snaplen }) => snaplen === 0 ? LONGEST_PACKET : snaplen);
    const header = pcap_file_header.encode({
      magic: PCAP_MAGICS[micro ? "microsecond" : "nanosecond"]!,
      version_major: 2,
      version_minor: 4,
      snaplen: Math.max(...snaplens.slice(0, 1000)),
      linktype: first.linkType,
      ...first.fcsLength >= 0 && { p: 1, fcs_len: Math.min(first.fcsLength >> 1, 15) },
    });
    this.#memory.bytes.set(header, at);
    return header.length;
  }
}
