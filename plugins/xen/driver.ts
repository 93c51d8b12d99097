/**
 * The frontend: `netfront`.
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import type { Counters } from "../../core/counters.ts";
import type { DmaMemory } from "../../core/dma_memory.ts";
import { RingFault } from "../../core/fault.ts";
import { FlowParser, L3_IPV4, L4_TCP } from "../../core/flow.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { type DriverHalf, type FrameSink, FULL, OVERSIZE } from "../../core/plugin.ts";
import { MICROSOFT_RSS_KEY } from "../../core/toeplitz.ts";
import { ControlClient } from "./control_ring.ts";
import { driverCounters } from "./driver_counters.ts";
import { configureQueues, type FrontQueue, makeQueue, newRing } from "./driver_queue.ts";
import { type EventPorts, EventThrottle, Notifier } from "./event_channel.ts";
import { type FrontendOptions, packetPages } from "./frontend_options.ts";
import { GrantEntries } from "./grant_entries.ts";
import { HASH_FLAGS, HashConfiguration } from "./hash.ts";
import {
  PAGE_SIZE,
  XEN_NETIF_CTRL_HASH_ALGORITHM,
  XEN_NETIF_GSO_TYPE,
  XEN_NETIF_MAX_TX_SIZE,
} from "./layout.ts";
import { deletePools, MessagePage } from "./static_pool.ts";
import {
  BACKEND_DOMID,
  readBackendFeatures,
  readNumber,
  readState,
  writeFrontendKeys,
  writeState,
  XenbusState,
  type XenStore,
} from "./xenbus.ts";

/** Largest frame of a network whose MTU is 1500; a larger TCP frame is one to be segmented. */
const LARGEST_SEGMENT = 1514;
const LARGEST_MTU = 1500;
/** References beside those of packet pages: a queue's two rings, the control ring, a page for messages. */
const RING_REFS = 2;
const CONTROL_REFS = 2;

/** What a frontend needs around it. */
export interface FrontendSetup {
  /** Its memory. */
  readonly dma: DmaMemory;
  /** Xenstore. */
  readonly store: XenStore;
  /** Its directory in xenstore. */
  readonly path: string;
  /** Its event channels. */
  readonly events: EventPorts;
  /** Time. */
  readonly clock: Clock;
  /** How it is to work. */
  readonly options: FrontendOptions;
}

/** A Xen network frontend. */
export class XenDriver implements DriverHalf {
  /** Its grant table. The hypervisor must know where it is. */
  readonly grants: GrantEntries;
  readonly #setup: FrontendSetup;
  readonly #options: FrontendOptions;
  readonly #queues: FrontQueue[] = [];
  readonly #bringUp: Iterator<void>;
  readonly #flow = new FlowParser();
  /** The frontend hashes with the same function and key as it asks the backend to. */
  readonly #hash: HashConfiguration;
  readonly #throttle: EventThrottle;
  readonly #notifier: Notifier;
  #ports: number[] = [];
  #control: ControlClient | undefined;
  #page: MessagePage | undefined;
  #connected = false;
  /** The state of xenstore that was looked at last. */
  #seen = 0;
  #gso = false;
  #longest = 0;
  #eventsSpurious = 0;
  #fault: RingFault | undefined;

  /** Makes the grant table. Everything else comes with {@linkcode XenDriver.connect}. */
  constructor(setup: FrontendSetup) {
    const { options, dma } = setup;
    this.#setup = setup;
    this.#options = options;
    const pages = packetPages(options);
    const perQueue = RING_REFS + pages.txPool + pages.txOrdinary + pages.rxPool + pages.rxOrdinary;
    const domid = readNumber(setup.store, `${setup.path}/backend-id`) ?? BACKEND_DOMID;
    this.grants = new GrantEntries(
      dma,
      options.grantVersion,
      options.queues * perQueue + CONTROL_REFS,
      domid,
    );
    this.#hash = new HashConfiguration(options.queues);
    if (options.queues > 1) {
      this.#hash.setAlgorithm(XEN_NETIF_CTRL_HASH_ALGORITHM.TOEPLITZ);
      this.#hash.setFlags(HASH_FLAGS);
      this.#hash.setKey(Uint8Array.from(MICROSOFT_RSS_KEY));
    }
    this.#throttle = new EventThrottle(setup.clock);
    this.#notifier = new Notifier(setup.events);
    this.#bringUp = this.#steps();
  }

  /**
   * Goes on with the handshake as far as the backend allows.
   *
   * @returns Whether the interface is up. If not, let the backend work and call again.
   * @throws {RingFault} If the backend breaks the protocol.
   */
  connect(): boolean {
    if (this.#connected) return true;
    try {
      this.#bringUp.next();
    } catch (error) {
      throw this.#stop(error);
    }
    return this.#connected;
  }

  /** Tells the backend that the interface goes down. Nothing is sent from then on. */
  disconnect(): void {
    this.#close(XenbusState.Closing);
  }

  /** Follows the backend when it goes down, and when it has followed. */
  #follow(): void {
    const { store, path } = this.#setup;
    this.#seen = store.generation;
    const theirs = readState(store, store.read(`${path}/backend`) ?? "");
    const down = theirs === XenbusState.Closing || theirs === XenbusState.Closed;
    if (down && readState(store, path) !== XenbusState.Closed) this.#close(XenbusState.Closed);
  }

  #close(state: number): void {
    this.#connected = false;
    writeState(this.#setup.store, this.#setup.path, state);
  }

  /**
   * Has the static grants of all queues unmapped by the backend, which {@linkcode XenDriver.disconnect} alone
   * would do as well. Step by step: let the backend work between two calls of `next`.
   *
   * @returns How many were unmapped; none while the interface is not up.
   * @throws {RingFault} If the backend breaks the protocol.
   */
  *releasePool(): Generator<void, number> {
    if (this.#fault) throw this.#fault;
    let removed = 0;
    if (!this.#connected || !this.#control || !this.#page) return removed;
    try {
      for (const [number, { tx, rx }] of this.#queues.entries()) {
        removed += yield* deletePools(this.#control, this.#page, number, [tx.pages, rx.pages]);
      }
    } catch (error) {
      throw this.#stop(error);
    }
    return removed;
  }

  *#steps(): Generator<void> {
    const { store, path, dma, events } = this.#setup;
    const options = this.#options;
    const backend = store.read(`${path}/backend`) ?? "";
    while (readState(store, backend) !== XenbusState.InitWait) yield;
    const features = readBackendFeatures(store, backend);
    const count = Math.min(options.queues, features.maxQueues);
    const split = options.splitEventChannels && features.splitEventChannels;
    const sg = options.sg && features.sg;
    this.#gso = options.gso && sg && features.gso;
    for (let number = 0; number < count; number++) {
      const queue = makeQueue(this.#setup, this.grants, number, split);
      this.#queues.push(queue);
      this.#ports.push(...new Set([queue.txPort, queue.rxPort]));
    }
    this.#longest = this.#longestFrame(sg);
    const wantsControl = (options.pool > 0 || count > 1) && features.controlRing;
    const control = wantsControl
      ? { ring: this.grants.allocate(1), port: events.allocate(), page: newRing(dma) }
      : undefined;
    if (control) this.grants.grant(control.ring, control.page, false);
    const told = {
      queues: this.#queues,
      sg: options.sg,
      gso: options.gso && options.sg,
      multicastControl: false,
    };
    writeFrontendKeys(store, path, control ? { ...told, control } : told);
    writeState(store, path, XenbusState.Connected);
    while (readState(store, backend) !== XenbusState.Connected) yield;
    if (control) {
      const notify = (wanted: boolean) => this.#notifier.notify(control.port, wanted);
      this.#control = new ControlClient(dma.memory, control.page, notify);
      this.#page = new MessagePage(dma, this.grants);
      yield* configureQueues(this.#control, this.#page, this.#queues, options.pool > 0);
    } else {
      for (const { tx, rx } of this.#queues) [tx.pages, rx.pages].forEach((pages) => pages.limit(0));
    }
    for (const { rx, rxPort } of this.#queues) {
      rx.fill();
      this.#notifier.notify(rxPort, rx.ring.push());
    }
    this.#connected = true;
  }

  /**
   * The longest frame that can pass: what one request can state, what the slots allowed and the pages there
   * are hold.
   */
  #longestFrame(sg: boolean): number {
    const { tx, rx } = this.#queues[0]!;
    // Of the pages posted for receive, extra infos may take one each: a GSO, and with several queues a hash.
    const posted = rx.pages.available(true) - (this.#gso ? 1 : 0) - (this.#queues.length > 1 ? 1 : 0);
    const slots = sg ? Math.min(tx.pages.available(true), posted) : 1;
    return Math.min(XEN_NETIF_MAX_TX_SIZE, slots * PAGE_SIZE - this.#options.txOffset);
  }

  /**
   * Asks the backend to keep multicast frames away whose address was not let in, or no longer to do so. At
   * first it is not asked.
   *
   * @returns False if the backend cannot.
   */
  filterMulticast(filter: boolean): boolean {
    const { store, path } = this.#setup;
    const backend = store.read(`${path}/backend`) ?? "";
    if (!readBackendFeatures(store, backend).multicastControl) return false;
    store.write(`${path}/request-multicast-control`, Number(filter));
    return true;
  }

  /**
   * Lets a multicast address in, or keeps it out again. {@linkcode XenDriver.flush} publishes the message;
   * one that the backend has no room for is counted in `tx.errors`.
   *
   * @param address Its 6 bytes.
   * @param add Whether to let it in.
   * @returns False if the ring has no room now.
   * @throws {RangeError} If it is no multicast address.
   */
  changeMulticast(address: Uint8Array, add: boolean): boolean {
    if (this.#fault) throw this.#fault;
    if (address.length !== 6 || (address[0]! & 1) === 0) {
      const text = Array.from(address, (byte) => byte.toString(16).padStart(2, "0")).join(":");
      throw new RangeError(`Cannot filter by ${text} as it is no multicast address`);
    }
    return this.#connected && this.#queues[0]!.tx.sendMulticast(address, add) === 0;
  }

  /** See {@linkcode DriverHalf.transmit}. Headroom is of no use here. */
  transmit(bytes: Uint8Array, offset: number, length: number, _headroom: number): number {
    if (this.#fault) throw this.#fault;
    if (!this.#connected) return FULL;
    if (length > this.#longest) return OVERSIZE;
    const queues = this.#queues;
    const large = this.#gso && length > LARGEST_SEGMENT;
    let number = 0;
    let gsoType = XEN_NETIF_GSO_TYPE.NONE;
    let gsoSize = 0;
    if (large || queues.length > 1) {
      const flow = this.#flow;
      flow.parse(bytes, offset, length);
      if (queues.length > 1) {
        this.#hash.hash(flow);
        number = this.#hash.value % queues.length;
      }
      const segment = LARGEST_MTU - (flow.payloadOffset - flow.l3Offset);
      // Extension headers can leave no room for a payload: no card could segment that.
      if (large && flow.l4 === L4_TCP && segment > 0) {
        gsoType = flow.l3 === L3_IPV4 ? XEN_NETIF_GSO_TYPE.TCPV4 : XEN_NETIF_GSO_TYPE.TCPV6;
        gsoSize = segment;
      }
    }
    const result = queues[number]!.tx.send(bytes, offset, length, gsoType, gsoSize);
    return result < 0 ? result : number;
  }

  /** See {@linkcode DriverHalf.transmitBatch}. */
  transmitBatch(frames: FrameBatch, from: number, _headroom: number): number {
    if (this.#fault) throw this.#fault;
    if (this.#queues.length > 1 || !this.#connected) return from;
    const longest = this.#gso ? Math.min(this.#longest, LARGEST_SEGMENT) : this.#longest;
    return this.#queues[0]!.tx.sendBatch(frames, from, longest);
  }

  /** See {@linkcode DriverHalf.flush}. */
  flush(): void {
    for (let number = 0; number < this.#queues.length; number++) {
      const { tx, txPort } = this.#queues[number]!;
      if (tx.ring.reqProd !== tx.ring.published) this.#notifier.notify(txPort, tx.ring.push());
    }
  }

  /** See {@linkcode DriverHalf.receive}. */
  receive(sink: FrameSink): number {
    if (this.#fault) throw this.#fault;
    const { events, store } = this.#setup;
    if (this.#seen !== store.generation) this.#follow();
    if (!this.#connected) return 0;
    let woken = false;
    for (let i = 0; i < this.#ports.length; i++) woken = events.take(this.#ports[i]!) || woken;
    if (this.#throttle.waits()) return 0;
    let moved: number;
    try {
      moved = this.#receiveAll(sink);
    } catch (error) {
      throw this.#stop(error);
    }
    if (woken) {
      if (moved === 0) this.#eventsSpurious++;
      this.#throttle.note(moved > 0);
    }
    return moved;
  }

  #receiveAll(sink: FrameSink): number {
    let moved = 0;
    for (let number = 0; number < this.#queues.length; number++) {
      const { tx, rx, rxPort } = this.#queues[number]!;
      moved += tx.complete() + rx.receive(number, sink);
      if (rx.ring.reqProd !== rx.ring.published) this.#notifier.notify(rxPort, rx.ring.push());
      if (tx.ring.finalCheck()) moved++;
      if (rx.ring.finalCheck()) moved++;
    }
    return moved;
  }

  /** What breaks the protocol once stops the interface for good. */
  #stop(error: unknown): unknown {
    if (error instanceof RingFault) this.#fault = error;
    return error;
  }

  /** See {@linkcode DriverHalf.counters}. */
  counters(): Counters {
    return driverCounters({
      queues: this.#queues,
      grants: this.grants,
      messages: this.#control?.messages ?? 0,
      eventsSent: this.#notifier.sent,
      eventsSaved: this.#notifier.saved,
      eventsSpurious: this.#eventsSpurious,
    });
  }

  /** See {@linkcode DriverHalf.inspect}. */
  inspect(): Record<string, unknown> {
    return {
      connected: this.#connected,
      longestFrame: this.#longest,
      queues: this.#queues.map(({ tx, rx, txPort, rxPort }) => ({
        txPort,
        rxPort,
        tx: { req_prod_pvt: tx.ring.reqProd, rsp_cons: tx.ring.rspCons, staticPages: tx.pages.granted },
        rx: { req_prod_pvt: rx.ring.reqProd, rsp_cons: rx.ring.rspCons, staticPages: rx.pages.granted },
      })),
    };
  }
}
