/**
 * Puts many frames into the GQI-QPL transmit FIFO at once, and their descriptors on the ring.
 *
 * @module
 */
import { BATCH_SIZE, type FrameBatch } from "../../../core/frame_batch.ts";
import { CACHE_LINE, GQI_HEADER, GQI_TYPE, PAGE } from "../constants.ts";
import { gve_tx_pkt_desc } from "../layout_gqi.ts";
import type { DriverContext, TxQueuePlace } from "../queue_context.ts";
import type { Fifo } from "./fifo.ts";

const DESC = gve_tx_pkt_desc.size;
const TYPE_FLAGS = gve_tx_pkt_desc.offsetOf("type_flags");
const DESC_CNT = gve_tx_pkt_desc.offsetOf("desc_cnt");
const LEN = gve_tx_pkt_desc.offsetOf("len");
const SEG_LEN = gve_tx_pkt_desc.offsetOf("seg_len");
const SEG_ADDR = gve_tx_pkt_desc.offsetOf("seg_addr");
const { STD, SEG } = GQI_TYPE;
/** The first word of a packet descriptor: type and flags above, number of descriptors below. */
const TYPE_SHIFT = (DESC_CNT - TYPE_FLAGS) * 8;
/** What it says of packets in one or two segments, for which nothing is asked. */
const ONE = (STD << TYPE_SHIFT) | 1;
const TWO = (STD << TYPE_SHIFT) | 2;
/** In the word that holds both lengths: where that of the packet is. */
const LEN_SHIFT = (SEG_LEN - LEN) * 8;
// Bindings of this module, unlike imported ones, are constants for the engine.
const HEADER = GQI_HEADER;
const LINE = CACHE_LINE;
const PAGE_SHIFT = Math.log2(PAGE);
/** Most copies at a time, and the last one that leaves room for header and payload. */
const COPIES = BATCH_SIZE;
const LAST_COPY = COPIES - 2;

/** A transmit queue's way to its FIFO for frames without requests. */
export class FifoLoader {
  /** Segment descriptors written by the last call of {@linkcode load}. */
  segments = 0;
  /** Bytes of the frames that it took. */
  bytes = 0;
  readonly #context: DriverContext;
  readonly #place: TxQueuePlace;
  readonly #fifo: Fifo;
  readonly #fifoOffset: number;
  readonly #held: Int32Array;
  /** The copies to be made. */
  readonly #targets: Int32Array;
  readonly #sources: Int32Array;
  readonly #sizes: Int32Array;

  /** Notes in `held`, for each descriptor that starts a packet, how many bytes of the FIFO it holds; 0 elsewhere. */
  constructor(
    context: DriverContext,
    place: TxQueuePlace,
    fifo: Fifo,
    fifoOffset: number,
    held: Int32Array,
  ) {
    this.#context = context;
    this.#place = place;
    this.#fifo = fifo;
    this.#fifoOffset = fifoOffset;
    this.#held = held;
    this.#targets = context.memory.words(COPIES);
    this.#sources = context.memory.words(COPIES);
    this.#sizes = context.memory.words(COPIES);
  }

  /**
   * Takes frames from index `from` on, as far as none goes around the end of the FIFO and there is room.
   *
   * @param longest Longest frame to take.
   * @param slot Place on the ring for the first descriptor.
   * @param spare How many descriptors may be used before the last frame is taken.
   * @returns The index of the first frame that it did not take.
   */
  load(frames: FrameBatch, from: number, longest: number, slot: number, spare: number): number {
    const { memory, counters, syncs } = this.#context;
    const { view } = memory;
    const { offsets, lengths, count } = frames;
    const fifo = this.#fifo;
    const fifoOffset = this.#fifoOffset | 0;
    const held = this.#held;
    const ring = this.#place.ring | 0;
    const mask = (this.#place.size - 1) | 0;
    const fifoSize = fifo.size | 0;
    const targets = this.#targets;
    const sources = this.#sources;
    const sizes = this.#sizes;
    let head = fifo.head | 0;
    let available = fifo.available | 0;
    let copies = 0;
    let pages = 0;
    let sum = 0;
    let i = from | 0;
    for (; i < count && copies <= spare && copies <= LAST_COPY; i = (i + 1) | 0) {
      const length = lengths[i]!;
      const header = length < HEADER ? length : HEADER;
      const payload = (length - header) | 0;
      const headerSpace = (header + LINE - 1) & -LINE;
      const space = headerSpace + ((payload + LINE - 1) & -LINE);
      if (length === 0 || length > longest || space >= ((fifoSize - head) | 0)) break;
      if (available <= ((headerSpace - header + length) | 0)) break;
      const offset = offsets[i]!;
      const at = (ring + slot * DESC) | 0;
      held[slot] = space;
      slot = (slot + 1) & mask;
      view.setInt32((at + TYPE_FLAGS) | 0, payload > 0 ? TWO : ONE);
      view.setInt32((at + LEN) | 0, (length << LEN_SHIFT) | header);
      view.setInt32((at + SEG_ADDR) | 0, 0);
      view.setInt32((at + SEG_ADDR + 4) | 0, head);
      targets[copies] = (fifoOffset + head) | 0;
      sources[copies] = offset;
      sizes[copies] = header;
      copies = (copies + 1) | 0;
      pages = (pages + ((head + header - 1) >> PAGE_SHIFT) - (head >> PAGE_SHIFT) + 1) | 0;
      if (payload > 0) {
        const segment = (ring + slot * DESC) | 0;
        const start = (head + headerSpace) | 0;
        held[slot] = 0;
        slot = (slot + 1) & mask;
        view.setInt8((segment + TYPE_FLAGS) | 0, SEG);
        view.setInt16((segment + SEG_LEN) | 0, payload);
        view.setInt32((segment + SEG_ADDR) | 0, 0);
        view.setInt32((segment + SEG_ADDR + 4) | 0, start);
        targets[copies] = (fifoOffset + start) | 0;
        sources[copies] = (offset + header) | 0;
        sizes[copies] = payload;
        copies = (copies + 1) | 0;
        pages = (pages + ((start + payload - 1) >> PAGE_SHIFT) - (start >> PAGE_SHIFT) + 1) | 0;
      }
      head = (head + space) | 0;
      available = (available - space) | 0;
      sum = (sum + length) | 0;
    }
    memory.copyEach(targets, frames.bytes, sources, sizes, 0, copies);
    counters.txPaddingBytes += fifo.available - available - sum;
    if (syncs) counters.txDmaSyncs += pages;
    fifo.head = head;
    fifo.available = available;
    // Each copy is a descriptor's.
    this.segments = copies - (i - from);
    this.bytes = sum;
    return i;
  }
}
