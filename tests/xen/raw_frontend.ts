/** A frontend that writes raw bytes: what a test wants to provoke, and nothing else. */
import { AddressSpace, READ_WRITE } from "../../core/address_space.ts";
import type { Frame } from "../../core/frame.ts";
import type { Struct, Values, ValuesInput } from "../../core/layout.ts";
import { Memory } from "../../core/memory.ts";
import type { Wire } from "../../core/plugin.ts";
import {
  BACKEND_PATH,
  type BackendFeatures,
  type BackendOptions,
  createVif,
  FRONTEND_PATH,
  grant_entry_v1,
  GrantTable,
  GTF,
  initSharedRing,
  netif_rx_request,
  netif_rx_response,
  netif_tx_request,
  netif_tx_response,
  sring_header,
  writeState,
  xen_netif_ctrl_request,
  xen_netif_ctrl_response,
  xen_netif_gref,
  XenbusState,
  XenDevice,
  XenStore,
} from "../../plugins/xen/mod.ts";

const PAGE = 4096;
const PAGES = 256;
const REFS = 512;
/** Page 1 holds the grant table; references 1, 2 and 3 are the rings. */
const RING_PAGES = { tx: 2, rx: 3, ctrl: 4 };
type Ring = keyof typeof RING_PAGES;
const SLOT = { tx: netif_tx_request.size, rx: netif_rx_request.size, ctrl: xen_netif_ctrl_request.size };
const RESPONSE: Record<Ring, Struct> = {
  tx: netif_tx_response,
  rx: netif_rx_response,
  ctrl: xen_netif_ctrl_response,
};

/** What the device offers, if a test does not say otherwise. */
export const FEATURES: BackendFeatures = {
  maxQueues: 4,
  sg: true,
  gso: true,
  splitEventChannels: true,
  controlRing: true,
  multicastControl: true,
};

export interface RawSettings extends Partial<BackendOptions> {
  /** What `multi-queue-num-queues` says. */
  readonly queues?: string;
  /** Whether the device's own pages lie in the same memory as the guest's, behind these, as in the pipe. */
  readonly together?: boolean;
}

/** Memory of a guest, a device over it, and the guest's raw writes. */
export class RawFrontend {
  readonly memory: Memory;
  readonly store = new XenStore();
  readonly grants: GrantTable;
  readonly device: XenDevice;
  /** Frames that the wire got, as copies. */
  readonly frames: Uint8Array[] = [];
  /** Reasons of the frames that were dropped. */
  readonly drops: string[] = [];
  /** Ports that the device has bound and not closed. */
  readonly ports = new Set<number>();
  /** Whether the wire takes frames. */
  takes = true;
  readonly wire: Wire = {
    transmit: (frame) => this.takes && this.#take(frame),
    drop: (_queue, reason) => void this.drops.push(reason),
  };
  readonly #producers: Record<Ring, number> = { tx: 0, rx: 0, ctrl: 0 };

  constructor(settings: RawSettings = {}) {
    const ownSize = XenDevice.ownSize(4);
    this.memory = new Memory(PAGES * PAGE + (settings.together ? ownSize : 0));
    const space = new AddressSpace();
    space.map(0, this.memory, 0, PAGES * PAGE, READ_WRITE);
    this.grants = new GrantTable({ space, version: 1, address: PAGE, entries: REFS, domid: 0 });
    for (const ring of ["tx", "rx", "ctrl"] as const) {
      initSharedRing(this.memory, RING_PAGES[ring] * PAGE);
      this.grant(RING_PAGES[ring] - 1, RING_PAGES[ring]);
    }
    createVif(this.store);
    const put = (key: string, value: string | number) => this.store.write(`${FRONTEND_PATH}/${key}`, value);
    put("tx-ring-ref", 1);
    put("rx-ring-ref", 2);
    put("ctrl-ring-ref", 3);
    put("event-channel-tx", 1);
    put("event-channel-rx", 2);
    put("event-channel-ctrl", 3);
    put("request-rx-copy", 1);
    put("feature-sg", 1);
    put("feature-gso-tcpv4", 1);
    put("feature-gso-tcpv6", 1);
    if (settings.queues !== undefined) put("multi-queue-num-queues", settings.queues);
    this.device = new XenDevice({
      grants: this.grants,
      own: settings.together
        ? { memory: this.memory, offset: PAGES * PAGE }
        : { memory: new Memory(ownSize), offset: 0 },
      store: this.store,
      path: BACKEND_PATH,
      events: {
        allocate: () => 1,
        bind: (port) => {
          this.ports.add(port);
          return port;
        },
        send: () => {},
        take: () => false,
        close: (port) => void this.ports.delete(port),
      },
      options: {
        features: FEATURES,
        staticCapacity: 512,
        policy: "linux",
        linux: false,
        ...settings,
      },
    });
    this.device.connect();
  }

  /** Says Connected, so that the device attaches. */
  connect(): this {
    writeState(this.store, FRONTEND_PATH, XenbusState.Connected);
    this.device.connect();
    return this;
  }

  #take(frame: Frame): boolean {
    const copy = new Memory(frame.length);
    frame.copyTo(copy, 0, 0, frame.length);
    this.frames.push(copy.bytes);
    return true;
  }

  /** Grants a page; by default for writing. */
  grant(ref: number, page: number, flags = 1, domid = 0): void {
    const entry = grant_entry_v1.encode({ flags, domid, frame: page });
    this.memory.bytes.set(entry, PAGE + ref * grant_entry_v1.size);
  }

  /** Flags of an entry. */
  flags(ref: number): number {
    const at = PAGE + ref * grant_entry_v1.size;
    return Number(grant_entry_v1.decode(this.memory.bytes, at).flags);
  }

  /** Whether a page is in use. */
  inUse(ref: number): boolean {
    return (this.flags(ref) & (GTF.reading | GTF.writing)) !== 0;
  }

  /** The bytes of a page. */
  page(number: number): Uint8Array {
    return this.memory.bytes.subarray(number * PAGE, (number + 1) * PAGE);
  }

  /** Writes raw bytes into the next slot of a ring. */
  slot(ring: Ring, bytes: Uint8Array): void {
    const number = this.#producers[ring]++ % (ring === "ctrl" ? 128 : 256);
    this.page(RING_PAGES[ring]).set(bytes, sring_header.size + number * SLOT[ring]);
  }

  /** Writes a transmit request. */
  tx(fields: ValuesInput): void {
    this.slot("tx", netif_tx_request.encode(fields));
  }

  /** Posts receive pages: references from `first` on, ids from 0. */
  post(first: number, count: number): void {
    for (let i = 0; i < count; i++) this.slot("rx", netif_rx_request.encode({ id: i, gref: first + i }));
    this.publish("rx");
  }

  /** Publishes what was written, or any number. */
  publish(ring: Ring, index: number = this.#producers[ring]): void {
    this.memory.view.setUint32(RING_PAGES[ring] * PAGE + sring_header.offsetOf("req_prod"), index, true);
  }

  /** All that the guest has. */
  get guestBytes(): Uint8Array {
    return this.memory.bytes.subarray(0, PAGES * PAGE);
  }

  /** A header word of a ring. */
  word(ring: Ring, name: string): number {
    return this.memory.view.getUint32(RING_PAGES[ring] * PAGE + sring_header.offsetOf(name), true);
  }

  /** Lets the device work. */
  service(): number {
    return this.device.service(this.wire);
  }

  /** All responses published since the beginning, as long as the ring did not wrap. */
  responses(ring: Ring): Values[] {
    return Array.from({ length: this.word(ring, "rsp_prod") }, (_, i) => this.#response(ring, i));
  }

  #response(ring: Ring, index: number): Values {
    return RESPONSE[ring].decode(this.page(RING_PAGES[ring]), sring_header.size + index * SLOT[ring]);
  }

  /** Statuses of the transmit responses. */
  statuses(): number[] {
    return this.responses("tx").map((response) => Number(response.status));
  }

  /** Sends a control message: status and data of the answer. */
  ask(type: number, data0 = 0, data1 = 0, data2 = 0): [number, number] {
    const id = 100 + this.#producers.ctrl;
    const before = this.word("ctrl", "rsp_prod");
    const fields = { id, type, "data[0]": data0, "data[1]": data1, "data[2]": data2 };
    this.slot("ctrl", xen_netif_ctrl_request.encode(fields));
    this.publish("ctrl");
    this.device.connect();
    if (this.word("ctrl", "rsp_prod") !== before + 1) throw new Error("A request needs exactly one response");
    const answer = this.#response("ctrl", before % 128);
    if (answer.id !== id || answer.type !== type) throw new Error("The answer is not to the request");
    return [Number(answer.status), Number(answer.data)];
  }

  /** Writes a list of static grants into a page: references, or references with flags. */
  list(page: number, entries: readonly (number | readonly [number, number])[]): void {
    entries.forEach((entry, i) => {
      const [ref, flags] = typeof entry === "number" ? [entry, 0] : entry;
      this.page(page).set(xen_netif_gref.encode({ ref, flags, status: 0xffff }), i * xen_netif_gref.size);
    });
  }

  /** The statuses in a list. */
  listStatuses(page: number, count: number): number[] {
    return Array.from(
      { length: count },
      (_, i) => Number(xen_netif_gref.decode(this.page(page), i * xen_netif_gref.size).status),
    );
  }
}
