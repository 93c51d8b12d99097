/**
 * DQO receive queue, the driver's side: a buffer ring and a completion ring.
 *
 * @module
 */
import { BATCH_SIZE, FrameBatch } from "../../../core/frame_batch.ts";
import type { FrameSink } from "../../../core/plugin.ts";
import { DQO_POST_STEP } from "../constants.ts";
import { driverFault } from "../faults.ts";
import { FrameBuilder, LONGEST_FRAME } from "../frame_builder.ts";
import { gve_rx_compl_desc_dqo } from "../layout_dqo.ts";
import { gve_ptype_entry } from "../layout_records.ts";
import type { PageHolder, PagePool } from "../pages.ts";
import type { DriverContext, RxQueuePlace } from "../queue_context.ts";
import type { BufferStates } from "./buffer_states.ts";
import { type HeaderBuffers, RxRings } from "./rx_rings.ts";

const ERROR = gve_rx_compl_desc_dqo.offsetOf("rx_error");
const RX_ERROR = gve_rx_compl_desc_dqo.maskOf("rx_error");
const TYPE = gve_rx_compl_desc_dqo.offsetOf("packet_type");
const PACKET_TYPE = gve_rx_compl_desc_dqo.maskOf("packet_type");
const LENGTH = gve_rx_compl_desc_dqo.offsetOf("packet_len");
const PACKET_LEN = gve_rx_compl_desc_dqo.maskOf("packet_len");
const HEADER_SHIFT = (gve_rx_compl_desc_dqo.offsetOf("header_len") - LENGTH) * 8;
const HEADER_LEN = gve_rx_compl_desc_dqo.maskOf("header_len");
const RSC = gve_rx_compl_desc_dqo.maskOf("rsc");
const SPLIT_HEADER = gve_rx_compl_desc_dqo.maskOf("split_header");
const STATUS = gve_rx_compl_desc_dqo.offsetOf("end_of_packet");
const END_OF_PACKET = gve_rx_compl_desc_dqo.maskOf("end_of_packet");
const OVERFLOW = gve_rx_compl_desc_dqo.maskOf("header_buffer_overflow");
const BUF_ID = gve_rx_compl_desc_dqo.offsetOf("buf_id");
const NONE = -1;
const RAW_CS = gve_rx_compl_desc_dqo.offsetOf("raw_cs");
const PTYPE = gve_ptype_entry.size;
const L3_TYPE = gve_ptype_entry.offsetOf("l3_type");
const L4_TYPE = gve_ptype_entry.offsetOf("l4_type");
const { IPV4: PTYPE_IPV4, IPV6: PTYPE_IPV6 } = gve_ptype_entry.field("l3_type").values!;
const PTYPE_TCP = gve_ptype_entry.field("l4_type").values!["TCP"]!;

// Bindings of this module, unlike imported ones, are constants for the engine.
/** With fewer buffers posted than this the device may know of none. */
const FEW = 2 * DQO_POST_STEP;
const LONGEST = LONGEST_FRAME;
const BATCH = BATCH_SIZE;

/** What a DQO receive queue needs beside its place. */
export interface DqoRxOptions {
  /** Where pages come from. */
  readonly pool: PagePool;
  /** The buffer states. */
  readonly states: BufferStates;
  /** Who gets the pages. */
  readonly stack: PageHolder;
  /** Frames of one buffer and at most so many bytes are copied. */
  readonly copybreak: number;
  /** With header split. */
  readonly headers: HeaderBuffers | undefined;
  /** The packet type map as the device gave it. */
  readonly packetTypes: Uint8Array;
}

/** The queue. Indices are masked, so a ring of n holds n - 1 buffers. */
export class DqoRxDriver {
  /** DQO completions have no sequence number. */
  readonly sequence = 0;
  readonly #context: DriverContext;
  readonly #place: RxQueuePlace;
  readonly #pool: PagePool;
  readonly #states: BufferStates;
  readonly #stack: PageHolder;
  readonly #copybreak: number;
  readonly #headers: HeaderBuffers | undefined;
  readonly #packetTypes: Uint8Array;
  readonly #mask: number;
  readonly #name: string;
  readonly #frame: FrameBuilder;
  readonly #batch: FrameBatch;
  readonly #rings: RxRings;
  /** The rest of a bad frame is thrown away (strict). */
  #dropping = false;

  /** Starts with empty rings; {@linkcode post} fills the buffer ring. */
  constructor(context: DriverContext, place: RxQueuePlace, options: DqoRxOptions) {
    this.#context = context;
    this.#place = place;
    this.#pool = options.pool;
    this.#states = options.states;
    this.#stack = options.stack;
    this.#copybreak = options.copybreak;
    this.#headers = options.headers;
    this.#packetTypes = options.packetTypes;
    this.#mask = place.size - 1;
    this.#name = `rx${place.queue}`;
    this.#rings = new RxRings(context, place, options.states, options.headers);
    this.#batch = new FrameBatch(context.memory);
    this.#frame = new FrameBuilder(context.memory.bytes);
  }

  /** Indices and lists, as the driver's own state has them. */
  get state(): {
    tail: number;
    head: number;
    freeSlots: number;
    used: number;
    recycledHead: number;
    usedHead: number;
  } {
    return {
      tail: this.#rings.tail,
      head: this.#rings.head,
      freeSlots: this.#rings.freeSlots,
      used: this.#states.usedCount,
      recycledHead: this.#states.recycledHead,
      usedHead: this.#states.usedHead,
    };
  }

  /**
   * Hands over what has arrived and posts buffers again.
   *
   * @returns How many completions were handled.
   * @throws {RingFault} If the device breaks a rule (strict).
   */
  receive(sink: FrameSink): number {
    const { memory: { view }, counters } = this.#context;
    const rings = this.#rings;
    const before = counters.rxPosted;
    let moved = 0;
    if (sink.batch !== undefined && this.#headers === undefined) {
      for (let count = BATCH; count === BATCH; moved += count) count = this.#receivePlain(sink);
    }
    while (moved <= this.#mask) {
      const at = rings.next;
      const word = view.getInt32(at + LENGTH, true);
      if (!rings.isValid(word)) break;
      this.#completion(sink, at, word);
      rings.advance(1);
      moved++;
    }
    if (moved > 0) counters.rxDescriptors += moved;
    this.post();
    return moved + counters.rxPosted - before;
  }

  /**
   * Takes completions of which nothing is to be said in loops over many, as long as buffers come back in the order in
   * which they were posted and the ring is full of them: then buffers that are free go to the next slots at once. They
   * are announced after the frames were handed over, so these stay as they are until then. Whatever else comes, and
   * whatever breaks a rule, is left to {@linkcode #completion}.
   *
   * @returns How many, at most a batch.
   */
  #receivePlain(sink: FrameSink): number {
    const mask = this.#mask;
    const rings = this.#rings;
    if (
      !rings.ordered || rings.full !== mask || this.#frame.pieces > 0 || this.#states.recycledHead !== NONE ||
      this.#dropping
    ) return 0;
    const batch = this.#batch;
    const most = Math.min(mask, BATCH);
    let copied = rings.gather(batch, most, this.#copybreak);
    let { bytes } = rings;
    if (copied < batch.count) {
      const end = rings.giveAway(this.#stack, batch.lengths, batch.count, this.#copybreak);
      for (; batch.count > end; batch.count--) {
        const length = batch.lengths[batch.count - 1]!;
        bytes -= length;
        if (length <= this.#copybreak) copied--;
      }
    }
    const { count } = batch;
    if (count === 0) return 0;
    const { counters, syncs } = this.#context;
    counters.rxPackets += count;
    counters.rxBytes += bytes;
    counters.rxCopybreak += copied;
    if (syncs) counters.rxDmaSyncs += count;
    const first = rings.head;
    const before = rings.tail;
    rings.advance(count);
    // If something else comes now, the buffers must not be posted yet.
    if ((count < most || most === mask) && rings.pending) rings.recycle(first, count);
    else {
      const reposted = rings.repost(first, count);
      counters.rxRecycled += reposted;
      counters.rxPosted += reposted;
    }
    sink.batch!(this.#place.queue, batch);
    rings.announce(before);
    return count;
  }

  /**
   * Posts as many buffers as there is room for. The doorbell rings whenever the tail is a multiple of 32.
   *
   * @returns How many.
   */
  post(): number {
    const states = this.#states;
    const rings = this.#rings;
    const { full, tail } = rings;
    const room = Math.min(this.#mask - full, rings.freeSlots);
    let posted = 0;
    for (; posted < room; posted++) {
      let state = states.take();
      // The stack holds nearly all there is, and lets go only of what new frames push out: ask for it.
      if (state < 0 && full + posted < FEW && this.#pool.onPressure()) state = states.take();
      if (state < 0) break;
      rings.post(state);
    }
    rings.announce(tail);
    this.#context.counters.rxPosted += posted;
    return posted;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      ...this.state,
      completionHead: this.#rings.index,
      generation: this.#rings.generation,
      states: this.#states.census(),
    };
  }

  /** Handles one completion: every field is read once. `word` has length and header fields. */
  #completion(sink: FrameSink, at: number, word: number): void {
    const { memory, counters, strict, syncs } = this.#context;
    const { view } = memory;
    const states = this.#states;
    const frame = this.#frame;
    const id = view.getUint16(at + BUF_ID, true);
    const length = word & PACKET_LEN;
    const status = view.getUint8(at + STATUS);
    if (id !== this.#rings.posted[this.#rings.head]) this.#rings.ordered = false;
    if (id >= states.size) return this.#unknown("buffer-id", `Invalid RX buffer_id=${id}`, id);
    if (!states.isPosted(id)) {
      return this.#unknown("buffer-not-posted", `RX buffer_id is not allocated: ${id}`, id);
    }
    const last = (status & END_OF_PACKET) !== 0;
    const bad = (view.getUint8(at + ERROR) & RX_ERROR) !== 0;
    if (bad || this.#dropping) {
      if (bad) this.#context.log("Descriptor error=1");
      this.#dropped(id, last);
      return;
    }
    const header = word >>> HEADER_SHIFT;
    const split = (header & SPLIT_HEADER) !== 0 && (status & OVERFLOW) === 0;
    if (strict && (length > this.#place.bufferSize || (length === 0 && !split))) {
      throw this.#fault("packet-length", { packet_len: length, buffer: this.#place.bufferSize });
    }
    const page = states.pages[id]!;
    const start = states.starts[id]!;
    if (frame.length + length > LONGEST || start + length > view.byteLength) {
      throw this.#fault("frame-too-long", { length: frame.length + length });
    }
    if (syncs) counters.rxDmaSyncs++;
    if (split && !this.#splitHeader(id, header & HEADER_LEN)) return this.#dropped(id, last);
    if (last && frame.pieces === 0 && length <= this.#copybreak) {
      counters.rxCopybreak++;
      states.recycle(id);
      if ((header & RSC) === 0) {
        // The one piece is the frame, and the stack gets no page.
        counters.rxPackets++;
        counters.rxBytes += length;
        sink.piece(this.#place.queue, memory.bytes, start, length, false);
        this.#stack.complete();
        return;
      }
      frame.push(start, length);
    } else this.#fragment(id, page, start, length);
    if (!last) return;
    if ((header & RSC) !== 0 && !this.#coalesced(at)) {
      counters.rxErrors++;
      this.#abort();
      return;
    }
    counters.rxPackets++;
    counters.rxBytes += frame.length;
    frame.deliver(sink, this.#place.queue);
    this.#stack.complete();
  }

  /** Takes a buffer's data into the frame: its page, or a copy if too few buffers are left. */
  #fragment(id: number, page: number, start: number, length: number): void {
    const copy = this.#states.copyOnDemand ? this.#copy(start, length) : -1;
    if (copy >= 0) {
      this.#frame.push(copy, length);
      this.#states.recycle(id);
      return;
    }
    if (length > 0) this.#frame.push(start, length);
    this.#stack.fragment(page);
    this.#states.giveAway(id);
  }

  /** Copies data into a fresh page. Returns where, or -1 if there is none that holds it. */
  #copy(start: number, length: number): number {
    const { memory, counters } = this.#context;
    if (length > this.#pool.pageSize) return -1;
    const page = this.#pool.take();
    if (page < 0) return -1;
    const target = this.#pool.offsets[page]!;
    memory.copyWithin(target, start, length);
    counters.rxOnDemand++;
    counters.rxBounceBytes += length;
    this.#stack.fragment(page);
    return target;
  }

  /** Takes a header out of its buffer. False if there is none there: the packet is bad (lenient only). */
  #splitHeader(id: number, length: number): boolean {
    const { memory, strict, counters } = this.#context;
    const headers = this.#headers;
    if (strict) {
      if (this.#frame.pieces > 0) throw this.#fault("header-position", { buf_id: id });
      if (headers === undefined || length > headers.size || length === 0) {
        throw this.#fault("header-length", { header_len: length, buffer: headers?.size ?? 0 });
      }
    }
    if (headers === undefined || length === 0) return false;
    // A header behind the first completion starts a new frame with Linux: what there was is lost.
    if (this.#frame.pieces > 0) this.#abort();
    const source = headers.offset + id * headers.size;
    const size = Math.min(length, headers.size);
    memory.copyWithin(headers.scratch, source, size);
    this.#frame.push(headers.scratch, size);
    counters.rxHeaderSplits++;
    return true;
  }

  /** Whether a coalesced packet is what it must be. */
  #coalesced(at: number): boolean {
    const { memory: { view }, strict } = this.#context;
    const type = view.getUint16(at + TYPE, true) & PACKET_TYPE;
    const l3 = this.#packetTypes[type * PTYPE + L3_TYPE];
    const tcp = this.#packetTypes[type * PTYPE + L4_TYPE] === PTYPE_TCP &&
      (l3 === PTYPE_IPV4 || l3 === PTYPE_IPV6);
    const size = view.getUint16(at + RAW_CS, true);
    if (strict && (!tcp || size === 0)) {
      throw this.#fault("segment-length", { packet_type: type, rsc_seg_len: size });
    }
    return tcp;
  }

  /** A buffer of a bad frame: it goes back, and the frame so far is thrown away. */
  #dropped(id: number, last: boolean): void {
    const { counters, strict } = this.#context;
    if (!this.#dropping) counters.rxErrors++;
    counters.rxDroppedFragments++;
    this.#states.recycle(id);
    this.#abort();
    // Linux goes on with the next buffer as if a frame started there.
    this.#dropping = strict && !last;
  }

  /** A completion that names no posted buffer. Linux counts it as one all the same. */
  #unknown(code: "buffer-id" | "buffer-not-posted", message: string, id: number): void {
    const { counters, strict, log } = this.#context;
    if (strict) throw this.#fault(code, { buf_id: id, states: this.#states.size });
    log(message);
    counters.rxErrors++;
    this.#abort();
  }

  #abort(): void {
    this.#context.counters.rxDroppedFragments += this.#frame.pieces;
    this.#frame.clear();
    this.#stack.abort();
  }

  #fault(code: Parameters<typeof driverFault>[1], values: Record<string, number | string>): Error {
    return driverFault(this.#name, code, this.#rings.index, values);
  }
}
