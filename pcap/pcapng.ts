/**
 * Reads pcapng captures.
 *
 * @module
 */
import type { Memory } from "../core/memory.ts";
import { CaptureError } from "./capture_error.ts";
import {
  BLOCK_TYPES,
  BYTE_ORDER_MAGIC,
  OPTION_CODES,
  pcapng_block,
  pcapng_epb,
  pcapng_idb,
  pcapng_pb,
  pcapng_shb,
  pcapng_spb,
} from "./layout.ts";
import { longestPacket } from "./link_types.ts";
import { walkOptions } from "./pcapng_options.ts";
import {
  type CaptureInterface,
  type CaptureTarget,
  LONGEST_BLOCK,
  type PacketFacts,
  type Scanner,
} from "./scanner.ts";
import { readTime } from "./time.ts";

const SECTION_HEADER = BLOCK_TYPES["section_header"]!;
const INTERFACE_DESCRIPTION = BLOCK_TYPES["interface_description"]!;
const PACKET = BLOCK_TYPES["packet"]!;
const SIMPLE_PACKET = BLOCK_TYPES["simple_packet"]!;
const ENHANCED_PACKET = BLOCK_TYPES["enhanced_packet"]!;

const BLOCK_HEAD = pcapng_block.size;
const TRAILER = 4;
const SHORTEST_BLOCK = BLOCK_HEAD + TRAILER;
const TOTAL_LENGTH = pcapng_block.offsetOf("total_length");

const MAGIC = pcapng_shb.offsetOf("byte_order_magic");
const MAGIC_END = MAGIC + 4;
const VERSION_MAJOR = pcapng_shb.offsetOf("version_major");
const VERSION_MINOR = pcapng_shb.offsetOf("version_minor");
const SHB_SIZE = pcapng_shb.size;

const IDB_LINK_TYPE = pcapng_idb.offsetOf("linktype");
const IDB_SNAPLEN = pcapng_idb.offsetOf("snaplen");
const IDB_SIZE = pcapng_idb.size;

const IF_TSRESOL = OPTION_CODES["if_tsresol"]!;
const IF_TSOFFSET = OPTION_CODES["if_tsoffset"]!;
const IF_FCSLEN = OPTION_CODES["if_fcslen"]!;

const EPB_INTERFACE = pcapng_epb.offsetOf("interface_id");
const EPB_TIME_HIGH = pcapng_epb.offsetOf("timestamp_high");
const EPB_TIME_LOW = pcapng_epb.offsetOf("timestamp_low");
const EPB_CAPLEN = pcapng_epb.offsetOf("caplen");
const EPB_LEN = pcapng_epb.offsetOf("len");
/** Size of the enhanced and of the obsolete packet block up to the packet; from the times on they are alike. */
const EPB_SIZE = pcapng_epb.size;
const PB_INTERFACE = pcapng_pb.offsetOf("interface_id");
const PB_DROPS = pcapng_pb.offsetOf("drops");
const SPB_LEN = pcapng_spb.offsetOf("len");
const SPB_SIZE = pcapng_spb.size;

/** In place of how many packets were dropped, where that is not known. */
const DROPS_UNKNOWN = 0xffff;
/** Most interfaces of a section: what it takes to remember them is bounded. */
const MOST_INTERFACES = 65536;
/** `if_tsresol` of an interface that does not say it: microseconds. */
const MICROSECONDS = 6;

/** The value of `if_fcslen` in bytes: some writers say bits, as the text wants, others bytes, as its example does. */
function fcsBytes(value: number): number {
  return value % 8 === 0 ? value / 8 : value;
}

/** Reads a pcapng capture. */
export class PcapngScanner implements Scanner {
  readonly format = "pcapng";
  variant = "";
  readonly interfaces: CaptureInterface[] = [];
  readonly #memory: Memory;
  readonly #target: CaptureTarget;
  #little = true;
  #sections = 0;
  /** Longest packet of each interface. */
  readonly #longest: number[] = [];
  #optionsChecked = true;
  #origin = 0;

  /** Reads from `memory` and tells `target`. */
  constructor(memory: Memory, target: CaptureTarget) {
    this.#memory = memory;
    this.#target = target;
  }

  get little(): boolean {
    return this.#little;
  }

  scan(position: number, end: number, origin: number, _last: boolean): number {
    this.#origin = origin;
    const view = this.#memory.view;
    const target = this.#target;
    while (position + BLOCK_HEAD <= end) {
      const type = view.getUint32(position, this.#little);
      // The type of a section header reads the same in both byte orders, and what follows may have another.
      if (type === SECTION_HEADER && !this.#order(position, end)) break;
      const total = view.getUint32(position + TOTAL_LENGTH, this.#little);
      if (total > LONGEST_BLOCK || total < SHORTEST_BLOCK || (total & 3) !== 0) {
        throw this.#badLength(position, total);
      }
      const next = position + total;
      if (next > end) break;
      const trailer = view.getUint32(next - TRAILER, this.#little);
      if (trailer !== total) this.#contradiction(next - TRAILER, total, trailer);
      if (type === ENHANCED_PACKET) {
        if (total < EPB_SIZE + TRAILER) throw this.#short(position, total, EPB_SIZE + TRAILER);
        const captured = view.getUint32(position + EPB_CAPLEN, this.#little);
        this.#checkPacket(position, view.getUint32(position + EPB_INTERFACE, this.#little), captured, total);
        if (!target.packet(position, position + EPB_SIZE, captured, next)) break;
      } else if (type === SIMPLE_PACKET) {
        const captured = this.#simple(position, total);
        if (!target.packet(position, position + SPB_SIZE, captured, next)) break;
      } else if (type === PACKET) {
        if (total < EPB_SIZE + TRAILER) throw this.#short(position, total, EPB_SIZE + TRAILER);
        const captured = view.getUint32(position + EPB_CAPLEN, this.#little);
        this.#checkPacket(position, view.getUint16(position + PB_INTERFACE, this.#little), captured, total);
        if (!target.packet(position, position + EPB_SIZE, captured, next)) break;
      } else {
        if (type === SECTION_HEADER) this.#section(position, total);
        else if (this.#sections === 0) throw this.#bad("block", position, "a section header first", type);
        else if (type === INTERFACE_DESCRIPTION) this.#interface(position, total);
        target.around(position, next, type);
      }
      position = next;
    }
    return position;
  }

  truncated(position: number, end: number, origin: number): CaptureError {
    const got = end - position;
    if (got < BLOCK_HEAD) {
      return new CaptureError("truncated block header", position + origin, `${BLOCK_HEAD} bytes`, got, true);
    }
    const view = this.#memory.view;
    if (view.getUint32(position, true) === SECTION_HEADER && got < MAGIC_END) {
      return new CaptureError("truncated section header", position + origin, `${SHB_SIZE} bytes`, got, true);
    }
    const total = view.getUint32(position + TOTAL_LENGTH, this.#little);
    return new CaptureError("truncated block", position + origin, `${total} bytes`, got, true);
  }

  describe(start: number, end: number, facts: PacketFacts): void {
    const view = this.#memory.view;
    const little = this.#little;
    const type = view.getUint32(start, little);
    facts.timed = type !== SIMPLE_PACKET;
    if (!facts.timed) {
      facts.interfaceId = 0;
      facts.seconds = 0;
      facts.fraction = 0;
      facts.exact = true;
      facts.annotated = false;
      facts.originalLength = view.getUint32(start + SPB_LEN, little);
      return;
    }
    facts.interfaceId = type === PACKET
      ? view.getUint16(start + PB_INTERFACE, little)
      : view.getUint32(start + EPB_INTERFACE, little);
    facts.originalLength = view.getUint32(start + EPB_LEN, little);
    const { resolution, timeOffset } = this.interfaces[facts.interfaceId]!;
    const high = view.getUint32(start + EPB_TIME_HIGH, little);
    readTime(high, view.getUint32(start + EPB_TIME_LOW, little), resolution, timeOffset, facts);
    const padded = (view.getUint32(start + EPB_CAPLEN, little) + 3) & ~3;
    facts.annotated = end - start > EPB_SIZE + padded + TRAILER;
    if (type !== PACKET) return;
    const drops = view.getUint16(start + PB_DROPS, little);
    facts.annotated ||= drops !== 0 && drops !== DROPS_UNKNOWN;
  }

  #bad(what: string, position: number, wanted: string, got: string | number): CaptureError {
    return new CaptureError(what, position + this.#origin, wanted, got);
  }

  /** Refuses a block whose two lengths differ; but of the very first block libpcap believes the first length. */
  #contradiction(position: number, total: number, trailer: number): void {
    const error = this.#bad("block length at its end", position, `${total} as at its start`, trailer);
    if (this.#sections > 0) throw error;
    this.#target.warn(`${error.message}; the first is believed`);
  }

  #badLength(position: number, total: number): CaptureError {
    const wanted = total > LONGEST_BLOCK
      ? `at most ${LONGEST_BLOCK}`
      : total < SHORTEST_BLOCK
      ? `at least ${SHORTEST_BLOCK}`
      : "a multiple of 4";
    return this.#bad("bad block length", position, wanted, total);
  }

  #short(position: number, total: number, wanted: number): CaptureError {
    return this.#bad("bad block length", position, `at least ${wanted} for a block of its type`, total);
  }

  /** Learns the byte order of the section that starts here. False if its magic has not arrived. */
  #order(position: number, end: number): boolean {
    if (end - position < MAGIC_END) return false;
    const view = this.#memory.view;
    this.#little = view.getUint32(position + MAGIC, true) === BYTE_ORDER_MAGIC;
    const magic = view.getUint32(position + MAGIC, this.#little);
    if (magic !== BYTE_ORDER_MAGIC) {
      throw this.#bad("bad byte-order magic", position + MAGIC, "1a2b3c4d or 4d3c2b1a", magic.toString(16));
    }
    return true;
  }

  #section(position: number, total: number): void {
    if (total < SHB_SIZE + TRAILER) throw this.#short(position, total, SHB_SIZE + TRAILER);
    const view = this.#memory.view;
    const major = view.getUint16(position + VERSION_MAJOR, this.#little);
    const minor = view.getUint16(position + VERSION_MINOR, this.#little);
    if (major !== 1 || (minor !== 0 && minor !== 2)) {
      const error = this.#bad("unsupported version", position + VERSION_MAJOR, "1.0", `${major}.${minor}`);
      // Of later sections libpcap reads any minor version.
      if (major !== 1 || this.#sections === 0) throw error;
      this.#target.warn(`${error.message}; the section is read as 1.0`);
    }
    this.#checkOptions(position + SHB_SIZE, position + total - TRAILER);
    const order = `${this.#little ? "little" : "big"} endian`;
    if (this.#sections++ === 0) this.variant = order;
    else if (this.variant !== order) this.variant = "both byte orders";
    this.interfaces.length = 0;
    this.#longest.length = 0;
  }

  #interface(position: number, total: number): void {
    if (total < IDB_SIZE + TRAILER) throw this.#short(position, total, IDB_SIZE + TRAILER);
    if (this.interfaces.length === MOST_INTERFACES) {
      throw this.#bad("interface", position, `at most ${MOST_INTERFACES} in a section`, "another");
    }
    const view = this.#memory.view;
    const little = this.#little;
    let resolution: number | undefined;
    let timeOffset: bigint | undefined;
    let fcsLength: number | undefined;
    this.#checkOptions(position + IDB_SIZE, position + total - TRAILER, (code, value, length) => {
      // An option of a wrong length is not believed; of several the first one counts.
      if (code === IF_TSRESOL && length === 1) resolution ??= view.getUint8(value);
      if (code === IF_TSOFFSET && length === 8) timeOffset ??= view.getBigInt64(value, little);
      if (code === IF_FCSLEN && length === 1) fcsLength ??= fcsBytes(view.getUint8(value));
    });
    const linkType = view.getUint16(position + IDB_LINK_TYPE, little);
    const snaplen = view.getUint32(position + IDB_SNAPLEN, little);
    this.interfaces.push({
      linkType,
      snaplen,
      resolution: resolution ?? MICROSECONDS,
      timeOffset: timeOffset ?? 0n,
      fcsLength: fcsLength ?? -1,
    });
    this.#longest.push(longestPacket(linkType));
  }

  #checkOptions(
    start: number,
    end: number,
    visit?: (code: number, value: number, length: number) => void,
  ): void {
    const overrun = walkOptions(this.#memory, start, end, this.#little, visit);
    if (overrun < 0) return;
    throw this.#bad(
      "option reaches beyond its block",
      overrun,
      `at most ${end - overrun} bytes with its head`,
      this.#memory.view.getUint16(overrun + 2, this.#little) + 4,
    );
  }

  /** Refuses a packet block that contradicts itself or the section. */
  #checkPacket(position: number, interfaceId: number, captured: number, total: number): void {
    const longest = this.#longest[interfaceId];
    if (longest === undefined) {
      throw this.#bad(
        "packet of an unknown interface",
        position,
        this.#longest.length === 0 ? "an interface description before it" : `one of ${this.#longest.length}`,
        `interface ${interfaceId}`,
      );
    }
    const room = total - EPB_SIZE - TRAILER;
    if (captured > longest || captured > room) throw this.#tooLong(position, captured, longest, room);
    if (room - captured > 3 && this.#optionsChecked) this.#checkPacketOptions(position, captured, total);
  }

  #tooLong(position: number, captured: number, longest: number, room: number): CaptureError {
    const wanted = captured > room ? `at most ${room} bytes in this block` : `at most ${longest} bytes`;
    return this.#bad("bad captured length", position, wanted, captured);
  }

  /** Looks for an option that reaches beyond a packet's block: the first is worth a warning. */
  #checkPacketOptions(position: number, captured: number, total: number): void {
    const start = position + EPB_SIZE + ((captured + 3) & ~3);
    const overrun = walkOptions(this.#memory, start, position + total - TRAILER, this.#little);
    if (overrun < 0) return;
    this.#optionsChecked = false;
    this.#target.warn(
      `option of a packet reaches beyond its block at byte ${
        overrun + this.#origin
      }; such blocks pass as they are`,
    );
  }

  /** The captured length of a simple packet block. */
  #simple(position: number, total: number): number {
    if (total < SPB_SIZE + TRAILER) throw this.#short(position, total, SPB_SIZE + TRAILER);
    const original = this.#memory.view.getUint32(position + SPB_LEN, this.#little);
    const first = this.interfaces[0];
    if (!first) {
      throw this.#bad(
        "packet of an unknown interface",
        position,
        "an interface description before it",
        "interface 0",
      );
    }
    const captured = Math.min(original, first.snaplen || original);
    const room = total - SPB_SIZE - TRAILER;
    if (captured > this.#longest[0]! || captured > room) {
      throw this.#tooLong(position, captured, this.#longest[0]!, room);
    }
    return captured;
  }
}
