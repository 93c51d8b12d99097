/**
 * A vhost-vdpa file as its user has it: each ioctl and message as a method, failures as errors.
 *
 * @module
 */
import type { RingAddresses } from "../virtio/ring_areas.ts";
import { ioctlName, VHOST } from "./ioctls.ts";
import {
  VHOST_IOTLB,
  VHOST_IOTLB_MSG_V2,
  vhost_msg_v2,
  vhost_vdpa_config,
  vhost_vring_addr,
  vhost_vring_file,
  vhost_vring_state,
} from "./layout.ts";
import { VhostError, type VhostVdpa } from "./vhost.ts";

const STATE_NUM = vhost_vring_state.offsetOf("num");

/** A mapping as its maker sees it. */
export interface Mapping {
  /** Address space. */
  readonly asid: number;
  /** First address as the device sees it. */
  readonly iova: number;
  /** Bytes. */
  readonly size: number;
  /** First address as the process sees it. */
  readonly uaddr: number;
  /** What the device may do: `VHOST_ACCESS`. */
  readonly perm: number;
}

/** See the module. Every method throws {@linkcode VhostError} if the call fails. */
export class VhostClient {
  readonly #file: VhostVdpa;

  /** Takes an open file and owns it. */
  constructor(file: VhostVdpa) {
    this.#file = file;
    this.#ioctl(VHOST.SET_OWNER);
  }

  #ioctl(request: number, argument?: Uint8Array): void {
    const result = this.#file.ioctl(request, argument);
    if (result < 0) throw new VhostError(ioctlName(request), result);
  }

  #get(request: number, bytes: 1 | 2 | 4 | 8): bigint {
    const argument = new Uint8Array(8);
    this.#ioctl(request, argument.subarray(0, bytes));
    return new DataView(argument.buffer).getBigUint64(0, true);
  }

  #put(request: number, value: bigint): void {
    const argument = new Uint8Array(8);
    new DataView(argument.buffer).setBigUint64(0, value, true);
    this.#ioctl(request, argument);
  }

  #state(request: number, index: number, num = 0): number {
    const argument = vhost_vring_state.encode({ index, num });
    this.#ioctl(request, argument);
    return new DataView(argument.buffer).getUint32(STATE_NUM, true);
  }

  /** Feature bits that the device offers. */
  get features(): bigint {
    return this.#get(VHOST.GET_FEATURES, 8);
  }

  /** Accepts feature bits. */
  setFeatures(features: bigint): void {
    this.#put(VHOST.SET_FEATURES, features);
  }

  /** Backend feature bits that are offered. */
  get backendFeatures(): bigint {
    return this.#get(VHOST.GET_BACKEND_FEATURES, 8);
  }

  /** Acknowledges backend feature bits. */
  setBackendFeatures(features: bigint): void {
    this.#put(VHOST.SET_BACKEND_FEATURES, features);
  }

  /** Device status. */
  get status(): number {
    return Number(this.#get(VHOST.VDPA_GET_STATUS, 1));
  }

  /** Adds status bits; 0 resets. */
  setStatus(status: number): void {
    this.#ioctl(VHOST.VDPA_SET_STATUS, new Uint8Array([status]));
  }

  /** Number of virtqueues. */
  get queues(): number {
    return Number(this.#get(VHOST.VDPA_GET_VQS_COUNT, 4));
  }

  /** Number of address spaces. */
  get spaces(): number {
    return Number(this.#get(VHOST.VDPA_GET_AS_NUM, 4));
  }

  /** Most entries of a virtqueue. */
  get maxQueueSize(): number {
    return Number(this.#get(VHOST.VDPA_GET_VRING_NUM, 2));
  }

  /** Reads the device's configuration from its start. */
  config(length: number): Uint8Array {
    const argument = new Uint8Array(vhost_vdpa_config.size + length);
    argument.set(
      vhost_vdpa_config.encode({ off: 0, len: length }).subarray(0, vhost_vdpa_config.size),
    );
    this.#ioctl(VHOST.VDPA_GET_CONFIG, argument);
    return argument.subarray(vhost_vdpa_config.size);
  }

  /** Group of a virtqueue's buffers. */
  group(index: number): number {
    return this.#state(VHOST.VDPA_GET_VRING_GROUP, index);
  }

  /** Group of a virtqueue's descriptor table and rings. */
  descGroup(index: number): number {
    return this.#state(VHOST.VDPA_GET_VRING_DESC_GROUP, index);
  }

  /** Binds a group to an address space. */
  setGroupAsid(group: number, asid: number): void {
    this.#state(VHOST.VDPA_SET_GROUP_ASID, group, asid);
  }

  /** Sets a virtqueue up: entries, addresses, position, eventfds. */
  setQueue(index: number, num: number, areas: RingAddresses, base: number, kick: number, call: number): void {
    this.#state(VHOST.SET_VRING_NUM, index, num);
    this.#ioctl(
      VHOST.SET_VRING_ADDR,
      vhost_vring_addr.encode({
        index,
        desc_user_addr: areas.desc,
        avail_user_addr: areas.driver,
        used_user_addr: areas.device,
      }),
    );
    this.#state(VHOST.SET_VRING_BASE, index, base);
    this.#ioctl(VHOST.SET_VRING_KICK, vhost_vring_file.encode({ index, fd: kick }));
    this.#ioctl(VHOST.SET_VRING_CALL, vhost_vring_file.encode({ index, fd: call }));
  }

  /** Enables a virtqueue. */
  enable(index: number): void {
    this.#state(VHOST.VDPA_SET_VRING_ENABLE, index, 1);
  }

  /** Position of a virtqueue: meaningful while the device is suspended. */
  base(index: number): number {
    return this.#state(VHOST.GET_VRING_BASE, index);
  }

  /** Stops the device, its state kept. */
  suspend(): void {
    this.#ioctl(VHOST.VDPA_SUSPEND);
  }

  /** Adds a mapping. */
  map({ asid, iova, size, uaddr, perm }: Mapping): void {
    this.#message(asid, VHOST_IOTLB.UPDATE, { iova, size, uaddr, perm });
  }

  /** Removes a mapping. */
  unmap({ asid, iova, size }: Mapping): void {
    this.#message(asid, VHOST_IOTLB.INVALIDATE, { iova, size });
  }

  /** Begins a batch: until it ends, the device does not see what is mapped and unmapped. */
  beginBatch(asid: number): void {
    this.#message(asid, VHOST_IOTLB.BATCH_BEGIN, {});
  }

  /** Ends a batch. */
  endBatch(asid: number): void {
    this.#message(asid, VHOST_IOTLB.BATCH_END, {});
  }

  #message(asid: number, type: number, range: Record<string, number>): void {
    const values: Record<string, number> = { type: VHOST_IOTLB_MSG_V2, asid, "iotlb.type": type };
    for (const [name, value] of Object.entries(range)) values[`iotlb.${name}`] = value;
    const result = this.#file.write(vhost_msg_v2.encode(values));
    if (result >= 0) return;
    const name = Object.entries(VHOST_IOTLB).find(([, number]) => number === type)![0];
    throw new VhostError(`IOTLB ${name} in space ${asid}`, result);
  }
}
