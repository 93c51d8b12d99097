/**
 * DQO transmit queue, the driver's side.
 *
 * @module
 */
import { BATCH_SIZE, type FrameBatch } from "../../../core/frame_batch.ts";
import { FULL, OVERSIZE, RUNT } from "../../../core/plugin.ts";
import {
  DQO_DTYPE,
  DQO_MAX_BUFFER,
  DQO_REPORT_SPACING,
  DQO_SPARE,
  DQO_TX_BUFFER,
  NIC_LIMITS,
} from "../constants.ts";
import {
  gve_tx_general_context_desc_dqo,
  gve_tx_metadata_dqo,
  gve_tx_pkt_desc_dqo,
  gve_tx_tso_context_desc_dqo,
} from "../layout_dqo.ts";
import type { DriverContext, TxQueuePlace } from "../queue_context.ts";
import { type TransmitRequest, UNMAPPED } from "../transmit_request.ts";
import { finishSegmentHeader } from "./segment_header.ts";
import { widestSegment } from "./segment_span.ts";
import { TxBuffers, type TxPages } from "./tx_buffers.ts";
import { TxCompletions } from "./tx_completions.ts";
import { PENDING, tagsFor, TxTags } from "./tx_tags.ts";

const DESC = gve_tx_pkt_desc_dqo.size;
const BUF_ADDR = gve_tx_pkt_desc_dqo.offsetOf("buf_addr");
const DTYPE = gve_tx_pkt_desc_dqo.offsetOf("dtype");
const COMPL_TAG = gve_tx_pkt_desc_dqo.offsetOf("compl_tag");
const BUF_SIZE_SHIFT = (gve_tx_pkt_desc_dqo.offsetOf("buf_size") - COMPL_TAG) * 8;
const END_OF_PACKET = gve_tx_pkt_desc_dqo.maskOf("end_of_packet");
const CHECKSUM = gve_tx_pkt_desc_dqo.maskOf("checksum_offload_enable");
const REPORT_EVENT = gve_tx_pkt_desc_dqo.maskOf("report_event");
const TSO_LENGTH = gve_tx_tso_context_desc_dqo.offsetOf("tso_total_len");
const TSO_MSS = gve_tx_tso_context_desc_dqo.offsetOf("mss");
const TSO_HEADER = gve_tx_tso_context_desc_dqo.offsetOf("header_len");
const TSO_DTYPE = gve_tx_tso_context_desc_dqo.offsetOf("dtype");
const TSO_FLAG = gve_tx_tso_context_desc_dqo.maskOf("tso");
const TSO_FLEX = gve_tx_tso_context_desc_dqo.offsetOf("flex6");
const GENERAL_FLEX4 = gve_tx_general_context_desc_dqo.offsetOf("flex4");
const GENERAL_DTYPE = gve_tx_general_context_desc_dqo.offsetOf("dtype");
const GENERAL_FLEX0 = gve_tx_general_context_desc_dqo.offsetOf("flex0");
/** Metadata bytes 1 and 2 hold the path hash. */
const PATH_HASH_SHIFT = gve_tx_metadata_dqo.offsetOf("path_hash") * 8;
const PATH_HASH_MASK = gve_tx_metadata_dqo.maskOf("path_hash");
const { GENERAL_CONTEXT, TSO_CONTEXT, PACKET } = DQO_DTYPE;
const LAST = PACKET | END_OF_PACKET;

/** A TSO packet's total length may have this many bytes whatever else is allowed: 18 bits of hardware. */
const MAX_TSO = NIC_LIMITS.maximumTso;
const MAX_LENGTH = 0xffff;
/** Descriptors of a packet without requests in one piece: general context and data. */
const PLAIN = 2;
const NONE = -1;
const UPPER_HALF = 2 ** 32;
/** What `setFloat64` makes eight bytes of zeros of: no 64-bit store is as fast. */
const EIGHT_ZEROS = 0;

// Bindings of this module, unlike imported ones, are constants for the engine.
const MAX_BUFFER = DQO_MAX_BUFFER;
const COPY_BUFFER = DQO_TX_BUFFER;
const SPACING = DQO_REPORT_SPACING;
const SPARE = DQO_SPARE;
const TO_BE_MAPPED = UNMAPPED;
const WITH_DEVICE = PENDING;

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
  /** Most descriptors that are free at some time whatever happens: fewer than 32 wait for a report event. */
  readonly #capacity: number;
  readonly #tags: TxTags;
  readonly #buffers: TxBuffers;
  readonly #completions: TxCompletions;
  /** Of the frames of a batch, if they are copied: where to, their tags, their buffers. */
  readonly #targets: Int32Array;
  readonly #batchTags: Int32Array;
  readonly #batchBuffers: Int32Array;
  #tail = 0;
  #lastReport = 0;
  #rung = 0;
  #stopped = false;

  /** Starts with empty rings. */
  constructor(context: DriverContext, place: TxQueuePlace, { completions, pages }: DqoTxOptions) {
    const { queue, size } = place;
    this.#context = context;
    this.#place = place;
    this.#mask = size - 1;
    this.#capacity = this.#mask - (SPACING - 1);
    this.#buffers = new TxBuffers(pages, context.bounce, tagsFor(size));
    this.#tags = new TxTags(size, this.#buffers, context.counters, context.clock);
    this.#completions = new TxCompletions(context, queue, completions, size, this.#tags, this.#buffers);
    const copied = pages === undefined ? 0 : BATCH_SIZE;
    this.#targets = context.memory.words(copied);
    this.#batchTags = new Int32Array(copied);
    this.#batchBuffers = new Int32Array(copied);
  }

  /** Ring index behind the last descriptor. */
  get tail(): number {
    return this.#tail;
  }

  /** Index of the descriptor that last asked for a report. */
  get lastReport(): number {
    return this.#lastReport;
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
    if (wanted > this.#capacity || (copies && data > this.#buffers.size)) return OVERSIZE;
    if (this.#context.nicLimits) {
      const touched = tso ? this.#widest(request, header) : data;
      if (touched > NIC_LIMITS.descriptors) return OVERSIZE;
    }
    const used = (this.#tail - this.#completions.head) & this.#mask;
    if (this.#mask - used < wanted || this.#tags.free === 0 || (copies && this.#buffers.free < data)) {
      return this.#full();
    }
    const tag = this.#tags.take();
    if (tso) finishSegmentHeader(request);
    const before = this.#tail;
    this.#contexts(request, tso, header);
    if (copies) this.#copy(request, tag);
    else if (!this.#point(request, tag, data)) {
      this.#tail = before;
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
    const free = this.#mask - ((this.#tail - this.#completions.head) & this.#mask) - PLAIN - SPARE;
    const room = Math.min(this.#tags.free, free < 0 ? 0 : (free >> 1) + 1);
    const end = Math.min(frames.count, from + room);
    const before = this.#tail;
    const bytes = this.#buffers.listed
      ? this.#copyBatch(frames, from, end, Math.min(longest, COPY_BUFFER))
      : this.#pointBatch(frames, from, end, Math.min(longest, MAX_BUFFER));
    const count = ((this.#tail - before) & this.#mask) / PLAIN;
    if (count > 0 && this.#stopped) this.#wake();
    const { counters } = this.#context;
    counters.txPackets += count;
    counters.txBytes += bytes;
    counters.txPacketDescriptors += count;
    counters.txMetadataDescriptors += count;
    return from + count;
  }

  /** Points descriptors at frames `from` to `end` as far as they lie in one region. Returns their bytes. */
  #pointBatch(frames: FrameBatch, from: number, end: number, longest: number): number {
    const { memory: { view }, mapper, counters } = this.#context;
    const { offsets, lengths } = frames;
    const region = mapper.regionOf(frames.bytes, offsets[from]!, 1);
    if (region.high < 0) return 0;
    const first = region.first | 0;
    const last = region.last | 0;
    const shift = region.shift | 0;
    const high = region.high | 0;
    const mask = this.#mask | 0;
    const ring = this.#place.ring | 0;
    const tags = this.#tags;
    const { links } = tags;
    let own = tags.own | 0;
    let returned = tags.returned | 0;
    let tail = this.#tail | 0;
    let lastReport = this.#lastReport | 0;
    let bytes = 0;
    let i = from | 0;
    for (; i < end; i = (i + 1) | 0) {
      const length = lengths[i]!;
      const offset = offsets[i]!;
      if (length > longest || length === 0 || offset < first || length > ((last - offset) | 0)) break;
      if (own === NONE) {
        own = returned;
        returned = NONE;
      }
      const tag = own;
      own = links[tag]!;
      links[tag] = WITH_DEVICE;
      let at = (ring + tail * DESC) | 0;
      view.setFloat64((at + GENERAL_FLEX4) | 0, EIGHT_ZEROS, true);
      view.setInt32((at + GENERAL_DTYPE) | 0, GENERAL_CONTEXT, true);
      view.setInt32((at + GENERAL_FLEX0) | 0, 0, true);
      tail = (tail + 1) & mask;
      at = (ring + tail * DESC) | 0;
      let flags = LAST;
      if (((tail - lastReport) & mask) >= SPACING) {
        flags = LAST | REPORT_EVENT;
        lastReport = tail;
      }
      view.setInt32((at + BUF_ADDR) | 0, (offset - shift) | 0, true);
      view.setInt32((at + BUF_ADDR + 4) | 0, high, true);
      view.setInt32((at + DTYPE) | 0, flags, true);
      view.setInt32((at + COMPL_TAG) | 0, tag | (length << BUF_SIZE_SHIFT), true);
      tail = (tail + 1) & mask;
      bytes = (bytes + length) | 0;
    }
    tags.own = own;
    tags.returned = returned;
    tags.free -= i - from;
    this.#tail = tail;
    this.#lastReport = lastReport;
    counters.txDmaMaps += i - from;
    return bytes;
  }

  /** Copies frames `from` to `end` to a buffer of the page list each. Returns their bytes. */
  #copyBatch(frames: FrameBatch, from: number, end: number, longest: number): number {
    const { memory, counters, syncs } = this.#context;
    const { offsets, lengths } = frames;
    const buffers = this.#buffers;
    const most = Math.min(end - from, buffers.free);
    let bytes = 0;
    let count = 0;
    for (; count < most; count = (count + 1) | 0) {
      const length = lengths[from + count]!;
      if (length > longest || length === 0) break;
      bytes = (bytes + length) | 0;
    }
    this.#tags.takeEach(this.#batchTags, count);
    buffers.takeEach(this.#batchTags, this.#batchBuffers, count);
    this.#describeCopies(lengths, from, count);
    memory.copyEach(this.#targets, frames.bytes, offsets, lengths, from, count);
    counters.txBounceBytes += bytes;
    if (syncs) counters.txDmaSyncs += count;
    return bytes;
  }

  /** Writes the descriptors of packets that are copied to a buffer each, and notes where they go. */
  #describeCopies(lengths: Int32Array, from: number, count: number): void {
    const { view } = this.#context.memory;
    const { offsets, lows, highs } = this.#buffers;
    const batchTags = this.#batchTags;
    const batchBuffers = this.#batchBuffers;
    const targets = this.#targets;
    const mask = this.#mask | 0;
    const ring = this.#place.ring | 0;
    let tail = this.#tail | 0;
    let lastReport = this.#lastReport | 0;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const buffer = batchBuffers[i]!;
      targets[i] = offsets[buffer]!;
      let at = (ring + tail * DESC) | 0;
      view.setFloat64((at + GENERAL_FLEX4) | 0, EIGHT_ZEROS, true);
      view.setInt32((at + GENERAL_DTYPE) | 0, GENERAL_CONTEXT, true);
      view.setInt32((at + GENERAL_FLEX0) | 0, 0, true);
      tail = (tail + 1) & mask;
      at = (ring + tail * DESC) | 0;
      let flags = LAST;
      if (((tail - lastReport) & mask) >= SPACING) {
        flags = LAST | REPORT_EVENT;
        lastReport = tail;
      }
      view.setInt32((at + BUF_ADDR) | 0, lows[buffer]!, true);
      view.setInt32((at + BUF_ADDR + 4) | 0, highs[buffer]!, true);
      view.setInt32((at + DTYPE) | 0, flags, true);
      const length = lengths[(from + i) | 0]!;
      view.setInt32((at + COMPL_TAG) | 0, batchTags[i]! | (length << BUF_SIZE_SHIFT), true);
      tail = (tail + 1) & mask;
    }
    this.#tail = tail;
    this.#lastReport = lastReport;
  }

  /** Rings the doorbell if there is something new. */
  flush(): void {
    if (this.#rung === this.#tail) return;
    this.#rung = this.#tail;
    this.#context.counters.txDoorbells++;
    this.#context.bar2.write(this.#place.doorbell, 4, this.#tail);
  }

  /**
   * Handles completions and the packets whose time has run out.
   *
   * @returns How many completions.
   * @throws {RingFault} If a completion breaks a rule (strict).
   */
  clean(): number {
    return this.#completions.clean(this.#tail);
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    const { free, size, listed } = this.#buffers;
    return {
      tail: this.#tail,
      head: this.#completions.head,
      doorbell: this.#rung,
      last_report_event: this.#lastReport,
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
    const { minimumMss, maximumMss, maximumHeader } = NIC_LIMITS;
    const payload = length - header;
    if (header > maximumHeader || header > request.lengths[0]! || payload > MAX_TSO) return OVERSIZE;
    if (payload <= 0) return RUNT;
    if (nic && (request.segmentSize < minimumMss || request.segmentSize > maximumMss)) return OVERSIZE;
    return 0;
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

  /** Writes the contexts: TSO if wanted, then the general one. */
  #contexts(request: TransmitRequest, tso: boolean, header: number): void {
    const { view } = this.#context.memory;
    const { ring } = this.#place;
    if (tso) {
      const at = ring + this.#tail * DESC;
      // The fields not named here are metadata bytes, all 0: Linux has none that the TSO context could hold.
      view.setUint32(at + TSO_LENGTH, request.length - header, true);
      view.setUint16(at + TSO_MSS, request.segmentSize, true);
      view.setUint16(at + TSO_HEADER, header, true);
      view.setUint32(at + TSO_DTYPE, TSO_CONTEXT | TSO_FLAG, true);
      view.setUint32(at + TSO_FLEX, 0, true);
      this.#tail = (this.#tail + 1) & this.#mask;
    }
    let hash = 0;
    if (request.l4Hash) hash = ((request.hash ^ (request.hash >>> 16)) & PATH_HASH_MASK) || PATH_HASH_MASK;
    this.#generalContext(hash);
  }

  /** Writes a general context: the flow's hash, or 0. */
  #generalContext(hash: number): void {
    const { view } = this.#context.memory;
    const at = this.#place.ring + this.#tail * DESC;
    view.setFloat64(at + GENERAL_FLEX4, EIGHT_ZEROS, true);
    view.setInt32(at + GENERAL_DTYPE, GENERAL_CONTEXT, true);
    view.setInt32(at + GENERAL_FLEX0, hash << PATH_HASH_SHIFT, true);
    this.#tail = (this.#tail + 1) & this.#mask;
  }

  /** Writes a data descriptor; its reserved fields are 0. The last one may ask for a report. */
  #data(low: number, high: number, size: number, tag: number, checksum: number, last: boolean): void {
    const { view } = this.#context.memory;
    const index = this.#tail;
    const at = this.#place.ring + index * DESC;
    let flags = PACKET | checksum;
    if (last) {
      flags |= END_OF_PACKET;
      if (((index - this.#lastReport) & this.#mask) >= SPACING) {
        flags |= REPORT_EVENT;
        this.#lastReport = index;
      }
    }
    view.setInt32(at + BUF_ADDR, low, true);
    view.setInt32(at + BUF_ADDR + 4, high, true);
    view.setInt32(at + DTYPE, flags, true);
    view.setInt32(at + COMPL_TAG, tag | (size << BUF_SIZE_SHIFT), true);
    this.#tail = (index + 1) & this.#mask;
  }

  /** Points descriptors at the pieces. False if a piece had to be copied and there is no room for that now. */
  #point(request: TransmitRequest, tag: number, descriptors: number): boolean {
    const checksum = request.checksum || request.segmentSize > 0 ? CHECKSUM : 0;
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
        this.#data(address - high * UPPER_HALF, high, size, tag, checksum, --descriptors === 0);
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
    const checksum = request.checksum || request.segmentSize > 0 ? CHECKSUM : 0;
    let piece = 0;
    let position = 0;
    for (let left = request.length; left > 0;) {
      const size = Math.min(left, COPY_BUFFER);
      const buffer = buffers.take(tag);
      let target = buffers.offsets[buffer]!;
      for (let rest = size; rest > 0;) {
        const part = Math.min(rest, request.lengths[piece]! - position);
        memory.copyFrom(target, request.bytes[piece]!, request.offsets[piece]! + position, part);
        target += part;
        rest -= part;
        position += part;
        if (position === request.lengths[piece]!) {
          piece++;
          position = 0;
        }
      }
      this.#data(buffers.lows[buffer]!, buffers.highs[buffer]!, size, tag, checksum, size === left);
      if (syncs) counters.txDmaSyncs++;
      left -= size;
    }
    counters.txBounceBytes += request.length;
  }
}

/** Data descriptors of a packet that is pointed at. */
function buffersFor(request: TransmitRequest): number {
  const first = request.lengths[0]!;
  if (request.pieces === 1 && first <= MAX_BUFFER) return 1;
  let count = 0;
  for (let i = 0; i < request.pieces; i++) count += Math.ceil(request.lengths[i]! / MAX_BUFFER);
  return count;
}
