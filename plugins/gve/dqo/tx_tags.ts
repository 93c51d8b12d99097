/**
 * Tags of a DQO transmit queue: which are free, and what became of the packets that have the others.
 *
 * @module
 */
import type { Clock } from "../../../core/clock.ts";
import { DQO_ALT_MISS, DQO_REINJECT_MS, DQO_REPORT_SPACING, DQO_TAG_HOLD_MS } from "../constants.ts";
import type { DriverCounters } from "../counters.ts";
import type { TxBuffers } from "./tx_buffers.ts";

/** End of a list. */
const NONE = -1;
/** In place of a link: the packet is with the device. */
export const PENDING = -2;
/** In place of a link: the packet took the slow path; its REINJECTION is to come. */
const WAITING = -3;
/** In place of a link: the packet was given up. */
const TIMED_OUT = -4;

/** How many tags a queue of `size` descriptors has: room in the completion ring for MISS, REINJECTION and DESCRIPTOR. */
export function tagsFor(size: number): number {
  return Math.min(Math.floor((size - size / DQO_REPORT_SPACING) / 2), DQO_ALT_MISS - 1);
}

/**
 * The tags. The free ones are two last-in first-out lists: the transmit side takes from its own, and steals what the
 * completion side has given back once that is empty.
 */
export class TxTags {
  /** Tags are below this. */
  readonly size: number;
  /** Per tag: the next one in its free list, or -1; or what became of its packet. */
  readonly links: Int32Array;
  /** First of the transmit side's list, or -1. */
  own: number;
  /** First of those given back, or -1. */
  returned = NONE;
  /** How many are free. */
  free: number;
  readonly #buffers: TxBuffers;
  readonly #counters: DriverCounters;
  readonly #clock: Clock;
  readonly #waiting: TagList;
  readonly #timedOut: TagList;

  /** All tags of a queue of `entries` descriptors are free, the lowest first. `buffers` go with them. */
  constructor(entries: number, buffers: TxBuffers, counters: DriverCounters, clock: Clock) {
    this.size = this.free = tagsFor(entries);
    this.links = Int32Array.from({ length: this.size }, (_, i) => i + 1 < this.size ? i + 1 : NONE);
    this.own = 0;
    this.#buffers = buffers;
    this.#counters = counters;
    this.#clock = clock;
    this.#waiting = new TagList(this.size);
    this.#timedOut = new TagList(this.size);
  }

  /** Tags by state: together always the table. */
  get counts(): { free: number; pending: number; waiting: number; timedOut: number; size: number } {
    const { free, size, links } = this;
    const pending = links.reduce((sum, link) => sum + (link === PENDING ? 1 : 0), 0);
    return { free, pending, waiting: this.#waiting.length, timedOut: this.#timedOut.length, size };
  }

  /** Takes one for a packet. There must be one. */
  take(): number {
    if (this.own === NONE) {
      this.own = this.returned;
      this.returned = NONE;
    }
    const tag = this.own;
    this.own = this.links[tag]!;
    this.links[tag] = PENDING;
    this.free--;
    return tag;
  }

  /** Gives one back: it will be the first of those returned. */
  give(tag: number): void {
    this.links[tag] = this.returned;
    this.returned = tag;
    this.free++;
  }

  /** The packet takes the slow path. Returns whether it was with the device. */
  miss(tag: number): boolean {
    if (tag >= this.size || this.links[tag] !== PENDING) return false;
    this.#counters.txMisses++;
    this.links[tag] = WAITING;
    this.#waiting.push(tag, this.#clock.now() + DQO_REINJECT_MS);
    return true;
  }

  /** The slow path is done. Returns whether that was awaited. */
  reinjected(tag: number): boolean {
    const state = tag < this.size ? this.links[tag]! : NONE;
    if (state === WAITING) this.#waiting.remove(tag);
    else if (state === TIMED_OUT) this.#timedOut.remove(tag);
    else return false;
    this.#counters.txReinjections++;
    this.#buffers.release(tag);
    this.give(tag);
    return true;
  }

  /** Packets that were not reinjected in time are given up; their tags stay out of use for a minute longer. */
  expire(): void {
    if (this.#waiting.length + this.#timedOut.length === 0) return;
    const now = this.#clock.now();
    for (let tag = this.#waiting.expired(now); tag !== NONE; tag = this.#waiting.expired(now)) {
      this.#counters.txTimeouts++;
      this.#buffers.release(tag);
      this.links[tag] = TIMED_OUT;
      this.#timedOut.push(tag, now + DQO_TAG_HOLD_MS);
    }
    for (let tag = this.#timedOut.expired(now); tag !== NONE; tag = this.#timedOut.expired(now)) {
      this.#counters.txTagsReclaimed++;
      this.give(tag);
    }
  }

  /** A tag's state for a fault message. */
  describe(tag: number): Record<string, number | string> {
    if (tag >= this.size) return { tags: this.size };
    const link = this.links[tag]!;
    return {
      state: link === WAITING
        ? "waiting"
        : link === TIMED_OUT
        ? "timed-out"
        : link === PENDING
        ? "pending"
        : "free",
    };
  }
}

/** A doubly linked list of tags, each with a deadline; all wait equally long, so the first is the next to expire. */
class TagList {
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #deadlines: Float64Array;
  #head = NONE;
  #tail = NONE;
  /** How many tags wait. */
  length = 0;

  /** For tags below `size`. */
  constructor(size: number) {
    this.#next = new Int32Array(size).fill(NONE);
    this.#previous = new Int32Array(size).fill(NONE);
    this.#deadlines = new Float64Array(size);
  }

  /** Adds a tag that is not in the list. */
  push(tag: number, deadline: number): void {
    this.#deadlines[tag] = deadline;
    this.#next[tag] = NONE;
    this.#previous[tag] = this.#tail;
    if (this.#tail === NONE) this.#head = tag;
    else this.#next[this.#tail] = tag;
    this.#tail = tag;
    this.length++;
  }

  /** Removes a tag that is in the list. */
  remove(tag: number): void {
    const next = this.#next[tag]!;
    const previous = this.#previous[tag]!;
    if (previous === NONE) this.#head = next;
    else this.#next[previous] = next;
    if (next === NONE) this.#tail = previous;
    else this.#previous[next] = previous;
    this.length--;
  }

  /** Removes and returns the first tag if its deadline has come; else -1. */
  expired(now: number): number {
    const tag = this.#head;
    if (tag === NONE || this.#deadlines[tag]! > now) return NONE;
    this.remove(tag);
    return tag;
  }
}
