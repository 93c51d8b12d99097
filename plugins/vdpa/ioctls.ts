/**
 * The ioctls of vhost, vhost-vdpa and VDUSE with their real numbers, the backend feature bits, and error numbers.
 *
 * Sources: linux/vhost.h, linux/vduse.h, asm-generic/ioctl.h, asm-generic/errno.h.
 *
 * @module
 */
import {
  vduse_config_data,
  vduse_dev_config,
  vduse_iotlb_entry,
  vduse_iova_info,
  vduse_iova_umem,
  vduse_vq_config,
  vduse_vq_eventfd,
  vduse_vq_info,
  vhost_memory,
  vhost_vdpa_config,
  vhost_vdpa_iova_range,
  vhost_vring_addr,
  vhost_vring_file,
  vhost_vring_state,
} from "./layout.ts";

/** Where the parts of an ioctl number start: 8 bits number, 8 bits type, 14 bits size, 2 bits direction. */
const TYPE_SHIFT = 2 ** 8;
const SIZE_SHIFT = 2 ** 16;
const DIRECTION_SHIFT = 2 ** 30;

const NONE = 0;
const WRITE = 1;
const READ = 2;
const READ_WRITE = 3;

/** Type of the vhost ioctls. */
const VHOST_VIRTIO = 0xaf;
/** Type of the VDUSE ioctls. */
const VDUSE_BASE = 0x81;

const INT = 4;
const U16 = 2;
const U64 = 8;
/** `char[VDUSE_NAME_MAX]`. */
const NAME = vduse_dev_config.field("name").count as number;
const STATE = vhost_vring_state.size;
const FILE = vhost_vring_file.size;

function number(type: number, direction: number, nr: number, size: number): number {
  return direction * DIRECTION_SHIFT + size * SIZE_SHIFT + type * TYPE_SHIFT + nr;
}

function vhost(direction: number, nr: number, size: number = 0): number {
  return number(VHOST_VIRTIO, direction, nr, size);
}

function vduse(direction: number, nr: number, size: number = 0): number {
  return number(VDUSE_BASE, direction, nr, size);
}

/** Bytes of an ioctl's argument, as its number says. */
export function argumentSize(request: number): number {
  return Math.floor(request / SIZE_SHIFT) & 0x3fff;
}

/** The vhost ioctls by name. */
export const VHOST = {
  GET_FEATURES: vhost(READ, 0x00, U64),
  SET_FEATURES: vhost(WRITE, 0x00, U64),
  SET_OWNER: vhost(NONE, 0x01),
  RESET_OWNER: vhost(NONE, 0x02),
  SET_MEM_TABLE: vhost(WRITE, 0x03, vhost_memory.size),
  SET_LOG_BASE: vhost(WRITE, 0x04, U64),
  SET_LOG_FD: vhost(WRITE, 0x07, INT),
  NEW_WORKER: vhost(READ, 0x08, INT),
  FREE_WORKER: vhost(WRITE, 0x09, INT),
  SET_VRING_NUM: vhost(WRITE, 0x10, STATE),
  SET_VRING_ADDR: vhost(WRITE, 0x11, vhost_vring_addr.size),
  SET_VRING_BASE: vhost(WRITE, 0x12, STATE),
  GET_VRING_BASE: vhost(READ_WRITE, 0x12, STATE),
  SET_VRING_ENDIAN: vhost(WRITE, 0x13, STATE),
  GET_VRING_ENDIAN: vhost(WRITE, 0x14, STATE),
  ATTACH_VRING_WORKER: vhost(WRITE, 0x15, STATE),
  GET_VRING_WORKER: vhost(READ_WRITE, 0x16, STATE),
  SET_VRING_KICK: vhost(WRITE, 0x20, FILE),
  SET_VRING_CALL: vhost(WRITE, 0x21, FILE),
  SET_VRING_ERR: vhost(WRITE, 0x22, FILE),
  SET_VRING_BUSYLOOP_TIMEOUT: vhost(WRITE, 0x23, STATE),
  GET_VRING_BUSYLOOP_TIMEOUT: vhost(WRITE, 0x24, STATE),
  SET_BACKEND_FEATURES: vhost(WRITE, 0x25, U64),
  GET_BACKEND_FEATURES: vhost(READ, 0x26, U64),
  NET_SET_BACKEND: vhost(WRITE, 0x30, FILE),
  VDPA_GET_DEVICE_ID: vhost(READ, 0x70, INT),
  VDPA_GET_STATUS: vhost(READ, 0x71, 1),
  VDPA_SET_STATUS: vhost(WRITE, 0x72, 1),
  VDPA_GET_CONFIG: vhost(READ, 0x73, vhost_vdpa_config.size),
  VDPA_SET_CONFIG: vhost(WRITE, 0x74, vhost_vdpa_config.size),
  VDPA_SET_VRING_ENABLE: vhost(WRITE, 0x75, STATE),
  VDPA_GET_VRING_NUM: vhost(READ, 0x76, U16),
  VDPA_SET_CONFIG_CALL: vhost(WRITE, 0x77, INT),
  VDPA_GET_IOVA_RANGE: vhost(READ, 0x78, vhost_vdpa_iova_range.size),
  VDPA_GET_CONFIG_SIZE: vhost(READ, 0x79, INT),
  VDPA_GET_AS_NUM: vhost(READ, 0x7a, INT),
  VDPA_GET_VRING_GROUP: vhost(READ_WRITE, 0x7b, STATE),
  VDPA_SET_GROUP_ASID: vhost(WRITE, 0x7c, STATE),
  VDPA_SUSPEND: vhost(NONE, 0x7d),
  VDPA_RESUME: vhost(NONE, 0x7e),
  VDPA_GET_VRING_DESC_GROUP: vhost(READ_WRITE, 0x7f, STATE),
  VDPA_GET_VQS_COUNT: vhost(READ, 0x80, INT),
  VDPA_GET_GROUP_NUM: vhost(READ, 0x81, INT),
  VDPA_GET_VRING_SIZE: vhost(READ_WRITE, 0x82, STATE),
  GET_FEATURES_ARRAY: vhost(READ, 0x83, U64),
  SET_FEATURES_ARRAY: vhost(WRITE, 0x83, U64),
} as const satisfies Readonly<Record<string, number>>;

/** The VDUSE ioctls by name. */
export const VDUSE = {
  GET_API_VERSION: vduse(READ, 0x00, U64),
  SET_API_VERSION: vduse(WRITE, 0x01, U64),
  CREATE_DEV: vduse(WRITE, 0x02, vduse_dev_config.size),
  DESTROY_DEV: vduse(WRITE, 0x03, NAME),
  IOTLB_GET_FD: vduse(READ_WRITE, 0x10, vduse_iotlb_entry.size),
  DEV_GET_FEATURES: vduse(READ, 0x11, U64),
  DEV_SET_CONFIG: vduse(WRITE, 0x12, vduse_config_data.size),
  DEV_INJECT_CONFIG_IRQ: vduse(NONE, 0x13),
  VQ_SETUP: vduse(WRITE, 0x14, vduse_vq_config.size),
  VQ_GET_INFO: vduse(READ_WRITE, 0x15, vduse_vq_info.size),
  VQ_SETUP_KICKFD: vduse(WRITE, 0x16, vduse_vq_eventfd.size),
  VQ_INJECT_IRQ: vduse(WRITE, 0x17, INT),
  IOTLB_REG_UMEM: vduse(WRITE, 0x18, vduse_iova_umem.size),
  IOTLB_DEREG_UMEM: vduse(WRITE, 0x19, vduse_iova_umem.size),
  IOTLB_GET_INFO: vduse(READ_WRITE, 0x1a, vduse_iova_info.size),
} as const satisfies Readonly<Record<string, number>>;

/** Backend feature bits: `VHOST_BACKEND_F_*`. The headers give bit numbers, the ioctls carry masks. */
export const BACKEND_BITS = {
  IOTLB_MSG_V2: 1,
  IOTLB_BATCH: 2,
  IOTLB_ASID: 3,
  SUSPEND: 4,
  RESUME: 5,
  ENABLE_AFTER_DRIVER_OK: 6,
  DESC_ASID: 7,
  IOTLB_PERSIST: 8,
} as const satisfies Readonly<Record<string, number>>;

/** Name of a backend feature. */
export type BackendFeature = keyof typeof BACKEND_BITS;

/** The mask of some backend features. */
export function backendMask(...features: readonly BackendFeature[]): bigint {
  return features.reduce((mask, feature) => mask | (1n << BigInt(BACKEND_BITS[feature])), 0n);
}

/** Whether a backend feature is in a mask. */
export function hasBackendFeature(mask: bigint, feature: BackendFeature): boolean {
  return (mask & backendMask(feature)) !== 0n;
}

/** Error numbers that the vhost-vdpa face returns, negated. */
export const ERRNO = {
  EPERM: 1,
  EIO: 5,
  E2BIG: 7,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  ENOTTY: 25,
  ENOSPC: 28,
  EOPNOTSUPP: 95,
  ENOBUFS: 105,
} as const satisfies Readonly<Record<string, number>>;

/** Name of an error number. */
export type ErrnoName = keyof typeof ERRNO;

/** The name of a returned error number, negative as returned. */
export function errnoName(result: number): string {
  const found = Object.entries(ERRNO).find(([, number]) => number === -result);
  return found ? found[0] : `errno ${-result}`;
}

/** The name of an ioctl number. */
export function ioctlName(request: number): string {
  const found = Object.entries(VHOST).find(([, number]) => number === request);
  return found ? `VHOST_${found[0]}` : `0x${request.toString(16)}`;
}
