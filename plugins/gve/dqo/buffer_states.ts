/**
 * Receive buffers of a DQO queue and how the driver recycles them: a state per buffer, found by its id.
 *
 * @module
 */
import { DQO_ON_DEMAND } from "../constants.ts";
import type { DriverCounters } from "../counters.ts";
import type { PagePool } from "../pages.ts";

/** End of a list. */
const NONE = -1;
/** How often the driver looks at the head of the used list before it takes a new page. */
const TRIES = 5;

/** A list of states, first in first out. */
interface Fifo {
  head: number;
  tail: number;
}

/** What {@linkcode BufferStates} needs. */
export interface BufferStatesOptions {
  /** Number of states. */
  readonly states: number;
  /** Bytes per buffer. */
  readonly bufferSize: number;
  /** Pages of the page list in order; without one pages come and go. */
  readonly pageList: readonly number[] | undefined;
}

/**
 * The states. The recycled list has buffers that can be posted at once, the used list those whose page the stack may
 * still hold.
 */
export class BufferStates {
  /** Number of states. */
  readonly size: number;
  /** Per state: the page, or -1. */
  readonly pages: Int32Array;
  /** Per state: where in the page the buffer starts. */
  readonly offsets: Int32Array;
  /** Per state: where the buffer is in the driver's memory. */
  readonly starts: Int32Array;
  /** Per state: lower half of the buffer's address. */
  readonly lows: Int32Array;
  /** Per state: upper half of it. */
  readonly highs: Int32Array;
  readonly #pool: PagePool;
  readonly #counters: DriverCounters;
  readonly #bufferSize: number;
  readonly #pageSize: number;
  readonly #pageList: readonly number[] | undefined;
  /** Per state: the driver's references to its page. */
  readonly #biases: Int32Array;
  /** Per state: the last offset at which the stack held one reference only: then all other offsets were free. */
  readonly #lastSingle: Int32Array;
  /** Per state: the next one in its list, or -1. A state in no list points at itself: it is posted. */
  readonly #next: Int32Array;
  readonly #recycled: Fifo = { head: NONE, tail: NONE };
  readonly #used: Fifo = { head: NONE, tail: NONE };
  #free = 0;
  #usedCount = 0;
  #nextListPage = 0;

  /** All states are free and have no page. */
  constructor(pool: PagePool, counters: DriverCounters, options: BufferStatesOptions) {
    const { states } = options;
    this.size = states;
    this.#pool = pool;
    this.#counters = counters;
    this.#bufferSize = options.bufferSize;
    this.#pageSize = pool.pageSize;
    this.#pageList = options.pageList;
    this.pages = new Int32Array(states).fill(NONE);
    this.offsets = new Int32Array(states);
    this.starts = new Int32Array(states);
    this.lows = new Int32Array(states);
    this.highs = new Int32Array(states);
    this.#biases = new Int32Array(states);
    this.#lastSingle = new Int32Array(states);
    const next = this.#next = new Int32Array(states);
    for (let i = 1; i < states; i++) next[i - 1] = i;
    next[states - 1] = NONE;
  }

  /** First of the recycled list, or -1. */
  get recycledHead(): number {
    return this.#recycled.head;
  }

  /** First of the used list, or -1. */
  get usedHead(): number {
    return this.#used.head;
  }

  /** The driver's own count of the used list. It drifts when states leave the list on the last resort, as with Linux. */
  get usedCount(): number {
    return this.#usedCount;
  }

  /** Whether a state is posted. */
  isPosted(state: number): boolean {
    return this.#next[state] === state;
  }

  /** Whether fragments should be copied since too few buffers are left unused (page lists only). */
  get copyOnDemand(): boolean {
    return this.#pageList !== undefined && this.#usedCount >= this.size - DQO_ON_DEMAND;
  }

  /** Number of states by list, for a person or a law of conservation to look at. */
  census(): { posted: number; recycled: number; used: number; free: number } {
    const recycled = this.#walk(this.#recycled.head);
    const used = this.#walk(this.#used.head);
    const free = this.#walk(this.#free);
    return { posted: this.size - recycled - used - free, recycled, used, free };
  }

  /** A state to be posted, or -1 if there is none now. */
  take(): number {
    const counters = this.#counters;
    if (this.#recycled.head !== NONE) {
      counters.rxRecycled++;
      return this.#shift(this.#recycled);
    }
    if (this.#used.head !== NONE) {
      const state = this.#takeUsed();
      if (state !== NONE) {
        counters.rxReused++;
        return state;
      }
    }
    const state = this.#free;
    if (state === NONE) return NONE;
    const page = this.#takePage();
    if (page === NONE) return NONE;
    this.#free = this.#next[state]!;
    this.#next[state] = state;
    this.pages[state] = page;
    this.offsets[state] = 0;
    this.starts[state] = this.#pool.offsets[page]!;
    this.lows[state] = this.#pool.low[page]!;
    this.highs[state] = this.#pool.high[page]!;
    this.#lastSingle[state] = 0;
    this.#biases[state] = this.#pool.bias(page);
    counters.rxAllocated++;
    return state;
  }

  /** A buffer was not given away: it can be posted again as it is. */
  recycle(state: number): void {
    this.#push(this.#recycled, state);
  }

  /** A fragment was given to the stack, and the buffer is in a list again. */
  giveAway(state: number): void {
    if (this.moveOn(state)) this.recycle(state);
    else this.markUsed(state);
  }

  /**
   * A fragment was given to the stack: one reference is the stack's now, and the buffer moves on in its page. Returns
   * whether it can be posted again at once.
   */
  moveOn(state: number): boolean {
    const page = this.pages[state]!;
    const counts = this.#pool.counts;
    let bias = (this.#biases[state]! - 1) | 0;
    if (bias === 0) bias = this.#pool.topUp(page);
    this.#biases[state] = bias;
    const size = this.#bufferSize;
    const pageSize = this.#pageSize;
    if (size * 2 > pageSize) return false;
    const offset = this.offsets[state]!;
    if (((counts[page]! - bias) | 0) === 1) this.#lastSingle[state] = offset;
    // Sizes that do not divide the page leave its tail unused.
    let next = (offset + size) | 0;
    if (next + size > pageSize) next = 0;
    this.offsets[state] = next;
    const moved = (next - offset) | 0;
    this.starts[state] = (this.starts[state]! + moved) | 0;
    this.lows[state] = (this.lows[state]! + moved) | 0;
    // Back at that offset without ever having been down to one reference: nobody knows whether it is free.
    return next !== this.#lastSingle[state];
  }

  /**
   * Does what {@linkcode moveOn} does for fragments that the stack has given back at once, if it never holds any: the
   * driver's references and all references then go down by one each, and what counts is their difference, so neither is
   * touched; and the last offset with a single reference is always that of the fragment itself. The buffers can be
   * posted again.
   *
   * @param ring The states, in a ring of posted ones.
   * @param head Where the first stands.
   * @param lengths Length of each fragment.
   * @param count How many there are.
   * @param copybreak Fragments of so many bytes are passed over: they are copied.
   */
  moveOnEach(ring: Int32Array, head: number, lengths: Int32Array, count: number, copybreak: number): void {
    const mask = ring.length - 1;
    const { offsets, starts, lows } = this;
    const size = this.#bufferSize | 0;
    /** Behind this there is no further section. */
    const last = (this.#pageSize - 2 * size) | 0;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const state = ring[(head + i) & mask]!;
      const offset = offsets[state]!;
      // All ones or all zeros instead of branches, which frames of mixed sizes would take at random.
      const given = (copybreak - lengths[i]!) >> 31;
      const back = (last - offset) >> 31;
      const moved = ((size & ~back) | (-offset & back)) & given;
      offsets[state] = (offset + moved) | 0;
      starts[state] = (starts[state]! + moved) | 0;
      lows[state] = (lows[state]! + moved) | 0;
    }
  }

  /** Whether a page has room for several buffers. */
  get sections(): boolean {
    return this.#bufferSize * 2 <= this.#pageSize;
  }

  /** The stack may still hold the buffer. */
  markUsed(state: number): void {
    this.#push(this.#used, state);
    this.#usedCount++;
  }

  /** A state of the used list whose page nobody holds, or -1. The list is not empty. */
  #takeUsed(): number {
    for (let i = 0; i < TRIES; i++) {
      const state = this.#shift(this.#used);
      if (this.#references(state) === 0) {
        this.#usedCount--;
        return state;
      }
      this.#push(this.#used, state);
    }
    if (this.#pageList !== undefined || this.#free !== NONE) return NONE;
    const state = this.#shift(this.#used);
    if (this.#references(state) === 0) return state;
    this.#pool.drop(this.pages[state]!, this.#biases[state]!);
    this.#counters.rxDiscarded++;
    this.pages[state] = NONE;
    this.#next[state] = this.#free;
    this.#free = state;
    return NONE;
  }

  /** A fresh page, or the next of the page list that was never used. */
  #takePage(): number {
    if (this.#pageList === undefined) {
      const page = this.#pool.take();
      if (page !== NONE) this.#counters.rxDmaMaps++;
      return page;
    }
    return this.#nextListPage < this.#pageList.length ? this.#pageList[this.#nextListPage++]! : NONE;
  }

  /** References of the stack to a state's page. */
  #references(state: number): number {
    return this.#pool.counts[this.pages[state]!]! - this.#biases[state]!;
  }

  #push(list: Fifo, state: number): void {
    this.#next[state] = NONE;
    if (list.head === NONE) list.head = state;
    else this.#next[list.tail] = state;
    list.tail = state;
  }

  #shift(list: Fifo): number {
    const state = list.head;
    if (state === NONE) return NONE;
    list.head = this.#next[state]!;
    if (list.head === NONE) list.tail = NONE;
    this.#next[state] = state;
    return state;
  }

  #walk(state: number): number {
    let count = 0;
    for (; state !== NONE; state = this.#next[state]!) count++;
    return count;
  }
}
