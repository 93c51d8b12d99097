/**
 * The driver's pages and who holds them: the driver itself through a page_count bias, the stack one reference for
 * each fragment it was given.
 *
 * @module
 */
import type { Memory } from "../../core/memory.ts";

/** A driver starts with so many references of its own to a page, so that it need not count up for each fragment. */
const INT_MAX = 0x7fffffff;
/** Room for so many pages at first; it doubles. */
const FIRST_ROOM = 1024;
const UPPER_HALF = 2 ** 32;

/** Where pages come from. */
export interface PageSource {
  /** Gives out memory. @throws {RangeError} If there is none left. */
  allocate(size: number, alignment: number): { readonly offset: number; readonly address: number };
  /** Bytes left. */
  readonly free: number;
  /** The memory. */
  readonly memory: Memory;
}

/** Pages, by number. The arrays are replaced by longer ones when there are more pages. */
export class PagePool {
  /** Bytes per page. */
  readonly pageSize: number;
  /** Memory of the pages. */
  readonly memory: Memory;
  /** Where each page is in the memory. */
  offsets: Uint32Array = new Uint32Array(0);
  /** Lower half of each page's address: an offset in the page is added without a carry. */
  low: Uint32Array = new Uint32Array(0);
  /** Upper half of each page's address. */
  high: Uint32Array = new Uint32Array(0);
  /** References to each page: the driver's bias and one for each fragment the stack holds. */
  counts: Int32Array = new Int32Array(0);
  readonly #source: PageSource;
  readonly #limit: number;
  readonly #free: number[] = [];
  #pages = 0;
  /** Called when memory is used up: whoever holds pages may let them go. Returns whether anybody held any. */
  onPressure: () => boolean = () => false;

  /** Takes pages from `source`, at most `limit` of them. */
  constructor(source: PageSource, pageSize: number, limit: number) {
    this.#source = source;
    this.pageSize = pageSize;
    this.memory = source.memory;
    this.#limit = limit;
  }

  /** Pages that exist. */
  get pages(): number {
    return this.#pages;
  }

  /** Pages that nobody refers to. */
  get unused(): number {
    return this.#free.length;
  }

  /** The device's address of a page. */
  addressOf(page: number): number {
    return this.high[page]! * UPPER_HALF + this.low[page]!;
  }

  /** A page with one reference, or -1 if memory is used up. */
  take(): number {
    let page = this.#free.pop() ?? this.#make();
    if (page < 0) {
      this.onPressure();
      page = this.#free.pop() ?? -1;
    }
    if (page >= 0) this.counts[page] = 1;
    return page;
  }

  /** Raises the references of a fresh page to the bias with which drivers start. */
  bias(page: number): number {
    this.counts[page]! += INT_MAX - 1;
    return INT_MAX;
  }

  /** Tops a used-up bias up: as many references as fit beside those of others. */
  topUp(page: number): number {
    const bias = INT_MAX - this.counts[page]!;
    this.counts[page]! += bias;
    return bias;
  }

  /** Drops references; at none the page is unused. */
  drop(page: number, references: number): void {
    const left = this.counts[page]! - references;
    this.counts[page] = left;
    if (left === 0) this.recycle(page);
  }

  /** Keeps an unused page for the next {@linkcode take}. */
  protected recycle(page: number): void {
    this.#free.push(page);
  }

  #make(): number {
    const page = this.#pages;
    if (page === this.#limit || this.#source.free < 2 * this.pageSize) return -1;
    if (page === this.counts.length) this.#grow(Math.max(FIRST_ROOM, 2 * page));
    const { offset, address } = this.#source.allocate(this.pageSize, this.pageSize);
    this.offsets[page] = offset;
    this.low[page] = address % UPPER_HALF;
    this.high[page] = Math.floor(address / UPPER_HALF);
    return this.#pages++;
  }

  #grow(room: number): void {
    const { offsets, low, high, counts } = this;
    this.offsets = new Uint32Array(room);
    this.low = new Uint32Array(room);
    this.high = new Uint32Array(room);
    this.counts = new Int32Array(room);
    this.offsets.set(offsets);
    this.low.set(low);
    this.high.set(high);
    this.counts.set(counts);
  }
}

/** What the driver tells the stack of the fragments it gives away. */
export interface PageHolder {
  /** A fragment of the frame under construction lies in this page and keeps a reference to it. */
  fragment(page: number): void;
  /** The frame is complete. A frame of which no fragment was given away may go unmentioned. */
  complete(): void;
  /** Whether it lets every frame go as soon as it is complete, so that frames of one fragment may go unmentioned, too. */
  readonly passes: boolean;
  /** The frame under construction is thrown away. */
  abort(): void;
}

/** A stack that keeps up to `hold` frames for a while, and lets them go in no particular order. */
export class HoldingStack implements PageHolder {
  readonly #pool: PagePool;
  readonly #held: number[][] = [];
  #current: number[] = [];
  #state: number;

  /** Holds so many frames; 0 lets each go as soon as it is complete. */
  constructor(pool: PagePool, hold: number, seed: number) {
    this.#pool = pool;
    for (let i = 0; i < hold; i++) this.#held.push([]);
    this.#state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  }

  /** Whether it holds no frames. */
  get passes(): boolean {
    return this.#held.length === 0;
  }

  /** Page references held by complete frames. */
  get references(): number {
    return this.#held.reduce((sum, pages) => sum + pages.length, 0);
  }

  /** A fragment lies in this page. */
  fragment(page: number): void {
    this.#current.push(page);
  }

  /** Keeps the frame in the place of another, which is let go. */
  complete(): void {
    const current = this.#current;
    if (current.length === 0) return;
    if (this.#held.length === 0) return this.#release(current);
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    const at = (this.#state >>> 0) % this.#held.length;
    const leaving = this.#held[at]!;
    this.#held[at] = current;
    this.#current = leaving;
    this.#release(leaving);
  }

  /** Lets all complete frames go: memory is short. Returns whether there were any. */
  shrink(): boolean {
    const held = this.#held.some((pages) => pages.length > 0);
    for (const pages of this.#held) this.#release(pages);
    return held;
  }

  /** Lets the frame under construction go. */
  abort(): void {
    this.#release(this.#current);
  }

  #release(pages: number[]): void {
    for (let i = 0; i < pages.length; i++) this.#pool.drop(pages[i]!, 1);
    pages.length = 0;
  }
}
