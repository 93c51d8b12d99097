/**
 * Every structure and number of the vhost-user protocol that a net back end meets.
 *
 * Messages are in the byte order of the machine that both ends share; Deno runs on little-endian machines only.
 * Source: QEMU documentation, "Vhost-user Protocol" (interop/vhost-user).
 *
 * @module
 */
import { array, bitfield, bits, nested, type Struct, struct, u32, u64 } from "../../core/layout.ts";

const SOURCE = "QEMU docs/interop/vhost-user";

/** Version of the protocol, in the header's flags. */
export const VHOST_USER_VERSION: number = 1;
/** Regions that one SET_MEM_TABLE can carry. */
export const VHOST_MEMORY_BASELINE_NREGIONS: number = 8;

/** In front of every message. */
export const vhost_user_header: Struct = struct("vhost_user_header", {
  summary: "In front of every vhost-user message, either way",
  source: SOURCE,
  size: 12,
  fields: [
    u32("request", "What is asked"),
    bitfield(4, [
      bits("version", 2, "Version of the protocol: 1"),
      bits("reply", 1, "The message is a reply"),
      bits("need_reply", 1, "The front end wants to hear whether it worked (REPLY_ACK)"),
      bits("reserved", 28, "0"),
    ]),
    u32("size", "Bytes of payload behind the header"),
  ],
});

/** Payload of many requests, and of the reply that says how it went. */
export const vhost_user_u64: Struct = struct("vhost_user_u64", {
  summary: "A number: feature bits, a count, or 0 for success",
  source: SOURCE,
  size: 8,
  fields: [u64("value", "The number")],
});

/** Payload of SET_VRING_KICK, CALL and ERR. */
export const vhost_user_vring_fd: Struct = struct("vhost_user_vring_fd", {
  summary: "Which ring the descriptor that comes along is for",
  source: SOURCE,
  size: 8,
  fields: [
    bitfield(8, [
      bits("index", 8, "Ring"),
      bits("nofd", 1, "No descriptor comes along: the ring is polled, or the event is not wanted"),
      bits("reserved", 55, "0"),
    ]),
  ],
});

/** Payload of SET_VRING_NUM, BASE and ENABLE and of GET_VRING_BASE. */
export const vhost_vring_state: Struct = struct("vhost_vring_state", {
  summary: "A number for one ring",
  source: `${SOURCE}; linux/vhost_types.h`,
  size: 8,
  fields: [u32("index", "Ring"), u32("num", "The number")],
});

/** Payload of SET_VRING_ADDR. */
export const vhost_vring_addr: Struct = struct("vhost_vring_addr", {
  summary: "Where the parts of one ring are, as addresses of the front end's process",
  source: `${SOURCE}; linux/vhost_types.h`,
  size: 40,
  fields: [
    u32("index", "Ring"),
    u32("flags", "Bit 0: log writes to the used ring", { flags: { LOG: 1 } }),
    u64("desc_user_addr", "Descriptor table"),
    u64("used_user_addr", "Used ring"),
    u64("avail_user_addr", "Available ring"),
    u64("log_guest_addr", "Guest address of the used ring, for the log"),
  ],
});

/** One region of the front end's memory. */
export const vhost_user_region: Struct = struct("vhost_user_region", {
  summary: "A piece of the guest's memory; its file comes along as a descriptor",
  source: SOURCE,
  size: 32,
  fields: [
    u64("guest_phys_addr", "Where the guest, and so every descriptor, has it"),
    u64("memory_size", "Bytes"),
    u64("userspace_addr", "Where the front end's process, and so SET_VRING_ADDR, has it"),
    u64("mmap_offset", "Where it starts in the file"),
  ],
});

/** Payload of SET_MEM_TABLE. */
export const vhost_user_memory: Struct = struct("vhost_user_memory", {
  summary: "All of the guest's memory",
  source: SOURCE,
  fields: [
    u32("nregions", "How many regions follow"),
    u32("padding", "0"),
    array("regions", "rest", vhost_user_region),
  ],
});

/** Payload of ADD_MEM_REG and REM_MEM_REG. */
export const vhost_user_single_region: Struct = struct("vhost_user_single_region", {
  summary: "One region that comes or goes",
  source: SOURCE,
  size: 40,
  fields: [u64("padding", "0"), nested("region", vhost_user_region)],
});

/** Requests of the front end by name. Those that belong to other kinds of devices are left out. */
export const REQUESTS = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SEND_RARP: 19,
  NET_SET_MTU: 20,
  SET_BACKEND_REQ_FD: 21,
  IOTLB_MSG: 22,
  SET_VRING_ENDIAN: 23,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  POSTCOPY_ADVISE: 28,
  POSTCOPY_LISTEN: 29,
  POSTCOPY_END: 30,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  RESET_DEVICE: 34,
  VRING_KICK: 35,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
  GET_SHARED_OBJECT: 41,
  SET_DEVICE_STATE_FD: 42,
  CHECK_DEVICE_STATE: 43,
} as const satisfies Readonly<Record<string, number>>;

/** Name of a request. */
export type RequestName = keyof typeof REQUESTS;

/** Protocol features by name: bit numbers. */
export const PROTOCOL_FEATURES = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
  XEN_MMAP: 17,
  SHARED_OBJECT: 18,
  DEVICE_STATE: 19,
} as const satisfies Readonly<Record<string, number>>;

/** Name of a protocol feature. */
export type ProtocolFeature = keyof typeof PROTOCOL_FEATURES;

/** The mask of some protocol features. */
export function protocolMask(...names: readonly ProtocolFeature[]): bigint {
  return names.reduce((mask, name) => mask | (1n << BigInt(PROTOCOL_FEATURES[name])), 0n);
}

const NAMES = new Map<number, string>(Object.entries(REQUESTS).map(([name, number]) => [number, name]));

/** A request for a person to read. */
export function requestName(request: number): string {
  return NAMES.get(request) ?? `request ${request}`;
}
