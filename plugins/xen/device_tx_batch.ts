/**
 * Packets of a transmit ring that a backend can get at in one piece each, gathered in loops.
 *
 * @module
 */
import { BATCH_SIZE, FrameBatch } from "../../core/frame_batch.ts";
import type { Memory } from "../../core/memory.ts";
import type { GrantTable } from "./grant_table.ts";
import { GNTMAP, GNTST } from "./grant_layout.ts";
import { NETIF_RSP, netif_tx_request, netif_tx_response, NETTXF, PAGE_SIZE } from "./layout.ts";
import type { BackRing } from "./shared_ring.ts";
import type { StaticGrants } from "./static_grants.ts";

// The engine looks an imported constant up at each use, but folds a module's own.
const PAGE = PAGE_SIZE;
const GREF = netif_tx_request.offsetOf("gref");
const OFFSET = netif_tx_request.offsetOf("offset");
const FLAGS = netif_tx_request.offsetOf("flags");
const ID = netif_tx_request.offsetOf("id");
const SIZE = netif_tx_request.offsetOf("size");
const RSP_ID = netif_tx_response.offsetOf("id");
const RSP_STATUS = netif_tx_response.offsetOf("status");
const SLOT = netif_tx_request.size;
/** A slot in words of 32 bits: two fields each, the second one in the upper bits. */
const FLAGS_SHIFT = 8 * (FLAGS - OFFSET);
const SIZE_SHIFT = 8 * (SIZE - ID);
const STATUS_SHIFT = 8 * (RSP_STATUS - RSP_ID);
const LOWER_MASK = 2 ** 16 - 1;
/** A packet that goes on behind its first slot. */
const GOES_ON = (NETTXF.more_data | NETTXF.extra_info) << FLAGS_SHIFT;
const OKAY = NETIF_RSP.OKAY << STATUS_SHIFT;
const GRANTED = GNTST.okay;
const MAP_READONLY = GNTMAP.host_map | GNTMAP.readonly;
const COPIED = -1;
const NONE: Int32Array = new Int32Array(0);

/**
 * The packets that the ring holds next, as frames. Every slot is read once and judged; the first packet that
 * is not plain, or not as it should be, ends the batch: it is read anew and judged on its own. The ring's
 * indices move with {@linkcode TxBatch.answer} only.
 */
export class TxBatch {
  /** The frames. */
  frames: FrameBatch = new FrameBatch();
  readonly #ring: BackRing;
  /** The shortest packet that is taken. */
  readonly #shortest: number;
  readonly #ids = new Int32Array(BATCH_SIZE);
  /** What to map each packet by, then what to unmap it by; {@linkcode COPIED} if it is copied. */
  readonly #handles = new Int32Array(BATCH_SIZE);
  /** Of the packets that are copied: reference, where they go, where they lie in the frontend's memory, length. */
  readonly #refs = new Int32Array(BATCH_SIZE);
  #targets = NONE;
  #sources = NONE;
  #sizes = NONE;
  /** How many were gathered by grant operations: whoever gets the frames may cut them short. */
  #gathered = 0;

  /**
   * Gathers from a ring.
   *
   * @param ring The ring.
   * @param shortest Shorter packets are not gathered.
   */
  constructor(ring: BackRing, shortest: number) {
    this.#ring = ring;
    this.#shortest = shortest;
  }

  /**
   * Gathers packets that lie in static grants, all in the same memory.
   *
   * @param most How many at most; so many requests there are.
   */
  gatherStatic(statics: StaticGrants, most: number): void {
    const { memory: { view }, mask, slots, reqCons } = this.#ring;
    const { common, readPlaces } = statics;
    const { offsets, lengths } = this.#framesIn(common);
    const ids = this.#ids;
    const shortest = this.#shortest;
    const refs = readPlaces.length;
    const end = Math.min(most, BATCH_SIZE);
    let position = reqCons & mask;
    let count = 0;
    for (; count < end; count = (count + 1) | 0) {
      const slot = (slots + position * SLOT) | 0;
      const ref = view.getInt32((slot + GREF) | 0, true);
      const start = view.getInt32((slot + OFFSET) | 0, true);
      const extent = view.getInt32((slot + ID) | 0, true);
      const offset = start & LOWER_MASK;
      const size = extent >>> SIZE_SHIFT;
      if ((start & GOES_ON) !== 0 || size < shortest || offset + size > PAGE) break;
      const page = ref >= 0 && ref < refs ? readPlaces[ref]! : -1;
      if (page < 0) break;
      offsets[count] = page + offset;
      lengths[count] = size;
      ids[count] = extent & LOWER_MASK;
      position = (position + 1) & mask;
    }
    this.frames.count = count;
  }

  /**
   * Gathers packets by grant operations: short ones are copied, longer ones mapped. The head of a mapped packet, which
   * Linux copies besides, is not moved: nothing looks at it before the wire reads the frame, once, where it lies.
   *
   * @param grants The frontend's grants.
   * @param most How many packets at most; so many requests there are.
   * @param head Longer packets are mapped. They must lie in the memory that the others are copied to.
   * @param own Memory for `most` packets of that length.
   * @param ownOffset Where it starts.
   */
  gatherGranted(grants: GrantTable, most: number, head: number, own: Memory, ownOffset: number): void {
    const { memory: { view }, mask, slots, reqCons } = this.#ring;
    const { offsets, lengths } = this.#framesIn(own);
    const refs = this.#refs;
    const targets = this.#targets;
    const sources = this.#sources;
    const sizes = this.#sizes;
    const handles = this.#handles;
    const ids = this.#ids;
    const shortest = this.#shortest;
    let position = reqCons & mask;
    let target = ownOffset;
    let copies = 0;
    let maps = 0;
    let count = 0;
    for (; count < most; count = (count + 1) | 0) {
      const slot = (slots + position * SLOT) | 0;
      const ref = view.getInt32((slot + GREF) | 0, true);
      const start = view.getInt32((slot + OFFSET) | 0, true);
      const extent = view.getInt32((slot + ID) | 0, true);
      const offset = start & LOWER_MASK;
      const size = extent >>> SIZE_SHIFT;
      if ((start & GOES_ON) !== 0 || size < shortest || offset + size > PAGE || ref < 0) break;
      if (size > head) {
        handles[count] = ref;
        offsets[count] = offset;
        maps = (maps + 1) | 0;
      } else {
        handles[count] = COPIED;
        refs[copies] = ref;
        sources[copies] = offset;
        sizes[copies] = size;
        targets[copies] = offsets[count] = target;
        target = (target + head) | 0;
        copies = (copies + 1) | 0;
      }
      lengths[count] = size;
      ids[count] = extent & LOWER_MASK;
      position = (position + 1) & mask;
    }
    // The first packet that cannot be copied like the others ends the batch, before anything behind it is mapped.
    const found = grants.findForCopies(refs, sources, copies, false);
    const { bytes } = grants.copyMemory;
    if (found < copies) count = this.#packetOfCopy(found);
    if (maps > 0) count = this.#mapEach(grants, count, own);
    own.copyEach(targets, bytes, sources, sizes, 0, found);
    this.frames.count = this.#gathered = count;
  }

  /** The packet that is copied behind `copies` others. */
  #packetOfCopy(copies: number): number {
    let packet = this.#handles.indexOf(COPIED);
    for (; copies > 0; copies--) packet = this.#handles.indexOf(COPIED, packet + 1);
    return packet;
  }

  /**
   * Maps those of the first `count` packets that are not copied.
   *
   * @returns How many packets there are before the first that cannot be mapped, or not in `own`.
   */
  #mapEach(grants: GrantTable, count: number, own: Memory): number {
    const handles = this.#handles;
    const { offsets } = this.frames;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const ref = handles[i]!;
      if (ref === COPIED) continue;
      if (grants.map(ref, MAP_READONLY) !== GRANTED) return i;
      if (grants.memory !== own) {
        grants.unmap(grants.handle);
        return i;
      }
      offsets[i] = (offsets[i]! + grants.offset) | 0;
      handles[i] = grants.handle;
    }
    return count;
  }

  /** The batch for frames in a memory: that seldom changes. */
  #framesIn(memory: Memory): FrameBatch {
    if (this.frames.bytes !== memory.bytes) {
      this.frames = new FrameBatch(memory);
      this.#targets = memory.words(BATCH_SIZE);
      this.#sources = memory.words(BATCH_SIZE);
      this.#sizes = memory.words(BATCH_SIZE);
    }
    return this.frames;
  }

  /**
   * Answers the first `count` of the packets: both indices of the ring move behind them.
   *
   * @returns How many of them are longer than `length`.
   */
  answer(count: number, length: number): number {
    const ring = this.#ring;
    const { memory: { view }, mask, slots } = ring;
    const { lengths } = this.frames;
    const ids = this.#ids;
    let position = ring.rspProd & mask;
    let longer = 0;
    for (let i = 0; i < count; i++) {
      view.setInt32((slots + position * SLOT + RSP_ID) | 0, ids[i]! | OKAY, true);
      position = (position + 1) & mask;
      // The sign of the difference: a branch here is often predicted wrongly.
      longer = (longer + ((length - lengths[i]!) >>> 31)) | 0;
    }
    ring.rspProd = (ring.rspProd + count) >>> 0;
    ring.reqCons = (ring.reqCons + count) >>> 0;
    return longer;
  }

  /**
   * Answers those of the first `count` packets that were copied, and leaves the mapped ones to the end of the batch. All
   * further mappings end: their packets are read anew.
   *
   * @param waiting Takes the mapped ones.
   * @returns How many these are.
   */
  answerGranted(count: number, grants: GrantTable, waiting: UnmapQueue): number {
    const ring = this.#ring;
    const { memory: { view }, mask, slots } = ring;
    const ids = this.#ids;
    const handles = this.#handles;
    let position = ring.rspProd & mask;
    let mapped = 0;
    for (let i = 0; i < count; i++) {
      if (handles[i] === COPIED) {
        view.setInt32((slots + position * SLOT + RSP_ID) | 0, ids[i]! | OKAY, true);
        position = (position + 1) & mask;
      } else {
        waiting.add(ids[i]!, 0, handles[i]!);
        mapped++;
      }
    }
    for (let i = count; i < this.#gathered; i++) {
      if (handles[i] !== COPIED) grants.unmap(handles[i]!);
    }
    ring.rspProd = (ring.rspProd + count - mapped) >>> 0;
    ring.reqCons = (ring.reqCons + count) >>> 0;
    return mapped;
  }
}

/** Slots whose bytes are mapped: they are answered when their mappings end, all at once. */
export class UnmapQueue {
  /** How many there are. */
  count = 0;
  /** Id of each. */
  readonly ids: Uint16Array;
  /** Extra infos to be answered with each. */
  readonly extras: Uint16Array;
  /** What to unmap each by. */
  readonly handles: Uint32Array;

  /** Has room for a ring of `size` slots. */
  constructor(size: number) {
    this.ids = new Uint16Array(size);
    this.extras = new Uint16Array(size);
    this.handles = new Uint32Array(size);
  }

  /** Adds a slot. */
  add(id: number, extras: number, handle: number): void {
    const at = this.count++;
    this.ids[at] = id;
    this.extras[at] = extras;
    this.handles[at] = handle;
  }
}
