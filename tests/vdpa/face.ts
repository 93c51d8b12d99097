/**
 * A vDPA device and its vhost-vdpa face for tests: every call gives "ok", a number, or the name of the error.
 *
 * @module
 */
import { READ_WRITE } from "../../core/address_space.ts";
import { Memory } from "../../core/memory.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import type { VdpaConfigOps } from "../../plugins/vdpa/config_ops.ts";
import { VdpaDevice, type VdpaDeviceOptions } from "../../plugins/vdpa/device.ts";
import { type BackendFeature, backendMask, errnoName, VHOST } from "../../plugins/vdpa/ioctls.ts";
import {
  VHOST_IOTLB,
  vhost_msg,
  vhost_msg_v2,
  vhost_vring_addr,
  vhost_vring_state,
} from "../../plugins/vdpa/layout.ts";
import { type ModelName, MODELS, type VdpaModel } from "../../plugins/vdpa/models.ts";
import { ProcessMemory } from "../../plugins/vdpa/process_memory.ts";
import { VhostVdpa } from "../../plugins/vdpa/vhost.ts";

/** Process memory that tests map: four adjacent mebibytes with bytes, in two sections; and modelled gibibytes. */
export const MEMORY = 0x100000;
export const MEMORY_SIZE = 0x400000;
export const SECTION_SIZE = 0x200000;
export const MODELLED = 0x10_0000_0000;
export const MODELLED_SIZE = 0x10_0000_0000;

/** virtio status bits by what they amount to. */
export const ACK = 1;
export const DRIVER = 3;
export const FEATURES_OK = 11;
export const DRIVER_OK = 15;

export const BASIC: readonly Feature[] = [
  "VERSION_1",
  "ACCESS_PLATFORM",
  "CTRL_VQ",
  "EVENT_IDX",
  "INDIRECT_DESC",
];

export type FaceOptions = Partial<Omit<VdpaDeviceOptions, "model" | "process">> & {
  kind?: ModelName;
  model?: VdpaModel;
  /** Stands in for the device's operations. */
  ops?: (device: VdpaDevice) => VdpaConfigOps;
};

export class Face {
  readonly process = new ProcessMemory();
  readonly memory = new Memory(MEMORY_SIZE);
  readonly device: VdpaDevice;
  readonly file: VhostVdpa;
  /** Number that the last call wrote back. */
  out = -1;

  constructor(options: FaceOptions = {}) {
    this.process.addSection(MEMORY, SECTION_SIZE);
    this.process.addSection(MEMORY + SECTION_SIZE, MEMORY_SIZE - SECTION_SIZE);
    this.process.addSection(MODELLED, MODELLED_SIZE);
    this.process.back(MEMORY, this.memory, 0, MEMORY_SIZE, READ_WRITE);
    const { kind = "mlx5", model = MODELS[kind], ops, ...rest } = options;
    this.device = new VdpaDevice({
      queues: Math.max(3, model.queues),
      features: featureMask(...BASIC),
      maxQueueSize: 256,
      ...rest,
      model,
      process: this.process,
    });
    this.file = new VhostVdpa(ops ? ops(this.device) : this.device, this.process);
  }

  ioctl(request: number, argument?: Uint8Array): string {
    const result = this.file.ioctl(request, argument);
    return result < 0 ? errnoName(result) : result === 0 ? "ok" : String(result);
  }

  /** An ioctl that takes or gives one number of up to 8 bytes. */
  number(request: number, value: number | bigint = 0): string {
    const argument = new Uint8Array(8);
    const view = new DataView(argument.buffer);
    view.setBigUint64(0, BigInt(value), true);
    const result = this.ioctl(request, argument);
    this.out = Number(view.getBigUint64(0, true));
    return result;
  }

  /** An ioctl that takes and gives a vhost_vring_state. */
  state(request: number, index: number, num = 0): string {
    const argument = vhost_vring_state.encode({ index, num });
    const result = this.ioctl(request, argument);
    this.out = vhost_vring_state.decode(argument).num as number;
    return result;
  }

  owner(): string {
    return this.ioctl(VHOST.SET_OWNER);
  }

  backend(...features: BackendFeature[]): string {
    return this.number(VHOST.SET_BACKEND_FEATURES, backendMask(...features));
  }

  features(...features: readonly Feature[]): string {
    return this.number(VHOST.SET_FEATURES, featureMask(...features));
  }

  status(status: number): string {
    return this.ioctl(VHOST.VDPA_SET_STATUS, new Uint8Array([status]));
  }

  address(index: number, desc: number, avail: number, used: number, flags = 0): string {
    return this.ioctl(
      VHOST.SET_VRING_ADDR,
      vhost_vring_addr.encode({
        index,
        flags,
        desc_user_addr: desc,
        avail_user_addr: avail,
        used_user_addr: used,
      }),
    );
  }

  message(asid: number, type: number, iova: bigint, size: bigint, uaddr: bigint, perm: number): string {
    const result = this.file.write(vhost_msg_v2.encode({
      type: 2,
      asid,
      "iotlb.iova": iova,
      "iotlb.size": size,
      "iotlb.uaddr": uaddr,
      "iotlb.perm": perm,
      "iotlb.type": type,
    }));
    return result < 0 ? errnoName(result) : String(result);
  }

  /** UPDATE of memory with bytes. */
  map(
    asid: number,
    iova: number | bigint,
    size: number | bigint,
    uaddr: number | bigint = MEMORY,
    perm = 3,
  ): string {
    return this.message(asid, VHOST_IOTLB.UPDATE, BigInt(iova), BigInt(size), BigInt(uaddr), perm);
  }

  unmap(asid: number, iova: number | bigint, size: number | bigint): string {
    return this.message(asid, VHOST_IOTLB.INVALIDATE, BigInt(iova), BigInt(size), 0n, 0);
  }

  batch(asid: number, begin: boolean): string {
    return this.message(asid, begin ? VHOST_IOTLB.BATCH_BEGIN : VHOST_IOTLB.BATCH_END, 0n, 0n, 0n, 0);
  }

  /** The first form of a message, which cannot name a space. */
  oldMap(iova: number, size: number): string {
    const result = this.file.write(
      vhost_msg.encode({
        type: 1,
        "iotlb.iova": iova,
        "iotlb.size": size,
        "iotlb.uaddr": MEMORY,
        "iotlb.perm": 3,
        "iotlb.type": VHOST_IOTLB.UPDATE,
      }),
    );
    return result < 0 ? errnoName(result) : String(result);
  }

  /** Owner, all backend features that the device has, features. */
  negotiate(persist = true): this {
    this.owner();
    this.number(VHOST.GET_BACKEND_FEATURES);
    const offered = BigInt(this.out);
    this.number(VHOST.SET_BACKEND_FEATURES, persist ? offered : offered & ~backendMask("IOTLB_PERSIST"));
    this.start(FEATURES_OK);
    return this;
  }

  /** Goes through the status bits, up to the given ones. */
  start(status: number): void {
    this.status(ACK);
    this.status(DRIVER);
    this.features(...BASIC);
    this.status(FEATURES_OK);
    if (status !== FEATURES_OK) this.status(status);
  }

  /** Device addresses that a space of the device maps, as text. */
  deviceMap(asid: number): string {
    return this.device.space(asid).table.entries.map(({ start, last }) =>
      `${start.toString(16)}-${last.toString(16)}`
    ).join(" ");
  }

  /** The same for the table that messages work on. */
  vhostMap(asid: number): string {
    return (this.file.tables.table(asid)?.entries ?? []).map(({ start, last }) =>
      `${start.toString(16)}-${last.toString(16)}`
    ).join(" ");
  }
}
