/**
 * Pages of a frontend: a pool that is granted once, and ordinary ones that are granted for each use.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import type { GrantEntries } from "./grant_entries.ts";
import { PAGE_SIZE } from "./layout.ts";

// The engine looks an imported constant up at each use, but folds a module's own.
const PAGE = PAGE_SIZE;
/** Free pages, the last freed one first. */
export class PageStack {
  /** The pages; those from `count` on have been taken. */
  readonly pages: Uint16Array;
  /** How many are free. */
  count: number;

  /** Takes `count` pages from number `first` on, to be handed out in ascending order. */
  constructor(first: number, count: number) {
    this.pages = new Uint16Array(count);
    for (let i = 0; i < count; i++) this.pages[i] = first + count - 1 - i;
    this.count = count;
  }
}

/** Pages by number: first those of the pool, then the ordinary ones. Each has a reference of its own. */
export class PagePool {
  /** Offset of page 0 in the driver's memory. The others follow. */
  readonly offset: number;
  /** Reference of page 0. The others follow. */
  readonly firstRef: number;
  /** How many pages belong to the pool. */
  readonly poolPages: number;
  /** How many pages are ordinary. */
  readonly ordinaryPages: number;
  /** Free pages of the pool. */
  readonly pool: PageStack;
  /** Free ordinary pages. */
  readonly ordinary: PageStack;
  /** Whether the pool's pages may only be read. */
  readonly readonly: boolean;
  /**
   * Pages below this number are granted for good: the pool's size, or 0 if the backend keeps no static
   * grants.
   */
  granted: number;
  readonly #grants: GrantEntries;

  /** Makes the pages and grants those of the pool. */
  constructor(dma: DmaMemory, grants: GrantEntries, pool: number, ordinary: number, readonly: boolean) {
    this.offset = dma.allocate((pool + ordinary) * PAGE, PAGE).offset | 0;
    this.firstRef = grants.allocate(pool + ordinary);
    this.poolPages = this.granted = pool;
    this.ordinaryPages = ordinary;
    this.readonly = readonly;
    this.#grants = grants;
    this.pool = new PageStack(0, pool);
    this.ordinary = new PageStack(pool, ordinary);
    for (let page = 0; page < pool; page++) {
      grants.grant(this.firstRef + page, this.offset + page * PAGE, readonly);
    }
  }

  /** How many pages can be taken now: of both kinds, or only ordinary ones. */
  available(pooled: boolean): number {
    return pooled ? this.pool.count + this.ordinary.count : this.ordinary.count;
  }

  /** Where the next page is to be taken from: the pool if wanted and there is one, else the ordinary ones. */
  source(pooled: boolean): PageStack {
    return pooled && this.pool.count > 0 ? this.pool : this.ordinary;
  }

  /** Takes a page. There must be one: see {@linkcode PagePool.available}. */
  take(pooled: boolean): number {
    const stack = this.source(pooled);
    return stack.pages[--stack.count]!;
  }

  /** Gives a page back. */
  give(page: number): void {
    const stack = page < this.poolPages ? this.pool : this.ordinary;
    stack.pages[stack.count++] = page;
  }

  /**
   * The backend keeps static grants only for the first `keep` pages: the others are granted for each use as
   * well.
   */
  limit(keep: number): void {
    for (let page = keep; page < this.granted; page++) this.#grants.end(this.firstRef + page);
    this.granted = Math.min(this.granted, keep);
  }
}
