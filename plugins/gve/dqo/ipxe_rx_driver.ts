/**
 * DQO receive queue as iPXE has it: a few buffers, posted again in the order in which they came back, whose frames are
 * copied out.
 *
 * @module
 */
import { distance32 } from "../../../core/index.ts";
import type { FrameSink } from "../../../core/plugin.ts";
import { type DriverFault, driverFault } from "../faults.ts";
import { FrameBuilder, LONGEST_FRAME } from "../frame_builder.ts";
import { gve_rx_compl_desc_dqo, gve_rx_desc_dqo } from "../layout_dqo.ts";
import type { DriverContext, RxQueuePlace } from "../queue_context.ts";

const DESC = gve_rx_desc_dqo.size;
const DESC_BUF_ID = gve_rx_desc_dqo.offsetOf("buf_id");
const DESC_ADDR = gve_rx_desc_dqo.offsetOf("buf_addr");
const COMPLETION = gve_rx_compl_desc_dqo.size;
const ERROR = gve_rx_compl_desc_dqo.offsetOf("rx_error");
const RX_ERROR = gve_rx_compl_desc_dqo.maskOf("rx_error");
const LENGTH = gve_rx_compl_desc_dqo.offsetOf("packet_len");
const PACKET_LEN = gve_rx_compl_desc_dqo.maskOf("packet_len");
const GENERATION = gve_rx_compl_desc_dqo.maskOf("generation");
const STATUS = gve_rx_compl_desc_dqo.offsetOf("end_of_packet");
const END_OF_PACKET = gve_rx_compl_desc_dqo.maskOf("end_of_packet");
const BUF_ID = gve_rx_compl_desc_dqo.offsetOf("buf_id");
const UPPER_HALF = 2 ** 32;

/** What such a queue needs beside its place. */
export interface IpxeDqoRxOptions {
  /** Offset of the first buffer in the driver's memory: buffers follow one another. */
  readonly buffers: number;
  /** The device's address of the first buffer. */
  readonly address: number;
  /** How many there are: a power of two, at most 256, and fewer than the ring has entries. */
  readonly count: number;
}

/** The queue. Indices are free-running, and so is the doorbell. */
export class IpxeDqoRxDriver {
  /** DQO completions have no sequence number. */
  readonly sequence = 0;
  readonly #context: DriverContext;
  readonly #place: RxQueuePlace;
  readonly #options: IpxeDqoRxOptions;
  readonly #mask: number;
  readonly #frame: FrameBuilder;
  /** Buffers in the order in which they are used: those given back stand where the next ones are taken. */
  readonly #order: Uint8Array;
  /** Per buffer: whether it is posted. */
  readonly #posted: Uint8Array;
  /** Buffers of the present packet. */
  readonly #held: Uint8Array;
  #heldCount = 0;
  #produced = 0;
  #consumed = 0;
  #completed = 0;
  /** Whether the rest of a packet with an error is to be passed over (strict). */
  #dropping = false;

  /** Starts with empty rings; {@linkcode post} fills the buffer ring. */
  constructor(context: DriverContext, place: RxQueuePlace, options: IpxeDqoRxOptions) {
    this.#context = context;
    this.#place = place;
    this.#options = options;
    this.#mask = place.size - 1;
    this.#frame = new FrameBuilder(context.memory.bytes);
    this.#order = Uint8Array.from({ length: options.count }, (_, i) => i);
    this.#posted = new Uint8Array(options.count);
    this.#held = new Uint8Array(options.count);
    context.counters.rxAllocated += options.count;
  }

  /**
   * Posts all buffers that the device does not have, and rings the doorbell if there were any. What is reserved in the
   * descriptors is zero since the ring was.
   *
   * @returns How many.
   */
  post(): number {
    const { memory: { view }, counters, bar2 } = this.#context;
    const { data, doorbell, bufferSize } = this.#place;
    const { address, count } = this.#options;
    const end = (this.#consumed + count) >>> 0;
    const posted = distance32(end, this.#produced);
    if (posted === 0) return 0;
    while (this.#produced !== end) {
      const buffer = this.#order[this.#produced & (count - 1)]!;
      const at = data + (this.#produced & this.#mask) * DESC;
      const start = address + buffer * bufferSize;
      const high = Math.floor(start / UPPER_HALF);
      view.setUint8(at + DESC_BUF_ID, buffer);
      view.setUint32(at + DESC_ADDR, start - high * UPPER_HALF, true);
      view.setUint32(at + DESC_ADDR + 4, high, true);
      this.#posted[buffer] = 1;
      this.#produced = (this.#produced + 1) >>> 0;
    }
    counters.rxPosted += posted;
    counters.rxDoorbells++;
    bar2.write(doorbell, 4, end);
    return posted;
  }

  /**
   * Copies out what has arrived, and posts the buffers of whole packets again.
   *
   * @returns How many completions were handled.
   * @throws {RingFault} If the device breaks a rule (strict).
   */
  receive(sink: FrameSink): number {
    const { memory: { view }, counters } = this.#context;
    const { ring, size } = this.#place;
    let moved = 0;
    // As many as were posted: a hostile device could go on for ever.
    for (; moved < this.#options.count; moved++) {
      const at = ring + (this.#completed & this.#mask) * COMPLETION;
      const length = view.getUint16(at + LENGTH, true);
      if (((length & GENERATION) !== 0) !== ((this.#completed & size) === 0)) break;
      const last = (view.getUint8(at + STATUS) & END_OF_PACKET) !== 0;
      const error = (view.getUint8(at + ERROR) & RX_ERROR) !== 0;
      const good = this.#buffer(view.getUint16(at + BUF_ID, true), length & PACKET_LEN, error);
      this.#completed = (this.#completed + 1) >>> 0;
      if (good && !last) continue;
      if (good) this.#deliver(sink);
      // iPXE takes what follows a bad buffer for another packet.
      this.#dropping = !good && !last && this.#context.strict;
      this.#release();
    }
    counters.rxDescriptors += moved;
    counters.rxRecycled += this.post();
    return moved;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      posted: this.#produced,
      released: this.#consumed,
      completion_head: this.#completed & this.#mask,
      buffers: this.#options.count,
    };
  }

  /** Takes a buffer's data into the frame. False if there was an error: then the frame so far is dropped. */
  #buffer(id: number, length: number, error: boolean): boolean {
    const { memory, counters, strict } = this.#context;
    const { bufferSize } = this.#place;
    const { buffers, count } = this.#options;
    const frame = this.#frame;
    const known = this.#posted[id] === 1;
    if (strict) {
      if (!known) {
        throw this.#fault(id < count ? "buffer-not-posted" : "buffer-id", { buf_id: id, buffers: count });
      }
      if (!error && (length > bufferSize || length === 0)) {
        throw this.#fault("packet-length", { packet_len: length, buffer: bufferSize });
      }
    }
    if (known) {
      this.#posted[id] = 0;
      this.#held[this.#heldCount++] = id;
    }
    if (error || !known || length === 0 || this.#dropping) {
      if (!this.#dropping) counters.rxErrors++;
      counters.rxDroppedFragments += frame.pieces + 1;
      frame.clear();
      return false;
    }
    const start = buffers + id * bufferSize;
    if (frame.length + length > LONGEST_FRAME || start + length > memory.size) {
      throw this.#fault("frame-too-long", { length: frame.length + length });
    }
    frame.push(start, length);
    return true;
  }

  /** The buffers of the packet are to be posted again. */
  #release(): void {
    for (let i = 0; i < this.#heldCount; i++) {
      this.#order[this.#consumed & (this.#options.count - 1)] = this.#held[i]!;
      this.#consumed = (this.#consumed + 1) >>> 0;
    }
    this.#heldCount = 0;
  }

  #deliver(sink: FrameSink): void {
    const { counters } = this.#context;
    counters.rxPackets++;
    counters.rxBytes += this.#frame.length;
    counters.rxBounceBytes += this.#frame.length;
    this.#frame.deliver(sink, this.#place.queue);
  }

  #fault(code: DriverFault, values: Record<string, number>): Error {
    return driverFault(`rx${this.#place.queue}`, code, this.#completed & this.#mask, values);
  }
}
