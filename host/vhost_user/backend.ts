/**
 * The back end's side of the vhost-user protocol: what each request does to the device's queues.
 *
 * It touches the kernel only through {@linkcode Peripherals}, and the device only through its queues.
 *
 * @module
 */
import type { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { protocolMask, requestName, REQUESTS, vhost_vring_state } from "./layout.ts";
import type { Mapping, MemoryTable } from "./memory_table.ts";
import {
  checkMessage,
  type Message,
  numberOf,
  numberPayload,
  ProtocolError,
  type RegionPlace,
  regionsOf,
  reply,
  RequestError,
  ringFdOf,
  ringNumberOf,
  ringPlacesOf,
  singleRegionOf,
} from "./message.ts";
import type { EventHandle, Peripherals } from "./peripherals.ts";
import { Vring, type VringContext, type VringEvent } from "./vring.ts";

/** Regions that can be mapped at once with CONFIGURE_MEM_SLOTS. */
export const MAX_MEM_SLOTS: number = 64;

/**
 * Feature bits that a front end provides by itself, because it has the configuration space and the control queue:
 * they are never offered.
 */
const FRONT_END_FEATURES = featureMask(
  "MAC",
  "STATUS",
  "MTU",
  "SPEED_DUPLEX",
  "CTRL_VQ",
  "CTRL_RX",
  "CTRL_RX_EXTRA",
  "CTRL_VLAN",
  "CTRL_MAC_ADDR",
  "CTRL_GUEST_OFFLOADS",
  "GUEST_ANNOUNCE",
  "RSS",
  "HASH_REPORT",
  "NOTF_COAL",
  "VQ_NOTF_COAL",
);
const PROTOCOL_FEATURES_BIT = featureMask("PROTOCOL_FEATURES");

/**
 * Protocol features that are offered. LOG_SHMFD is not, as LOG_ALL is not. INFLIGHT_SHMFD is not: it lets a back end
 * that died find chains which it had taken and not given back, and this one gives each chain back in the same call
 * that took it.
 */
const OFFERED = protocolMask("MQ", "REPLY_ACK", "RESET_DEVICE", "CONFIGURE_MEM_SLOTS", "STATUS");
const REPLY_ACK = protocolMask("REPLY_ACK");
const CONFIGURE_MEM_SLOTS = protocolMask("CONFIGURE_MEM_SLOTS");
const STATUS = protocolMask("STATUS");

/** Answers that end with a number of their own, so that a refusal cannot be told by one. */
const ANSWERED: ReadonlySet<number> = new Set([
  REQUESTS.GET_FEATURES,
  REQUESTS.GET_PROTOCOL_FEATURES,
  REQUESTS.GET_QUEUE_NUM,
  REQUESTS.GET_VRING_BASE,
  REQUESTS.GET_MAX_MEM_SLOTS,
  REQUESTS.GET_STATUS,
]);

/** What the protocol needs of a device. */
export interface BackendDevice {
  /** Its queues: `rx0, tx0, rx1, tx1...`; a control queue behind them is not used. */
  readonly queues: readonly DeviceQueue[];
  /** Takes over the negotiated features. */
  setFeatures(features: bigint): void;
}

/** What a {@linkcode Backend} is made of. */
export interface BackendOptions {
  /** The device. Its queues must be stopped. */
  readonly device: BackendDevice;
  /** Features that may be negotiated. */
  readonly features: bigint;
  /** How many queue pairs the front end may use. */
  readonly queuePairs: number;
  /** Where the front end's memory is mapped: the spaces that the device's queues look things up in. Empty. */
  readonly memory: MemoryTable;
  /** The kernel. */
  readonly peripherals: Peripherals;
  /** Hears what a person should know, one line each. */
  log(line: string): void;
}

/** The protocol's state for one connection. */
export class Backend {
  /** The front end's memory. */
  readonly memory: MemoryTable;
  readonly #device: BackendDevice;
  readonly #offered: bigint;
  readonly #peripherals: Peripherals;
  readonly #log: (line: string) => void;
  readonly #context: VringContext;
  readonly #rings: readonly Vring[];
  #features = 0n;
  #protocolFeatures = 0n;
  #status = 0;
  #changes = 0;

  /** Takes the device's queues, stopped, for one connection. */
  constructor(options: BackendOptions) {
    const { device, features, queuePairs, memory, peripherals, log } = options;
    this.#device = device;
    this.#offered = (features & ~FRONT_END_FEATURES) | PROTOCOL_FEATURES_BIT;
    this.#peripherals = peripherals;
    this.#log = log;
    this.memory = memory;
    this.#context = { features: 0n, memory, peripherals, log };
    this.#rings = device.queues.slice(0, 2 * queuePairs).map((queue) => new Vring(queue, this.#context));
  }

  /** Grows whenever descriptors to wait for may have come or gone. */
  get changes(): number {
    return this.#changes;
  }

  /** Negotiated features. */
  get features(): bigint {
    return this.#context.features;
  }

  /** Descriptors that become readable when the driver kicks. */
  get kicks(): EventHandle[] {
    return this.#rings.flatMap(({ kick }) => kick ? [kick] : []);
  }

  /** Whether a started ring has no kicks and must be looked at now and then. */
  get polled(): boolean {
    return this.#rings.some((ring) => ring.polled);
  }

  /** How many pairs, from the first on, can take frames for the driver. */
  get activePairs(): number {
    const at = this.#rings.findIndex((ring) => ring.receives && !ring.queue.running);
    return at < 0 ? this.#rings.length / 2 : at / 2;
  }

  /** Whether frames of this transmit queue (0 for `tx0`) are to be thrown away, as its ring is disabled. */
  discards(pair: number): boolean {
    return !this.#rings[2 * pair + 1]!.enabled;
  }

  /** Interrupts the driver for a queue. */
  call(queue: number): void {
    this.#rings[queue]?.signal("call");
  }

  /** Tells the front end that a ring has stopped for good. */
  fail(queue: number): void {
    this.#rings[queue]?.signal("error");
  }

  /**
   * Does what a message says.
   *
   * @returns The reply, if there is one to send.
   * @throws {ProtocolError} If the connection cannot go on.
   */
  handle(message: Message): Uint8Array<ArrayBuffer> | undefined {
    const { request, needReply, fds } = message;
    const wanted = needReply && (this.#protocolFeatures & REPLY_ACK) !== 0n;
    try {
      checkMessage(message);
      const answer = this.#dispatch(message);
      if (answer) return reply(request, answer);
      return wanted ? reply(request, numberPayload(0n)) : undefined;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (!wanted || ANSWERED.has(request)) throw new ProtocolError(error.message);
      this.#log(`refused ${requestName(request)}: ${error.message}`);
      return reply(request, numberPayload(1n));
    } finally {
      for (const fd of fds.splice(0)) this.#peripherals.close(fd);
    }
  }

  /** Stops all queues and gives everything back that the front end has passed. */
  close(): void {
    this.#reset();
    this.memory.clear();
  }

  #dispatch({ request, payload, fds }: Message): Uint8Array | undefined {
    switch (request) {
      case REQUESTS.GET_FEATURES:
        return numberPayload(this.#offered);
      case REQUESTS.SET_FEATURES:
        return this.#setFeatures(numberOf(payload));
      case REQUESTS.GET_PROTOCOL_FEATURES:
        return numberPayload(OFFERED);
      case REQUESTS.SET_PROTOCOL_FEATURES:
        return this.#setProtocolFeatures(numberOf(payload));
      case REQUESTS.GET_QUEUE_NUM:
        return numberPayload(BigInt(this.#rings.length / 2));
      case REQUESTS.GET_MAX_MEM_SLOTS:
        return numberPayload(BigInt(MAX_MEM_SLOTS));
      case REQUESTS.SET_OWNER:
      case REQUESTS.RESET_OWNER:
        // One connection is one owner; the latter has been without a defined meaning for long.
        return undefined;
      case REQUESTS.SET_MEM_TABLE:
        return this.#setMemory(regionsOf(payload), fds);
      case REQUESTS.ADD_MEM_REG:
        return this.#addRegion(singleRegionOf(payload), fds);
      case REQUESTS.REM_MEM_REG:
        return this.#removeRegion(singleRegionOf(payload));
      case REQUESTS.SET_VRING_NUM:
      case REQUESTS.SET_VRING_BASE:
      case REQUESTS.GET_VRING_BASE:
      case REQUESTS.SET_VRING_ENABLE:
        return this.#setNumber(request, ringNumberOf(payload));
      case REQUESTS.SET_VRING_ADDR: {
        const places = ringPlacesOf(payload);
        this.#ring(places.index, request).setPlaces(places);
        return undefined;
      }
      case REQUESTS.SET_VRING_KICK:
        this.#setEvent("kick", request, payload, fds).arm();
        return undefined;
      case REQUESTS.SET_VRING_CALL:
        this.#setEvent("call", request, payload, fds);
        return undefined;
      case REQUESTS.SET_VRING_ERR:
        this.#setEvent("error", request, payload, fds);
        return undefined;
      case REQUESTS.SET_STATUS:
        return this.#setStatus(numberOf(payload));
      case REQUESTS.GET_STATUS:
        return numberPayload(BigInt(this.#status));
      case REQUESTS.RESET_DEVICE:
        return this.#reset();
      default:
        throw new RequestError(`${requestName(request)} is not supported`);
    }
  }

  #setFeatures(features: bigint): undefined {
    const unknown = features & ~this.#offered;
    if (unknown) throw new RequestError(`features 0x${unknown.toString(16)} were not offered`);
    if (features !== this.#features) {
      if (this.#rings.some(({ queue }) => queue.running)) {
        throw new RequestError("features cannot change while rings run");
      }
      this.#features = features;
      this.#context.features = features & ~PROTOCOL_FEATURES_BIT;
      this.#device.setFeatures(this.features);
    }
    if (this.#bornEnabled) { for (const ring of this.#rings) ring.enabled = true; }
    return undefined;
  }

  /** Without bit 30 there is no SET_VRING_ENABLE, so rings are born enabled. */
  get #bornEnabled(): boolean {
    return (this.#features & PROTOCOL_FEATURES_BIT) === 0n;
  }

  #setProtocolFeatures(features: bigint): undefined {
    const unknown = features & ~OFFERED;
    if (unknown) throw new RequestError(`protocol features 0x${unknown.toString(16)} were not offered`);
    this.#protocolFeatures = features;
    return undefined;
  }

  #setStatus(status: bigint): undefined {
    if (status > 0xffn) throw new ProtocolError(`SET_STATUS has a status of ${status}`);
    if ((this.#protocolFeatures & STATUS) === 0n) throw new RequestError("STATUS was not negotiated");
    this.#status = Number(status);
    if (status === 0n) {
      for (const ring of this.#rings) ring.halt();
      this.#changes++;
    }
    return undefined;
  }

  #reset(): undefined {
    for (const ring of this.#rings) {
      ring.reset();
      ring.enabled = this.#bornEnabled;
    }
    this.#status = 0;
    this.#changes++;
    return undefined;
  }

  #setMemory(places: RegionPlace[], fds: readonly number[]): undefined {
    const running = this.#rings.filter((ring) => ring.pause());
    this.memory.clear();
    places.forEach((place, i) => this.#map(place, fds[i]!));
    for (const ring of running) ring.start();
    return undefined;
  }

  #addRegion(place: RegionPlace, fds: readonly number[]): undefined {
    this.#needSlots();
    if (this.memory.again(place)) return undefined;
    if (this.memory.size >= MAX_MEM_SLOTS) throw new RequestError(`all ${MAX_MEM_SLOTS} slots are taken`);
    this.#map(place, fds[0]!);
    return undefined;
  }

  #removeRegion(place: RegionPlace): undefined {
    this.#needSlots();
    const running = this.#rings.filter((ring) => ring.pause());
    try {
      this.memory.remove(place);
    } finally {
      for (const ring of running) ring.start();
    }
    return undefined;
  }

  #needSlots(): void {
    if ((this.#protocolFeatures & CONFIGURE_MEM_SLOTS) === 0n) {
      throw new RequestError("CONFIGURE_MEM_SLOTS was not negotiated");
    }
  }

  #map(place: RegionPlace, fd: number): void {
    this.memory.check(place);
    let mapping: Mapping | undefined;
    try {
      mapping = this.#peripherals.map(fd, place.offset, place.size);
      this.memory.add(place, mapping);
    } catch (error) {
      mapping?.close();
      throw error instanceof ProtocolError ? error : new ProtocolError((error as Error).message);
    }
    if (!mapping.sealed && !this.memory.unsealed) {
      this.memory.unsealed = true;
      this.#log("the front end's memory is not sealed: should its file be cut short, this process dies");
    }
  }

  #ring(index: number, request: number): Vring {
    const ring = this.#rings[index];
    if (!ring) {
      throw new ProtocolError(`${requestName(request)} names ring ${index} of ${this.#rings.length}`);
    }
    return ring;
  }

  /** The requests that say one number of a ring, or ask for one. */
  #setNumber(request: number, { index, num }: { index: number; num: number }): Uint8Array | undefined {
    const ring = this.#ring(index, request);
    switch (request) {
      case REQUESTS.SET_VRING_NUM:
        ring.setSize(num);
        return undefined;
      case REQUESTS.SET_VRING_BASE:
        ring.setBase(num);
        return undefined;
      case REQUESTS.GET_VRING_BASE:
        // Stops the ring: it starts again with the next SET_VRING_KICK.
        this.#changes++;
        return vhost_vring_state.encode({ index, num: ring.halt() });
      default:
        if (num > 1) throw new RequestError(`ring ${index} cannot be enabled by ${num}`);
        this.#changes++;
        ring.enable(num === 1);
        return undefined;
    }
  }

  #setEvent(which: VringEvent, request: number, payload: Uint8Array, fds: number[]): Vring {
    const ring = this.#ring(ringFdOf(payload).index, request);
    ring.setEvent(which, fds);
    this.#changes++;
    return ring;
  }
}
