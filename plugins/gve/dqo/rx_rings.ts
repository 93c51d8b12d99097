/**
 * The two rings of a DQO receive queue, the driver's side: buffers posted, and completions.
 *
 * @module
 */
import type { FrameBatch } from "../../../core/frame_batch.ts";
import { DQO_POST_STEP } from "../constants.ts";
import { gve_rx_compl_desc_dqo, gve_rx_desc_dqo } from "../layout_dqo.ts";
import type { PageHolder } from "../pages.ts";
import type { DriverContext, RxQueuePlace } from "../queue_context.ts";
import type { BufferStates } from "./buffer_states.ts";

const DESC = gve_rx_desc_dqo.size;
const DESC_BUF_ID = gve_rx_desc_dqo.offsetOf("buf_id");
const DESC_ADDR = gve_rx_desc_dqo.offsetOf("buf_addr");
const DESC_HEADER = gve_rx_desc_dqo.offsetOf("header_buf_addr");
const COMPLETION = gve_rx_compl_desc_dqo.size;
const ERROR = gve_rx_compl_desc_dqo.offsetOf("rx_error");
const RX_ERROR = gve_rx_compl_desc_dqo.maskOf("rx_error");
const LENGTH = gve_rx_compl_desc_dqo.offsetOf("packet_len");
const PACKET_LEN = gve_rx_compl_desc_dqo.maskOf("packet_len");
const GENERATION = gve_rx_compl_desc_dqo.maskOf("generation") | 0;
const STATUS = gve_rx_compl_desc_dqo.offsetOf("end_of_packet");
const END_OF_PACKET = gve_rx_compl_desc_dqo.maskOf("end_of_packet");
const ENDED = END_OF_PACKET | gve_rx_compl_desc_dqo.maskOf("header_buffer_overflow");
const BUF_ID = gve_rx_compl_desc_dqo.offsetOf("buf_id");
const UPPER_HALF = 2 ** 32;

// Bindings of this module, unlike imported ones, are constants for the engine.
const POST_STEP = DQO_POST_STEP;

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

/** The rings. Indices are masked, so a ring of n holds n - 1 buffers. */
export class RxRings {
  /** Per slot of the buffer ring: the state posted there last. */
  readonly posted: Int32Array;
  /** Whether all buffers so far came back in the order in which they were posted. */
  ordered = true;
  /** Buffer ring: behind the last buffer posted. */
  tail = 0;
  /** Buffer ring: buffers before this were read, as far as completions prove it. */
  head = 0;
  /** Completions that there is room for beside those of the buffers posted. */
  freeSlots: number;
  /** Completion ring: behind the last completion handled. */
  index = 0;
  /** Bytes of the frames that {@linkcode gather} took last. */
  bytes = 0;
  readonly #context: DriverContext;
  readonly #place: RxQueuePlace;
  readonly #states: BufferStates;
  readonly #headers: HeaderBuffers | undefined;
  readonly #mask: number;
  /** Generation bit of the present lap. */
  #generation = GENERATION;

  /** Starts empty. */
  constructor(
    context: DriverContext,
    place: RxQueuePlace,
    states: BufferStates,
    headers: HeaderBuffers | undefined,
  ) {
    this.#context = context;
    this.#place = place;
    this.#states = states;
    this.#headers = headers;
    this.#mask = place.size - 1;
    this.freeSlots = place.size;
    this.posted = new Int32Array(place.size);
  }

  /** Generation of the present lap. */
  get generation(): number {
    return this.#generation === 0 ? 0 : 1;
  }

  /** Buffers that are posted. */
  get full(): number {
    return (this.tail - this.head) & this.#mask;
  }

  /** Offset of the next completion in the driver's memory. */
  get next(): number {
    return (this.#place.ring + this.index * COMPLETION) | 0;
  }

  /** Whether the word with the length of the next completion makes it valid. */
  isValid(word: number): boolean {
    return (word & GENERATION) === this.#generation;
  }

  /** Whether there is a completion. */
  get pending(): boolean {
    return this.isValid(this.#context.memory.view.getInt32(this.next + LENGTH, true));
  }

  /** Goes on behind `count` completions, at most as many as the ring has. */
  advance(count: number): void {
    this.head = (this.head + count) & this.#mask;
    this.freeSlots += count;
    this.index += count;
    if (this.index <= this.#mask) return;
    this.index -= this.#mask + 1;
    this.#generation ^= GENERATION;
  }

  /** Posts a buffer. There must be room. */
  post(state: number): void {
    const { view } = this.#context.memory;
    const at = this.#place.data + this.tail * DESC;
    view.setInt32(at + DESC_BUF_ID, state, true);
    view.setInt32(at + DESC_ADDR, this.#states.lows[state]!, true);
    view.setInt32(at + DESC_ADDR + 4, this.#states.highs[state]!, true);
    if (this.#headers !== undefined) {
      const address = this.#headers.address + state * this.#headers.size;
      const high = Math.floor(address / UPPER_HALF);
      view.setUint32(at + DESC_HEADER, address - high * UPPER_HALF, true);
      view.setUint32(at + DESC_HEADER + 4, high, true);
    }
    this.posted[this.tail] = state;
    this.tail = (this.tail + 1) & this.#mask;
    this.freeSlots--;
  }

  /**
   * Rings the doorbell for each multiple of 32 that the tail came to.
   *
   * @param before Where the tail was.
   */
  announce(before: number): void {
    const end = before + ((this.tail - before) & this.#mask);
    for (let at = (before | (POST_STEP - 1)) + 1; at <= end; at += POST_STEP) {
      this.#context.counters.rxDoorbells++;
      this.#context.bar2.write(this.#place.doorbell, 4, at & this.#mask);
    }
  }

  /**
   * Gathers frames of completions of which nothing is to be said: whose frame lies in its one buffer, the one that is
   * next.
   *
   * @param batch Gets the frames.
   * @param most How many at most.
   * @param limit Counts frames of at most so many bytes.
   * @returns How many of these there are.
   */
  gather(batch: FrameBatch, most: number, limit: number): number {
    const { view } = this.#context.memory;
    const ring = this.#place.ring | 0;
    const bufferSize = this.#place.bufferSize | 0;
    const mask = this.#mask | 0;
    const { starts } = this.#states;
    const { posted } = this;
    const { offsets, lengths } = batch;
    let head = this.head | 0;
    let index = this.index | 0;
    let generation = this.#generation | 0;
    const above = (limit + 1) | 0;
    let short = 0;
    let bytes = 0;
    let count = 0;
    for (; count < most; count = (count + 1) | 0) {
      const at = (ring + index * COMPLETION) | 0;
      const word = view.getInt32((at + LENGTH) | 0, true);
      const length = word & PACKET_LEN;
      if ((word & ~PACKET_LEN) !== generation || length === 0 || length > bufferSize) break;
      const id = view.getUint16((at + BUF_ID) | 0, true);
      if (id !== posted[head] || (view.getUint8((at + STATUS) | 0) & ENDED) !== END_OF_PACKET) break;
      if ((view.getUint8((at + ERROR) | 0) & RX_ERROR) !== 0) break;
      offsets[count] = starts[id]!;
      lengths[count] = length;
      // Without a branch, which frames of mixed sizes would take at random.
      short = (short + ((length - above) >>> 31)) | 0;
      bytes = (bytes + length) | 0;
      head = (head + 1) & mask;
      index = (index + 1) & mask;
      if (index === 0) generation ^= GENERATION;
    }
    batch.count = count;
    this.bytes = bytes;
    return short;
  }

  /**
   * Gives the buffers of the next frames away that are not to be copied. Those that cannot be posted again at once are
   * noted by the complement of their state.
   *
   * @param stack Who gets them.
   * @param lengths Length of each frame: it is in one buffer.
   * @param count How many there are.
   * @param copybreak Frames of at most so many bytes are copied.
   * @returns The index of the first frame that can be neither copied nor given away, or behind the last.
   */
  giveAway(stack: PageHolder, lengths: Int32Array, count: number, copybreak: number): number {
    const states = this.#states;
    const { posted, head } = this;
    if (stack.passes && states.sections && !states.copyOnDemand) {
      states.moveOnEach(posted, head, lengths, count, copybreak);
      return count;
    }
    for (let i = 0; i < count; i++) {
      if (lengths[i]! <= copybreak) continue;
      if (states.copyOnDemand) return i;
      const slot = (head + i) & this.#mask;
      const id = posted[slot]!;
      stack.fragment(states.pages[id]!);
      if (!states.moveOn(id)) {
        states.markUsed(id);
        posted[slot] = ~id;
      }
      stack.complete();
    }
    return count;
  }

  /** Keeps the buffers that came from these slots to be posted later, as far as they are free. */
  recycle(from: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const id = this.posted[(from + i) & this.#mask]!;
      if (id >= 0) this.#states.recycle(id);
    }
  }

  /**
   * Posts the buffers again that came from these slots. States that stand there as their complement are not free.
   *
   * @returns How many.
   */
  repost(from: number, count: number): number {
    const { view } = this.#context.memory;
    const data = this.#place.data | 0;
    const mask = this.#mask | 0;
    const { lows, highs } = this.#states;
    const { posted } = this;
    const before = this.tail;
    let head = from | 0;
    let tail = before | 0;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const id = posted[head]!;
      head = (head + 1) & mask;
      if (id < 0) continue;
      const at = (data + tail * DESC) | 0;
      view.setInt32((at + DESC_BUF_ID) | 0, id, true);
      view.setInt32((at + DESC_ADDR) | 0, lows[id]!, true);
      view.setInt32((at + DESC_ADDR + 4) | 0, highs[id]!, true);
      posted[tail] = id;
      tail = (tail + 1) & mask;
    }
    const reposted = (tail - before) & mask;
    this.tail = tail;
    this.freeSlots -= reposted;
    return reposted;
  }
}
