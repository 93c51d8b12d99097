/**
 * The device half of virtio-net: reads transmit chains, fills receive chains, obeys the control queue.
 *
 * It knows queues, features and frames, not how the driver sets them up. A transport (virtio-pci in the pipe,
 * vhost-user, vDPA) calls {@linkcode VirtioNetDevice.setFeatures}, starts queues and passes doorbells on. Queue 2n
 * receives, 2n+1 transmits; behind the pairs comes the control queue.
 *
 * The data path, top down:
 *
 * 1. {@linkcode VirtioNetDevice.notify}: the driver has rung a queue's bell. The queue is marked.
 * 2. {@linkcode VirtioNetDevice.service}: the host lets the device work. It takes chains from the marked transmit
 *    queues. Each becomes a {@linkcode Frame} of pieces that lie in the driver's own buffers, and goes to the wire; a
 *    chain that the wire refuses stays for later (`device_transmit.ts`).
 * 3. {@linkcode VirtioNetDevice.deliver}: a frame comes from the wire. A receive queue is chosen (`steering.ts`), and
 *    the frame copied into its chains (`device_receive.ts`). Where the wire loops back, this happens within step 2.
 * 4. {@linkcode VirtioNetDevice.publish}: the driver is shown what was used, and interrupted if it wants that. Step 2
 *    ends so; a host that delivers on its own calls it.
 *
 * The rules of rings and chains are `device_queue.ts`'s affair. If the driver breaks one, that queue stops, the
 * transport hears of it (`onFault`), and the call that met it throws; the other queues go on.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import type { Counters } from "../../core/counters.ts";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import type { Memory } from "../../core/memory.ts";
import { type DeviceHalf, type Doorbell, NO_BUFFERS, type Wire } from "../../core/plugin.ts";
import { ControlQueue } from "./control_queue.ts";
import { DeviceQueue } from "./device_queue.ts";
import { DeviceReceive } from "./device_receive.ts";
import { DeviceTransmit } from "./device_transmit.ts";
import type { Profile } from "./faults.ts";
import { featureNames, hasFeature } from "./features.ts";
import { ReceiveHash } from "./receive_hash.ts";
import { RingMap } from "./ring_map.ts";

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
  /** See {@linkcode DeviceQueueOptions.snapshot}; off if not given. */
  readonly snapshot?: boolean;
}

/** A virtio-net device. See the module. */
export class VirtioNetDevice implements DeviceHalf {
  /** Feature bits that it offers. */
  readonly offered: bigint;
  /** Receive and transmit pairs that there are. */
  readonly queuePairs: number;
  /** The control queue's device side, with what the driver set through it. */
  readonly control: ControlQueue;
  /** Hash of the frame delivered last, with HASH_REPORT or several pairs. */
  readonly hash: ReceiveHash = new ReceiveHash();
  /** Rings the driver's bell for a queue. */
  interrupt: Doorbell = ignore;
  /** Tells the transport that a queue broke, so that it can ask for a reset. */
  onFault: (fault: RingFault) => void = ignore;
  /**
   * Whether the driver is ready (DRIVER_OK). Until then it gets no frames. Transports that start queues no earlier need
   * not care.
   */
  ready = true;

  readonly #receiveQueues: readonly DeviceQueue[];
  readonly #transmitQueues: readonly DeviceQueue[];
  readonly #controlQueue: DeviceQueue;
  #features = 0n;
  /** All queues by index, and the index of the control queue: what lies behind that is not in use. */
  #queues: readonly DeviceQueue[] = [];
  #controlIndex = 0;
  /** Whether the driver has rung a queue's bell, or there is more to do for it; by index. */
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
      snapshot: options.snapshot ?? false,
      ringMap: new RingMap(),
    };
    // Only of transmit chains nothing is ever written: one used element can stand for a batch of them.
    const transmitting = { ...behaviour, coalesce: options.coalesce ?? true };
    const pairs = Array.from({ length: queuePairs }, (_, pair) => pair);
    this.#receiveQueues = pairs.map((pair) =>
      new DeviceQueue(`rx${pair}`, 2 * pair, maxRxQueueSize, rings, buffers, behaviour)
    );
    this.#transmitQueues = pairs.map((pair) =>
      new DeviceQueue(`tx${pair}`, 2 * pair + 1, maxQueueSize, rings, buffers, transmitting)
    );
    const controlSize = Math.max(maxQueueSize, CONTROL_QUEUE_SIZE);
    const control = new DeviceQueue("ctrl", 2 * queuePairs, controlSize, rings, buffers, behaviour);
    this.#controlQueue = control;
    this.control = new ControlQueue(control, this.hash, queuePairs, options.mac ?? [0x02, 0, 0, 0, 0, 1]);
    this.#receive = new DeviceReceive(this.#receiveQueues, this.control.steering, this.hash);
    this.#placeControl(2 * queuePairs);
    this.#kicked = new Uint8Array(this.#queues.length);
  }

  /** All queues, by index. Which is which can change with {@linkcode VirtioNetDevice.setFeatures}. */
  get queues(): readonly DeviceQueue[] {
    return this.#queues;
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

  /**
   * Takes over the negotiated features. To be called before queues are started.
   *
   * A driver that could have, but declined MQ and RSS knows of one pair: its control queue is queue 2 (5.1.2).
   */
  setFeatures(features: bigint): void {
    this.#features = features;
    const declined = offersPairs(this.offered) && !offersPairs(features);
    this.#placeControl(declined && hasFeature(features, "CTRL_VQ") ? 2 : 2 * this.queuePairs);
    this.#transmit.negotiated(features);
    this.#receive.negotiated(features);
    this.control.negotiated(features);
  }

  /** Puts the control queue, if there is one, among the pairs: those behind it move up. */
  #placeControl(index: number): void {
    if (index === this.#controlIndex) return;
    const pairs = this.#receiveQueues.flatMap((queue, pair) => [queue, this.#transmitQueues[pair]!]);
    this.#controlIndex = index;
    this.#queues = hasFeature(this.offered, "CTRL_VQ")
      ? pairs.toSpliced(index, 0, this.#controlQueue)
      : pairs;
    this.#queues.forEach((queue, at) => queue.index = at);
  }

  /** Stops all queues and forgets what was negotiated. */
  reset(): void {
    for (const queue of this.#queues) queue.stop();
    this.control.reset();
    this.setFeatures(0n);
    this.#kicked.fill(0);
    this.#controlFault = undefined;
  }

  /** A doorbell: the driver has put something into queue `index`. Control commands are carried out at once. */
  notify(index: number): void {
    if (index > this.#controlIndex || !this.#queues[index]?.running) return;
    if (index === this.#controlIndex) this.#obey();
    else this.#kicked[index] = 1;
  }

  /** Carries out control commands. */
  #obey(): void {
    try {
      if (this.control.service()) this.interrupt(this.#controlIndex);
    } catch (error) {
      if (!(error instanceof RingFault)) throw error;
      // It is not the driver, who rang, that must hear of it: the next service call raises it.
      this.#controlFault = error;
      this.onFault(error);
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
      this.#wakeTransmit();
      for (let index = 1; index < this.#controlIndex; index += 2) {
        if (this.#kicked[index] === 0) continue;
        this.#kicked[index] = 0;
        const queue = this.#queues[index]!;
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

  /** Where there are fresh receive buffers, frames that waited for them go on. No more kicks until they run out. */
  #wakeTransmit(): void {
    for (let index = 0; index < this.#controlIndex; index += 2) {
      if (this.#kicked[index] === 0) continue;
      this.#kicked[index] = 0;
      if (this.#queues[index]!.running) this.#queues[index]!.disableNotify();
      for (let transmit = 1; transmit < this.#controlIndex; transmit += 2) this.#kicked[transmit] = 1;
    }
  }

  /** Has all queues look at the map: what is delivered from now on need not do so. */
  #begin(): void {
    this.#serving = true;
    const queues = this.#queues;
    for (let i = 0; i < queues.length; i++) if (queues[i]!.running) queues[i]!.refresh();
  }

  /** Puts a frame from the wire into receive buffers. The driver sees it with the next `publish` or `service`. */
  deliver(frame: Frame): number {
    return this.#serving ? this.#receive.deliver(frame) : this.#deliverAlone(frame);
  }

  /** Delivers a frame that no `service` call brought. */
  #deliverAlone(frame: Frame): number {
    if (!this.ready) return NO_BUFFERS;
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

  /** Shows the driver what was used since, and interrupts where it wants that. `service` does so at its end. */
  publish(): void {
    try {
      for (let i = 0; i < this.#queues.length; i++) {
        const queue = this.#queues[i]!;
        // What a queue did before it broke is still the driver's.
        if ((queue.running || queue.broken) && queue.publish()) this.interrupt(queue.index);
      }
    } catch (error) {
      this.#tell(error);
    }
  }

  /** Lets the transport know of a fault on its way to the caller. */
  #tell(error: unknown): never {
    if (error instanceof RingFault) this.onFault(error);
    throw error;
  }

  /** Counters, documented in `counters.ts`. */
  counters(): Counters {
    const result: Counters = { "device.bytes_copied": this.#receive.bytesCopied };
    for (const [direction, queues] of [["rx", this.#receiveQueues], ["tx", this.#transmitQueues]] as const) {
      const sum = { chains: 0, descriptors: 0, indirect_tables: 0, interrupts: 0, interrupts_suppressed: 0 };
      for (const { counters } of queues) {
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
      queues: this.#queues.map((queue) => ({
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

/** Whether features let a driver use more than one pair. */
function offersPairs(features: bigint): boolean {
  return hasFeature(features, "MQ") || hasFeature(features, "RSS");
}

function ignore(): void {}
