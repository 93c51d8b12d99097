/**
 * The frames of a capture one after the other, for a loop that cannot wait for a file.
 *
 * @module
 */
import { Memory } from "../core/memory.ts";
import type { ByteSource } from "../pcap/byte_source.ts";
import { ClassicScanner } from "../pcap/classic.ts";
import { DecompressedSource } from "../pcap/compression.ts";
import { PcapngScanner } from "../pcap/pcapng.ts";
import { type CaptureTarget, LONGEST_BLOCK, packetFacts, type Scanner } from "../pcap/scanner.ts";
import { sniff } from "../pcap/sniff.ts";
import { UsageError } from "./errors.ts";

/** A half holds the longest block and a good read behind it. */
const HALF = LONGEST_BLOCK + 1024 * 1024;
const READ = 1024 * 1024;
const LINKTYPE_ETHERNET = 1;

/** Frames found in one half of the memory. */
class Batch {
  readonly offsets: number[] = [];
  readonly lengths: number[] = [];
  readonly times: number[] = [];
}

/**
 * Reads a capture ahead of its use: while the frames of one half of the memory are used, the other half is read and
 * scanned in the background.
 */
export class Replay implements CaptureTarget {
  /** The buffer that frames lie in. */
  readonly bytes: Uint8Array;
  /** Where the present frame starts. */
  offset = 0;
  /** How long it is. */
  length = 0;
  /** Its time in milliseconds; of a packet without a time, that of the one before. */
  time = 0;
  /** How many frames were found so far. */
  frames = 0;
  readonly #memory = new Memory(2 * HALF);
  readonly #facts = packetFacts();
  readonly #wake: () => void;
  #source: ByteSource;
  #scanner: Scanner | undefined;
  #collecting = new Batch();
  /** Time of the last packet that was collected. */
  #collected = 0;
  #batch = new Batch();
  #at = 0;
  #next: Batch | undefined;
  #taken: () => void = () => {};
  #ended = false;
  #error: unknown;

  /**
   * Starts to read.
   *
   * @param source The capture, compressed or not.
   * @param wake Is called when frames have come, or the end.
   */
  constructor(source: ByteSource, wake: () => void) {
    this.bytes = this.#memory.bytes;
    this.#wake = wake;
    this.#source = source;
    this.#read().catch((error) => this.#error = error).finally(() => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Whether all frames have been used. */
  get ended(): boolean {
    return this.#ended && !this.#next && this.#at >= this.#batch.offsets.length;
  }

  /** What is wrong with the capture, when all frames before that have been used. */
  get error(): unknown {
    return this.ended ? this.#error : undefined;
  }

  /**
   * Goes to the next frame.
   *
   * @returns False if there is none yet, or no more.
   */
  next(): boolean {
    if (this.#at >= this.#batch.offsets.length) {
      if (!this.#next) return false;
      this.#batch = this.#next;
      this.#at = 0;
      this.#next = undefined;
      this.#taken();
    }
    this.offset = this.#batch.offsets[this.#at]!;
    this.length = this.#batch.lengths[this.#at]!;
    this.time = this.#batch.times[this.#at]!;
    this.#at++;
    return true;
  }

  /** Reads to the end, a half of the memory at a time. */
  async #read(): Promise<void> {
    const memory = this.#memory;
    let start = 0;
    let filled = 0;
    let half = 0;
    let consumed = 0;
    for (let last = false; !last;) {
      const room = half + HALF - filled;
      const got = await this.#source.read(memory.bytes.subarray(filled, filled + Math.min(READ, room)));
      last = got === null;
      filled += got ?? 0;
      if (!this.#scanner) {
        const found = this.#recognise(memory.bytes.subarray(start, filled), last);
        if (found === "compressed") {
          filled = start;
          last = false;
        }
        if (found !== "capture") continue;
      }
      const reached = this.#scan(start, filled, consumed - start, last);
      consumed += reached - start;
      start = reached;
      if (this.#collecting.offsets.length > 0) {
        await this.#hand();
        half = HALF - half;
      } else if (start === half) {
        continue;
      }
      memory.bytes.copyWithin(half, start, filled);
      filled = half + filled - start;
      start = half;
    }
  }

  /** Finds out what the input is: nothing yet, something that is decompressed from now on, or a capture. */
  #recognise(head: Uint8Array, last: boolean): "compressed" | "capture" | undefined {
    const format = sniff(head, last);
    if (format === undefined) return undefined;
    if (format === "gzip" || format === "zstd") {
      this.#source = new DecompressedSource(format, head.slice(), this.#source);
      return "compressed";
    }
    const Scanner = format === "pcap" ? ClassicScanner : PcapngScanner;
    this.#scanner = new Scanner(this.#memory, this);
    return "capture";
  }

  /** Collects all packets that are whole. Those before an error are handed over first. */
  #scan(start: number, end: number, origin: number, last: boolean): number {
    const scanner = this.#scanner!;
    try {
      const reached = scanner.scan(start, end, origin, last);
      if (last && reached < end) throw scanner.truncated(reached, end, origin);
      return reached;
    } catch (error) {
      if (this.#collecting.offsets.length > 0) this.#next = this.#collecting;
      throw error;
    }
  }

  packet(start: number, payload: number, length: number, end: number): boolean {
    const scanner = this.#scanner!;
    const facts = this.#facts;
    scanner.describe(start, end, facts);
    if (scanner.interfaces[facts.interfaceId]?.linkType !== LINKTYPE_ETHERNET) {
      throw new UsageError("only a capture of Ethernet frames can be sent to a driver");
    }
    const { offsets, lengths, times } = this.#collecting;
    if (facts.timed) this.#collected = facts.seconds * 1000 + facts.fraction / (facts.perSecond / 1000);
    offsets.push(payload);
    lengths.push(length);
    times.push(this.#collected);
    this.frames++;
    return true;
  }

  around(): void {}

  warn(): void {}

  /** Hands over what was collected, and waits until the half that was in use before is free. */
  async #hand(): Promise<void> {
    const taken = new Promise<void>((resolve) => this.#taken = resolve);
    this.#next = this.#collecting;
    this.#collecting = new Batch();
    this.#wake();
    await taken;
  }
}
