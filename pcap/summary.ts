/**
 * What a capture holds, in a few numbers.
 *
 * @module
 */
import { BLOCK_TYPES } from "./layout.ts";
import { type CaptureTarget, FILE_HEADER, packetFacts, type Scanner } from "./scanner.ts";
import { isEarlier, type PacketTime } from "./time.ts";

/** Sums up what a scanner tells. */
export class CaptureSummary implements CaptureTarget {
  /** Packets. */
  packets = 0;
  /** Captured bytes of all packets. */
  bytes = 0;
  /** Bytes that they had on the wire. */
  bytesOnWire = 0;
  /** Captured bytes of the largest packet. */
  largest = 0;
  /** Interfaces of all sections. */
  interfaces = 0;
  /** Sections of a pcapng capture. */
  sections = 0;
  /** Largest limit of captured bytes that an interface states; 0 if one states none. */
  snaplen: number = -1;
  /** Link types of all interfaces. */
  readonly linkTypes: Set<number> = new Set();
  /** Earliest time. */
  first: PacketTime | undefined;
  /** Latest time. */
  last: PacketTime | undefined;
  /** What was odd. */
  readonly warnings: string[] = [];
  readonly #facts = packetFacts();
  #scanner: Scanner | undefined;

  /** Learns whom to ask about packets. */
  connect(scanner: Scanner): void {
    this.#scanner = scanner;
  }

  packet(start: number, _payload: number, length: number, end: number): boolean {
    const facts = this.#facts;
    this.#scanner!.describe(start, end, facts);
    this.packets++;
    this.bytes += length;
    this.bytesOnWire += facts.originalLength;
    if (length > this.largest) this.largest = length;
    if (!facts.timed) return true;
    if (!this.first || isEarlier(facts, this.first)) this.first = copyTime(facts, this.first);
    if (!this.last || isEarlier(this.last, facts)) this.last = copyTime(facts, this.last);
    return true;
  }

  around(_start: number, _end: number, kind: number): void {
    if (kind === BLOCK_TYPES["section_header"]) this.sections++;
    if (kind !== BLOCK_TYPES["interface_description"] && kind !== FILE_HEADER) return;
    const { linkType, snaplen } = this.#scanner!.interfaces.at(-1)!;
    this.interfaces++;
    this.linkTypes.add(linkType);
    if (this.snaplen !== 0) this.snaplen = snaplen === 0 ? 0 : Math.max(this.snaplen, snaplen);
  }

  warn(message: string): void {
    this.warnings.push(message);
  }
}

/** Copies a time over another, if there is one. */
function copyTime(from: PacketTime, to: PacketTime | undefined): PacketTime {
  const { seconds, fraction, perSecond, exact } = from;
  if (to === undefined) return { seconds, fraction, perSecond, exact };
  to.seconds = seconds;
  to.fraction = fraction;
  to.perSecond = perSecond;
  to.exact = exact;
  return to;
}
