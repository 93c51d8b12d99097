/**
 * The backend's transmit side of one queue: requests become frames for the wire.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import { Frame } from "../../core/frame.ts";
import { distance32 } from "../../core/index.ts";
import type { Memory } from "../../core/memory.ts";
import type { Wire } from "../../core/plugin.ts";
import { TxBatch, UnmapQueue } from "./device_tx_batch.ts";
import type { GrantTable } from "./grant_table.ts";
import { GNTMAP, GNTST } from "./grant_layout.ts";
import { ETHERNET_HEADER, NETIF_RSP, netif_tx_response, PAGE_SIZE } from "./layout.ts";
import type { MulticastFilter } from "./multicast.ts";
import type { BackRing } from "./shared_ring.ts";
import type { StaticGrants } from "./static_grants.ts";
import { MOST_SLOTS, TxPacket } from "./tx_packet.ts";

// The engine looks an imported constant up at each use, but folds a module's own.
const PAGE = PAGE_SIZE;
const RSP_ID = netif_tx_response.offsetOf("id");
const RSP_STATUS = netif_tx_response.offsetOf("status");
const { OKAY, ERROR, NULL } = NETIF_RSP;
const GRANTED = GNTST.okay;
const MAP_READONLY = GNTMAP.host_map | GNTMAP.readonly;

/** Bytes that Linux copies from the head of a packet, mapping the rest. `XEN_NETBACK_TX_COPY_LEN`. */
const HEAD = 128;
/**
 * With this many slots behind the first, Linux copies the first slot whole, so that the mapped ones fit an
 * skb.
 */
const CROWDED = 17;
/** A slot that is no static grant. */
const NO_ENTRY = -1;
/** A slot whose bytes could not be got at. */
const BAD_GRANT = -2;
/** Packets whose grant operations Linux gathers into one hypercall of each kind. */
const BATCH = 64;

/** How a backend gets at packets. */
export interface TxBackSettings {
  /** `linux` copies the head and maps the rest, `copy` copies everything. */
  readonly policy: "linux" | "copy";
  /** Whether packets that Linux drops are dropped. */
  readonly linux: boolean;
}

/** A frame from a frontend, with what its extra infos said. */
export class XenFrame extends Frame {
  /** `XEN_NETIF_GSO_TYPE_*`. */
  gsoType = 0;
  /** Segment size. */
  gsoSize = 0;
}

/** The transmit side of one queue. */
export class TxBack {
  /** Its ring. */
  readonly ring: BackRing;
  /** The frame now being handed to the wire. */
  readonly frame: XenFrame = new XenFrame();
  /** Grant copies so far. */
  copies = 0;
  /** Grant maps so far. */
  maps = 0;
  /** Grant unmaps so far. */
  unmaps = 0;
  /** Hypercalls so far, by kind. */
  copyCalls = 0;
  /** Hypercalls for maps. */
  mapCalls = 0;
  /** Hypercalls for unmaps; each flushes the TLB once. */
  unmapCalls = 0;
  /** Slots found in the table of static grants so far. */
  hits = 0;
  /** Slots looked for in it in vain so far. */
  misses = 0;
  /** Grant operations that hits would have cost so far. */
  saved = 0;
  readonly #name: string;
  readonly #number: number;
  readonly #grants: GrantTable;
  readonly #statics: StaticGrants;
  readonly #settings: TxBackSettings;
  /** The backend's own pages: one per slot of a packet or per packet of a batch, or the first ones for heads. */
  readonly #own: Memory;
  readonly #ownOffset: number;
  /** The packet now being worked on. */
  readonly #packet: TxPacket;
  /**
   * What was done for each of its slots: entry of the static table, or {@linkcode NO_ENTRY} or
   * {@linkcode BAD_GRANT}.
   */
  readonly #entry = new Int32Array(MOST_SLOTS);
  /** Handle of each slot's mapping + 1, or 0. */
  readonly #handle = new Uint32Array(MOST_SLOTS);
  /** Whether the packet's slots are still to be answered, and its mappings to be ended. */
  #open = false;
  /** The wire did not take the frame: it is kept as it is. */
  #held = false;
  /** Responses that wait for the unmap at the end of a batch. */
  readonly #waiting: UnmapQueue;
  /** Packets to be passed on in one go. */
  readonly #batch: TxBatch;
  #batchFrames = 0;
  #batchCopies = false;
  #batchMaps = false;

  /** Attaches to a ring. */
  constructor(
    number: number,
    ring: BackRing,
    grants: GrantTable,
    statics: StaticGrants,
    multicast: MulticastFilter,
    own: { readonly memory: Memory; readonly offset: number },
    settings: TxBackSettings,
  ) {
    this.#name = `tx${number}`;
    this.#number = number;
    this.ring = ring;
    this.#grants = grants;
    this.#statics = statics;
    this.#packet = new TxPacket(this.#name, ring, multicast, settings.linux);
    this.#own = own.memory;
    this.#ownOffset = own.offset;
    this.#settings = settings;
    this.#batch = new TxBatch(ring, settings.linux ? ETHERNET_HEADER : 1);
    this.#waiting = new UnmapQueue(ring.size);
  }

  /** How many bytes of its own memory a queue needs. */
  static readonly ownSize: number = Math.max(MOST_SLOTS, BATCH) * PAGE;

  /**
   * Hands what the frontend has sent to the wire. Responses are written, not yet published.
   *
   * @returns How many requests were consumed.
   * @throws {RingFault} `tx-request-overrun`, `tx-missing-slots`, `tx-missing-extra`, `tx-extra-type`,
   * `tx-gso`, `tx-too-many-slots` or `tx-cross-page`.
   */
  service(wire: Wire): number {
    const resumed = this.#held ? 1 : 0;
    if (resumed > 0 && !this.#handOver(wire)) return 0;
    const ring = this.ring;
    const producer = ring.readProducer();
    if (ring.overflows(producer)) {
      this.#fault("tx-request-overrun", { req_prod: producer, rsp_prod: ring.rspProd, most: ring.size });
    }
    const start = ring.reqCons;
    let batches = wire.transmitBatch !== undefined;
    while (ring.reqCons !== producer) {
      // A batch of which nothing was taken shows that the wire wants its frames one by one.
      if (batches) batches = this.#passBatch(distance32(producer, ring.reqCons), wire);
      if (ring.reqCons === producer) break;
      if (!this.#takePacket(producer, wire)) continue;
      if (!this.#handOver(wire)) break;
      if (++this.#batchFrames === BATCH) this.#endBatch();
    }
    this.#endBatch();
    return distance32(ring.reqCons, start) + resumed;
  }

  /**
   * Passes packets of one slot each to the wire in one go: those that lie in static grants or, without static
   * grants, any.
   *
   * @returns Whether the wire took any, or there were none.
   */
  #passBatch(requests: number, wire: Wire): boolean {
    const batch = this.#batch;
    const linux = this.#settings.policy === "linux";
    const isStatic = this.#statics.size > 0;
    // Where operations wait for the end of a hypercall's batch, it must come after as many packets as ever.
    const open = !isStatic || this.#batchCopies || this.#batchMaps;
    const most = open ? Math.min(requests, BATCH - this.#batchFrames) : requests;
    if (isStatic) {
      batch.gatherStatic(this.#statics, most);
    } else {
      batch.gatherGranted(this.#grants, most, linux ? HEAD : PAGE, this.#own, this.#ownOffset);
    }
    if (batch.frames.count === 0) return true;
    let taken = 0;
    let mapped = 0;
    try {
      taken = wire.transmitBatch!(batch.frames, this.#number);
    } finally {
      // Whatever has become of the frames, mappings end.
      if (!isStatic) mapped = batch.answerGranted(taken, this.#grants, this.#waiting);
    }
    if (isStatic) {
      const longer = batch.answer(taken, HEAD);
      this.hits += taken;
      this.saved += taken;
      // What Linux would have mapped and unmapped beside the copy of the head.
      if (linux) this.saved += 2 * longer;
    } else if (taken > 0) {
      // Those that the wire did not take are copied and mapped again, and counted, when it does.
      this.copies += taken;
      this.maps += mapped;
      this.#batchCopies = true;
      if (mapped > 0) this.#batchMaps = true;
    }
    this.#batchFrames += taken;
    if (!open) this.#batchFrames %= BATCH;
    else if (this.#batchFrames === BATCH) this.#endBatch();
    return taken > 0;
  }

  /** Whether a frame waits for the wire. */
  get held(): boolean {
    return this.#held;
  }

  /** Reads one packet and gets at its bytes. False if it ended here. */
  #takePacket(producer: number, wire: Wire): boolean {
    const packet = this.#packet;
    const verdict = packet.take(producer);
    if (verdict !== undefined) {
      if (verdict === "multicast") this.#respond(packet.id[0]!, packet.multicastStatus, packet.extras);
      else this.#drop(wire, verdict);
      return false;
    }
    const frame = this.frame;
    frame.clear();
    frame.gsoType = packet.gsoType;
    frame.gsoSize = packet.gsoSize;
    this.#open = true;
    return this.#gather(packet.total) || this.#dropBadGrant(wire);
  }

  /** Answers all slots of a packet with an error. */
  #drop(wire: Wire, reason: string): void {
    const { count, id, extras } = this.#packet;
    for (let i = 0; i < count; i++) this.#respond(id[i]!, ERROR, i === 0 ? extras : 0);
    wire.drop(this.#number, reason);
  }

  /**
   * Gets at the bytes of all slots. False if a grant is bad; the packet's mappings and hits are then still
   * there.
   */
  #gather(total: number): boolean {
    const { policy } = this.#settings;
    const { count, size: sizes } = this.#packet;
    let head = total;
    if (policy === "linux") {
      head = Math.min(HEAD, total);
      // With so many slots to map, the first one must not need a mapping of its own.
      if (count > CROWDED && head < sizes[0]!) head = sizes[0]!;
    }
    let position = 0;
    let okay = true;
    for (let i = 0; i < count; i++) {
      this.#handle[i] = 0;
      this.#entry[i] = NO_ENTRY;
      const size = sizes[i]!;
      if (size === 0) continue;
      const part = Math.min(size, Math.max(head - position, 0));
      const target = policy === "linux" ? position : i * PAGE;
      if (!this.#access(i, size, part, target)) {
        this.#entry[i] = BAD_GRANT;
        okay = false;
      }
      position += size;
    }
    return okay;
  }

  /** One slot: a static grant, or a copy of its first `part` bytes and a mapping for the others. */
  #access(i: number, size: number, part: number, target: number): boolean {
    const statics = this.#statics;
    const frame = this.frame;
    const ref = this.#packet.gref[i]!;
    const offset = this.#packet.offset[i]!;
    if (statics.size > 0) {
      const entry = statics.find(ref);
      if (entry >= 0) {
        this.hits++;
        this.saved += (part > 0 ? 1 : 0) + (part < size ? 2 : 0);
        this.#entry[i] = entry;
        frame.push(statics.memory[entry]!.bytes, statics.offset[entry]! + offset, size);
        return true;
      }
      this.misses++;
    }
    const grants = this.#grants;
    if (part > 0) {
      this.copies++;
      this.#batchCopies = true;
      const own = this.#ownOffset + target;
      if (grants.copyFrom(ref, offset, part, this.#own, own) !== GRANTED) return false;
      frame.push(this.#own.bytes, own, part);
    }
    if (part < size) {
      this.maps++;
      this.#batchMaps = true;
      if (grants.map(ref, MAP_READONLY) !== GRANTED) return false;
      this.#handle[i] = grants.handle + 1;
      frame.push(grants.memory.bytes, grants.offset + offset + part, size - part);
    }
    return true;
  }

  /**
   * A slot's grant was bad: that slot is answered with an error, the others are not, and the packet is
   * dropped.
   */
  #dropBadGrant(wire: Wire): false {
    this.#answer();
    wire.drop(this.#number, "bad-grant");
    return false;
  }

  /** Gives the frame to the wire and answers its slots. False if the wire does not take it now. */
  #handOver(wire: Wire): boolean {
    if (!wire.transmit(this.frame, this.#number)) {
      if (!this.#held) this.#hold(1);
      this.#held = true;
      return false;
    }
    if (this.#held) this.#hold(-1);
    this.#held = false;
    this.#answer();
    return true;
  }

  /** Counts the packet's static grants as used, or no longer. */
  #hold(by: number): void {
    for (let i = 0; i < this.#packet.count; i++) {
      const entry = this.#entry[i]!;
      if (entry >= 0) this.#statics.uses[entry]! += by;
    }
  }

  /**
   * Answers the packet's slots: at once if all bytes were copied or static, after the unmap if they were
   * mapped.
   */
  #answer(): void {
    this.#open = false;
    const { count, id } = this.#packet;
    for (let i = 0; i < count; i++) {
      const extras = i === 0 ? this.#packet.extras : 0;
      const handle = this.#handle[i]!;
      if (handle === 0) {
        this.#respond(id[i]!, this.#entry[i] === BAD_GRANT ? ERROR : OKAY, extras);
      } else {
        this.#waiting.add(id[i]!, extras, handle - 1);
      }
    }
  }

  /** Ends a batch: what was mapped is unmapped in one go and answered. */
  #endBatch(): void {
    this.#batchFrames = 0;
    if (this.#batchCopies) this.copyCalls++;
    if (this.#batchMaps) this.mapCalls++;
    this.#batchCopies = this.#batchMaps = false;
    const { count, ids, extras, handles } = this.#waiting;
    if (count === 0) return;
    for (let i = 0; i < count; i++) {
      this.#grants.unmap(handles[i]!);
      this.#respond(ids[i]!, OKAY, extras[i]!);
    }
    this.unmaps += count;
    this.unmapCalls++;
    this.#waiting.count = 0;
  }

  /** Unmaps whatever is mapped: what a disconnect does. */
  release(): void {
    if (this.#open) this.#answer();
    this.#held = false;
    this.#endBatch();
  }

  /** Writes a response, and one of NULL for each extra info; of those the id keeps what stood there. */
  #respond(id: number, status: number, extras: number): void {
    const ring = this.ring;
    const view = ring.memory.view;
    const slot = ring.slot(ring.rspProd);
    view.setUint16(slot + RSP_ID, id, true);
    view.setInt16(slot + RSP_STATUS, status, true);
    ring.rspProd = (ring.rspProd + 1) >>> 0;
    for (; extras > 0; extras--) {
      view.setInt16(ring.slot(ring.rspProd) + RSP_STATUS, NULL, true);
      ring.rspProd = (ring.rspProd + 1) >>> 0;
    }
  }

  #fault(code: string, values: Record<string, number>): never {
    throw new RingFault("device", this.#name, code, this.ring.reqCons, values);
  }
}
