/**
 * Packets of a transmit trace.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { TransmitRequest } from "../../plugins/gve/transmit_request.ts";

/** The rule by which the traces' payloads were made. */
const RULE = "byte i = (7*i + 13*k + (i>>8)) & 0xff";

interface Packet {
  readonly payload: { readonly gen: string; readonly k: number; readonly len: number };
  readonly linear_len: number;
  readonly linear_dma: string;
  readonly frags: readonly { readonly len: number; readonly dma: string }[];
  readonly l4_hash: boolean;
  readonly hash: number;
  readonly csum_partial: boolean;
  readonly csum_offset: number;
  readonly csum_start: number;
  readonly network_offset: number;
  readonly transport_offset: number;
  readonly tcp_header_len: number;
  readonly gso_size: number;
  readonly gso_v6: boolean;
}

const KEYS = [
  "payload",
  "linear_len",
  "linear_dma",
  "frags",
  "l4_hash",
  "hash",
  "csum_partial",
  "csum_offset",
  "csum_start",
  "network_offset",
  "transport_offset",
  "tcp_header_len",
  "gso_size",
  "gso_v6",
];

/** An address as the traces write it. */
export function addressOf(text: unknown): number {
  if (typeof text !== "string" || !/^0x[0-9a-f]+$/.test(text)) throw new TypeError(`The address is ${text}`);
  return Number(text);
}

/** Makes the request of a step's packet. */
export function requestOf(input: Readonly<Record<string, unknown>>): TransmitRequest {
  assertEquals(Object.keys(input).filter((key) => !KEYS.includes(key)), [], "Unknown parts of a packet");
  const packet = input as unknown as Packet;
  const { gen, k, len } = packet.payload;
  assertEquals(gen, RULE);
  const bytes = Uint8Array.from({ length: len }, (_, i) => (7 * i + 13 * k + (i >> 8)) & 0xff);
  const request = new TransmitRequest();
  request.push(bytes, 0, packet.linear_len, addressOf(packet.linear_dma));
  for (const frag of packet.frags) request.push(bytes, request.length, frag.len, addressOf(frag.dma));
  assertEquals(request.length, len, "The pieces of a packet add up");
  request.l4Hash = packet.l4_hash;
  request.hash = packet.hash;
  request.checksum = packet.csum_partial;
  request.checksumStart = packet.csum_start;
  request.checksumOffset = packet.csum_offset;
  request.segmentSize = packet.gso_size;
  request.segmentV6 = packet.gso_v6;
  request.networkOffset = packet.network_offset;
  request.transportOffset = packet.transport_offset;
  request.tcpHeaderLength = packet.tcp_header_len;
  return request;
}

/** Compares what came out, part by part; a part that is not known is an error. */
export function compare(
  wanted: Readonly<Record<string, unknown>>,
  got: Record<string, () => unknown>,
  step: string,
): void {
  for (const [name, value] of Object.entries(wanted)) {
    const part = got[name];
    if (!part) throw new TypeError(`${step}: "${name}" is not known`);
    assertEquals(part(), value, `${step}: ${name}`);
  }
}
