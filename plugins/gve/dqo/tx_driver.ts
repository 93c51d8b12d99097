/**
 * DQO transmit queue, the driver's side.
 *
 * @module
 */
import { finishSegmentHeader } from "./segment_header.ts";
import type { FrameBatch } from "../../../core/frame_batch.ts";
import { FULL, OVERSIZE, RUNT } from "../../../core/plugin.ts";
import {
  DQO_ALT_MISS,
  DQO_COMPLETION,
  DQO_DTYPE,
  DQO_MAX_BUFFER,
  DQO_REINJECT_MS,
  DQO_REPORT_SPACING,
  DQO_SPARE,
  DQO_TAG_HOLD_MS,
  DQO_TX_BUFFER,
  NIC_LIMITS,
  PAGE,
} from "../constants.ts";
import { driverFault } from "../faults.ts";
import {
  gve_tx_compl_desc,
  gve_tx_general_context_desc_dqo,
  gve_tx_metadata_dqo,
  gve_tx_pkt_desc_dqo,
  gve_tx_tso_context_desc_dqo,
} from "../layout_dqo.ts";
import type { DriverContext, TxQueuePlace } from "../queue_context.ts";
import { type TransmitRequest, UNMAPPED } from "../transmit_request.ts";
import { FreeList } from "./free_list.ts";
import { widestSegment } from "./segment_span.ts";
import { TagList } from "./tag_list.ts";

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
const COMPLETION = gve_tx_compl_desc.size;
const COMPLETION_ID = gve_tx_compl_desc.offsetOf("id");
const TAG_SHIFT = (gve_tx_compl_desc.offsetOf("completion_tag") - COMPLETION_ID) * 8;
const ID_MASK = gve_tx_compl_desc.maskOf("id");
const TYPE_MASK = gve_tx_compl_desc.maskOf("type");
const TYPE_SHIFT = gve_tx_compl_desc.shiftOf("type");
const GENERATION_SHIFT = gve_tx_compl_desc.shiftOf("generation");
const { GENERAL_CONTEXT, TSO_CONTEXT, PACKET } = DQO_DTYPE;

/** A TSO packet's total length may have this many bytes whatever else is allowed: 18 bits of hardware. */
const MAX_TSO = NIC_LIMITS.maximumTso;
const BUFFERS_PER_PAGE = PAGE / DQO_TX_BUFFER;
const MAX_LENGTH = 0xffff;
/** Descriptors of a packet without requests in one piece: general context and data. */
const PLAIN = 2;
const NONE = -1;

/** States of a tag. */
const FREE = 0;
const PENDING = 1;
const WAITING = 2;
const TIMED_OUT = 3;

// Bindings of this module, unlike imported ones, are constants for the engine.
const COMPLETED = DQO_COMPLETION.PACKET;
const FETCHED = DQO_COMPLETION.DESCRIPTOR;
const MISSED = DQO_COMPLETION.MISS;
const REINJECTED = DQO_COMPLETION.REINJECTION;
const ALT_MISS = DQO_ALT_MISS;
const MAX_BUFFER = DQO_MAX_BUFFER;
const SPACING = DQO_REPORT_SPACING;
const SPARE = DQO_SPARE;
const TO_BE_MAPPED = UNMAPPED;

/** What a DQO transmit queue needs beside its place. */
export interface DqoTxOptions {
  /** Offset of the completion ring in the driver's memory; it has as many entries as the descriptor ring. */
  readonly completions: number;
  /** Pages of the page list in order: offset and address of each; without one descriptors point at packets. */
  readonly pages: { readonly offsets: ArrayLike<number>; readonly addresses: ArrayLike<number> } | undefined;
}

/** How many tags a queue of `size` descriptors has: room in the completion ring for MISS, REINJECTION and DESCRIPTOR. */
export function tagsFor(size: number): number {
  return Math.min(Math.floor((size - size / SPACING) / 2), ALT_MISS - 1);
}

/** The queue. Indices are masked, so a ring of n holds n - 1 descriptors. */
export class DqoTxDriver {
  readonly #context: DriverContext;
  readonly #place: TxQueuePlace;
  readonly #options: DqoTxOptions;
  readonly #mask: number;
  readonly #name: string;
  /** Most descriptors that are free at some time whatever happens: fewer than 32 wait for a report event. */
  readonly #capacity: number;
  readonly #tags: FreeList;
  readonly #states: Uint8Array;
  readonly #waiting: TagList;
  readonly #timedOut: TagList;
  readonly #buffers: FreeList;
  /** Per tag: its last bounce buffer in the page list. */
  readonly #lastBuffer: Int32Array;
  /** Per bounce buffer: the one before it in its packet. */
  readonly #previousBuffer: Int32Array;
  /** Per tag: bounce buffers for packets out of the device's reach, if there ever were any. */
  readonly #bounces: number[][] = [];
  #tail = 0;
  /** Descriptors before this were fetched. */
  #head = 0;
  #lastReport = 0;
  #rung = 0;
  #completionHead = 0;
  #generation = 1;
  #stopped = false;

  /** Starts with empty rings. */
  constructor(context: DriverContext, place: TxQueuePlace, options: DqoTxOptions) {
    this.#context = context;
    this.#place = place;
    this.#options = options;
    this.#mask = place.size - 1;
    this.#name = `tx${place.queue}`;
    this.#capacity = this.#mask - (SPACING - 1);
    const tags = tagsFor(place.size);
    this.#tags = new FreeList(tags);
    this.#states = new Uint8Array(tags);
    this.#waiting = new TagList(tags);
    this.#timedOut = new TagList(tags);
    this.#lastBuffer = new Int32Array(tags).fill(NONE);
    const buffers = (options.pages?.offsets.length ?? 0) * BUFFERS_PER_PAGE;
    this.#buffers = new FreeList(buffers);
    this.#previousBuffer = new Int32Array(buffers);
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
    return this.#completionHead;
  }

  /** Tags by state: together always the table. */
  get tagCounts(): { free: number; pending: number; waiting: number; timedOut: number; size: number } {
    const { free, size } = this.#tags;
    const waiting = this.#waiting.length;
    const timedOut = this.#timedOut.length;
    const pending = this.#states.reduce((sum, state) => sum + (state === PENDING ? 1 : 0), 0);
    return { free, pending, waiting, timedOut, size };
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
    const copies = this.#options.pages !== undefined;
    const data = copies ? Math.ceil(length / DQO_TX_BUFFER) : buffersFor(request);
    const wanted = data + (tso ? 2 : 1) + SPARE;
    if (wanted > this.#capacity || (copies && data > this.#buffers.size)) return OVERSIZE;
    if (this.#context.nicLimits) {
      const touched = tso ? this.#widest(request, header) : data;
      if (touched > NIC_LIMITS.descriptors) return OVERSIZE;
    }
    const used = (this.#tail - this.#head) & this.#mask;
    if (this.#mask - used < wanted || this.#tags.free === 0 || (copies && this.#buffers.free < data)) {
      return this.#full();
    }
    const tag = this.#tags.take();
    if (tso) finishSegmentHeader(request);
    const before = this.#tail;
    this.#contexts(request, tso, header);
    const posted = copies ? this.#copy(request, tag) : this.#point(request, tag, data);
    if (!posted) {
      this.#tail = before;
      this.#releaseBounces(tag);
      this.#tags.give(tag);
      return this.#full();
    }
    this.#states[tag] = PENDING;
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
    const { memory: { view }, mapper, counters, nicLimits } = this.#context;
    if (this.#options.pages !== undefined || nicLimits || from === frames.count) return from;
    const { bytes, offsets, lengths } = frames;
    const { first, last, high, shift } = mapper.regionOf(bytes, offsets[from]!, 1);
    if (high < 0) return from;
    const mask = this.#mask;
    const { ring } = this.#place;
    const free = mask - ((this.#tail - this.#head) & mask) - PLAIN - SPARE;
    const end = Math.min(frames.count, from + this.#tags.free, free < 0 ? from : from + (free >> 1) + 1);
    const most = Math.min(longest, MAX_BUFFER);
    let tail = this.#tail;
    let lastReport = this.#lastReport;
    let sum = 0;
    let i = from;
    for (; i < end; i++) {
      const offset = offsets[i]!;
      const length = lengths[i]!;
      if (length === 0 || length > most || offset < first || offset + length > last) break;
      const tag = this.#tags.take();
      this.#states[tag] = PENDING;
      let at = ring + tail * DESC;
      view.setUint32(at + GENERAL_FLEX4, 0, true);
      view.setUint32(at + GENERAL_FLEX4 + 4, 0, true);
      view.setUint32(at + GENERAL_DTYPE, GENERAL_CONTEXT, true);
      view.setUint32(at + GENERAL_FLEX0, 0, true);
      tail = (tail + 1) & mask;
      at = ring + tail * DESC;
      let flags = PACKET | END_OF_PACKET;
      if (((tail - lastReport) & mask) >= SPACING) {
        flags |= REPORT_EVENT;
        lastReport = tail;
      }
      view.setUint32(at + BUF_ADDR, offset - shift, true);
      view.setUint32(at + BUF_ADDR + 4, high, true);
      view.setUint32(at + DTYPE, flags, true);
      view.setUint32(at + COMPL_TAG, tag | (length << BUF_SIZE_SHIFT), true);
      tail = (tail + 1) & mask;
      sum += length;
    }
    this.#tail = tail;
    this.#lastReport = lastReport;
    const count = i - from;
    if (count > 0 && this.#stopped) this.#wake();
    counters.txPackets += count;
    counters.txBytes += sum;
    counters.txPacketDescriptors += count;
    counters.txMetadataDescriptors += count;
    counters.txDmaMaps += count;
    return i;
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
    const { memory: { view }, counters, strict } = this.#context;
    const { completions } = this.#options;
    let moved = 0;
    let packets = 0;
    // One lap per call is as much as can be outstanding.
    while (moved <= this.#mask) {
      const at = completions + this.#completionHead * COMPLETION;
      const word = view.getUint32(at + COMPLETION_ID, true);
      if (((word >>> GENERATION_SHIFT) & 1) !== this.#generation) break;
      const value = word >>> TAG_SHIFT;
      if (strict && (word & ID_MASK) !== this.#place.queue) {
        throw this.#fault("completion-queue", { id: word & ID_MASK });
      }
      const type = (word & TYPE_MASK) >>> TYPE_SHIFT;
      if (type === COMPLETED) {
        if ((value & ALT_MISS) !== 0) this.#miss(value & ~ALT_MISS);
        else if (value < this.#states.length && this.#states[value] === PENDING) {
          this.#finish(value);
          packets++;
        } else this.#ignore(value, "PACKET");
      } else if (type === FETCHED) this.#fetched(value);
      else if (type === MISSED) this.#miss(value);
      else if (type === REINJECTED) this.#reinjected(value);
      else if (strict) throw this.#fault("completion-type", { type });
      else counters.txIgnored++;
      this.#completionHead = (this.#completionHead + 1) & this.#mask;
      if (this.#completionHead === 0) this.#generation ^= 1;
      moved++;
    }
    counters.txPacketCompletions += packets;
    if (this.#waiting.length + this.#timedOut.length > 0) this.#expire();
    return moved;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      tail: this.#tail,
      head: this.#head,
      doorbell: this.#rung,
      last_report_event: this.#lastReport,
      completion_head: this.#completionHead,
      generation: this.#generation,
      tags: this.tagCounts,
      ...this.#options.pages && { bounce_buffers: { free: this.#buffers.free, size: this.#buffers.size } },
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
    return this.#options.pages === undefined
      ? widestSegment(lengths, pieces, MAX_BUFFER, header, segmentSize)
      : widestSegment([length], 1, DQO_TX_BUFFER, header, segmentSize);
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
    const at = ring + this.#tail * DESC;
    let hash = 0;
    if (request.l4Hash) hash = ((request.hash ^ (request.hash >>> 16)) & PATH_HASH_MASK) || PATH_HASH_MASK;
    view.setUint32(at + GENERAL_FLEX4, 0, true);
    view.setUint32(at + GENERAL_FLEX4 + 4, 0, true);
    view.setUint32(at + GENERAL_DTYPE, GENERAL_CONTEXT, true);
    view.setUint32(at + GENERAL_FLEX0, hash << PATH_HASH_SHIFT, true);
    this.#tail = (this.#tail + 1) & this.#mask;
  }

  /** Writes a data descriptor; its reserved fields are 0. The last one may ask for a report. */
  #data(address: number, size: number, tag: number, checksum: number, last: boolean): void {
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
    const high = Math.floor(address / 4294967296);
    view.setUint32(at + BUF_ADDR, address - high * 4294967296, true);
    view.setUint32(at + BUF_ADDR + 4, high, true);
    view.setUint32(at + DTYPE, flags, true);
    view.setUint32(at + COMPL_TAG, tag | (size << BUF_SIZE_SHIFT), true);
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
      while (left > MAX_BUFFER) {
        this.#data(address, MAX_BUFFER, tag, checksum, false);
        descriptors--;
        address += MAX_BUFFER;
        left -= MAX_BUFFER;
      }
      if (left > 0) this.#data(address, left, tag, checksum, --descriptors === 0);
    }
    this.#context.counters.txDmaMaps += request.pieces;
    return true;
  }

  /** Copies a piece to where the device can reach it. -1: no room now. */
  #bounce(request: TransmitRequest, piece: number, tag: number): number {
    const { bounce, memory, counters } = this.#context;
    const length = request.lengths[piece]!;
    const number = bounce.take(length);
    if (number < 0) return NONE;
    (this.#bounces[tag] ??= []).push(number);
    memory.copyFrom(bounce.offset(number), request.bytes[piece]!, request.offsets[piece]!, length);
    counters.txUnmappedBytes += length;
    return bounce.address(number);
  }

  #releaseBounces(tag: number): void {
    const bounces = this.#bounces[tag];
    if (bounces === undefined) return;
    for (let i = 0; i < bounces.length; i++) this.#context.bounce.release(bounces[i]!);
    bounces.length = 0;
  }

  /** Copies a packet into buffers of the page list: descriptors carry their addresses, not offsets in the list. */
  #copy(request: TransmitRequest, tag: number): boolean {
    const { memory, counters, syncs } = this.#context;
    const pages = this.#options.pages!;
    const checksum = request.checksum || request.segmentSize > 0 ? CHECKSUM : 0;
    let piece = 0;
    let position = 0;
    let chain = NONE;
    for (let left = request.length; left > 0;) {
      const size = Math.min(left, DQO_TX_BUFFER);
      const buffer = this.#buffers.take();
      this.#previousBuffer[buffer] = chain;
      chain = buffer;
      const page = Math.floor(buffer / BUFFERS_PER_PAGE);
      const offset = (buffer % BUFFERS_PER_PAGE) * DQO_TX_BUFFER;
      let target = pages.offsets[page]! + offset;
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
      this.#data(pages.addresses[page]! + offset, size, tag, checksum, size === left);
      if (syncs) counters.txDmaSyncs++;
      left -= size;
    }
    this.#lastBuffer[tag] = chain;
    counters.txBounceBytes += request.length;
    return true;
  }

  /** The packet is done: its buffers and its tag are free. */
  #finish(tag: number): void {
    this.#releaseBuffers(tag);
    this.#states[tag] = FREE;
    this.#tags.give(tag);
  }

  /** Gives a packet's buffers back, the last one first, so that they stand in the packet's order ahead of the others. */
  #releaseBuffers(tag: number): void {
    for (let buffer = this.#lastBuffer[tag]!; buffer !== NONE; buffer = this.#previousBuffer[buffer]!) {
      this.#buffers.give(buffer);
    }
    this.#lastBuffer[tag] = NONE;
    if (this.#bounces.length > 0) this.#releaseBounces(tag);
  }

  #fetched(head: number): void {
    const { counters, strict } = this.#context;
    counters.txDescriptorCompletions++;
    if (strict) {
      const moved = (head - this.#head) & this.#mask;
      if (head > this.#mask || moved > ((this.#tail - this.#head) & this.#mask)) {
        throw this.#fault("tx-head", { tx_head: head, head: this.#head, tail: this.#tail });
      }
    }
    this.#head = head & this.#mask;
  }

  #miss(tag: number): void {
    const { counters, clock } = this.#context;
    if (tag >= this.#states.length || this.#states[tag] !== PENDING) return this.#ignore(tag, "MISS");
    counters.txMisses++;
    this.#states[tag] = WAITING;
    this.#waiting.push(tag, clock.now() + DQO_REINJECT_MS);
  }

  #reinjected(tag: number): void {
    const { counters } = this.#context;
    const state = tag < this.#states.length ? this.#states[tag]! : FREE;
    if (state === WAITING) {
      counters.txReinjections++;
      this.#waiting.remove(tag);
      this.#finish(tag);
    } else if (state === TIMED_OUT) {
      counters.txReinjections++;
      this.#timedOut.remove(tag);
      this.#finish(tag);
    } else this.#ignore(tag, "REINJECTION");
  }

  /** Packets that were not reinjected in time are given up; their tags stay out of use for a minute longer. */
  #expire(): void {
    const { counters, clock } = this.#context;
    const now = clock.now();
    for (let tag = this.#waiting.expired(now); tag !== NONE; tag = this.#waiting.expired(now)) {
      counters.txTimeouts++;
      this.#releaseBuffers(tag);
      this.#states[tag] = TIMED_OUT;
      this.#timedOut.push(tag, now + DQO_TAG_HOLD_MS);
    }
    for (let tag = this.#timedOut.expired(now); tag !== NONE; tag = this.#timedOut.expired(now)) {
      counters.txTagsReclaimed++;
      this.#finish(tag);
    }
  }

  /** A completion that does not fit: the fault of the device, which Linux logs and ignores. */
  #ignore(tag: number, type: string): void {
    const { counters, strict } = this.#context;
    if (strict) {
      const known = tag < this.#states.length;
      throw this.#fault(known ? "tag-state" : "tag-range", {
        tag,
        type,
        ...known ? { state: this.#states[tag]! } : { tags: this.#states.length },
      });
    }
    counters.txIgnored++;
  }

  #fault(code: Parameters<typeof driverFault>[1], values: Record<string, number | string>): Error {
    return driverFault(this.#name, code, this.#completionHead, values);
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
