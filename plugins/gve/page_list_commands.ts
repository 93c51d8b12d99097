/**
 * The device's side of REGISTER_PAGE_LIST and UNREGISTER_PAGE_LIST.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import type { Values } from "../../core/layout.ts";
import { PAGE, RAW_ADDRESSING, STATUS } from "./constants.ts";
import { gve_page_list_entry } from "./layout_records.ts";
import { PageList } from "./page_list.ts";

/** Carries out the commands. Each answers with a status. */
export class PageListCommands {
  /** Page lists by id. */
  readonly lists: Map<number, PageList> = new Map();
  readonly #space: AddressSpace;
  readonly #maxPages: number;

  /** Reads arrays of addresses from `space`; all lists together have at most `maxPages` pages. */
  constructor(space: AddressSpace, maxPages: number) {
    this.#space = space;
    this.#maxPages = maxPages;
  }

  /** Pages in all lists. */
  get registeredPages(): number {
    let pages = 0;
    for (const list of this.lists.values()) pages += list.pages.length;
    return pages;
  }

  /** REGISTER_PAGE_LIST. */
  register(values: Values): number {
    const id = Number(values["page_list_id"]);
    const count = Number(values["num_pages"]);
    if (id === RAW_ADDRESSING || count === 0) return STATUS.INVALID_ARGUMENT;
    if (this.lists.has(id)) return STATUS.ALREADY_EXISTS;
    if (count + this.registeredPages > this.#maxPages) return STATUS.RESOURCE_EXHAUSTED;
    const entries = new Uint8Array(count * gve_page_list_entry.size);
    if (!this.#space.read(Number(values["page_address_list_addr"]), entries)) return STATUS.INVALID_ARGUMENT;
    const view = new DataView(entries.buffer);
    const pages = Float64Array.from(
      { length: count },
      (_, i) => Number(view.getBigUint64(i * gve_page_list_entry.size)),
    );
    if (pages.some((address) => address % PAGE !== 0)) return STATUS.INVALID_ARGUMENT;
    this.lists.set(id, new PageList(id, pages, BigInt(values["page_size"] as bigint)));
    return STATUS.PASSED;
  }

  /** UNREGISTER_PAGE_LIST. */
  unregister(values: Values): number {
    const id = Number(values["page_list_id"]);
    const list = this.lists.get(id);
    if (!list) return STATUS.NOT_FOUND;
    if (list.users > 0) return STATUS.FAILED_PRECONDITION;
    this.lists.delete(id);
    return STATUS.PASSED;
  }
}
