/**
 * Pages of a frontend: a pool that is granted once, and ordinary ones that are granted for each use.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import type { GrantEntries } from "./grant_entries.ts";
import { PAGE_SIZE } from "./layout.ts";

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
  /**
   * Pages below this number are granted for good: the pool's size, or 0 if the backend keeps no static
   * grants.
   */
  granted: number;
  readonly #grants: GrantEntries;
  readonly #readonly: boolean;
  /** Free pages of either kind, the last freed one first. */
  readonly #free: readonly [Uint16Array, Uint16Array];
  #freePool: number;
  #freeOrdinary: number;

  /** Makes the pages and grants those of the pool. */
  constructor(dma: DmaMemory, grants: GrantEntries, pool: number, ordinary: number, readonly: boolean) {
    this.offset = dma.allocate((pool + ordinary) * PAGE_SIZE, PAGE_SIZE).offset | 0;
    this.firstRef = grants.allocate(pool + ordinary);
    this.poolPages = this.granted = pool;
    this.ordinaryPages = ordinary;
    this.#grants = grants;
    this.#readonly = readonly;
    this.#free = [new Uint16Array(pool), new Uint16Array(ordinary)];
    for (let i = 0; i < pool; i++) this.#free[0][i] = pool - 1 - i;
    for (let i = 0; i < ordinary; i++) this.#free[1][i] = pool + ordinary - 1 - i;
    this.#freePool = pool;
    this.#freeOrdinary = ordinary;
    for (let page = 0; page < pool; page++) {
      grants.grant(this.firstRef + page, this.offset + page * PAGE_SIZE, readonly);
    }
  }

  /** Whether the pool's pages may only be read. */
  get readonly(): boolean {
    return this.#readonly;
  }

  /** How many pages can be taken now: of both kinds, or only ordinary ones. */
  available(pooled: boolean): number {
    return pooled ? this.#freePool + this.#freeOrdinary : this.#freeOrdinary;
  }

  /** Takes a page: of the pool if wanted and there is one, else an ordinary one. */
  take(pooled: boolean): number {
    if (pooled && this.#freePool > 0) return this.#free[0][--this.#freePool]!;
    return this.#free[1][--this.#freeOrdinary]!;
  }

  /** Gives a page back. */
  give(page: number): void {
    if (page < this.poolPages) this.#free[0][this.#freePool++] = page;
    else this.#free[1][this.#freeOrdinary++] = page;
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
