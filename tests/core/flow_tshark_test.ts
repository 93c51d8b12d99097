import { assertEquals } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { FlowParser, L3_IPV4, L3_NONE, L4_TCP, L4_UDP } from "../../mod.ts";
import { needPeers } from "../peers.ts";
import { Random } from "../random.ts";
import { ethernet, extension, fragment, ipv4, ipv6, tcp, udp } from "./packets.ts";

const COUNT = 400;

/** What both sides are asked; tshark gives the first occurrence of each. */
const FIELDS = [
  "ip.src",
  "ip.dst",
  "ipv6.src",
  "ipv6.dst",
  "tcp.srcport",
  "tcp.dstport",
  "udp.srcport",
  "udp.dstport",
  "tcp.hdr_len",
];

function randomAddress(random: Random, six: boolean): string {
  if (!six) return `10.${random.below(256)}.${random.below(256)}.${random.between(1, 254)}`;
  return `2001:db8:${random.between(1, 0xffff).toString(16)}::${random.between(1, 0xffff).toString(16)}`;
}

function randomTransport(random: Random): [number, Uint8Array] {
  // Ports that no protocol is known by, so that tshark takes the payload for data.
  const ports = [random.between(61000, 61999), random.between(61000, 61999)] as const;
  const payload = new Uint8Array(random.below(60));
  switch (random.below(4)) {
    case 0:
      return [17, udp(...ports, payload)];
    case 1:
      return [253, new Uint8Array(random.below(40))];
    default:
      return [6, tcp(...ports, payload, 4 * random.below(4))];
  }
}

function randomFrame(random: Random): Uint8Array {
  const [protocol, transport] = randomTransport(random);
  const tags = Array.from(
    { length: random.below(3) },
    () => [random.pick([0x8100, 0x88a8]), random.between(1, 4094)] as const,
  );
  const addresses = (six: boolean) => ({
    source: randomAddress(random, six),
    destination: randomAddress(random, six),
  });
  if (random.chance(0.1)) return concat([ethernet(0x88b5, ...tags), new Uint8Array(50)]);
  if (random.chance(0.5)) {
    const options = new Uint8Array(4 * random.below(4)).fill(1);
    const field = random.pick([0, 0, 0x4000, 0x2000, 0x2005, 0x0005]);
    const packet = ipv4(protocol, transport, { ...addresses(false), options, fragment: field });
    return concat([ethernet(0x800, ...tags), packet, new Uint8Array(random.below(10))]);
  }
  let [next, packet] = [protocol, transport];
  for (let count = random.below(4); count > 0; count--) {
    const kind = random.pick([0, 60, 44]);
    packet = kind === 44
      ? concat([fragment(next, random.chance(0.3) ? 3 : 0, random.chance(0.3)), packet])
      : concat([extension(next, new Uint8Array(6 + 8 * random.below(3))), packet]);
    next = kind;
    // A hop-by-hop header is the first, and there is one fragment header at most.
    if (kind !== 60) break;
  }
  return concat([
    ethernet(0x86dd, ...tags),
    ipv6(next, packet, addresses(true)),
    new Uint8Array(random.below(10)),
  ]);
}

/** A capture file of the frames. */
function capture(frames: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const header = new Uint32Array([0xa1b2c3d4, 0x00040002, 0, 0, 262144, 1]);
  return concat([
    new Uint8Array(header.buffer),
    ...frames.flatMap((frame, i) => [
      new Uint8Array(new Uint32Array([i, 0, frame.length, frame.length]).buffer),
      frame,
    ]),
  ]);
}

/** An address as tshark writes it. */
function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const words = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  return new URL(`http://[${words.join(":")}]/`).hostname.slice(1, -1);
}

function describe(flow: FlowParser): string {
  const answers: Record<string, string> = {};
  const { bytes, sourceOffset, destinationOffset, l4Offset } = flow;
  if (flow.l3 !== L3_NONE) {
    const [name, size] = flow.l3 === L3_IPV4 ? ["ip", 4] as const : ["ipv6", 16] as const;
    answers[`${name}.src`] = addressText(bytes.subarray(sourceOffset, sourceOffset + size));
    answers[`${name}.dst`] = addressText(bytes.subarray(destinationOffset, destinationOffset + size));
  }
  if (flow.l4 === L4_TCP || flow.l4 === L4_UDP) {
    const name = flow.l4 === L4_TCP ? "tcp" : "udp";
    const ports = new DataView(bytes.buffer, bytes.byteOffset + l4Offset);
    answers[`${name}.srcport`] = String(ports.getUint16(0));
    answers[`${name}.dstport`] = String(ports.getUint16(2));
    if (flow.l4 === L4_TCP) answers["tcp.hdr_len"] = String(flow.payloadOffset - l4Offset);
  }
  return FIELDS.map((field) => answers[field] ?? "").join("\t");
}

Deno.test({
  ...needPeers("tshark"),
  name: "FlowParser sees the addresses, ports and header lengths that tshark sees",
  async fn() {
    const random = new Random(26);
    const frames = Array.from({ length: COUNT }, () => randomFrame(random));
    const args = ["-r", "-", "-n", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"];
    for (const protocol of ["tcp", "udp"]) args.push("-o", `${protocol}.try_heuristic_first:FALSE`);
    args.push("-T", "fields", "-E", "occurrence=f", ...FIELDS.flatMap((field) => ["-e", field]));
    const tshark = new Deno.Command("tshark", { args, stdin: "piped", stdout: "piped", stderr: "null" })
      .spawn();
    const output = tshark.output();
    await new Blob([capture(frames)]).stream().pipeTo(tshark.stdin);
    const lines = new TextDecoder().decode((await output).stdout).split("\n").slice(0, -1);
    assertEquals(lines.length, COUNT);
    const flow = new FlowParser();
    lines.forEach((line, i) => {
      flow.parse(frames[i]!, 0, frames[i]!.length);
      assertEquals(describe(flow), line, frames[i]!.toHex());
    });
  },
});
