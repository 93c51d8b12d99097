/**
 * Queue page lists as the device keeps them: registered before the queue, unchangeable after.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import type { Values } from "../../core/layout.ts";
import { PAGE, RAW_ADDRESSING, STATUS } from "./constants.ts";
import { gve_page_list_entry } from "./layout_records.ts";

const ENTRY = gve_page_list_entry.size;
const ADDR = gve_page_list_entry.offsetOf("addr");
const UPPER_HALF = 2 ** 32;

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

/** Carries out REGISTER_PAGE_LIST and UNREGISTER_PAGE_LIST. Each answers with a status. */
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
    const entries = new Uint8Array(count * ENTRY);
    if (!this.#space.read(Number(values["page_address_list_addr"]), entries)) return STATUS.INVALID_ARGUMENT;
    const view = new DataView(entries.buffer);
    const pages = new Float64Array(count);
    for (let i = 0; i < count; i++) {
      const low = view.getUint32(i * ENTRY + ADDR + 4);
      if ((low & (PAGE - 1)) !== 0) return STATUS.INVALID_ARGUMENT;
      pages[i] = view.getUint32(i * ENTRY + ADDR) * UPPER_HALF + low;
    }
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
