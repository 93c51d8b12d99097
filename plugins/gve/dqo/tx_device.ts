/**
 * DQO transmit queue, the device's side.
 *
 * @module
 */
import { READ, WRITE } from "../../../core/address_space.ts";
import { Frame } from "../../../core/frame.ts";
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
import { widestSegment } from "./tso_segments.ts";
import { TxPlainPackets } from "./tx_plain_packets.ts";

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
/** Room for so many tags at first, a power of two; drivers count them from 0. */
const FEW_TAGS = 1024;
/** A tag whose completion is still to come. */
const OUTSTANDING = Infinity;

// Bindings of this module, unlike imported ones, are constants for the engine.
const ALT_MISS = DQO_ALT_MISS;

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
  readonly #writer: CompletionWriter;
  /** Per tag: whatever was announced up to this position cannot use the tag: its completion was not out yet. */
  #tags = new Float64Array(FEW_TAGS);
  readonly #tagDone: (tag: number) => void;
  readonly #plain: TxPlainPackets;
  /** Whether batches are worth trying in the present round. */
  #batches = false;
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
    const { queue, completionSize, play, list } = options;
    const window = new BufferWindow(this.#reader, context.strict ? list : undefined);
    this.#plain = new TxPlainPackets(this.#mask, this.#tags, window);
    const { memory, offset } = this.#attach();
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
    this.#plain.attach(descriptors.memory, this.#ring);
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
    const plain = this.#plain;
    const { batch } = plain;
    let end = plain.gather(this.#head, tail, this.#position, this.#announced, this.#lastReport);
    if (batch.count === 0) return 0;
    const taken = wire.transmitBatch!(batch, this.queue);
    // A wire that takes no batch now will hardly take the next one.
    if (taken === 0) this.#batches = false;
    if (taken < batch.count) end = plain.putBack(this.#head, taken);
    this.#lastReport = plain.complete(this.#writer, taken, this.#lastReport);
    // A batch is shorter than the ring: its end is never its start.
    const descriptors = (end - this.#head) & this.#mask;
    const { counters } = this.#context;
    counters.txPackets += taken;
    counters.txBytes += plain.bytes;
    counters.txDescriptors += descriptors;
    return descriptors;
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
    if (tag >= this.#tags.length) this.#makeRoom(tag);
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

  /** Makes room for a tag. */
  #makeRoom(tag: number): void {
    const tags = this.#tags;
    this.#plain.tags = this.#tags = new Float64Array(2 ** (32 - Math.clz32(tag)));
    this.#tags.set(tags);
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
