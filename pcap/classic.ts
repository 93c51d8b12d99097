/**
 * Reads classic captures: microseconds and nanoseconds, both byte orders, old versions, the modified format.
 *
 * @module
 */
import { BATCH_SIZE, FrameBatch } from "../core/frame_batch.ts";
import type { Memory } from "../core/memory.ts";
import { CaptureError } from "./capture_error.ts";
import {
  pcap_file_header,
  PCAP_MAGICS,
  pcap_patched_pkthdr,
  pcap_patched_pkthdr_ss990915,
  pcap_pkthdr,
} from "./layout.ts";
import { longestPacket } from "./link_types.ts";
import {
  type CaptureInterface,
  type CaptureTarget,
  FILE_HEADER,
  type PacketFacts,
  type Scanner,
} from "./scanner.ts";

const FILE_HEADER_SIZE = pcap_file_header.size;
const VERSION_MAJOR = pcap_file_header.offsetOf("version_major");
const VERSION_MINOR = pcap_file_header.offsetOf("version_minor");
const SNAPLEN = pcap_file_header.offsetOf("snaplen");
const LINK_TYPE = pcap_file_header.offsetOf("linktype");
const LINK_TYPE_MASK = pcap_file_header.maskOf("linktype");
const FCS_GIVEN = pcap_file_header.maskOf("p");
const FCS_SHIFT = pcap_file_header.shiftOf("fcs_len");
const RECORD_SIZE = pcap_pkthdr.size;
const TS_SEC = pcap_pkthdr.offsetOf("ts_sec");
const TS_USEC = pcap_pkthdr.offsetOf("ts_usec");
const CAPLEN = pcap_pkthdr.offsetOf("caplen");
const LEN = pcap_pkthdr.offsetOf("len");
const PATCHED_SIZE = pcap_patched_pkthdr.size;
const PATCHED_SIZE_SS990915 = pcap_patched_pkthdr_ss990915.size;
const PATCHED_INDEX = pcap_patched_pkthdr.offsetOf("index");
const PATCHED_KIND = pcap_patched_pkthdr.offsetOf("pkt_type");
const PATCHED_PAD = pcap_patched_pkthdr.offsetOf("pad");

/** Highest interface number and packet kind that a record header of the Red Hat 6.1 patch is believed to have. */
const PATCHED_MOST_INTERFACES = 255;
const PATCHED_MOST_KINDS = 7;

/** What AIX writes where link types stand, and what is meant: Ethernet, Token Ring, FDDI. */
const AIX_VERSION_MINOR = 2;
const AIX_LINK_TYPES: Readonly<Record<number, number>> = { 6: 1, 9: 6, 15: 10 };

/** How far apart the times of the first two records may be for the second to be recognised, in seconds. */
const NEAR = 7 * 86400;

/** The two lengths of a record stand in order. */
const IN_ORDER = 0;
/** They are interchanged. */
const INTERCHANGED = 1;
/** They are interchanged where else the captured one would be the longer. */
const INTERCHANGED_IF_LONGER = 2;

/** The same four bytes in the other order. */
function swap32(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

/** Reads a classic capture. */
export class ClassicScanner implements Scanner {
  readonly format = "pcap";
  variant = "";
  readonly interfaces: CaptureInterface[] = [];
  readonly #memory: Memory;
  readonly #target: CaptureTarget;
  readonly #frames: FrameBatch;
  #little = true;
  #longest = 0;
  #perSecond = 1e6;
  #lengths = IN_ORDER;
  /** Size of a record header; 0 until known. */
  #recordSize = 0;
  #modified = false;

  /** Reads from `memory` and tells `target`. */
  constructor(memory: Memory, target: CaptureTarget) {
    this.#memory = memory;
    this.#target = target;
    this.#frames = new FrameBatch(memory);
  }

  get little(): boolean {
    return this.#little;
  }

  scan(position: number, end: number, origin: number, last: boolean): number {
    if (this.interfaces.length === 0) {
      if (end - position < FILE_HEADER_SIZE) return position;
      this.#header(position, origin);
      this.#target.around(position, position + FILE_HEADER_SIZE, FILE_HEADER);
      position += FILE_HEADER_SIZE;
    }
    if (this.#recordSize === 0) {
      this.#recordSize = this.#chooseRecordSize(position, end, last);
      if (this.#recordSize === 0) return position;
    }
    return this.#records(position, end, origin);
  }

  #records(position: number, end: number, origin: number): number {
    const view = this.#memory.view;
    const target = this.#target;
    const little = this.#little;
    const lengths = this.#lengths;
    const recordSize = this.#recordSize;
    const longest = this.#longest;
    const frames = this.#frames;
    while (target.records !== undefined && this.#gather(position, end)) {
      const taken = target.records(frames, recordSize);
      if (taken < frames.count) return frames.offsets[taken]! - recordSize;
      position = frames.offsets[taken - 1]! + frames.lengths[taken - 1]!;
    }
    while (position + recordSize <= end) {
      let captured = view.getUint32(position + CAPLEN, little);
      if (lengths !== IN_ORDER) captured = this.#captured(position);
      if (captured > longest) {
        throw new CaptureError(
          "bad captured length",
          position + origin,
          `at most ${longest} bytes`,
          captured,
        );
      }
      const payload = position + recordSize;
      const next = payload + captured;
      if (next > end || !target.packet(position, payload, captured, next)) break;
      position = next;
    }
    return position;
  }

  /** Gathers packets up to the first record that is odd or not whole. Returns whether there are any. */
  #gather(position: number, end: number): boolean {
    const { view } = this.#memory;
    const big = !this.#little;
    // So the engine knows before the loop that these are small integers, and need not look again for each packet.
    const recordSize = this.#recordSize | 0;
    const longest = this.#longest | 0;
    const last = end | 0;
    const most = this.#lengths === IN_ORDER ? BATCH_SIZE | 0 : 0;
    const frames = this.#frames;
    const { offsets, lengths } = frames;
    let payload = (position + recordSize) | 0;
    let count = 0;
    for (; count < most && payload <= last; count = (count + 1) | 0) {
      let captured = view.getInt32((payload - recordSize + CAPLEN) | 0, true);
      if (big === true) captured = swap32(captured);
      if (captured < 0 || captured > longest || captured > ((last - payload) | 0)) break;
      offsets[count] = payload;
      lengths[count] = captured;
      payload = (payload + captured + recordSize) | 0;
    }
    frames.count = count;
    return count > 0;
  }

  truncated(position: number, end: number, origin: number): CaptureError {
    const got = end - position;
    if (this.interfaces.length === 0) {
      return new CaptureError(
        "truncated file header",
        position + origin,
        `${FILE_HEADER_SIZE} bytes`,
        got,
        true,
      );
    }
    const size = this.#recordSize || PATCHED_SIZE;
    if (got < size) {
      return new CaptureError("truncated record header", position + origin, `${size} bytes`, got, true);
    }
    const wanted = `${this.#captured(position)} captured bytes`;
    return new CaptureError("truncated record", position + origin, wanted, got - size, true);
  }

  describe(start: number, _end: number, facts: PacketFacts): void {
    const view = this.#memory.view;
    facts.seconds = view.getUint32(start + TS_SEC, this.#little);
    facts.fraction = view.getUint32(start + TS_USEC, this.#little);
    facts.perSecond = this.#perSecond;
    const sum = view.getUint32(start + CAPLEN, this.#little) + view.getUint32(start + LEN, this.#little);
    facts.originalLength = sum - this.#captured(start);
    facts.annotated = this.#recordSize > RECORD_SIZE;
  }

  /** The captured length of a record, wherever it stands. */
  #captured(position: number): number {
    const view = this.#memory.view;
    const first = view.getUint32(position + CAPLEN, this.#little);
    if (this.#lengths === IN_ORDER) return first;
    const second = view.getUint32(position + LEN, this.#little);
    return this.#lengths === INTERCHANGED || first > second ? second : first;
  }

  #header(position: number, origin: number): void {
    const view = this.#memory.view;
    const little = Object.values(PCAP_MAGICS).includes(view.getUint32(position, true));
    this.#little = little;
    const magic = view.getUint32(position, little);
    this.#modified = magic === PCAP_MAGICS["modified"];
    if (magic === PCAP_MAGICS["nanosecond"]) this.#perSecond = 1e9;
    const major = view.getUint16(position + VERSION_MAJOR, little);
    const minor = view.getUint16(position + VERSION_MINOR, little);
    if (!(major === 2 && minor <= 4) && !(major === 543 && minor === 0)) {
      throw new CaptureError(
        "unsupported version",
        position + origin + VERSION_MAJOR,
        "2.0 to 2.4, or 543.0",
        `${major}.${minor}`,
      );
    }
    if (major === 543 || minor < 3) this.#lengths = INTERCHANGED;
    else if (minor === 3) this.#lengths = INTERCHANGED_IF_LONGER;
    const link = view.getUint32(position + LINK_TYPE, little);
    let linkType = link & LINK_TYPE_MASK;
    const aix = !this.#modified && major === 2 && minor === AIX_VERSION_MINOR && linkType in AIX_LINK_TYPES;
    if (aix) {
      linkType = AIX_LINK_TYPES[linkType]!;
      this.#perSecond = 1e9;
    }
    this.#longest = longestPacket(linkType);
    const resolution = this.#perSecond === 1e9 ? 9 : 6;
    const fcsLength = link & FCS_GIVEN ? (link >>> FCS_SHIFT) * 2 : -1;
    const snaplen = view.getUint32(position + SNAPLEN, little);
    this.interfaces.push({ linkType, snaplen, resolution, timeOffset: 0n, fcsLength });
    const unit = this.#modified ? "modified, " : aix ? "AIX, " : resolution === 9 ? "nanoseconds, " : "";
    const version = major === 2 && minor === 4 ? "" : `, version ${major}.${minor}`;
    this.variant = `${unit}${little ? "little" : "big"} endian${version}`;
  }

  /**
   * How long record headers are: 16 bytes, or 24 or 28 in captures of old patched kernels. The magic does not tell
   * those patches apart (one even kept the standard magic), but from where the second record starts it can be seen.
   *
   * @returns 0 as long as that cannot be said.
   */
  #chooseRecordSize(position: number, end: number, last: boolean): number {
    const usual = this.#modified ? PATCHED_SIZE : RECORD_SIZE;
    const other = this.#modified ? PATCHED_SIZE_SS990915 : PATCHED_SIZE;
    const left = end - position;
    if (left < usual) return last ? usual : 0;
    const captured = this.#captured(position);
    if (captured > this.#longest) return usual;
    if (!this.#modified) {
      // Only a frame that starts as that patch's extra fields would is worth waiting for the second record.
      if (captured < PATCHED_SIZE - RECORD_SIZE) return RECORD_SIZE;
      if (left < PATCHED_SIZE) return last ? RECORD_SIZE : 0;
      if (!this.#looksPatched(position)) return RECORD_SIZE;
    }
    if (left < other + captured + RECORD_SIZE && !last) return 0;
    if (this.#follows(position, position + usual + captured, end)) return usual;
    if (!this.#follows(position, position + other + captured, end)) return usual;
    this.variant += `, record headers of ${other} bytes`;
    return other;
  }

  /** Whether the 8 bytes behind a standard record header look like those that the Red Hat 6.1 patch put there. */
  #looksPatched(position: number): boolean {
    const view = this.#memory.view;
    const index = view.getUint32(position + PATCHED_INDEX, this.#little);
    return index > 0 && index <= PATCHED_MOST_INTERFACES &&
      view.getUint8(position + PATCHED_KIND) <= PATCHED_MOST_KINDS &&
      view.getUint8(position + PATCHED_PAD) === 0;
  }

  /** Whether `next` is where the record behind the first may start: the very end, or a header like the first. */
  #follows(first: number, next: number, end: number): boolean {
    if (next === end) return true;
    if (next + RECORD_SIZE > end) return false;
    const view = this.#memory.view;
    const apart = view.getUint32(next + TS_SEC, this.#little) - view.getUint32(first + TS_SEC, this.#little);
    return Math.abs(apart) <= NEAR && this.#captured(next) <= this.#longest &&
      view.getUint32(next + TS_USEC, this.#little) < this.#perSecond;
  }
}
