/**
 * Builds the packets that flow tests look at.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";

/** 16-bit numbers in network order. */
export function be16(...values: number[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(values.flatMap((value) => [value >>> 8, value & 0xff]));
}

/** An Ethernet header with the given tags, each a type and a tag value. */
export function ethernet(
  type: number,
  ...tags: readonly (readonly [number, number])[]
): Uint8Array<ArrayBuffer> {
  return concat([
    Uint8Array.fromHex("5254001234565254abcdef01"),
    ...tags.map(([tagType, tag]) => be16(tagType, tag)),
    be16(type),
  ]);
}

/** The bytes of `1.2.3.4` or of an IPv6 address with at most one `::`. */
export function address(text: string): Uint8Array<ArrayBuffer> {
  if (!text.includes(":")) return new Uint8Array(text.split(".").map(Number));
  const [head, tail] = text.split("::").map((part) =>
    part.split(":").filter(Boolean).map((word) => parseInt(word, 16))
  );
  if (tail === undefined) return be16(...head!);
  return be16(...head!, ...new Array(8 - head!.length - tail.length).fill(0), ...tail);
}

/** Fields of an IPv4 header that are not always the same. */
export interface Ipv4Fields {
  readonly source?: string;
  readonly destination?: string;
  /** Flags and fragment offset. */
  readonly fragment?: number;
  /** Bytes of options, a multiple of 4. */
  readonly options?: Uint8Array;
  /** Total length, if it is not the true one. */
  readonly length?: number;
}

/** An IPv4 packet. */
export function ipv4(
  protocol: number,
  payload: Uint8Array,
  fields: Ipv4Fields = {},
): Uint8Array<ArrayBuffer> {
  const { source = "10.0.0.1", destination = "10.0.0.2", fragment = 0, options = new Uint8Array(0) } = fields;
  const header = 20 + options.length;
  return concat([
    new Uint8Array([0x40 | (header / 4), 0]),
    be16(fields.length ?? header + payload.length, 0x1234, fragment),
    new Uint8Array([64, protocol, 0, 0]),
    address(source),
    address(destination),
    options,
    payload,
  ]);
}

/** Fields of an IPv6 header that are not always the same. */
export interface Ipv6Fields {
  readonly source?: string;
  readonly destination?: string;
  /** Payload length, if it is not the true one. */
  readonly length?: number;
}

/** An IPv6 packet. */
export function ipv6(next: number, payload: Uint8Array, fields: Ipv6Fields = {}): Uint8Array<ArrayBuffer> {
  const { source = "2001:db8::1", destination = "2001:db8::2" } = fields;
  return concat([
    be16(0x6000, 0, fields.length ?? payload.length),
    new Uint8Array([next, 64]),
    address(source),
    address(destination),
    payload,
  ]);
}

/** An IPv6 extension header whose content is padded with zeros to a multiple of 8 bytes. */
export function extension(next: number, content: Uint8Array): Uint8Array<ArrayBuffer> {
  const units = Math.ceil((content.length + 2) / 8);
  const header = new Uint8Array(units * 8);
  header[0] = next;
  header[1] = units - 1;
  header.set(content, 2);
  return header;
}

/** An IPv6 fragment header. */
export function fragment(next: number, offset: number, more: boolean): Uint8Array<ArrayBuffer> {
  return concat([new Uint8Array([next, 0]), be16((offset << 3) | (more ? 1 : 0), 0, 77)]);
}

/** A TCP segment. */
export function tcp(
  source: number,
  destination: number,
  payload = new Uint8Array(0),
  options = 0,
): Uint8Array<ArrayBuffer> {
  return concat([
    be16(source, destination, 0, 1, 0, 2),
    new Uint8Array([(5 + options / 4) << 4, 0x18]),
    be16(1000, 0, 0),
    new Uint8Array(options).fill(1),
    payload,
  ]);
}

/** A UDP datagram. */
export function udp(
  source: number,
  destination: number,
  payload = new Uint8Array(0),
): Uint8Array<ArrayBuffer> {
  return concat([be16(source, destination, 8 + payload.length, 0), payload]);
}
