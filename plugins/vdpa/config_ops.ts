/**
 * The operations of a vDPA device, as the kernel names them (`struct vdpa_config_ops`, linux/vdpa.h).
 *
 * Those that a device may lack are optional here too: the vhost-vdpa face answers with the error that the kernel
 * returns in their absence. Operations that can fail return 0 or a negative error number.
 *
 * @module
 */
import type { Doorbell } from "../../core/plugin.ts";
import type { IotlbEntry } from "./iotlb.ts";

/** `VDPA_RESET_F_CLEAN_MAP`: a reset also brings back the mappings that a fresh device has. */
export const VDPA_RESET_F_CLEAN_MAP: number = 1;

/** An inclusive range of addresses. */
export interface IovaRange {
  /** First address. */
  readonly first: bigint;
  /** Last address, itself included. */
  readonly last: bigint;
}

/** A vDPA device. */
export interface VdpaConfigOps {
  /** Virtqueues. */
  readonly nvqs: number;
  /** Virtqueue groups. */
  readonly ngroups: number;
  /** Address spaces. */
  readonly nas: number;
  /**
   * Whether it works with addresses of the process (`vdpa_device.use_va`). For all others the kernel pins pages, and
   * maps them whole.
   */
  readonly use_va?: boolean;

  /** virtio device ID; 1 is a network device. */
  get_device_id(): number;
  /** Feature bits offered. */
  get_device_features(): bigint;
  /** Backend feature bits that depend on the device, as a mask. */
  get_backend_features?: () => bigint;
  /** Takes the accepted feature bits. */
  set_driver_features(features: bigint): number;
  /** Feature bits accepted. */
  get_driver_features(): bigint;
  /** Device status. */
  get_status(): number;
  /** Sets the device status; not used to reset. */
  set_status(status: number): void;
  /** Status 0, features cleared, queues disabled, every group bound to address space 0; mappings stay. */
  reset(): number;
  /** `reset`, and with {@linkcode VDPA_RESET_F_CLEAN_MAP} the mappings of a fresh device. */
  compat_reset?: (flags: number) => number;
  /** Stops all processing and keeps the state. */
  suspend?: () => number;
  /** Goes on. */
  resume?: () => number;
  /** Bytes of configuration space. */
  get_config_size(): number;
  /** Reads configuration space. */
  get_config(offset: number, length: number): Uint8Array;
  /** Writes configuration space. */
  set_config(offset: number, bytes: Uint8Array): void;
  /** Addresses that the device can use; all of them if missing. */
  get_iova_range?: () => IovaRange;

  /** Where the parts of a virtqueue are, as IOVAs. */
  set_vq_address(idx: number, desc_area: bigint, driver_area: bigint, device_area: bigint): number;
  /** Entries of a virtqueue. */
  set_vq_num(idx: number, num: number): void;
  /** Most entries of any virtqueue. */
  get_vq_num_max(): number;
  /** Entries of one virtqueue. */
  get_vq_size?: (idx: number) => number;
  /** Enables or disables a virtqueue. */
  set_vq_ready(idx: number, ready: boolean): void;
  /** Whether a virtqueue is enabled. */
  get_vq_ready(idx: number): boolean;
  /** Where to go on in the available ring. */
  set_vq_state(idx: number, avail_index: number): number;
  /** Where it would go on, or a negative error number. */
  get_vq_state(idx: number): number;
  /** Who is called when the device has used buffers. */
  set_vq_cb(idx: number, callback: Doorbell | undefined): void;
  /** Rings a virtqueue's doorbell. */
  kick_vq(idx: number): void;

  /** Group of a virtqueue's buffers, and of all of it if it has no descriptor group. */
  get_vq_group?: (idx: number) => number;
  /** Group of a virtqueue's descriptor table, available and used ring; indirect tables are in the group above. */
  get_vq_desc_group?: (idx: number) => number;
  /** Binds a group to an address space. */
  set_group_asid?: (group: number, asid: number) => number;
  /** Hands the whole table of an address space over. */
  set_map?: (asid: number, entries: readonly IotlbEntry[]) => number;
  /** Adds one mapping. */
  dma_map?: (asid: number, iova: bigint, size: bigint, pa: bigint, perm: number) => number;
  /** Removes what overlaps a range. */
  dma_unmap?: (asid: number, iova: bigint, size: bigint) => number;
  /** Brings back the mappings that a fresh device has. */
  reset_map?: (asid: number) => number;
}
