/**
 * The back end's side of the vhost-user protocol: what each request does to the device's queues.
 *
 * It touches the kernel only through {@linkcode Peripherals}, and the device only through its queues.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import { isPowerOfTwo } from "../../core/index.ts";
import type { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { VIRTQUEUE_MAX_SIZE, vring_used } from "../../plugins/virtio/layout.ts";
import { protocolMask, requestName, REQUESTS, vhost_vring_state } from "./layout.ts";
import { type Mapping, MemoryTable } from "./memory_table.ts";
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
  type RingPlaces,
  ringPlacesOf,
  singleRegionOf,
} from "./message.ts";

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

/** A descriptor by which one side tells the other of an event. */
export interface EventHandle {
  /** The descriptor. */
  readonly fd: number;
  /** Tells the other side. */
  signal(): void;
  /** Forgets what it was told. Whether it had been told anything. */
  clear(): boolean;
  /** Closes the descriptor. */
  close(): void;
}

/** What the protocol needs of the kernel. */
export interface Peripherals {
  /**
   * Maps a part of a file. The descriptor stays the caller's.
   *
   * @throws {Error} If it cannot be mapped; the message says why.
   */
  map(fd: number, offset: number, size: number): Mapping;
  /**
   * Takes an event descriptor over.
   *
   * @throws {Error} If it is none; then it stays the caller's.
   */
  event(fd: number): EventHandle;
  /** Closes a descriptor. */
  close(fd: number): void;
}

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

/** What the front end has said about one ring. */
class Ring {
  size = 0;
  places: RingPlaces | undefined;
  /** Next index in the available ring, while the queue is stopped. */
  base = 0;
  enabled = false;
  /** Whether SET_VRING_KICK has come: it starts the ring. */
  armed = false;
  kick: EventHandle | undefined;
  call: EventHandle | undefined;
  error: EventHandle | undefined;

  close(): void {
    this.kick?.close();
    this.call?.close();
    this.error?.close();
    this.kick = this.call = this.error = undefined;
  }
}

/** The protocol's state for one connection. */
export class Backend {
  /** The front end's memory. */
  readonly memory: MemoryTable;
  readonly #device: BackendDevice;
  readonly #queues: readonly DeviceQueue[];
  readonly #offered: bigint;
  readonly #peripherals: Peripherals;
  readonly #log: (line: string) => void;
  readonly #rings: Ring[];
  #features = 0n;
  #protocolFeatures = 0n;
  #status = 0;
  #changes = 0;

  /** Takes the device's queues, stopped, for one connection. */
  constructor(options: BackendOptions) {
    this.#device = options.device;
    this.#queues = options.device.queues.slice(0, 2 * options.queuePairs);
    this.#offered = (options.features & ~FRONT_END_FEATURES) | PROTOCOL_FEATURES_BIT;
    this.#peripherals = options.peripherals;
    this.#log = options.log;
    this.#rings = this.#queues.map(() => new Ring());
    this.memory = options.memory;
  }

  /** Grows whenever descriptors to wait for may have come or gone. */
  get changes(): number {
    return this.#changes;
  }

  /** Negotiated features. */
  get features(): bigint {
    return this.#features & ~PROTOCOL_FEATURES_BIT;
  }

  /** Descriptors that become readable when the driver kicks. */
  get kicks(): EventHandle[] {
    return this.#rings.flatMap(({ kick }) => kick ? [kick] : []);
  }

  /** Whether a started ring has no kicks and must be looked at now and then. */
  get polled(): boolean {
    return this.#rings.some((ring) => ring.armed && !ring.kick);
  }

  /** How many pairs, from the first on, can take frames for the driver. */
  get activePairs(): number {
    const at = this.#queues.findIndex((queue, index) => isReceive(index) && !queue.running);
    return at < 0 ? this.#queues.length / 2 : at / 2;
  }

  /** Whether frames of this transmit queue (0 for `tx0`) are to be thrown away, as its ring is disabled. */
  discards(pair: number): boolean {
    return !this.#rings[2 * pair + 1]!.enabled;
  }

  /** Interrupts the driver for a queue. */
  call(queue: number): void {
    this.#rings[queue]?.call?.signal();
  }

  /** Tells the front end that a ring has stopped for good. */
  fail(queue: number): void {
    this.#rings[queue]?.error?.signal();
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
        return this.#setSize(payload);
      case REQUESTS.SET_VRING_ADDR:
        return this.#setPlaces(ringPlacesOf(payload));
      case REQUESTS.SET_VRING_BASE:
        return this.#setBase(payload);
      case REQUESTS.GET_VRING_BASE:
        return this.#getBase(payload);
      case REQUESTS.SET_VRING_ENABLE:
        return this.#enable(payload);
      case REQUESTS.SET_VRING_KICK:
        return this.#setKick(payload, fds);
      case REQUESTS.SET_VRING_CALL:
        return this.#setEvent("call", payload, fds);
      case REQUESTS.SET_VRING_ERR:
        return this.#setEvent("error", payload, fds);
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
      if (this.#queues.some((queue) => queue.running)) {
        throw new RequestError("features cannot change while rings run");
      }
      this.#features = features;
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
    if (status === 0n) this.#stopAll();
    return undefined;
  }

  #reset(): undefined {
    this.#stopAll();
    for (const ring of this.#rings) {
      ring.close();
      Object.assign(ring, new Ring());
      ring.enabled = this.#bornEnabled;
    }
    this.#status = 0;
    this.#changes++;
    return undefined;
  }

  #stopAll(): void {
    this.#rings.forEach((_, index) => this.#halt(index));
  }

  #setMemory(places: RegionPlace[], fds: readonly number[]): undefined {
    const running = this.#pause();
    this.memory.clear();
    places.forEach((place, i) => this.#map(place, fds[i]!));
    this.#resume(running);
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
    const running = this.#pause();
    try {
      this.memory.remove(place);
    } finally {
      this.#resume(running);
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
    const mappings: Mapping[] = [];
    try {
      for (const { offset, size } of MemoryTable.pieces(place)) {
        mappings.push(this.#peripherals.map(fd, offset, size));
      }
      this.memory.add(place, mappings);
    } catch (error) {
      for (const mapping of mappings) mapping.close();
      throw error instanceof ProtocolError ? error : new ProtocolError((error as Error).message);
    }
    if (!mappings[0]!.sealed && !this.memory.unsealed) {
      this.memory.unsealed = true;
      this.#log("the front end's memory is not sealed: should its file be cut short, this process dies");
    }
  }

  /** Stops the queues for as long as memory is on the move; they keep no view of what goes. */
  #pause(): number[] {
    return this.#queues.flatMap((queue, index) => {
      if (!queue.running) return [];
      this.#rings[index]!.base = queue.stop();
      return [index];
    });
  }

  #resume(indexes: readonly number[]): void {
    for (const index of indexes) this.#start(index);
  }

  #ring(index: number, request: string): Ring {
    const ring = this.#rings[index];
    if (!ring) throw new ProtocolError(`${request} names ring ${index} of ${this.#rings.length}`);
    return ring;
  }

  /** A ring that stands still, for a request that needs that. */
  #stopped(index: number, request: string): Ring {
    const ring = this.#ring(index, request);
    if (this.#queues[index]!.running) throw new RequestError(`ring ${index} is running`);
    return ring;
  }

  #setSize(payload: Uint8Array): undefined {
    const { index, num } = ringNumberOf(payload);
    const ring = this.#stopped(index, "SET_VRING_NUM");
    if (!isPowerOfTwo(num) || num > Math.min(VIRTQUEUE_MAX_SIZE, this.#queues[index]!.maxSize)) {
      throw new RequestError(`ring ${index} cannot have ${num} entries`);
    }
    ring.size = num;
    return undefined;
  }

  #setPlaces(places: RingPlaces): undefined {
    const { index } = places;
    const ring = this.#ring(index, "SET_VRING_ADDR");
    const [again] = this.#pauseOne(index);
    ring.places = places;
    if (again !== undefined || ring.armed) this.#start(index);
    return undefined;
  }

  #pauseOne(index: number): number[] {
    const queue = this.#queues[index]!;
    if (!queue.running) return [];
    this.#rings[index]!.base = queue.stop();
    return [index];
  }

  #setBase(payload: Uint8Array): undefined {
    const { index, num } = ringNumberOf(payload);
    const ring = this.#stopped(index, "SET_VRING_BASE");
    if (num > 0xffff) throw new RequestError(`ring ${index} cannot start at index ${num}`);
    ring.base = num;
    return undefined;
  }

  /** Stops the ring: it starts again with the next SET_VRING_KICK. */
  #getBase(payload: Uint8Array): Uint8Array {
    const { index } = ringNumberOf(payload);
    const ring = this.#ring(index, "GET_VRING_BASE");
    this.#halt(index);
    return vhost_vring_state.encode({ index, num: ring.base });
  }

  #halt(index: number): void {
    const ring = this.#rings[index]!;
    const queue = this.#queues[index]!;
    if (queue.running || queue.broken) ring.base = queue.stop();
    ring.armed = false;
    ring.kick?.close();
    ring.kick = undefined;
    this.#changes++;
  }

  #enable(payload: Uint8Array): undefined {
    const { index, num } = ringNumberOf(payload);
    const ring = this.#ring(index, "SET_VRING_ENABLE");
    if (num > 1) throw new RequestError(`ring ${index} cannot be enabled by ${num}`);
    ring.enabled = num === 1;
    if (ring.enabled) this.#start(index);
    else if (isReceive(index)) this.#pauseOne(index);
    this.#changes++;
    return undefined;
  }

  #setKick(payload: Uint8Array, fds: number[]): undefined {
    const { index } = ringFdOf(payload);
    const ring = this.#ring(index, "SET_VRING_KICK");
    this.#setEvent("kick", payload, fds);
    ring.armed = true;
    this.#start(index);
    return undefined;
  }

  #setEvent(which: "kick" | "call" | "error", payload: Uint8Array, fds: number[]): undefined {
    const { index } = ringFdOf(payload);
    const ring = this.#ring(index, `SET_VRING_${which === "error" ? "ERR" : which.toUpperCase()}`);
    let event: EventHandle | undefined;
    if (fds.length > 0) {
      try {
        event = this.#peripherals.event(fds[0]!);
      } catch (error) {
        throw new ProtocolError((error as Error).message);
      }
      fds.shift();
    }
    ring[which]?.close();
    ring[which] = event;
    this.#changes++;
    return undefined;
  }

  /**
   * Where to go on: at the used index, whatever the base is. This device gives chains back in order and at once, so
   * the two only differ if the last back end died: then DPDK's driver, for one, sets a base of 0 for a ring that is not
   * at 0, and DPDK's and QEMU's own back ends go by the used index too.
   */
  #resumeAt(index: number): number {
    const ring = this.#rings[index]!;
    const head = new Uint8Array(USED_IDX_END);
    if (!this.memory.rings.read(ring.places!.device, head)) return ring.base;
    const used = head[USED_IDX_END - 2]! | head[USED_IDX_END - 1]! << 8;
    if (used !== ring.base) {
      this.#log(`ring ${index} goes on at used index ${used} instead of base ${ring.base}`);
    }
    return used;
  }

  /**
   * Starts a queue if all is said that it needs. A receive queue waits until it is enabled; a disabled transmit queue
   * runs, and its frames are thrown away.
   */
  #start(index: number): void {
    const ring = this.#rings[index]!;
    const queue = this.#queues[index]!;
    if (queue.running || !ring.armed || ring.size === 0 || !ring.places) return;
    if (isReceive(index) && !ring.enabled) return;
    try {
      queue.start(ring.size, ring.places, this.features, this.#resumeAt(index));
    } catch (error) {
      if (error instanceof RingFault) throw new ProtocolError(error.message);
      throw error;
    }
  }
}

/** Bytes of the used ring up to and including its index. */
const USED_IDX_END = vring_used.offsetOf("idx") + 2;

function isReceive(index: number): boolean {
  return index % 2 === 0;
}
