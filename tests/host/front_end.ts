/**
 * A vhost-user front end and a driver as small as can be, written from the specifications and not with our own driver.
 *
 * @module
 */
import type { Memory } from "../../core/memory.ts";
import { closeDescriptor } from "../../host/libc.ts";
import { makeMemoryFile, MappedFile } from "../../host/mapped_file.ts";
import { EventFd } from "../../host/event_fd.ts";
import { UnixSocket, WOULD_BLOCK } from "../../host/unix_socket.ts";

/** Request numbers as the protocol's documentation lists them. */
export const ASK = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
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
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;

/** Guest-physical address and user address of the driver's memory: unlike each other, to tell them apart. */
export const GUEST = 0x4000_0000;
/** See {@linkcode GUEST}. */
export const USER = 0x7f00_0000_0000;
/** Bytes of memory. */
export const SIZE = 0x40000;
const RING_SPAN = 0x4000;
const BUFFERS = 0x20000;
const BUFFER_SIZE = 2048;
const AVAIL = 0x1000;
const USED = 0x2000;
const NET_HEADER = 12;

/** Bytes of 32- and 64-bit numbers, little endian; a `bigint` takes 8. */
export function numbers(...values: readonly (number | bigint)[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(
    values.reduce<number>((n, value) => n + (typeof value === "bigint" ? 8 : 4), 0),
  );
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const value of values) {
    if (typeof value === "bigint") view.setBigUint64(at, value, true);
    else view.setUint32(at, value, true);
    at += typeof value === "bigint" ? 8 : 4;
  }
  return bytes;
}

/** A message as bytes. */
export function message(request: number, payload: Uint8Array, flags = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + payload.length);
  bytes.set(numbers(request, flags, payload.length));
  bytes.set(payload, 12);
  return bytes;
}

const PATIENCE_MS = 20_000;

/** Waits until something is so. */
export async function until(condition: () => boolean, what = "nothing happened"): Promise<void> {
  const limit = performance.now() + PATIENCE_MS;
  while (!condition()) {
    if (performance.now() > limit) throw new Error(`Waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** One ring as the driver keeps it. */
export interface DriverRing {
  avail: number;
  used: number;
  readonly kick: EventFd;
  readonly call: EventFd;
  readonly error: EventFd;
}

/** Speaks to a back end, and drives two rings of 16 entries. */
export class FrontEnd implements Disposable {
  readonly socket: UnixSocket;
  readonly rings: DriverRing[] = [];
  readonly memoryFile: number = makeMemoryFile(SIZE);
  readonly mapping: MappedFile = new MappedFile(this.memoryFile, 0, SIZE);
  readonly memory: Memory = this.mapping.part().memory;
  /** Guest-physical address under which buffers are named in descriptors. */
  guest = GUEST;

  /** Connects, or takes over a connection. */
  constructor(to: string | UnixSocket) {
    this.socket = typeof to === "string" ? UnixSocket.connect(to)! : to;
  }

  /** Sends a request. */
  send(
    request: number,
    payload: Uint8Array = new Uint8Array(),
    fds: readonly number[] = [],
    flags = 1,
  ): void {
    this.socket.send(message(request, payload, flags), fds);
  }

  /** Sends a request and waits for the answer: its payload, or `undefined` if the back end has hung up. */
  async ask(
    request: number,
    payload: Uint8Array = new Uint8Array(),
    fds: readonly number[] = [],
    flags = 1,
  ): Promise<DataView | undefined> {
    this.send(request, payload, fds, flags);
    return await this.answer();
  }

  /** Waits for an answer. */
  async answer(): Promise<DataView | undefined> {
    const bytes = new Uint8Array(64);
    let got = WOULD_BLOCK;
    await until(() => {
      try {
        got = this.socket.receive(bytes, 0, bytes.length, []);
      } catch {
        got = 0;
      }
      return got !== WOULD_BLOCK;
    }, "no answer");
    return got === 0 ? undefined : new DataView(bytes.buffer, 12, got - 12);
  }

  /** Waits until the back end has hung up. */
  async gone(): Promise<void> {
    while (await this.answer());
  }

  /** The table of one region. */
  table(size = SIZE, offset = 0): Uint8Array<ArrayBuffer> {
    return numbers(1, 0, BigInt(GUEST), BigInt(size), BigInt(USER), BigInt(offset));
  }

  /** Negotiates and starts both rings, disabled if `protocol` is negotiated. */
  setUp(features: bigint, protocol = 0n): void {
    this.send(ASK.SET_OWNER);
    if (protocol) this.send(ASK.SET_PROTOCOL_FEATURES, numbers(protocol));
    this.send(ASK.SET_FEATURES, numbers(features));
    this.send(ASK.SET_MEM_TABLE, this.table(), [this.memoryFile]);
    for (let index = 0; index < 2; index++) this.startRing(index);
  }

  /** Starts a ring. */
  startRing(index: number, base = 0): void {
    const ring = this.rings[index] ??= {
      avail: base,
      used: base,
      kick: new EventFd(),
      call: new EventFd(),
      error: new EventFd(),
    };
    this.send(ASK.SET_VRING_NUM, numbers(index, 16));
    this.send(ASK.SET_VRING_BASE, numbers(index, base));
    this.send(ASK.SET_VRING_ADDR, this.places(index));
    this.send(ASK.SET_VRING_CALL, numbers(BigInt(index)), [ring.call.fd]);
    this.send(ASK.SET_VRING_ERR, numbers(BigInt(index)), [ring.error.fd]);
    this.send(ASK.SET_VRING_KICK, numbers(BigInt(index)), [ring.kick.fd]);
  }

  /** The payload of SET_VRING_ADDR. */
  places(index: number, user = USER): Uint8Array<ArrayBuffer> {
    const at = user + index * RING_SPAN;
    return numbers(index, 0, BigInt(at), BigInt(at + USED), BigInt(at + AVAIL), 0n);
  }

  #buffer(index: number, slot: number): number {
    return BUFFERS + (index * 16 + slot) * BUFFER_SIZE;
  }

  /** Makes a buffer available and kicks. */
  put(index: number, length: number, flags: number): void {
    const ring = this.rings[index]!;
    const slot = ring.avail % 16;
    const { view } = this.memory;
    const start = index * RING_SPAN;
    view.setBigUint64(start + slot * 16, BigInt(this.guest + this.#buffer(index, slot)), true);
    view.setUint32(start + slot * 16 + 8, length, true);
    view.setUint16(start + slot * 16 + 12, flags, true);
    view.setUint16(start + AVAIL + 4 + slot * 2, slot, true);
    ring.avail = (ring.avail + 1) & 0xffff;
    view.setUint16(start + AVAIL + 2, ring.avail, true);
    ring.kick.signal();
  }

  /** Sends a frame behind a net header, all zeros if not given. */
  transmit(frame: Uint8Array, header: readonly number[] = []): void {
    const at = this.#buffer(1, this.rings[1]!.avail % 16);
    this.memory.bytes.fill(0, at, at + NET_HEADER);
    this.memory.bytes.set(header, at);
    this.memory.bytes.set(frame, at + NET_HEADER);
    this.put(1, NET_HEADER + frame.length, 0);
  }

  /** Offers a receive buffer. */
  post(): void {
    this.put(0, BUFFER_SIZE, 2);
  }

  /** How many entries the device has used of a ring. */
  used(index: number): number {
    return this.memory.view.getUint16(index * RING_SPAN + USED + 2, true);
  }

  /** The frame that the next used receive buffer holds. */
  take(): Uint8Array {
    const ring = this.rings[0]!;
    const { view, bytes } = this.memory;
    const element = USED + 4 + (ring.used % 16) * 8;
    ring.used = (ring.used + 1) & 0xffff;
    const at = this.#buffer(0, view.getUint32(element, true));
    return bytes.slice(at + NET_HEADER, at + view.getUint32(element + 4, true));
  }

  /** Writes a word of a ring: its descriptor table, or at `offset` behind its start. */
  poke(index: number, offset: number, value: number): void {
    this.memory.view.setUint16(index * RING_SPAN + offset, value, true);
  }

  [Symbol.dispose](): void {
    this.socket.close();
    this.mapping.close();
    closeDescriptor(this.memoryFile);
    for (const { kick, call, error } of this.rings) {
      kick.close();
      call.close();
      error.close();
    }
  }
}

/** Offset of the available ring's index behind a ring's start, for {@linkcode FrontEnd.poke}. */
export const AVAIL_INDEX = AVAIL + 2;
