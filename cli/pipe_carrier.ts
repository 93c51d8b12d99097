/**
 * Carries packets through the pump, and all around them past it.
 *
 * @module
 */
import { BATCH_SIZE, FrameBatch } from "../core/frame_batch.ts";
import type { Memory } from "../core/memory.ts";
import type { Link } from "../core/plugin.ts";
import { Pump, type PumpSink } from "../core/pump.ts";
import type { Rewriter } from "../pcap/rewriter.ts";
import type { CaptureTarget } from "../pcap/scanner.ts";
import { INTAKE_SIZE } from "./pipe_intake.ts";
import type { WindowPart } from "./pipe_outlet.ts";

/** The shortest record of any format, in bytes: so many packets at most are on their way at once. */
const SHORTEST_RECORD = 16;

/** Header of a record of the usual format, in bytes. */
const USUAL_HEAD = 16;

/** What is noted of each packet of a window: five places. */
const NOTES = 5;
/** Where the next received byte goes, or {@linkcode DONE} or {@linkcode LOST}. */
const HOLE = 0;
/** Where its hole ends. */
const HOLE_END = 1;
/** Where its record starts. */
const RECORD = 2;
/** Where its record ends. */
const RECORD_END = 3;
/** How many captured bytes it has. */
const LENGTH = 4;

/** In place of {@linkcode HOLE}: the packet is there. */
const DONE = -1;
/** In place of {@linkcode HOLE}: the packet will not come. */
const LOST = -2;

/** The ring brought something else than was sent. */
export class DeliveryError extends Error {
  /** Always `"DeliveryError"`. */
  override readonly name = "DeliveryError";
}

/** Hears of each packet that was left out: its number, counted from 1, and why. */
export type DropListener = (number: number, reason: string) => void;

/**
 * Lays the output out in a window of memory. What is not captured bytes is copied there at once; in the place of
 * the captured bytes a hole is left, which is filled when the ring brings them. So order is kept however many
 * queues there are, and what was received is what is written.
 */
export class Carrier implements CaptureTarget, PumpSink {
  /** Packets taken. */
  packets = 0;
  /** Captured bytes of packets taken. */
  bytes = 0;
  /** Packets left out. */
  dropped = 0;
  /** Captured bytes of packets left out. */
  bytesDropped = 0;
  /** Packets left out, by reason. */
  readonly drops: Record<string, number> = {};
  readonly #memory: Memory;
  readonly #pump: Pump;
  readonly #most: number;
  readonly #onDrop: DropListener;
  readonly #warn: (message: string) => void;
  readonly #begin: () => void;
  #notes = new Int32Array(INTAKE_SIZE / SHORTEST_RECORD * NOTES);
  /** Those of the window before, which may still be being written: where it starts, its notes, how many there are. */
  #before = 0;
  #notesBefore = new Int32Array(INTAKE_SIZE / SHORTEST_RECORD * NOTES);
  #nextBefore = 0;
  /** Packets that lie ready for the ring, and how many bytes before each of them are free to use. */
  readonly #batch: FrameBatch;
  /** Where the records or the frames of a batch go. */
  readonly #targets: Int32Array;
  #headroom = 0;
  #rewriter: Rewriter | undefined;
  #start = 0;
  #out = 0;
  /** Number of the window's first packet. */
  #first = 0;
  /** Index behind the last packet's notes. */
  #next = 0;
  /** How many packets of the window came or were dropped. */
  #settled = 0;
  /** Whether some of the window's packets did not come. */
  #gaps = false;

  /**
   * Sends packets through `link`.
   *
   * @param memory Where the input is, and the output goes.
   * @param link The ring.
   * @param most How many packets to take.
   * @param onDrop Hears of packets left out.
   * @param warn Hears of what is odd.
   * @param begin Hears that there will be an output, and more than once.
   */
  constructor(
    memory: Memory,
    link: Link,
    most: number,
    onDrop: DropListener,
    warn: (message: string) => void,
    begin: () => void,
  ) {
    this.#memory = memory;
    this.#pump = new Pump(link, this);
    this.#batch = new FrameBatch(memory);
    this.#targets = memory.words(BATCH_SIZE);
    this.#most = most;
    this.#onDrop = onDrop;
    this.#warn = warn;
    this.#begin = begin;
  }

  /** Where the window starts. */
  get start(): number {
    return this.#start;
  }

  /** Whether as many packets were taken as should be. */
  get full(): boolean {
    return this.packets === this.#most;
  }

  /** Converts from now on. */
  convert(rewriter: Rewriter): void {
    this.#rewriter = rewriter;
  }

  /** Starts a window. */
  open(start: number): void {
    this.#before = this.#start;
    this.#nextBefore = this.#next;
    [this.#notes, this.#notesBefore] = [this.#notesBefore, this.#notes];
    this.#start = this.#out = start;
    this.#first = this.packets;
    this.#next = 0;
    this.#settled = 0;
    this.#gaps = false;
  }

  packet(start: number, payload: number, length: number, end: number): boolean {
    if (this.packets === this.#most) return false;
    const memory = this.#memory;
    let record = this.#out;
    const head = payload - start;
    let hole = record + head;
    let recordEnd = record + end - start;
    if (this.#rewriter !== undefined) {
      record += this.#rewriter.before(record, start, end);
      hole = record + this.#rewriter.head(record, start, length, end);
      recordEnd = hole + length + this.#rewriter.tail(hole + length, length);
    } else {
      memory.copyWithin(record, start, head);
      const tail = payload + length;
      if (tail !== end) memory.copyWithin(hole + length, tail, end - tail);
    }
    const notes = this.#notes;
    const at = this.#next;
    notes[at + HOLE] = hole;
    notes[at + HOLE_END] = hole + length;
    notes[at + RECORD] = record;
    notes[at + RECORD_END] = recordEnd;
    notes[at + LENGTH] = length;
    this.#next = at + NOTES;
    this.#out = recordEnd;
    this.packets++;
    this.bytes += length;
    const batch = this.#batch;
    if (head !== this.#headroom) this.#push(head);
    batch.offsets[batch.count] = payload;
    batch.lengths[batch.count] = length;
    if (++batch.count === BATCH_SIZE) this.#push(head);
    return true;
  }

  records(frames: FrameBatch, head: number): number {
    const { offsets, lengths, count } = frames;
    const limited = this.#most >= 0 && this.packets + count > this.#most;
    if (this.#rewriter !== undefined || limited || head !== USUAL_HEAD) {
      for (let i = 0; i < count; i++) {
        const payload = offsets[i]!;
        const end = payload + lengths[i]!;
        if (!this.packet(payload - head, payload, lengths[i]!, end)) return i;
      }
      return count;
    }
    // Those gathered one by one go first.
    if (this.#batch.count > 0) this.#push(this.#headroom);
    const targets = this.#targets;
    const notes = this.#notes;
    // So the engine knows before the loop that these are small integers.
    let at = this.#next | 0;
    let record = this.#out | 0;
    const most = count | 0;
    let bytes = 0;
    for (let i = 0; i < most; i = (i + 1) | 0) {
      const length = lengths[i]!;
      targets[i] = record;
      const hole = (record + USUAL_HEAD) | 0;
      const end = (hole + length) | 0;
      notes[at + HOLE] = hole;
      notes[at + HOLE_END] = end;
      notes[at + RECORD] = record;
      notes[at + RECORD_END] = end;
      notes[at + LENGTH] = length;
      at = (at + NOTES) | 0;
      record = end;
      bytes = (bytes + length) | 0;
    }
    this.#memory.copyHeads(targets, offsets, count);
    this.#next = at;
    this.#out = record;
    this.packets += count;
    this.bytes += bytes;
    this.#pump.pushBatch(frames, head);
    return count;
  }

  /** Sends the packets gathered so far. The next ones have other headers before them. */
  #push(headroom: number): void {
    this.#pump.pushBatch(this.#batch, this.#headroom);
    this.#batch.count = 0;
    this.#headroom = headroom;
  }

  around(start: number, end: number, kind: number): void {
    if (this.#rewriter !== undefined) {
      this.#out += this.#rewriter.around(this.#out, start, end, kind);
      return;
    }
    this.#begin();
    this.#memory.copyWithin(this.#out, start, end - start);
    this.#out += end - start;
  }

  warn(message: string): void {
    this.#warn(message);
  }

  piece(number: number, bytes: Uint8Array, offset: number, length: number, more: boolean): void {
    const notes = this.#notes;
    const at = (number - this.#first) * NOTES;
    const hole = notes[at + HOLE]!;
    const left = notes[at + HOLE_END]! - hole - length;
    if (left < 0 || (!more && left !== 0)) throw this.#mismatch(number, left, more);
    this.#memory.copyFrom(hole, bytes, offset, length);
    if (more) {
      notes[at + HOLE] = hole + length;
      return;
    }
    notes[at + HOLE] = DONE;
    this.#settled++;
  }

  batch(number: number, frames: FrameBatch): void {
    const notes = this.#notes;
    const targets = this.#targets;
    const { bytes, offsets, lengths } = frames;
    const count = frames.count | 0;
    let at = ((number - this.#first) * NOTES) | 0;
    let fit = 0;
    for (; fit < count; fit = (fit + 1) | 0) {
      const hole = notes[at + HOLE]!;
      const length = lengths[fit]!;
      if (((notes[at + HOLE_END]! - hole) | 0) !== length) break;
      notes[at + HOLE] = DONE;
      at = (at + NOTES) | 0;
      targets[fit] = hole;
    }
    this.#memory.copyEach(targets, bytes, offsets, lengths, 0, fit);
    this.#settled += fit;
    if (fit === count) return;
    const left = notes[at + HOLE_END]! - notes[at + HOLE]! - lengths[fit]!;
    throw this.#mismatch(number + fit, left, false);
  }

  drop(number: number, reason: string): void {
    const at = (number - this.#first) * NOTES;
    this.#settled++;
    this.#lose(at, reason);
  }

  /** Waits until every packet of the window came or was dropped. */
  drain(): void {
    this.#push(this.#headroom);
    this.#pump.drain();
    const sent = this.#next / NOTES;
    if (this.#settled !== sent) {
      throw new DeliveryError(`the ring brought ${this.#settled} of ${sent} packets and has no more`);
    }
  }

  /** Gives up the packets of the window that have not come. */
  abandon(reason: string): void {
    for (let at = 0; at < this.#next; at += NOTES) {
      if (this.#notes[at + HOLE]! >= 0) this.#lose(at, reason);
    }
  }

  /** Writes what the target format wants at the end. */
  finish(): void {
    if (this.#rewriter === undefined) return;
    this.#out += this.#rewriter.finish(this.#out);
    for (const loss of this.#rewriter.losses()) this.#warn(loss);
  }

  /** Ends the window: cuts the records of packets that did not come out of it, and says where it ends. */
  close(): number {
    if (!this.#gaps) return this.#out;
    const bytes = this.#memory.bytes;
    let target = this.#start;
    let source = this.#start;
    for (let at = 0; at < this.#next; at += NOTES) {
      if (this.#notes[at + HOLE] !== LOST) continue;
      const record = this.#notes[at + RECORD]!;
      bytes.copyWithin(target, source, record);
      target += record - source;
      source = this.#notes[at + RECORD_END]!;
    }
    bytes.copyWithin(target, source, this.#out);
    return this.#out = target + this.#out - source;
  }

  /**
   * What is whole of a window that was closed: the last one or the one before.
   *
   * @param start Where it starts.
   * @param end Where what is looked at of it ends.
   */
  whole(start: number, end: number): WindowPart {
    const isLast = start === this.#start;
    const notes = isLast ? this.#notes : this.#notesBefore;
    const next = isLast ? this.#next : this.#nextBefore;
    const part = { end: start, packets: 0, bytes: 0 };
    // Records of packets that did not come were cut out.
    let missing = 0;
    for (let at = 0; at < next; at += NOTES) {
      const record = notes[at + RECORD]! - missing;
      const recordEnd = notes[at + RECORD_END]! - missing;
      // What is before a packet is whole without it.
      if (record <= end) part.end = record;
      if (notes[at + HOLE] === LOST) {
        missing += recordEnd - record;
        continue;
      }
      if (recordEnd > end) break;
      part.end = recordEnd;
      part.packets++;
      part.bytes += notes[at + LENGTH]!;
    }
    return part;
  }

  #lose(at: number, reason: string): void {
    const notes = this.#notes;
    notes[at + HOLE] = LOST;
    this.#gaps = true;
    this.dropped++;
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
    this.bytesDropped += notes[at + LENGTH]!;
    this.#onDrop(this.#first + at / NOTES + 1, reason);
  }

  #mismatch(number: number, left: number, more: boolean): DeliveryError {
    const how = left < 0 ? `${-left} bytes more` : `${left} bytes less`;
    return new DeliveryError(
      `the ring brought packet ${number + 1} with ${how} than were sent${more ? ", and not yet all" : ""}`,
    );
  }
}
