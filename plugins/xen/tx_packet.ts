/**
 * A transmitted packet as its backend reads it off the ring: slots and extra infos, judged as Linux judges
 * them.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import {
  ETHERNET_HEADER,
  netif_extra_info_gso,
  netif_extra_info_mcast_add,
  NETIF_RSP,
  netif_tx_request,
  NETTXF,
  PAGE_SIZE,
  XEN_NETIF_EXTRA_FLAG_MORE,
  XEN_NETIF_EXTRA_TYPE,
  XEN_NETIF_EXTRA_TYPE_MAX,
  XEN_NETIF_GSO_TYPE,
  XEN_NETIF_NR_SLOTS_MIN,
} from "./layout.ts";
import type { MulticastFilter } from "./multicast.ts";
import type { BackRing } from "./shared_ring.ts";

// The engine looks an imported constant up at each use, but folds a module's own.
const PAGE = PAGE_SIZE;
const GREF = netif_tx_request.offsetOf("gref");
const OFFSET = netif_tx_request.offsetOf("offset");
const FLAGS = netif_tx_request.offsetOf("flags");
const ID = netif_tx_request.offsetOf("id");
const SIZE = netif_tx_request.offsetOf("size");
const EXTRA_TYPE = netif_extra_info_gso.offsetOf("type");
const EXTRA_FLAGS = netif_extra_info_gso.offsetOf("flags");
const GSO_SIZE = netif_extra_info_gso.offsetOf("size");
const GSO_TYPE = netif_extra_info_gso.offsetOf("gso_type");
const MCAST_ADDR = netif_extra_info_mcast_add.offsetOf("addr");
const MORE_DATA = NETTXF.more_data;
const EXTRA_INFO = NETTXF.extra_info;

/**
 * Slots behind the first that are still accepted. One more and the packet is dropped.
 * `XEN_NETBK_LEGACY_SLOTS_MAX`.
 */
const MOST_MORE_SLOTS = XEN_NETIF_NR_SLOTS_MIN;
/**
 * Data slots that are read at most: the frontend that sends more is taken for hostile. `fatal_skb_slots` + 1.
 */
export const MOST_SLOTS: number = 21;

/**
 * Why a packet goes no further: the reason for which it is dropped, or that it was a message for the backend.
 */
export type TxVerdict = "slots" | "size" | "runt" | "first-slot" | "multicast";

/** One packet after the other. Every field is read once, into private memory, and judged there (XSA-155). */
export class TxPacket {
  /** Data slots. */
  count = 0;
  /** Bytes of the whole packet. */
  total = 0;
  /** Grant reference of each slot. */
  readonly gref: Uint32Array = new Uint32Array(MOST_SLOTS);
  /** First byte of each slot in its page. */
  readonly offset: Uint16Array = new Uint16Array(MOST_SLOTS);
  /** Bytes of each slot, the first one's own share included. */
  readonly size: Uint16Array = new Uint16Array(MOST_SLOTS);
  /** Id of each slot. */
  readonly id: Uint16Array = new Uint16Array(MOST_SLOTS);
  /** Extra infos. */
  extras = 0;
  /** `XEN_NETIF_GSO_TYPE_*`. */
  gsoType = 0;
  /** Segment size. */
  gsoSize = 0;
  /** `NETIF_RSP_*` for a multicast message. */
  multicastStatus = 0;
  readonly #name: string;
  readonly #ring: BackRing;
  readonly #multicast: MulticastFilter;
  readonly #linux: boolean;

  /**
   * Reads off a ring.
   *
   * @param name The ring's name in faults.
   * @param ring The ring.
   * @param multicast What multicast messages change.
   * @param linux Whether packets whose first slot is shorter than an Ethernet header are dropped.
   */
  constructor(name: string, ring: BackRing, multicast: MulticastFilter, linux: boolean) {
    this.#name = name;
    this.#ring = ring;
    this.#multicast = multicast;
    this.#linux = linux;
  }

  /**
   * Reads the next packet and moves the ring's consumer index behind it.
   *
   * @param producer The frontend's producer index. There is at least one request.
   * @returns Why the packet goes no further; undefined if it does.
   * @throws {RingFault} `tx-missing-slots`, `tx-missing-extra`, `tx-extra-type`, `tx-gso`,
   * `tx-too-many-slots` or `tx-cross-page`.
   */
  take(producer: number): TxVerdict | undefined {
    this.count = 0;
    this.extras = 0;
    this.gsoType = 0;
    const flags = this.#takeSlot();
    const total = this.total = this.size[0]!;
    let verdict: TxVerdict | undefined;
    if ((flags & (MORE_DATA | EXTRA_INFO)) !== 0) {
      if ((flags & EXTRA_INFO) !== 0 && this.#takeExtras(producer)) return "multicast";
      if ((flags & MORE_DATA) !== 0) verdict = this.#takeSlots(producer);
    }
    if (verdict !== undefined) return verdict;
    const first = this.size[0]!;
    if (this.#linux && first < ETHERNET_HEADER) return total < ETHERNET_HEADER ? "runt" : "first-slot";
    const offset = this.offset[0]!;
    if (offset + first > PAGE) this.#fault("tx-cross-page", { offset, size: first });
    return undefined;
  }

  /** Copies the next slot. Its flags. */
  #takeSlot(): number {
    const ring = this.#ring;
    const slot = ring.slot(ring.reqCons);
    const view = ring.memory.view;
    const at = this.count++;
    this.gref[at] = view.getUint32(slot + GREF, true);
    this.offset[at] = view.getUint16(slot + OFFSET, true);
    this.id[at] = view.getUint16(slot + ID, true);
    this.size[at] = view.getUint16(slot + SIZE, true);
    ring.reqCons = (ring.reqCons + 1) >>> 0;
    return view.getUint16(slot + FLAGS, true);
  }

  /**
   * The slots behind the first. What the first one holds itself is what they leave of the packet's length.
   */
  #takeSlots(producer: number): TxVerdict | undefined {
    let verdict: TxVerdict | undefined;
    let first = this.total;
    for (let more = true; more;) {
      const at = this.count;
      if (this.#ring.reqCons === producer) this.#fault("tx-missing-slots", { slots: at });
      if (at === MOST_SLOTS) this.#fault("tx-too-many-slots", { most: MOST_SLOTS });
      if (at > MOST_MORE_SLOTS) verdict ??= "slots";
      more = (this.#takeSlot() & MORE_DATA) !== 0;
      const size = this.size[at]!;
      const offset = this.offset[at]!;
      // A packet of 64 KiB or more wraps its 16-bit total: then a slot seems larger than what is left.
      if (size > first) verdict ??= "size";
      first -= size;
      if (offset + size > PAGE) this.#fault("tx-cross-page", { offset, size });
    }
    if (verdict === undefined) this.size[0] = first;
    return verdict;
  }

  /**
   * The extra infos behind the first slot. Whether there was a multicast message: the packet ends with it.
   */
  #takeExtras(producer: number): boolean {
    const ring = this.#ring;
    const view = ring.memory.view;
    let multicast = false;
    for (let more = true; more;) {
      if (ring.reqCons === producer) this.#fault("tx-missing-extra", { extras: this.extras });
      const slot = ring.slot(ring.reqCons);
      const type = view.getUint8(slot + EXTRA_TYPE);
      more = (view.getUint8(slot + EXTRA_FLAGS) & XEN_NETIF_EXTRA_FLAG_MORE) !== 0;
      ring.reqCons = (ring.reqCons + 1) >>> 0;
      this.extras++;
      if (type === XEN_NETIF_EXTRA_TYPE.GSO) {
        this.#takeGso(view.getUint8(slot + GSO_TYPE), view.getUint16(slot + GSO_SIZE, true));
      } else if (type === XEN_NETIF_EXTRA_TYPE.MCAST_ADD || type === XEN_NETIF_EXTRA_TYPE.MCAST_DEL) {
        const add = type === XEN_NETIF_EXTRA_TYPE.MCAST_ADD;
        const done = this.#multicast.change(ring.memory.bytes, slot + MCAST_ADDR, add);
        this.multicastStatus = done ? NETIF_RSP.OKAY : NETIF_RSP.ERROR;
        multicast = true;
      } else if (type === XEN_NETIF_EXTRA_TYPE.NONE || type >= XEN_NETIF_EXTRA_TYPE_MAX) {
        this.#fault("tx-extra-type", { type });
      }
    }
    return multicast;
  }

  #takeGso(type: number, size: number): void {
    const known = type === XEN_NETIF_GSO_TYPE.TCPV4 || type === XEN_NETIF_GSO_TYPE.TCPV6;
    if (!known || size === 0) this.#fault("tx-gso", { type, size });
    this.gsoType = type;
    this.gsoSize = size;
  }

  #fault(code: string, values: Record<string, number>): never {
    throw new RingFault("device", this.#name, code, this.#ring.reqCons, values);
  }
}
