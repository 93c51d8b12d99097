import { assert, assertEquals } from "@std/assert";
import { assertFault } from "./faults.ts";
import { pipe } from "./pipe.ts";
import { BUFFERS, NOWHERE, RawNet, type RawNetOptions } from "./raw_net.ts";
import { INDIRECT, NEXT, WRITE, writeDesc } from "./raw_ring.ts";

const PAYLOAD = Uint8Array.from({ length: 20 }, (_, i) => i + 1);
const TABLE = BUFFERS + 0x4000;
const MORE = BUFFERS + 0x1000;
const FEATURES: RawNetOptions = { features: ["INDIRECT_DESC"], snapshot: true };

/** Writes two transmit chains: two descriptors of the ring, and an indirect table with two. */
function chains(net: RawNet): void {
  net.packet(BUFFERS, []);
  net.put(MORE, PAYLOAD);
  net.tx.chain(0, { addr: BUFFERS, len: 12 }, { addr: MORE, len: 20 });
  writeDesc(net.memory.view, net.at(TABLE), { addr: BUFFERS, len: 12, flags: NEXT, next: 1 });
  writeDesc(net.memory.view, net.at(TABLE) + 16, { addr: MORE, len: 7 });
  net.tx.setDesc(5, { addr: TABLE, len: 32, flags: INDIRECT });
}

/** A change of one field, of descriptor 0, 1 or 5 of the ring (offset / 16) or of the table. */
const CHANGES: readonly (readonly [what: string, at: (net: RawNet) => number, head: number])[] = [
  ...[0, 7, 8, 11, 12].flatMap((field) =>
    [0, 1].map((desc) =>
      [`byte ${field} of descriptor ${desc}`, (net: RawNet) => net.tx.desc + 16 * desc + field, 0] as const
    )
  ),
  ["next of descriptor 0, which has NEXT", (net) => net.tx.desc + 14, 0],
  ["the indirect descriptor's address", (net) => net.tx.desc + 16 * 5 + 1, 5],
  ["the indirect descriptor's length", (net) => net.tx.desc + 16 * 5 + 8, 5],
  ["an address in the indirect table", (net) => net.at(TABLE) + 2, 5],
  ["the last byte of the indirect table", (net) => net.at(TABLE) + 31, 5],
];

Deno.test("snapshot: a descriptor changed while the frame is on the wire is found when the chain goes back", () => {
  for (const [what, at, head] of CHANGES) {
    const net = new RawNet(FEATURES);
    chains(net);
    net.tx.offer(head);
    net.onFrame = () => void (net.memory.bytes[at(net)]! ^= 0x10);
    const fault = assertFault(() => net.kick(1), "device", "descriptor-changed");
    assertEquals([fault.ring, fault.values.head], ["tx0", head], what);
    // The frame is the one that the descriptors told of when they were read; the chain is not given back.
    assertEquals(net.frames, [head === 0 ? PAYLOAD : PAYLOAD.subarray(0, 7)]);
    assertEquals(net.tx.usedIdx, 0);
  }
});

Deno.test("snapshot: a descriptor changed while it waits is found when the device comes to it", () => {
  for (const [what, at, head] of CHANGES) {
    const net = new RawNet(FEATURES);
    chains(net);
    net.tx.offer(net.tx.chain(6, net.packet(BUFFERS + 0x2000, [])), head);
    net.onFrame = () => void (net.memory.bytes[at(net)]! ^= 0x10);
    assertFault(() => net.kick(1), "device", "descriptor-changed");
    assertEquals([net.frames, net.tx.usedIdx], [[new Uint8Array(0)], 1], what);
  }
});

Deno.test("snapshot: a chain that the wire refuses stays watched", () => {
  const net = new RawNet(FEATURES);
  chains(net);
  net.tx.offer(0);
  net.refusing = true;
  net.kick(1);
  net.tx.setDesc(1, { addr: MORE + 1, len: 20 });
  net.refusing = false;
  assertFault(() => net.device.service(net.wire), "device", "descriptor-changed");
  assertEquals(net.frames, []);
});

Deno.test("snapshot: a posted receive buffer that moves is found, whoever fills it", () => {
  const net = new RawNet({ features: ["MRG_RXBUF"], snapshot: true });
  const post = (head: number) => net.rx.chain(head, { addr: BUFFERS + 256 * head, len: 100, flags: WRITE });
  net.rx.offer(post(0), post(1), post(2));
  assertEquals(net.arrive(PAYLOAD), 0);
  net.rx.setDesc(2, { addr: BUFFERS + 0x3000, len: 100, flags: WRITE });
  assertEquals(net.arrive(PAYLOAD), 0);
  assertFault(() => net.arrive(PAYLOAD), "device", "descriptor-changed");
  assertEquals(net.get(BUFFERS + 0x3000, 32), new Uint8Array(32));
});

Deno.test("snapshot: what a driver may write is no change", () => {
  const net = new RawNet(FEATURES);
  chains(net);
  net.tx.offer(0, 5);
  net.onFrame = () => {
    // Where NEXT is not set, `next` is the driver's; so are free descriptors, and buffers.
    net.memory.view.setUint16(net.tx.desc + 16 * 1 + 14, 0x7777, true);
    net.memory.view.setUint16(net.tx.desc + 16 * 5 + 14, 0x7777, true);
    net.tx.setDesc(4, { addr: NOWHERE, len: 9, flags: 7, next: 99 });
    net.put(MORE, [99]);
  };
  assertEquals([net.kick(1), net.tx.usedIdx], [2, 2]);
  // After it came back the chain may be changed, and be made available anew.
  net.tx.chain(0, net.packet(BUFFERS, [1, 2, 3]));
  net.tx.offer(0);
  assertEquals(net.kick(1), 1);
  assertEquals(net.frames.at(-1), Uint8Array.of(1, 2, 3));
});

Deno.test("snapshot: tables across mappings, longer than any, or nowhere; chains that loop: all end as without", () => {
  const codes = (snapshot: boolean) =>
    [
      { addr: NOWHERE, len: 32, flags: INDIRECT },
      { addr: TABLE, len: 0xffff_fff0, flags: INDIRECT },
      { addr: TABLE, len: 0, flags: INDIRECT },
      { addr: BUFFERS, len: 32, flags: NEXT, next: 3 },
      { addr: BUFFERS, len: 32, flags: NEXT, next: 8 },
    ].map((desc) => {
      const net = new RawNet({ ...FEATURES, snapshot });
      net.tx.setDesc(3, desc);
      net.tx.offer(3);
      try {
        net.kick(1);
      } catch (error) {
        return (error as { code: string }).code;
      }
      return "";
    });
  assertEquals(codes(true), codes(false));
  assert(codes(true).every((code) => code !== "" && code !== "descriptor-changed"));
});

Deno.test("snapshot: without it a change goes unseen, and does no harm", () => {
  const net = new RawNet({ features: ["INDIRECT_DESC"] });
  chains(net);
  net.tx.offer(0);
  net.onFrame = () => void (net.memory.bytes[net.tx.desc]! ^= 0x10);
  assertEquals([net.kick(1), net.frames], [1, [PAYLOAD]]);
});

Deno.test("snapshot=on: all frames come out, and the same is counted", () => {
  const lengths = Array.from({ length: 400 }, (_, i) => (i * 37) % 3000);
  for (const rest of [{}, { "in-order": "on" }, { "mrg-rxbuf": "off", "rx-buffer": "5000" }, { queues: 3 }]) {
    for (const feeding of ["batch", "tight"] as const) {
      const given = { "queue-size": "64", "rx-queue-size": "64", ...rest };
      const plain = pipe(given, lengths, feeding);
      const watched = pipe({ ...given, snapshot: "on" }, lengths, feeding);
      assertEquals(watched.delivered, 400);
      for (const name of ["tx.chains", "rx.buffers", "device.tx.descriptors", "device.bytes_copied"]) {
        assertEquals(watched.counters[name], plain.counters[name], name);
      }
    }
  }
});
