/**
 * A vDPA network device: the virtio plugin's device half, whose queues reach memory through the address space that the
 * group in question is bound to.
 *
 * Descriptor tables, available and used rings go through a virtqueue's descriptor group, buffers and indirect tables
 * through its own group. (A packed ring would have its descriptor ring and the two event areas in the descriptor group;
 * packed rings are not offered.)
 *
 * @module
 */
import { READ, READ_WRITE } from "../../core/address_space.ts";
import type { Counters } from "../../core/counters.ts";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { type DeviceHalf, type Doorbell, NO_BUFFERS, type Wire } from "../../core/plugin.ts";
import { VirtioNetDevice } from "../virtio/device.ts";
import { brokenDependency, featureMask, hasFeature } from "../virtio/features.ts";
import { virtio_net_config } from "../virtio/layout.ts";
import { STATUS } from "../virtio/transport.ts";
import { VDPA_RESET_F_CLEAN_MAP, type VdpaConfigOps } from "./config_ops.ts";
import type { DeviceSpace } from "./device_space.ts";
import { DeviceSpaces } from "./device_spaces.ts";
import { explainFault } from "./explain_fault.ts";
import { backendMask, ERRNO } from "./ioctls.ts";
import type { IotlbEntry } from "./iotlb.ts";
import type { VdpaModel } from "./models.ts";
import type { ProcessMemory } from "./process_memory.ts";

/** virtio device ID of a network device. */
const NETWORK = 1;
const LINK_UP = 1;

/** How a {@linkcode VdpaDevice} is made. */
export interface VdpaDeviceOptions {
  /** What kind of device. */
  readonly model: VdpaModel;
  /** Virtqueues: two per pair, and one more if there is a control queue. */
  readonly queues: number;
  /** Groups; the model's if not given. */
  readonly groups?: number;
  /** Address spaces; the model's if not given. */
  readonly asids?: number;
  /** Whether it tells the group of descriptor tables and rings apart, if the model can; it does if not given. */
  readonly descGroup?: boolean;
  /** Whether mappings can outlive a reset, if the model lets them; they can if not given. */
  readonly persist?: boolean;
  /** Whether it takes whole tables, if the model leaves the choice; it does if not given. */
  readonly tables?: boolean;
  /** Feature bits that it offers; ACCESS_PLATFORM is added. */
  readonly features: bigint;
  /** Most entries of a virtqueue. */
  readonly maxQueueSize: number;
  /** What mappings lead to. */
  readonly process: ProcessMemory;
}

/** What is set up for one virtqueue. */
interface QueueState {
  desc: bigint;
  driver: bigint;
  device: bigint;
  num: number;
  ready: boolean;
  availIndex: number;
  callback: Doorbell | undefined;
}

/** See the module. */
export class VdpaDevice implements VdpaConfigOps, DeviceHalf {
  readonly nvqs: number;
  readonly ngroups: number;
  readonly nas: number;
  readonly use_va: boolean;
  /** Calls of `set_map`. */
  setMapCalls = 0;
  /** Resets by status. */
  resets = 0;
  /** The virtio device, whose halves are used as they are. */
  readonly net: VirtioNetDevice;

  get_vq_desc_group?: (idx: number) => number;
  suspend?: () => number;
  resume?: () => number;
  set_map?: (asid: number, entries: readonly IotlbEntry[]) => number;
  dma_map?: (asid: number, iova: bigint, size: bigint, pa: bigint, perm: number) => number;
  dma_unmap?: (asid: number, iova: bigint, size: bigint) => number;
  reset_map?: (asid: number) => number;

  readonly #model: VdpaModel;
  readonly #process: ProcessMemory;
  readonly #queues: QueueState[];
  readonly #spaces: DeviceSpaces;
  readonly #backendFeatures: bigint;
  #status = 0;
  #features = 0n;
  #suspended = false;
  #pending: RingFault | undefined;

  /** Makes a device after reset. */
  constructor(options: VdpaDeviceOptions) {
    const { model, queues, process } = options;
    this.#model = model;
    this.#process = process;
    this.nvqs = queues;
    this.ngroups = options.groups ?? model.groups;
    this.nas = options.asids ?? model.asids;
    this.use_va = model.useVa;
    this.#spaces = new DeviceSpaces(model.identity, this.ngroups, process);
    const { space } = this.space(0);
    this.net = new VirtioNetDevice({
      features: options.features | featureMask("ACCESS_PLATFORM"),
      rings: space,
      buffers: space,
      queuePairs: queues >> 1,
      maxQueueSize: options.maxQueueSize,
    });
    this.net.interrupt = (idx) => this.#queues[idx]?.callback?.(idx);
    this.net.onFault = () => {
      this.#status |= STATUS.NEEDS_RESET;
    };
    this.#queues = Array.from({ length: queues }, () => ({
      desc: 0n,
      driver: 0n,
      device: 0n,
      num: options.maxQueueSize,
      ready: false,
      availIndex: 0,
      callback: undefined,
    }));
    this.#backendFeatures = model.lateEnable ? backendMask("ENABLE_AFTER_DRIVER_OK") : 0n;
    this.#addOptionalOps(options);
    this.#bind();
  }

  #addOptionalOps({ model, descGroup = true, persist = true, tables = true }: VdpaDeviceOptions): void {
    if (descGroup && model.descGroup) {
      this.get_vq_desc_group = (idx) => model.descGroup!(idx, this.nvqs);
    }
    if (model.suspend) {
      this.suspend = () => this.#suspend();
      this.resume = () => this.#resume();
    }
    if (model.mapping === "table" || (model.mapping === "either" && tables)) {
      this.set_map = (asid, entries) => this.#setMap(asid, entries);
    } else {
      this.dma_map = (asid, iova, size, pa, perm) => {
        this.#spaces.changing(asid).map({ start: iova, last: iova + size - 1n, addr: pa, perm });
        return 0;
      };
      this.dma_unmap = (asid, iova, size) => {
        this.#spaces.changing(asid).unmap(iova, iova + size - 1n);
        return 0;
      };
    }
    // Whether mappings can outlive a reset is told by this operation being there.
    if (model.persist && persist) {
      this.reset_map = (asid) => {
        this.#spaces.refresh(asid);
        return 0;
      };
    }
  }

  get_device_id(): number {
    return NETWORK;
  }

  get_device_features(): bigint {
    return this.net.offered;
  }

  /** See {@linkcode VdpaConfigOps}. */
  get_backend_features(): bigint {
    return this.#backendFeatures;
  }

  set_driver_features(features: bigint): number {
    const broken = (features & ~this.net.offered) !== 0n || brokenDependency(features) !== undefined ||
      !hasFeature(features, "ACCESS_PLATFORM") || !hasFeature(features, "VERSION_1");
    if (broken) return -ERRNO.EINVAL;
    this.#features = features;
    this.net.setFeatures(features);
    return 0;
  }

  get_driver_features(): bigint {
    return this.#features;
  }

  get_status(): number {
    return this.#status;
  }

  set_status(status: number): void {
    const started = (status & ~this.#status & STATUS.DRIVER_OK) !== 0;
    this.#status = status;
    if (!started) return;
    for (let idx = 0; idx < this.nvqs; idx++) if (this.#queues[idx]!.ready) this.#start(idx);
  }

  reset(): number {
    this.resets++;
    this.net.reset();
    this.#status = 0;
    this.#features = 0n;
    this.#suspended = false;
    this.#pending = undefined;
    for (const queue of this.#queues) {
      queue.desc = queue.driver = queue.device = 0n;
      queue.num = this.get_vq_num_max();
      queue.ready = false;
      queue.availIndex = 0;
    }
    this.#spaces.unbind();
    this.#bind();
    return 0;
  }

  /** See {@linkcode VdpaConfigOps}. */
  compat_reset(flags: number): number {
    this.reset();
    if ((flags & VDPA_RESET_F_CLEAN_MAP) === 0) return 0;
    for (const { asid } of this.#spaces.used) this.#spaces.refresh(asid);
    return 0;
  }

  #suspend(): number {
    this.#suspended = true;
    return 0;
  }

  #resume(): number {
    this.#suspended = false;
    for (let idx = 0; idx < this.nvqs; idx++) this.kick_vq(idx);
    return 0;
  }

  /** Whether it processes queues. */
  get active(): boolean {
    return (this.#status & STATUS.DRIVER_OK) !== 0 && !this.#suspended;
  }

  get_config_size(): number {
    return virtio_net_config.size;
  }

  get_config(offset: number, length: number): Uint8Array {
    return virtio_net_config.encode({
      mac: this.net.control.mac,
      status: LINK_UP,
      max_virtqueue_pairs: this.net.queuePairs,
    }).subarray(offset, offset + length);
  }

  /** Nothing in the configuration space of a modern network device can be written. */
  set_config(_offset: number, _bytes: Uint8Array): void {}

  set_vq_address(idx: number, desc_area: bigint, driver_area: bigint, device_area: bigint): number {
    const queue = this.#queues[idx]!;
    queue.desc = desc_area;
    queue.driver = driver_area;
    queue.device = device_area;
    return 0;
  }

  set_vq_num(idx: number, num: number): void {
    this.#queues[idx]!.num = num;
  }

  get_vq_num_max(): number {
    return Math.max(...this.net.queues.map((queue) => queue.maxSize));
  }

  /** See {@linkcode VdpaConfigOps}. */
  get_vq_size(idx: number): number {
    return this.#queues[idx]!.num;
  }

  set_vq_ready(idx: number, ready: boolean): void {
    const queue = this.#queues[idx]!;
    if (queue.ready === ready) return;
    queue.ready = ready;
    if (!ready) queue.availIndex = this.net.queues[idx]!.stop();
    else if (this.#status & STATUS.DRIVER_OK) this.#start(idx);
  }

  get_vq_ready(idx: number): boolean {
    return this.#queues[idx]!.ready;
  }

  set_vq_state(idx: number, avail_index: number): number {
    this.#queues[idx]!.availIndex = avail_index;
    return 0;
  }

  get_vq_state(idx: number): number {
    const queue = this.net.queues[idx]!;
    if (!queue.running) return this.#queues[idx]!.availIndex;
    return this.#model.baseIsUsed ? queue.usedIndex : queue.availIndex;
  }

  set_vq_cb(idx: number, callback: Doorbell | undefined): void {
    this.#queues[idx]!.callback = callback;
  }

  kick_vq(idx: number): void {
    if (!this.active) return;
    try {
      this.net.notify(idx);
    } catch (error) {
      this.#pending ??= this.#explain(error);
    }
  }

  /** See {@linkcode VdpaConfigOps}. */
  get_vq_group(idx: number): number {
    return this.#model.vqGroup(idx, this.nvqs, this.ngroups);
  }

  /** See {@linkcode VdpaConfigOps}. A device that runs, suspended or not, does not let go of its spaces. */
  set_group_asid(group: number, asid: number): number {
    if (this.#status & STATUS.DRIVER_OK) return -ERRNO.EBUSY;
    if (group >= this.ngroups || asid >= this.nas) return -ERRNO.EINVAL;
    this.#spaces.bind(group, asid);
    this.#bind();
    return 0;
  }

  /** An address space by number. */
  space(asid: number): DeviceSpace {
    return this.#spaces.space(asid);
  }

  /** Space through which a group translates. */
  spaceOf(group: number): DeviceSpace {
    return this.#spaces.of(group);
  }

  /** Group of a queue's descriptor table and rings. */
  ringGroup(idx: number): number {
    return this.get_vq_desc_group?.(idx) ?? this.get_vq_group(idx);
  }

  /** Gives every queue the spaces that its groups are bound to. */
  #bind(): void {
    for (const queue of this.net.queues) {
      queue.rings = this.spaceOf(this.ringGroup(queue.index)).space;
      queue.buffers = this.spaceOf(this.get_vq_group(queue.index)).space;
    }
  }

  #start(idx: number): void {
    const { desc, driver, device, num, availIndex } = this.#queues[idx]!;
    try {
      this.net.queues[idx]!.start(
        num,
        { desc: Number(desc), driver: Number(driver), device: Number(device) },
        this.#features,
        availIndex,
      );
    } catch (error) {
      this.#status |= STATUS.NEEDS_RESET;
      this.#pending ??= this.#explain(error);
    }
  }

  #setMap(asid: number, entries: readonly IotlbEntry[]): number {
    this.setMapCalls++;
    this.#spaces.changing(asid).replace(entries);
    return 0;
  }

  /** Works off what was made available. */
  service(wire: Wire): number {
    this.#raisePending();
    if (!this.active) return 0;
    try {
      return this.net.service(wire);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** Puts a frame into receive buffers. */
  deliver(frame: Frame): number {
    if (!this.active) return NO_BUFFERS;
    try {
      return this.net.deliver(frame);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** Puts frames into receive buffers, as many as find one each. */
  deliverBatch(frames: FrameBatch, from: number): number {
    if (!this.active) return from;
    try {
      return this.net.deliverBatch(frames, from);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  #raisePending(): void {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending) throw pending;
  }

  /** Says of a bad address what is wrong with it. Anything that is no fault goes on as it is. */
  #explain(error: unknown): RingFault {
    if (!(error instanceof RingFault)) throw error;
    const idx = this.net.queues.findIndex((queue) => queue.name === error.ring);
    if (idx < 0) return error;
    const ring = error.code === "bad-ring-address";
    const group = ring ? this.ringGroup(idx) : this.get_vq_group(idx);
    const written = ring && error.values.address === this.net.queues[idx]!.areas.device;
    const needed = ring ? (written ? READ_WRITE : READ) : undefined;
    return explainFault(
      error,
      { group, space: this.spaceOf(group), needed },
      this.#spaces.used,
      this.#process,
    );
  }

  /** Counters of the virtio device; those of the address spaces are counted where they are changed. */
  counters(): Counters {
    return this.net.counters();
  }

  /** Status, bindings, mappings and queues. */
  inspect(): Record<string, unknown> {
    return {
      status: this.#status,
      suspended: this.#suspended,
      groups: this.#spaces.bindings.map((asid, group) => ({ group, asid })),
      spaces: this.#spaces.used.map(({ asid, table }) => ({ asid, entries: table.entries.length })),
      ...this.net.inspect(),
    };
  }
}
