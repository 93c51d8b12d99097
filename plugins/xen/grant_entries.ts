/**
 * A domain's own part of grants: it gives out references and writes the entries of its table.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import type { Memory } from "../../core/memory.ts";
import {
  GNTTAB_NR_RESERVED_ENTRIES,
  grant_entry_v1,
  grant_entry_v2_full_page,
  grant_status_v2,
  GTF,
  GTF_TYPE,
} from "./grant_layout.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "./layout.ts";

// The engine looks an imported constant up at each use, but folds a module's own.
const PAGE = PAGE_SIZE;
const SHIFT = PAGE_SHIFT;
const V1_FLAGS = grant_entry_v1.offsetOf("flags");
const V1_DOMID = grant_entry_v1.offsetOf("domid");
const V1_FRAME = grant_entry_v1.offsetOf("frame");
const V2_PAD = grant_entry_v2_full_page.offsetOf("pad0");
const V2_FRAME = grant_entry_v2_full_page.offsetOf("frame");
const V2_UPPER_FRAME = V2_FRAME + 4;
const UPPER_HALF = 2 ** 32;
const READONLY = GTF.readonly;
const IN_USE = GTF.reading | GTF.writing;

/** Pages that follow each other, and whose references do. */
export interface PageRun {
  /** Where the first page starts in the driver's memory. */
  readonly offset: number;
  /** Its reference. */
  readonly firstRef: number;
  /** How many of the first pages are granted once and for all. */
  readonly granted: number;
}

/**
 * A grant table in a driver's memory, made and written by the driver. Version 1 has 512 entries of 8 bytes to
 * a page; version 2 has 256 of 16 bytes, and status words in pages of their own.
 */
export class GrantEntries {
  /** Version of the entries. */
  readonly version: 1 | 2;
  /** How many entries there are. */
  readonly entries: number;
  /** Address of entry 0. */
  readonly address: number;
  /** Address of the status words; with version 1 the same as `address`. */
  readonly statusAddress: number;
  readonly #memory: Memory;
  /** Where entry 0 starts, and how far to shift a reference to get at its own; likewise for the in-use bits. */
  readonly #base: number = 0;
  readonly #entryShift: number = 0;
  readonly #frameOffset: number = 0;
  /** Whether frame numbers have an upper half. */
  readonly #wide: boolean = false;
  readonly #status: number = 0;
  readonly #statusShift: number = 0;
  /** What turns the offset of a page into a multiple of a page's size, and that into a frame number. */
  readonly #lead: number = 0;
  readonly #frameBase: number = 0;
  /** The lower half of it. */
  readonly #firstFrame: number = 0;
  /** Flags and domain of an entry that permits access, as one number. */
  readonly #permit: number = 0;
  #grants = 0;
  #ends = 0;
  /** Entries ended and granted in one. */
  #renewals = 0;
  #next = GNTTAB_NR_RESERVED_ENTRIES;

  /**
   * Makes a table.
   *
   * @param dma Where the table and the pages to be granted lie.
   * @param version Version of the entries.
   * @param references How many references will be given out.
   * @param domid The domain to which access is granted.
   * @throws {RangeError} If frame numbers of the memory do not fit the entries.
   */
  constructor(dma: DmaMemory, version: 1 | 2, references: number, domid: number) {
    const { end } = dma.region;
    if (version === 1 && end > UPPER_HALF * PAGE) {
      throw new RangeError(
        `Cannot grant memory up to 0x${end.toString(16)} with 32 bits for a frame number: version 2 has 64`,
      );
    }
    this.version = version;
    const size = version === 1 ? grant_entry_v1.size : grant_entry_v2_full_page.size;
    const perPage = PAGE / size;
    const frames = Math.ceil((GNTTAB_NR_RESERVED_ENTRIES + references) / perPage);
    this.entries = frames * perPage;
    const table = dma.allocate(frames * PAGE, PAGE);
    const words = version === 1 ? table : dma.allocate(
      Math.ceil(this.entries * grant_status_v2.size / PAGE) * PAGE,
      PAGE,
    );
    this.address = table.address;
    this.statusAddress = words.address;
    this.#memory = dma.memory;
    this.#base = table.offset | 0;
    this.#entryShift = Math.log2(size);
    this.#frameOffset = version === 1 ? V1_FRAME : V2_FRAME;
    this.#wide = version !== 1;
    // Version 1 keeps the in-use bits in the flags.
    this.#status = (version === 1 ? words.offset + V1_FLAGS : words.offset) | 0;
    this.#statusShift = version === 1 ? this.#entryShift : Math.log2(grant_status_v2.size);
    const start = dma.region.addressOf(0);
    this.#lead = (((start % PAGE) + PAGE) % PAGE) | 0;
    this.#frameBase = (start - this.#lead) / PAGE;
    this.#firstFrame = this.#frameBase | 0;
    this.#permit = GTF_TYPE.permit_access | (domid << (8 * V1_DOMID));
  }

  /** Entries written to permit access so far. */
  get grants(): number {
    return this.#grants + this.#renewals;
  }

  /** Entries ended so far. */
  get ends(): number {
    return this.#ends + this.#renewals;
  }

  /** How many references were given out. */
  get taken(): number {
    return this.#next - GNTTAB_NR_RESERVED_ENTRIES;
  }

  /**
   * Gives out references that follow each other.
   *
   * @throws {RangeError} If the table has none left.
   */
  allocate(count: number): number {
    if (this.#next + count > this.entries) {
      throw new RangeError(
        `Cannot give out ${count} grant references: ${this.entries - this.#next} are left`,
      );
    }
    const first = this.#next;
    this.#next += count;
    return first;
  }

  /** Grants access to the page at `offset` of the driver's memory: frame first, then domain and flags. */
  grant(ref: number, offset: number, readonly: boolean): void {
    const view = this.#memory.view;
    // Chosen here: a choice between the arguments of a `DataView` call keeps the engine from inlining that call.
    const flags = readonly ? this.#permit | READONLY : this.#permit;
    const at = (this.#base + (ref << this.#entryShift)) | 0;
    const page = ((offset + this.#lead) | 0) >>> SHIFT;
    view.setInt32((at + this.#frameOffset) | 0, (this.#firstFrame + page) | 0, true);
    if (this.#wide === true) {
      view.setInt32(at + V2_PAD, 0, true);
      view.setUint32(at + V2_UPPER_FRAME, (this.#frameBase + page) / UPPER_HALF, true);
    }
    view.setInt32(at + V1_FLAGS, flags, true);
    this.#grants++;
  }

  /**
   * Grants access to many pages of a run.
   *
   * @param run The run. Its pages that stay granted are left as they are.
   * @param places An offset in each page.
   * @param count How many there are.
   */
  grantEach(run: PageRun, places: Int32Array, count: number, readonly: boolean): void {
    const { offset, firstRef, granted } = run;
    const view = this.#memory.view;
    const entryShift = this.#entryShift;
    const base = (this.#base + (firstRef << entryShift)) | 0;
    const frameOffset = this.#frameOffset;
    const isWide = this.#wide;
    const flags = readonly ? this.#permit | READONLY : this.#permit;
    const before = ((offset + this.#lead) | 0) >>> SHIFT;
    const firstFrame = (this.#firstFrame + before) | 0;
    let skipped = 0;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const page = ((places[i]! - offset) | 0) >>> SHIFT;
      if (page < granted) {
        skipped = (skipped + 1) | 0;
        continue;
      }
      const at = (base + (page << entryShift)) | 0;
      view.setInt32((at + frameOffset) | 0, (firstFrame + page) | 0, true);
      if (isWide === true) {
        view.setInt32(at + V2_PAD, 0, true);
        view.setUint32(at + V2_UPPER_FRAME, (this.#frameBase + before + page) / UPPER_HALF, true);
      }
      view.setInt32((at + V1_FLAGS) | 0, flags, true);
    }
    this.#grants += count - skipped;
  }

  /** Ends access. False, and nothing is changed, if the page is still in use. */
  end(ref: number): boolean {
    const view = this.#memory.view;
    const bits = view.getUint16((this.#status + (ref << this.#statusShift)) | 0, true);
    if ((bits & IN_USE) !== 0) return false;
    view.setUint16((this.#base + (ref << this.#entryShift) + V1_FLAGS) | 0, 0, true);
    this.#ends++;
    return true;
  }

  /**
   * Ends access to a page and grants it anew, which leaves the frame number as it stands. False, and nothing is changed,
   * if the page is still in use.
   */
  renew(ref: number, readonly: boolean): boolean {
    const view = this.#memory.view;
    const bits = view.getUint16((this.#status + (ref << this.#statusShift)) | 0, true);
    if ((bits & IN_USE) !== 0) return false;
    const flags = readonly ? this.#permit | READONLY : this.#permit;
    const at = (this.#base + (ref << this.#entryShift) + V1_FLAGS) | 0;
    view.setUint16(at, 0, true);
    view.setInt32(at, flags, true);
    this.#renewals++;
    return true;
  }
}
