/**
 * The ioctls of vhost, vhost-vdpa and VDUSE with their real numbers, the backend feature bits, and error numbers.
 *
 * Sources: linux/vhost.h, linux/vduse.h, asm-generic/ioctl.h, asm-generic/errno.h.
 *
 * @module
 */
/** Where the size stands in an ioctl number: behind 8 bits of number and 8 of type, below 2 of direction. */
const SIZE_SHIFT = 2 ** 16;
const SIZE_MASK = 0x3fff;

/** Bytes of an ioctl's argument, as its number says. */
export function argumentSize(request: number): number {
  return Math.floor(request / SIZE_SHIFT) & SIZE_MASK;
}

/**
 * The vhost ioctls by name: type 0xaf. Not all are vhost-vdpa's: those of workers and of the backend, RESET_OWNER, and
 * GET_FEATURES_ARRAY and SET_FEATURES_ARRAY are for vhost-net and its kind only.
 */
export const VHOST = {
  GET_FEATURES: 0x8008af00,
  SET_FEATURES: 0x4008af00,
  SET_OWNER: 0x0000af01,
  RESET_OWNER: 0x0000af02,
  SET_MEM_TABLE: 0x4008af03,
  SET_LOG_BASE: 0x4008af04,
  SET_LOG_FD: 0x4004af07,
  NEW_WORKER: 0x8004af08,
  FREE_WORKER: 0x4004af09,
  SET_VRING_NUM: 0x4008af10,
  SET_VRING_ADDR: 0x4028af11,
  SET_VRING_BASE: 0x4008af12,
  GET_VRING_BASE: 0xc008af12,
  SET_VRING_ENDIAN: 0x4008af13,
  GET_VRING_ENDIAN: 0x4008af14,
  ATTACH_VRING_WORKER: 0x4008af15,
  GET_VRING_WORKER: 0xc008af16,
  SET_VRING_KICK: 0x4008af20,
  SET_VRING_CALL: 0x4008af21,
  SET_VRING_ERR: 0x4008af22,
  SET_VRING_BUSYLOOP_TIMEOUT: 0x4008af23,
  GET_VRING_BUSYLOOP_TIMEOUT: 0x4008af24,
  SET_BACKEND_FEATURES: 0x4008af25,
  GET_BACKEND_FEATURES: 0x8008af26,
  NET_SET_BACKEND: 0x4008af30,
  VDPA_GET_DEVICE_ID: 0x8004af70,
  VDPA_GET_STATUS: 0x8001af71,
  VDPA_SET_STATUS: 0x4001af72,
  VDPA_GET_CONFIG: 0x8008af73,
  VDPA_SET_CONFIG: 0x4008af74,
  VDPA_SET_VRING_ENABLE: 0x4008af75,
  VDPA_GET_VRING_NUM: 0x8002af76,
  VDPA_SET_CONFIG_CALL: 0x4004af77,
  VDPA_GET_IOVA_RANGE: 0x8010af78,
  VDPA_GET_CONFIG_SIZE: 0x8004af79,
  VDPA_GET_AS_NUM: 0x8004af7a,
  VDPA_GET_VRING_GROUP: 0xc008af7b,
  VDPA_SET_GROUP_ASID: 0x4008af7c,
  VDPA_SUSPEND: 0x0000af7d,
  VDPA_RESUME: 0x0000af7e,
  VDPA_GET_VRING_DESC_GROUP: 0xc008af7f,
  VDPA_GET_VQS_COUNT: 0x8004af80,
  VDPA_GET_GROUP_NUM: 0x8004af81,
  VDPA_GET_VRING_SIZE: 0xc008af82,
  GET_FEATURES_ARRAY: 0x8008af83,
  SET_FEATURES_ARRAY: 0x4008af83,
} as const satisfies Readonly<Record<string, number>>;

/** The VDUSE ioctls by name: type 0x81. */
export const VDUSE = {
  GET_API_VERSION: 0x80088100,
  SET_API_VERSION: 0x40088101,
  CREATE_DEV: 0x41508102,
  DESTROY_DEV: 0x41008103,
  IOTLB_GET_FD: 0xc0208110,
  DEV_GET_FEATURES: 0x80088111,
  DEV_SET_CONFIG: 0x40088112,
  DEV_INJECT_CONFIG_IRQ: 0x00008113,
  VQ_SETUP: 0x40208114,
  VQ_GET_INFO: 0xc0308115,
  VQ_SETUP_KICKFD: 0x40088116,
  VQ_INJECT_IRQ: 0x40048117,
  IOTLB_REG_UMEM: 0x40308118,
  IOTLB_DEREG_UMEM: 0x40308119,
  IOTLB_GET_INFO: 0xc030811a,
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
