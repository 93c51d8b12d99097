/**
 * Writes frames to a capture as they come, with the time of day in nanoseconds.
 *
 * @module
 */
import type { Frame } from "../core/frame.ts";
import { Memory } from "../core/memory.ts";
import { pcap_file_header, PCAP_MAGICS, pcap_pkthdr } from "./layout.ts";
import { LONGEST_PACKET } from "./link_types.ts";

const FILE_HEADER_SIZE = pcap_file_header.size;
const RECORD_SIZE = pcap_pkthdr.size;
const SECONDS = pcap_pkthdr.offsetOf("ts_sec");
const FRACTION = pcap_pkthdr.offsetOf("ts_usec");
const CAPTURED = pcap_pkthdr.offsetOf("caplen");
const LENGTH = pcap_pkthdr.offsetOf("len");
const LINKTYPE_ETHERNET = 1;

/** Small enough to stay in a processor's cache, large enough for the longest record. */
const BUFFER_SIZE = 512 * 1024;
/** Up to this many bytes a loop of 64-bit moves beats the fixed cost of `set`. */
const LOOP_LIMIT = 256;

/** A classic capture of Ethernet frames that grows. Bytes are collected; {@linkcode flush} hands them on. */
export class LiveWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #memory = new Memory(BUFFER_SIZE);
  #end = 0;
  /** The foreign buffer that was copied from last, and a view of it. */
  #source: Uint8Array = this.#memory.bytes;
  #sourceView: DataView = this.#memory.view;

  /**
   * Starts a capture: its header is written at once, so that a reader at the other end of a pipe can begin.
   *
   * @param write Writes all bytes it is given, which are its own only during the call.
   */
  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
    this.#memory.bytes.set(pcap_file_header.encode({
      magic: PCAP_MAGICS.nanosecond!,
      version_major: 2,
      version_minor: 4,
      snaplen: LONGEST_PACKET,
      linktype: LINKTYPE_ETHERNET,
    }));
    this.#end = FILE_HEADER_SIZE;
    this.flush();
  }

  /**
   * Adds a frame.
   *
   * @returns False if it is too long for a capture: nothing was added.
   */
  add(frame: Frame, seconds: number, nanoseconds: number): boolean {
    const length = frame.length;
    if (length > LONGEST_PACKET) return false;
    if (this.#end + RECORD_SIZE + length > BUFFER_SIZE) this.flush();
    const view = this.#memory.view;
    const at = this.#end;
    view.setUint32(at + SECONDS, seconds, true);
    view.setUint32(at + FRACTION, nanoseconds, true);
    view.setUint32(at + CAPTURED, length, true);
    view.setUint32(at + LENGTH, length, true);
    let target = at + RECORD_SIZE;
    for (let i = 0; i < frame.pieces; i++) {
      const part = frame.lengths[i]!;
      this.#copy(target, frame.bytes[i]!, frame.offsets[i]!, part);
      target += part;
    }
    this.#end = target;
    return true;
  }

  /** Hands on what was collected. */
  flush(): void {
    if (this.#end > 0) this.#write(this.#memory.bytes.subarray(0, this.#end));
    this.#end = 0;
  }

  #copy(target: number, bytes: Uint8Array, source: number, length: number): void {
    if (length > LOOP_LIMIT) {
      this.#memory.bytes.set(bytes.subarray(source, source + length), target);
      return;
    }
    if (bytes !== this.#source) {
      this.#source = bytes;
      this.#sourceView = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    const from = this.#sourceView;
    const to = this.#memory.view;
    const whole = source + (length & ~7);
    while (source < whole) {
      to.setBigUint64(target, from.getBigUint64(source, true), true);
      source += 8;
      target += 8;
    }
    for (let rest = length & 7; rest > 0; rest--) to.setUint8(target++, from.getUint8(source++));
  }
}
