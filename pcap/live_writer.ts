/**
 * Writes frames to a capture as they come, with the time of day in nanoseconds.
 *
 * @module
 */
import type { Frame } from "../core/frame.ts";
import { Memory } from "../core/memory.ts";
import type { SyncByteSink } from "./byte_source.ts";
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
  /** How many frames were written, wholly. */
  frames = 0;
  /** Bytes of those frames. */
  bytes = 0;
  readonly #sink: SyncByteSink;
  readonly #memory = new Memory(BUFFER_SIZE);
  /** Where the first record that was collected starts: behind the header of the file, if that is not written yet. */
  #start = FILE_HEADER_SIZE;
  #end = FILE_HEADER_SIZE;
  /** How far a record (or the header) at the front is written: all before it has gone, and the rest was not taken. */
  #done = 0;
  #stalled = false;
  /** The foreign buffer that was copied from last, and a view of it. */
  #source: Uint8Array = this.#memory.bytes;
  #sourceView: DataView = this.#memory.view;

  /** Begins with the header of the file: flush it at once if a reader at the other end of a pipe is to begin. */
  constructor(sink: SyncByteSink) {
    this.#sink = sink;
    this.#memory.bytes.set(pcap_file_header.encode({
      magic: PCAP_MAGICS.nanosecond!,
      version_major: 2,
      version_minor: 4,
      snaplen: LONGEST_PACKET,
      linktype: LINKTYPE_ETHERNET,
    }));
  }

  /** Whether the sink did not take all at the last {@linkcode flush}. */
  get stalled(): boolean {
    return this.#stalled;
  }

  /**
   * Whether there is room for a frame of so many bytes, if need be after a {@linkcode flush}. There always is unless the
   * sink is one that may take nothing.
   *
   * @throws What the sink throws.
   */
  hasRoom(length: number): boolean {
    if (this.#fits(length) || length > LONGEST_PACKET) return true;
    this.flush();
    return this.#fits(length);
  }

  /**
   * Adds a frame.
   *
   * @returns False if it is too long for a capture: nothing was added.
   * @throws {TypeError} If there is no room for it.
   * @throws What the sink throws.
   */
  add(frame: Frame, seconds: number, nanoseconds: number): boolean {
    const length = frame.length;
    if (length > LONGEST_PACKET) return false;
    if (!this.hasRoom(length)) throw new TypeError("Cannot add a frame as there is no room for it");
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

  /**
   * Hands on what was collected. What the sink does not take at present stays. When it throws, all is gone, and a record
   * that it took a part of is taken back.
   *
   * @throws What the sink throws.
   */
  flush(): void {
    const { bytes } = this.#memory;
    const end = this.#end;
    let done = this.#done;
    try {
      for (let taken = 1; taken > 0 && done < end; done += taken) {
        taken = this.#sink.writeSync(bytes.subarray(done, end));
      }
    } catch (error) {
      this.#takeBack(done - this.#count(this.#start, done));
      this.#start = this.#end = this.#done = 0;
      this.#stalled = false;
      throw error;
    }
    this.#stalled = done < end;
    if (done === this.#done) return;
    const whole = this.#count(this.#start, done);
    if (this.#stalled) bytes.copyWithin(0, whole, end);
    if (done >= this.#start) this.#start = 0;
    this.#end = end - whole;
    this.#done = done - whole;
  }

  #fits(length: number): boolean {
    return this.#end + RECORD_SIZE + length <= BUFFER_SIZE;
  }

  #takeBack(length: number): void {
    try {
      this.#sink.cutSync?.(length);
    } catch {
      // What cannot be taken back stays; there is an error to be told already.
    }
  }

  /** Counts the records between two places that are whole. Returns where the last one ends. */
  #count(start: number, end: number): number {
    // A part of the header of the file is nothing whole, either.
    if (end < start) return 0;
    let whole = start;
    while (whole + RECORD_SIZE <= end) {
      const length = this.#memory.view.getUint32(whole + CAPTURED, true);
      if (whole + RECORD_SIZE + length > end) break;
      whole += RECORD_SIZE + length;
      this.frames++;
      this.bytes += length;
    }
    return whole;
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
