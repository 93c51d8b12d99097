/**
 * DQO transmit queue, the driver's side.
 *
 * @module
 */
import { BATCH_SIZE, type FrameBatch } from "../../../core/frame_batch.ts";
import { FULL, OVERSIZE, RUNT } from "../../../core/plugin.ts";
import { DQO_MAX_BUFFER, DQO_SPARE, DQO_TX_BUFFER, NIC_LIMITS } from "../constants.ts";
import type { DriverContext, TxQueuePlace } from "../queue_context.ts";
import { type TransmitRequest, UNMAPPED } from "../transmit_request.ts";
import { finishSegmentHeader, widestSegment } from "./tso_segments.ts";
import { TxBuffers, type TxPages } from "./tx_buffers.ts";
import { TxCompletions } from "./tx_completions.ts";
import { PLAIN, TxRing } from "./tx_ring.ts";
import { tagsFor, TxTags } from "./tx_tags.ts";

/** A TSO packet's total length may have this many bytes whatever else is allowed: 18 bits of hardware. */
const MAX_TSO = NIC_LIMITS.maximumTso;
const MAX_LENGTH = 0xffff;
const UPPER_HALF = 2 ** 32;

// Bindings of this module, unlike imported ones, are constants for the engine.
const MAX_BUFFER = DQO_MAX_BUFFER;
const COPY_BUFFER = DQO_TX_BUFFER;
const SPARE = DQO_SPARE;
const PLAIN_PACKET = PLAIN;
const TO_BE_MAPPED = UNMAPPED;

/** What a DQO transmit queue needs beside its place. */
export interface DqoTxOptions {
  /** Offset of the completion ring in the driver's memory; it has as many entries as the descriptor ring. */
  readonly completions: number;
  /** Pages of the page list in order: offset and address of each; without one descriptors point at packets. */
  readonly pages: TxPages | undefined;
}

/** The queue. Indices are masked, so a ring of n holds n - 1 descriptors. */
export class DqoTxDriver {
  readonly #context: DriverContext;
  readonly #place: TxQueuePlace;
  readonly #mask: number;
  readonly #tags: TxTags;
  readonly #buffers: TxBuffers;
  readonly #completions: TxCompletions;
  /** Where the frames of a batch are copied to, if they are. */
  readonly #targets: Int32Array;
  readonly #ring: TxRing;
  #rung = 0;
  #stopped = false;

  /** Starts with empty rings. */
  constructor(context: DriverContext, place: TxQueuePlace, { completions, pages }: DqoTxOptions) {
    const { queue, size } = place;
    this.#context = context;
    this.#place = place;
    this.#mask = size - 1;
    this.#ring = new TxRing(context.memory.view, place.ring, size);
    this.#buffers = new TxBuffers(pages, context.bounce, tagsFor(size));
    this.#tags = new TxTags(size, this.#buffers, context.counters, context.clock);
    this.#completions = new TxCompletions(context, queue, completions, size, this.#tags, this.#buffers);
    this.#targets = context.memory.words(pages === undefined ? 0 : BATCH_SIZE);
  }

  /** Ring index behind the last descriptor. */
  get tail(): number {
    return this.#ring.tail;
  }

  /** Index of the descriptor that last asked for a report. */
  get lastReport(): number {
    return this.#ring.lastReport;
  }

  /** Index in the completion ring behind the last completion handled. */
  get completed(): number {
    return this.#completions.index;
  }

  /** Tags by state: together always the table. */
  get tagCounts(): TxTags["counts"] {
    return this.#tags.counts;
  }

  /**
   * Puts a packet on the ring. The headers of a TSO packet must lie in its linear part, which is changed: the
   * pseudo header sum in it loses the length.
   *
   * @returns The queue's number, FULL, OVERSIZE or RUNT.
   */
  transmit(request: TransmitRequest): number {
    const { length } = request;
    const tso = request.segmentSize > 0;
    const header = tso ? request.transportOffset + request.tcpHeaderLength : 0;
    const refusal = this.#refusal(request, tso, header);
    if (refusal < 0) return refusal;
    const copies = this.#buffers.listed;
    const data = copies ? Math.ceil(length / COPY_BUFFER) : buffersFor(request);
    const wanted = data + (tso ? 2 : 1) + SPARE;
    if (copies && data > this.#buffers.size) return OVERSIZE;
    if (this.#context.nicLimits) {
      const touched = tso ? this.#widest(request, header) : data;
      if (touched > NIC_LIMITS.descriptors) return OVERSIZE;
    }
    const used = (this.#ring.tail - this.#completions.head) & this.#mask;
    if (this.#mask - used < wanted) {
      return this.#mask - this.#ring.unreported < wanted ? OVERSIZE : this.#full();
    }
    if (this.#tags.free === 0 || (copies && this.#buffers.free < data)) return this.#full();
    const tag = this.#tags.take();
    if (tso && !prepareSegmentation(request, header)) {
      this.#tags.give(tag);
      return OVERSIZE;
    }
    const before = this.#ring.tail;
    this.#ring.contexts(request, header);
    if (copies) this.#copy(request, tag);
    else if (!this.#point(request, tag, data)) {
      this.#ring.tail = before;
      this.#buffers.release(tag);
      this.#tags.give(tag);
      return this.#full();
    }
    const { counters } = this.#context;
    if (this.#stopped) this.#wake();
    counters.txPackets++;
    counters.txBytes += length;
    counters.txPacketDescriptors += data;
    counters.txMetadataDescriptors++;
    if (tso) counters.txTsoDescriptors++;
    return this.#place.queue;
  }

  /**
   * Puts frames on the ring in one loop, from index `from` on, as so many packets without requests.
   *
   * @param longest Longest frame to take.
   * @returns The index of the first frame that it did not take.
   */
  transmitBatch(frames: FrameBatch, from: number, longest: number): number {
    if (this.#context.nicLimits || from === frames.count) return from;
    const free = this.#mask - ((this.#ring.tail - this.#completions.head) & this.#mask) - PLAIN_PACKET -
      SPARE;
    const room = Math.min(this.#tags.free, free < 0 ? 0 : (free >> 1) + 1);
    const most = Math.min(frames.count, from + room);
    const end = this.#buffers.listed
      ? this.#copyBatch(frames, from, most, Math.min(longest, COPY_BUFFER))
      : this.#pointBatch(frames, from, most, Math.min(longest, MAX_BUFFER));
    const count = end - from;
    if (count === 0) return from;
    if (this.#stopped) this.#wake();
    const { bytes } = this.#ring;
    const { counters, syncs } = this.#context;
    counters.txPackets += count;
    counters.txBytes += bytes;
    counters.txPacketDescriptors += count;
    counters.txMetadataDescriptors += count;
    if (this.#buffers.listed) {
      counters.txBounceBytes += bytes;
      if (syncs) counters.txDmaSyncs += count;
    } else counters.txDmaMaps += count;
    return end;
  }

  /** Points descriptors at frames `from` to `end` as far as they lie in one region. Returns where that ends. */
  #pointBatch(frames: FrameBatch, from: number, end: number, longest: number): number {
    const region = this.#context.mapper.regionOf(frames.bytes, frames.offsets[from]!, 1);
    return region.high < 0 ? from : this.#ring.pointAt(frames, from, end, longest, region, this.#tags);
  }

  /** Copies frames `from` to `end` to a buffer of the page list each. Returns where that ends. */
  #copyBatch(frames: FrameBatch, from: number, end: number, longest: number): number {
    const buffers = this.#buffers;
    const targets = this.#targets;
    const most = Math.min(end, from + buffers.free);
    const taken = this.#ring.nameEach(frames, from, most, longest, buffers, this.#tags, targets);
    this.#context.memory.copyEach(targets, frames.bytes, frames.offsets, frames.lengths, from, taken - from);
    return taken;
  }

  /** Rings the doorbell if there is something new. */
  flush(): void {
    if (this.#rung === this.#ring.tail) return;
    this.#rung = this.#ring.tail;
    this.#context.counters.txDoorbells++;
    this.#context.bar2.write(this.#place.doorbell, 4, this.#ring.tail);
  }

  /**
   * Handles completions and the packets whose time has run out.
   *
   * @returns How many completions.
   * @throws {RingFault} If a completion breaks a rule (strict).
   */
  clean(): number {
    return this.#completions.clean(this.#ring.tail);
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    const { free, size, listed } = this.#buffers;
    return {
      tail: this.#ring.tail,
      head: this.#completions.head,
      doorbell: this.#rung,
      last_report_event: this.#ring.lastReport,
      completion_head: this.#completions.index,
      generation: this.#completions.generation,
      tags: this.tagCounts,
      ...listed && { bounce_buffers: { free, size } },
    };
  }

  /** Why a packet can never go, or 0. */
  #refusal(request: TransmitRequest, tso: boolean, header: number): number {
    const { length } = request;
    if (length === 0) return RUNT;
    const nic = this.#context.nicLimits;
    if (!tso) {
      if (length > MAX_LENGTH || (nic && length > NIC_LIMITS.maximum)) return OVERSIZE;
      return nic && length < NIC_LIMITS.minimum ? RUNT : 0;
    }
    const payload = length - header;
    if (header > request.lengths[0]! || payload > MAX_TSO) return OVERSIZE;
    if (payload <= 0) return RUNT;
    return nic && request.segmentSize > NIC_LIMITS.maximumMss ? OVERSIZE : 0;
  }

  /** Most buffers that a segment of a TSO packet touches. */
  #widest({ lengths, pieces, length, segmentSize }: TransmitRequest, header: number): number {
    return this.#buffers.listed
      ? widestSegment([length], 1, COPY_BUFFER, header, segmentSize)
      : widestSegment(lengths, pieces, MAX_BUFFER, header, segmentSize);
  }

  #wake(): void {
    this.#stopped = false;
    this.#context.counters.txWakes++;
  }

  #full(): number {
    if (!this.#stopped) {
      this.#stopped = true;
      this.#context.counters.txStops++;
      this.flush();
    }
    return FULL;
  }

  /** Points descriptors at the pieces. False if a piece had to be copied and there is no room for that now. */
  #point(request: TransmitRequest, tag: number, descriptors: number): boolean {
    const checksum = request.checksum || request.segmentSize > 0;
    for (let i = 0; i < request.pieces; i++) {
      let left = request.lengths[i]!;
      let address = request.addresses[i]!;
      if (address === TO_BE_MAPPED) {
        address = this.#context.mapper.map(request.bytes[i]!, request.offsets[i]!, left);
        if (address < 0) address = this.#bounce(request, i, tag);
        if (address < 0) return false;
      }
      while (left > 0) {
        const size = Math.min(left, MAX_BUFFER);
        const high = Math.floor(address / UPPER_HALF);
        this.#ring.data(address - high * UPPER_HALF, high, size, tag, checksum, --descriptors === 0);
        address += size;
        left -= size;
      }
    }
    this.#context.counters.txDmaMaps += request.pieces;
    return true;
  }

  /** Copies a piece to where the device can reach it. -1: no room now. */
  #bounce(request: TransmitRequest, piece: number, tag: number): number {
    const { memory, counters } = this.#context;
    const length = request.lengths[piece]!;
    const address = this.#buffers.bounce(tag, memory, request.bytes[piece]!, request.offsets[piece]!, length);
    if (address >= 0) counters.txUnmappedBytes += length;
    return address;
  }

  /** Copies a packet into buffers of the page list: descriptors carry their addresses, not offsets in the list. */
  #copy(request: TransmitRequest, tag: number): void {
    const { memory, counters, syncs } = this.#context;
    const buffers = this.#buffers;
    const checksum = request.checksum || request.segmentSize > 0;
    for (let left = request.length; left > 0;) {
      const size = Math.min(left, COPY_BUFFER);
      const buffer = buffers.take(tag);
      request.copyTo(memory, buffers.offsets[buffer]!, request.length - left, size);
      this.#ring.data(buffers.lows[buffer]!, buffers.highs[buffer]!, size, tag, checksum, size === left);
      if (syncs) counters.txDmaSyncs++;
      left -= size;
    }
    counters.txBounceBytes += request.length;
  }
}

/**
 * Makes the headers of a TSO packet ready. False if the NIC does not take such segments: Linux finds that out when the
 * packet has its tag already.
 */
function prepareSegmentation(request: TransmitRequest, header: number): boolean {
  if (request.segmentSize < NIC_LIMITS.minimumMss) return false;
  finishSegmentHeader(request);
  return header <= NIC_LIMITS.maximumHeader;
}

/** Data descriptors of a packet that is pointed at. */
function buffersFor(request: TransmitRequest): number {
  const first = request.lengths[0]!;
  if (request.pieces === 1 && first <= MAX_BUFFER) return 1;
  let count = 0;
  for (let i = 0; i < request.pieces; i++) count += Math.ceil(request.lengths[i]! / MAX_BUFFER);
  return count;
}
