/**
 * What reading a capture is: a scanner walks over bytes in memory and tells a target what lies where.
 *
 * @module
 */
import type { FrameBatch } from "../core/frame_batch.ts";
import type { CaptureError } from "./capture_error.ts";
import type { PacketTime } from "./time.ts";

/** Bytes that are not a packet: the file header of a classic capture, or a pcapng block by its type. */
export const FILE_HEADER: number = -1;

/** Longest pcapng block, and so the most bytes a scanner has to see at once. */
export const LONGEST_BLOCK: number = 16 * 1024 * 1024;

/** Hears what lies where. All places are offsets in the scanner's memory. */
export interface CaptureTarget {
  /**
   * Takes a packet.
   *
   * @param start Where its record or block starts.
   * @param payload Where its captured bytes start.
   * @param length How many there are.
   * @param end Where its record or block ends.
   * @returns False to leave it and stop the scan before it.
   */
  packet(start: number, payload: number, length: number, end: number): boolean;
  /**
   * Takes packets whose records are a header and the captured bytes, as so many calls of `packet` would.
   *
   * @param frames Where the captured bytes of each are. They are the scanner's again afterwards.
   * @param head Length of the header before each, in bytes.
   * @returns How many it took; the scan stops before the first that it left.
   */
  records?(frames: FrameBatch, head: number): number;
  /**
   * Takes bytes that are not a packet.
   *
   * @param start Where they start.
   * @param end Where they end.
   * @param kind {@linkcode FILE_HEADER} or the type of the block.
   */
  around(start: number, end: number, kind: number): void;
  /** Hears of something odd that is passed on as it is, in one line. */
  warn(message: string): void;
}

/** What packets of an interface have in common. */
export interface CaptureInterface {
  /** What its packets start with. */
  readonly linkType: number;
  /** Most bytes captured of a packet; 0: no limit. */
  readonly snaplen: number;
  /** Unit of its times as pcapng writes it: 6 is 10^-6, 0x80 + n is 2^-n. */
  readonly resolution: number;
  /** Seconds to be added to its times. */
  readonly timeOffset: bigint;
  /** Length of the frame check sequence at the end of each packet, in bytes; -1 if not said. */
  readonly fcsLength: number;
}

/** What a record says about its packet, filled in by {@linkcode Scanner.describe}. */
export interface PacketFacts extends PacketTime {
  /** Bytes that were on the wire. */
  originalLength: number;
  /** Number of the interface in its section. */
  interfaceId: number;
  /** Whether the record carries a time. */
  timed: boolean;
  /** Whether more is said about the packet than the record of a usual classic capture holds. */
  annotated: boolean;
}

/** Facts of no packet, to be filled. */
export function packetFacts(): PacketFacts {
  return {
    seconds: 0,
    fraction: 0,
    perSecond: 1e6,
    exact: true,
    originalLength: 0,
    interfaceId: 0,
    timed: true,
    annotated: false,
  };
}

/** Walks over a capture, chunk by chunk. */
export interface Scanner {
  /** Format as a person says it: `pcap`, `pcapng`. */
  readonly format: "pcap" | "pcapng";
  /** What the format's variant is: precision, byte order, version. */
  readonly variant: string;
  /** Whether the present section is little endian; a classic capture is one. */
  readonly little: boolean;
  /** The interfaces of the present section, in order; a classic capture has one. */
  readonly interfaces: readonly CaptureInterface[];
  /**
   * Reads all that is whole.
   *
   * @param position Where the unread bytes start.
   * @param end Where they end.
   * @param origin Offset in the capture less offset in memory, for messages.
   * @param last Whether no more bytes will come.
   * @returns Where the bytes start that are not whole, or that the target has left.
   * @throws {CaptureError} If the capture is bad; what was before has been told.
   */
  scan(position: number, end: number, origin: number, last: boolean): number;
  /** The error that bytes left over at the end of the input are. */
  truncated(position: number, end: number, origin: number): CaptureError;
  /** Reads what the record or block at `start` says about its packet; valid while the target holds it. */
  describe(start: number, end: number, facts: PacketFacts): void;
}
