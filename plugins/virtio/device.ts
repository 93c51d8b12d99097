/**
 * The device half of virtio-net: reads transmit chains, fills receive chains, obeys the control queue.
 *
 * It knows queues, features and frames, not how the driver sets them up: a transport (virtio-pci in the pipe,
 * vhost-user, vDPA) starts its queues and passes doorbells on. Queue 2n receives, 2n+1 transmits, the last is the control queue.
 *
 * The data path, top down: {@linkcode VirtioNetDevice.service} works off the transmit queues that were kicked; each
 * chain becomes a {@linkcode Frame} of pieces that lie in the driver's own buffers; the wire takes it, or not, and
 * then the chain stays for later (`device_transmit.ts`); {@linkcode VirtioNetDevice.deliver} copies a frame into
 * receive chains (`device_receive.ts`).
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import type { Counters } from "../../core/counters.ts";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import type { Memory } from "../../core/memory.ts";
import type { DeviceHalf, Doorbell, Wire } from "../../core/plugin.ts";
import { ControlQueue } from "./control_queue.ts";
import { DeviceQueue } from "./device_queue.ts";
import { DeviceReceive } from "./device_receive.ts";
import { DeviceTransmit } from "./device_transmit.ts";
import type { Profile } from "./faults.ts";
import { featureNames, hasFeature } from "./features.ts";
import { ReceiveHash } from "./receive_hash.ts";

/** The control queue holds commands of several buffers, however small the other queues are. */
const CONTROL_QUEUE_SIZE = 64;

/** What a {@linkcode VirtioNetDevice} is built with. */
export interface VirtioNetDeviceOptions {
  /** Feature bits that it offers. */
  readonly features: bigint;
  /** Where rings are looked up. */
  readonly rings: AddressSpace;
  /** Where buffers and indirect tables are looked up: the same space, unless someone separates them. */
  readonly buffers: AddressSpace;
  /** Receive and transmit pairs; one if not given. */
  readonly queuePairs?: number;
  /** Largest size of a transmit queue; and of the control queue, if it is more than 64. */
  readonly maxQueueSize: number;
  /** Largest size of a receive queue; `maxQueueSize` if not given. */
  readonly maxRxQueueSize?: number;
  /** Hardware address, 6 bytes. */
  readonly mac?: readonly number[];
  /** How odd chains are judged; strict if not given. */
  readonly profile?: Profile;
  /** Whether rings are shared with another thread or process. */
  readonly shared?: boolean;
  /** See {@linkcode DeviceQueueOptions.coalesce}; on if not given. */
  readonly coalesce?: boolean;
}

/** A virtio-net device. See the module. */
export class VirtioNetDevice implements DeviceHalf {
  /** Feature bits that it offers. */
  readonly offered: bigint;
  /** All queues, by index. */
  readonly queues: readonly DeviceQueue[];
  /** Receive and transmit pairs that there are. */
  readonly queuePairs: number;
  /** The control queue's device side, with what the driver set through it. */
  readonly control: ControlQueue;
  /** Rings the driver's bell for a queue. */
  interrupt: Doorbell = ignore;
  /** Tells the transport that a queue broke, so that it can ask for a reset. */
  onFault: (fault: RingFault) => void = ignore;
  /** Hash of the frame delivered last, with HASH_REPORT or several pairs. */
  readonly hash: ReceiveHash = new ReceiveHash();

  #features = 0n;
  readonly #kicked: Uint8Array;
  readonly #transmit = new DeviceTransmit();
  readonly #receive: DeviceReceive;
  /** Whether `service` runs: then all queues have looked at the map. */
  #serving = false;
  #controlFault: RingFault | undefined;

  /** Makes a device whose queues are all stopped. */
  constructor(options: VirtioNetDeviceOptions) {
    const { queuePairs = 1, maxQueueSize, maxRxQueueSize = maxQueueSize, rings, buffers } = options;
    this.offered = options.features;
    this.queuePairs = queuePairs;
    const behaviour = {
      profile: options.profile ?? "strict",
      shared: options.shared ?? false,
    };
    // Only of transmit chains nothing is ever written: one used element can stand for a batch of them.
    const transmitting = { ...behaviour, coalesce: options.coalesce ?? true };
    const queues: DeviceQueue[] = [];
    for (let pair = 0; pair < queuePairs; pair++) {
      queues.push(new DeviceQueue(`rx${pair}`, 2 * pair, maxRxQueueSize, rings, buffers, behaviour));
      queues.push(new DeviceQueue(`tx${pair}`, 2 * pair + 1, maxQueueSize, rings, buffers, transmitting));
    }
    const controlSize = Math.max(maxQueueSize, CONTROL_QUEUE_SIZE);
    const control = new DeviceQueue("ctrl", 2 * queuePairs, controlSize, rings, buffers, behaviour);
    if (hasFeature(this.offered, "CTRL_VQ")) queues.push(control);
    this.queues = queues;
    this.control = new ControlQueue(control, this.hash, queuePairs, options.mac ?? [0x02, 0, 0, 0, 0, 1]);
    this.#receive = new DeviceReceive(queues, this.control, this.hash);
    this.#kicked = new Uint8Array(queues.length);
  }

  /** Feature bits that were negotiated. */
  get features(): bigint {
    return this.#features;
  }

  /** The net header of the frame now going to the wire; zero but for offloads that were negotiated. */
  get header(): Memory {
    return this.#transmit.header;
  }

  /**
   * Whether the host looks at the transmit queues again and again without being kicked: then `service` does not ask for
   * kicks when it has emptied one. Before the host sleeps, it asks for them itself, with `enableNotify` of the queue.
   */
  set polling(polling: boolean) {
    this.#transmit.polling = polling;
  }

  /** How many chains of a transmit queue one `service` takes at most, so that a polling host shows used chains early. */
  set burst(burst: number) {
    this.#transmit.burst = burst;
  }

  /** Takes over the negotiated features. To be called before queues are started. */
  setFeatures(features: bigint): void {
    this.#features = features;
    this.#transmit.negotiated(features);
    this.#receive.negotiated(features);
    this.control.negotiated(features);
  }

  /** Stops all queues and forgets what was negotiated. */
  reset(): void {
    for (const queue of this.queues) queue.stop();
    this.setFeatures(0n);
    this.#kicked.fill(0);
  }

  /** A doorbell: the driver has put something into queue `index`. Control commands are carried out at once. */
  notify(index: number): void {
    const queue = this.queues[index];
    if (!queue?.running) return;
    if (index === 2 * this.queuePairs) {
      try {
        if (this.control.service()) this.interrupt(index);
      } catch (error) {
        if (!(error instanceof RingFault)) throw error;
        // It is not the driver, who rang, that must hear of it: the next service call raises it.
        this.#controlFault = error;
        this.onFault(error);
      }
    } else if ((index & 1) === 0) {
      // Fresh receive buffers: whoever waited for them goes on. Kicks are wanted again when they run out.
      queue.disableNotify();
      for (let pair = 0; pair < this.queuePairs; pair++) this.#kicked[2 * pair + 1] = 1;
    } else {
      this.#kicked[index] = 1;
    }
  }

  /** Works off the transmit queues that were kicked, and shows the driver what was delivered. */
  service(wire: Wire): number {
    let moved = 0;
    const fault = this.#controlFault;
    this.#controlFault = undefined;
    if (fault) throw fault;
    try {
      this.#begin();
      for (let index = 1; index < 2 * this.queuePairs; index += 2) {
        if (this.#kicked[index] === 0) continue;
        this.#kicked[index] = 0;
        const queue = this.queues[index]!;
        if (!queue.running) continue;
        moved += this.#transmit.transmit(queue, wire);
        if (this.#transmit.unfinished) this.#kicked[index] = 1;
      }
    } catch (error) {
      this.#tell(error);
    } finally {
      this.#serving = false;
      this.publish();
    }
    return moved;
  }

  /** From now on queues need not look at the map again. */
  #begin(): void {
    this.#serving = true;
    const { queues } = this;
    for (let i = 0; i < queues.length; i++) if (queues[i]!.running) queues[i]!.refresh();
  }

  /** Lets the transport know of a fault on its way to the caller. */
  #tell(error: unknown): never {
    if (error instanceof RingFault) this.onFault(error);
    throw error;
  }

  /** Shows the driver what was used since, and interrupts where it wants that. `service` does so at its end. */
  publish(): void {
    try {
      for (let i = 0; i < this.queues.length; i++) {
        const queue = this.queues[i]!;
        // What a queue did before it broke is still the driver's.
        if ((queue.running || queue.broken) && queue.publish()) this.interrupt(queue.index);
      }
    } catch (error) {
      this.#tell(error);
    }
  }

  /** Puts a frame from the wire into receive buffers. */
  deliver(frame: Frame): number {
    return this.#serving ? this.#receive.deliver(frame) : this.#deliverAlone(frame);
  }

  /** Delivers a frame that no `service` call brought. */
  #deliverAlone(frame: Frame): number {
    try {
      this.#begin();
      return this.#receive.deliver(frame);
    } catch (error) {
      this.#tell(error);
    } finally {
      this.#serving = false;
    }
  }

  /** Puts frames into receive buffers in one loop; those that no `service` call brought go one by one. */
  deliverBatch(frames: FrameBatch, from: number): number {
    return this.#serving ? this.#receive.deliverBatch(frames, from) : from;
  }

  /** Counters, documented in `counters.ts`. */
  counters(): Counters {
    const result: Counters = { "device.bytes_copied": this.#receive.bytesCopied };
    for (const [direction, first] of [["rx", 0], ["tx", 1]] as const) {
      const sum = { chains: 0, descriptors: 0, indirect_tables: 0, interrupts: 0, interrupts_suppressed: 0 };
      for (let index = first; index < 2 * this.queuePairs; index += 2) {
        const { counters } = this.queues[index]!;
        sum.chains += counters.chains;
        sum.descriptors += counters.descriptors;
        sum.indirect_tables += counters.indirectTables;
        sum.interrupts += counters.interrupts;
        sum.interrupts_suppressed += counters.interruptsSuppressed;
      }
      for (const [name, value] of Object.entries(sum)) result[`device.${direction}.${name}`] = value;
    }
    return result;
  }

  /** The state of all queues. */
  inspect(): Record<string, unknown> {
    return {
      features: featureNames(this.#features),
      queues: this.queues.map((queue) => ({
        name: queue.name,
        running: queue.running,
        size: queue.size,
        areas: queue.areas,
        avail_index: queue.availIndex,
        used_index: queue.usedIndex,
        ...queue.broken && { broken: queue.broken.message },
      })),
    };
  }
}

function ignore(): void {}
