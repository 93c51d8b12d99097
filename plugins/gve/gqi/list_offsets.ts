/**
 * Where the pages of a page list are in memory, for loops that must not look up each.
 *
 * @module
 */
import type { Access, AddressSpace } from "../../../core/address_space.ts";
import { Memory } from "../../../core/memory.ts";
import { PAGE } from "../constants.ts";
import type { PageList } from "../page_list.ts";

// Bindings of this module, unlike imported ones, are constants for the engine.
const PAGE_SIZE = PAGE;
const PAGE_SHIFT = Math.log2(PAGE);
const NO_MEMORY = new Memory(0);

/** Offsets of a list's pages in one memory, as long as the map of the address space stays the same. */
export class ListOffsets {
  /** Offset of each page in {@linkcode memory}; empty if the pages do not all lie in one memory, or not at all. */
  offsets: Int32Array = new Int32Array(0);
  /** For each page: where in memory it ends, or the last of those that follow it in list and memory alike. */
  ends: Int32Array = new Int32Array(0);
  /** The memory. */
  memory: Memory = NO_MEMORY;
  readonly #list: PageList;
  readonly #access: Access;

  /** Starts without offsets. */
  constructor(list: PageList, access: Access) {
    this.#list = list;
    this.#access = access;
  }

  /** Looks all pages up. */
  find(space: AddressSpace): void {
    const { pages } = this.#list;
    const offsets = new Int32Array(pages.length);
    const ends = new Int32Array(pages.length);
    const memory = space.find(pages[0]!, this.#access)?.memory;
    this.offsets = this.ends = new Int32Array(0);
    for (let i = pages.length - 1; i >= 0; i--) {
      const region = space.find(pages[i]!, this.#access);
      if (region === undefined || region.memory !== memory || !region.holds(pages[i]!, PAGE)) return;
      const offset = offsets[i] = region.offsetOf(pages[i]!);
      ends[i] = offset + PAGE === offsets[i + 1] ? ends[i + 1]! : offset + PAGE;
    }
    this.offsets = offsets;
    this.ends = ends;
    this.memory = memory!;
  }

  /** Where in memory `length` bytes at an offset of the list are, or -1 if they do not lie there in one piece. */
  at(offset: number, length: number): number {
    const page = offset >>> PAGE_SHIFT;
    if (page >= this.offsets.length) return -1;
    const start = (this.offsets[page]! + (offset & (PAGE_SIZE - 1))) | 0;
    return length > ((this.ends[page]! - start) | 0) ? -1 : start;
  }
}
