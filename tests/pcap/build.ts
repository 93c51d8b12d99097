/**
 * Captures made from their description.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";
import { gzipSync } from "node:zlib";

export type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes in the byte order of one writer. */
export class Order {
  readonly little: boolean;

  constructor(little: boolean) {
    this.little = little;
  }

  u16(...values: readonly number[]): Bytes {
    const view = new DataView(new ArrayBuffer(2 * values.length));
    values.forEach((value, i) => view.setUint16(2 * i, value, this.little));
    return new Uint8Array(view.buffer);
  }

  u32(...values: readonly number[]): Bytes {
    const view = new DataView(new ArrayBuffer(4 * values.length));
    values.forEach((value, i) => view.setUint32(4 * i, value, this.little));
    return new Uint8Array(view.buffer);
  }

  u64(value: bigint): Bytes {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt.asUintN(64, value), this.little);
    return new Uint8Array(view.buffer);
  }
}

export const LE = new Order(true);
export const BE = new Order(false);
export const NO_BYTES = new Uint8Array(0);
export const SECONDS = 1700000000;

/** A frame that is easy to recognise. */
export function frame(length: number): Bytes {
  const head = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x52, 0x54, 0x00, 0xab, 0xcd, 0xef, 0x08, 0x00];
  return Uint8Array.from({ length }, (_, i) => head[i] ?? (i * 7) & 0xff);
}

export const THREE = [frame(60), frame(100), frame(1514)];
export const TWO = [frame(60), frame(100)];
export const ONE = [frame(60)];

export interface Header {
  readonly order?: Order;
  readonly magic?: number;
  readonly version?: readonly [number, number];
  readonly old?: readonly [number, number];
  readonly snaplen?: number;
  readonly link?: number;
}

export function header(options: Header = {}): Bytes {
  const { order = LE, magic = 0xa1b2c3d4, version = [2, 4], old = [0, 0], snaplen = 262144, link = 1 } =
    options;
  return concat([order.u32(magic), order.u16(...version), order.u32(...old, snaplen, link)]);
}

export interface Rec {
  readonly seconds?: number;
  readonly fraction?: number;
  readonly captured?: number;
  readonly length?: number;
  readonly interchanged?: boolean;
  readonly extra?: Bytes;
  readonly order?: Order;
}

export function record(data: Uint8Array, options: Rec = {}): Bytes {
  const { seconds = SECONDS, fraction = 123456, captured = data.length, length = data.length } = options;
  const { interchanged = false, extra = NO_BYTES, order = LE } = options;
  const lengths = interchanged ? [length, captured] : [captured, length];
  return concat([order.u32(seconds, fraction, ...lengths), extra, data]);
}

export function classic(head: Header, frames: readonly Uint8Array[], options: Rec = {}): Bytes {
  const order = head.order ?? LE;
  return concat([header(head), ...frames.map((data) => record(data, { order, ...options }))]);
}

export function padded(data: Uint8Array): Bytes {
  return concat([data, new Uint8Array(-data.length & 3)]);
}

export function option(order: Order, code: number, value: Uint8Array, length = value.length): Bytes {
  return concat([order.u16(code, length), padded(value)]);
}

export function block(order: Order, type: number, body: Uint8Array, total?: number, trailer?: number): Bytes {
  const size = total ?? body.length + 12;
  return concat([order.u32(type, size), body, order.u32(trailer ?? size)]);
}

export interface Section {
  readonly order?: Order;
  readonly version?: readonly [number, number];
  readonly length?: bigint;
  readonly magic?: number;
  readonly total?: number;
}

export function shb(options: Section = {}): Bytes {
  const { order = LE, version = [1, 0], length = -1n, magic = 0x1a2b3c4d, total } = options;
  return block(
    order,
    0x0a0d0d0a,
    concat([order.u32(magic), order.u16(...version), order.u64(length)]),
    total,
  );
}

export interface Interface {
  readonly order?: Order;
  readonly link?: number;
  readonly reserved?: number;
  readonly snaplen?: number;
  readonly options?: readonly Uint8Array[];
}

export function idb(given: Interface = {}): Bytes {
  const { order = LE, link = 1, reserved = 0, snaplen = 262144, options = [] } = given;
  return block(order, 1, concat([order.u16(link, reserved), order.u32(snaplen), ...options]));
}

/** An interface with one `if_tsresol`. */
export function resolution(value: number): Bytes {
  return idb({ options: [option(LE, 9, Uint8Array.of(value)), LE.u32(0)] });
}

export interface Packet {
  readonly order?: Order;
  readonly id?: number;
  readonly time?: bigint;
  readonly captured?: number;
  readonly length?: number;
  readonly options?: readonly Uint8Array[];
  readonly total?: number;
  readonly trailer?: number;
}

export function epb(data: Uint8Array, given: Packet = {}): Bytes {
  const { order = LE, id = 0, time = BigInt(SECONDS) * 1000000n + 123456n, total, trailer } = given;
  const { captured = data.length, length = data.length, options = [] } = given;
  const times = [Number(time >> 32n), Number(time & 0xffffffffn)];
  const body = concat([order.u32(id, ...times, captured, length), padded(data), ...options]);
  return block(order, 6, body, total, trailer);
}

export function pb(data: Uint8Array): Bytes {
  const time = BigInt(SECONDS) * 1000000n;
  const times = [Number(time >> 32n), Number(time & 0xffffffffn)];
  return block(LE, 2, concat([LE.u16(0, 0xffff), LE.u32(...times, data.length, data.length), padded(data)]));
}

export function spb(data: Uint8Array, length = data.length): Bytes {
  return block(LE, 3, concat([LE.u32(length), padded(data)]));
}

export const text = (value: string) => new TextEncoder().encode(value);
export const START = [shb(), idb()];

export function ng(...blocks: readonly Uint8Array[]): Bytes {
  return concat(blocks);
}

export function gzipped(bytes: Uint8Array): Bytes {
  return new Uint8Array(gzipSync(bytes));
}
