import { assertEquals } from "@std/assert";
import { concat } from "@std/bytes/concat";
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
  MICROSOFT_RSS_KEY,
  ToeplitzKey,
} from "../../mod.ts";
import { address, ethernet, extension, fragment, ipv4, ipv6, tcp, udp } from "./packets.ts";

const ALL = (1 << 9) - 1;
const key = new ToeplitzKey(MICROSOFT_RSS_KEY);
const flow = new FlowParser();

function parse(...parts: Uint8Array[]): FlowParser {
  const frame = concat([new Uint8Array(3), ...parts]);
  flow.parse(frame, 3, frame.length - 3);
  return flow;
}

function mask(...types: number[]): number {
  return types.reduce((sum, type) => sum | hashTypeBit(type), 0);
}

/** Microsoft, "Verifying the RSS Hash Calculation": destination and source with ports, hash of addresses, with ports. */
const PUBLISHED = [
  ["161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178],
  ["65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea],
  ["12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a],
  ["209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f],
  ["202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2],
  ["3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d],
  ["ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf],
  ["fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985, 0x02d1feef],
] as const;

Deno.test("flowHash gives the published hashes for TCP and UDP, over IPv4 and IPv6", () => {
  for (const [destination, destinationPort, source, sourcePort, addresses, withPorts] of PUBLISHED) {
    for (const [protocol, transport] of [[6, tcp], [17, udp]] as const) {
      const payload = transport(sourcePort, destinationPort);
      const six = source.includes(":");
      if (six) parse(ethernet(0x86dd), ipv6(protocol, payload, { source, destination }));
      else parse(ethernet(0x800, [0x8100, 9]), ipv4(protocol, payload, { source, destination }));
      const portsType = (six ? HASH_TCPV6 : HASH_TCPV4) + (protocol === 17 ? 1 : 0);
      const addressesType = six ? HASH_IPV6 : HASH_IPV4;
      assertEquals(flowHashType(flow, ALL), portsType);
      assertEquals(flowHash(key, flow, portsType), withPorts);
      assertEquals(flowHashType(flow, mask(addressesType)), addressesType);
      assertEquals(flowHash(key, flow, addressesType), addresses);
    }
  }
});

Deno.test("flowHashType takes addresses alone when the ports are not wanted or not there", () => {
  parse(ethernet(0x800), ipv4(6, tcp(1, 2)));
  assertEquals(flowHashType(flow, ALL), HASH_TCPV4);
  assertEquals(flowHashType(flow, mask(HASH_IPV4, HASH_UDPV4)), HASH_IPV4);
  assertEquals(flowHashType(flow, mask(HASH_UDPV4, HASH_IPV6, HASH_TCPV6)), HASH_NONE);
  parse(ethernet(0x800), ipv4(1, new Uint8Array(8)));
  assertEquals(flowHashType(flow, ALL), HASH_IPV4);
  assertEquals(flowHashType(flow, ALL & ~mask(HASH_IPV4)), HASH_NONE);
  parse(ethernet(0x806), new Uint8Array(46));
  assertEquals(flowHashType(flow, ALL), HASH_NONE);
  assertEquals(flowHash(key, flow, HASH_NONE), 0);
});

Deno.test("flowHashType keeps all fragments of a packet together", () => {
  for (const field of [0x2000, 0x2010, 0x0010]) {
    parse(ethernet(0x800), ipv4(17, udp(1, 2), { fragment: field }));
    assertEquals(flowHashType(flow, ALL), HASH_IPV4);
  }
  for (const offset of [0, 10]) {
    parse(ethernet(0x86dd), ipv6(44, concat([fragment(17, offset, true), udp(1, 2)])));
    assertEquals(flowHashType(flow, ALL), HASH_IPV6_EX);
    assertEquals(flowHashType(flow, mask(HASH_IPV6, HASH_UDPV6, HASH_UDPV6_EX)), HASH_IPV6);
  }
});

Deno.test("flowHashType prefers the _EX types for packets with extension headers only", () => {
  for (const [protocol, transport, type] of [[6, tcp, HASH_TCPV6], [17, udp, HASH_UDPV6]] as const) {
    const payload = transport(2794, 1766);
    parse(ethernet(0x86dd), ipv6(protocol, payload));
    assertEquals(flowHashType(flow, ALL), type);
    parse(ethernet(0x86dd), ipv6(0, concat([extension(protocol, new Uint8Array(6)), payload])));
    assertEquals(flowHashType(flow, ALL), type + 3);
    assertEquals(flowHashType(flow, mask(HASH_IPV6_EX, type)), HASH_IPV6_EX);
    assertEquals(flowHashType(flow, mask(HASH_IPV6, type)), type);
    // Without addresses in the extension headers the hash is the same.
    assertEquals(flowHash(key, flow, type + 3), flowHash(key, flow, type));
  }
});

Deno.test("flowHash of the _EX types covers the addresses that a mobile node's headers name", () => {
  const [destination, destinationPort, source, sourcePort, addresses, withPorts] = PUBLISHED[5];
  const routing = concat([new Uint8Array([2, 1, 0, 0, 0, 0]), address(destination)]);
  const home = concat([new Uint8Array([1, 2, 0, 0, 0xc9, 16]), address(source)]);
  const transport = tcp(sourcePort, destinationPort);
  parse(ethernet(0x86dd), ipv6(43, concat([extension(60, routing), extension(6, home), transport])));
  assertEquals(flowHashType(flow, ALL), HASH_TCPV6_EX);
  assertEquals(flowHash(key, flow, HASH_TCPV6_EX), withPorts);
  assertEquals(flowHash(key, flow, HASH_IPV6_EX), addresses);
});

Deno.test("hashTypeBit numbers the types in the order of virtio's hash types", () => {
  assertEquals([HASH_NONE, HASH_IPV4, HASH_TCPV4, HASH_UDPV4, HASH_IPV6].map(hashTypeBit), [0, 1, 2, 4, 8]);
  assertEquals([HASH_TCPV6, HASH_UDPV6, HASH_IPV6_EX, HASH_TCPV6_EX, HASH_UDPV6_EX].map(hashTypeBit), [
    16,
    32,
    64,
    128,
    256,
  ]);
});
