/**
 * One ring as a front end has announced it, and the device's queue behind it: when it starts, stops and goes on.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import { isPowerOfTwo } from "../../core/index.ts";
import type { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { VIRTQUEUE_MAX_SIZE, vring_used } from "../../plugins/virtio/layout.ts";
import type { MemoryTable } from "./memory_table.ts";
import { ProtocolError, RequestError, type RingPlaces } from "./message.ts";
import type { EventHandle, Peripherals } from "./peripherals.ts";

const LAST_INDEX = 0xffff;
const USED_IDX = vring_used.offsetOf("idx");
const INDEX_SIZE = 2;

/** The event descriptors of a ring: what tells the device of work, the driver of used buffers, and of a broken ring. */
export type VringEvent = "kick" | "call" | "error";

/** What all rings of a connection share. */
export interface VringContext {
  /** Negotiated features: they change only while no ring runs. */
  features: bigint;
  /** The front end's memory. */
  readonly memory: MemoryTable;
  /** The kernel. */
  readonly peripherals: Pick<Peripherals, "event">;
  /** Hears what a person should know, one line each. */
  log(line: string): void;
}

/** See the module. Requests that a ring cannot grant now throw {@linkcode RequestError} and change nothing. */
export class Vring {
  /** The device's queue. */
  readonly queue: DeviceQueue;
  /** Whether the front end has enabled it. */
  enabled = false;
  readonly #context: VringContext;
  readonly #events: Partial<Record<VringEvent, EventHandle>> = {};
  #size = 0;
  #places: RingPlaces | undefined;
  /** Next index in the available ring, while the queue is stopped. */
  #base = 0;
  /** Whether SET_VRING_KICK has come: it starts the ring. */
  #armed = false;

  /** Begins with a ring of which nothing was said, and whose queue is stopped. */
  constructor(queue: DeviceQueue, context: VringContext) {
    this.queue = queue;
    this.#context = context;
  }

  /** Whether it brings frames to the driver. */
  get receives(): boolean {
    return this.queue.index % 2 === 0;
  }

  /** What becomes readable when the driver kicks, if anything does. */
  get kick(): EventHandle | undefined {
    return this.#events.kick;
  }

  /** Whether it was started without a kick and must be looked at now and then. */
  get polled(): boolean {
    return this.#armed && !this.#events.kick;
  }

  /** Tells the front end of an event. */
  signal(which: VringEvent): void {
    this.#events[which]?.signal();
  }

  /** Sets the number of entries. */
  setSize(size: number): void {
    this.#mustStand();
    if (!isPowerOfTwo(size) || size > Math.min(VIRTQUEUE_MAX_SIZE, this.queue.maxSize)) {
      throw new RequestError(`ring ${this.queue.index} cannot have ${size} entries`);
    }
    this.#size = size;
  }

  /** Sets where to go on in the available ring. */
  setBase(base: number): void {
    this.#mustStand();
    if (base > LAST_INDEX) throw new RequestError(`ring ${this.queue.index} cannot start at index ${base}`);
    this.#base = base;
  }

  /** Sets where its parts are. A running ring goes on there. */
  setPlaces(places: RingPlaces): void {
    const again = this.pause();
    this.#places = places;
    if (again || this.#armed) this.start();
  }

  /** Enables or disables it. A disabled transmit queue runs on, and its frames are thrown away. */
  enable(enabled: boolean): void {
    this.enabled = enabled;
    if (enabled) this.start();
    else if (this.receives) this.pause();
  }

  /**
   * Takes an event descriptor over, the first of `fds`, or none.
   *
   * @throws {ProtocolError} If it is none.
   */
  setEvent(which: VringEvent, fds: number[]): void {
    let event: EventHandle | undefined;
    if (fds.length > 0) {
      try {
        event = this.#context.peripherals.event(fds[0]!);
      } catch (error) {
        throw new ProtocolError((error as Error).message);
      }
      fds.shift();
    }
    this.#drop(which);
    if (event) this.#events[which] = event;
  }

  /** Starts it, now or as soon as all else is said. */
  arm(): void {
    this.#armed = true;
    this.start();
  }

  /**
   * Starts the queue if all is said that it needs. A receive queue waits until it is enabled.
   *
   * @throws {ProtocolError} If its parts are not where they can be.
   */
  start(): void {
    const { queue } = this;
    const places = this.#places;
    if (queue.running || !this.#armed || this.#size === 0 || !places) return;
    if (this.receives && !this.enabled) return;
    try {
      queue.start(this.#size, places, this.#context.features, this.#resumeAt(places));
    } catch (error) {
      if (error instanceof RingFault) throw new ProtocolError(error.message);
      throw error;
    }
  }

  /** Stops the queue for as long as memory is on the move: it keeps no view of what goes. Whether it was running. */
  pause(): boolean {
    if (!this.queue.running) return false;
    this.#base = this.queue.stop();
    return true;
  }

  /** Stops it until it is armed again. Returns where it would go on. */
  halt(): number {
    if (this.queue.running || this.queue.broken) this.#base = this.queue.stop();
    this.#armed = false;
    this.#drop("kick");
    return this.#base;
  }

  /** Forgets all that was said of it. */
  reset(): void {
    this.halt();
    this.#drop("call");
    this.#drop("error");
    this.#size = this.#base = 0;
    this.#places = undefined;
    this.enabled = false;
  }

  #drop(which: VringEvent): void {
    this.#events[which]?.close();
    delete this.#events[which];
  }

  #mustStand(): void {
    if (this.queue.running) throw new RequestError(`ring ${this.queue.index} is running`);
  }

  /**
   * Where to go on: at the used index, whatever the base is. This device gives chains back in order and at once, so
   * the two only differ if the last back end died: then DPDK's driver, for one, sets a base of 0 for a ring that is not
   * at 0, and DPDK's and QEMU's own back ends go by the used index too.
   */
  #resumeAt({ device }: RingPlaces): number {
    const { memory, log } = this.#context;
    const bytes = new Uint8Array(INDEX_SIZE);
    if (!memory.rings.read(device + USED_IDX, bytes)) return this.#base;
    const used = new DataView(bytes.buffer).getUint16(0, true);
    if (used !== this.#base) {
      log(`ring ${this.queue.index} goes on at used index ${used} instead of base ${this.#base}`);
    }
    return used;
  }
}
