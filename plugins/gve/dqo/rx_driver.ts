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
import { gve_rx_compl_desc_dqo, gve_rx_desc_dqo } from "../layout_dqo.ts";
import { gve_ptype_entry } from "../layout_records.ts";
import type { PageHolder, PagePool } from "../pages.ts";
import type { DriverContext, RxQueuePlace } from "../queue_context.ts";
import type { BufferStates } from "./buffer_states.ts";

const DESC = gve_rx_desc_dqo.size;
const DESC_BUF_ID = gve_rx_desc_dqo.offsetOf("buf_id");
const DESC_ADDR = gve_rx_desc_dqo.offsetOf("buf_addr");
const DESC_HEADER = gve_rx_desc_dqo.offsetOf("header_buf_addr");
const COMPLETION = gve_rx_compl_desc_dqo.size;
const ERROR = gve_rx_compl_desc_dqo.offsetOf("rx_error");
const RX_ERROR = gve_rx_compl_desc_dqo.maskOf("rx_error");
const TYPE = gve_rx_compl_desc_dqo.offsetOf("packet_type");
const PACKET_TYPE = gve_rx_compl_desc_dqo.maskOf("packet_type");
const LENGTH = gve_rx_compl_desc_dqo.offsetOf("packet_len");
const PACKET_LEN = gve_rx_compl_desc_dqo.maskOf("packet_len");
const GENERATION_SHIFT = gve_rx_compl_desc_dqo.shiftOf("generation");
const HEADER_SHIFT = (gve_rx_compl_desc_dqo.offsetOf("header_len") - LENGTH) * 8;
const HEADER_LEN = gve_rx_compl_desc_dqo.maskOf("header_len");
const RSC = gve_rx_compl_desc_dqo.maskOf("rsc");
const SPLIT_HEADER = gve_rx_compl_desc_dqo.maskOf("split_header");
const STATUS = gve_rx_compl_desc_dqo.offsetOf("end_of_packet");
const END_OF_PACKET = gve_rx_compl_desc_dqo.maskOf("end_of_packet");
const OVERFLOW = gve_rx_compl_desc_dqo.maskOf("header_buffer_overflow");
const BUF_ID = gve_rx_compl_desc_dqo.offsetOf("buf_id");
const RAW_CS = gve_rx_compl_desc_dqo.offsetOf("raw_cs");
const PTYPE = gve_ptype_entry.size;
const L4_TYPE = gve_ptype_entry.offsetOf("l4_type");
const PTYPE_TCP = gve_ptype_entry.field("l4_type").values!["TCP"]!;

// Bindings of this module, unlike imported ones, are constants for the engine.
const POST_STEP = DQO_POST_STEP;
/** With fewer buffers posted than this the device may know of none. */
const FEW = 2 * DQO_POST_STEP;
const LONGEST = LONGEST_FRAME;
const BATCH = BATCH_SIZE;

/** Header buffers: one for each buffer state. */
export interface HeaderBuffers {
  /** Offset of the first in the driver's memory. */
  readonly offset: number;
  /** Address of the first. */
  readonly address: number;
  /** Bytes of each. */
  readonly size: number;
  /** Offset of a place as large, where the header of the frame under construction is kept. */
  readonly scratch: number;
}

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
  readonly #batch = new FrameBatch();
  /** Buffer ring: behind the last buffer posted. */
  #tail = 0;
  /** Buffer ring: buffers before this were read, as far as completions prove it. */
  #bufferHead = 0;
  #freeSlots: number;
  #completionHead = 0;
  #generation = 1;
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
    this.#freeSlots = place.size;
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
      tail: this.#tail,
      head: this.#bufferHead,
      freeSlots: this.#freeSlots,
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
    const { ring } = this.#place;
    const batches = sink.batch !== undefined;
    let moved = 0;
    while (moved <= this.#mask) {
      const at = ring + this.#completionHead * COMPLETION;
      const word = view.getUint32(at + LENGTH, true);
      if (((word >>> GENERATION_SHIFT) & 1) !== this.#generation) break;
      if (!batches || !this.#plain(at, word)) {
        this.#handOver(sink);
        this.#completion(sink, at, word);
      } else if (this.#batch.count === BATCH) this.#handOver(sink);
      this.#completionHead = (this.#completionHead + 1) & this.#mask;
      if (this.#completionHead === 0) this.#generation ^= 1;
      this.#freeSlots++;
      this.#bufferHead = (this.#bufferHead + 1) & this.#mask;
      moved++;
    }
    this.#handOver(sink);
    if (moved > 0) counters.rxDescriptors += moved;
    return moved + this.post();
  }

  /**
   * Posts as many buffers as there is room for. The doorbell rings whenever the tail is a multiple of 32.
   *
   * @returns How many.
   */
  post(): number {
    const { counters, memory: { view } } = this.#context;
    const { data } = this.#place;
    const states = this.#states;
    const full = (this.#tail - this.#bufferHead) & this.#mask;
    const room = Math.min(this.#mask - full, this.#freeSlots);
    const headers = this.#headers;
    const pool = this.#pool;
    let posted = 0;
    for (; posted < room; posted++) {
      let state = states.take();
      if (state < 0 && full + posted < FEW) {
        // The stack holds nearly all there is, and lets go only of what new frames push out: ask for it.
        pool.onPressure();
        state = states.take();
      }
      if (state < 0) break;
      const at = data + this.#tail * DESC;
      const page = states.pages[state]!;
      view.setUint32(at + DESC_BUF_ID, state, true);
      view.setUint32(at + DESC_ADDR, pool.low[page]! + states.offsets[state]!, true);
      view.setUint32(at + DESC_ADDR + 4, pool.high[page]!, true);
      if (headers !== undefined) setAddress(view, at + DESC_HEADER, headers.address + state * headers.size);
      this.#tail = (this.#tail + 1) & this.#mask;
      this.#freeSlots--;
      if (this.#tail % POST_STEP === 0) this.#ring();
    }
    counters.rxPosted += posted;
    return posted;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      ...this.state,
      completionHead: this.#completionHead,
      generation: this.#generation,
      states: this.#states.census(),
    };
  }

  #ring(): void {
    this.#context.counters.rxDoorbells++;
    this.#context.bar2.write(this.#place.doorbell, 4, this.#tail);
  }

  /**
   * Takes a completion whose frame lies in its one buffer, and of which nothing is to be said. What was gathered is
   * handed over before buffers are posted again or copied to, so it stays as it is until then.
   *
   * @returns False if it is of another kind, or breaks a rule.
   */
  #plain(at: number, word: number): boolean {
    const { memory: { view }, counters, syncs } = this.#context;
    const states = this.#states;
    const length = word & PACKET_LEN;
    const id = view.getUint16(at + BUF_ID, true);
    if (
      word >>> HEADER_SHIFT !== 0 || length === 0 || length > this.#place.bufferSize || id >= states.size ||
      !states.isPosted(id) || this.#frame.pieces > 0 || this.#dropping ||
      (view.getUint8(at + STATUS) & (END_OF_PACKET | OVERFLOW)) !== END_OF_PACKET ||
      (view.getUint8(at + ERROR) & RX_ERROR) !== 0
    ) return false;
    const copied = length <= this.#copybreak;
    if (!copied && states.copyOnDemand) return false;
    const page = states.pages[id]!;
    const batch = this.#batch;
    batch.offsets[batch.count] = this.#pool.offsets[page]! + states.offsets[id]!;
    batch.lengths[batch.count++] = length;
    if (copied) {
      counters.rxCopybreak++;
      states.recycle(id);
    } else {
      this.#stack.fragment(page);
      states.giveAway(id);
    }
    this.#stack.complete();
    if (syncs) counters.rxDmaSyncs++;
    counters.rxPackets++;
    counters.rxBytes += length;
    return true;
  }

  /** Hands over what was gathered. */
  #handOver(sink: FrameSink): void {
    const batch = this.#batch;
    if (batch.count === 0) return;
    batch.bytes = this.#context.memory.bytes;
    sink.batch!(this.#place.queue, batch);
    batch.count = 0;
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
    if (id >= states.size) return this.#unknown("buffer-id", `Invalid RX buffer_id=${id}`, id);
    if (!states.isPosted(id)) {
      return this.#unknown("buffer-not-posted", `RX buffer_id is not allocated: ${id}`, id);
    }
    const last = (status & END_OF_PACKET) !== 0;
    if ((view.getUint8(at + ERROR) & RX_ERROR) !== 0 || this.#dropping) {
      this.#dropped(id, last);
      return;
    }
    const header = word >>> HEADER_SHIFT;
    const split = (header & SPLIT_HEADER) !== 0 && (status & OVERFLOW) === 0;
    if (strict && (length > this.#place.bufferSize || (length === 0 && !split))) {
      throw this.#fault("packet-length", { packet_len: length, buffer: this.#place.bufferSize });
    }
    const page = states.pages[id]!;
    const start = this.#pool.offsets[page]! + states.offsets[id]!;
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
    const tcp = this.#packetTypes[type * PTYPE + L4_TYPE] === PTYPE_TCP;
    const size = view.getUint16(at + RAW_CS, true);
    if (strict && (!tcp || size === 0)) {
      throw this.#fault("segment-length", { packet_type: type, rsc_seg_len: size });
    }
    return tcp;
  }

  /** A buffer of a bad frame: it goes back, and the frame so far is thrown away. */
  #dropped(id: number, last: boolean): void {
    const { counters, strict, log } = this.#context;
    if (!this.#dropping) {
      log("Descriptor error=1");
      counters.rxErrors++;
    }
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
    return driverFault(this.#name, code, this.#completionHead, values);
  }
}

function setAddress(view: DataView, at: number, address: number): void {
  const high = Math.floor(address / 4294967296);
  view.setUint32(at, address - high * 4294967296, true);
  view.setUint32(at + 4, high, true);
}
