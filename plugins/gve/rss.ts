/**
 * Receive side scaling in the device: which queue gets a frame, and what its descriptor says of it.
 *
 * @module
 */
import {
  flowHash,
  flowHashType,
  FlowParser,
  HASH_IPV4,
  HASH_IPV6,
  HASH_IPV6_EX,
  HASH_NONE,
  HASH_TCPV4,
  HASH_TCPV6,
  HASH_TCPV6_EX,
  HASH_UDPV4,
  HASH_UDPV6,
  HASH_UDPV6_EX,
  hashTypeBit,
  L3_IPV4,
  L3_IPV6,
  L4_TCP,
  L4_UDP,
} from "../../core/flow.ts";
import type { AddressSpace } from "../../core/address_space.ts";
import type { Frame } from "../../core/frame.ts";
import type { Values } from "../../core/layout.ts";
import { Memory } from "../../core/memory.ts";
import { MICROSOFT_RSS_KEY, ToeplitzKey } from "../../core/toeplitz.ts";
import { gve_rx_flags_seq } from "./layout_gqi.ts";
import { PACKET_TYPES, RSS_ALGORITHM, RSS_LUT_SIZE, STATUS } from "./constants.ts";
import { configure_rss } from "./layout_admin.ts";
import { gve_query_rss_descriptor, gve_rss_lut_entry } from "./layout_records.ts";

const { TOEPLITZ } = RSS_ALGORITHM;
/** Bytes of the key. */
export const RSS_KEY_SIZE = 40;
/** Headers that the device looks at: Ethernet, tags, IPv6 with extensions, TCP with options. */
const LOOKED_AT = 512;

const FRAG = gve_rx_flags_seq.maskOf("frag");
const IPV4 = gve_rx_flags_seq.maskOf("ipv4");
const IPV6 = gve_rx_flags_seq.maskOf("ipv6");
const TCP = gve_rx_flags_seq.maskOf("tcp");
const UDP = gve_rx_flags_seq.maskOf("udp");

/** The parser's hash types by the name of their bit in CONFIGURE_RSS. */
const TYPES: Readonly<Record<string, number>> = {
  IPV4: HASH_IPV4,
  TCPV4: HASH_TCPV4,
  IPV6: HASH_IPV6,
  IPV6_EX: HASH_IPV6_EX,
  TCPV6: HASH_TCPV6,
  TCPV6_EX: HASH_TCPV6_EX,
  UDPV4: HASH_UDPV4,
  UDPV6: HASH_UDPV6,
  UDPV6_EX: HASH_UDPV6_EX,
};
const BITS = configure_rss.field("hash_types").flags!;
/** All hash types that the device knows. */
const ALL_HASH_TYPES: number = Object.values(BITS).reduce((all, bit) => all | bit, 0);
/** What a device hashes until it is told: addresses, and TCP and UDP ports. */
const DEFAULT_TYPES = ALL_HASH_TYPES;

/** Number of the packet type of a frame: the map entry says what it means. */
function packetType(l3: number, l4: number): number {
  return l3 * 4 + l4;
}

/** The packet type map: `l3_type` and `l4_type` of each packet type. */
export function packetTypeMap(): Uint8Array {
  const map = new Uint8Array(PACKET_TYPES * 2);
  const l3Types = [[0, 0], [L3_IPV4, 2], [L3_IPV6, 3]] as const;
  const l4Types = [[0, 1], [L4_TCP, 2], [L4_UDP, 3], [3, 1]] as const;
  for (const [l3, l3Type] of l3Types.slice(1)) {
    for (const [l4, l4Type] of l4Types) map.set([l3Type, l4Type], packetType(l3, l4) * 2);
  }
  return map;
}

/** What the device knows of the frame it is delivering. */
export class FlowSteering {
  /** Toeplitz hash, or 0. */
  hash = 0;
  /** Flags for a GQI receive descriptor: IPV4 or IPV6 say that the hash holds. */
  gqiFlags = 0;
  /** Packet type for a DQO completion. */
  packetType = 0;
  /** Bytes of the headers through L4; 0 if it is neither TCP nor UDP, or was not looked at. */
  headerLength = 0;
  /** Key, as configured. */
  readonly key: Uint8Array = Uint8Array.from(MICROSOFT_RSS_KEY);
  /** Queue by the low bits of the hash. */
  readonly table: Uint32Array = new Uint32Array(RSS_LUT_SIZE);
  /** Bits of CONFIGURE_RSS. */
  hashTypes = DEFAULT_TYPES;
  #toeplitz = new ToeplitzKey(MICROSOFT_RSS_KEY);
  #mask = parserMask(DEFAULT_TYPES);
  readonly #flow = new FlowParser();
  readonly #head = new Memory(LOOKED_AT);

  /** Spreads over so many queues, with the default key. */
  reset(queues: number): void {
    this.setKey(MICROSOFT_RSS_KEY);
    this.setTypes(DEFAULT_TYPES);
    for (let i = 0; i < this.table.length; i++) this.table[i] = i % Math.max(queues, 1);
    this.forget();
  }

  /** Takes a new key. */
  setKey(key: ArrayLike<number>): void {
    this.key.set(key);
    this.#toeplitz = new ToeplitzKey(this.key);
  }

  /** Takes new hash types. */
  setTypes(types: number): void {
    this.hashTypes = types;
    this.#mask = parserMask(types);
  }

  /** Nothing is known of the frame. */
  forget(): void {
    this.hash = 0;
    this.gqiFlags = 0;
    this.packetType = 0;
    this.headerLength = 0;
  }

  /** Looks at a frame. Returns the queue it goes to. */
  steer(frame: Frame): number {
    const flow = this.#parse(frame);
    const type = flowHashType(flow, this.#mask);
    this.hash = flowHash(this.#toeplitz, flow, type);
    const l3 = flow.l3 === L3_IPV4 ? IPV4 : flow.l3 === L3_IPV6 ? IPV6 : 0;
    const l4 = flow.l4 === L4_TCP ? TCP : flow.l4 === L4_UDP ? UDP : 0;
    this.gqiFlags = type === HASH_NONE ? 0 : l3 | l4 | (flow.fragmented ? FRAG : 0);
    return this.table[this.hash & (RSS_LUT_SIZE - 1)]!;
  }

  #parse(frame: Frame): FlowParser {
    const flow = this.#flow;
    let start = 0;
    if (frame.lengths[0]! >= Math.min(frame.length, LOOKED_AT)) {
      start = frame.offsets[0]!;
      flow.parse(frame.bytes[0]!, start, frame.lengths[0]!);
    } else {
      const length = Math.min(frame.length, LOOKED_AT);
      frame.copyTo(this.#head, 0, 0, length);
      flow.parse(this.#head.bytes, 0, length);
    }
    const transport = !flow.fragmented && (flow.l4 === L4_TCP || flow.l4 === L4_UDP);
    this.headerLength = transport ? flow.payloadOffset - start : 0;
    this.packetType = flow.l3 === 0 ? 0 : packetType(flow.l3, flow.l4);
    return flow;
  }
}

/** Hash types as the parser names them. */
function parserMask(types: number): number {
  let mask = 0;
  for (const [name, bit] of Object.entries(BITS)) if (types & bit) mask |= hashTypeBit(TYPES[name]!);
  return mask;
}

/** Carries out CONFIGURE_RSS and QUERY_RSS. Each answers with a status. */
export class RssCommands {
  readonly #space: AddressSpace;
  readonly #steering: FlowSteering;
  readonly #queues: number;

  /** Changes and tells `steering`, whose table may name receive queues below `queues`. */
  constructor(space: AddressSpace, steering: FlowSteering, queues: number) {
    this.#space = space;
    this.#steering = steering;
    this.#queues = queues;
  }

  /** CONFIGURE_RSS: nothing changes unless all of it is right. */
  configure(values: Values): number {
    const keyAddress = Number(values["hash_key_addr"]);
    const tableAddress = Number(values["hash_lut_addr"]);
    const types = Number(values["hash_types"]);
    if (Number(values["hash_alg"]) > TOEPLITZ || (types & ~ALL_HASH_TYPES) !== 0) {
      return STATUS.INVALID_ARGUMENT;
    }
    const key = new Uint8Array(RSS_KEY_SIZE);
    const table = new Uint8Array(RSS_LUT_SIZE * gve_rss_lut_entry.size);
    if (keyAddress !== 0) {
      if (values["hash_key_size"] !== RSS_KEY_SIZE || !this.#space.read(keyAddress, key)) {
        return STATUS.INVALID_ARGUMENT;
      }
    }
    const view = new DataView(table.buffer);
    if (tableAddress !== 0) {
      if (values["hash_lut_size"] !== RSS_LUT_SIZE || !this.#space.read(tableAddress, table)) {
        return STATUS.INVALID_ARGUMENT;
      }
      for (let i = 0; i < RSS_LUT_SIZE; i++) {
        if (view.getUint32(i * gve_rss_lut_entry.size) >= this.#queues) return STATUS.OUT_OF_RANGE;
      }
    }
    const steering = this.#steering;
    if (keyAddress !== 0) steering.setKey(key);
    if (tableAddress !== 0) {
      steering.table.forEach((_, i, all) => all[i] = view.getUint32(i * gve_rss_lut_entry.size));
    }
    if (types !== 0) steering.setTypes(types);
    return STATUS.PASSED;
  }

  /** QUERY_RSS: writes what holds. */
  query(values: Values): number {
    const header = gve_query_rss_descriptor;
    const length = header.size + RSS_KEY_SIZE + RSS_LUT_SIZE * gve_rss_lut_entry.size;
    if (Number(values["available_length"]) < length) return STATUS.OUT_OF_RANGE;
    const bytes = new Uint8Array(length);
    const { hashTypes, key, table } = this.#steering;
    bytes.set(header.encode({ total_length: length, hash_types: hashTypes, hash_alg: TOEPLITZ }));
    bytes.set(key, header.size);
    const view = new DataView(bytes.buffer, header.size + RSS_KEY_SIZE);
    table.forEach((queue, i) => view.setUint32(i * gve_rss_lut_entry.size, queue));
    const written = this.#space.write(Number(values["rss_descriptor_addr"]), bytes);
    return written ? STATUS.PASSED : STATUS.INVALID_ARGUMENT;
  }
}
