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
import { LONGEST_BLOCK, packetFacts, type Scanner } from "../pcap/scanner.ts";
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
export class Replay {
  /** The buffer that frames lie in. */
  readonly bytes: Uint8Array;
  /** Where the present frame starts. */
  offset = 0;
  /** How long it is. */
  length = 0;
  /** Its time in milliseconds; of a packet without a time, that of the one before. */
  time = 0;
  readonly #memory = new Memory(2 * HALF);
  readonly #wake: () => void;
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
    this.#read(source).catch((error) => this.#error = error).finally(() => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Whether all frames have been used. */
  get ended(): boolean {
    return this.#ended && !this.#next && this.#at >= this.#batch.offsets.length;
  }

  /**
   * Goes to the next frame.
   *
   * @returns False if there is none yet, or no more.
   * @throws {Error} If the capture is bad, behind its last good frame.
   */
  next(): boolean {
    if (this.#at >= this.#batch.offsets.length) {
      if (!this.#next) {
        if (this.#error) throw this.#error;
        return false;
      }
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

  async #read(source: ByteSource): Promise<void> {
    const memory = this.#memory;
    let collecting = new Batch();
    const facts = packetFacts();
    let time = 0;
    const target = {
      packet: (start: number, payload: number, length: number, end: number): boolean => {
        scanner!.describe(start, end, facts);
        if (scanner!.interfaces[facts.interfaceId]?.linkType !== LINKTYPE_ETHERNET) {
          throw new UsageError("only a capture of Ethernet frames can be sent to a driver");
        }
        if (facts.timed) time = facts.seconds * 1000 + facts.fraction / (facts.perSecond / 1000);
        collecting.offsets.push(payload);
        collecting.lengths.push(length);
        collecting.times.push(time);
        return true;
      },
      around: () => {},
      warn: () => {},
    };
    let scanner: Scanner | undefined;
    let input = source;
    let start = 0;
    let filled = 0;
    let half = 0;
    let consumed = 0;
    for (let last = false; !last;) {
      const room = half + HALF - filled;
      const got = await input.read(memory.bytes.subarray(filled, filled + Math.min(READ, room)));
      last = got === null;
      filled += got ?? 0;
      if (!scanner) {
        const head = memory.bytes.subarray(start, filled);
        const format = sniff(head, last);
        if (format === undefined) continue;
        if (format === "gzip" || format === "zstd") {
          input = new DecompressedSource(format, head.slice(), input);
          filled = start;
          last = false;
          continue;
        }
        scanner = format === "pcap" ? new ClassicScanner(memory, target) : new PcapngScanner(memory, target);
      }
      let reached: number;
      try {
        reached = scanner.scan(start, filled, consumed - start, last);
      } catch (error) {
        throw this.#after(collecting, error);
      }
      consumed += reached - start;
      start = reached;
      if (last && start < filled) {
        throw this.#after(collecting, scanner.truncated(start, filled, consumed - start));
      }
      if (collecting.offsets.length > 0) {
        await this.#hand(collecting);
        collecting = new Batch();
        half = HALF - half;
      } else if (start === half) {
        continue;
      }
      memory.bytes.copyWithin(half, start, filled);
      filled = half + filled - start;
      start = half;
    }
  }

  /** Hands a last batch over before an error. */
  #after(batch: Batch, error: unknown): unknown {
    if (batch.offsets.length > 0) this.#next = batch;
    return error;
  }

  /** Hands a batch over, and waits until the half that was in use before is free. */
  async #hand(batch: Batch): Promise<void> {
    const taken = new Promise<void>((resolve) => this.#taken = resolve);
    this.#next = batch;
    this.#wake();
    await taken;
  }
}
