/**
 * GQI receive queue, the driver's side: slots with half a page each.
 *
 * @module
 */
import { BATCH_SIZE, FrameBatch } from "../../../core/frame_batch.ts";
import { distance32 } from "../../../core/index.ts";
import type { FrameSink } from "../../../core/plugin.ts";
import { GQI_RX_PAD } from "../constants.ts";
import { driverFault } from "../faults.ts";
import { FrameBuilder, LONGEST_FRAME } from "../frame_builder.ts";
import { gve_rx_desc, gve_rx_flags_seq } from "../layout_gqi.ts";
import type { PageHolder, PagePool } from "../pages.ts";
import type { DriverContext, RxQueuePlace } from "../queue_context.ts";
import { swap32 } from "../registers.ts";
import { RxSlots } from "./rx_slots.ts";

const DESC = gve_rx_desc.size;
const LEN = gve_rx_desc.offsetOf("len");
const FLAGS_SEQ = gve_rx_desc.offsetOf("flags_seq");
const SEQUENCE = gve_rx_flags_seq.maskOf("seq");
const ERR = gve_rx_flags_seq.maskOf("err");
const PKT_CONT = gve_rx_flags_seq.maskOf("pkt_cont");
/** In the word that holds the length and the flags, behind which there is nothing: where the length is. */
const LEN_SHIFT = (FLAGS_SEQ - LEN) * 8;
const FLAGS_MASK = (1 << LEN_SHIFT) - 1;
/** A descriptor whose flags are but its sequence number in these bits is a frame in one buffer. */
const NOT_PLAIN = SEQUENCE | ERR | PKT_CONT;
const LAST_SEQUENCE = 7;
// Bindings of this module, unlike imported ones, are constants for the engine.
const PAD = GQI_RX_PAD;
const BATCH = BATCH_SIZE;

/** What a GQI receive queue needs beside its place. */
export interface GqiRxOptions {
  /** Where pages come from. */
  readonly pool: PagePool;
  /** Pages of the page list in order, one for each slot; without one slots hold addresses. */
  readonly pageList: readonly number[] | undefined;
  /** Who gets the pages. */
  readonly stack: PageHolder;
  /** Frames of one buffer and at most so many bytes are copied. */
  readonly copybreak: number;
}

/** The queue. All indices are free-running. */
export class GqiRxDriver {
  readonly #context: DriverContext;
  readonly #place: RxQueuePlace;
  readonly #pool: PagePool;
  readonly #stack: PageHolder;
  readonly #copybreak: number;
  readonly #mask: number;
  readonly #name: string;
  readonly #slots: RxSlots;
  readonly #frame: FrameBuilder;
  /** Frames in one buffer each, not yet handed over. */
  readonly #batch: FrameBatch;
  /** Slots posted. */
  #fill = 0;
  /** Descriptors handled. */
  #count = 0;
  #rung = 0;
  #sequence = 1;

  /**
   * Posts all slots; the doorbell waits for {@linkcode flush}.
   *
   * @throws {RangeError} If there are too few pages.
   */
  constructor(context: DriverContext, place: RxQueuePlace, options: GqiRxOptions) {
    this.#context = context;
    this.#place = place;
    this.#pool = options.pool;
    this.#stack = options.stack;
    this.#copybreak = options.copybreak;
    this.#mask = place.size - 1;
    this.#name = `rx${place.queue}`;
    this.#frame = new FrameBuilder(context.memory.bytes);
    this.#batch = new FrameBatch(context.memory);
    this.#batch.bytes = context.memory.bytes;
    this.#slots = new RxSlots(context, place, options.pool, options.pageList);
    this.#fill = place.size;
  }

  /** Slots posted so far. */
  get posted(): number {
    return this.#fill;
  }

  /** Sequence number of the next descriptor. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Rings the doorbell if there are new slots. */
  flush(): void {
    if (this.#rung === this.#fill) return;
    this.#rung = this.#fill;
    this.#context.counters.rxDoorbells++;
    this.#context.bar2.write(this.#place.doorbell, 4, swap32(this.#fill));
  }

  /**
   * Hands over what has arrived and posts slots again.
   *
   * @returns How many descriptors were handled, or, if none, how many slots were posted.
   * @throws {RingFault} If the device breaks a rule (strict).
   */
  receive(sink: FrameSink): number {
    const { memory: { view }, counters, strict } = this.#context;
    const { ring, bufferSize } = this.#place;
    const batches = sink.batch !== undefined;
    let moved = 0;
    let first = true;
    let dropping = false;
    // A hostile device could go on for ever: one lap per call is as much as was posted.
    while (moved <= this.#mask) {
      if (batches && first) {
        const plain = this.#plain(sink, this.#mask + 1 - moved);
        moved += plain;
        if (plain > 0) continue;
      }
      const slot = this.#count & this.#mask;
      const word = view.getInt32(ring + slot * DESC + LEN);
      const flags = word & FLAGS_MASK;
      if ((flags & SEQUENCE) !== this.#sequence) break;
      if (strict && distance32(this.#fill, this.#count) === 0) {
        throw driverFault(this.#name, "sequence", this.#count, { posted: this.#fill });
      }
      const length = word >>> LEN_SHIFT;
      const more = (flags & PKT_CONT) !== 0;
      const pad = first ? PAD : 0;
      if (strict && (length > bufferSize || length <= pad)) {
        throw driverFault(this.#name, "packet-length", this.#count, { length, buffer: bufferSize });
      }
      if (!dropping && (flags & ERR || length > bufferSize)) {
        if ((flags & ERR) === 0) counters.rxResetsWanted++;
        counters.rxErrors++;
        dropping = true;
        this.#abort();
      }
      if (dropping) counters.rxDroppedFragments++;
      else this.#fragment(slot, pad, (length - pad) & 0xffff, first && !more);
      this.#sequence = this.#sequence === LAST_SEQUENCE ? 1 : this.#sequence + 1;
      this.#count = (this.#count + 1) >>> 0;
      moved++;
      first = !more;
      if (more) continue;
      if (!dropping) this.#deliver(sink);
      dropping = false;
    }
    if (!first) {
      if (strict) {
        throw driverFault(this.#name, "partial-packet", this.#count, { pieces: this.#frame.pieces });
      }
      counters.rxResetsWanted++;
      this.#abort();
    }
    if (moved > 0) {
      counters.rxDescriptors += moved;
      this.#refill(moved);
      return moved;
    }
    if (this.#slots.listed) return 0;
    // An earlier refill may have found no pages.
    const before = this.#fill;
    this.#refill(0);
    return distance32(this.#fill, before);
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return { posted: this.#fill, handled: this.#count, doorbell: this.#rung, sequence: this.#sequence };
  }

  /**
   * Takes frames in one buffer each, and hands them over; at most `limit`. Whatever else comes, and whatever breaks a
   * rule, is left to {@linkcode receive}. Buffers are not posted again before that, so what was gathered stays.
   *
   * @returns How many.
   */
  #plain(sink: FrameSink, limit: number): number {
    const { memory: { view }, counters, strict, syncs } = this.#context;
    const { queue } = this.#place;
    const ring = this.#place.ring | 0;
    const bufferSize = this.#place.bufferSize | 0;
    const batch = this.#batch;
    const { offsets, lengths } = batch;
    const mask = this.#mask | 0;
    const { buffers } = this.#slots;
    const copybreak = this.#copybreak | 0;
    const most = (strict ? Math.min(limit, distance32(this.#fill, this.#count)) : limit) | 0;
    let slot = this.#count & mask;
    let sequence = this.#sequence | 0;
    let copied = 0;
    let sum = 0;
    let waiting = 0;
    let taken = 0;
    while (taken < most) {
      const word = view.getInt32((ring + slot * DESC + LEN) | 0);
      if ((word & NOT_PLAIN) !== sequence) break;
      const total = word >>> LEN_SHIFT;
      if (total <= PAD || total > bufferSize) break;
      const length = (total - PAD) | 0;
      const offset = (buffers[slot]! + PAD) | 0;
      if (length <= copybreak) copied = (copied + 1) | 0;
      else if (!this.#giveWhole(slot)) break;
      offsets[waiting] = offset;
      lengths[waiting] = length;
      waiting = (waiting + 1) | 0;
      sum = (sum + length) | 0;
      sequence = sequence === LAST_SEQUENCE ? 1 : (sequence + 1) | 0;
      slot = (slot + 1) & mask;
      taken = (taken + 1) | 0;
      if (waiting === BATCH) {
        batch.count = waiting;
        sink.batch!(queue, batch);
        waiting = 0;
      }
    }
    if (taken === 0) return 0;
    if (waiting > 0) {
      batch.count = waiting;
      sink.batch!(queue, batch);
    }
    this.#sequence = sequence;
    this.#count = (this.#count + taken) >>> 0;
    counters.rxCopybreak += copied;
    counters.rxPackets += taken;
    counters.rxBytes += sum;
    if (syncs) counters.rxDmaSyncs += taken;
    return taken;
  }

  /** Gives the page of a frame in one buffer to the stack. False if the frame has to be copied. */
  #giveWhole(slot: number): boolean {
    const slots = this.#slots;
    const stack = this.#stack;
    if (slots.listed && !slots.canTurn(slot)) return false;
    if (stack.passes) slots.pass(slot);
    else {
      slots.give(slot, stack);
      stack.complete();
    }
    return true;
  }

  /** Takes the data of a buffer into the frame: its page, or a copy if the page cannot be given away. */
  #fragment(slot: number, pad: number, length: number, whole: boolean): void {
    const { memory, counters, syncs, strict } = this.#context;
    const slots = this.#slots;
    const start = slots.buffers[slot]! + pad;
    if (start + length > memory.size || this.#frame.length + length > LONGEST_FRAME) {
      throw driverFault(this.#name, strict ? "frame-too-long" : "packet-length", this.#count, { length });
    }
    if (syncs) counters.rxDmaSyncs++;
    if (whole && length <= this.#copybreak) {
      counters.rxCopybreak++;
      this.#frame.push(start, length);
      return;
    }
    if (slots.listed && !slots.canTurn(slot)) return this.#copy(start, length);
    if (whole && this.#stack.passes) slots.pass(slot);
    else slots.give(slot, this.#stack);
    this.#frame.push(start, length);
  }

  /** Copies data into a page of its own, since its page is still held or has no second half. */
  #copy(start: number, length: number): void {
    const { memory, counters } = this.#context;
    const { pageSize } = this.#pool;
    counters.rxBounceBytes += length;
    for (let done = 0; done < length; done += pageSize) {
      const part = Math.min(length - done, pageSize);
      const copy = this.#pool.take();
      if (copy < 0) {
        // Out of pages: hand it over where it lies. The slot is posted again only after that.
        this.#frame.push(start + done, part);
        continue;
      }
      const target = this.#pool.offsets[copy]!;
      memory.copyWithin(target, start + done, part);
      this.#stack.fragment(copy);
      this.#frame.push(target, part);
    }
  }

  #deliver(sink: FrameSink): void {
    const { counters } = this.#context;
    counters.rxPackets++;
    counters.rxBytes += this.#frame.length;
    this.#frame.deliver(sink, this.#place.queue);
    this.#stack.complete();
  }

  #abort(): void {
    this.#context.counters.rxDroppedFragments += this.#frame.pieces;
    this.#frame.clear();
    this.#stack.abort();
  }

  /** Posts slots again: with a page list as many as were handled, else once half of them are gone. */
  #refill(handled: number): void {
    const { counters } = this.#context;
    const { size } = this.#place;
    const posted = distance32(this.#fill, this.#count);
    if (this.#slots.listed) {
      // Slots name their pages already, and halves that were given away name the other half.
      this.#fill = (this.#fill + handled) >>> 0;
      counters.rxPosted += handled;
      counters.rxRecycled += handled;
    } else if (posted <= size / 2) {
      this.#fill = (this.#fill + this.#slots.post(this.#fill, size - posted)) >>> 0;
    }
    this.flush();
  }
}
