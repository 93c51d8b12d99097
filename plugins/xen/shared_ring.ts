/**
 * The rules of `xen/io/ring.h`: one page with four shared indices, in whose slots responses overlay requests.
 *
 * Each end keeps its own indices and never reads back what it published. Indices run freely through 2^32. An
 * event index is the producer index at which its owner wants to be notified: 1 at first, not 0.
 *
 * @module
 */
import { add32, distance32, needEvent32 } from "../../core/index.ts";
import type { Memory } from "../../core/memory.ts";
import { PAGE_SIZE, sring_header } from "./layout.ts";

const REQ_PROD = sring_header.offsetOf("req_prod");
const REQ_EVENT = sring_header.offsetOf("req_event");
const RSP_PROD = sring_header.offsetOf("rsp_prod");
const RSP_EVENT = sring_header.offsetOf("rsp_event");
const HEADER = sring_header.size;

/**
 * Slots of a ring page, given the size of one in bytes: what fits, rounded down to a power of two.
 * `__RING_SIZE`.
 */
export function ringSize(slotSize: number): number {
  return 1 << (31 - Math.clz32(Math.floor((PAGE_SIZE - HEADER) / slotSize)));
}

/** Writes the header of a new ring. The slots keep what the page held. `SHARED_RING_INIT`. */
export function initSharedRing(memory: Memory, page: number): void {
  memory.bytes.fill(0, page, page + HEADER);
  memory.view.setUint32(page + REQ_EVENT, 1, true);
  memory.view.setUint32(page + RSP_EVENT, 1, true);
}

/** What both ends have: a page and its slots. */
export class RingEnd {
  /** The memory that holds the page. */
  readonly memory: Memory;
  /** Offset of the page in the memory. */
  readonly page: number;
  /** How many slots there are. */
  readonly size: number;
  /** What cuts an index down to a slot number. */
  readonly mask: number;
  /** Bytes per slot. */
  readonly slotSize: number;
  /** Offset of the first slot in the memory. */
  readonly slots: number;

  /** Attaches to a page. */
  constructor(memory: Memory, page: number, slotSize: number) {
    this.memory = memory;
    this.page = page | 0;
    this.slotSize = slotSize;
    this.size = ringSize(slotSize);
    this.mask = this.size - 1;
    this.slots = this.page + HEADER;
  }

  /** Offset in the memory of the slot that an index chooses. */
  slot(index: number): number {
    return this.slots + (index & this.mask) * this.slotSize;
  }
}

/** The frontend's end: it produces requests and consumes responses. */
export class FrontRing extends RingEnd {
  /** Requests written so far, published or not. `req_prod_pvt`. */
  reqProd: number;
  /** Responses consumed so far. `rsp_cons`. */
  rspCons: number;
  #published: number;

  /** Attaches to a page, at index 0 or further on. `FRONT_RING_ATTACH`. */
  constructor(memory: Memory, page: number, slotSize: number, index = 0) {
    super(memory, page, slotSize);
    this.reqProd = this.rspCons = this.#published = index >>> 0;
  }

  /** Requests that can be written now. `RING_FREE_REQUESTS`. */
  get free(): number {
    return this.size - distance32(this.reqProd, this.rspCons);
  }

  /** Requests published so far. */
  get published(): number {
    return this.#published;
  }

  /**
   * Reads the backend's producer index. Whether it can be true is for the caller to judge:
   * {@linkcode overflows}.
   */
  readProducer(): number {
    return this.memory.view.getUint32(this.page + RSP_PROD, true);
  }

  /**
   * Whether a producer index that was read claims more responses than there were requests. Stricter than
   * `RING_RESPONSE_PROD_OVERFLOW`, which compares with the ring's size only.
   */
  overflows(producer: number): boolean {
    return distance32(producer, this.rspCons) > distance32(this.#published, this.rspCons);
  }

  /**
   * Publishes the requests written. Whether the backend wants to be notified.
   * `RING_PUSH_REQUESTS_AND_CHECK_NOTIFY`.
   */
  push(): boolean {
    const old = this.#published;
    const now = this.reqProd;
    this.#published = now;
    const view = this.memory.view;
    view.setUint32(this.page + REQ_PROD, now, true);
    return needEvent32(view.getUint32(this.page + REQ_EVENT, true), now, old);
  }

  /**
   * To be asked before sleeping: whether responses are there; if not, the next one is to be notified of.
   * `RING_FINAL_CHECK_FOR_RESPONSES`.
   */
  finalCheck(): boolean {
    if (this.readProducer() !== this.rspCons) return true;
    this.memory.view.setUint32(this.page + RSP_EVENT, add32(this.rspCons, 1), true);
    return this.readProducer() !== this.rspCons;
  }
}

/** The backend's end: it consumes requests and produces responses. */
export class BackRing extends RingEnd {
  /** Responses written so far, published or not. `rsp_prod_pvt`. */
  rspProd: number;
  /** Requests consumed so far. `req_cons`. */
  reqCons: number;
  #published: number;

  /** Attaches to a page, at index 0 or further on. `BACK_RING_ATTACH`. */
  constructor(memory: Memory, page: number, slotSize: number, index = 0) {
    super(memory, page, slotSize);
    this.rspProd = this.reqCons = this.#published = index >>> 0;
  }

  /** The response index in a ring page: where a backend attaches. */
  static readResponseIndex(memory: Memory, page: number): number {
    return memory.view.getUint32(page + RSP_PROD, true);
  }

  /** Responses published so far. */
  get published(): number {
    return this.#published;
  }

  /**
   * Reads the frontend's producer index. Whether it can be true is for the caller to judge:
   * {@linkcode overflows}.
   */
  readProducer(): number {
    return this.memory.view.getUint32(this.page + REQ_PROD, true);
  }

  /**
   * Whether a producer index that was read claims more requests than there are slots.
   * `RING_REQUEST_PROD_OVERFLOW`.
   */
  overflows(producer: number): boolean {
    return distance32(producer, this.rspProd) > this.size;
  }

  /** Requests up to the given producer index that can be consumed. `XEN_RING_NR_UNCONSUMED_REQUESTS`. */
  unconsumed(producer: number): number {
    const requests = distance32(producer, this.reqCons);
    const room = (this.size - distance32(this.reqCons, this.rspProd)) >>> 0;
    return requests < room ? requests : room;
  }

  /** Whether no further request may be consumed before a response. `RING_REQUEST_CONS_OVERFLOW`. */
  get consumerOverflows(): boolean {
    return distance32(this.reqCons, this.rspProd) >= this.size;
  }

  /**
   * Publishes the responses written. Whether the frontend wants to be notified.
   * `RING_PUSH_RESPONSES_AND_CHECK_NOTIFY`.
   */
  push(): boolean {
    const old = this.#published;
    const now = this.rspProd;
    this.#published = now;
    const view = this.memory.view;
    view.setUint32(this.page + RSP_PROD, now, true);
    return needEvent32(view.getUint32(this.page + RSP_EVENT, true), now, old);
  }

  /** Asks to be notified when the frontend's producer index reaches `index`. */
  requestEvent(index: number): void {
    this.memory.view.setUint32(this.page + REQ_EVENT, index >>> 0, true);
  }

  /**
   * To be asked before sleeping: whether requests are there; if not, the next one is to be notified of.
   * `RING_FINAL_CHECK_FOR_REQUESTS`.
   */
  finalCheck(): boolean {
    if (this.unconsumed(this.readProducer()) > 0) return true;
    this.requestEvent(add32(this.reqCons, 1));
    return this.unconsumed(this.readProducer()) > 0;
  }
}
