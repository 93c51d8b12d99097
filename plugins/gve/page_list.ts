/**
 * Queue page lists as the device keeps them: registered before the queue, unchangeable after.
 *
 * @module
 */
import { PAGE } from "./constants.ts";

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
  /** Runs of pages that follow one another, by address. */
  #runs: { readonly starts: number[]; readonly ends: number[] } | undefined;

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

  /** Whether `length` bytes at an address lie in the list's pages. */
  holds(address: number, length: number): boolean {
    const run = this.#find(address);
    return run >= 0 && address + length <= this.#runs!.ends[run]!;
  }

  /** The pages around an address that follow one another: where they start and end. */
  runAt(address: number): { readonly start: number; readonly end: number } | undefined {
    if (!this.holds(address, 1)) return undefined;
    const run = this.#find(address);
    return { start: this.#runs!.starts[run]!, end: this.#runs!.ends[run]! };
  }

  /** The last run that does not start behind an address, or -1. */
  #find(address: number): number {
    const { starts } = this.#runs ??= runs(this.pages);
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** Joins pages that follow one another. */
function runs(pages: Float64Array): { starts: number[]; ends: number[] } {
  const starts: number[] = [];
  const ends: number[] = [];
  for (const page of pages.toSorted()) {
    const last = ends.length - 1;
    if (last >= 0 && page <= ends[last]!) ends[last] = page + PAGE;
    else {
      starts.push(page);
      ends.push(page + PAGE);
    }
  }
  return { starts, ends };
}
