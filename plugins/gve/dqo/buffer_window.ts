/**
 * Where the buffers of a batch lie: offsets to compare with, so that a loop over many needs no address as a whole.
 *
 * @module
 */
import type { Memory } from "../../../core/memory.ts";
import { NO_REGION } from "../../../core/address_space.ts";
import type { PageList } from "../page_list.ts";
import type { SpaceAccess } from "../space_access.ts";

/**
 * A part of one region. A buffer lies in it if the upper half of its address is `high`, and the bytes from the offset
 * `(low + shift) | 0` on are between `first` and `last`.
 */
export class BufferWindow {
  /** What the offsets are of. */
  memory: Memory = NO_REGION.memory;
  /** Upper half of the addresses. */
  high = 0;
  /** What turns the lower half of an address into an offset. */
  shift = 0;
  /** Where it starts. */
  first = 0;
  /** Where it ends: nothing lies in it before it was moved. */
  last = 0;
  readonly #access: SpaceAccess;
  readonly #list: PageList | undefined;

  /** Looks up what `access` reaches, and stays in the pages of `list` if there is one. */
  constructor(access: SpaceAccess, list: PageList | undefined) {
    this.#access = access;
    this.#list = list;
  }

  /** Nothing lies in it any more. */
  close(): void {
    this.last = this.first = 0;
  }

  /** Whether `length` bytes at an address, given by its halves, lie in it. */
  holds(high: number, low: number, length: number): boolean {
    const offset = (low + this.shift) | 0;
    return high === this.high && offset >= this.first && length <= this.last - offset;
  }

  /** Moves to where an address lies. False if that is nowhere, or no place that halves of addresses can tell. */
  moveTo(high: number, low: number): boolean {
    const address = (high >>> 0) * 2 ** 32 + (low >>> 0);
    const region = this.#access.regionAt(address);
    let { start, end } = region;
    if (this.#list !== undefined) {
      const run = this.#list.runAt(address);
      if (run === undefined) return false;
      start = Math.max(start, run.start);
      end = Math.min(end, run.end);
    }
    if (region.high < 0 || start >= end) return false;
    this.memory = region.memory;
    this.high = region.high;
    this.shift = region.shift;
    this.first = region.offsetOf(start);
    this.last = region.offsetOf(end);
    return true;
  }
}
