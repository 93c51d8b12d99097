/**
 * The backend's receive side of one queue: frames from the wire go into the pages that the frontend has
 * posted.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import { BATCH_SIZE, type FrameBatch } from "../../core/frame_batch.ts";
import { distance32 } from "../../core/index.ts";
import { Memory } from "../../core/memory.ts";
import type { GrantTable } from "./grant_table.ts";
import type { HashConfiguration } from "./hash.ts";
import { GNTST } from "./grant_layout.ts";
import {
  netif_extra_info_gso,
  netif_extra_info_hash,
  netif_rx_request,
  netif_rx_response,
  NETRXF,
  PAGE_SIZE,
  XEN_NETIF_CTRL_HASH_ALGORITHM,
  XEN_NETIF_EXTRA_FLAG_MORE,
  XEN_NETIF_EXTRA_TYPE,
} from "./layout.ts";
import type { BackRing } from "./shared_ring.ts";
import type { StaticGrants } from "./static_grants.ts";

// The engine looks an imported constant up at each use, but folds a module's own.
const PAGE = PAGE_SIZE;
const REQ_ID = netif_rx_request.offsetOf("id");
const REQ_GREF = netif_rx_request.offsetOf("gref");
const ID = netif_rx_response.offsetOf("id");
const OFFSET = netif_rx_response.offsetOf("offset");
const FLAGS = netif_rx_response.offsetOf("flags");
const STATUS = netif_rx_response.offsetOf("status");
const EXTRA_TYPE = netif_extra_info_gso.offsetOf("type");
const EXTRA_FLAGS = netif_extra_info_gso.offsetOf("flags");
const GSO_SIZE = netif_extra_info_gso.offsetOf("size");
const GSO_TYPE = netif_extra_info_gso.offsetOf("gso_type");
const GSO_PAD = netif_extra_info_gso.offsetOf("pad");
const GSO_FEATURES = netif_extra_info_gso.offsetOf("features");
const HASH_TYPE = netif_extra_info_hash.offsetOf("hash_type");
const HASH_ALGORITHM = netif_extra_info_hash.offsetOf("algorithm");
const HASH_VALUE = netif_extra_info_hash.offsetOf("value");
const SLOT = netif_rx_request.size;
const MORE_DATA = NETRXF.more_data;
const EXTRA_INFO = NETRXF.extra_info;
/** A response in words of 32 bits: two fields each, the second one in the upper bits. */
const STATUS_SHIFT = 8 * (STATUS - FLAGS);
const ID_MASK = 2 ** (8 * (OFFSET - ID)) - 1;

/** Copies that Linux gathers into one hypercall. `COPY_BATCH_SIZE`. */
const BATCH = 64;
const OKAY = GNTST.okay;
const NOWHERE = new Memory(0);

/** The receive side of one queue. */
export class RxBack {
  /** Its ring. */
  readonly ring: BackRing;
  /** Grant copies so far. */
  copies = 0;
  /** Hypercalls for copies so far. */
  copyCalls = 0;
  /** Slots found in the table of static grants so far. */
  hits = 0;
  /** Slots looked for in it in vain so far. */
  misses = 0;
  /** Grant operations that hits would have cost so far. */
  saved = 0;
  /** Bytes copied into static pages by the backend itself. */
  memcpyBytes = 0;
  /** Grant copies that failed so far. */
  failures = 0;
  readonly #name: string;
  readonly #grants: GrantTable;
  readonly #statics: StaticGrants;
  /** Where the frames of a batch go, and in which memory. */
  #targets: Int32Array = new Int32Array(0);
  #targetMemory = NOWHERE;
  /** References of the pages that a batch is copied into, and where they lie. */
  readonly #refs = new Int32Array(BATCH_SIZE);
  readonly #places = new Int32Array(BATCH_SIZE);
  #producer: number;
  #batch = 0;

  /** Attaches to a ring. */
  constructor(number: number, ring: BackRing, grants: GrantTable, statics: StaticGrants) {
    this.#name = `rx${number}`;
    this.ring = ring;
    this.#grants = grants;
    this.#statics = statics;
    this.#producer = ring.reqCons;
  }

  /**
   * Puts a frame into posted pages, each filled to its end. Responses are written, not yet published.
   *
   * @param frame The frame. It counts as contiguous and page-aligned: one copy per page, wherever its pieces
   * lie.
   * @param gsoType If not NONE, a GSO extra info goes with it.
   * @param gsoSize Its segment size.
   * @param hash If given and it has a hash of this frame, a HASH extra info goes with it.
   * @returns False if too few pages are posted.
   * @throws {RingFault} `rx-request-overrun`.
   */
  deliver(frame: Frame, gsoType: number, gsoSize: number, hash: HashConfiguration | undefined): boolean {
    const length = frame.length;
    const hashed = hash !== undefined && hash.type >= 0;
    const slots = length <= PAGE ? 1 : Math.ceil(length / PAGE);
    const extras = (gsoType !== 0 ? 1 : 0) + (hashed ? 1 : 0);
    const ring = this.ring;
    if (distance32(this.#producer, ring.reqCons) < slots + extras && !this.#posted(slots + extras)) {
      return false;
    }
    let flags = slots > 1 ? MORE_DATA : 0;
    if (extras > 0) flags |= EXTRA_INFO;
    this.#fillSlot(frame, 0, length < PAGE ? length : PAGE, flags);
    if (extras > 0) {
      if (gsoType !== 0) this.#writeGso(gsoType, gsoSize, hashed ? XEN_NETIF_EXTRA_FLAG_MORE : 0);
      if (hashed) this.#writeHash(hash);
    }
    for (let position = PAGE; position < length; position += PAGE) {
      const rest = length - position;
      if (rest > PAGE) this.#fillSlot(frame, position, PAGE, MORE_DATA);
      else this.#fillSlot(frame, position, rest, 0);
    }
    return true;
  }

  /**
   * Puts frames of up to a page into posted pages in one loop, from index `from` on: static grants or,
   * without any, granted pages.
   *
   * @returns The index of the first frame that did not fit, or whose page is not of that kind, or for which
   * there is none: {@linkcode RxBack.deliver} deals with it.
   */
  deliverBatch(frames: FrameBatch, from: number): number {
    const ring = this.ring;
    if (distance32(this.#producer, ring.reqCons) < frames.count - from) {
      const producer = ring.readProducer();
      if (!ring.overflows(producer)) this.#producer = producer;
    }
    const end = Math.min(frames.count, from + distance32(this.#producer, ring.reqCons));
    return this.#statics.size > 0
      ? this.#fillStatic(frames, from, end)
      : this.#fillGranted(frames, from, end);
  }

  /**
   * Fills posted pages with frames from index `from` up to `end`, which there are enough of, as long as they
   * are static grants. The index of the first frame not delivered.
   */
  #fillStatic(frames: FrameBatch, from: number, end: number): number {
    const ring = this.ring;
    const view = ring.memory.view;
    const { common, writePlaces } = this.#statics;
    const { bytes, offsets, lengths } = frames;
    const { slots, mask } = ring;
    const refs = writePlaces.length;
    const targets = this.#targetsIn(common);
    let position = ring.reqCons & mask;
    let copied = 0;
    let i = from;
    for (; i < end; i = (i + 1) | 0) {
      const length = lengths[i]!;
      const slot = (slots + position * SLOT) | 0;
      const ref = view.getInt32((slot + REQ_GREF) | 0, true);
      const page = ref >= 0 && ref < refs ? writePlaces[ref]! : -1;
      if (page < 0 || length > PAGE || length === 0) break;
      targets[(i - from) | 0] = page;
      copied = (copied + length) | 0;
      // Offset and flags are 0.
      view.setInt32((slot + ID) | 0, view.getInt32((slot + REQ_ID) | 0, true) & ID_MASK, true);
      view.setInt32((slot + FLAGS) | 0, length << STATUS_SHIFT, true);
      position = (position + 1) & mask;
    }
    const filled = i - from;
    common.copyEach(targets, bytes, offsets, lengths, from, filled);
    ring.reqCons = ring.rspProd = (ring.reqCons + filled) >>> 0;
    this.hits += filled;
    this.saved += filled;
    this.memcpyBytes += copied;
    return i;
  }

  /** The array for places in a memory: it seldom changes. */
  #targetsIn(memory: Memory): Int32Array {
    if (this.#targetMemory !== memory) {
      this.#targetMemory = memory;
      this.#targets = memory.words(BATCH_SIZE);
    }
    return this.#targets;
  }

  /** The same by grant copies. */
  #fillGranted(frames: FrameBatch, from: number, end: number): number {
    const ring = this.ring;
    const view = ring.memory.view;
    const grants = this.#grants;
    const { bytes, offsets, lengths } = frames;
    const { slots, mask } = ring;
    const refs = this.#refs;
    let position = ring.reqCons & mask;
    let i = from;
    for (; i < end; i = (i + 1) | 0) {
      const length = lengths[i]!;
      if (length === 0 || length > PAGE) break;
      refs[(i - from) | 0] = view.getInt32((slots + position * SLOT + REQ_GREF) | 0, true);
      position = (position + 1) & mask;
    }
    const places = this.#places.fill(0, 0, i - from);
    const filled = grants.findForCopies(refs, places, i - from, true);
    const memory = grants.copyMemory;
    const targets = this.#targetsIn(memory);
    targets.set(places);
    memory.copyEach(targets, bytes, offsets, lengths, from, filled);
    position = ring.reqCons & mask;
    i = from;
    for (const stop = from + filled; i < stop; i = (i + 1) | 0) {
      const slot = (slots + position * SLOT) | 0;
      // Offset and flags are 0.
      view.setInt32((slot + ID) | 0, view.getInt32((slot + REQ_ID) | 0, true) & ID_MASK, true);
      view.setInt32((slot + FLAGS) | 0, lengths[i]! << STATUS_SHIFT, true);
      position = (position + 1) & mask;
    }
    ring.reqCons = ring.rspProd = (ring.reqCons + filled) >>> 0;
    this.copies += filled;
    this.#batch += filled;
    for (; this.#batch >= BATCH; this.#batch -= BATCH) this.copyCalls++;
    return i;
  }

  /**
   * Whether so many requests are posted; if not, asks to be notified of the next one.
   * `xenvif_rx_ring_slots_available`.
   */
  #posted(wanted: number): boolean {
    const ring = this.ring;
    for (;;) {
      const producer = ring.readProducer();
      if (ring.overflows(producer)) {
        const values = { req_prod: producer, rsp_prod: ring.rspProd, most: ring.size };
        throw new RingFault("device", this.#name, "rx-request-overrun", ring.reqCons, values);
      }
      this.#producer = producer;
      if (distance32(producer, ring.reqCons) >= wanted) return true;
      ring.requestEvent(producer + 1);
      if (ring.readProducer() === producer) return false;
    }
  }

  #fillSlot(frame: Frame, position: number, length: number, flags: number): void {
    const ring = this.ring;
    const view = ring.memory.view;
    const slot = ring.slot(ring.reqCons);
    const id = view.getUint16(slot + REQ_ID, true);
    const ref = view.getUint32(slot + REQ_GREF, true);
    let status = length;
    const statics = this.#statics;
    const entry = statics.size > 0 ? statics.find(ref) : -1;
    if (entry >= 0 && statics.writable[entry] !== 0) {
      this.hits++;
      // Of an empty frame nothing would have been copied.
      if (length > 0) this.saved++;
      this.memcpyBytes += length;
      frame.copyTo(statics.memory[entry]!, statics.offset[entry]!, position, length);
    } else {
      if (statics.size > 0) this.misses++;
      if (length > 0) {
        const grants = this.#grants;
        this.copies++;
        if (++this.#batch === BATCH) this.#endBatch();
        const result = grants.beginCopyTo(ref, 0, length);
        if (result === OKAY) {
          frame.copyTo(grants.memory, grants.offset, position, length);
        } else {
          // As Linux has it: the raw status of the copy takes the place of the length.
          status = result;
          this.failures++;
        }
      }
    }
    view.setUint16(slot + ID, id, true);
    view.setUint16(slot + OFFSET, 0, true);
    view.setUint16(slot + FLAGS, flags, true);
    view.setInt16(slot + STATUS, status, true);
    ring.reqCons = ring.rspProd = (ring.reqCons + 1) >>> 0;
  }

  #writeGso(type: number, size: number, flags: number): void {
    const slot = this.#takeExtra(XEN_NETIF_EXTRA_TYPE.GSO, flags);
    const view = this.ring.memory.view;
    view.setUint16(slot + GSO_SIZE, size, true);
    view.setUint8(slot + GSO_TYPE, type);
    view.setUint8(slot + GSO_PAD, 0);
    view.setUint16(slot + GSO_FEATURES, 0, true);
  }

  #writeHash(hash: HashConfiguration): void {
    const slot = this.#takeExtra(XEN_NETIF_EXTRA_TYPE.HASH, 0);
    const view = this.ring.memory.view;
    view.setUint8(slot + HASH_TYPE, hash.type);
    view.setUint8(slot + HASH_ALGORITHM, XEN_NETIF_CTRL_HASH_ALGORITHM.TOEPLITZ);
    view.setUint32(slot + HASH_VALUE, hash.value, true);
  }

  /** An extra info takes the place of a response; the page posted there is not touched. */
  #takeExtra(type: number, flags: number): number {
    const ring = this.ring;
    const slot = ring.slot(ring.reqCons);
    ring.memory.view.setUint8(slot + EXTRA_TYPE, type);
    ring.memory.view.setUint8(slot + EXTRA_FLAGS, flags);
    ring.reqCons = ring.rspProd = (ring.reqCons + 1) >>> 0;
    return slot;
  }

  #endBatch(): void {
    this.copyCalls++;
    this.#batch = 0;
  }

  /**
   * Publishes what was delivered. Whether the frontend wants to be notified; undefined if there was nothing.
   */
  push(): boolean | undefined {
    if (this.#batch > 0) this.#endBatch();
    const ring = this.ring;
    return ring.rspProd === ring.published ? undefined : ring.push();
  }
}
