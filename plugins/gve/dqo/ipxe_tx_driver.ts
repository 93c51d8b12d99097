/**
 * DQO transmit queue as iPXE has it: packets are copied to buffers that are taken in turn, nothing is asked of the
 * device, and a tag says where a packet ends and how many descriptors it has.
 *
 * @module
 */
import type { FrameBatch } from "../../../core/frame_batch.ts";
import { distance32 } from "../../../core/index.ts";
import { FULL, OVERSIZE, RUNT } from "../../../core/plugin.ts";
import { DQO_COMPLETION, DQO_DTYPE, IPXE_BUFFER, NIC_LIMITS } from "../constants.ts";
import { type DriverFault, driverFault } from "../faults.ts";
import { gve_dqo_tx_tag, gve_tx_compl_desc, gve_tx_pkt_desc_dqo } from "../layout_dqo.ts";
import type { DriverContext, TxQueuePlace } from "../queue_context.ts";
import type { TransmitRequest } from "../transmit_request.ts";

const DESC = gve_tx_pkt_desc_dqo.size;
const BUF_ADDR = gve_tx_pkt_desc_dqo.offsetOf("buf_addr");
const DTYPE = gve_tx_pkt_desc_dqo.offsetOf("dtype");
const END_OF_PACKET = gve_tx_pkt_desc_dqo.maskOf("end_of_packet");
const COMPL_TAG = gve_tx_pkt_desc_dqo.offsetOf("compl_tag");
const BUF_SIZE = gve_tx_pkt_desc_dqo.offsetOf("buf_size");
const TAG_ID_MASK = gve_dqo_tx_tag.maskOf("id");
const TAG_COUNT_SHIFT = gve_dqo_tx_tag.offsetOf("count") * 8;
const COMPLETION = gve_tx_compl_desc.size;
const COMPLETION_TAG = gve_tx_compl_desc.offsetOf("completion_tag");
const COMPLETION_ID = gve_tx_compl_desc.offsetOf("id");
const ID_MASK = gve_tx_compl_desc.maskOf("id");
const TYPE_MASK = gve_tx_compl_desc.maskOf("type");
const TYPE_SHIFT = gve_tx_compl_desc.shiftOf("type");
const GENERATION_SHIFT = gve_tx_compl_desc.shiftOf("generation");
const { PACKET } = DQO_DTYPE;
/** The one bit of a completion's type that iPXE looks at: it is set in PACKET and REINJECTION, not in MISS. */
const DONE = DQO_COMPLETION.PACKET;
/** Most bytes of a frame. */
const MAX_LENGTH = 0xffff;
const UPPER_HALF = 2 ** 32;
/** Tags have a byte for the buffer. */
const MAX_BUFFERS = TAG_ID_MASK + 1;

/** What such a queue needs beside its place. */
export interface IpxeDqoTxOptions {
  /** Offset of the completion ring in the driver's memory; it has as many entries as the descriptor ring. */
  readonly completions: number;
  /** Offset of the first buffer in the driver's memory: buffers follow one another. */
  readonly buffers: number;
  /** The device's address of the first buffer. */
  readonly address: number;
}

/** How many buffers such a queue uses, of so many: a power of two, and fewer than the ring has entries. */
export function ipxeBuffers(available: number, ring: number): number {
  return 2 ** Math.floor(Math.log2(Math.min(available, ring / 2, MAX_BUFFERS)));
}

/** The queue. Indices are free-running. */
export class IpxeDqoTxDriver {
  readonly #context: DriverContext;
  readonly #place: TxQueuePlace;
  readonly #options: IpxeDqoTxOptions;
  readonly #mask: number;
  readonly #count: number;
  /** Buffers in the order in which they are used: those given back stand where the next ones are taken. */
  readonly #order: Uint8Array;
  /** Per buffer: the one before it in its packet. */
  readonly #previous: Uint8Array;
  /** Per buffer: descriptors of the packet that ends there and is with the device, or 0. */
  readonly #packets: Uint8Array;
  #produced = 0;
  #consumed = 0;
  #completed = 0;
  #rung = 0;
  #stopped = false;

  /** Starts with empty rings and `count` buffers, as many as {@linkcode ipxeBuffers} says. */
  constructor(context: DriverContext, place: TxQueuePlace, count: number, options: IpxeDqoTxOptions) {
    this.#context = context;
    this.#place = place;
    this.#options = options;
    this.#mask = place.size - 1;
    this.#count = count;
    this.#order = Uint8Array.from({ length: count }, (_, i) => i);
    this.#previous = new Uint8Array(count);
    this.#packets = new Uint8Array(count);
  }

  /** Index in the completion ring behind the last completion handled. */
  get completed(): number {
    return this.#completed & this.#mask;
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
    const { counters, nicLimits } = this.#context;
    if (length === 0 || (nicLimits && length < NIC_LIMITS.minimum)) return RUNT;
    const count = Math.ceil(length / IPXE_BUFFER);
    if (length > (nicLimits ? NIC_LIMITS.maximum : MAX_LENGTH) || count > this.#count) return OVERSIZE;
    if (distance32(this.#produced, this.#consumed) + count > this.#count) {
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
    counters.txPacketDescriptors += count;
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
    this.#context.bar2.write(this.#place.doorbell, 4, this.#produced & this.#mask);
  }

  /**
   * Handles completions.
   *
   * @returns How many.
   * @throws {RingFault} If a completion breaks a rule (strict).
   */
  clean(): number {
    const { memory: { view }, counters, strict } = this.#context;
    const size = this.#place.size;
    let moved = 0;
    // One lap per call is as much as can be outstanding.
    for (; moved < size; moved++) {
      const at = this.#options.completions + (this.#completed & this.#mask) * COMPLETION;
      const word = view.getUint16(at + COMPLETION_ID, true);
      const lap = (this.#completed & size) === 0 ? 1 : 0;
      if (word >>> GENERATION_SHIFT !== lap) break;
      if (strict && (word & ID_MASK) !== this.#place.queue) {
        throw this.#fault("completion-queue", { id: word & ID_MASK });
      }
      const type = (word & TYPE_MASK) >>> TYPE_SHIFT;
      if ((type & DONE) !== 0) this.#finish(type, view.getUint16(at + COMPLETION_TAG, true));
      else if (type === DQO_COMPLETION.MISS) counters.txMisses++;
      else if (type === DQO_COMPLETION.DESCRIPTOR) counters.txDescriptorCompletions++;
      else if (strict) throw this.#fault("completion-type", { type });
      else counters.txIgnored++;
      this.#completed = (this.#completed + 1) >>> 0;
    }
    return moved;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      posted: this.#produced,
      released: this.#consumed,
      doorbell: this.#rung & this.#mask,
      completion_head: this.completed,
      buffers: this.#count,
    };
  }

  /** Fills descriptors and buffers. What is reserved is zero since the ring was. */
  #copy(request: TransmitRequest, count: number): void {
    const { view } = this.#context.memory;
    let previous = 0;
    for (let i = 0; i < count; i++) {
      const buffer = this.#order[this.#produced & (this.#count - 1)]!;
      const position = i * IPXE_BUFFER;
      const part = Math.min(IPXE_BUFFER, request.length - position);
      const last = i === count - 1;
      request.copyTo(this.#context.memory, this.#options.buffers + buffer * IPXE_BUFFER, position, part);
      const at = this.#place.ring + (this.#produced & this.#mask) * DESC;
      const start = this.#options.address + buffer * IPXE_BUFFER;
      const high = Math.floor(start / UPPER_HALF);
      view.setUint32(at + BUF_ADDR, start - high * UPPER_HALF, true);
      view.setUint32(at + BUF_ADDR + 4, high, true);
      view.setUint8(at + DTYPE, last ? PACKET | END_OF_PACKET : PACKET);
      view.setUint16(at + COMPL_TAG, last ? buffer | (count << TAG_COUNT_SHIFT) : 0, true);
      view.setUint16(at + BUF_SIZE, part, true);
      this.#previous[buffer] = previous;
      this.#packets[buffer] = last ? count : 0;
      previous = buffer;
      this.#produced = (this.#produced + 1) >>> 0;
    }
  }

  /** Gives a packet's buffers back, the last one first. */
  #finish(type: number, tag: number): void {
    const { counters, strict } = this.#context;
    let buffer = tag & TAG_ID_MASK;
    const count = tag >>> TAG_COUNT_SHIFT;
    if (count === 0 || this.#packets[buffer] !== count) {
      if (strict) throw this.#fault(buffer < this.#count ? "tag-state" : "tag-range", { tag, type });
      counters.txIgnored++;
      return;
    }
    this.#packets[buffer] = 0;
    for (let i = 0; i < count; i++) {
      this.#order[this.#consumed & (this.#count - 1)] = buffer;
      this.#consumed = (this.#consumed + 1) >>> 0;
      buffer = this.#previous[buffer]!;
    }
    if (type === DQO_COMPLETION.REINJECTION) counters.txReinjections++;
    else counters.txPacketCompletions++;
  }

  #fault(code: DriverFault, values: Record<string, number>): Error {
    return driverFault(`tx${this.#place.queue}`, code, this.completed, values);
  }
}
