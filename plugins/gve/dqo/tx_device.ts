/**
 * DQO transmit queue, the device's side.
 *
 * @module
 */
import { READ, WRITE } from "../../../core/address_space.ts";
import { Frame } from "../../../core/frame.ts";
import { BATCH_SIZE, FrameBatch } from "../../../core/frame_batch.ts";
import type { Memory } from "../../../core/memory.ts";
import type { Wire } from "../../../core/plugin.ts";
import { DQO_ALT_MISS, DQO_DTYPE, DQO_MAX_BUFFER, DQO_REPORT_SPACING, NIC_LIMITS } from "../constants.ts";
import type { DeviceContext, NotifyBlock, TxQueueDevice } from "../device_context.ts";
import { type DeviceFault, deviceFault } from "../faults.ts";
import { gve_tx_compl_desc, gve_tx_pkt_desc_dqo, gve_tx_tso_context_desc_dqo } from "../layout_dqo.ts";
import type { PageList } from "../page_list.ts";
import { reader } from "../space_access.ts";
import { BufferWindow } from "./buffer_window.ts";
import { type CompletionPlay, CompletionWriter } from "./completion_writer.ts";
import { widestSegment } from "./segment_span.ts";

const DESC = gve_tx_pkt_desc_dqo.size;
const BUF_ADDR = gve_tx_pkt_desc_dqo.offsetOf("buf_addr");
const DTYPE = gve_tx_pkt_desc_dqo.offsetOf("dtype");
const DTYPE_MASK = gve_tx_pkt_desc_dqo.maskOf("dtype");
const END_OF_PACKET = gve_tx_pkt_desc_dqo.maskOf("end_of_packet");
const CHECKSUM = gve_tx_pkt_desc_dqo.maskOf("checksum_offload_enable");
const REPORT_EVENT = gve_tx_pkt_desc_dqo.maskOf("report_event");
const COMPL_TAG = gve_tx_pkt_desc_dqo.offsetOf("compl_tag");
const TAG_MASK = gve_tx_pkt_desc_dqo.maskOf("compl_tag");
const BUF_SIZE_SHIFT = (gve_tx_pkt_desc_dqo.offsetOf("buf_size") - COMPL_TAG) * 8;
const BUF_SIZE_MASK = gve_tx_pkt_desc_dqo.maskOf("buf_size");
/** The word at DTYPE has flags up to here, and then only reserved bits (a context has metadata there). */
const FLAGS_MASK = 2 ** ((gve_tx_pkt_desc_dqo.offsetOf("reserved0") - DTYPE) * 8) - 1;
const TSO_LENGTH = gve_tx_tso_context_desc_dqo.offsetOf("tso_total_len");
const TSO_LENGTH_MASK = gve_tx_tso_context_desc_dqo.maskOf("tso_total_len");
const TSO_MSS = gve_tx_tso_context_desc_dqo.offsetOf("mss");
const TSO_MSS_MASK = gve_tx_tso_context_desc_dqo.maskOf("mss");
const TSO_HEADER = gve_tx_tso_context_desc_dqo.offsetOf("header_len");
const TSO_FLAG = gve_tx_tso_context_desc_dqo.maskOf("tso");
const COMPLETION = gve_tx_compl_desc.size;
const { GENERAL_CONTEXT, TSO_CONTEXT, PACKET } = DQO_DTYPE;
const PLAIN = PACKET | END_OF_PACKET;
/** Room for every tag. */
const TAGS = DQO_ALT_MISS;
/** A tag whose completion is still to come. */
const OUTSTANDING = Infinity;

/** Above a tag: how many descriptors its packet has. */
const COUNT_SHIFT = 16;
const ONE = 1 << COUNT_SHIFT;
const TWO = 2 << COUNT_SHIFT;

// Bindings of this module, unlike imported ones, are constants for the engine.
const ALT_MISS = DQO_ALT_MISS;
const BATCH = BATCH_SIZE;
const SPACING = DQO_REPORT_SPACING;

/** Where a DQO transmit queue lies. */
export interface DqoTxDeviceOptions {
  /** Number of the queue. */
  readonly queue: number;
  /** Address of the descriptor ring. */
  readonly ring: number;
  /** Its entries. */
  readonly size: number;
  /** Address of the completion ring. */
  readonly completions: number;
  /** Its entries. */
  readonly completionSize: number;
  /** Index of the doorbell word. */
  readonly word: number;
  /** Its interrupt. */
  readonly block: NotifyBlock;
  /** Registered list in which buffers must lie, if the queue has one. Descriptors carry addresses all the same. */
  readonly list: PageList | undefined;
  /** How completions come. */
  readonly play: CompletionPlay;
}

/** The queue. The ring index is masked; positions count on, to tell what was announced before what. */
export class DqoTxDevice implements TxQueueDevice {
  readonly queue: number;
  readonly block: NotifyBlock;
  readonly word: number;
  stopped = false;
  readonly #context: DeviceContext;
  readonly #options: DqoTxDeviceOptions;
  readonly #mask: number;
  readonly #frame = new Frame();
  readonly #reader;
  readonly #window: BufferWindow;
  readonly #writer: CompletionWriter;
  /** Per tag: whatever was announced up to this position cannot use the tag: its completion was not out yet. */
  readonly #tags = new Float64Array(TAGS);
  readonly #tagDone: (tag: number) => void;
  readonly #frames: FrameBatch;
  /** Whether batches are worth trying in the present round. */
  #batches = false;
  /** Tag of each packet of a batch, and above it the number of its descriptors. */
  readonly #entries = new Int32Array(BATCH);
  /** Packets of a batch that ask for a report, and the last descriptor of each. */
  readonly #reports = new Int32Array(BATCH);
  readonly #reportEnds = new Int32Array(BATCH);
  #reportCount = 0;
  /** Bytes of the batch. */
  #bytes = 0;
  #view!: DataView;
  #ring = 0;
  #head = 0;
  /** Descriptors taken in all. */
  #position = 0;
  /** Position up to which the last doorbell announced. */
  #announced = 0;
  #lastReport = 0;
  #segmented = 0;

  /** Starts at index 0, generation 1. */
  constructor(context: DeviceContext, options: DqoTxDeviceOptions) {
    this.#context = context;
    this.#options = options;
    this.queue = options.queue;
    this.block = options.block;
    this.word = options.word;
    this.#mask = options.size - 1;
    this.#reader = reader(context.space);
    this.#window = new BufferWindow(this.#reader, context.strict ? options.list : undefined);
    const { queue, completionSize, play } = options;
    const { memory, offset } = this.#attach();
    this.#frames = new FrameBatch(memory);
    this.#writer = new CompletionWriter(queue, completionSize, memory.view, offset, play, context.counters);
    this.#tagDone = (tag: number) => {
      this.#tags[tag] = this.#announced;
    };
  }

  /** Id of the page list, or -1. */
  get pageList(): number {
    return this.#options.list?.id ?? -1;
  }

  /**
   * Works off what the doorbell announced.
   *
   * @returns How many descriptors and late completions.
   * @throws {RingFault} If the driver broke a rule.
   */
  service(wire: Wire): number {
    if (this.stopped) return 0;
    if (this.#reader.refresh()) {
      this.#window.close();
      const { memory, offset } = this.#attach();
      this.#writer.attach(memory.view, offset);
    }
    const tail = this.#context.doorbells[this.word]!;
    if (tail > this.#mask) {
      throw this.#fault("doorbell-beyond-ring", { doorbell: tail, ring: this.#mask + 1 });
    }
    const before = this.#position;
    this.#announced = before + ((tail - this.#head) & this.#mask);
    this.#batches = wire.transmitBatch !== undefined && this.#plainOnly;
    while (this.#head !== tail) {
      const count = (this.#batches ? this.#batch(wire, tail) : 0) || this.#packet(wire, tail);
      if (count === 0) break;
      this.#head = (this.#head + count) & this.#mask;
      this.#position += count;
    }
    let moved = this.#position - before;
    if (!this.#writer.immediate) moved += this.#writer.endRound(this.#tagDone);
    if (moved > 0) this.block.pending = true;
    return moved;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      head: this.#head,
      doorbell: this.#context.doorbells[this.word]!,
      slow_path: this.#writer.missed,
      stopped: this.stopped,
    };
  }

  /** Finds the rings in memory. Returns where completions go. */
  #attach(): { memory: Memory; offset: number } {
    const { space } = this.#context;
    const { ring, size, completions, completionSize } = this.#options;
    const descriptors = space.contiguous(ring, size * DESC, READ);
    const written = space.contiguous(completions, completionSize * COMPLETION, WRITE);
    if (!descriptors || !written) throw this.#fault("memory-gone", { ring, completions });
    this.#view = descriptors.memory.view;
    this.#ring = descriptors.offsetOf(ring);
    return { memory: written.memory, offset: written.offsetOf(completions) };
  }

  /** Whether packets in one buffer, without requests, can be taken in a loop of their own. */
  get #plainOnly(): boolean {
    return this.#writer.immediate && !this.#context.nicLimits;
  }

  /**
   * Takes plain packets from the head on: a general context or none, then one buffer, nothing asked for. Whatever else
   * comes, and whatever breaks a rule, is left to {@linkcode #packet}. Returns the descriptors of what the wire took.
   */
  #batch(wire: Wire, tail: number): number {
    const batch = this.#frames;
    const window = this.#window;
    batch.count = 0;
    let end = this.#gather(tail);
    if (batch.count === 0 && this.#lookAhead(tail)) end = this.#gather(tail);
    const { count } = batch;
    if (count === 0) return 0;
    batch.bytes = window.memory.bytes;
    const taken = wire.transmitBatch!(batch, this.queue);
    // A wire that takes no batch now will hardly take the next one.
    if (taken === 0) this.#batches = false;
    if (taken < count) end = this.#putBack(taken, count);
    this.#completeBatch(taken);
    // A batch is shorter than the ring: its end is never its start.
    const descriptors = (end - this.#head) & this.#mask;
    const { counters } = this.#context;
    counters.txPackets += taken;
    counters.txBytes += this.#bytes;
    counters.txDescriptors += descriptors;
    return descriptors;
  }

  /** Gathers plain packets from the head on whose buffers lie in the window. Returns the index behind the last one. */
  #gather(tail: number): number {
    const view = this.#view;
    const mask = this.#mask | 0;
    const ring = this.#ring | 0;
    const batch = this.#frames;
    const { offsets, lengths } = batch;
    const entries = this.#entries;
    const tags = this.#tags;
    const announced = this.#announced;
    // Packets that were announced at other times than the first one make a batch of their own.
    const position = this.#position;
    const high = this.#window.high | 0;
    const shift = this.#window.shift | 0;
    const first = this.#window.first | 0;
    const last = this.#window.last | 0;
    let lastReport = this.#lastReport | 0;
    let end = this.#head | 0;
    let bytes = 0;
    let count = 0;
    this.#reportCount = 0;
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
      if (size === 0 || size > BUF_SIZE_MASK || tag >= ALT_MISS || tags[tag]! > position) break;
      const offset = (view.getInt32((at + BUF_ADDR) | 0, true) + shift) | 0;
      if (view.getInt32((at + BUF_ADDR + 4) | 0, true) !== high || offset < first) break;
      if (size > ((last - offset) | 0)) break;
      if (word !== PLAIN) {
        if (((index - lastReport) & mask) < SPACING) break;
        lastReport = index;
        this.#noteReport(count, index);
      }
      tags[tag] = announced;
      offsets[count] = offset;
      lengths[count] = size;
      entries[count] = tag | entry;
      bytes = (bytes + size) | 0;
      count = (count + 1) | 0;
      end = (index + 1) & mask;
    }
    batch.count = count;
    this.#bytes = bytes;
    return end;
  }

  /** The packet at place `packet` of a batch asks for a report of the descriptors up to `index`. */
  #noteReport(packet: number, index: number): void {
    this.#reports[this.#reportCount] = packet;
    this.#reportEnds[this.#reportCount++] = index;
  }

  /** Moves the window to where the buffer of the packet at the head lies. Returns whether that is another place. */
  #lookAhead(tail: number): boolean {
    const view = this.#view;
    let at = this.#ring + this.#head * DESC;
    if ((view.getInt32(at + DTYPE, true) & DTYPE_MASK) === GENERAL_CONTEXT) {
      const index = (this.#head + 1) & this.#mask;
      if (index === tail) return false;
      at = this.#ring + index * DESC;
    }
    const low = view.getInt32(at + BUF_ADDR, true);
    const high = view.getInt32(at + BUF_ADDR + 4, true);
    return !this.#window.holds(high, low, 1) && this.#window.moveTo(high, low);
  }

  /** What was not taken of a batch has not been looked at. Returns the end of what was. */
  #putBack(taken: number, count: number): number {
    let end = this.#head;
    for (let i = 0; i < taken; i++) end += this.#entries[i]! >>> COUNT_SHIFT;
    for (let i = taken; i < count; i++) {
      this.#tags[this.#entries[i]! & TAG_MASK] = 0;
      this.#bytes -= this.#frames.lengths[i]!;
    }
    return end & this.#mask;
  }

  /** Completes the first packets of a batch. */
  #completeBatch(taken: number): void {
    const writer = this.#writer;
    let done = 0;
    for (let i = 0; i < this.#reportCount && this.#reports[i]! < taken; i++) {
      writer.packets(this.#entries, done, this.#reports[i]!);
      done = this.#reports[i]!;
      this.#lastReport = this.#reportEnds[i]!;
      writer.descriptors((this.#lastReport + 1) & this.#mask);
    }
    writer.packets(this.#entries, done, taken);
  }

  /** Takes the packet at the head. Returns its descriptors, or 0 if the wire does not take it now. */
  #packet(wire: Wire, tail: number): number {
    const { strict, counters, offload } = this.#context;
    const view = this.#view;
    const frame = this.#frame;
    frame.clear();
    let index = this.#head;
    let at = this.#ring + index * DESC;
    let flags = view.getUint32(at + DTYPE, true);
    let total = -1;
    let mss = 0;
    let header = 0;
    if ((flags & DTYPE_MASK) === TSO_CONTEXT) {
      if (strict && (flags & TSO_FLAG) === 0) throw this.#fault("tso", { dtype_flags: flags });
      total = view.getUint32(at + TSO_LENGTH, true) & TSO_LENGTH_MASK;
      mss = view.getUint16(at + TSO_MSS, true) & TSO_MSS_MASK;
      header = view.getUint8(at + TSO_HEADER);
      this.#checkTso(total, mss);
      index = this.#next(index, tail);
      at = this.#ring + index * DESC;
      flags = view.getUint32(at + DTYPE, true);
    }
    if ((flags & DTYPE_MASK) === GENERAL_CONTEXT) {
      index = this.#next(index, tail);
      at = this.#ring + index * DESC;
      flags = view.getUint32(at + DTYPE, true);
    }
    let checksum = 0;
    let tag = 0;
    let tagged = false;
    let buffers = 0;
    for (;;) {
      if ((flags & DTYPE_MASK) !== PACKET) {
        const dtype = flags & DTYPE_MASK;
        const context = dtype === GENERAL_CONTEXT || dtype === TSO_CONTEXT;
        throw this.#fault(context ? "context-order" : "descriptor-type", { dtype, index });
      }
      const word = view.getUint32(at + COMPL_TAG, true);
      const size = word >>> BUF_SIZE_SHIFT;
      const thisTag = word & TAG_MASK;
      this.#buffer(
        view.getUint32(at + BUF_ADDR + 4, true) * 4294967296 + view.getUint32(at + BUF_ADDR, true),
        size & BUF_SIZE_MASK,
      );
      buffers++;
      checksum |= flags & CHECKSUM;
      if (strict) {
        if (size > BUF_SIZE_MASK || flags > FLAGS_MASK) throw this.#fault("reserved-bits", { index });
        if (thisTag >= ALT_MISS) throw this.#fault("tag-range", { tag: thisTag });
        // A tag on the first data descriptor stands on all; else (iPXE) on the last alone.
        if (tagged && thisTag !== tag) throw this.#fault("tag-mismatch", { tag: thisTag, first: tag });
        if ((flags & REPORT_EVENT) !== 0 && (flags & END_OF_PACKET) === 0) {
          throw this.#fault("report-event", { index });
        }
      }
      tagged ||= thisTag !== 0;
      tag = thisTag;
      if ((flags & END_OF_PACKET) !== 0) break;
      index = this.#next(index, tail);
      at = this.#ring + index * DESC;
      flags = view.getUint32(at + DTYPE, true);
    }
    if (strict && this.#position < this.#tags[tag]!) throw this.#fault("tag-in-flight", { tag });
    const next = (index + 1) & this.#mask;
    if (this.#context.nicLimits) this.#checkLimits(frame.length, buffers, total, mss, header);
    if (total >= 0) {
      if (frame.length !== header + total) {
        throw this.#fault("length-mismatch", { header, total, data: frame.length });
      }
      if (!this.#segmentOut(wire, frame, header, mss)) return 0;
    } else if (checksum !== 0) {
      if (frame.length > offload.longest) throw this.#fault("packet-size", { length: frame.length });
      offload.checksum(frame);
      if (!wire.transmit(offload.frame, this.queue)) return 0;
      counters.txChecksums++;
    } else if (!wire.transmit(frame, this.queue)) return 0;
    if ((flags & REPORT_EVENT) !== 0) this.#report(index, next);
    const count = (next - this.#head) & this.#mask;
    counters.txPackets++;
    counters.txBytes += frame.length;
    counters.txDescriptors += count;
    this.#tags[tag] = this.#writer.packet(tag) ? this.#announced : OUTSTANDING;
    return count;
  }

  /** The index behind, which must be announced: a packet is announced as a whole. */
  #next(index: number, tail: number): number {
    const next = (index + 1) & this.#mask;
    if (next === tail) throw this.#fault("unfinished-packet", { doorbell: tail });
    return next;
  }

  /** Adds a buffer to the frame. */
  #buffer(address: number, size: number): void {
    if (size === 0) throw this.#fault("zero-length", { buf_size: 0 });
    if (!this.#reader.gather(this.#frame, address, size)) throw this.#fault("address", { address, size });
    const { list } = this.#options;
    if (list !== undefined && this.#context.strict && !list.holds(address, size)) {
      throw this.#fault("outside-page-list", { address, size });
    }
  }

  #report(index: number, next: number): void {
    if (this.#context.strict && ((index - this.#lastReport) & this.#mask) < DQO_REPORT_SPACING) {
      throw this.#fault("report-event", { index, last: this.#lastReport });
    }
    this.#lastReport = index;
    this.#writer.descriptors(next);
  }

  #checkTso(total: number, mss: number): void {
    if (total > NIC_LIMITS.maximumTso || total === 0 || mss === 0) throw this.#fault("tso", { total, mss });
  }

  /** The NIC stops a queue for good if a packet is not as it likes it. */
  #checkLimits(length: number, buffers: number, total: number, mss: number, header: number): void {
    const { descriptors, minimum, maximum, minimumMss, maximumMss } = NIC_LIMITS;
    if (total < 0) {
      if (buffers > descriptors) {
        throw this.#fault("descriptor-limit", { descriptors: buffers, limit: descriptors });
      }
      if (length < minimum || length > maximum) {
        throw this.#fault("packet-size", { length, minimum, maximum });
      }
      return;
    }
    if (mss < minimumMss || mss > maximumMss) throw this.#fault("tso", { mss, minimumMss, maximumMss });
    const { lengths, pieces } = this.#frame;
    const widest = widestSegment(lengths, pieces, DQO_MAX_BUFFER, header, mss);
    if (widest > descriptors) {
      throw this.#fault("descriptor-limit", { descriptors: widest, limit: descriptors });
    }
  }

  #segmentOut(wire: Wire, frame: Frame, header: number, mss: number): boolean {
    const { offload, counters } = this.#context;
    if (!offload.canSegment(frame, header)) throw this.#fault("tso", { header, length: frame.length });
    const payload = frame.length - header;
    while (this.#segmented < payload) {
      const part = offload.segment(frame.length, header, this.#segmented, mss);
      if (!wire.transmit(offload.frame, this.queue)) return false;
      counters.txSegments++;
      this.#segmented += part;
    }
    this.#segmented = 0;
    return true;
  }

  #fault(code: DeviceFault, values: Record<string, number>): Error {
    this.stopped = true;
    this.#context.counters.faults++;
    return deviceFault(`tx${this.queue}`, code, this.#head, values);
  }
}
