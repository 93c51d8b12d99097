/**
 * The backend's table of static grants: references of one queue that stay mapped.
 *
 * The data rings do not change with them. A slot whose reference is found here is read or written through the
 * mapping; any other goes the ordinary way.
 *
 * @module
 */
import { Memory } from "../../core/memory.ts";
import type { GrantTable } from "./grant_table.ts";
import { GNTMAP, GNTST } from "./grant_layout.ts";
import { XEN_NETIF_CTRL_STATUS, XEN_NETIF_CTRLF_GREF_readonly, xen_netif_gref } from "./layout.ts";

const REF = xen_netif_gref.offsetOf("ref");
const FLAGS = xen_netif_gref.offsetOf("flags");
const STATUS = xen_netif_gref.offsetOf("status");
const ENTRY = xen_netif_gref.size;
const NOWHERE = new Memory(0);
const NOT_HERE = -1;

/** Static grants of one queue, shared by its two rings. */
export class StaticGrants {
  /** How many references it holds at most. */
  readonly capacity: number;
  /** The memory of each mapped page. */
  readonly memory: Memory[] = [];
  /** Where in its memory each mapped page starts. */
  readonly offset: Int32Array;
  /** 1 for each page that may be written. */
  readonly writable: Uint8Array;
  /** How many slots of frames not yet finished with point into each page. */
  readonly uses: Uint16Array;
  /**
   * For loops over many slots: the memory of the page mapped first, and by reference where in it each page
   * starts that may be read and that may be written. Negative: not a static grant, or in another memory,
   * which {@linkcode StaticGrants.find} tells. Empty as long as nothing is mapped.
   */
  common: Memory = NOWHERE;
  /** Starts of pages that may be read, by reference. */
  readPlaces: Int32Array = new Int32Array(0);
  /** Starts of pages that may be written, by reference. */
  writePlaces: Int32Array = this.readPlaces;
  /** Mappings made so far. This and the next are in the counters `grant.setup.map` and `grant.setup.unmap`. */
  maps = 0;
  /** Mappings ended so far. */
  unmaps = 0;
  readonly #grants: GrantTable;
  /** Entry number + 1 by reference. This and the other tables by reference are made with the first mapping. */
  #byRef = new Int32Array(0);
  readonly #refs: Uint32Array;
  readonly #handles: Uint32Array;
  readonly #free: Uint16Array;
  #freeCount: number;

  /**
   * An empty table.
   *
   * @param grants The grant table that the references belong to.
   * @param capacity How many references can be kept mapped.
   */
  constructor(grants: GrantTable, capacity: number) {
    this.#grants = grants;
    this.capacity = capacity;
    this.offset = new Int32Array(capacity);
    this.writable = new Uint8Array(capacity);
    this.uses = new Uint16Array(capacity);
    this.#refs = new Uint32Array(capacity);
    this.#handles = new Uint32Array(capacity);
    this.#free = new Uint16Array(capacity);
    for (let i = 0; i < capacity; i++) this.#free[i] = capacity - 1 - i;
    this.#freeCount = capacity;
  }

  /** How many references are mapped. */
  get size(): number {
    return this.capacity - this.#freeCount;
  }

  /** The number of the entry of a reference, or -1. */
  find(ref: number): number {
    return ref < this.#byRef.length ? this.#byRef[ref]! - 1 : -1;
  }

  /**
   * Maps all references of a list, or none.
   *
   * @param list A private copy of the list: nothing of it may change while it is judged.
   * @param count How many entries it has.
   * @returns `XEN_NETIF_CTRL_STATUS_*`: INVALID_PARAMETER if there is no room for all, a reference is there
   * already or twice, a flag is unknown, or a mapping fails.
   */
  add(list: Memory, count: number): number {
    if (count > this.#freeCount) return XEN_NETIF_CTRL_STATUS.INVALID_PARAMETER;
    for (let i = 0; i < count; i++) {
      const ref = list.view.getUint32(i * ENTRY + REF, true);
      if (this.#addOne(ref, list.view.getUint16(i * ENTRY + FLAGS, true))) continue;
      while (i-- > 0) this.#remove(this.find(list.view.getUint32(i * ENTRY + REF, true)));
      return XEN_NETIF_CTRL_STATUS.INVALID_PARAMETER;
    }
    return XEN_NETIF_CTRL_STATUS.SUCCESS;
  }

  #addOne(ref: number, flags: number): boolean {
    if ((flags & ~XEN_NETIF_CTRLF_GREF_readonly) !== 0 || this.find(ref) >= 0) return false;
    const readonly = (flags & XEN_NETIF_CTRLF_GREF_readonly) !== 0;
    const grants = this.#grants;
    const mapFlags = GNTMAP.host_map | (readonly ? GNTMAP.readonly : 0);
    if (grants.map(ref, mapFlags) !== GNTST.okay) return false;
    this.maps++;
    if (this.#byRef.length === 0) this.#makeTables();
    if (this.size === 0) this.common = grants.memory;
    const entry = this.#free[--this.#freeCount]!;
    this.#byRef[ref] = entry + 1;
    this.#refs[entry] = ref;
    this.#handles[entry] = grants.handle;
    this.memory[entry] = grants.memory;
    this.offset[entry] = grants.offset;
    this.writable[entry] = readonly ? 0 : 1;
    this.uses[entry] = 0;
    if (grants.memory !== this.common) return true;
    this.readPlaces[ref] = grants.offset;
    if (!readonly) this.writePlaces[ref] = grants.offset;
    return true;
  }

  /** As large as the grant table. */
  #makeTables(): void {
    const { entries } = this.#grants;
    this.#byRef = new Int32Array(entries);
    this.readPlaces = new Int32Array(entries).fill(NOT_HERE);
    this.writePlaces = new Int32Array(entries).fill(NOT_HERE);
  }

  /**
   * Unmaps the references of a list that are mapped and not in use.
   *
   * @param list A private copy of the list; each entry's `status` is written into it: SUCCESS or
   * INVALID_PARAMETER.
   * @param count How many entries it has.
   * @returns How many were unmapped.
   */
  delete(list: Memory, count: number): number {
    let removed = 0;
    for (let i = 0; i < count; i++) {
      const entry = this.find(list.view.getUint32(i * ENTRY + REF, true));
      const gone = entry >= 0 && this.uses[entry] === 0;
      if (gone) {
        this.#remove(entry);
        removed++;
      }
      const status = gone ? XEN_NETIF_CTRL_STATUS.SUCCESS : XEN_NETIF_CTRL_STATUS.INVALID_PARAMETER;
      list.view.setUint16(i * ENTRY + STATUS, status, true);
    }
    return removed;
  }

  /** Unmaps everything, in use or not: what a disconnect does. */
  clear(): void {
    for (const [ref, entry] of this.#byRef.entries()) {
      if (entry > 0) this.#remove(this.find(ref));
    }
  }

  #remove(entry: number): void {
    this.#grants.unmap(this.#handles[entry]!);
    this.unmaps++;
    const ref = this.#refs[entry]!;
    this.#byRef[ref] = 0;
    this.readPlaces[ref] = this.writePlaces[ref] = NOT_HERE;
    this.memory[entry] = NOWHERE;
    this.#free[this.#freeCount++] = entry;
  }
}
