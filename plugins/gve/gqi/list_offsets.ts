/**
 * Where the pages of a page list are in memory, for loops that must not look up each.
 *
 * @module
 */
import type { Access, AddressSpace } from "../../../core/address_space.ts";
import { Memory } from "../../../core/memory.ts";
import { PAGE } from "../constants.ts";
import type { PageList } from "../page_list.ts";

const NO_MEMORY = new Memory(0);

/** Offsets of a list's pages in one memory, as long as the map of the address space stays the same. */
export class ListOffsets {
  /** Offset of each page in {@linkcode memory}; empty if the pages do not all lie in one memory, or not at all. */
  offsets: Int32Array = new Int32Array(0);
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
    const memory = space.find(pages[0]!, this.#access)?.memory;
    for (let i = 0; i < pages.length; i++) {
      const region = space.find(pages[i]!, this.#access);
      if (region === undefined || region.memory !== memory || !region.holds(pages[i]!, PAGE)) {
        this.offsets = new Int32Array(0);
        return;
      }
      offsets[i] = region.offsetOf(pages[i]!);
    }
    this.offsets = offsets;
    this.memory = memory!;
  }
}
