/**
 * Messages of the vhost-user protocol as bytes: where one ends, and whether it is well formed.
 *
 * Nothing here reads, maps or closes: what was said is told apart from what is done about it.
 *
 * @module
 */
import {
  type RequestName,
  requestName,
  REQUESTS,
  VHOST_MEMORY_BASELINE_NREGIONS,
  vhost_user_header,
  vhost_user_memory,
  vhost_user_region,
  vhost_user_single_region,
  vhost_user_u64,
  VHOST_USER_VERSION,
  vhost_user_vring_fd,
  vhost_vring_addr,
  vhost_vring_state,
} from "./layout.ts";

/** Bytes of a header. */
export const HEADER_SIZE: number = vhost_user_header.size;
const HEADER_REQUEST = vhost_user_header.offsetOf("request");
const HEADER_FLAGS = vhost_user_header.offsetOf("version");
const HEADER_LENGTH = vhost_user_header.offsetOf("size");
const VERSION_MASK = vhost_user_header.maskOf("version");
const REPLY = vhost_user_header.maskOf("reply");
const NEED_REPLY = vhost_user_header.maskOf("need_reply");
const FD_NOFD = vhost_user_vring_fd.field("nofd");
const NREGIONS = vhost_user_memory.offsetOf("nregions");

/** The front end broke the protocol: its connection ends. */
export class ProtocolError extends Error {
  /** Always `"ProtocolError"`. */
  override readonly name = "ProtocolError";
}

/** A well-formed request that cannot be granted: the front end hears of it, if it asked to. */
export class RequestError extends Error {
  /** Always `"RequestError"`. */
  override readonly name = "RequestError";
}

/** One message. */
export interface Message {
  /** The request number. */
  readonly request: number;
  /** Whether the sender wants to hear how it went. */
  readonly needReply: boolean;
  /** What follows the header. */
  readonly payload: Uint8Array;
  /** Descriptors that came along. Who takes one removes it from here; the rest is closed. */
  readonly fds: number[];
}

/** What a request looks like. */
interface Form {
  /** Bytes of payload, or the sizes allowed. */
  readonly size: number;
  /** Bytes per element of a list behind that. */
  readonly stride?: number;
  /** Longest such list. */
  readonly most?: number;
  /** How many descriptors come along at least and at most. */
  readonly fds?: readonly [number, number];
}

const EMPTY: Form = { size: 0 };
const NUMBER: Form = { size: vhost_user_u64.size };
const RING_NUMBER: Form = { size: vhost_vring_state.size };
const RING_FD: Form = { size: vhost_user_vring_fd.size, fds: [0, 1] };

/** Requests that are understood. All others are refused with {@linkcode RequestError}. */
const FORMS: Partial<Record<RequestName, Form>> = {
  GET_FEATURES: EMPTY,
  SET_FEATURES: NUMBER,
  SET_OWNER: EMPTY,
  RESET_OWNER: EMPTY,
  SET_MEM_TABLE: {
    size: vhost_user_memory.size,
    stride: vhost_user_region.size,
    most: VHOST_MEMORY_BASELINE_NREGIONS,
    fds: [0, VHOST_MEMORY_BASELINE_NREGIONS],
  },
  SET_VRING_NUM: RING_NUMBER,
  SET_VRING_ADDR: { size: vhost_vring_addr.size },
  SET_VRING_BASE: RING_NUMBER,
  GET_VRING_BASE: RING_NUMBER,
  SET_VRING_KICK: RING_FD,
  SET_VRING_CALL: RING_FD,
  SET_VRING_ERR: RING_FD,
  GET_PROTOCOL_FEATURES: EMPTY,
  SET_PROTOCOL_FEATURES: NUMBER,
  GET_QUEUE_NUM: EMPTY,
  SET_VRING_ENABLE: RING_NUMBER,
  RESET_DEVICE: EMPTY,
  GET_MAX_MEM_SLOTS: EMPTY,
  ADD_MEM_REG: { size: vhost_user_single_region.size, fds: [1, 1] },
  // Front ends before QEMU 7 sent the region's file again, to no purpose.
  REM_MEM_REG: { size: vhost_user_single_region.size, fds: [0, 1] },
  SET_STATUS: NUMBER,
  GET_STATUS: EMPTY,
};

const FORM_BY_NUMBER = new Map<number, Form>(
  Object.entries(FORMS).map(([name, form]) => [REQUESTS[name as RequestName], form]),
);

/** Longest payload that is waited for: the largest that any request may have. */
export const MAX_PAYLOAD: number = Math.max(
  ...[...FORM_BY_NUMBER.values()].map((form) => form.size + (form.stride ?? 0) * (form.most ?? 0)),
);

/** Most descriptors that any request may have. */
export const MAX_FDS: number = Math.max(...[...FORM_BY_NUMBER.values()].map((form) => form.fds?.[1] ?? 0));

/** A header as read. */
export interface Header {
  /** The request number. */
  readonly request: number;
  /** Whether the sender wants to hear how it went. */
  readonly needReply: boolean;
  /** Bytes of payload. */
  readonly size: number;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * Reads a header, and checks all that can be known before the payload is there.
 *
 * @throws {ProtocolError} If the version, the direction or the size is wrong.
 */
export function parseHeader(bytes: Uint8Array): Header {
  const view = viewOf(bytes);
  const request = view.getUint32(HEADER_REQUEST, true);
  const flags = view.getUint32(HEADER_FLAGS, true);
  const size = view.getUint32(HEADER_LENGTH, true);
  const name = requestName(request);
  if ((flags & VERSION_MASK) !== VHOST_USER_VERSION) {
    throw new ProtocolError(`${name} has protocol version ${flags & VERSION_MASK} instead of 1`);
  }
  if (flags & REPLY) throw new ProtocolError(`${name} is marked as a reply`);
  const form = FORM_BY_NUMBER.get(request);
  const fits = form
    ? size === form.size ||
      (form.stride !== undefined && size > form.size && size <= form.size + form.stride * form.most! &&
        (size - form.size) % form.stride === 0)
    // What is not understood is read over, and then refused.
    : size <= MAX_PAYLOAD;
  if (!fits) throw new ProtocolError(`${name} has a payload of ${size} bytes`);
  return { request, needReply: (flags & NEED_REPLY) !== 0, size };
}

/**
 * Checks a whole message: the number of descriptors, and what the payload says about itself.
 *
 * @throws {ProtocolError} If it is malformed.
 * @throws {RequestError} If the request is not one that is understood.
 */
export function checkMessage(message: Message): void {
  const { request, payload, fds } = message;
  const name = requestName(request);
  const form = FORM_BY_NUMBER.get(request);
  if (!form) throw new RequestError(`${name} is not supported`);
  let [least, most] = form.fds ?? [0, 0];
  const view = viewOf(payload);
  if (form === RING_FD) {
    least = most = ringFdOf(payload).nofd ? 0 : 1;
  } else if (form.stride) {
    const count = view.getUint32(NREGIONS, true);
    const listed = (payload.length - form.size) / form.stride;
    if (count !== listed) throw new ProtocolError(`${name} announces ${count} regions and has ${listed}`);
    least = most = count;
  }
  if (fds.length < least || fds.length > most) {
    const wanted = least === most ? `${least}` : `${least} to ${most}`;
    throw new ProtocolError(`${name} came with ${fds.length} descriptors instead of ${wanted}`);
  }
}

/** A reply as bytes. */
export function reply(request: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const header = vhost_user_header.encode({
    request,
    version: VHOST_USER_VERSION,
    reply: 1,
    size: payload.length,
  });
  const bytes = new Uint8Array(header.length + payload.length);
  bytes.set(header);
  bytes.set(payload, header.length);
  return bytes;
}

/** The number in a payload. */
export function numberOf(payload: Uint8Array): bigint {
  return viewOf(payload).getBigUint64(0, true);
}

/** A number as payload. */
export function numberPayload(value: bigint): Uint8Array<ArrayBuffer> {
  return vhost_user_u64.encode({ value });
}

const STATE_INDEX = vhost_vring_state.offsetOf("index");
const STATE_NUM = vhost_vring_state.offsetOf("num");

/** Ring and number in a payload. */
export function ringNumberOf(payload: Uint8Array): { readonly index: number; readonly num: number } {
  const view = viewOf(payload);
  return { index: view.getUint32(STATE_INDEX, true), num: view.getUint32(STATE_NUM, true) };
}

/** Ring of a payload of SET_VRING_KICK, CALL or ERR, and whether no descriptor comes along. */
export function ringFdOf(payload: Uint8Array): { readonly index: number; readonly nofd: boolean } {
  const low = viewOf(payload).getUint32(FD_NOFD.offset, true);
  return {
    index: low & vhost_user_vring_fd.maskOf("index"),
    nofd: (low & vhost_user_vring_fd.maskOf("nofd")) !== 0,
  };
}

/** An address or size as a number; whatever lies above 2^53 becomes `Infinity`, which fits nowhere. */
function place(view: DataView, offset: number): number {
  const value = view.getBigUint64(offset, true);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Infinity;
}

/** A ring's parts as SET_VRING_ADDR gives them: addresses of the front end's process. */
export interface RingPlaces {
  /** Ring. */
  readonly index: number;
  /** Descriptor table. */
  readonly desc: number;
  /** Available ring. */
  readonly driver: number;
  /** Used ring. */
  readonly device: number;
}

/** The payload of SET_VRING_ADDR. */
export function ringPlacesOf(payload: Uint8Array): RingPlaces {
  const view = viewOf(payload);
  return {
    index: view.getUint32(vhost_vring_addr.offsetOf("index"), true),
    desc: place(view, vhost_vring_addr.offsetOf("desc_user_addr")),
    driver: place(view, vhost_vring_addr.offsetOf("avail_user_addr")),
    device: place(view, vhost_vring_addr.offsetOf("used_user_addr")),
  };
}

/** A piece of the front end's memory, as it describes it. */
export interface RegionPlace {
  /** First guest-physical address. */
  readonly guest: number;
  /** First address in the front end's process. */
  readonly user: number;
  /** Bytes. */
  readonly size: number;
  /** Where it starts in its file. */
  readonly offset: number;
}

function regionAt(payload: Uint8Array, offset: number): RegionPlace {
  const view = viewOf(payload);
  return {
    guest: place(view, offset + vhost_user_region.offsetOf("guest_phys_addr")),
    user: place(view, offset + vhost_user_region.offsetOf("userspace_addr")),
    size: place(view, offset + vhost_user_region.offsetOf("memory_size")),
    offset: place(view, offset + vhost_user_region.offsetOf("mmap_offset")),
  };
}

/** The regions of a SET_MEM_TABLE payload. */
export function regionsOf(payload: Uint8Array): RegionPlace[] {
  const count = (payload.length - vhost_user_memory.size) / vhost_user_memory.stride;
  return Array.from(
    { length: count },
    (_, i) => regionAt(payload, vhost_user_memory.size + i * vhost_user_memory.stride),
  );
}

/** The region of an ADD_MEM_REG or REM_MEM_REG payload. */
export function singleRegionOf(payload: Uint8Array): RegionPlace {
  return regionAt(payload, vhost_user_single_region.offsetOf("region.guest_phys_addr"));
}
