/**
 * The backend: `netback`.
 *
 * @module
 */
import type { Counters } from "../../core/counters.ts";
import { RingFault } from "../../core/fault.ts";
import { FlowParser } from "../../core/flow.ts";
import type { Frame } from "../../core/frame.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import type { Memory } from "../../core/memory.ts";
import { type DeviceHalf, NO_BUFFERS, OVERSIZE, type Wire } from "../../core/plugin.ts";
import { ControlServer } from "./control_server.ts";
import { addCounters, deviceCounters } from "./device_counters.ts";
import { RxBack } from "./device_rx.ts";
import { TxBack, type TxBackSettings, XenFrame } from "./device_tx.ts";
import { type EventPorts, Notifier } from "./event_channel.ts";
import type { GrantTable } from "./grant_table.ts";
import { HashConfiguration } from "./hash.ts";
import { GNTMAP, GNTST } from "./grant_layout.ts";
import {
  netif_rx_request,
  netif_tx_request,
  PAGE_SIZE,
  XEN_NETIF_GSO_TYPE,
  XEN_NETIF_MAX_TX_SIZE,
} from "./layout.ts";
import { MulticastFilter } from "./multicast.ts";
import { BackRing } from "./shared_ring.ts";
import { StaticGrants } from "./static_grants.ts";
import {
  type BackendFeatures,
  type FrontendKeys,
  readFrontendKeys,
  readMulticastRequest,
  readState,
  writeBackendFeatures,
  writeState,
  XenbusState,
  type XenStore,
} from "./xenbus.ts";

/** Bytes of a frame that hold all headers that are looked at. */
const HEADERS = 256;

/** How a backend is to work. */
export interface BackendOptions extends TxBackSettings {
  /** What it offers. */
  readonly features: BackendFeatures;
  /** Static grants that each queue can have; 0 if the backend does not support them. */
  readonly staticCapacity: number;
}

/** What a backend needs around it. */
export interface BackendSetup {
  /** The frontend's grants. */
  readonly grants: GrantTable;
  /** The backend's own memory, not the frontend's: {@linkcode XenDevice.ownSize} bytes from `offset`. */
  readonly own: { readonly memory: Memory; readonly offset: number };
  /** Xenstore. */
  readonly store: XenStore;
  /** Its directory in xenstore. */
  readonly path: string;
  /** Its event channels. */
  readonly events: EventPorts;
  /** How it is to work. */
  readonly options: BackendOptions;
}

interface Queue {
  readonly tx: TxBack;
  readonly rx: RxBack;
  readonly statics: StaticGrants;
  readonly txPort: number;
  readonly rxPort: number;
}

/** A Xen network backend. */
export class XenDevice implements DeviceHalf {
  readonly #setup: BackendSetup;
  readonly #flow = new FlowParser();
  readonly #notifier: Notifier;
  readonly #queues: Queue[] = [];
  /** What is to be let go of: mappings of ring pages, and ports. */
  readonly #handles: number[] = [];
  readonly #ports: number[] = [];
  #hash = new HashConfiguration(1);
  #multicast = new MulticastFilter();
  #control: ControlServer | undefined;
  #frontend: FrontendKeys | undefined;
  #seen = -1;
  #inService = false;
  #ringMaps = 0;
  #ringUnmaps = 0;
  #filtered = 0;
  /** Counters of earlier connections. */
  #past: Counters = {};
  #fault: RingFault | undefined;

  /** Waits for a frontend; {@linkcode XenDevice.connect} offers the features. */
  constructor(setup: BackendSetup) {
    this.#setup = setup;
    this.#notifier = new Notifier(setup.events);
  }

  /** How many bytes of its own memory a backend with so many queues needs. */
  static ownSize(queues: number): number {
    return queues * TxBack.ownSize + PAGE_SIZE;
  }

  /** Tables of static grants, by queue. */
  get statics(): readonly StaticGrants[] {
    return this.#queues.map((queue) => queue.statics);
  }

  /** Multicast addresses that the frontend let in. */
  get multicast(): ReadonlySet<number> {
    return this.#multicast.addresses;
  }

  /**
   * Follows the frontend's state, and answers control messages.
   *
   * @returns Whether the interface is up.
   * @throws {RingFault} If the frontend's keys or pages are not as they must be.
   */
  connect(): boolean {
    const { store } = this.#setup;
    try {
      while (this.#seen !== store.generation) {
        this.#seen = store.generation;
        this.#follow();
      }
      this.#control?.serve();
    } catch (error) {
      throw this.#stop(error);
    }
    return this.#frontend !== undefined;
  }

  /** Asks the frontend to close, as when the toolstack takes the interface away. */
  close(): void {
    writeState(this.#setup.store, this.#setup.path, XenbusState.Closing);
  }

  /** One step of the handshake. */
  #follow(): void {
    const { store, path, options } = this.#setup;
    const front = store.read(`${path}/frontend`) ?? "";
    const theirs = readState(store, front);
    const own = readState(store, path);
    switch (theirs) {
      case XenbusState.Initialising:
        // Windows closes first and comes back: a backend must not take Closing for its end.
        if (own === XenbusState.Initialising || own === XenbusState.Closed || own === XenbusState.Closing) {
          writeBackendFeatures(store, path, options.features);
          writeState(store, path, XenbusState.InitWait);
        }
        return;
      case XenbusState.Connected:
        if (own === XenbusState.InitWait) {
          this.#attach(readFrontendKeys(store, front, options.features));
          writeState(store, path, XenbusState.Connected);
        } else if (options.features.multicastControl) {
          // feature-dynamic-multicast-control: the request may change at any time.
          this.#multicast.applied = readMulticastRequest(store, front);
        }
        return;
      case XenbusState.Closing:
        this.#detach();
        if (own !== XenbusState.Closing) writeState(store, path, XenbusState.Closing);
        return;
      case XenbusState.Closed:
        this.#detach();
        if (own !== XenbusState.Closed) writeState(store, path, XenbusState.Closed);
    }
  }

  #attach(keys: FrontendKeys): void {
    const { grants, own, options } = this.#setup;
    this.#hash = new HashConfiguration(keys.queues.length);
    this.#multicast = new MulticastFilter();
    this.#multicast.applied = keys.multicastControl;
    keys.queues.forEach((queue, number) => {
      const tx = this.#mapRing(`tx${number}`, queue.txRing, netif_tx_request.size);
      const rx = this.#mapRing(`rx${number}`, queue.rxRing, netif_rx_request.size);
      const statics = new StaticGrants(grants, options.staticCapacity);
      const pages = { memory: own.memory, offset: own.offset + PAGE_SIZE + number * TxBack.ownSize };
      const txPort = this.#bind(queue.txPort);
      this.#queues.push({
        tx: new TxBack(number, tx, grants, statics, this.#multicast, pages, options),
        rx: new RxBack(number, rx, grants, statics),
        statics,
        txPort,
        rxPort: queue.rxPort === queue.txPort ? txPort : this.#bind(queue.rxPort),
      });
    });
    if (keys.control) {
      const port = this.#bind(keys.control.port);
      const place = this.#mapPage("ctrl", keys.control.ring);
      const target = {
        grants,
        hash: this.#hash,
        statics: options.staticCapacity > 0 ? this.statics : undefined,
        linux: options.linux,
      };
      const notify = (wanted: boolean) => this.#notifier.notify(port, wanted);
      this.#control = new ControlServer(place.memory, place.offset, target, notify);
    }
    this.#frontend = keys;
  }

  #bind(remote: number): number {
    try {
      const port = this.#setup.events.bind(remote);
      this.#ports.push(port);
      return port;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new RingFault("device", "xenbus", "xenbus-port", 0, { port: remote });
    }
  }

  #mapPage(name: string, ref: number): { memory: Memory; offset: number } {
    const { grants } = this.#setup;
    const status = grants.map(ref, GNTMAP.host_map);
    if (status !== GNTST.okay) {
      throw new RingFault("device", name, "ring-grant", 0, { gref: ref, status });
    }
    this.#ringMaps++;
    this.#handles.push(grants.handle);
    return { memory: grants.memory, offset: grants.offset };
  }

  /**
   * Maps a ring page and attaches at the frontend's response index, as Linux does when a backend is
   * restarted.
   */
  #mapRing(name: string, ref: number, slotSize: number): BackRing {
    const { memory, offset } = this.#mapPage(name, ref);
    const ring = new BackRing(memory, offset, slotSize, BackRing.readResponseIndex(memory, offset));
    const producer = ring.readProducer();
    if (ring.overflows(producer)) {
      const values = { req_prod: producer, rsp_prod: ring.rspProd, most: ring.size };
      throw new RingFault("device", name, "ring-attach", ring.reqCons, values);
    }
    return ring;
  }

  /** Lets go of everything: mappings, static grants, ports. */
  #detach(): void {
    const { grants, events } = this.#setup;
    for (const { tx, statics } of this.#queues) {
      tx.release();
      statics.clear();
    }
    for (const port of this.#ports.splice(0)) events.close(port);
    for (const handle of this.#handles) grants.unmap(handle);
    this.#ringUnmaps += this.#handles.length;
    this.#handles.length = 0;
    this.#past = addCounters(this.#past, deviceCounters({ queues: this.#queues, control: this.#control }));
    this.#queues.length = 0;
    this.#control = undefined;
    this.#frontend = undefined;
    this.#fault = undefined;
  }

  /** See {@linkcode DeviceHalf.service}. */
  service(wire: Wire): number {
    if (this.#fault) throw this.#fault;
    if (this.#seen !== this.#setup.store.generation) this.connect();
    this.#inService = true;
    try {
      return this.#serviceAll(wire);
    } catch (error) {
      throw this.#stop(error);
    } finally {
      this.#inService = false;
    }
  }

  #serviceAll(wire: Wire): number {
    let moved = this.#control?.serve() ?? 0;
    const queues = this.#queues;
    for (let number = 0; number < queues.length; number++) moved += queues[number]!.tx.service(wire);
    for (let number = 0; number < queues.length; number++) {
      const queue = queues[number]!;
      const { tx, txPort } = queue;
      if (tx.ring.rspProd !== tx.ring.published) this.#notifier.notify(txPort, tx.ring.push());
      this.#pushRx(queue);
      if (!tx.held && tx.ring.finalCheck()) moved++;
    }
    return moved;
  }

  #pushRx({ rx, rxPort }: Queue): void {
    const wanted = rx.push();
    if (wanted !== undefined) this.#notifier.notify(rxPort, wanted);
  }

  /**
   * See {@linkcode DeviceHalf.deliver}. A multicast frame that the frontend has asked to be kept away is
   * taken, and counted in `drops.multicast`.
   */
  deliver(frame: Frame): number {
    if (this.#fault) throw this.#fault;
    const frontend = this.#frontend;
    if (!frontend) return NO_BUFFERS;
    if (frame.length > (frontend.sg ? XEN_NETIF_MAX_TX_SIZE : PAGE_SIZE)) return OVERSIZE;
    if (this.#multicast.rejects(frame)) {
      this.#filtered++;
      return 0;
    }
    let number = 0;
    const hashes = this.#hash.enabled;
    if (hashes) {
      this.#parse(frame);
      this.#hash.hash(this.#flow);
      number = this.#hash.queue();
    }
    const gso = frame instanceof XenFrame && frontend.gso ? frame.gsoType : XEN_NETIF_GSO_TYPE.NONE;
    const size = gso === XEN_NETIF_GSO_TYPE.NONE ? 0 : (frame as XenFrame).gsoSize;
    const queue = this.#queues[number]!;
    const hash = hashes ? this.#hash : undefined;
    try {
      if (!queue.rx.deliver(frame, gso, size, hash)) return NO_BUFFERS;
    } catch (error) {
      throw this.#stop(error);
    }
    // Within a service the responses of all its frames are published together.
    if (!this.#inService) this.#pushRx(queue);
    return number;
  }

  /** See {@linkcode DeviceHalf.deliverBatch}. */
  deliverBatch(frames: FrameBatch, from: number): number {
    if (this.#fault) throw this.#fault;
    if (this.#queues.length !== 1 || this.#hash.enabled || this.#multicast.applied) return from;
    const queue = this.#queues[0]!;
    try {
      from = queue.rx.deliverBatch(frames, from);
    } catch (error) {
      throw this.#stop(error);
    }
    if (!this.#inService) this.#pushRx(queue);
    return from;
  }

  /** Finds a frame's headers. If they lie in several pieces, they are brought together first. */
  #parse(frame: Frame): void {
    const first = frame.pieces === 0 ? 0 : frame.lengths[0]!;
    const length = Math.min(frame.length, HEADERS);
    if (first >= length) {
      this.#flow.parse(frame.bytes[0] ?? new Uint8Array(0), frame.offsets[0] ?? 0, first);
      return;
    }
    const { memory, offset } = this.#setup.own;
    frame.copyTo(memory, offset, 0, length);
    this.#flow.parse(memory.bytes, offset, length);
  }

  /** What breaks the protocol once stops the interface for good. */
  #stop(error: unknown): unknown {
    if (error instanceof RingFault) this.#fault = error;
    return error;
  }

  /** See {@linkcode DeviceHalf.counters}. */
  counters(): Counters {
    const queues = deviceCounters({ queues: this.#queues, control: this.#control });
    return {
      ...addCounters(this.#past, queues),
      "grant.ring.map": this.#ringMaps,
      "grant.ring.unmap": this.#ringUnmaps,
      "events.back.sent": this.#notifier.sent,
      "events.back.saved": this.#notifier.saved,
      "drops.multicast": this.#filtered,
    };
  }

  /** See {@linkcode DeviceHalf.inspect}. */
  inspect(): Record<string, unknown> {
    return {
      connected: this.#frontend !== undefined,
      mapped: this.#setup.grants.mapped,
      hash: this.#hash.inspect(),
      multicast: { applied: this.#multicast.applied, addresses: [...this.multicast] },
      queues: this.#queues.map(({ tx, rx, statics }) => ({
        tx: { req_cons: tx.ring.reqCons, rsp_prod_pvt: tx.ring.rspProd, held: tx.held },
        rx: { req_cons: rx.ring.reqCons, rsp_prod_pvt: rx.ring.rspProd },
        staticGrants: statics.size,
      })),
    };
  }
}
