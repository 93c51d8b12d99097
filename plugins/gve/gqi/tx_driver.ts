/**
 * GQI transmit queue, the driver's side.
 *
 * @module
 */
import type { FrameBatch } from "../../../core/frame_batch.ts";
import { distance32 } from "../../../core/index.ts";
import { FULL, OVERSIZE, RUNT } from "../../../core/plugin.ts";
import { GQI_HEADER, GQI_NIC_DESCRIPTORS, GQI_TYPE } from "../constants.ts";
import { driverFault } from "../faults.ts";
import { gve_tx_pkt_desc } from "../layout_gqi.ts";
import type { DriverContext, TxQueuePlace } from "../queue_context.ts";
import { swap32 } from "../registers.ts";
import type { TransmitRequest } from "../transmit_request.ts";
import { type Fifo, pagesTouched, PIECE_WORDS } from "./fifo.ts";
import { FifoLoader } from "./fifo_loader.ts";
import { TxBounces } from "./tx_bounces.ts";
import { writeMetadata, writePacket, writeSegment } from "./tx_descriptors.ts";

const DESC = gve_tx_pkt_desc.size;
const TYPE_FLAGS = gve_tx_pkt_desc.offsetOf("type_flags");
const DESC_CNT = gve_tx_pkt_desc.offsetOf("desc_cnt");
const LEN = gve_tx_pkt_desc.offsetOf("len");
const SEG_LEN = gve_tx_pkt_desc.offsetOf("seg_len");
const SEG_ADDR = gve_tx_pkt_desc.offsetOf("seg_addr");
const { STD } = GQI_TYPE;

/** Most bytes that the length fields say. */
const MAX_LENGTH = 0xffff;
/** Most descriptors that desc_cnt says. */
const MAX_DESCRIPTORS = 0xff;
/** The first word of a packet descriptor: type and flags above, number of descriptors below. */
const TYPE_SHIFT = (DESC_CNT - TYPE_FLAGS) * 8;
/** What it says of a packet in one segment, for which nothing is asked. */
const ONE = (STD << TYPE_SHIFT) | 1;
/** In the word that holds both lengths: where that of the packet is. */
const LEN_SHIFT = (SEG_LEN - LEN) * 8;
/** Descriptors that a packet without requests may need in the FIFO: header, and payload around its end. */
const MOST = 3;

/** What a GQI transmit queue needs beside its place. */
export interface GqiTxOptions {
  /** Where packets go with a page list; without one descriptors point at them. */
  readonly fifo: Fifo | undefined;
  /** Offset of the page list's first byte in the driver's memory: its pages follow one another. */
  readonly fifoOffset: number;
  /** Offset of the event counter in the driver's memory. */
  readonly counter: number;
  /** Free descriptors that a packet must find, even if it needs fewer (Linux: 21). */
  readonly reserve: number;
}

/** The queue. All indices are free-running. */
export class GqiTxDriver {
  readonly #context: DriverContext;
  readonly #place: TxQueuePlace;
  readonly #fifo: Fifo | undefined;
  readonly #fifoOffset: number;
  readonly #counter: number;
  readonly #reserve: number;
  readonly #mask: number;
  /** Per descriptor that starts a packet: what it holds of the FIFO in bytes, or 1 if there is none; else 0. */
  readonly #held: Int32Array;
  /** Pieces in the FIFO of the packet copied last. */
  readonly #pieces = new Int32Array(PIECE_WORDS);
  /** What batches go into the FIFO with. */
  readonly #loader: FifoLoader | undefined;
  readonly #bounces: TxBounces;
  /** Descriptors posted. */
  #req = 0;
  /** Descriptors completed. */
  #done = 0;
  /** Last value of the doorbell. */
  #rung = 0;
  #stopped = false;

  /** Starts with an empty ring. */
  constructor(context: DriverContext, place: TxQueuePlace, options: GqiTxOptions) {
    this.#context = context;
    this.#place = place;
    this.#fifo = options.fifo;
    this.#fifoOffset = options.fifoOffset;
    this.#counter = options.counter;
    this.#reserve = options.reserve;
    this.#mask = place.size - 1;
    this.#held = new Int32Array(place.size);
    this.#loader = options.fifo &&
      new FifoLoader(context, place, options.fifo, options.fifoOffset, this.#held);
    this.#bounces = new TxBounces(context, place.size);
  }

  /** Descriptors posted so far. */
  get posted(): number {
    return this.#req;
  }

  /** Descriptors completed so far. */
  get completed(): number {
    return this.#done;
  }

  /**
   * Offset, length and padding of the pieces of the packet that was put on the ring last, for a person to look at.
   * Batches leave none.
   */
  get pieces(): number[] {
    return [...this.#pieces];
  }

  /**
   * Puts a packet on the ring.
   *
   * @returns The queue's number, FULL, OVERSIZE or RUNT.
   */
  transmit(request: TransmitRequest): number {
    const { length } = request;
    if (length === 0) return RUNT;
    if (length > MAX_LENGTH) return OVERSIZE;
    const tso = request.segmentSize > 0;
    const l4 = request.checksum ? request.checksumStart : request.transportOffset;
    const header = tso
      ? l4 + request.tcpHeaderLength
      : this.#fifo
      ? Math.min(GQI_HEADER, length)
      : request.lengths[0]!;
    const posted = this.#fifo
      ? this.#transmitCopy(request, this.#fifo, header, l4)
      : this.#transmitMapped(request, header, l4);
    if (posted < 0) {
      if (posted === FULL && !this.#stopped) {
        this.#stopped = true;
        this.#context.counters.txStops++;
        this.flush();
      }
      return posted;
    }
    this.#req = (this.#req + posted) >>> 0;
    this.#sent(1, length);
    return this.#place.queue;
  }

  /**
   * Puts frames on the ring in one loop, from index `from` on, as so many packets without requests.
   *
   * @param longest Longest frame to take.
   * @returns The index of the first frame that it did not take: {@linkcode transmit} may know more.
   */
  transmitBatch(frames: FrameBatch, from: number, longest: number): number {
    if (from === frames.count) return from;
    const most = Math.min(longest, MAX_LENGTH);
    return this.#loader === undefined
      ? this.#pointAtEach(frames, from, most)
      : this.#loadEach(frames, from, most, this.#loader);
  }

  /** Rings the doorbell if there is something new. */
  flush(): void {
    if (this.#rung === this.#req) return;
    this.#rung = this.#req;
    this.#context.counters.txDoorbells++;
    this.#context.bar2.write(this.#place.doorbell, 4, swap32(this.#req));
  }

  /**
   * Takes back what the device has taken, as the event counter says.
   *
   * @returns How many descriptors.
   * @throws {RingFault} If the counter passes what was posted (strict).
   */
  clean(): number {
    const { counters, memory, strict } = this.#context;
    counters.txEventCounterReads++;
    const counter = memory.view.getUint32(this.#counter);
    const moved = distance32(counter, this.#done);
    if (moved === 0) return 0;
    const inFlight = distance32(this.#req, this.#done);
    if (strict && moved > inFlight) {
      throw driverFault(`tx${this.#place.queue}`, "event-counter", this.#done, {
        counter,
        posted: this.#req,
      });
    }
    // A counter that ran away frees what there is, once; then done chases it, as Linux does.
    this.#free(Math.min(moved, this.#place.size));
    this.#done = counter;
    return moved;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    const fifo = this.#fifo;
    return {
      posted: this.#req,
      completed: this.#done,
      doorbell: this.#rung,
      ...fifo && { fifo: { head: fifo.head, available: fifo.available, size: fifo.size } },
    };
  }

  /** Counts packets that are on the ring. */
  #sent(packets: number, bytes: number): void {
    const { counters } = this.#context;
    if (this.#stopped) {
      this.#stopped = false;
      counters.txWakes++;
    }
    counters.txPackets += packets;
    counters.txBytes += bytes;
  }

  /** Raw addressing: as far as frames lie in one region and descriptors are free without another look. */
  #pointAtEach(frames: FrameBatch, from: number, longest: number): number {
    const { memory: { view }, mapper, counters } = this.#context;
    const { bytes, offsets, lengths } = frames;
    const { first, last, high, shift } = mapper.regionOf(bytes, offsets[from]!, 1);
    if (high < 0) return from;
    const mask = this.#mask | 0;
    const held = this.#held;
    const ring = this.#place.ring | 0;
    const free = this.#place.size - distance32(this.#req, this.#done) - Math.max(1, this.#reserve) + 1;
    // A counter that ran away (profile=linux) leaves less than nothing free.
    const end = Math.max(from, Math.min(frames.count, from + free)) | 0;
    let slot = this.#req & mask;
    let sum = 0;
    let i = from | 0;
    for (; i < end; i = (i + 1) | 0) {
      const offset = offsets[i]!;
      const length = lengths[i]!;
      if (length === 0 || length > longest || offset < first || length > ((last - offset) | 0)) break;
      held[slot] = 1;
      const at = (ring + slot * DESC) | 0;
      view.setInt32((at + TYPE_FLAGS) | 0, ONE);
      view.setInt32((at + LEN) | 0, (length << LEN_SHIFT) | length);
      view.setInt32((at + SEG_ADDR) | 0, high);
      view.setInt32((at + SEG_ADDR + 4) | 0, (offset - shift) | 0);
      slot = (slot + 1) & mask;
      sum = (sum + length) | 0;
    }
    const count = i - from;
    if (count <= 0) return from;
    this.#req = (this.#req + count) >>> 0;
    this.#sent(count, sum);
    counters.txPacketDescriptors += count;
    counters.txDmaMaps += count;
    return i;
  }

  /** Page list: as far as no frame goes around the end of the FIFO, and there is room without another look. */
  #loadEach(frames: FrameBatch, from: number, longest: number, loader: FifoLoader): number {
    const free = this.#place.size - distance32(this.#req, this.#done) - Math.max(MOST, this.#reserve);
    const end = loader.load(frames, from, longest, this.#req & this.#mask, free);
    const packets = end - from;
    if (packets === 0) return from;
    const { counters } = this.#context;
    const { segments, bytes } = loader;
    this.#req = (this.#req + packets + segments) >>> 0;
    this.#sent(packets, bytes);
    counters.txPacketDescriptors += packets;
    counters.txSegmentDescriptors += segments;
    counters.txBounceBytes += bytes;
    return end;
  }

  /** Whether so many descriptors are free, after another look at the event counter if need be. */
  #hasRoom(descriptors: number, bytes: number): boolean {
    if (this.#fits(descriptors, bytes)) return true;
    return this.clean() > 0 && this.#fits(descriptors, bytes);
  }

  #fits(descriptors: number, bytes: number): boolean {
    const free = this.#place.size - distance32(this.#req, this.#done);
    return free >= Math.max(descriptors, this.#reserve) &&
      (this.#fifo === undefined || this.#fifo.fits(bytes));
  }

  /** Copies a packet into the FIFO. Returns its descriptors, or why not. */
  #transmitCopy(request: TransmitRequest, fifo: Fifo, header: number, l4: number): number {
    const { length } = request;
    const payload = length - header;
    const payloadPieces = fifo.payloadPieces(header, payload);
    const count = 1 + (request.l4Hash ? 1 : 0) + payloadPieces;
    const required = fifo.bytesRequired(header, length);
    // The head stands still as long as nothing is sent: what does not fit into all of the FIFO now never will.
    if (required >= fifo.size || count > this.#place.size) return OVERSIZE;
    if (!this.#hasRoom(count, required)) return FULL;
    const { counters, memory, syncs } = this.#context;
    const before = fifo.available;
    const pieces = this.#pieces;
    pieces.fill(0);
    const padding = fifo.headerPadding(header);
    const headerAt = fifo.allocate(padding + header, pieces, 0) === 2 ? 3 : 0;
    if (payload > 0) fifo.allocate(payload, pieces, 6);
    const headerOffset = pieces[headerAt]!;
    this.#packet(request, count, header, headerOffset, l4);
    request.copyTo(memory, this.#fifoOffset + headerOffset, 0, header);
    for (let i = 0, position = header; i < payloadPieces; i++) {
      const piece = 6 + 3 * i;
      const part = pieces[piece + 1]!;
      this.#segment(request, count - payloadPieces + i, part, pieces[piece]!);
      request.copyTo(memory, this.#fifoOffset + pieces[piece]!, position, part);
      position += part;
    }
    counters.txBounceBytes += length;
    const held = before - fifo.available;
    this.#held[this.#req & this.#mask] = held;
    counters.txPaddingBytes += held - length;
    if (syncs) counters.txDmaSyncs += pagesTouched(pieces);
    return count;
  }

  /** Points descriptors at a packet. Returns how many, or why not. */
  #transmitMapped(request: TransmitRequest, header: number, l4: number): number {
    const linear = request.lengths[0]!;
    const split = header < linear ? 1 : 0;
    const count = request.pieces + split + (request.l4Hash ? 1 : 0);
    if (count > MAX_DESCRIPTORS || count > this.#place.size) return OVERSIZE;
    if (this.#context.nicLimits && count > GQI_NIC_DESCRIPTORS) return OVERSIZE;
    if (!this.#hasRoom(count, 0)) return FULL;
    const first = count - request.pieces - split + 1;
    let address = this.#map(request, 0, 0);
    if (address < 0) return FULL;
    this.#packet(request, count, header, address, l4);
    if (split) this.#segment(request, first, linear - header, address + header);
    for (let i = 1; i < request.pieces; i++) {
      const at = first + split + i - 1;
      address = this.#map(request, i, at);
      if (address < 0) {
        this.#unmap(at);
        return FULL;
      }
      this.#segment(request, at, request.lengths[i]!, address);
    }
    this.#held[this.#req & this.#mask] = 1;
    this.#context.counters.txDmaMaps += request.pieces;
    return count;
  }

  /** The address of a piece, or -1: it has to be copied, and there is no room for that now. */
  #map(request: TransmitRequest, piece: number, descriptor: number): number {
    return this.#bounces.map(request, piece, (this.#req + descriptor) & this.#mask);
  }

  /** Gives the bounce buffers of a packet's first descriptors back. */
  #unmap(descriptors: number): void {
    for (let i = 0; i < descriptors; i++) this.#bounces.release((this.#req + i) & this.#mask);
  }

  /** Writes the packet descriptor and, if there is a hash, the metadata behind it. */
  #packet(request: TransmitRequest, count: number, header: number, address: number, l4: number): void {
    const { memory: { view }, counters } = this.#context;
    const { ring } = this.#place;
    const slot = this.#req & this.#mask;
    writePacket(view, ring + slot * DESC, request, count, header, address, l4);
    counters.txPacketDescriptors++;
    if (!request.l4Hash) return;
    const next = (slot + 1) & this.#mask;
    this.#held[next] = 0;
    writeMetadata(view, ring + next * DESC, request.hash);
    counters.txMetadataDescriptors++;
  }

  #segment(request: TransmitRequest, descriptor: number, length: number, address: number): void {
    const { memory: { view }, counters } = this.#context;
    const slot = (this.#req + descriptor) & this.#mask;
    this.#held[slot] = 0;
    writeSegment(view, this.#place.ring + slot * DESC, request, length, address);
    counters.txSegmentDescriptors++;
  }

  /** Frees what so many descriptors held. */
  #free(descriptors: number): void {
    const held = this.#held;
    const bounces = this.#bounces;
    const mask = this.#mask;
    let slot = this.#done & mask;
    let packets = 0;
    let sum = 0;
    for (let i = 0; i < descriptors; i++) {
      const bytes = held[slot]!;
      if (bounces.used) bounces.release(slot);
      if (bytes > 0) {
        held[slot] = 0;
        packets = (packets + 1) | 0;
        sum = (sum + bytes) | 0;
      }
      slot = (slot + 1) & mask;
    }
    this.#context.counters.txPacketCompletions += packets;
    if (this.#fifo !== undefined) this.#fifo.available += sum;
  }
}
