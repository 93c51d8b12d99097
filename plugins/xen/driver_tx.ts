/**
 * The frontend's transmit side of one queue: pages, grants, requests, completions.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import { RingFault } from "../../core/fault.ts";
import { BATCH_SIZE, type FrameBatch } from "../../core/frame_batch.ts";
import { distance32 } from "../../core/index.ts";
import type { Memory } from "../../core/memory.ts";
import { FULL } from "../../core/plugin.ts";
import type { GrantEntries } from "./grant_entries.ts";
import {
  netif_extra_info_gso,
  netif_extra_info_mcast_add,
  NETIF_RSP,
  netif_tx_request,
  netif_tx_response,
  NETTXF,
  PAGE_SIZE,
  XEN_NETIF_EXTRA_TYPE,
  XEN_NETIF_MAX_TX_SIZE,
} from "./layout.ts";
import { PagePool } from "./page_pool.ts";
import { FrontRing } from "./shared_ring.ts";

// The engine looks an imported constant up at each use, but folds a module's own.
const PAGE = PAGE_SIZE;
const GREF = netif_tx_request.offsetOf("gref");
const OFFSET = netif_tx_request.offsetOf("offset");
const FLAGS = netif_tx_request.offsetOf("flags");
const ID = netif_tx_request.offsetOf("id");
const SIZE = netif_tx_request.offsetOf("size");
const RSP_ID = netif_tx_response.offsetOf("id");
const RSP_STATUS = netif_tx_response.offsetOf("status");
const EXTRA_TYPE = netif_extra_info_gso.offsetOf("type");
const EXTRA_FLAGS = netif_extra_info_gso.offsetOf("flags");
const MCAST_ADDR = netif_extra_info_mcast_add.offsetOf("addr");
const GSO_SIZE = netif_extra_info_gso.offsetOf("size");
const GSO_TYPE = netif_extra_info_gso.offsetOf("gso_type");
const GSO_PAD = netif_extra_info_gso.offsetOf("pad");
const GSO_FEATURES = netif_extra_info_gso.offsetOf("features");
const SLOT = netif_tx_request.size;
const MORE_DATA = NETTXF.more_data;
const EXTRA_INFO = NETTXF.extra_info;
const OKAY = NETIF_RSP.OKAY;
const NULL = NETIF_RSP.NULL;

/** Pages for the longest packet, wherever it starts, or for the frames of a batch. */
const MOST_OWN_PAGES = Math.max(Math.ceil((PAGE - 1 + XEN_NETIF_MAX_TX_SIZE) / PAGE), BATCH_SIZE);
/** A slot in words of 32 bits: two fields each, the second one in the upper bits. */
const FLAGS_SHIFT = 8 * (FLAGS - OFFSET);
const SIZE_SHIFT = 8 * (SIZE - ID);
const STATUS_SHIFT = 8 * (RSP_STATUS - RSP_ID);
const ID_MASK = 2 ** STATUS_SHIFT - 1;

/** How a frontend lays out what it sends. */
export interface TxSettings {
  /** Pages of the pool that is granted once. */
  readonly poolPages: number;
  /** Pages that are granted for each use; 0 means that only the pool is used. */
  readonly ordinaryPages: number;
  /** Frames up to this length are put into the pool. */
  readonly copybreak: number;
  /**
   * Whether the guest builds its frames in pages of the pool, so that nothing is copied for the pool's sake.
   */
  readonly recycle: boolean;
  /** Whether frames are first laid into pages of the guest's own and copied into the pool from there. */
  readonly ownPages: boolean;
  /** Where in its first page a frame starts. */
  readonly txOffset: number;
}

/** The transmit side of one queue. */
export class TxFront {
  /** Its ring. */
  readonly ring: FrontRing;
  /** Its pages: the pool's come first. */
  readonly pages: PagePool;
  /** Requests that carried data so far. */
  slots = 0;
  /** Extra infos so far. */
  extras = 0;
  /** Frames so far. */
  frames = 0;
  /** Times that a frame did not fit now. */
  full = 0;
  /** Bytes laid into pages that the guest would have built the frame in anyway. */
  layoutBytes = 0;
  /** Bytes copied into the pool for the sake of static grants. */
  memcpyBytes = 0;
  /** Slots answered with an error so far. */
  errors = 0;
  readonly #name: string;
  readonly #memory: Memory;
  readonly #grants: GrantEntries;
  readonly #settings: TxSettings;
  /** 1 for each id whose request is pending. An id is the number of the page that it stands for. */
  readonly #pending: Uint8Array;
  #extrasPending = 0;
  /** Where the frames of a batch go. */
  readonly #targets: Int32Array;
  /** Where the guest's own pages start, for `ownPages`, and the frames of a batch in them. */
  readonly #own: number = 0;
  readonly #ownPlaces: Int32Array;

  /** Makes the ring and its pages. */
  constructor(name: string, dma: DmaMemory, page: number, grants: GrantEntries, settings: TxSettings) {
    this.ring = new FrontRing(dma.memory, page, netif_tx_request.size);
    this.pages = new PagePool(dma, grants, settings.poolPages, settings.ordinaryPages, true);
    this.#name = name;
    this.#memory = dma.memory;
    this.#targets = dma.memory.words(BATCH_SIZE);
    this.#ownPlaces = dma.memory.words(settings.ownPages ? BATCH_SIZE : 0);
    this.#grants = grants;
    this.#settings = settings;
    this.#pending = new Uint8Array(settings.poolPages + settings.ordinaryPages);
    if (!settings.ownPages) return;
    this.#own = dma.allocate(MOST_OWN_PAGES * PAGE, PAGE).offset;
    for (let i = 0; i < BATCH_SIZE; i++) this.#ownPlaces[i] = this.#own + i * PAGE + settings.txOffset;
  }

  /**
   * Writes the requests of a frame; {@linkcode FrontRing.push} publishes them.
   *
   * @param gsoType `XEN_NETIF_GSO_TYPE_*`: if not NONE, a GSO extra info goes with the frame.
   * @param gsoSize Its segment size.
   * @returns 0, or {@linkcode FULL}.
   */
  send(bytes: Uint8Array, offset: number, length: number, gsoType: number, gsoSize: number): number {
    const { txOffset, copybreak } = this.#settings;
    const slots = txOffset + length <= PAGE ? 1 : Math.ceil((txOffset + length) / PAGE);
    const extra = gsoType === 0 ? 0 : 1;
    const pages = this.pages;
    const pooled = length <= copybreak || pages.ordinaryPages === 0;
    if (this.ring.free < slots + extra || pages.available(pooled) < slots) {
      this.full++;
      return FULL;
    }
    if (this.#settings.ownPages && pooled) {
      this.#memory.copyFrom(this.#own + txOffset, bytes, offset, length);
      this.layoutBytes += length;
      bytes = this.#memory.bytes;
      offset = this.#own + txOffset;
    }
    const flags = (slots > 1 ? MORE_DATA : 0) | (extra !== 0 ? EXTRA_INFO : 0);
    let part = slots > 1 ? PAGE - txOffset : length;
    this.#writeSlot(bytes, offset, part, txOffset, flags, length, pooled);
    if (extra !== 0) this.#writeGso(gsoType, gsoSize);
    for (let i = 1, rest = length - part; i < slots; i++, rest -= part) {
      offset += part;
      part = Math.min(rest, PAGE);
      this.#writeSlot(bytes, offset, part, 0, i + 1 < slots ? MORE_DATA : 0, part, pooled);
    }
    this.frames++;
    return 0;
  }

  /**
   * Writes the requests of frames that take one slot each, from index `from` on, in one loop.
   *
   * @param frames The frames.
   * @param from Index of the first.
   * @param longest Frames longer than this are not taken.
   * @returns The index of the first frame not taken.
   */
  sendBatch(frames: FrameBatch, from: number, longest: number): number {
    const { ring, pages } = this;
    const { txOffset, ownPages, recycle, copybreak } = this.#settings;
    const stack = pages.source(true);
    const limit = Math.min(longest, PAGE - txOffset, copybreak) | 0;
    const end = Math.min(frames.count, from + Math.min(ring.free, stack.count)) | 0;
    const { bytes, offsets, lengths } = frames;
    const memory = this.#memory;
    const view = memory.view;
    const free = stack.pages;
    const targets = this.#targets;
    const pending = this.#pending;
    const { slots, mask } = ring;
    const { offset: base, firstRef, granted } = pages;
    let left = stack.count;
    let position = ring.reqProd & mask;
    let total = 0;
    let laid = 0;
    let i = from;
    for (; i < end; i = (i + 1) | 0) {
      const length = lengths[i]!;
      if (length > limit) break;
      left = (left - 1) | 0;
      const page = free[left]!;
      targets[(i - from) | 0] = (base + page * PAGE + txOffset) | 0;
      total = (total + length) | 0;
      if (page >= granted) laid = (laid + length) | 0;
      pending[page] = 1;
      const slot = (slots + position * SLOT) | 0;
      view.setInt32((slot + GREF) | 0, (firstRef + page) | 0, true);
      view.setInt32((slot + OFFSET) | 0, txOffset, true);
      view.setInt32((slot + ID) | 0, page | (length << SIZE_SHIFT), true);
      position = (position + 1) & mask;
    }
    const taken = i - from;
    if (granted < pending.length) this.#grants.grantEach(pages, targets, taken, true);
    if (ownPages) {
      const places = this.#ownPlaces;
      memory.copyEach(places.subarray(from), bytes, offsets, lengths, from, taken);
      memory.copyEach(targets, memory.bytes, places, lengths, from, taken);
      this.layoutBytes += total;
    } else {
      memory.copyEach(targets, bytes, offsets, lengths, from, taken);
    }
    stack.count -= taken;
    ring.reqProd = (ring.reqProd + taken) >>> 0;
    if (recycle) laid = total;
    this.layoutBytes += laid;
    this.memcpyBytes += total - laid;
    this.slots += taken;
    this.frames += taken;
    return i;
  }

  #writeSlot(
    bytes: Uint8Array,
    source: number,
    length: number,
    offset: number,
    flags: number,
    size: number,
    pooled: boolean,
  ): void {
    const { ring, pages } = this;
    const page = pages.take(pooled);
    const target = pages.offset + page * PAGE;
    this.#memory.copyFrom(target + offset, bytes, source, length);
    const ref = pages.firstRef + page;
    if (page >= pages.granted) this.#grants.grant(ref, target, true);
    if (page >= pages.granted || this.#settings.recycle) this.layoutBytes += length;
    else this.memcpyBytes += length;
    this.#pending[page] = 1;
    const slot = ring.slot(ring.reqProd);
    const view = ring.memory.view;
    view.setInt32(slot + GREF, ref, true);
    view.setInt32(slot + OFFSET, offset | (flags << FLAGS_SHIFT), true);
    view.setInt32(slot + ID, page | (size << SIZE_SHIFT), true);
    ring.reqProd = (ring.reqProd + 1) >>> 0;
    this.slots++;
  }

  /**
   * Writes a request without data whose extra info lets a multicast address in or keeps it out.
   *
   * @returns 0, or {@linkcode FULL}.
   */
  sendMulticast(address: Uint8Array, add: boolean): number {
    if (this.ring.free < 2 || this.pages.available(true) === 0) return FULL;
    this.#writeSlot(address, 0, 0, 0, EXTRA_INFO, 0, true);
    const { MCAST_ADD, MCAST_DEL } = XEN_NETIF_EXTRA_TYPE;
    const slot = this.#writeExtra(add ? MCAST_ADD : MCAST_DEL);
    this.ring.memory.bytes.set(address, slot + MCAST_ADDR);
    return 0;
  }

  #writeGso(type: number, size: number): void {
    const slot = this.#writeExtra(XEN_NETIF_EXTRA_TYPE.GSO);
    const view = this.ring.memory.view;
    view.setUint16(slot + GSO_SIZE, size, true);
    view.setUint8(slot + GSO_TYPE, type);
    view.setUint8(slot + GSO_PAD, 0);
    view.setUint16(slot + GSO_FEATURES, 0, true);
  }

  /** Starts an extra info that no other follows. Where it is. */
  #writeExtra(type: number): number {
    const ring = this.ring;
    const slot = ring.slot(ring.reqProd);
    ring.memory.view.setUint8(slot + EXTRA_TYPE, type);
    ring.memory.view.setUint8(slot + EXTRA_FLAGS, 0);
    ring.reqProd = (ring.reqProd + 1) >>> 0;
    this.extras++;
    this.#extrasPending++;
    return slot;
  }

  /**
   * Takes back what the backend has answered.
   *
   * @returns How many responses there were.
   * @throws {RingFault} `tx-response-overrun`, `tx-id`, `tx-null`, `tx-status` or `tx-grant-in-use`.
   */
  complete(): number {
    const ring = this.ring;
    const producer = ring.readProducer();
    const moved = distance32(producer, ring.rspCons);
    if (moved === 0) return 0;
    if (ring.overflows(producer)) {
      this.#fault("tx-response-overrun", { rsp_prod: producer, req_prod: ring.published });
    }
    for (let left = moved; left > 0;) {
      left -= this.#completeOkay(left);
      if (left === 0) break;
      this.#completeOne();
      left--;
    }
    return moved;
  }

  /** Takes back pages whose requests went well, in one loop of up to `most` responses. How many there were. */
  #completeOkay(most: number): number {
    const { ring, pages } = this;
    const view = ring.memory.view;
    const pending = this.#pending;
    const grants = this.#grants;
    const { slots, mask } = ring;
    const { granted, firstRef, poolPages, pool, ordinary } = pages;
    const [poolFree, ordinaryFree] = [pool.pages, ordinary.pages];
    let poolCount = pool.count;
    let ordinaryCount = ordinary.count;
    let position = ring.rspCons & mask;
    let count = 0;
    for (; count < most; count = (count + 1) | 0) {
      const word = view.getInt32((slots + position * SLOT + RSP_ID) | 0, true);
      const page = word & ID_MASK;
      if (word >> STATUS_SHIFT !== OKAY || page >= pending.length || pending[page] === 0) break;
      if (page >= granted && !grants.end((firstRef + page) | 0)) break;
      pending[page] = 0;
      if (page < poolPages) poolFree[poolCount++] = page;
      else ordinaryFree[ordinaryCount++] = page;
      position = (position + 1) & mask;
    }
    pool.count = poolCount;
    ordinary.count = ordinaryCount;
    ring.rspCons = (ring.rspCons + count) >>> 0;
    return count;
  }

  /** Takes one response, whatever it says. */
  #completeOne(): void {
    const { ring, pages } = this;
    const word = ring.memory.view.getInt32(ring.slot(ring.rspCons) + RSP_ID, true);
    const status = word >> STATUS_SHIFT;
    const id = word & ID_MASK;
    if (status === OKAY || !this.#isNull(status)) {
      if (this.#pending[id] !== 1) this.#fault("tx-id", { id });
      const gref = pages.firstRef + id;
      if (id >= pages.granted && !this.#grants.end(gref)) this.#fault("tx-grant-in-use", { id, gref });
      this.#pending[id] = 0;
      pages.give(id);
    }
    ring.rspCons = (ring.rspCons + 1) >>> 0;
  }

  /** Judges a status other than OKAY: whether it answers an extra info. */
  #isNull(status: number): boolean {
    if (status === NULL) {
      if (this.#extrasPending === 0) this.#fault("tx-null", { extras: 0 });
      this.#extrasPending--;
      return true;
    }
    if (status !== NETIF_RSP.ERROR && status !== NETIF_RSP.DROPPED) this.#fault("tx-status", { status });
    this.errors++;
    return false;
  }

  #fault(code: string, values: Record<string, number>): never {
    throw new RingFault("driver", this.#name, code, this.ring.rspCons, values);
  }
}
