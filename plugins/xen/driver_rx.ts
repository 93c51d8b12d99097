/**
 * The frontend's receive side of one queue: posted pages, responses, frames.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import { RingFault } from "../../core/fault.ts";
import { BATCH_SIZE, FrameBatch } from "../../core/frame_batch.ts";
import { distance32 } from "../../core/index.ts";
import type { Memory } from "../../core/memory.ts";
import type { FrameSink } from "../../core/plugin.ts";
import type { GrantEntries } from "./grant_entries.ts";
import {
  ETHERNET_HEADER,
  netif_extra_info_gso,
  netif_rx_request,
  netif_rx_response,
  NETRXF,
  PAGE_SIZE,
  XEN_NETIF_EXTRA_FLAG_MORE,
  XEN_NETIF_EXTRA_TYPE,
  XEN_NETIF_EXTRA_TYPE_MAX,
  XEN_NETIF_GSO_TYPE,
  XEN_NETIF_NR_SLOTS_MIN,
} from "./layout.ts";
import { PagePool } from "./page_pool.ts";
import { FrontRing } from "./shared_ring.ts";

// The engine looks an imported constant up at each use, but folds a module's own.
const PAGE = PAGE_SIZE;
const REQ_ID = netif_rx_request.offsetOf("id");
const REQ_PAD = netif_rx_request.offsetOf("pad");
const REQ_GREF = netif_rx_request.offsetOf("gref");
const ID = netif_rx_response.offsetOf("id");
const OFFSET = netif_rx_response.offsetOf("offset");
const FLAGS = netif_rx_response.offsetOf("flags");
const STATUS = netif_rx_response.offsetOf("status");
const EXTRA_TYPE = netif_extra_info_gso.offsetOf("type");
const EXTRA_FLAGS = netif_extra_info_gso.offsetOf("flags");
const GSO_SIZE = netif_extra_info_gso.offsetOf("size");
const GSO_TYPE = netif_extra_info_gso.offsetOf("gso_type");
const SLOT = netif_rx_request.size;
const MORE_DATA = NETRXF.more_data;
const EXTRA_INFO = NETRXF.extra_info;
/** A slot in words of 32 bits: two fields each, the second one in the upper bits. */
const OFFSET_SHIFT = 8 * (OFFSET - ID);
const STATUS_SHIFT = 8 * (STATUS - FLAGS);
const ID_MASK = 2 ** OFFSET_SHIFT - 1;

/** A packet whose first slot holds no more than this may have one slot more. `RX_COPY_THRESHOLD` in Linux. */
const SMALL_FIRST_SLOT = 256;

/** How a frontend receives. */
export interface RxSettings {
  /** Pages of the pool that is granted once. */
  readonly poolPages: number;
  /** Pages that are granted for each use. */
  readonly ordinaryPages: number;
  /** Whether received bytes are copied out of pool pages at once. */
  readonly copyOut: boolean;
  /**
   * Whether frames shorter than an Ethernet header are dropped, and ids of responses ignored, as in Linux.
   */
  readonly linux: boolean;
}

/** Why a received packet was dropped: the last part of a counter's name, `drops.rx.REASON`. */
export type RxDrop = "status" | "bounds" | "incomplete" | "extra" | "slots" | "gso" | "runt";

/** The receive side of one queue. */
export class RxFront {
  /** Its ring. */
  readonly ring: FrontRing;
  /** Its pages. */
  readonly pages: PagePool;
  /** Requests posted so far. */
  posted = 0;
  /** Frames received so far. */
  frames = 0;
  /** Data slots received so far. */
  slots = 0;
  /** Extra infos received so far. */
  extras = 0;
  /** Bytes copied out of pool pages. */
  memcpyBytes = 0;
  /** Packets dropped so far, by reason. */
  readonly drops: Record<RxDrop, number> = {
    status: 0,
    bounds: 0,
    incomplete: 0,
    extra: 0,
    slots: 0,
    gso: 0,
    runt: 0,
  };
  readonly #name: string;
  readonly #memory: Memory;
  readonly #grants: GrantEntries;
  readonly #settings: RxSettings;
  /** The page posted in each slot. */
  readonly #pageOf: Uint16Array;
  /** Where `copyOut` puts bytes, and where the frames of a batch. */
  readonly #copy: number = 0;
  readonly #copyPlaces: Int32Array;
  /** Frames of one slot each, to be handed over in one go. */
  readonly #batch: FrameBatch;
  /** The pieces of the packet being received. */
  readonly #piecePage = new Uint16Array(XEN_NETIF_NR_SLOTS_MIN + 1);
  readonly #pieceOffset = new Uint16Array(XEN_NETIF_NR_SLOTS_MIN + 1);
  readonly #pieceLength = new Uint16Array(XEN_NETIF_NR_SLOTS_MIN + 1);

  /** Makes the ring and its pages. */
  constructor(name: string, dma: DmaMemory, page: number, grants: GrantEntries, settings: RxSettings) {
    this.ring = new FrontRing(dma.memory, page, netif_rx_request.size);
    this.pages = new PagePool(dma, grants, settings.poolPages, settings.ordinaryPages, false);
    this.#name = name;
    this.#memory = dma.memory;
    this.#batch = new FrameBatch(dma.memory);
    this.#grants = grants;
    this.#settings = settings;
    this.#pageOf = new Uint16Array(this.ring.size);
    this.#copyPlaces = dma.memory.words(settings.copyOut ? BATCH_SIZE : 0);
    if (!settings.copyOut) return;
    this.#copy = dma.allocate(BATCH_SIZE * PAGE, PAGE).offset;
    for (let i = 0; i < BATCH_SIZE; i++) this.#copyPlaces[i] = this.#copy + i * PAGE;
  }

  /** Posts all pages for the first time. */
  fill(): void {
    const { ring, pages } = this;
    const view = ring.memory.view;
    const { offset, firstRef, granted } = pages;
    const count = Math.min(ring.free, pages.available(true));
    for (let i = 0; i < count; i++) {
      const page = pages.take(true);
      if (page >= granted) this.#grants.grant(firstRef + page, offset + page * PAGE, false);
      const number = (ring.reqProd + i) & ring.mask;
      const slot = ring.slot(number);
      view.setInt32(slot + REQ_ID, number, true);
      view.setInt32(slot + REQ_GREF, firstRef + page, true);
      this.#pageOf[number] = page;
    }
    ring.reqProd = (ring.reqProd + count) >>> 0;
    this.posted += count;
  }

  #post(page: number): void {
    const { pages } = this;
    const ref = pages.firstRef + page;
    if (page >= pages.granted) this.#grants.grant(ref, pages.offset + page * PAGE, false);
    this.#writeRequest(page, ref);
  }

  #writeRequest(page: number, ref: number): void {
    const ring = this.ring;
    const index = ring.reqProd;
    const number = index & ring.mask;
    const slot = ring.slots + number * SLOT;
    const view = ring.memory.view;
    view.setUint16(slot + REQ_ID, number, true);
    view.setUint16(slot + REQ_PAD, 0, true);
    view.setUint32(slot + REQ_GREF, ref, true);
    this.#pageOf[number] = page;
    ring.reqProd = (index + 1) >>> 0;
    this.posted++;
  }

  /**
   * Hands received frames to a sink, and posts their pages again.
   *
   * @returns How many responses there were.
   * @throws {RingFault} `rx-response-overrun`, `rx-id` or `rx-grant-in-use`.
   */
  receive(queue: number, sink: FrameSink): number {
    const ring = this.ring;
    const producer = ring.readProducer();
    const moved = distance32(producer, ring.rspCons);
    if (moved === 0) return 0;
    if (ring.overflows(producer)) {
      this.#fault("rx-response-overrun", { rsp_prod: producer, req_prod: ring.published });
    }
    while (ring.rspCons !== producer) {
      this.#gather(distance32(producer, ring.rspCons));
      this.#handOverBatch(queue, sink);
      if (ring.rspCons !== producer) this.#receiveOne(queue, sink, producer);
    }
    return moved;
  }

  /**
   * Gathers frames of one slot each into the batch and posts their pages again, in one loop of up to `most`
   * responses. The first that is not such a frame, or not as it should be, ends it: it is judged on its own.
   * The backend does not see a page posted again before the ring is pushed: its bytes stay till then.
   */
  #gather(most: number): void {
    const { ring, pages } = this;
    const { copyOut, linux } = this.#settings;
    const view = ring.memory.view;
    const grants = this.#grants;
    const pageOf = this.#pageOf;
    const { offsets, lengths } = this.#batch;
    const { slots, mask } = ring;
    const { offset: base, firstRef, granted } = pages;
    const shortest = linux ? ETHERNET_HEADER : 0;
    const judgedId = linux ? 0 : ID_MASK;
    const copies = copyOut && granted > 0;
    const end = Math.min(most, BATCH_SIZE);
    let position = ring.rspCons & mask;
    let next = ring.reqProd & mask;
    let total = 0;
    let count = 0;
    for (; count < end; count = (count + 1) | 0) {
      const slot = (slots + position * SLOT) | 0;
      const place = view.getInt32((slot + ID) | 0, true);
      const extent = view.getInt32((slot + FLAGS) | 0, true);
      const offset = place >>> OFFSET_SHIFT;
      const length = extent >> STATUS_SHIFT;
      if ((extent & (MORE_DATA | EXTRA_INFO)) !== 0 || ((place ^ position) & judgedId) !== 0) break;
      if (length < shortest || offset + length > PAGE) break;
      const page = pageOf[position]!;
      if (copies === true && page >= granted) break;
      const ref = (firstRef + page) | 0;
      const start = (base + page * PAGE) | 0;
      if (page >= granted && !grants.renew(ref, false)) break;
      offsets[count] = start + offset;
      lengths[count] = length;
      total = (total + length) | 0;
      const request = (slots + next * SLOT) | 0;
      view.setInt32((request + REQ_ID) | 0, next, true);
      view.setInt32((request + REQ_GREF) | 0, ref, true);
      pageOf[next] = page;
      position = (position + 1) & mask;
      next = (next + 1) & mask;
    }
    this.#batch.count = count;
    if (copies) {
      const places = this.#copyPlaces;
      this.#memory.copyEach(places, this.#memory.bytes, offsets, lengths, 0, count);
      offsets.set(places);
      this.memcpyBytes += total;
    }
    ring.rspCons = (ring.rspCons + count) >>> 0;
    ring.reqProd = (ring.reqProd + count) >>> 0;
    this.frames += count;
    this.slots += count;
    this.posted += count;
  }

  /** Hands over the frames gathered so far. */
  #handOverBatch(queue: number, sink: FrameSink): void {
    const batch = this.#batch;
    if (batch.count === 0) return;
    if (sink.batch !== undefined) {
      sink.batch(queue, batch);
    } else {
      for (let i = 0; i < batch.count; i++) {
        sink.piece(queue, batch.bytes, batch.offsets[i]!, batch.lengths[i]!, false);
      }
    }
    batch.count = 0;
  }

  /** The page posted in the slot of the response now consumed, whose id must be the one posted with it. */
  #checkedPage(slot: number): number {
    const ring = this.ring;
    const number = ring.rspCons & ring.mask;
    const id = ring.memory.view.getUint16(slot + ID, true);
    if (id !== number && !this.#settings.linux) this.#fault("rx-id", { id, wanted: number });
    return this.#pageOf[number]!;
  }

  /** Ends the grant of a page that held data and posts it again. The response now consumed is done with. */
  #repost(page: number): void {
    const { ring, pages } = this;
    if (page >= pages.granted && !this.#grants.end(pages.firstRef + page)) {
      this.#fault("rx-grant-in-use", { gref: pages.firstRef + page });
    }
    ring.rspCons = (ring.rspCons + 1) >>> 0;
    this.#post(page);
  }

  /** Posts the page of a slot that held an extra info: it was not touched, so its grant stays as it is. */
  #repostUntouched(): void {
    const ring = this.ring;
    const page = this.#pageOf[ring.rspCons & ring.mask]!;
    ring.rspCons = (ring.rspCons + 1) >>> 0;
    this.#writeRequest(page, this.pages.firstRef + page);
  }

  /** One packet, whatever it is. It is judged as a whole before the sink sees any of it. */
  #receiveOne(queue: number, sink: FrameSink, producer: number): void {
    const { ring, pages } = this;
    const view = ring.memory.view;
    let drop: RxDrop | undefined;
    let pieces = 0;
    let total = 0;
    let most = XEN_NETIF_NR_SLOTS_MIN;
    for (let more = true; more;) {
      if (ring.rspCons === producer) {
        drop ??= "incomplete";
        break;
      }
      const slot = ring.slot(ring.rspCons);
      const flags = view.getUint16(slot + FLAGS, true);
      const page = this.#checkedPage(slot);
      const offset = view.getUint16(slot + OFFSET, true);
      const length = view.getInt16(slot + STATUS, true);
      if (length < 0) drop ??= "status";
      else if (offset + length > PAGE) drop ??= "bounds";
      else if (pieces === most) drop ??= "slots";
      if (drop === undefined) {
        this.#piecePage[pieces] = page;
        this.#pieceOffset[pieces] = offset;
        this.#pieceLength[pieces] = length;
        total += length;
      }
      if (pieces === 0 && length <= SMALL_FIRST_SLOT) most++;
      pieces++;
      this.#repost(page);
      if (pieces === 1 && (flags & EXTRA_INFO) !== 0) drop = this.#takeExtras(producer) ?? drop;
      more = (flags & MORE_DATA) !== 0;
    }
    if (drop === undefined && this.#settings.linux && total < ETHERNET_HEADER) drop = "runt";
    if (drop !== undefined) {
      this.drops[drop]++;
      return;
    }
    this.frames++;
    this.slots += pieces;
    for (let i = 0; i < pieces; i++) {
      const page = this.#piecePage[i]!;
      const length = this.#pieceLength[i]!;
      let at = pages.offset + page * PAGE + this.#pieceOffset[i]!;
      if (this.#settings.copyOut && page < pages.granted) {
        this.#memory.copyWithin(this.#copy, at, length);
        this.memcpyBytes += length;
        at = this.#copy;
      }
      sink.piece(queue, this.#memory.bytes, at, length, i + 1 < pieces);
    }
  }

  /** The extra infos behind the first slot. Why the packet is to be dropped, if it is. */
  #takeExtras(producer: number): RxDrop | undefined {
    const ring = this.ring;
    const view = ring.memory.view;
    let drop: RxDrop | undefined;
    for (let more = true; more;) {
      if (ring.rspCons === producer) return drop ?? "incomplete";
      const slot = ring.slot(ring.rspCons);
      const type = view.getUint8(slot + EXTRA_TYPE);
      more = (view.getUint8(slot + EXTRA_FLAGS) & XEN_NETIF_EXTRA_FLAG_MORE) !== 0;
      if (type === XEN_NETIF_EXTRA_TYPE.NONE || type >= XEN_NETIF_EXTRA_TYPE_MAX) drop ??= "extra";
      else if (type === XEN_NETIF_EXTRA_TYPE.GSO) drop ??= this.#judgeGso(slot);
      this.extras++;
      this.#repostUntouched();
    }
    return drop;
  }

  #judgeGso(slot: number): RxDrop | undefined {
    const view = this.ring.memory.view;
    const type = view.getUint8(slot + GSO_TYPE);
    const known = type === XEN_NETIF_GSO_TYPE.TCPV4 || type === XEN_NETIF_GSO_TYPE.TCPV6;
    return known && view.getUint16(slot + GSO_SIZE, true) > 0 ? undefined : "gso";
  }

  #fault(code: string, values: Record<string, number>): never {
    throw new RingFault("driver", this.#name, code, this.ring.rspCons, values);
  }
}
