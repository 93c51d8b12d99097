/**
 * GQI receive queue, the device's side.
 *
 * @module
 */
import { NO_REGION, READ, WRITE } from "../../../core/address_space.ts";
import { Frame } from "../../../core/frame.ts";
import { BATCH_PIECES, BATCH_SIZE, type FrameBatch, type PieceBatch } from "../../../core/frame_batch.ts";
import { distance32 } from "../../../core/index.ts";
import type { Memory } from "../../../core/memory.ts";
import { GQI_RX_PAD, PAGE } from "../constants.ts";
import type { DeviceContext, NotifyBlock } from "../device_context.ts";
import { type DeviceFault, deviceFault } from "../faults.ts";
import { gve_rx_data_slot, gve_rx_desc, gve_rx_flags_seq } from "../layout_gqi.ts";
import type { PageList } from "../page_list.ts";
import { swap32 } from "../registers.ts";
import type { FlowSteering } from "../rss.ts";
import { writer } from "../space_access.ts";
import { ListOffsets } from "./list_offsets.ts";

const DESC = gve_rx_desc.size;
const RSS_HASH = gve_rx_desc.offsetOf("rss_hash");
const RX_MSS = gve_rx_desc.offsetOf("mss");
const HDR_LEN = gve_rx_desc.offsetOf("hdr_len");
const LEN = gve_rx_desc.offsetOf("len");
const FLAGS_SEQ = gve_rx_desc.offsetOf("flags_seq");
const PKT_CONT = gve_rx_flags_seq.maskOf("pkt_cont");
/** In the word that holds the length and the flags, behind which there is nothing: where the length is. */
const LEN_SHIFT = (FLAGS_SEQ - LEN) * 8;
const SLOT = gve_rx_data_slot.size;
const LAST_SEQUENCE = 7;
// Bindings of this module, unlike imported ones, are constants for the engine.
const PAD = GQI_RX_PAD;
const PAGE_SIZE = PAGE;
const PAGE_SHIFT = Math.log2(PAGE);

/** Where a GQI receive queue lies. */
export interface GqiRxDeviceOptions {
  /** Number of the queue. */
  readonly queue: number;
  /** Address of the descriptor ring. */
  readonly ring: number;
  /** Address of the data slot ring. */
  readonly slots: number;
  /** Entries of each. */
  readonly size: number;
  /** Bytes per buffer. */
  readonly bufferSize: number;
  /** Index of the doorbell word. */
  readonly word: number;
  /** Its interrupt. */
  readonly block: NotifyBlock;
  /** Where buffers lie; without one slots hold addresses. */
  readonly list: PageList | undefined;
}

/** The queue. All indices are free-running. */
export class GqiRxDevice {
  /** Number of the queue. */
  readonly queue: number;
  /** Its interrupt. */
  readonly block: NotifyBlock;
  /** Index of its doorbell word. */
  readonly word: number;
  /** Whether the driver broke a rule: the queue does nothing any more. */
  stopped = false;
  readonly #context: DeviceContext;
  readonly #options: GqiRxDeviceOptions;
  readonly #mask: number;
  readonly #writer;
  readonly #pad = new Frame();
  readonly #listOffsets: ListOffsets | undefined;
  /** Where the frames of a batch go: in this memory. */
  readonly #targets: Int32Array;
  #memory: Memory = NO_REGION.memory;
  /** Where the pieces of frames go, if there are several. */
  readonly #pieceTargets: Int32Array;
  #view!: DataView;
  #ring = 0;
  #slotView!: DataView;
  #slots = 0;
  #used = 0;
  /** Sequence number of the next descriptor. */
  #sequence = 1;

  /** Starts at index 0, sequence 1. */
  constructor(context: DeviceContext, options: GqiRxDeviceOptions) {
    this.#context = context;
    this.#options = options;
    this.queue = options.queue;
    this.block = options.block;
    this.word = options.word;
    this.#mask = options.size - 1;
    this.#writer = writer(context.space);
    this.#pad.push(new Uint8Array(GQI_RX_PAD), 0, GQI_RX_PAD);
    this.#listOffsets = options.list && new ListOffsets(options.list, WRITE);
    this.#attach();
    const { memory } = context.space.find(options.slots, READ)!;
    this.#targets = memory.words(BATCH_SIZE);
    this.#pieceTargets = memory.words(BATCH_PIECES);
  }

  /** Id of the page list, or -1. */
  get pageList(): number {
    return this.#options.list?.id ?? -1;
  }

  /** Longest frame that a full ring holds. */
  get largestFrame(): number {
    return this.#options.size * this.#options.bufferSize - GQI_RX_PAD;
  }

  /**
   * Puts a frame into as many slots as it takes.
   *
   * @returns False if there are too few.
   * @throws {RingFault} If the driver broke a rule.
   */
  deliver(frame: Frame, steering: FlowSteering): boolean {
    if (this.stopped) return false;
    if (this.#writer.refresh()) this.#attach();
    const { bufferSize, size } = this.#options;
    const { counters, doorbells } = this.#context;
    const announced = swap32(doorbells[this.word]!);
    const posted = distance32(announced, this.#used);
    if (posted > size) {
      throw this.#fault("doorbell-beyond-ring", { doorbell: announced, used: this.#used, ring: size });
    }
    const total = frame.length + GQI_RX_PAD;
    const needed = total <= bufferSize ? 1 : Math.ceil(total / bufferSize);
    if (needed > posted) {
      counters.rxNoBuffers++;
      return false;
    }
    if (needed > 1 || !this.#fillOne(frame, total)) {
      for (let i = 0; i < needed; i++) this.#fill(frame, i);
    }
    // The first descriptor becomes valid last, so that the packet appears as a whole.
    for (let i = needed - 1; i >= 0; i--) {
      const length = i < needed - 1 ? bufferSize : total - (needed - 1) * bufferSize;
      this.#describe(i, length, i < needed - 1, steering);
    }
    this.#used = (this.#used + needed) >>> 0;
    this.#sequence = sequenceAfter(this.#sequence, needed);
    counters.rxPackets++;
    counters.rxBytes += frame.length;
    counters.rxDescriptors += needed;
    this.block.pending = true;
    return true;
  }

  /**
   * Puts frames into one slot each in one loop, from index `from` on.
   *
   * @returns The index of the first frame that it did not take: {@linkcode deliver} may know more.
   */
  deliverBatch(frames: FrameBatch, from: number): number {
    const { bytes, offsets, lengths } = frames;
    const count = this.#place(lengths, from, frames.count);
    if (count === 0) return from;
    this.#memory.copyEach(this.#targets, bytes, offsets, lengths, from, count);
    this.#publish(lengths, from, from + count);
    return from + count;
  }

  /**
   * Puts frames into one slot each in one loop, each of any number of pieces.
   *
   * @returns How many it took: {@linkcode deliver} may know more.
   */
  deliverPieces(frames: PieceBatch): number {
    const { bytes, offsets, lengths, ends, sizes } = frames;
    const count = this.#place(sizes, 0, frames.count);
    if (count === 0) return 0;
    const pieces = ends[count - 1]!;
    const targets = pieces === count ? this.#targets : this.#placePieces(lengths, ends, count);
    this.#memory.copyEach(targets, bytes, offsets, lengths, 0, pieces);
    this.#publish(sizes, 0, count);
    return count;
  }

  /**
   * Finds places for frames of these lengths, from index `from` to `end`, and writes their descriptors but for the words
   * that make them valid. Returns for how many.
   */
  #place(lengths: Int32Array, from: number, end: number): number {
    if (this.stopped) return 0;
    if (this.#writer.refresh()) this.#attach();
    const { bufferSize, size } = this.#options;
    const posted = distance32(swap32(this.#context.doorbells[this.word]!), this.#used);
    if (posted > size || posted === 0) return 0;
    const most = Math.min(end, from + posted) | 0;
    const view = this.#view;
    const ring = this.#ring | 0;
    const slotView = this.#slotView;
    const slots = this.#slots | 0;
    const mask = this.#mask | 0;
    const listOffsets = this.#listOffsets;
    let slot = this.#used & mask;
    // With raw addressing one region; with a page list all its pages, in one memory.
    const pages = listOffsets?.offsets;
    const ends = listOffsets?.ends;
    const region = pages !== undefined ? NO_REGION : this.#writer.regionAt(
      slotView.getUint32(slots + slot * SLOT) * 4294967296 + slotView.getUint32(slots + slot * SLOT + 4),
    );
    const memory = this.#memory = listOffsets?.memory ?? region.memory;
    const { high, shift, first, last } = region;
    const target = memory.view;
    const limit = ((pages?.length ?? 0) * PAGE_SIZE - bufferSize) | 0;
    const targets = this.#targets;
    let i = from | 0;
    for (; i < most; i = (i + 1) | 0) {
      const length = lengths[i]!;
      const total = (length + PAD) | 0;
      if (total > bufferSize || length === 0) break;
      const entry = (slots + slot * SLOT) | 0;
      const upper = slotView.getInt32(entry);
      const low = slotView.getInt32((entry + 4) | 0);
      let to: number;
      if (pages !== undefined) {
        if (upper !== 0 || low < 0 || low > limit) break;
        const page = low >> PAGE_SHIFT;
        to = (pages[page]! + (low & (PAGE_SIZE - 1))) | 0;
        if (total > ((ends![page]! - to) | 0)) break;
      } else {
        to = (low + shift) | 0;
        if (upper !== high || to < first || total > ((last - to) | 0)) break;
      }
      target.setInt16(to, 0);
      targets[(i - from) | 0] = (to + PAD) | 0;
      const at = (ring + slot * DESC) | 0;
      view.setInt32((at + RSS_HASH) | 0, 0);
      view.setInt32((at + RX_MSS) | 0, 0);
      view.setInt32((at + HDR_LEN) | 0, 0);
      slot = (slot + 1) & mask;
    }
    return i - from;
  }

  /** Where the pieces of frames go, one behind the other from the place of their frame on. */
  #placePieces(lengths: Int32Array, ends: Int32Array, count: number): Int32Array {
    const targets = this.#targets;
    const pieceTargets = this.#pieceTargets;
    let piece = 0;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const end = ends[i]!;
      for (let target = targets[i]!; piece < end; piece = (piece + 1) | 0) {
        pieceTargets[piece] = target;
        target = (target + lengths[piece]!) | 0;
      }
    }
    return pieceTargets;
  }

  /** Makes descriptors valid, each of a frame of so many bytes in one buffer. */
  #publish(lengths: Int32Array, from: number, end: number): void {
    const view = this.#view;
    const ring = this.#ring | 0;
    const mask = this.#mask | 0;
    let slot = this.#used & mask;
    let sequence = this.#sequence | 0;
    let sum = 0;
    for (let i = from | 0; i < end; i = (i + 1) | 0) {
      const length = lengths[i]!;
      view.setInt32((ring + slot * DESC + LEN) | 0, ((length + PAD) << LEN_SHIFT) | sequence);
      sum = (sum + length) | 0;
      sequence = sequence === LAST_SEQUENCE ? 1 : (sequence + 1) | 0;
      slot = (slot + 1) & mask;
    }
    const { counters } = this.#context;
    const count = end - from;
    this.#sequence = sequence;
    this.#used = (this.#used + count) >>> 0;
    this.block.pending = true;
    counters.rxPackets += count;
    counters.rxBytes += sum;
    counters.rxDescriptors += count;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      used: this.#used,
      doorbell: swap32(this.#context.doorbells[this.word]!),
      sequence: this.#sequence,
      stopped: this.stopped,
    };
  }

  #attach(): void {
    const { space } = this.#context;
    const { ring, slots, size } = this.#options;
    const rings = space.contiguous(ring, size * DESC, WRITE);
    const data = space.contiguous(slots, size * SLOT, READ);
    if (!rings || !data) throw this.#fault("memory-gone", { ring, slots });
    this.#view = rings.memory.view;
    this.#ring = rings.offsetOf(ring);
    this.#slotView = data.memory.view;
    this.#slots = data.offsetOf(slots);
    this.#listOffsets?.find(space);
  }

  /** Copies a frame into one buffer. False if that does not lie in memory in one piece. */
  #fillOne(frame: Frame, total: number): boolean {
    const { bufferSize } = this.#options;
    const listOffsets = this.#listOffsets;
    const at = this.#slots + (this.#used & this.#mask) * SLOT;
    const high = this.#slotView.getUint32(at);
    const low = this.#slotView.getUint32(at + 4);
    let to: number;
    let memory;
    if (listOffsets !== undefined) {
      to = high === 0 ? listOffsets.at(low, bufferSize) : -1;
      if (to < 0) return false;
      memory = listOffsets.memory;
    } else {
      const address = high * 4294967296 + low;
      const region = this.#writer.regionAt(address);
      if (!region.holds(address, total)) return false;
      to = region.offsetOf(address);
      memory = region.memory;
    }
    memory.view.setUint16(to, 0);
    to += PAD;
    for (let i = 0; i < frame.pieces; i++) {
      const length = frame.lengths[i]!;
      memory.copyFrom(to, frame.bytes[i]!, frame.offsets[i]!, length);
      to += length;
    }
    return true;
  }

  /** Copies the frame's `i`-th part into its buffer. */
  #fill(frame: Frame, i: number): void {
    const { bufferSize, list } = this.#options;
    const at = this.#slots + ((this.#used + i) & this.#mask) * SLOT;
    const address = this.#slotView.getUint32(at) * 4294967296 + this.#slotView.getUint32(at + 4);
    const pad = i === 0 ? GQI_RX_PAD : 0;
    const position = i === 0 ? 0 : i * bufferSize - GQI_RX_PAD;
    const length = Math.min(bufferSize - pad, frame.length - position);
    if (list === undefined) {
      if (pad > 0 && !this.#writer.scatter(this.#pad, 0, address, pad)) throw this.#unreachable(address, pad);
      if (!this.#writer.scatter(frame, position, address + pad, length)) {
        throw this.#unreachable(address, length);
      }
      return;
    }
    if (address > list.bytes - bufferSize) {
      throw this.#fault("outside-page-list", { offset: address, length: bufferSize, list: list.bytes });
    }
    this.#scatterList(list, this.#pad, 0, address, pad);
    this.#scatterList(list, frame, position, address + pad, length);
  }

  /** Copies into the page list, page by page. */
  #scatterList(list: PageList, frame: Frame, position: number, offset: number, length: number): void {
    while (length > 0) {
      const part = Math.min(length, PAGE - (offset & (PAGE - 1)));
      const address = list.address(offset);
      if (!this.#writer.scatter(frame, position, address, part)) throw this.#unreachable(address, part);
      position += part;
      offset += part;
      length -= part;
    }
  }

  #describe(i: number, length: number, more: boolean, steering: FlowSteering): void {
    const view = this.#view;
    const at = this.#ring + ((this.#used + i) & this.#mask) * DESC;
    view.setUint32(at + RSS_HASH, steering.hash);
    view.setUint32(at + RX_MSS, 0);
    view.setUint32(at + HDR_LEN, 0);
    view.setUint16(at + LEN, length);
    const flags = steering.gqiFlags | (more ? PKT_CONT : 0);
    view.setUint16(at + FLAGS_SEQ, flags | sequenceAfter(this.#sequence, i));
  }

  #unreachable(address: number, length: number): Error {
    return this.#fault("address", { address, length });
  }

  #fault(code: DeviceFault, values: Record<string, number>): Error {
    this.stopped = true;
    this.#context.counters.faults++;
    return deviceFault(`rx${this.queue}`, code, this.#used, values);
  }
}

/** The sequence number so many descriptors later: 1 to 7, never 0. */
function sequenceAfter(sequence: number, count: number): number {
  return (sequence - 1 + count) % LAST_SEQUENCE + 1;
}
