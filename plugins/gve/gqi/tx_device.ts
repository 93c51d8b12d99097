/**
 * GQI transmit queue, the device's side.
 *
 * @module
 */
import { READ, WRITE } from "../../../core/address_space.ts";
import type { FaultValues } from "../../../core/fault.ts";
import { Frame } from "../../../core/frame.ts";
import { BATCH_SIZE, FrameBatch } from "../../../core/frame_batch.ts";
import { distance32 } from "../../../core/index.ts";
import type { Wire } from "../../../core/plugin.ts";
import {
  GQI_FLAG,
  GQI_NIC_DESCRIPTORS,
  GQI_NIC_LIST_BYTES,
  GQI_TYPE,
  GQI_TYPE_MASK,
  PAGE,
} from "../constants.ts";
import type { DeviceContext, NotifyBlock, TxQueueDevice } from "../device_context.ts";
import { type DeviceFault, deviceFault } from "../faults.ts";
import { gve_tx_mtd_desc, gve_tx_pkt_desc, gve_tx_seg_desc } from "../layout_gqi.ts";
import { gve_event_counter } from "../layout_records.ts";
import type { PageList } from "../page_list.ts";
import { swap32 } from "../registers.ts";
import { reader } from "../space_access.ts";
import { ListOffsets } from "./list_offsets.ts";
import { ListPackets } from "./list_packets.ts";

const DESC = gve_tx_pkt_desc.size;
const TYPE_FLAGS = gve_tx_pkt_desc.offsetOf("type_flags");
const CSUM_OFFSET = gve_tx_pkt_desc.offsetOf("l4_csum_offset");
const L4_OFFSET = gve_tx_pkt_desc.offsetOf("l4_hdr_offset");
const DESC_CNT = gve_tx_pkt_desc.offsetOf("desc_cnt");
const LEN = gve_tx_pkt_desc.offsetOf("len");
const SEG_LEN = gve_tx_pkt_desc.offsetOf("seg_len");
const SEG_ADDR = gve_tx_pkt_desc.offsetOf("seg_addr");
const MSS = gve_tx_seg_desc.offsetOf("mss");
const RESERVED0 = gve_tx_mtd_desc.offsetOf("reserved0");
const RESERVED1 = gve_tx_mtd_desc.offsetOf("reserved1");
const { STD, TSO, SEG, MTD } = GQI_TYPE;
const { L4CSUM } = GQI_FLAG;
/** The first word of a packet descriptor: type and flags above, number of descriptors below, offsets between them. */
const TYPE_SHIFT = (DESC_CNT - TYPE_FLAGS) * 8;
const KIND = (0xff << TYPE_SHIFT) | 0xff;
/** What it says of a packet in one segment, for which nothing is asked. */
const PLAIN = (STD << TYPE_SHIFT) | 1;
/** In the word that holds both lengths: where that of the packet is. */
const LEN_SHIFT = (SEG_LEN - LEN) * 8;
const MAX_LENGTH = 0xffff;
// Bindings of this module, unlike imported ones, are constants for the engine.
const BATCH = BATCH_SIZE;

/** Where a GQI transmit queue lies. */
export interface GqiTxDeviceOptions {
  /** Number of the queue. */
  readonly queue: number;
  /** Address of the descriptor ring. */
  readonly ring: number;
  /** Entries of the ring. */
  readonly size: number;
  /** Address of the event counter. */
  readonly counter: number;
  /** Index of the doorbell word. */
  readonly word: number;
  /** Its interrupt. */
  readonly block: NotifyBlock;
  /** Where segments lie; without one `seg_addr` is an address. */
  readonly list: PageList | undefined;
}

/** The queue. All indices are free-running. */
export class GqiTxDevice implements TxQueueDevice {
  readonly queue: number;
  readonly block: NotifyBlock;
  readonly word: number;
  stopped = false;
  readonly #context: DeviceContext;
  readonly #options: GqiTxDeviceOptions;
  readonly #mask: number;
  readonly #frame = new Frame();
  readonly #reader;
  readonly #listOffsets: ListOffsets | undefined;
  /** Bytes of the page list that offsets may name. */
  readonly #listBytes: number;
  readonly #frames: FrameBatch;
  /** Packets of a page list. */
  readonly #packets: ListPackets | undefined;
  /** Whether batches are worth trying in the present round. */
  #batches = false;
  #view!: DataView;
  #ring = 0;
  #counterView!: DataView;
  #counter = 0;
  #taken = 0;
  /** Payload bytes of the TSO packet at the head that have left already. */
  #segmented = 0;

  /** Starts at index 0 with the event counter at 0. */
  constructor(context: DeviceContext, options: GqiTxDeviceOptions) {
    this.#context = context;
    this.#options = options;
    this.queue = options.queue;
    this.block = options.block;
    this.word = options.word;
    this.#mask = options.size - 1;
    this.#reader = reader(context.space);
    this.#listOffsets = options.list && new ListOffsets(options.list, READ);
    this.#listBytes = Math.min(options.list?.bytes ?? 0, context.nicLimits ? GQI_NIC_LIST_BYTES : Infinity);
    this.#attach();
    this.#counterView.setUint32(this.#counter, 0);
    const { memory } = context.space.find(options.ring, READ)!;
    this.#frames = new FrameBatch(memory);
    this.#packets = this.#listOffsets && new ListPackets(memory, this.#listOffsets, this.#listBytes);
  }

  /** Id of the page list, or -1. */
  get pageList(): number {
    return this.#options.list?.id ?? -1;
  }

  /**
   * Works off what the doorbell announced.
   *
   * @returns How many descriptors.
   * @throws {RingFault} If the driver broke a rule.
   */
  service(wire: Wire): number {
    if (this.stopped) return 0;
    if (this.#reader.refresh()) this.#attach();
    const announced = swap32(this.#context.doorbells[this.word]!);
    const before = this.#taken;
    let pending = distance32(announced, before);
    if (pending > this.#options.size) {
      throw this.#fault("doorbell-beyond-ring", {
        doorbell: announced,
        taken: before,
        ring: this.#options.size,
      });
    }
    const packets = this.#packets;
    this.#batches = (packets ? wire.transmitPieces : wire.transmitBatch) !== undefined;
    try {
      while (pending > 0) {
        const batch = !this.#batches
          ? 0
          : packets
          ? this.#listed(wire, packets, pending)
          : this.#batch(wire, pending);
        const count = batch || this.#packet(wire, pending);
        if (count === 0) break;
        this.#taken = (this.#taken + count) >>> 0;
        pending -= count;
      }
    } finally {
      if (this.#taken !== before) this.#publish();
    }
    return distance32(this.#taken, before);
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      taken: this.#taken,
      doorbell: swap32(this.#context.doorbells[this.word]!),
      stopped: this.stopped,
    };
  }

  /** Finds ring and counter in memory. */
  #attach(): void {
    const { space } = this.#context;
    const { ring, size, counter } = this.#options;
    const rings = space.contiguous(ring, size * DESC, READ);
    const counters = space.find(counter, WRITE);
    if (!rings || !counters?.holds(counter, gve_event_counter.size)) {
      throw this.#fault("memory-gone", { ring, counter });
    }
    this.#view = rings.memory.view;
    this.#ring = rings.offsetOf(ring);
    this.#counterView = counters.memory.view;
    this.#counter = counters.offsetOf(counter);
    this.#listOffsets?.find(space);
  }

  #publish(): void {
    const { counters } = this.#context;
    counters.eventCounterWrites++;
    this.#counterView.setUint32(this.#counter, this.#taken);
    this.block.pending = true;
  }

  /**
   * Takes packets of the page list from the head on, for which nothing is asked. Whatever else comes, and whatever breaks
   * a rule, is left to {@linkcode #packet}. Returns the descriptors of what the wire took.
   */
  #listed(wire: Wire, packets: ListPackets, pending: number): number {
    packets.gather(this.#view, this.#ring, this.#mask, this.#taken & this.#mask, pending);
    const { batch } = packets;
    if (batch.count === 0) return 0;
    const taken = wire.transmitPieces!(batch, this.queue);
    return this.#took(taken, packets.descriptors(taken), packets.bytes(taken));
  }

  /**
   * Takes packets in one segment from the head on, for which nothing is asked, with raw addressing. Whatever else comes,
   * and whatever breaks a rule, is left to {@linkcode #packet}. Returns how many the wire took.
   */
  #batch(wire: Wire, pending: number): number {
    const view = this.#view;
    const ring = this.#ring | 0;
    const mask = this.#mask | 0;
    const batch = this.#frames;
    const { offsets, lengths } = batch;
    const most = Math.min(pending, BATCH) | 0;
    let slot = this.#taken & mask;
    const head = ring + slot * DESC;
    if ((view.getInt32(head + TYPE_FLAGS) & KIND) !== PLAIN) return 0;
    const address = view.getUint32(head + SEG_ADDR) * 4294967296 + view.getUint32(head + SEG_ADDR + 4);
    const { high, shift, first, last, memory } = this.#reader.regionAt(address);
    let sum = 0;
    let count = 0;
    while (count < most) {
      const at = (ring + slot * DESC) | 0;
      const kind = view.getInt32((at + TYPE_FLAGS) | 0);
      const both = view.getInt32((at + LEN) | 0);
      const length = both & MAX_LENGTH;
      if ((kind & KIND) !== PLAIN || both >>> LEN_SHIFT !== length || length === 0) break;
      const offset = (view.getInt32((at + SEG_ADDR + 4) | 0) + shift) | 0;
      if (view.getInt32((at + SEG_ADDR) | 0) !== high || offset < first || length > ((last - offset) | 0)) {
        break;
      }
      offsets[count] = offset;
      lengths[count] = length;
      sum = (sum + length) | 0;
      slot = (slot + 1) & mask;
      count = (count + 1) | 0;
    }
    if (count === 0) return 0;
    batch.bytes = memory.bytes;
    batch.count = count;
    const taken = wire.transmitBatch!(batch, this.queue);
    for (let i = taken; i < count; i++) sum -= lengths[i]!;
    return this.#took(taken, taken, sum);
  }

  /** Counts packets that the wire took as a batch. Returns their descriptors. */
  #took(packets: number, descriptors: number, bytes: number): number {
    // A wire that takes no batch now will hardly take the next one.
    if (packets === 0) this.#batches = false;
    const { counters } = this.#context;
    counters.txPackets += packets;
    counters.txBytes += bytes;
    counters.txDescriptors += descriptors;
    return descriptors;
  }

  /** Takes the packet at the head. Returns its descriptors, or 0 if it has to wait. */
  #packet(wire: Wire, pending: number): number {
    const { counters } = this.#context;
    const view = this.#view;
    const at = this.#ring + (this.#taken & this.#mask) * DESC;
    const typeFlags = view.getUint8(at + TYPE_FLAGS);
    const count = view.getUint8(at + DESC_CNT);
    const length = view.getUint16(at + LEN);
    const segment = view.getUint16(at + SEG_LEN);
    const type = typeFlags & GQI_TYPE_MASK;
    if (type !== STD && type !== TSO) throw this.#fault("descriptor-type", { type_flags: typeFlags });
    if (count === 0 || count > this.#options.size) throw this.#fault("descriptor-count", { desc_cnt: count });
    if (this.#context.nicLimits && count > GQI_NIC_DESCRIPTORS) {
      throw this.#fault("descriptor-limit", { desc_cnt: count, limit: GQI_NIC_DESCRIPTORS });
    }
    if (count > pending) return 0;
    const frame = this.#frame;
    frame.clear();
    this.#gather(frame, view.getUint32(at + SEG_ADDR), view.getUint32(at + SEG_ADDR + 4), segment);
    const mss = count > 1 ? this.#segments(frame, count, type === TSO) : 0;
    if (frame.length !== length) {
      throw this.#fault("length-mismatch", { len: length, segments: frame.length });
    }
    if (type === TSO) {
      if (!this.#segmentOut(wire, frame, segment, mss)) return 0;
    } else {
      let out = frame;
      if ((typeFlags & L4CSUM) !== 0) {
        const start = view.getUint8(at + L4_OFFSET) * 2;
        const field = start + view.getUint8(at + CSUM_OFFSET) * 2;
        if (field + 2 > length) throw this.#fault("checksum-offset", { start, field, len: length });
        this.#context.offload.checksumAt(frame, start, field);
        out = this.#context.offload.frame;
      }
      if (!wire.transmit(out, this.queue)) return 0;
      if (out !== frame) counters.txChecksums++;
    }
    counters.txPackets++;
    counters.txBytes += length;
    counters.txDescriptors += count;
    return count;
  }

  /** Gathers what follows the packet descriptor. Returns the segment size of a TSO packet. */
  #segments(frame: Frame, count: number, tso: boolean): number {
    const view = this.#view;
    let mss = 0;
    for (let i = 1; i < count; i++) {
      const at = this.#ring + ((this.#taken + i) & this.#mask) * DESC;
      const typeFlags = view.getUint8(at + TYPE_FLAGS);
      const type = typeFlags & GQI_TYPE_MASK;
      if (type === MTD && i === 1) {
        this.#checkMetadata(at);
        continue;
      }
      if (type !== SEG) throw this.#fault("descriptor-type", { type_flags: typeFlags, position: i });
      if (tso && mss === 0) mss = view.getUint16(at + MSS);
      this.#gather(
        frame,
        view.getUint32(at + SEG_ADDR),
        view.getUint32(at + SEG_ADDR + 4),
        view.getUint16(at + SEG_LEN),
      );
    }
    return mss;
  }

  /** Metadata carries no data; what is reserved in it is zero. */
  #checkMetadata(at: number): void {
    if (!this.#context.strict) return;
    const reserved0 = this.#view.getUint16(at + RESERVED0);
    const reserved1 = this.#view.getBigUint64(at + RESERVED1);
    if (reserved0 !== 0 || reserved1 !== 0n) {
      throw this.#fault("reserved-bits", { reserved0, reserved1: `0x${reserved1.toString(16)}` });
    }
  }

  /** Adds a segment to the frame: an offset in the page list, or an address. */
  #gather(frame: Frame, high: number, low: number, length: number): void {
    if (length === 0) throw this.#fault("zero-length", { seg_len: 0 });
    const address = high * 4294967296 + low;
    const { list } = this.#options;
    if (list === undefined) {
      if (!this.#reader.gather(frame, address, length)) throw this.#fault("address", { address, length });
      return;
    }
    if (address > this.#listBytes - length) {
      throw this.#fault("outside-page-list", { offset: address, length, list: this.#listBytes });
    }
    const listOffsets = this.#listOffsets!;
    const at = high === 0 ? listOffsets.at(low, length) : -1;
    if (at >= 0) {
      frame.push(listOffsets.memory.bytes, at, length);
      return;
    }
    for (let offset = address; length > 0;) {
      const start = list.address(offset);
      let part = Math.min(length, PAGE - (offset & (PAGE - 1)));
      // Pages that follow one another in memory make one piece.
      while (part < length && list.address(offset + part) === start + part) {
        part = Math.min(length, part + PAGE);
      }
      if (!this.#reader.gather(frame, start, part)) {
        throw this.#fault("address", { address: start, length: part });
      }
      offset += part;
      length -= part;
    }
  }

  /** Sends a TSO packet out in segments. False if the wire does not take them all now. */
  #segmentOut(wire: Wire, frame: Frame, header: number, mss: number): boolean {
    const { offload, counters } = this.#context;
    if (frame.length === header) throw this.#fault("segment-missing", { len: frame.length });
    if (mss === 0 || !offload.canSegment(frame, header)) throw this.#fault("tso", { mss, header });
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

  #fault(code: DeviceFault, values: FaultValues): Error {
    this.stopped = true;
    this.#context.counters.faults++;
    return deviceFault(`tx${this.queue}`, code, this.#taken, values);
  }
}
