/**
 * Packets of a GQI transmit ring whose segments lie in a page list, the device's side. Many are looked at in one loop.
 *
 * @module
 */
import { BATCH_PIECES, BATCH_SIZE, PieceBatch } from "../../../core/frame_batch.ts";
import type { Memory } from "../../../core/memory.ts";
import { GQI_TYPE, GQI_TYPE_MASK, PAGE } from "../constants.ts";
import { gve_tx_pkt_desc } from "../layout_gqi.ts";
import type { ListOffsets } from "./list_offsets.ts";

const DESC = gve_tx_pkt_desc.size;
const TYPE_FLAGS = gve_tx_pkt_desc.offsetOf("type_flags");
const DESC_CNT = gve_tx_pkt_desc.offsetOf("desc_cnt");
const LEN = gve_tx_pkt_desc.offsetOf("len");
const SEG_LEN = gve_tx_pkt_desc.offsetOf("seg_len");
const SEG_ADDR = gve_tx_pkt_desc.offsetOf("seg_addr");
const { STD, SEG } = GQI_TYPE;
/** The first word of a descriptor: type and flags above; of a packet descriptor, number of descriptors below. */
const TYPE_SHIFT = (DESC_CNT - TYPE_FLAGS) * 8;
const TYPE_AND_FLAGS = 0xff << TYPE_SHIFT;
const TYPE = GQI_TYPE_MASK << TYPE_SHIFT;
const COUNT = 0xff;
/** What it says of a packet for which nothing is asked, and of a segment. */
const PLAIN = STD << TYPE_SHIFT;
const SEGMENT = SEG << TYPE_SHIFT;
/** In the word that holds both lengths: where that of the packet is. */
const LEN_SHIFT = (SEG_LEN - LEN) * 8;
const SEGMENT_LENGTH = 2 ** LEN_SHIFT - 1;
// Bindings of this module, unlike imported ones, are constants for the engine.
const BATCH = BATCH_SIZE;
const PIECES = BATCH_PIECES;
const PAGE_SIZE = PAGE;
const PAGE_SHIFT = Math.log2(PAGE);

/** See the module. What asks for something, or breaks a rule, ends a batch. */
export class ListPackets {
  /** The packets gathered last: each piece is the segment of a descriptor. */
  readonly batch: PieceBatch;
  readonly #list: ListOffsets;
  readonly #listBytes: number;
  #bytes = 0;

  /**
   * For packets of a page list.
   *
   * @param memory The memory in which the list is expected to lie.
   * @param list Where it lies.
   * @param listBytes Bytes of it that offsets may name.
   */
  constructor(memory: Memory, list: ListOffsets, listBytes: number) {
    this.batch = new PieceBatch(memory);
    this.#list = list;
    this.#listBytes = listBytes;
  }

  /**
   * Gathers packets from the ring's head on.
   *
   * @param view The memory of the ring.
   * @param ring Where it starts.
   * @param mask Mask of ring indices.
   * @param head Index of the first descriptor.
   * @param pending How many were announced.
   */
  gather(view: DataView, ring: number, mask: number, head: number, pending: number): void {
    const { batch } = this;
    const { offsets, lengths, ends, sizes } = batch;
    const pages = this.#list.offsets;
    const pageEnds = this.#list.ends;
    const limit = Math.min(this.#listBytes, pages.length * PAGE_SIZE) | 0;
    const most = Math.min(pending, PIECES) | 0;
    let slot = head | 0;
    let pieces = 0;
    let count = 0;
    let sum = 0;
    /** Of the present packet: descriptors and bytes that are still to come. */
    let more = 0;
    let left = 0;
    while (pieces < most) {
      const at = (ring + slot * DESC) | 0;
      const kind = view.getInt32((at + TYPE_FLAGS) | 0);
      const both = view.getInt32((at + LEN) | 0);
      if (more === 0) {
        more = kind & COUNT;
        left = both >>> LEN_SHIFT;
        if ((kind & TYPE_AND_FLAGS) !== PLAIN || more === 0 || count === BATCH) break;
        sizes[count] = left;
      } else if ((kind & TYPE) !== SEGMENT) break;
      const length = both & SEGMENT_LENGTH;
      const low = view.getInt32((at + SEG_ADDR + 4) | 0);
      if (view.getInt32((at + SEG_ADDR) | 0) !== 0 || low < 0 || low > ((limit - length) | 0)) break;
      const page = low >> PAGE_SHIFT;
      const offset = (pages[page]! + (low & (PAGE_SIZE - 1))) | 0;
      if (length === 0 || length > ((pageEnds[page]! - offset) | 0)) break;
      offsets[pieces] = offset;
      lengths[pieces] = length;
      pieces = (pieces + 1) | 0;
      slot = (slot + 1) & mask;
      left = (left - length) | 0;
      more = (more - 1) | 0;
      if (more !== 0) continue;
      if (left !== 0) break;
      ends[count] = pieces;
      sum = (sum + sizes[count]!) | 0;
      count = (count + 1) | 0;
    }
    batch.bytes = this.#list.memory.bytes;
    batch.count = count;
    this.#bytes = sum;
  }

  /** Descriptors of the first `taken` packets. */
  descriptors(taken: number): number {
    return taken === 0 ? 0 : this.batch.ends[taken - 1]!;
  }

  /** Bytes of the first `taken` packets. */
  bytes(taken: number): number {
    const { sizes, count } = this.batch;
    let sum = this.#bytes;
    for (let i = taken; i < count; i = (i + 1) | 0) sum -= sizes[i]!;
    return sum;
  }
}
