import { assert, assertEquals } from "@std/assert";
import { foldSum, onesSum, pseudoHeaderSum } from "../../core/checksum.ts";
import { FlowParser } from "../../core/flow.ts";
import {
  finishFrame,
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  Segmenter,
} from "../../plugins/virtio/offload.ts";

interface Vector {
  readonly struct: string;
  readonly hex: string;
  readonly fields: Readonly<Record<string, string>>;
}

function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g)!, (pair) => parseInt(pair, 16));
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const vectors = (JSON.parse(
  Deno.readTextFileSync(new URL("../../fixtures/vectors/virtio_behaviour.json", import.meta.url)),
) as Vector[])
  .filter(({ struct }) => struct.startsWith("csum offload"));

Deno.test("finishFrame() finishes checksums as the vectors have them", () => {
  assertEquals(vectors.length, 2);
  for (const { hex, fields } of vectors) {
    const bytes = bytesOf(hex);
    assert(finishFrame(bytes, 0, bytes.length, Number(fields.csum_start), Number(fields.csum_offset)));
    assertEquals(hexOf(bytes), fields.after, fields.case);
  }
});

Deno.test("finishFrame() leaves a frame alone whose header points outside of it", () => {
  const bytes = new Uint8Array(60).fill(7);
  for (const [start, field] of [[60, 0], [50, 9], [0xffff, 0xffff], [59, 0]] as const) {
    assertEquals(finishFrame(bytes, 0, 60, start, field), false);
  }
  assertEquals(bytes, new Uint8Array(60).fill(7));
  assert(finishFrame(bytes, 0, 60, 50, 8));
});

const FIN = 1;
const PSH = 8;
const CWR = 0x80;

/** A large frame: Ethernet, a VLAN tag if asked for, IP with options or extensions, TCP with options or UDP. */
function largeFrame(
  version: 4 | 6,
  transport: "tcp" | "udp",
  payload: number,
  tagged = false,
  flags = 0x10,
): Uint8Array<ArrayBuffer> {
  const ethernet = tagged ? 18 : 14;
  const ip = version === 4 ? 24 : 48;
  const l4 = transport === "tcp" ? 32 : 8;
  const bytes = new Uint8Array(ethernet + ip + l4 + payload);
  const view = new DataView(bytes.buffer);
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], 0);
  if (tagged) bytes.set([0x81, 0, 0, 5], 12);
  view.setUint16(ethernet - 2, version === 4 ? 0x0800 : 0x86dd);
  const protocol = transport === "tcp" ? 6 : 17;
  if (version === 4) {
    bytes.set(
      [0x46, 0, 0, 0, 0xff, 0xfe, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0],
      ethernet,
    );
    view.setUint16(ethernet + 2, ip + l4 + payload);
  } else {
    bytes.set([0x60, 0, 0, 0, 0, 0, 60, 64], ethernet);
    bytes.set(Uint8Array.from({ length: 32 }, (_, i) => i + 1), ethernet + 8);
    bytes.set([protocol, 0, 1, 4, 0, 0, 0, 0], ethernet + 40);
    view.setUint16(ethernet + 4, 8 + l4 + payload);
  }
  const at = ethernet + ip;
  view.setUint16(at, 1234);
  view.setUint16(at + 2, 80);
  if (transport === "tcp") {
    view.setUint32(at + 4, 0xffff_ff00);
    bytes.set([0x80, flags, 1, 0, 0, 0, 0, 0, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8], at + 12);
  }
  for (let i = 0; i < payload; i++) bytes[at + l4 + i] = (i * 7) ^ (i >> 8);
  return bytes;
}

/** Cuts, and checks each segment by the definitions of the protocols. */
function cutAndCheck(frame: Uint8Array, type: number, size: number): Uint8Array[] {
  const segments: Uint8Array[] = [];
  const taken = new Segmenter().cut(frame, 0, frame.length, type, size, (bytes, offset, length) => {
    segments.push(bytes.slice(offset, offset + length));
  });
  assert(taken);
  const flow = new FlowParser();
  flow.parse(frame, 0, frame.length);
  const headers = flow.payloadOffset;
  const tcp = flow.protocol === 6;
  let position = 0;
  for (const [i, segment] of segments.entries()) {
    const view = new DataView(segment.buffer);
    flow.parse(segment, 0, segment.length);
    assertEquals([flow.payloadOffset, flow.end], [headers, segment.length]);
    const transport = segment.length - flow.l4Offset;
    const sum = foldSum(onesSum(segment, flow.l4Offset, transport) + pseudoHeaderSum(flow, transport));
    assertEquals(sum, 0xffff, `checksum of segment ${i}`);
    if (flow.l3 === 1) {
      assertEquals(onesSum(segment, flow.l3Offset, flow.l4Offset - flow.l3Offset), 0xffff);
      assertEquals(view.getUint16(flow.l3Offset + 4), (0xfffe + i) & 0xffff);
    }
    if (tcp) assertEquals(view.getUint32(flow.l4Offset + 4), (0xffff_ff00 + position) >>> 0);
    else assertEquals(view.getUint16(flow.l4Offset + 4), transport);
    const payload = segment.subarray(headers);
    assertEquals(
      hexOf(payload),
      hexOf(frame.subarray(headers + position, headers + position + payload.length)),
    );
    assert(payload.length === size || i === segments.length - 1);
    position += payload.length;
  }
  assertEquals(position, frame.length - headers);
  return segments;
}

Deno.test("Segmenter cuts TCP and UDP over IPv4 and IPv6, tagged or not, at any size", () => {
  for (const tagged of [false, true]) {
    for (const payload of [1, 999, 1000, 1001, 5000]) {
      assertEquals(
        cutAndCheck(largeFrame(4, "tcp", payload, tagged), GSO_TCPV4, 1000).length,
        Math.ceil(payload / 1000),
      );
      cutAndCheck(largeFrame(6, "tcp", payload, tagged), GSO_TCPV6, 1000);
      cutAndCheck(largeFrame(4, "udp", payload, tagged), GSO_UDP_L4, 1000);
      cutAndCheck(largeFrame(6, "udp", payload, tagged), GSO_UDP_L4, 1000);
    }
  }
});

Deno.test("Segmenter sets FIN and PSH on the last segment alone, CWR on the first alone", () => {
  const frame = largeFrame(4, "tcp", 2500, false, 0x10 | FIN | PSH | CWR);
  const flags = cutAndCheck(frame, GSO_TCPV4 | GSO_ECN, 1000).map((segment) => segment[14 + 24 + 13]);
  assertEquals(flags, [0x10 | CWR, 0x10, 0x10 | FIN | PSH]);
});

Deno.test("Segmenter never writes a TCP checksum of 0xffff", () => {
  let zeros = 0;
  const frame = largeFrame(4, "tcp", 2);
  for (let word = 0; word < 0x10000; word++) {
    frame[frame.length - 2] = word >> 8;
    frame[frame.length - 1] = word & 255;
    new Segmenter().cut(frame, 0, frame.length, GSO_TCPV4, 100, (bytes) => {
      const checksum = bytes[54]! << 8 | bytes[55]!;
      assert(checksum !== 0xffff);
      if (checksum === 0) zeros++;
    });
  }
  assertEquals(zeros, 1);
});

Deno.test("finishFrame() writes 0xffff for a UDP checksum of 0, and 0 for one of TCP", () => {
  for (const [transport, at, field, wanted] of [["udp", 38, 6, 0xffff], ["tcp", 38, 16, 0]] as const) {
    const frame = largeFrame(4, transport, 2);
    const found: number[] = [];
    for (let word = 0; word < 0x10000; word++) {
      frame[frame.length - 2] = word >> 8;
      frame[frame.length - 1] = word & 255;
      frame[at + field] = frame[at + field + 1] = 0;
      finishFrame(frame, 0, frame.length, at, field);
      const checksum = frame[at + field]! << 8 | frame[at + field + 1]!;
      if (checksum === 0 || checksum === 0xffff) found.push(checksum);
    }
    assertEquals(found, [wanted], transport);
  }
});

Deno.test("Segmenter refuses what is not what the header says", () => {
  const tcp = largeFrame(4, "tcp", 3000);
  const fragment = largeFrame(4, "tcp", 3000);
  fragment[20] = 0x20;
  const bad: [Uint8Array, number, number][] = [
    [tcp, GSO_NONE, 1000],
    [tcp, GSO_TCPV4, 0],
    [tcp, GSO_TCPV6, 1000],
    [tcp, GSO_UDP_L4, 1000],
    [tcp, 3, 1000],
    [tcp.subarray(0, 50), GSO_TCPV4, 1000],
    [fragment, GSO_TCPV4, 1000],
    [new Uint8Array(2000), GSO_TCPV4, 1000],
  ];
  for (const [frame, type, size] of bad) {
    const taken = new Segmenter().cut(frame, 0, frame.length, type, size, () => {
      throw new Error("a segment was made");
    });
    assertEquals(taken, false);
  }
});
