/**
 * Plain packets of a DQO transmit ring, the device's side: a general context or none, then one buffer, nothing asked
 * for. Many are looked at in one loop.
 *
 * @module
 */
import { BATCH_SIZE, FrameBatch } from "../../../core/frame_batch.ts";
import type { Memory } from "../../../core/memory.ts";
import { DQO_DTYPE, DQO_REPORT_SPACING } from "../constants.ts";
import { gve_tx_pkt_desc_dqo } from "../layout_dqo.ts";
import type { BufferWindow } from "./buffer_window.ts";
import type { CompletionWriter } from "./completion_writer.ts";

const DESC = gve_tx_pkt_desc_dqo.size;
const BUF_ADDR = gve_tx_pkt_desc_dqo.offsetOf("buf_addr");
const DTYPE = gve_tx_pkt_desc_dqo.offsetOf("dtype");
const DTYPE_MASK = gve_tx_pkt_desc_dqo.maskOf("dtype");
const REPORT_EVENT = gve_tx_pkt_desc_dqo.maskOf("report_event");
const COMPL_TAG = gve_tx_pkt_desc_dqo.offsetOf("compl_tag");
const TAG_MASK = gve_tx_pkt_desc_dqo.maskOf("compl_tag");
const BUF_SIZE_SHIFT = (gve_tx_pkt_desc_dqo.offsetOf("buf_size") - COMPL_TAG) * 8;
const BUF_SIZE_MASK = gve_tx_pkt_desc_dqo.maskOf("buf_size");
const { GENERAL_CONTEXT, PACKET } = DQO_DTYPE;
const PLAIN = PACKET | gve_tx_pkt_desc_dqo.maskOf("end_of_packet");
/** Above a tag: how many descriptors its packet has. */
const COUNT_SHIFT = 16;
const NONE = -1;
const ONE = 1 << COUNT_SHIFT;
const TWO = 2 << COUNT_SHIFT;

// Bindings of this module, unlike imported ones, are constants for the engine.
const BATCH = BATCH_SIZE;
const SPACING = DQO_REPORT_SPACING;

/** See the module. What is not plain, or breaks a rule, ends a batch. */
export class TxPlainPackets {
  /** The packets gathered last. */
  batch: FrameBatch = new FrameBatch();
  /** Their bytes. */
  bytes = 0;
  /**
   * Per tag: packets that were announced up to this position cannot have it. Packets with tags that it has no room for
   * are not plain.
   */
  tags: Float64Array;
  readonly #mask: number;
  readonly #window: BufferWindow;
  /** Tag of each packet of the batch, and above it the number of its descriptors. */
  readonly #entries = new Int32Array(BATCH);
  /** Packets of the batch that ask for a report, then -1; and the descriptor behind the last of each. */
  readonly #reports = new Int32Array(BATCH + 1);
  readonly #reportEnds = new Int32Array(BATCH);
  #memory: Memory | undefined;
  #view!: DataView;
  #ring = 0;

  /**
   * For a ring of `mask + 1` descriptors.
   *
   * @param mask Mask of ring indices.
   * @param tags See {@linkcode TxPlainPackets.tags}.
   * @param window Finds buffers.
   */
  constructor(mask: number, tags: Float64Array, window: BufferWindow) {
    this.#mask = mask;
    this.tags = tags;
    this.#window = window;
  }

  /** The ring is at an offset of this memory; what was known of buffers is forgotten. */
  attach(memory: Memory, ring: number): void {
    if (this.#memory !== memory) this.batch = new FrameBatch(memory);
    this.#memory = memory;
    this.#view = memory.view;
    this.#ring = ring;
    this.#window.close();
  }

  /**
   * Gathers packets from the ring's head on. Those that were announced at other times than the first one make a batch of
   * their own.
   *
   * @param head Index of the first.
   * @param tail Index behind the last that was announced.
   * @param position Position of the first.
   * @param announced Position behind the last that was announced.
   * @param lastReport The descriptor that last asked for a report.
   * @returns The index behind the last one.
   */
  gather(head: number, tail: number, position: number, announced: number, lastReport: number): number {
    const end = this.#gatherHere(head, tail, position, announced, lastReport);
    if (end !== head || !this.#lookAhead(head, tail)) return end;
    return this.#gatherHere(head, tail, position, announced, lastReport);
  }

  /** As {@linkcode gather}, as far as buffers lie in the window. */
  #gatherHere(
    head: number,
    tail: number,
    position: number,
    announced: number,
    lastReport: number,
  ): number {
    const view = this.#view;
    const mask = this.#mask | 0;
    const ring = this.#ring | 0;
    const { batch } = this;
    const { offsets, lengths } = batch;
    const entries = this.#entries;
    const { tags } = this;
    const room = tags.length;
    const high = this.#window.high | 0;
    const shift = this.#window.shift | 0;
    const first = this.#window.first | 0;
    const last = this.#window.last | 0;
    const reports = this.#reports;
    const reportEnds = this.#reportEnds;
    let reported = 0;
    let end = head | 0;
    let bytes = 0;
    let count = 0;
    while (end !== tail && count < BATCH) {
      let index = end;
      let at = (ring + index * DESC) | 0;
      let word = view.getInt32((at + DTYPE) | 0, true);
      let entry = ONE;
      if ((word & DTYPE_MASK) === GENERAL_CONTEXT) {
        index = (index + 1) & mask;
        if (index === tail) break;
        at = (ring + index * DESC) | 0;
        word = view.getInt32((at + DTYPE) | 0, true);
        entry = TWO;
      }
      if ((word & ~REPORT_EVENT) !== PLAIN) break;
      const tagAndSize = view.getInt32((at + COMPL_TAG) | 0, true);
      const tag = tagAndSize & TAG_MASK;
      const size = tagAndSize >>> BUF_SIZE_SHIFT;
      if (size === 0 || size > BUF_SIZE_MASK || tag >= room || tags[tag]! > position) break;
      const offset = (view.getInt32((at + BUF_ADDR) | 0, true) + shift) | 0;
      if (view.getInt32((at + BUF_ADDR + 4) | 0, true) !== high || offset < first) break;
      if (size > ((last - offset) | 0)) break;
      if (word !== PLAIN) {
        if (((index - lastReport) & mask) < SPACING) break;
        lastReport = index;
        reports[reported] = count;
        reportEnds[reported] = (index + 1) & mask;
        reported = (reported + 1) | 0;
      }
      tags[tag] = announced;
      offsets[count] = offset;
      lengths[count] = size;
      entries[count] = tag | entry;
      bytes = (bytes + size) | 0;
      count = (count + 1) | 0;
      end = (index + 1) & mask;
    }
    reports[reported] = NONE;
    batch.bytes = this.#window.memory.bytes;
    batch.count = count;
    this.bytes = bytes;
    return end;
  }

  /** Moves the window to where the buffer of the packet at the head lies. Returns whether that is another place. */
  #lookAhead(head: number, tail: number): boolean {
    const view = this.#view;
    let at = this.#ring + head * DESC;
    if ((view.getInt32(at + DTYPE, true) & DTYPE_MASK) === GENERAL_CONTEXT) {
      const index = (head + 1) & this.#mask;
      if (index === tail) return false;
      at = this.#ring + index * DESC;
    }
    const low = view.getInt32(at + BUF_ADDR, true);
    const high = view.getInt32(at + BUF_ADDR + 4, true);
    return !this.#window.holds(high, low, 1) && this.#window.moveTo(high, low);
  }

  /** What was not taken of a batch has not been looked at. Returns the end of what was. */
  putBack(head: number, taken: number): number {
    const { count, lengths } = this.batch;
    let end = head;
    for (let i = 0; i < taken; i++) end += this.#entries[i]! >>> COUNT_SHIFT;
    for (let i = taken; i < count; i++) {
      this.tags[this.#entries[i]! & TAG_MASK] = 0;
      this.bytes -= lengths[i]!;
    }
    return end & this.#mask;
  }

  /**
   * Completes the first `taken` packets of the batch, with the reports that they ask for.
   *
   * @returns The descriptor that last asked for a report.
   */
  complete(writer: CompletionWriter, taken: number, lastReport: number): number {
    const reported = writer.packets(this.#entries, taken, this.#reports, this.#reportEnds);
    return reported === 0 ? lastReport : (this.#reportEnds[reported - 1]! - 1) & this.#mask;
  }
}
