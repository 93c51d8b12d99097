/**
 * GQI receive queue as iPXE has it: a few buffers in strict rotation over a ring whose slots never change.
 *
 * @module
 */
import { distance32 } from "../../../core/index.ts";
import type { FrameSink } from "../../../core/plugin.ts";
import { GQI_RX_PAD } from "../constants.ts";
import { driverFault } from "../faults.ts";
import { FrameBuilder } from "../frame_builder.ts";
import { gve_rx_data_slot, gve_rx_desc, gve_rx_flags_seq } from "../layout_gqi.ts";
import type { DriverContext, RxQueuePlace } from "../queue_context.ts";
import { swap32 } from "../registers.ts";

const DESC = gve_rx_desc.size;
const LEN = gve_rx_desc.offsetOf("len");
const FLAGS_SEQ = gve_rx_desc.offsetOf("flags_seq");
const SEQUENCE = gve_rx_flags_seq.maskOf("seq");
const ERR = gve_rx_flags_seq.maskOf("err");
const PKT_CONT = gve_rx_flags_seq.maskOf("pkt_cont");
const SLOT = gve_rx_data_slot.size;
const LAST_SEQUENCE = 7;

/** What such a queue needs beside its place. */
export interface IpxeRxOptions {
  /** Offset of the first buffer in the driver's memory: buffers follow one another. */
  readonly buffers: number;
  /** What a slot calls the first buffer: 0 in a page list, or its address. */
  readonly start: number;
  /** How many there are: a power of two, at most the entries of the ring. */
  readonly count: number;
}

/** The queue. All indices are free-running; slot and buffer have the same one. */
export class IpxeRxDriver {
  readonly #context: DriverContext;
  readonly #place: RxQueuePlace;
  readonly #options: IpxeRxOptions;
  readonly #mask: number;
  readonly #frame: FrameBuilder;
  #consumed = 0;
  #rung = 0;
  #sequence = 1;
  /** Whether the rest of a packet with an error is to be passed over (strict). */
  #dropping = false;

  /** Writes all slots, once and for all; the doorbell waits for {@linkcode flush}. */
  constructor(context: DriverContext, place: RxQueuePlace, options: IpxeRxOptions) {
    this.#context = context;
    this.#place = place;
    this.#options = options;
    this.#mask = place.size - 1;
    this.#frame = new FrameBuilder(context.memory.bytes);
    const { view } = context.memory;
    for (let slot = 0; slot < place.size; slot++) {
      const address = options.start + (slot & (options.count - 1)) * place.bufferSize;
      view.setBigUint64(place.data + slot * SLOT, BigInt(address));
    }
    context.counters.rxPosted += options.count;
    context.counters.rxAllocated += options.count;
  }

  /** Slots posted so far. */
  get posted(): number {
    return (this.#consumed + this.#options.count) >>> 0;
  }

  /** Sequence number of the next descriptor. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Rings the doorbell if the device does not know of all buffers. */
  flush(): void {
    const { posted } = this;
    if (this.#rung === posted) return;
    this.#rung = posted;
    this.#context.counters.rxDoorbells++;
    this.#context.bar2.write(this.#place.doorbell, 4, swap32(posted));
  }

  /**
   * Copies out what has arrived in whole; the buffers are the device's again at once.
   *
   * @returns How many descriptors were handled.
   * @throws {RingFault} If the device breaks a rule (strict).
   */
  receive(sink: FrameSink): number {
    const { memory: { view }, counters, strict } = this.#context;
    const { ring } = this.#place;
    const { count } = this.#options;
    const first = this.#consumed;
    let next = first;
    let sequence = this.#sequence;
    // A hostile device could go on for ever: one round of the buffers per call is as much as was posted.
    while (distance32(next, first) < count) {
      const at = ring + (next & this.#mask) * DESC;
      const flags = view.getUint16(at + FLAGS_SEQ);
      if ((flags & SEQUENCE) !== sequence) break;
      const more = (flags & PKT_CONT) !== 0;
      const error = (flags & ERR) !== 0;
      this.#buffer(next, view.getUint16(at + LEN), error);
      sequence = sequence === LAST_SEQUENCE ? 1 : sequence + 1;
      next = (next + 1) >>> 0;
      if (more && !error) continue;
      if (this.#frame.pieces > 0) this.#deliver(sink);
      if (!more) this.#dropping = false;
      this.#consumed = next;
      this.#sequence = sequence;
    }
    if (this.#frame.pieces > 0) {
      if (strict) {
        throw driverFault(`rx${this.#place.queue}`, "partial-packet", next, { pieces: this.#frame.pieces });
      }
      // iPXE looks again next time.
      this.#frame.clear();
    }
    const moved = distance32(this.#consumed, first);
    counters.rxDescriptors += moved;
    counters.rxPosted += moved;
    counters.rxRecycled += moved;
    this.flush();
    return moved;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      posted: this.posted,
      handled: this.#consumed,
      doorbell: this.#rung,
      sequence: this.#sequence,
      buffers: this.#options.count,
    };
  }

  /** Takes a buffer's data into the frame, or drops the frame so far if there was an error. */
  #buffer(index: number, length: number, error: boolean): void {
    const { memory, counters, strict } = this.#context;
    const { bufferSize, queue } = this.#place;
    const frame = this.#frame;
    const pad = frame.pieces === 0 && !this.#dropping ? GQI_RX_PAD : 0;
    if (strict && (length > bufferSize || length <= pad)) {
      throw driverFault(`rx${queue}`, "packet-length", index, { length, buffer: bufferSize });
    }
    if (error || this.#dropping) {
      if (!this.#dropping) counters.rxErrors++;
      counters.rxDroppedFragments += frame.pieces + 1;
      frame.clear();
      // iPXE takes what follows for another packet.
      this.#dropping = strict;
      return;
    }
    const start = this.#options.buffers + (index & (this.#options.count - 1)) * bufferSize + pad;
    const size = Math.max(length - pad, 0);
    if (start + size > memory.size) {
      throw driverFault(`rx${queue}`, "packet-length", index, { length, buffer: bufferSize });
    }
    frame.push(start, size);
  }

  #deliver(sink: FrameSink): void {
    const { counters } = this.#context;
    counters.rxPackets++;
    counters.rxBytes += this.#frame.length;
    counters.rxBounceBytes += this.#frame.length;
    this.#frame.deliver(sink, this.#place.queue);
  }
}
