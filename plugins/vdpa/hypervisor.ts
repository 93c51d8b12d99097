/**
 * The hypervisor between a guest and a vDPA device: the virtio bus that the guest's driver sees, and the frames' way
 * through whatever stands behind it.
 *
 * @module
 */
import type { Counters } from "../../core/counters.ts";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import type { DeviceHalf, Wire } from "../../core/plugin.ts";
import { brokenDependency, featureMask, hasFeature } from "../virtio/features.ts";
import type { RingAddresses } from "../virtio/ring_areas.ts";
import { STATUS, type VirtioTransport } from "../virtio/transport.ts";
import type { VdpaDevice } from "./device.ts";
import type { VdpaGuestFaultCode } from "./faults.ts";
import type { GuestMemory } from "./guest_memory.ts";
import { type GuestQueue, kickFd, Migration, queueOfCall } from "./migration.ts";
import { OwnMemory } from "./shadow_area.ts";
import { Topology } from "./topology.ts";
import { VhostError, type VhostVdpa } from "./vhost.ts";
import { VhostClient } from "./vhost_client.ts";
import type { ProcessMemory } from "./process_memory.ts";

/** Frame number of a switch that never comes. */
const NEVER = Infinity;

/** What a {@linkcode Hypervisor} works with. */
export interface HypervisorOptions {
  /** The device half: frames go to it directly, everything else through `file`. */
  readonly device: VdpaDevice;
  /** The device as the hypervisor has it open. */
  readonly file: VhostVdpa;
  /** The process's memory. */
  readonly process: ProcessMemory;
  /** The guest's memory. */
  readonly guest: GuestMemory;
  /** Bytes of a page. */
  readonly pageSize: number;
  /** Whether mappings are changed in batches. */
  readonly batch: boolean;
  /** Whether the data queues are shadowed from the start. */
  readonly shadow: boolean;
  /** After how many frames to switch, ascending. */
  readonly switches: readonly number[];
}

/** See the module: the guest's side is a {@linkcode VirtioTransport}, the wire's side a {@linkcode DeviceHalf}. */
export class Hypervisor implements VirtioTransport, DeviceHalf {
  /** The guest sees a modern device. */
  readonly legacy = false;
  /** What the device can do. */
  readonly topology: Topology;
  /** Interrupts the guest for a queue. */
  interrupt: (index: number) => void = ignore;
  /** Starts, stops and switches the device. */
  readonly migration: Migration;
  readonly #device: VdpaDevice;
  readonly #file: VhostVdpa;
  readonly #client: VhostClient;
  readonly #shadow: boolean;
  readonly #switches: readonly number[];
  readonly #queues: (GuestQueue | undefined)[] = [];
  #status = 0;
  #features = 0n;
  #pending: RingFault | undefined;
  #wire: Wire | undefined;
  /** Frames that went to the wire, and how many there are to be when the next switch is made. */
  #frames = 0;
  #nextSwitch: number;
  #switchesDone = 0;
  /** Stands before the wire while a switch is to come, and stops the device at its frame. */
  readonly #gate: Wire = {
    transmit: (frame, queue) => {
      if (this.#frames >= this.#nextSwitch || !this.#wire!.transmit(frame, queue)) return false;
      this.#frames++;
      return true;
    },
    transmitBatch: (frames, queue) => {
      const { count } = frames;
      frames.count = Math.max(0, Math.min(count, this.#nextSwitch - this.#frames));
      const taken = this.#wire!.transmitBatch?.(frames, queue) ?? 0;
      frames.count = count;
      this.#frames += taken;
      return taken;
    },
    drop: (queue, reason) => {
      this.#frames++;
      this.#wire!.drop(queue, reason);
    },
  };

  /** Opens the device and finds out what it can do. */
  constructor(options: HypervisorOptions) {
    this.#device = options.device;
    this.#file = options.file;
    this.#shadow = options.shadow;
    this.#switches = options.switches;
    this.#nextSwitch = options.switches[0] ?? NEVER;
    this.#client = new VhostClient(options.file);
    const backendFeatures = this.#client.backendFeatures;
    this.#client.setBackendFeatures(backendFeatures);
    this.topology = new Topology(this.#client, backendFeatures);
    this.migration = new Migration({
      client: this.#client,
      topology: this.topology,
      backendFeatures,
      guest: options.guest,
      own: new OwnMemory(options.process, options.pageSize),
      batch: options.batch,
      kick: (index) => this.#file.kick(kickFd(index)),
      interrupt: (index) => this.interrupt(index),
    });
    for (let index = 0; index < this.topology.queues; index++) this.#queues[index] = undefined;
    this.#file.call = (fd) => this.#called(queueOfCall(fd));
  }

  /** Whether a switch loses nothing: the control queue, if there is one, can be shadowed all the time. */
  get canSwitch(): boolean {
    return this.topology.control < 0 || this.topology.controlGroups.length > 0;
  }

  /** What the device cannot go on with, the guest has to reset. */
  getStatus(): number {
    return this.#status | (this.#client.status & STATUS.NEEDS_RESET);
  }

  setStatus(status: number): void {
    if (status === 0) {
      if (this.#status & STATUS.DRIVER_OK) this.migration.stop();
      this.#status = 0;
      this.#pending = undefined;
      this.#queues.fill(undefined);
      return;
    }
    const added = status & ~this.#status;
    if (added & STATUS.FEATURES_OK && !this.#accepts(this.#features)) status &= ~STATUS.FEATURES_OK;
    this.#status = status;
    if (added & STATUS.DRIVER_OK) {
      const path = this.#shadow ? this.migration.shadowPath : "passthrough";
      try {
        this.migration.start(this.#features, this.#queues, path);
      } catch (error) {
        this.#keep(error);
      }
    }
  }

  #accepts(features: bigint): boolean {
    return (features & ~this.getFeatures()) === 0n && hasFeature(features, "VERSION_1") &&
      brokenDependency(features) === undefined;
  }

  /** The guest's memory needs no translation of its own, whatever the device needs. */
  getFeatures(): bigint {
    return this.#client.features & ~featureMask("ACCESS_PLATFORM");
  }

  setFeatures(features: bigint): void {
    this.#features = features;
  }

  readConfig(length: number): Uint8Array {
    return this.#client.config(length);
  }

  maxQueueSize(index: number): number {
    return index < this.topology.queues ? this.#client.maxQueueSize : 0;
  }

  startQueue(index: number, size: number, areas: RingAddresses): void {
    this.#queues[index] = { size, areas };
  }

  resetQueue(index: number): void {
    this.#queues[index] = undefined;
  }

  /** The guest's doorbell. What is wrong with its rings shows when the device side works next. */
  kick(index: number): void {
    try {
      this.migration.kick(index);
    } catch (error) {
      this.#keep(error);
    }
  }

  /** A call of the device. */
  #called(index: number): void {
    try {
      this.migration.called(index);
    } catch (error) {
      this.#keep(error);
    }
  }

  /** Keeps a fault for the device side, and tells the guest to reset; anything else goes on as it is. */
  #keep(error: unknown): void {
    if (error instanceof RingFault) this.#pending ??= error;
    else if (error instanceof VhostError) this.#pending ??= refusal(error);
    else throw error;
    this.#status |= STATUS.NEEDS_RESET;
  }

  /** Lets the device work, and switches where a switch is due. */
  service(wire: Wire): number {
    let moved = 0;
    this.#wire = wire;
    for (;;) {
      moved += this.#device.service(this.#nextSwitch === NEVER ? wire : this.#gate);
      if (this.#pending) throw this.#pending;
      if (this.#frames < this.#nextSwitch) return moved;
      this.#switch();
    }
  }

  #switch(): void {
    this.#nextSwitch = this.#switches[++this.#switchesDone] ?? NEVER;
    try {
      this.migration.toggle();
    } catch (error) {
      this.#keep(error);
    }
  }

  deliver(frame: Frame): number {
    return this.#device.deliver(frame);
  }

  deliverBatch(frames: FrameBatch, from: number): number {
    return this.#device.deliverBatch(frames, from);
  }

  /** Counters, documented in `counters.ts`. */
  counters(): Counters {
    const device = this.#device.counters();
    const translations = ["rx", "tx"].reduce(
      (sum, direction) =>
        sum + device[`device.${direction}.descriptors`]! + device[`device.${direction}.indirect_tables`]!,
      0,
    );
    return {
      ...device,
      ...this.#file.tables.counters(),
      "iotlb.set_map": this.#device.setMapCalls,
      "status.resets": this.#file.resets,
      translations,
      ...this.migration.counters(),
    };
  }

  /** The device, its mappings, and what is shadowed. */
  inspect(): Record<string, unknown> {
    return { hypervisor: this.migration.inspect(), device: this.#device.inspect() };
  }
}

/** What the device refused must have come from the guest: everything else the hypervisor does right. */
function refusal(error: VhostError): RingFault {
  const code: VdpaGuestFaultCode = "queue-refused";
  return new RingFault("device", "vhost", code, 0, { error: error.message });
}

function ignore(): void {}
