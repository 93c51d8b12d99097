/**
 * Data slots of a GQI receive queue and the pages in them, the driver's side.
 *
 * @module
 */
import { gve_rx_data_slot } from "../layout_gqi.ts";
import type { PageHolder, PagePool } from "../pages.ts";
import type { DriverContext, RxQueuePlace } from "../queue_context.ts";

const SLOT = gve_rx_data_slot.size;

/** The slots. Each has a page of its own; if buffers are at most half as long, the halves are posted in turn. */
export class RxSlots {
  /** Per slot: where in the driver's memory the posted buffer starts. */
  readonly buffers: Int32Array;
  /** Whether pages are those of a page list: slots keep theirs for ever. Else slots hold addresses. */
  readonly listed: boolean;
  readonly #context: DriverContext;
  readonly #data: number;
  readonly #mask: number;
  readonly #pool: PagePool;
  /** Per slot: the page. */
  readonly #pages: Int32Array;
  /** Per slot: where in the page the posted buffer starts. */
  readonly #offsets: Int32Array;
  /** Per slot: the driver's references to the page. */
  readonly #biases: Int32Array;
  /** Per slot (raw addressing): 1 if the other half of the page was free when this one was handed out. */
  readonly #flips: Uint8Array;
  /** Half a page if the other half can be posted while the stack holds one; else 0. */
  readonly #flip: number;

  /**
   * Gives each slot a page and writes it.
   *
   * @param context What all queues work with.
   * @param place Where the slots are.
   * @param pool Where pages come from.
   * @param pageList Pages of the page list in order, if there is one.
   * @throws {RangeError} If there are too few pages.
   */
  constructor(
    context: DriverContext,
    { data, size, bufferSize }: RxQueuePlace,
    pool: PagePool,
    pageList: readonly number[] | undefined,
  ) {
    this.#context = context;
    this.#data = data;
    this.#mask = size - 1;
    this.#pool = pool;
    this.listed = pageList !== undefined;
    this.buffers = new Int32Array(size);
    this.#pages = new Int32Array(size);
    this.#offsets = new Int32Array(size);
    this.#biases = new Int32Array(size);
    this.#flips = new Uint8Array(size);
    const half = pool.pageSize / 2;
    this.#flip = bufferSize <= half ? half : 0;
    for (let slot = 0; slot < size; slot++) {
      const page = pageList?.[slot] ?? pool.take();
      if (page < 0) throw new RangeError(`Cannot give each of ${size} slots a page as memory is used up`);
      this.#use(slot, page);
    }
    if (!this.listed) context.counters.rxDmaMaps += size;
    context.counters.rxAllocated += size;
    context.counters.rxPosted += size;
  }

  /** Whether the other half of a slot's page can be posted next: there is one, and nobody holds it. */
  canTurn(slot: number): boolean {
    return this.#flip > 0 && this.#isFree(slot);
  }

  /**
   * Gives the stack one of the driver's references to a slot's page. The other half, which must be free then, is what a
   * page list's slot has from now on; with raw addressing it is noted if it is free.
   */
  give(slot: number, stack: PageHolder): void {
    const page = this.#pages[slot]!;
    this.pass(slot);
    stack.fragment(page);
    if (--this.#biases[slot]! === 0) this.#biases[slot] = this.#pool.topUp(page);
  }

  /**
   * Does what {@linkcode give} does for a fragment that the stack gives back at once: the driver's references and all
   * references then go down by one each, and what counts is their difference, so neither is touched.
   */
  pass(slot: number): void {
    if (this.listed) this.#turn(slot);
    else this.#flips[slot] = this.canTurn(slot) ? 1 : 0;
  }

  /**
   * Posts slots again (raw addressing), as long as there are pages that nobody holds.
   *
   * @param from The first.
   * @param room How many at most.
   * @returns How many.
   */
  post(from: number, room: number): number {
    const { counters } = this.#context;
    const flips = this.#flips;
    let slot = from & this.#mask;
    let recycled = 0;
    let reused = 0;
    let posted = 0;
    for (; posted < room; posted = (posted + 1) | 0) {
      if (flips[slot] === 1) {
        flips[slot] = 0;
        this.#turn(slot);
        recycled = (recycled + 1) | 0;
      } else if (this.#isFree(slot)) reused = (reused + 1) | 0;
      else if (!this.#replace(slot)) break;
      slot = (slot + 1) & this.#mask;
    }
    counters.rxRecycled += recycled;
    counters.rxReused += reused;
    counters.rxPosted += posted;
    return posted;
  }

  /** Whether the stack holds nothing of a slot's page. */
  #isFree(slot: number): boolean {
    return this.#pool.counts[this.#pages[slot]!] === this.#biases[slot];
  }

  /** Gives a slot another page. False if there is none, and the stack still holds the slot's own. */
  #replace(slot: number): boolean {
    const { counters } = this.#context;
    const pool = this.#pool;
    const page = this.#pages[slot]!;
    const fresh = pool.take();
    // Else the stack let go of it, as memory was short.
    if (fresh < 0) return this.#isFree(slot);
    pool.drop(page, this.#biases[slot]!);
    counters.rxDiscarded++;
    counters.rxAllocated++;
    counters.rxDmaMaps++;
    this.#use(slot, fresh);
    return true;
  }

  /** Moves a slot to the other half of its page. */
  #turn(slot: number): void {
    const offset = this.#offsets[slot]! ^ this.#flip;
    this.#offsets[slot] = offset;
    this.buffers[slot] = this.#pool.offsets[this.#pages[slot]!]! + offset;
    this.#write(slot);
  }

  #use(slot: number, page: number): void {
    this.#pages[slot] = page;
    this.#offsets[slot] = 0;
    this.buffers[slot] = this.#pool.offsets[page]!;
    this.#biases[slot] = this.#pool.bias(page);
    this.#write(slot);
  }

  #write(slot: number): void {
    const { view } = this.#context.memory;
    const at = this.#data + slot * SLOT;
    const page = this.#pages[slot]!;
    // A page list has less than 4 GiB.
    view.setUint32(at, this.listed ? 0 : this.#pool.high[page]!);
    const start = this.listed ? slot * this.#pool.pageSize : this.#pool.low[page]!;
    view.setUint32(at + 4, start + this.#offsets[slot]!);
  }
}
