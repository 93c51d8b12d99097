import { assert, assertEquals } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { FlowParser, L3_IPV4, L3_IPV6, L3_NONE, L4_NONE, L4_OTHER, L4_TCP, L4_UDP } from "../../mod.ts";
import { Random } from "../random.ts";
import { be16, ethernet, extension, fragment, ipv4, ipv6, tcp, udp } from "./packets.ts";

const flow = new FlowParser();

function parse(...parts: Uint8Array[]): FlowParser {
  const frame = concat(parts);
  flow.parse(frame, 0, frame.length);
  return flow;
}

/** Offsets of a parse, relative to the frame. */
function offsets({ l3Offset, l4Offset, payloadOffset, end }: FlowParser): number[] {
  return [l3Offset, l4Offset, payloadOffset, end];
}

Deno.test("FlowParser finds TCP and UDP over IPv4, with options, and leaves Ethernet padding out", () => {
  const found = parse(ethernet(0x800), ipv4(6, tcp(1, 2, new Uint8Array(5), 12)));
  assertEquals([found.l3, found.l4, found.protocol, found.etherType], [L3_IPV4, L4_TCP, 6, 0x800]);
  assertEquals(offsets(found), [14, 34, 66, 71]);
  assertEquals([found.sourceOffset, found.destinationOffset], [26, 30]);
  parse(
    ethernet(0x800),
    ipv4(17, udp(1, 2, new Uint8Array(3)), { options: new Uint8Array(8) }),
    new Uint8Array(20),
  );
  assertEquals([flow.l3, flow.l4, flow.protocol], [L3_IPV4, L4_UDP, 17]);
  assertEquals(offsets(flow), [14, 42, 50, 53]);
});

Deno.test("FlowParser skips VLAN tags of all types, stacked", () => {
  for (
    const tags of [[[0x8100, 5]], [[0x88a8, 5], [0x8100, 6]], [[0x9100, 1], [0x8100, 2], [
      0x8100,
      3,
    ]]] as const
  ) {
    const found = parse(ethernet(0x86dd, ...tags), ipv6(17, udp(1, 2)));
    assertEquals([found.vlans, found.etherType, found.l3, found.l4], [tags.length, 0x86dd, L3_IPV6, L4_UDP]);
    assertEquals(offsets(found), [14, 54, 62, 62].map((offset) => offset + 4 * tags.length));
  }
});

Deno.test("FlowParser says nothing of what is neither IPv4 nor IPv6", () => {
  for (const type of [0x806, 0x8847, 0x88cc, 46]) {
    const found = parse(ethernet(type), new Uint8Array(46));
    assertEquals([found.etherType, found.l3, found.l4, found.protocol], [type, L3_NONE, L4_NONE, -1]);
    assertEquals(offsets(found), [14, 60, 60, 60]);
  }
});

Deno.test("FlowParser marks fragments, and looks for ports in the first only", () => {
  const seen = [0x2000, 0x2001, 0x0001, 0x4000, 0x8000].map((field) => {
    const found = parse(ethernet(0x800), ipv4(17, udp(1, 2), { fragment: field }));
    return [found.fragmented, found.l4];
  });
  assertEquals(seen, [[true, L4_UDP], [true, L4_NONE], [true, L4_NONE], [false, L4_UDP], [false, L4_UDP]]);
  const six = [[0, true], [5, true], [5, false], [0, false]] as const;
  const seenSix = six.map(([offset, more]) => {
    const found = parse(ethernet(0x86dd), ipv6(44, concat([fragment(6, offset, more), tcp(1, 2)])));
    assertEquals(found.l4Offset, 62);
    return [found.fragmented, found.l4, found.extended];
  });
  assertEquals(seenSix, [
    [true, L4_TCP, true],
    [true, L4_NONE, true],
    [true, L4_NONE, true],
    [false, L4_TCP, true],
  ]);
});

Deno.test("FlowParser does not take the payload of a later IPv6 fragment for an extension header", () => {
  const found = parse(
    ethernet(0x86dd),
    ipv6(44, concat([fragment(60, 9, false), new Uint8Array(24).fill(6)])),
  );
  assertEquals([found.l4, found.protocol, found.l4Offset, found.fragmented], [L4_NONE, 60, 62, true]);
});

Deno.test("FlowParser walks every kind of IPv6 extension header", () => {
  const authentication = new Uint8Array(24);
  authentication.set([6, 4]);
  const chain = concat([
    extension(60, new Uint8Array(6)),
    extension(43, new Uint8Array(14)),
    extension(51, new Uint8Array(22)),
    authentication,
    tcp(1, 2),
  ]);
  const found = parse(ethernet(0x86dd), ipv6(0, chain));
  assertEquals([found.l4, found.extended, found.protocol], [L4_TCP, true, 6]);
  assertEquals(offsets(found), [14, 54 + 8 + 16 + 24 + 24, 54 + 72 + 20, 54 + 72 + 20]);
});

Deno.test("FlowParser gives up on a chain of extension headers that has no end", () => {
  const chain = (count: number) =>
    concat([
      ...Array.from({ length: count }, (_, i) => extension(i < count - 1 ? 60 : 6, new Uint8Array(6))),
      tcp(1, 2),
    ]);
  assertEquals(parse(ethernet(0x86dd), ipv6(60, chain(16))).l4, L4_TCP);
  const found = parse(ethernet(0x86dd), ipv6(60, chain(17)));
  assertEquals([found.l3, found.l4, found.protocol], [L3_IPV6, L4_NONE, 60]);
  assertEquals(found.l4Offset, found.end);
});

Deno.test("FlowParser knows protocols other than TCP and UDP, and no protocol at all", () => {
  assertEquals(parse(ethernet(0x800), ipv4(1, new Uint8Array(8))).l4, L4_OTHER);
  assertEquals([flow.protocol, flow.l4Offset, flow.payloadOffset], [1, 34, 34]);
  assertEquals(parse(ethernet(0x86dd), ipv6(58, new Uint8Array(8))).l4, L4_OTHER);
  assertEquals(parse(ethernet(0x86dd), ipv6(50, new Uint8Array(8))).l4, L4_OTHER);
  assertEquals(parse(ethernet(0x86dd), ipv6(59, new Uint8Array(8))).l4, L4_NONE);
});

Deno.test("FlowParser takes a length of 0 as the frame's and one beyond the frame as cut short", () => {
  assertEquals(parse(ethernet(0x800), ipv4(6, tcp(1, 2, new Uint8Array(100)), { length: 0 })).end, 154);
  assertEquals([flow.l4, flow.payloadOffset], [L4_TCP, 54]);
  assertEquals(parse(ethernet(0x800), ipv4(6, tcp(1, 2), { length: 60000 })).end, 54);
  assertEquals(parse(ethernet(0x86dd), ipv6(6, tcp(1, 2), { length: 0 })).end, 74);
  assertEquals(parse(ethernet(0x86dd), ipv6(6, tcp(1, 2), { length: 60000 })).end, 74);
});

Deno.test("FlowParser takes headers that end with the frame, and none of which the last byte is missing", () => {
  const nothing = new Uint8Array(0);
  const whole: readonly (readonly [Uint8Array, number, number])[] = [
    [concat([ethernet(0x800), ipv4(1, nothing)]), L3_IPV4, L4_OTHER],
    [concat([ethernet(0x800), ipv4(1, nothing, { options: new Uint8Array(4) })]), L3_IPV4, L4_OTHER],
    [concat([ethernet(0x86dd), ipv6(58, nothing)]), L3_IPV6, L4_OTHER],
  ];
  for (const [frame, l3, l4] of whole) {
    flow.parse(frame, 0, frame.length);
    assertEquals([flow.l3, flow.l4, flow.l4Offset], [l3, l4, frame.length]);
    // What follows in the buffer is not the frame's.
    flow.parse(concat([frame, new Uint8Array(60)]), 0, frame.length - 1);
    assertEquals([flow.l3, flow.l4], [L3_NONE, L4_NONE]);
  }
  for (const [protocol, segment, l4] of [[6, tcp(1, 2), L4_TCP], [17, udp(1, 2), L4_UDP]] as const) {
    const frame = concat([ethernet(0x800), ipv4(protocol, segment)]);
    flow.parse(frame, 0, frame.length);
    assertEquals([flow.l4, flow.payloadOffset], [l4, frame.length]);
    flow.parse(concat([frame, new Uint8Array(60)]), 0, frame.length - 1);
    assertEquals([flow.l3, flow.l4], [L3_IPV4, L4_NONE]);
  }
});

Deno.test("FlowParser finds no header that contradicts itself", () => {
  const changed = (frame: Uint8Array, at: number, byte: number) => {
    frame[at] = byte;
    return parse(frame);
  };
  const four = () => concat([ethernet(0x800), ipv4(6, tcp(1, 2))]);
  assertEquals(changed(four(), 14, 0x65).l3, L3_NONE);
  assertEquals(changed(four(), 14, 0x44).l3, L3_NONE);
  assertEquals(changed(four(), 14, 0x4f).l3, L3_NONE);
  assertEquals(changed(four(), 17, 19).l3, L3_NONE);
  assertEquals(changed(four(), 17, 30).l4, L4_NONE);
  assertEquals(changed(four(), 46, 0x40).l4, L4_NONE);
  assertEquals(changed(four(), 46, 0x60).l4, L4_NONE);
  assertEquals(changed(concat([ethernet(0x86dd), ipv6(6, tcp(1, 2))]), 14, 0x45).l3, L3_NONE);
});

Deno.test("FlowParser finds the addresses that a mobile node's headers name", () => {
  const home = new Uint8Array(16).fill(0xaa);
  const route = new Uint8Array(16).fill(0xbb);
  const routing = concat([new Uint8Array([2, 1, 0, 0, 0, 0]), route]);
  const options = concat([new Uint8Array([0, 1, 1, 0, 0xc9, 16]), home]);
  const found = parse(
    ethernet(0x86dd),
    ipv6(43, concat([extension(60, routing), extension(6, options), tcp(1, 2)])),
  );
  assertEquals(found.bytes.slice(found.routingOffset, found.routingOffset + 16), route);
  assertEquals(found.bytes.slice(found.homeOffset, found.homeOffset + 16), home);
  assertEquals([found.sourceOffset, found.destinationOffset, found.l4], [22, 38, L4_TCP]);
  routing[0] = 0;
  options[5] = 15;
  parse(ethernet(0x86dd), ipv6(43, concat([extension(60, routing), extension(6, options), tcp(1, 2)])));
  assertEquals([flow.homeOffset, flow.routingOffset], [22, 38]);
  const other: readonly Uint8Array[] = [
    concat([new Uint8Array([2, 0, 0, 0, 0, 0]), route]),
    concat([new Uint8Array([2, 2, 0, 0, 0, 0]), route]),
    concat([new Uint8Array([2, 1, 0, 0, 0, 0]), route, route]),
  ];
  for (const content of other) {
    parse(ethernet(0x86dd), ipv6(43, concat([extension(6, content), tcp(1, 2)])));
    assertEquals([flow.routingOffset, flow.l4], [38, L4_TCP]);
  }
  const padded = concat([new Uint8Array([0, 0xc9, 16]), home]);
  parse(ethernet(0x86dd), ipv6(60, concat([extension(6, padded), tcp(1, 2)])));
  assertEquals([flow.homeOffset, flow.l4], [54 + 5, L4_TCP]);
});

/** All that a parse says, offsets relative to the frame. */
function state(parser: FlowParser, offset: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(parser).filter(([name]) => name !== "bytes").map(([name, value]) => [
      name,
      name === "end" || name.endsWith("Offset") ? value - offset : value,
    ]),
  );
}

Deno.test("FlowParser reads nothing outside the frame, whatever is in it and wherever it is cut", () => {
  const random = new Random(25);
  const mobile = concat([new Uint8Array([1, 0, 0xc9, 16]), new Uint8Array(16)]);
  const seeds = [
    concat([ethernet(0x800, [0x8100, 1]), ipv4(6, tcp(1, 2, new Uint8Array(9), 8))]),
    concat([ethernet(0x800), ipv4(17, udp(1, 2, new Uint8Array(9)), { options: new Uint8Array(12) })]),
    concat([
      ethernet(0x86dd),
      ipv6(
        0,
        concat([
          extension(60, new Uint8Array(6)),
          extension(43, mobile),
          extension(6, be16(0x200)),
          tcp(1, 2),
        ]),
      ),
    ]),
    concat([
      ethernet(0x86dd),
      ipv6(44, concat([fragment(51, 0, true), extension(17, new Uint8Array(6)), udp(1, 2)])),
    ]),
  ];
  const first = new FlowParser();
  const second = new FlowParser();
  for (let round = 0; round < 20_000; round++) {
    const whole = random.pick(seeds).slice();
    for (let changes = random.below(4); changes > 0; changes--) {
      whole[12 + random.below(whole.length - 12)] = random.below(256);
    }
    const frame = whole.subarray(0, random.chance(0.5) ? random.below(whole.length + 1) : whole.length);
    // The same frame between zeros, and between random bytes at another place.
    const zeros = new Uint8Array(frame.length + 400);
    zeros.set(frame, 100);
    const noise = random.bytes(frame.length + 400);
    noise.set(frame, 133);
    first.parse(zeros, 100, frame.length);
    second.parse(noise, 133, frame.length);
    assertEquals(state(second, 133), state(first, 100));
    const { l3Offset, l4Offset, payloadOffset, end } = state(first, 100) as Record<string, number>;
    assert(
      l3Offset! <= l4Offset! && l4Offset! <= payloadOffset! && payloadOffset! <= end! && end! <= frame.length,
    );
    if (first.l3 !== L3_NONE) {
      const size = first.l3 === L3_IPV4 ? 4 : 16;
      for (const at of [first.sourceOffset, first.destinationOffset, first.homeOffset, first.routingOffset]) {
        assert(at >= 100 + 14 && at + size <= 100 + l4Offset!);
      }
    }
    if (first.l4 === L4_TCP || first.l4 === L4_UDP) assert(l4Offset! + 8 <= end!);
  }
});
