/**
 * GQI transmit queue, the driver's side.
 *
 * @module
 */
import { distance32 } from "../../../core/index.ts";
import { FULL, OVERSIZE, RUNT } from "../../../core/plugin.ts";
import { GQI_FLAG, GQI_HEADER, GQI_NIC_DESCRIPTORS, GQI_PATH_HASH_L4, GQI_TYPE, PAGE } from "../constants.ts";
import { driverFault } from "../faults.ts";
import { gve_tx_mtd_desc, gve_tx_pkt_desc, gve_tx_seg_desc } from "../layout_gqi.ts";
import type { DriverContext, TxQueuePlace } from "../queue_context.ts";
import { swap32 } from "../registers.ts";
import { type TransmitRequest, UNMAPPED } from "../transmit_request.ts";
import type { Fifo } from "./fifo.ts";

const DESC = gve_tx_pkt_desc.size;
const TYPE_FLAGS = gve_tx_pkt_desc.offsetOf("type_flags");
const CSUM_OFFSET = gve_tx_pkt_desc.offsetOf("l4_csum_offset");
const L4_OFFSET = gve_tx_pkt_desc.offsetOf("l4_hdr_offset");
const DESC_CNT = gve_tx_pkt_desc.offsetOf("desc_cnt");
const LEN = gve_tx_pkt_desc.offsetOf("len");
const SEG_LEN = gve_tx_pkt_desc.offsetOf("seg_len");
const SEG_ADDR = gve_tx_pkt_desc.offsetOf("seg_addr");
const L3_OFFSET = gve_tx_seg_desc.offsetOf("l3_offset");
const MSS = gve_tx_seg_desc.offsetOf("mss");
const PATH_STATE = gve_tx_mtd_desc.offsetOf("path_state");
const RESERVED0 = gve_tx_mtd_desc.offsetOf("reserved0");
const PATH_HASH = gve_tx_mtd_desc.offsetOf("path_hash");
const RESERVED1 = gve_tx_mtd_desc.offsetOf("reserved1");
const { STD, TSO, SEG, MTD } = GQI_TYPE;
const { L4CSUM, IPV6 } = GQI_FLAG;

/** Most bytes that the length fields say. */
const MAX_LENGTH = 0xffff;
/** Most descriptors that desc_cnt says. */
const MAX_DESCRIPTORS = 0xff;
/** Pieces in the FIFO per packet: padding, header, and payload in one or two. Each is offset, length, padding. */
const PIECES = 4;
const PIECE_WORDS = 3 * PIECES;
/** Packets have no bounce buffer unless they lie outside what the device can reach. */
const NO_BOUNCE = -1;

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
  /** Per descriptor that starts a packet: its pieces in the FIFO; all zero elsewhere. */
  readonly #pieces: Int32Array;
  /** Per descriptor that starts a packet: 1. */
  readonly #starts: Uint8Array;
  /** Per descriptor: bounce buffer of its piece, or NO_BOUNCE. */
  readonly #bounces: Int32Array;
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
    this.#pieces = new Int32Array(options.fifo ? place.size * PIECE_WORDS : 0);
    this.#starts = new Uint8Array(place.size);
    this.#bounces = new Int32Array(place.size).fill(NO_BOUNCE);
  }

  /** Descriptors posted so far. */
  get posted(): number {
    return this.#req;
  }

  /** Descriptors completed so far. */
  get completed(): number {
    return this.#done;
  }

  /** Offset, length and padding of the pieces of the packet that starts at a descriptor, for a person to look at. */
  piecesAt(index: number): number[] {
    const at = (index & this.#mask) * PIECE_WORDS;
    return [...this.#pieces.subarray(at, at + PIECE_WORDS)];
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
    const { counters } = this.#context;
    if (this.#stopped) {
      this.#stopped = false;
      counters.txWakes++;
    }
    counters.txPackets++;
    counters.txBytes += length;
    return this.#place.queue;
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
    if (!fifo.carries(header, length)) return OVERSIZE;
    const most = 3 + (request.l4Hash ? 1 : 0);
    if (most > this.#place.size) return OVERSIZE;
    if (!this.#hasRoom(most, fifo.bytesRequired(header, length))) return FULL;
    const { counters, memory, syncs } = this.#context;
    const before = fifo.available;
    const pieces = this.#pieces;
    const at = (this.#req & this.#mask) * PIECE_WORDS;
    pieces.fill(0, at, at + PIECE_WORDS);
    const padding = fifo.headerPadding(header);
    const headerAt = fifo.allocate(padding + header, pieces, at) === 2 ? at + 3 : at;
    const payload = length - header;
    const payloadPieces = payload > 0 ? fifo.allocate(payload, pieces, at + 6) : 0;
    const count = 1 + (request.l4Hash ? 1 : 0) + payloadPieces;
    const headerOffset = pieces[headerAt]!;
    this.#packet(request, count, header, headerOffset, l4);
    request.copyTo(memory, this.#fifoOffset + headerOffset, 0, header);
    for (let i = 0, position = header; i < payloadPieces; i++) {
      const piece = at + 6 + 3 * i;
      const part = pieces[piece + 1]!;
      this.#segment(request, count - payloadPieces + i, part, pieces[piece]!);
      request.copyTo(memory, this.#fifoOffset + pieces[piece]!, position, part);
      position += part;
    }
    counters.txBounceBytes += length;
    counters.txPaddingBytes += before - fifo.available - length;
    if (syncs) counters.txDmaSyncs += pagesTouched(pieces, at);
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
    this.#context.counters.txDmaMaps += request.pieces;
    return count;
  }

  /** The address of a piece; a piece out of the device's reach is copied first. -1: no room for that now. */
  #map(request: TransmitRequest, piece: number, descriptor: number): number {
    const given = request.addresses[piece]!;
    if (given !== UNMAPPED) return given;
    const { mapper, bounce, memory, counters } = this.#context;
    const bytes = request.bytes[piece]!;
    const offset = request.offsets[piece]!;
    const length = request.lengths[piece]!;
    const address = mapper.map(bytes, offset, length);
    if (address >= 0) return address;
    const number = bounce.take(length);
    if (number < 0) return -1;
    this.#bounces[(this.#req + descriptor) & this.#mask] = number;
    memory.copyFrom(bounce.offset(number), bytes, offset, length);
    counters.txUnmappedBytes += length;
    return bounce.address(number);
  }

  /** Gives the bounce buffers of a packet's first descriptors back. */
  #unmap(descriptors: number): void {
    for (let i = 0; i < descriptors; i++) this.#releaseBounce((this.#req + i) & this.#mask);
  }

  #releaseBounce(slot: number): void {
    const number = this.#bounces[slot]!;
    if (number === NO_BOUNCE) return;
    this.#bounces[slot] = NO_BOUNCE;
    this.#context.bounce.release(number);
  }

  /** Writes the packet descriptor and, if there is a hash, the metadata behind it. */
  #packet(request: TransmitRequest, count: number, header: number, address: number, l4: number): void {
    const { memory: { view }, counters } = this.#context;
    const slot = this.#req & this.#mask;
    const at = this.#place.ring + slot * DESC;
    const tso = request.segmentSize > 0;
    const offload = tso || request.checksum;
    this.#starts[slot] = 1;
    view.setUint8(at + TYPE_FLAGS, tso ? TSO | L4CSUM : offload ? STD | L4CSUM : STD);
    view.setUint8(at + CSUM_OFFSET, offload ? request.checksumOffset >> 1 : 0);
    view.setUint8(at + L4_OFFSET, offload ? l4 >> 1 : 0);
    view.setUint8(at + DESC_CNT, count);
    view.setUint16(at + LEN, request.length);
    view.setUint16(at + SEG_LEN, header);
    setAddress(view, at + SEG_ADDR, address);
    counters.txPacketDescriptors++;
    if (!request.l4Hash) return;
    const next = this.#place.ring + ((slot + 1) & this.#mask) * DESC;
    this.#starts[(slot + 1) & this.#mask] = 0;
    view.setUint8(next + TYPE_FLAGS, MTD);
    view.setUint8(next + PATH_STATE, GQI_PATH_HASH_L4);
    view.setUint16(next + RESERVED0, 0);
    view.setUint32(next + PATH_HASH, request.hash);
    setAddress(view, next + RESERVED1, 0);
    counters.txMetadataDescriptors++;
  }

  /** Writes a segment. Without TSO three of its fields keep what the slot held, as with Linux. */
  #segment(request: TransmitRequest, descriptor: number, length: number, address: number): void {
    const { memory: { view }, counters } = this.#context;
    const slot = (this.#req + descriptor) & this.#mask;
    const at = this.#place.ring + slot * DESC;
    this.#starts[slot] = 0;
    if (request.segmentSize > 0) {
      view.setUint8(at + TYPE_FLAGS, request.segmentV6 ? SEG | IPV6 : SEG);
      view.setUint8(at + L3_OFFSET, request.networkOffset >> 1);
      view.setUint16(at + MSS, request.segmentSize);
    } else view.setUint8(at + TYPE_FLAGS, SEG);
    view.setUint16(at + SEG_LEN, length);
    setAddress(view, at + SEG_ADDR, address);
    counters.txSegmentDescriptors++;
  }

  /** Frees what so many descriptors held. */
  #free(descriptors: number): void {
    const { counters } = this.#context;
    const pieces = this.#pieces;
    for (let i = 0; i < descriptors; i++) {
      const slot = (this.#done + i) & this.#mask;
      this.#releaseBounce(slot);
      if (this.#starts[slot] === 0) continue;
      this.#starts[slot] = 0;
      counters.txPacketCompletions++;
      const fifo = this.#fifo;
      if (fifo === undefined) continue;
      const at = slot * PIECE_WORDS;
      for (let word = at; word < at + PIECE_WORDS; word += 3) {
        fifo.available += pieces[word + 1]! + pieces[word + 2]!;
      }
    }
  }
}

function setAddress(view: DataView, at: number, address: number): void {
  const high = Math.floor(address / 4294967296);
  view.setUint32(at, high);
  view.setUint32(at + 4, address - high * 4294967296);
}

/** How many pages the pieces of a packet touch. */
function pagesTouched(pieces: Int32Array, at: number): number {
  let pages = 0;
  for (let word = at; word < at + PIECE_WORDS; word += 3) {
    const length = pieces[word + 1]!;
    if (length === 0) continue;
    pages += Math.floor((pieces[word]! + length - 1) / PAGE) - Math.floor(pieces[word]! / PAGE) + 1;
  }
  return pages;
}
