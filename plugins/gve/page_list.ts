/**
 * Queue page lists as the device keeps them: registered before the queue, unchangeable after.
 *
 * @module
 */
import { PAGE } from "./constants.ts";

/** Bits of an offset within a page. */
const PAGE_BITS = Math.log2(PAGE);

/** One registered list. */
export class PageList {
  /** As the driver chose it. */
  readonly id: number;
  /** Addresses of the pages, copied at registration: later changes of the driver's array have no effect. */
  readonly pages: Float64Array;
  /** What the driver said a page is long. Recorded and ignored: pages are 4096 bytes. */
  readonly pageSize: bigint;
  /** Bytes that the list spans. */
  readonly bytes: number;
  /** Queues that use it. */
  users = 0;

  /** Takes a list over. */
  constructor(id: number, pages: Float64Array, pageSize: bigint) {
    this.id = id;
    this.pages = pages;
    this.pageSize = pageSize;
    this.bytes = pages.length * PAGE;
  }

  /** Address of the byte at an offset that lies in the list. */
  address(offset: number): number {
    return this.pages[Math.floor(offset / PAGE)]! + (offset & (PAGE - 1));
  }

  /** Whether an address lies in one of the pages. For checks, not for the hot path. */
  holds(address: number, length: number): boolean {
    const sorted = this.#sorted ??= this.pages.toSorted();
    let left = length;
    while (left > 0) {
      const page = sorted[this.#below(sorted, address)];
      if (page === undefined || address - page >= PAGE) return false;
      const part = Math.min(left, page + PAGE - address);
      left -= part;
      address += part;
    }
    return true;
  }
  #sorted: Float64Array | undefined;

  /** Index of the last page at or below an address, or -1. */
  #below(sorted: Float64Array, address: number): number {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sorted[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** How many pages `bytes` bytes take. */
export function pagesFor(bytes: number): number {
  return (bytes + PAGE - 1) >>> PAGE_BITS;
}
