/**
 * Descriptors of a DQO transmit queue as Linux writes them.
 *
 * @module
 */
import type { Region } from "../../../core/address_space.ts";
import type { FrameBatch } from "../../../core/frame_batch.ts";
import { DQO_DTYPE, DQO_REPORT_SPACING } from "../constants.ts";
import {
  gve_tx_general_context_desc_dqo,
  gve_tx_metadata_dqo,
  gve_tx_pkt_desc_dqo,
  gve_tx_tso_context_desc_dqo,
} from "../layout_dqo.ts";
import type { TransmitRequest } from "../transmit_request.ts";
import type { TxBuffers } from "./tx_buffers.ts";
import { PENDING, type TxTags } from "./tx_tags.ts";

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
const NONE = -1;
/** What `setFloat64` makes eight bytes of zeros of: no 64-bit store is as fast. */
const EIGHT_ZEROS = 0;

// Bindings of this module, unlike imported ones, are constants for the engine.
const SPACING = DQO_REPORT_SPACING;
const WITH_DEVICE = PENDING;

/** Descriptors of a packet without requests in one piece: general context and data. */
export const PLAIN = 2;

/** The ring. Indices are masked. */
export class TxRing {
  /** Index behind the last descriptor. */
  tail = 0;
  /** Index of the descriptor that last asked for a report. */
  lastReport = 0;
  /** Bytes of the frames that a loop over many took last. */
  bytes = 0;
  readonly #view: DataView;
  readonly #ring: number;
  readonly #mask: number;
  /** Whether any has. */
  #asked = false;
  /**
   * How many descriptors before the tail are packets of {@linkcode PLAIN} descriptors without a hash. After a whole lap
   * of them each context stands where the next one goes.
   */
  #plain = 0;

  /** An empty ring of `size` descriptors at offset `ring` of the driver's memory, which `view` shows. */
  constructor(view: DataView, ring: number, size: number) {
    this.#view = view;
    this.#ring = ring;
    this.#mask = size - 1;
  }

  /** Descriptors behind the last one that asked for a report: they stay taken until another one asks. */
  get unreported(): number {
    return (this.tail - (this.#asked ? this.lastReport + 1 : 0)) & this.#mask;
  }

  /** Writes the contexts of a packet: TSO if it has `header` bytes of headers, then the general one. */
  contexts(request: TransmitRequest, header: number): void {
    const view = this.#view;
    this.#plain = 0;
    if (header > 0) {
      const at = this.#ring + this.tail * DESC;
      // The fields not named here are metadata bytes, all 0: Linux has none that the TSO context could hold.
      view.setUint32(at + TSO_LENGTH, request.length - header, true);
      view.setUint16(at + TSO_MSS, request.segmentSize, true);
      view.setUint16(at + TSO_HEADER, header, true);
      view.setUint32(at + TSO_DTYPE, TSO_CONTEXT | TSO_FLAG, true);
      view.setUint32(at + TSO_FLEX, 0, true);
      this.tail = (this.tail + 1) & this.#mask;
    }
    const at = this.#ring + this.tail * DESC;
    let hash = 0;
    if (request.l4Hash) hash = ((request.hash ^ (request.hash >>> 16)) & PATH_HASH_MASK) || PATH_HASH_MASK;
    view.setFloat64(at + GENERAL_FLEX4, EIGHT_ZEROS, true);
    view.setInt32(at + GENERAL_DTYPE, GENERAL_CONTEXT, true);
    view.setInt32(at + GENERAL_FLEX0, hash << PATH_HASH_SHIFT, true);
    this.tail = (this.tail + 1) & this.#mask;
  }

  /** Writes a data descriptor; its reserved fields are 0. The last one may ask for a report. */
  data(low: number, high: number, size: number, tag: number, checksum: boolean, last: boolean): void {
    const view = this.#view;
    const index = this.tail;
    const at = this.#ring + index * DESC;
    let flags = checksum ? PACKET | CHECKSUM : PACKET;
    if (last) {
      flags |= END_OF_PACKET;
      if (((index - this.lastReport) & this.#mask) >= SPACING) {
        flags |= REPORT_EVENT;
        this.lastReport = index;
        this.#asked = true;
      }
    }
    view.setInt32(at + BUF_ADDR, low, true);
    view.setInt32(at + BUF_ADDR + 4, high, true);
    view.setInt32(at + DTYPE, flags, true);
    view.setInt32(at + COMPL_TAG, tag | (size << BUF_SIZE_SHIFT), true);
    this.tail = (index + 1) & this.#mask;
  }

  /**
   * Writes plain packets that point at frames `from` to `end`, as far as they lie in a region. There must be room, and
   * tags.
   *
   * @returns The index of the first frame that lies elsewhere, or is longer than `longest`, or empty.
   */
  pointAt(
    frames: FrameBatch,
    from: number,
    end: number,
    longest: number,
    region: Region,
    tags: TxTags,
  ): number {
    const { offsets, lengths } = frames;
    const view = this.#view;
    const ring = this.#ring | 0;
    const mask = this.#mask | 0;
    const first = region.first | 0;
    const last = region.last | 0;
    const shift = region.shift | 0;
    const high = region.high | 0;
    const { links } = tags;
    const fresh = this.#plain <= mask;
    let own = tags.own | 0;
    let returned = tags.returned | 0;
    let tail = this.tail | 0;
    let lastReport = this.lastReport | 0;
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
      if (fresh === true) {
        const at = (ring + tail * DESC) | 0;
        view.setFloat64((at + GENERAL_FLEX4) | 0, EIGHT_ZEROS, true);
        view.setInt32((at + GENERAL_DTYPE) | 0, GENERAL_CONTEXT, true);
        view.setInt32((at + GENERAL_FLEX0) | 0, 0, true);
      }
      tail = (tail + 1) & mask;
      const at = (ring + tail * DESC) | 0;
      let flags = LAST;
      if (((tail - lastReport) & mask) >= SPACING) {
        flags = LAST | REPORT_EVENT;
        lastReport = tail;
      }
      view.setInt32((at + BUF_ADDR) | 0, (offset - shift) | 0, true);
      view.setInt32((at + BUF_ADDR + 4) | 0, high, true);
      view.setInt32((at + DTYPE) | 0, flags, true);
      view.setInt32((at + COMPL_TAG) | 0, tag | (length << BUF_SIZE_SHIFT), true);
      bytes = (bytes + length) | 0;
      tail = (tail + 1) & mask;
    }
    const count = i - from;
    tags.own = own;
    tags.returned = returned;
    tags.free -= count;
    this.tail = tail;
    if (lastReport !== this.lastReport) this.#asked = true;
    this.lastReport = lastReport;
    this.bytes = bytes;
    if (fresh) this.#plain += PLAIN * count;
    return i;
  }

  /**
   * Writes plain packets that name a buffer of the page list each, for frames `from` to `end`. There must be room, tags and
   * buffers.
   *
   * @param targets Gets the offset of each buffer in the driver's memory.
   * @returns The index of the first frame that is longer than `longest`, or empty.
   */
  nameEach(
    frames: FrameBatch,
    from: number,
    end: number,
    longest: number,
    buffers: TxBuffers,
    tags: TxTags,
    targets: Int32Array,
  ): number {
    const { lengths } = frames;
    const view = this.#view;
    const ring = this.#ring | 0;
    const mask = this.#mask | 0;
    const { links } = tags;
    const { offsets, lows, highs, next, last, previous } = buffers;
    const fresh = this.#plain <= mask;
    let own = tags.own | 0;
    let returned = tags.returned | 0;
    let ownBuffer = buffers.own | 0;
    let returnedBuffer = buffers.returned | 0;
    let tail = this.tail | 0;
    let lastReport = this.lastReport | 0;
    let bytes = 0;
    let i = from | 0;
    for (; i < end; i = (i + 1) | 0) {
      const length = lengths[i]!;
      if (length > longest || length === 0) break;
      if (own === NONE) {
        own = returned;
        returned = NONE;
      }
      const tag = own;
      own = links[tag]!;
      links[tag] = WITH_DEVICE;
      if (ownBuffer === NONE) {
        ownBuffer = returnedBuffer;
        returnedBuffer = NONE;
      }
      const buffer = ownBuffer;
      ownBuffer = next[buffer]!;
      last[tag] = buffer;
      previous[buffer] = NONE;
      targets[(i - from) | 0] = offsets[buffer]!;
      if (fresh === true) {
        const at = (ring + tail * DESC) | 0;
        view.setFloat64((at + GENERAL_FLEX4) | 0, EIGHT_ZEROS, true);
        view.setInt32((at + GENERAL_DTYPE) | 0, GENERAL_CONTEXT, true);
        view.setInt32((at + GENERAL_FLEX0) | 0, 0, true);
      }
      tail = (tail + 1) & mask;
      const at = (ring + tail * DESC) | 0;
      let flags = LAST;
      if (((tail - lastReport) & mask) >= SPACING) {
        flags = LAST | REPORT_EVENT;
        lastReport = tail;
      }
      view.setInt32((at + BUF_ADDR) | 0, lows[buffer]!, true);
      view.setInt32((at + BUF_ADDR + 4) | 0, highs[buffer]!, true);
      view.setInt32((at + DTYPE) | 0, flags, true);
      view.setInt32((at + COMPL_TAG) | 0, tag | (length << BUF_SIZE_SHIFT), true);
      bytes = (bytes + length) | 0;
      tail = (tail + 1) & mask;
    }
    const count = i - from;
    tags.own = own;
    tags.returned = returned;
    tags.free -= count;
    buffers.own = ownBuffer;
    buffers.returned = returnedBuffer;
    buffers.free -= count;
    this.tail = tail;
    if (lastReport !== this.lastReport) this.#asked = true;
    this.lastReport = lastReport;
    this.bytes = bytes;
    if (fresh) this.#plain += PLAIN * count;
    return i;
  }
}
