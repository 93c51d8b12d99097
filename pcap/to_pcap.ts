/**
 * Writes a pcapng capture as a classic one.
 *
 * @module
 */
import type { Memory } from "../core/memory.ts";
import { ConversionError } from "./capture_error.ts";
import {
  BLOCK_TYPES,
  OPTION_CODES,
  pcap_file_header,
  PCAP_MAGICS,
  pcap_pkthdr,
  pcapng_idb,
  pcapng_shb,
} from "./layout.ts";
import { longestPacket } from "./link_types.ts";
import { walkOptions } from "./pcapng_options.ts";
import type { Rewriter } from "./rewriter.ts";
import { type CaptureInterface, packetFacts, type Scanner } from "./scanner.ts";
import { isMicroseconds } from "./time.ts";

const TS_SEC = pcap_pkthdr.offsetOf("ts_sec");
const TS_USEC = pcap_pkthdr.offsetOf("ts_usec");
const CAPLEN = pcap_pkthdr.offsetOf("caplen");
const LEN = pcap_pkthdr.offsetOf("len");

const TRAILER = 4;
/** Blocks that describe, and how long they are up to their options. */
const DESCRIPTIONS: Readonly<Record<number, number>> = {
  [BLOCK_TYPES["section_header"]!]: pcapng_shb.size,
  [BLOCK_TYPES["interface_description"]!]: pcapng_idb.size,
};
/** Options of those that are understood. */
const UNDERSTOOD = ["if_tsresol", "if_tsoffset", "if_fcslen"].map((name) => OPTION_CODES[name]!);

/** Longest frame check sequence that a file header states, in units of 2 bytes. */
const LONGEST_FCS = 15;

/** What is counted of what a classic capture cannot hold: singular, plural. */
const LOSSES = {
  fcs: ["length of frame check sequences", "lengths of frame check sequences"],
  longer: [
    "packet longer than the snaplen, where some readers cut it",
    "packets longer than the snaplen, where some readers cut them",
  ],
  descriptions: [
    "section or interface with options (names, comments)",
    "sections or interfaces with options (names, comments)",
  ],
  interfaces: [
    "packet of another interface than the first one's",
    "packets of other interfaces than the first one's",
  ],
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
    fcs: 0,
    longer: 0,
    descriptions: 0,
    interfaces: 0,
    options: 0,
    untimed: 0,
    outside: 0,
    rounded: 0,
    blocks: 0,
  };
  /** Units per second of the output; 0 before its header is written. */
  #perSecond = 0;
  #snaplen = 0;
  /** The first interface that was described. */
  #described: CaptureInterface | undefined;
  /** The interface that the header was made of. */
  #first: CaptureInterface | undefined;

  /** Writes into `memory` what `scanner` tells. */
  constructor(memory: Memory, scanner: Scanner) {
    this.#memory = memory;
    this.#scanner = scanner;
  }

  around(_at: number, start: number, end: number, kind: number): number {
    this.#described ??= this.#scanner.interfaces[0];
    const size = DESCRIPTIONS[kind];
    if (size === undefined) this.#lost.blocks++;
    else if (this.#saysMore(start + size, end - TRAILER)) this.#lost.descriptions++;
    return 0;
  }

  /** Whether there are options that are not understood. */
  #saysMore(start: number, end: number): boolean {
    let more = false;
    walkOptions(this.#memory, start, end, this.#scanner.little, (code) => {
      more ||= !UNDERSTOOD.includes(code);
    });
    return more;
  }

  before(at: number, start: number, end: number): number {
    if (this.#first !== undefined) return 0;
    this.#scanner.describe(start, end, this.#facts);
    return this.#header(at, this.#scanner.interfaces[this.#facts.interfaceId]!);
  }

  head(at: number, start: number, length: number, end: number): number {
    const facts = this.#facts;
    this.#scanner.describe(start, end, facts);
    const from = this.#scanner.interfaces[facts.interfaceId]!;
    const first = this.#first!;
    if (from.linkType !== first.linkType) {
      throw new ConversionError(
        `a pcap capture holds packets of one link type: so far ${first.linkType}, the next one is of ${from.linkType}`,
      );
    }
    if (from.fcsLength !== first.fcsLength) {
      throw new ConversionError(
        "a pcap capture holds packets with frame check sequences of one length, and the next one has another",
      );
    }
    const view = this.#memory.view;
    view.setUint32(at + TS_SEC, facts.seconds, true);
    view.setUint32(at + TS_USEC, this.#fraction(), true);
    view.setUint32(at + CAPLEN, length, true);
    view.setUint32(at + LEN, facts.originalLength, true);
    if (from !== first) this.#lost.interfaces++;
    if (length > this.#snaplen) this.#lost.longer++;
    if (facts.annotated) this.#lost.options++;
    if (!facts.timed) this.#lost.untimed++;
    if (facts.seconds < 0 || facts.seconds > 0xffffffff) this.#lost.outside++;
    return pcap_pkthdr.size;
  }

  tail(): number {
    return 0;
  }

  finish(at: number): number {
    if (this.#first !== undefined) return 0;
    if (this.#described === undefined) {
      throw new ConversionError("a pcap capture has a link type, and no interface is described that has one");
    }
    return this.#header(at, this.#described);
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
    const interfaces = [first, ...this.#scanner.interfaces];
    const micro = interfaces.every(({ resolution }) => isMicroseconds(resolution));
    this.#perSecond = micro ? 1e6 : 1e9;
    this.#first = first;
    const longest = longestPacket(first.linkType);
    const snaplens = interfaces.map(({ snaplen }) => snaplen === 0 ? longest : snaplen);
    this.#snaplen = Math.max(...snaplens.slice(0, 1000));
    const fcs = first.fcsLength / 2;
    const fcsFits = fcs >= 0 && fcs <= LONGEST_FCS && Number.isInteger(fcs);
    if (first.fcsLength >= 0 && !fcsFits) this.#lost.fcs++;
    const header = pcap_file_header.encode({
      magic: PCAP_MAGICS[micro ? "microsecond" : "nanosecond"]!,
      version_major: 2,
      version_minor: 4,
      snaplen: this.#snaplen,
      linktype: first.linkType,
      ...fcsFits && { p: 1, fcs_len: fcs },
    });
    this.#memory.bytes.set(header, at);
    return header.length;
  }
}
