/**
 * The hypervisor's part of grants: map, unmap and copy, judged by the bytes of a domain's grant table.
 *
 * A domain writes entries (`grant_entries.ts`), another one names them by reference. This model stands
 * between the two as Xen does: it reads the entry's bytes, checks them, finds the page, and sets the in-use
 * bits in the granter's own entry. It knows neither half.
 *
 * @module
 */
import {
  type Access,
  type AddressSpace,
  NO_REGION,
  READ,
  READ_WRITE,
  type Region,
} from "../../core/address_space.ts";
import type { Memory } from "../../core/memory.ts";
import {
  GNTMAP,
  GNTST,
  grant_entry_v1,
  grant_entry_v2_full_page,
  grant_entry_v2_sub_page,
  grant_status_v2,
  GTF,
  GTF_TYPE,
  GTF_type_mask,
} from "./grant_layout.ts";
import { PAGE_SIZE } from "./layout.ts";

// The engine looks an imported constant up at each use, but folds a module's own.
const PAGE = PAGE_SIZE;
const DEVICE_READS = READ;
const DEVICE_WRITES = READ_WRITE;
const {
  okay: OKAY,
  bad_gntref: BAD_GNTREF,
  general_error: GENERAL_ERROR,
  no_space: NO_SPACE,
  bad_handle: BAD_HANDLE,
  bad_copy_arg: BAD_COPY_ARG,
  bad_page: BAD_PAGE,
} = GNTST;
const { readonly: READONLY, reading: READING, writing: WRITING, sub_page: SUB_PAGE } = GTF;
const MAP_ANY = GNTMAP.device_map | GNTMAP.host_map;
const MAP_READONLY = GNTMAP.readonly;
const V1_DOMID = grant_entry_v1.offsetOf("domid");
const V1_FRAME = grant_entry_v1.offsetOf("frame");
const V2_FRAME = grant_entry_v2_full_page.offsetOf("frame");
const V2_PAGE_OFF = grant_entry_v2_sub_page.offsetOf("page_off");
const V2_LENGTH = grant_entry_v2_sub_page.offsetOf("length");
const DOMID_SHIFT = 8 * V1_DOMID;
const PERMIT_MASK = GTF_type_mask | (0xffff << DOMID_SHIFT);
const V2_UPPER_FRAME = V2_FRAME + 4;
const UPPER_HALF = 2 ** 32;
const V1_SIZE = grant_entry_v1.size;
const V2_SIZE = grant_entry_v2_full_page.size;
const STATUS_SIZE = grant_status_v2.size;

/** Where a domain's grant table stands: what it told the hypervisor, and what the other domain is. */
export interface GrantTableSite {
  /** The granting domain's memory. */
  readonly space: AddressSpace;
  /** Version of the entries. */
  readonly version: 1 | 2;
  /** Address of entry 0. */
  readonly address: number;
  /** How many entries there are. */
  readonly entries: number;
  /** Address of the status words, with version 2. */
  readonly statusAddress?: number;
  /** The domain that maps and copies. */
  readonly domid: number;
}

/** A grant table seen by the hypervisor on behalf of one other domain. */
export class GrantTable {
  /** After a `map` that was okay: the memory that holds the page. */
  memory: Memory = NO_REGION.memory;
  /** After a `map` that was okay: where in it the page starts. */
  offset = 0;
  /** After a `map` that was okay: what to unmap it by. */
  handle = 0;
  readonly #space: AddressSpace;
  /** Type and domain in the first word of an entry that permits access. */
  readonly #permit: number = 0;
  readonly #version: number = 0;
  readonly #entries: number = 0;
  /** The table's own memory and where entries and status words start in it. */
  readonly #table: Memory;
  readonly #base: number = 0;
  /** How far to shift a reference to get at its entry, and to get at its in-use bits. */
  readonly #entryShift: number = 0;
  readonly #statusShift: number = 0;
  /** Where in an entry the frame number stands, or its lower half. */
  readonly #frameOffset: number = 0;
  readonly #status: Memory;
  readonly #statusBase: number = 0;
  /** Mappings of each reference, and those that may write. */
  readonly #pins: Uint32Array;
  readonly #writers: Uint32Array;
  /** Address of a mapped reference's page: fixed while it is mapped, whatever the entry says. */
  readonly #pinned: Float64Array;
  /** Reference and rights of each handle: 2 * ref + writable + 1, or 0 if the handle is free. */
  readonly #handles: Uint32Array;
  /** Handles that were freed, the last one last, and the first that was never given out. */
  readonly #freeHandles: Uint32Array;
  #nextHandle = 0;
  #freeCount = 0;
  #mapped = 0;
  /** The region in which the last page was found. */
  #region = NO_REGION;
  #generation = -1;
  /**
   * Its whole pages, for a look-up without addresses: lower half of the first one's frame number, the upper
   * half of all, how many there are, and where the first one starts in the region's memory.
   */
  #firstFrame = 0;
  #upperFrame = 0;
  #frames = 0;
  #firstPage = 0;
  #windowStart = 0;
  #windowEnd = PAGE;

  /**
   * Attaches to a table.
   *
   * @param site Where it is.
   * @param handles How many mappings there can be at a time.
   * @throws {RangeError} If the table does not lie in the domain's memory.
   */
  constructor(site: GrantTableSite, handles: number = 2 * site.entries) {
    this.#space = site.space;
    this.#permit = GTF_TYPE.permit_access | (site.domid << DOMID_SHIFT);
    this.#version = site.version;
    this.#entries = site.entries;
    const entrySize = site.version === 1 ? V1_SIZE : V2_SIZE;
    this.#entryShift = Math.log2(entrySize);
    this.#statusShift = Math.log2(site.version === 1 ? V1_SIZE : STATUS_SIZE);
    this.#frameOffset = site.version === 1 ? V1_FRAME : V2_FRAME;
    const table = site.space.contiguous(site.address, site.entries * entrySize, READ_WRITE);
    const status = site.version === 1
      ? table
      : site.space.contiguous(site.statusAddress ?? -1, site.entries * STATUS_SIZE, READ_WRITE);
    if (!table || !status) {
      throw new RangeError(`Cannot find the grant table in the domain's memory: address ${site.address}`);
    }
    this.#table = table.memory;
    this.#base = table.offsetOf(site.address);
    this.#status = status.memory;
    this.#statusBase = site.version === 1 ? this.#base : status.offsetOf(site.statusAddress!);
    this.#pins = new Uint32Array(site.entries);
    this.#writers = new Uint32Array(site.entries);
    this.#pinned = new Float64Array(site.entries);
    this.#handles = new Uint32Array(handles);
    this.#freeHandles = new Uint32Array(handles);
  }

  /** How many mappings there are now. */
  get mapped(): number {
    return this.#mapped;
  }

  /** The memory in which {@linkcode GrantTable.findForCopies} found pages last. */
  get copyMemory(): Memory {
    return this.#region.memory;
  }

  /** How many references the table has. */
  get entries(): number {
    return this.#entries;
  }

  /**
   * Maps a reference: `GNTTABOP_map_grant_ref`. If okay, `memory`, `offset` and `handle` say what came of it.
   *
   * @param ref The reference.
   * @param flags `GNTMAP_*`.
   * @returns `GNTST_*`.
   */
  map(ref: number, flags: number): number {
    if ((flags & MAP_ANY) === 0 || ref >= this.#entries) {
      return BAD_GNTREF;
    }
    if (this.#freeCount === 0 && this.#nextHandle === this.#handles.length) return NO_SPACE;
    const writable = (flags & MAP_READONLY) === 0;
    const place = this.#find(ref, writable, false);
    if (place < 0) return place;
    if (this.#pins[ref]!++ === 0) this.#pinned[ref] = this.#region.addressOf(place);
    if (writable) this.#writers[ref]!++;
    this.#mark(ref, writable ? READING | WRITING : READING);
    const handle = this.#freeCount > 0 ? this.#freeHandles[--this.#freeCount]! : this.#nextHandle++;
    this.#handles[handle] = 2 * ref + (writable ? 1 : 0) + 1;
    this.#mapped++;
    this.handle = handle;
    this.offset = place;
    this.memory = this.#region.memory;
    return OKAY;
  }

  /**
   * Ends a mapping: `GNTTABOP_unmap_grant_ref`.
   *
   * @returns `GNTST_*`.
   */
  unmap(handle: number): number {
    const entry = handle < this.#handles.length ? this.#handles[handle]! - 1 : -1;
    if (entry < 0) return BAD_HANDLE;
    this.#handles[handle] = 0;
    this.#freeHandles[this.#freeCount++] = handle;
    this.#mapped--;
    const ref = entry >>> 1;
    let clear = 0;
    if ((entry & 1) !== 0 && --this.#writers[ref]! === 0) clear = WRITING;
    if (--this.#pins[ref]! === 0) clear |= READING;
    if (clear !== 0) this.#unmark(ref, clear);
    return OKAY;
  }

  /**
   * Copies out of a granted page: `GNTTABOP_copy` with a reference as source.
   *
   * @returns `GNTST_*`. A copy of no bytes is okay whatever else it names.
   */
  copyFrom(ref: number, offset: number, length: number, target: Memory, targetOffset: number): number {
    if (length === 0) return OKAY;
    const place = this.#findForCopy(ref, offset, length, false);
    if (place < 0) return place;
    target.copyFrom(targetOffset, this.#region.memory.bytes, place + offset, length);
    return OKAY;
  }

  /**
   * Checks a copy into a granted page, `GNTTABOP_copy` with a reference as destination, and says where its
   * bytes go: `memory` and `offset` are then set, and the caller moves the bytes. (A receive copy gathers
   * them from several places; the operation stays one per page.)
   *
   * @returns `GNTST_*`. A copy of no bytes is okay whatever else it names.
   */
  beginCopyTo(ref: number, offset: number, length: number): number {
    if (length === 0) return OKAY;
    const place = this.#findForCopy(ref, offset, length, true);
    if (place < 0) return place;
    this.memory = this.#region.memory;
    this.offset = place + offset;
    return OKAY;
  }

  /**
   * Checks copies out of granted pages or into them, none of which leaves its page, and says where their bytes are:
   * for whoever moves the bytes of many himself. The in-use bits that a copy sets and clears again cannot be seen in
   * between, as nothing else runs: they are left out.
   *
   * @param refs The references, as signed numbers.
   * @param places Where in its page each copy starts: becomes where it starts in {@linkcode GrantTable.copyMemory}.
   * @param count How many there are.
   * @param writable Whether the pages are copied into.
   * @returns How many of the first are okay, grant whole pages, and lie in the same memory: others are to be copied
   *   one by one.
   */
  findForCopies(refs: Int32Array, places: Int32Array, count: number, writable: boolean): number {
    const view = this.#table.view;
    const base = this.#base;
    const entryShift = this.#entryShift;
    const frameOffset = this.#frameOffset;
    const entries = this.#entries;
    const pins = this.#pins;
    const isWide = this.#version !== 1;
    const permit = this.#permit;
    const judged = PERMIT_MASK | (writable ? READONLY : 0) | (isWide ? SUB_PAGE : 0);
    const access = writable ? DEVICE_WRITES : DEVICE_READS;
    const firstFrame = this.#firstFrame;
    const upperFrame = this.#upperFrame;
    const firstPage = this.#firstPage;
    const isKnown = this.#generation === this.#space.generation && (this.#region.access & access) === access;
    let frames = isKnown ? this.#frames : 0;
    let i = 0;
    for (; i < count; i = (i + 1) | 0) {
      const ref = refs[i]!;
      if (ref < 0 || ref >= entries) break;
      const at = (base + (ref << entryShift)) | 0;
      const head = view.getInt32(at, true);
      if (((head ^ permit) & judged) !== 0) break;
      const page = (view.getInt32((at + frameOffset) | 0, true) - firstFrame) | 0;
      const upper = isWide === true ? view.getInt32((at + V2_UPPER_FRAME) | 0, true) : upperFrame;
      if (page >= 0 && page < frames && upper === upperFrame && pins[ref] === 0) {
        places[i] = (places[i]! + firstPage + page * PAGE) | 0;
        continue;
      }
      const region = this.#region;
      const place = this.#find(ref, writable, false);
      if (place < 0) break;
      if (i > 0 && this.#region.memory !== region.memory) {
        this.#remember(region);
        break;
      }
      places[i] = (places[i]! + place) | 0;
      // What is known above may be of another region.
      frames = 0;
    }
    return i;
  }

  /** Checks a copy out of a granted page or into it. Where in `#region` the page starts, or a negative `GNTST_*`. */
  #findForCopy(ref: number, offset: number, length: number, writable: boolean): number {
    if (offset + length > PAGE) return BAD_COPY_ARG;
    if (ref >= this.#entries) return BAD_GNTREF;
    const place = this.#find(ref | 0, writable, true);
    if (place >= 0 && (offset < this.#windowStart || offset + length > this.#windowEnd)) {
      return GENERAL_ERROR;
    }
    return place;
  }

  /** Where the page of a reference lies in the memory of `#region`, or a negative `GNTST_*`. */
  #find(ref: number, writable: boolean, window: boolean): number {
    const view = this.#table.view;
    const at = (this.#base + (ref << this.#entryShift)) | 0;
    // Flags and domain in one read, so that they belong together.
    const head = view.getInt32(at, true);
    if (((head ^ this.#permit) & PERMIT_MASK) !== 0) return GENERAL_ERROR;
    if (writable && (head & READONLY) !== 0) return GENERAL_ERROR;
    const frame = view.getInt32((at + this.#frameOffset) | 0, true);
    let upper = 0;
    if (this.#version !== 1) {
      upper = view.getInt32(at + V2_UPPER_FRAME, true);
      this.#windowStart = 0;
      this.#windowEnd = PAGE;
      if ((head & SUB_PAGE) !== 0) {
        if (!window) return GENERAL_ERROR;
        this.#windowStart = view.getUint16(at + V2_PAGE_OFF, true);
        this.#windowEnd = this.#windowStart + view.getUint16(at + V2_LENGTH, true);
      }
    }
    const access = writable === true ? DEVICE_WRITES : DEVICE_READS;
    if (this.#pins[ref] !== 0) return this.#locate(this.#pinned[ref]!, access);
    const page = (frame - this.#firstFrame) | 0;
    if (
      page >= 0 && page < this.#frames && upper === this.#upperFrame &&
      this.#generation === this.#space.generation && (this.#region.access & access) === access
    ) return (this.#firstPage + page * PAGE) | 0;
    return this.#locate(((upper >>> 0) * UPPER_HALF + (frame >>> 0)) * PAGE, access);
  }

  /** Where the page at an address lies in the memory of `#region`, or a negative `GNTST_*`. */
  #locate(address: number, access: Access): number {
    if (this.#generation !== this.#space.generation) {
      this.#remember(NO_REGION);
      this.#generation = this.#space.generation;
    }
    let region = this.#region;
    if (!region.holds(address, PAGE) || (region.access & access) !== access) {
      const found = address <= Number.MAX_SAFE_INTEGER ? this.#space.find(address, access) : undefined;
      if (!found?.holds(address, PAGE)) return BAD_PAGE;
      region = found;
      this.#remember(found);
    }
    return region.offsetOf(address);
  }

  #remember(region: Region): void {
    this.#region = region;
    const first = Math.ceil(region.start / PAGE);
    const end = Math.floor(region.end / PAGE);
    const upper = Math.floor(first / UPPER_HALF);
    this.#firstFrame = first | 0;
    this.#upperFrame = upper | 0;
    // A region of frames whose upper halves differ is left to look-ups by address.
    this.#frames = upper === Math.floor(end / UPPER_HALF) ? Math.max(end - first, 0) : 0;
    this.#firstPage = region.offsetOf(first * PAGE);
  }

  #mark(ref: number, bits: number): void {
    const at = this.#bitsOf(ref);
    const view = this.#status.view;
    view.setUint16(at, view.getUint16(at, true) | bits, true);
  }

  #unmark(ref: number, bits: number): void {
    const at = this.#bitsOf(ref);
    const view = this.#status.view;
    view.setUint16(at, view.getUint16(at, true) & ~bits, true);
  }

  /** Where the in-use bits of a reference are: in the flags of version 1, in the status word of version 2. */
  #bitsOf(ref: number): number {
    return (this.#statusBase + (ref << this.#statusShift)) | 0;
  }
}
