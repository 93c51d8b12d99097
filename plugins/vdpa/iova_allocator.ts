/**
 * Gives out device addresses for mappings that may lie anywhere.
 *
 * @module
 */

/** Takes the lowest hole that is large enough, as QEMU's IOVA tree does; address 0 stays free. */
export class IovaAllocator {
  readonly #align: number;
  /** Taken ranges in order, ends exclusive. */
  readonly #taken: [number, number][];

  /** Begins with nothing taken but the first page. */
  constructor(pageSize: number) {
    this.#align = pageSize;
    this.#taken = [[0, pageSize]];
  }

  /** An address, aligned to a page, at which `size` bytes are free; they are taken now. */
  allocate(size: number): number {
    const bytes = Math.ceil(size / this.#align) * this.#align;
    for (let i = 0;; i++) {
      const start = this.#taken[i]![1];
      const next = this.#taken[i + 1];
      if (next && next[0] - start < bytes) continue;
      this.#taken.splice(i + 1, 0, [start, start + bytes]);
      return start;
    }
  }
}
