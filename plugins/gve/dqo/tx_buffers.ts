/**
 * Memory that packets of a DQO transmit queue are copied to: buffers of its page list, or of the driver's own where a
 * packet lies out of the device's reach.
 *
 * @module
 */
import type { Memory } from "../../../core/memory.ts";
import type { BouncePool } from "../bounce_pool.ts";
import { DQO_TX_BUFFER, PAGE } from "../constants.ts";

const NONE = -1;
const BUFFERS_PER_PAGE = PAGE / DQO_TX_BUFFER;

/** Pages of a page list in order: offset in the driver's memory and address of each. */
export interface TxPages {
  /** Offsets. */
  readonly offsets: ArrayLike<number>;
  /** Addresses. */
  readonly addresses: ArrayLike<number>;
}

/** The buffers of each packet, by its tag. */
export class TxBuffers {
  /** Whether packets are copied to the page list. */
  readonly listed: boolean;
  /** Whether a packet may have buffers at all: there never were any before the first one out of reach. */
  used: boolean;
  /** Per buffer of the page list: where it is. */
  readonly offsets: Int32Array;
  /** Per buffer: lower half of its address. */
  readonly lows: Int32Array;
  /** Per buffer: upper half of its address. */
  readonly highs: Int32Array;
  /** Buffers of the page list that are free. */
  free: number;
  /** Per buffer: the next one in its list of free ones, or -1. There are two such lists, as of tags. */
  readonly next: Int32Array;
  /** First of the list that packets take from, or -1. */
  own: number;
  /** First of those given back, or -1. */
  returned = NONE;
  /** Per tag: its last buffer. */
  readonly last: Int32Array;
  /** Per buffer: the one before it in its packet. */
  readonly previous: Int32Array;
  readonly #pool: BouncePool;
  /** Per tag: buffers for packets out of the device's reach. */
  readonly #bounces: number[][] = [];

  /** All buffers of `pages`, if there are any, are free, the first in the list first. */
  constructor(pages: TxPages | undefined, pool: BouncePool, tags: number) {
    const count = (pages?.offsets.length ?? 0) * BUFFERS_PER_PAGE;
    this.listed = this.used = pages !== undefined;
    this.offsets = new Int32Array(count);
    this.lows = new Int32Array(count);
    this.highs = new Int32Array(count);
    for (let buffer = 0; buffer < count; buffer++) {
      const page = Math.floor(buffer / BUFFERS_PER_PAGE);
      const start = (buffer % BUFFERS_PER_PAGE) * DQO_TX_BUFFER;
      const address = pages!.addresses[page]! + start;
      this.offsets[buffer] = pages!.offsets[page]! + start;
      this.lows[buffer] = address | 0;
      this.highs[buffer] = Math.floor(address / 4294967296);
    }
    this.free = count;
    this.next = Int32Array.from({ length: count }, (_, i) => i + 1 < count ? i + 1 : NONE);
    this.own = count > 0 ? 0 : NONE;
    this.last = new Int32Array(tags).fill(NONE);
    this.previous = new Int32Array(count);
    this.#pool = pool;
  }

  /** Buffers of the page list. */
  get size(): number {
    return this.offsets.length;
  }

  /** Takes a buffer of the page list for a packet. There must be one. */
  take(tag: number): number {
    if (this.own === NONE) {
      this.own = this.returned;
      this.returned = NONE;
    }
    const buffer = this.own;
    this.own = this.next[buffer]!;
    this.free--;
    this.previous[buffer] = this.last[tag]!;
    this.last[tag] = buffer;
    return buffer;
  }

  /** Copies bytes to a buffer of the driver's own, for a packet. Returns its address, or -1: no room now. */
  bounce(tag: number, memory: Memory, bytes: Uint8Array, offset: number, length: number): number {
    const number = this.#pool.take(length);
    if (number < 0) return NONE;
    this.used = true;
    (this.#bounces[tag] ??= []).push(number);
    memory.copyFrom(this.#pool.offset(number), bytes, offset, length);
    return this.#pool.address(number);
  }

  /** Gives a packet's buffers back, the last one first, so that they stand in the packet's order ahead of the others. */
  release(tag: number): void {
    for (let buffer = this.last[tag]!; buffer !== NONE; buffer = this.previous[buffer]!) {
      this.next[buffer] = this.returned;
      this.returned = buffer;
      this.free++;
    }
    this.last[tag] = NONE;
    const bounces = this.#bounces[tag];
    if (bounces === undefined) return;
    for (let i = 0; i < bounces.length; i++) this.#pool.release(bounces[i]!);
    bounces.length = 0;
  }

  /** Gives the buffers of `count` packets back. */
  releaseEach(tags: Int32Array, count: number): void {
    if (!this.listed) {
      for (let i = 0; i < count; i++) this.release(tags[i]!);
      return;
    }
    const { next, last, previous } = this;
    let returned = this.returned | 0;
    let given = 0;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const tag = tags[i]!;
      for (let buffer = last[tag]!; buffer !== NONE; buffer = previous[buffer]!) {
        next[buffer] = returned;
        returned = buffer;
        given = (given + 1) | 0;
      }
      last[tag] = NONE;
    }
    this.returned = returned;
    this.free += given;
  }
}
