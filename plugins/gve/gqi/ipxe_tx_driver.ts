/**
 * GQI transmit queue as iPXE has it: buffers in strict rotation, one descriptor each, nothing asked of the device.
 *
 * @module
 */
import type { FrameBatch } from "../../../core/frame_batch.ts";
import { distance32 } from "../../../core/index.ts";
import { FULL, OVERSIZE, RUNT } from "../../../core/plugin.ts";
import { GQI_NIC_DESCRIPTORS, GQI_TYPE, IPXE_BUFFER } from "../constants.ts";
import { driverFault } from "../faults.ts";
import { gve_tx_pkt_desc } from "../layout_gqi.ts";
import type { DriverContext, TxQueuePlace } from "../queue_context.ts";
import { swap32 } from "../registers.ts";
import type { TransmitRequest } from "../transmit_request.ts";

const DESC = gve_tx_pkt_desc.size;
const TYPE_FLAGS = gve_tx_pkt_desc.offsetOf("type_flags");
const DESC_CNT = gve_tx_pkt_desc.offsetOf("desc_cnt");
const LEN = gve_tx_pkt_desc.offsetOf("len");
const SEG_LEN = gve_tx_pkt_desc.offsetOf("seg_len");
const SEG_ADDR = gve_tx_pkt_desc.offsetOf("seg_addr");
const { STD, SEG } = GQI_TYPE;
/** Most bytes that the length fields say. */
const MAX_LENGTH = 0xffff;

/** What such a queue needs beside its place. */
export interface IpxeTxOptions {
  /** Offset of the first buffer in the driver's memory: buffers follow one another. */
  readonly buffers: number;
  /** What a descriptor calls the first buffer: 0 in a page list, or its address. */
  readonly start: number;
  /** How many there are: a power of two, at most the entries of the ring. */
  readonly count: number;
  /** Offset of the event counter in the driver's memory. */
  readonly counter: number;
}

/** The queue. All indices are free-running; descriptor and buffer have the same one. */
export class IpxeTxDriver {
  readonly #context: DriverContext;
  readonly #place: TxQueuePlace;
  readonly #options: IpxeTxOptions;
  readonly #mask: number;
  /** Per descriptor: 1 if a packet ends there. */
  readonly #ends: Uint8Array;
  #produced = 0;
  #consumed = 0;
  #rung = 0;
  #stopped = false;

  /** Writes the addresses of all descriptors, once and for all. */
  constructor(context: DriverContext, place: TxQueuePlace, options: IpxeTxOptions) {
    this.#context = context;
    this.#place = place;
    this.#options = options;
    this.#mask = place.size - 1;
    this.#ends = new Uint8Array(place.size);
    const { view } = context.memory;
    for (let slot = 0; slot < place.size; slot++) {
      const address = options.start + (slot & (options.count - 1)) * IPXE_BUFFER;
      view.setBigUint64(place.ring + slot * DESC + SEG_ADDR, BigInt(address));
    }
  }

  /** Descriptors posted so far. */
  get posted(): number {
    return this.#produced;
  }

  /** Descriptors completed so far. */
  get completed(): number {
    return this.#consumed;
  }

  /**
   * Copies a packet into buffers. A flow hash is not passed on.
   *
   * @returns The queue's number, FULL, OVERSIZE or RUNT.
   * @throws {RangeError} If the device is asked for something, which this driver does not know how to do.
   */
  transmit(request: TransmitRequest): number {
    const { length } = request;
    if (request.checksum || request.segmentSize > 0) {
      throw new RangeError("Cannot ask the device for checksums or segments as the driver is iPXE's");
    }
    if (length === 0) return RUNT;
    const count = Math.ceil(length / IPXE_BUFFER);
    const limit = this.#context.nicLimits ? GQI_NIC_DESCRIPTORS : this.#options.count;
    if (length > MAX_LENGTH || count > limit || count > this.#options.count) return OVERSIZE;
    const { counters } = this.#context;
    if (distance32(this.#produced, this.#consumed) + count > this.#options.count) {
      if (!this.#stopped) {
        this.#stopped = true;
        counters.txStops++;
        this.flush();
      }
      return FULL;
    }
    this.#copy(request, count);
    if (this.#stopped) {
      this.#stopped = false;
      counters.txWakes++;
    }
    counters.txPackets++;
    counters.txBytes += length;
    counters.txBounceBytes += length;
    counters.txPacketDescriptors++;
    counters.txSegmentDescriptors += count - 1;
    return this.#place.queue;
  }

  /** Takes no frame: {@linkcode transmit} takes them one by one. */
  transmitBatch(_frames: FrameBatch, from: number, _longest: number): number {
    return from;
  }

  /** Rings the doorbell if there is something new. */
  flush(): void {
    if (this.#rung === this.#produced) return;
    this.#rung = this.#produced;
    this.#context.counters.txDoorbells++;
    this.#context.bar2.write(this.#place.doorbell, 4, swap32(this.#produced));
  }

  /**
   * Takes buffers back, as the event counter says.
   *
   * @returns How many.
   * @throws {RingFault} If the counter passes what was posted (strict).
   */
  clean(): number {
    const { counters, memory, strict } = this.#context;
    counters.txEventCounterReads++;
    const counter = memory.view.getUint32(this.#options.counter);
    const moved = distance32(counter, this.#consumed);
    if (strict && moved > distance32(this.#produced, this.#consumed)) {
      throw driverFault(`tx${this.#place.queue}`, "event-counter", this.#consumed, {
        counter,
        posted: this.#produced,
      });
    }
    // A counter that ran away ends each packet once.
    for (let i = 0; i < moved && i <= this.#mask; i++) {
      const slot = (this.#consumed + i) & this.#mask;
      counters.txPacketCompletions += this.#ends[slot]!;
      this.#ends[slot] = 0;
    }
    this.#consumed = counter;
    return moved;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      posted: this.#produced,
      completed: this.#consumed,
      doorbell: this.#rung,
      buffers: this.#options.count,
    };
  }

  /** Fills descriptors and buffers. What a descriptor does not use keeps what the slot held. */
  #copy(request: TransmitRequest, count: number): void {
    const { view } = this.#context.memory;
    const { length } = request;
    for (let i = 0; i < count; i++) {
      const slot = this.#produced & this.#mask;
      const at = this.#place.ring + slot * DESC;
      const position = i * IPXE_BUFFER;
      const part = Math.min(IPXE_BUFFER, length - position);
      request.copyTo(
        this.#context.memory,
        this.#options.buffers + (slot & (this.#options.count - 1)) * IPXE_BUFFER,
        position,
        part,
      );
      view.setUint8(at + TYPE_FLAGS, i === 0 ? STD : SEG);
      view.setUint8(at + DESC_CNT, i === 0 ? count : 0);
      view.setUint16(at + LEN, i === 0 ? length : 0);
      view.setUint16(at + SEG_LEN, part);
      this.#ends[slot] = i === count - 1 ? 1 : 0;
      this.#produced = (this.#produced + 1) >>> 0;
    }
  }
}
