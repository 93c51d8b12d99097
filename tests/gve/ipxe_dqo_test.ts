import { assertEquals, assertThrows } from "@std/assert";
import { FULL, OVERSIZE, RUNT } from "../../core/plugin.ts";
import { RingPair } from "../../core/ring_pair.ts";
import { ipxeBuffers, IpxeDqoTxDriver } from "../../plugins/gve/dqo/ipxe_tx_driver.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { assertDriverFault } from "./faults.ts";
import { packet } from "./raw_device.ts";
import { Surroundings } from "./replay_context.ts";

const PAGE = 4096;
const SIZE = 16;
const BUFFERS = 4;
const { PACKET, MISS, REINJECTION, DESCRIPTOR } = g.DQO_COMPLETION;

/** A queue over 4 buffers; the completions are the test's. */
function transmitting(strict = true) {
  const around = new Surroundings(64 * PAGE, strict);
  const queue = new IpxeDqoTxDriver(
    around.context,
    { queue: 0, ring: 0, size: SIZE, doorbell: 0 },
    BUFFERS,
    { completions: PAGE, buffers: 4 * PAGE, address: 0x1_0000_8000 },
  );
  let index = 0;
  const complete = (type: number, completion_tag: number, values: Record<string, number> = {}) => {
    const generation = Math.floor(index / SIZE) % 2 === 0 ? 1 : 0;
    const bytes = g.gve_tx_compl_desc.encode({ type, completion_tag, generation, ...values });
    around.memory.bytes.set(bytes, PAGE + (index++ % SIZE) * 8);
  };
  return { around, queue, complete };
}

Deno.test("iPXE's DQO descriptors: no context, and a tag on the last alone, which says buffer and count", () => {
  const { around, queue, complete } = transmitting();
  const long = packet(5000);
  long.bytes[0]!.forEach((_, i, all) => all[i] = i * 7);
  assertEquals(queue.transmit(long), 0);
  assertEquals(queue.transmit(packet(60)), 0);
  assertEquals(around.descriptors(0, SIZE, 0, 4), [
    "00800000010000000c00000000000008",
    "00880000010000000c00000000000008",
    "00900000010000002c00000002038803",
    "00980000010000002c00000003013c00",
  ]);
  assertEquals(around.memory.bytes.slice(4 * PAGE, 4 * PAGE + 5000), long.bytes[0]);
  assertEquals(queue.transmit(packet(60)), FULL, "all four buffers are in flight");
  assertEquals(around.doorbells, [4], "which tells the device of them");
  complete(PACKET, 0x0302);
  assertEquals(queue.clean(), 1);
  // The last buffer came back first, so it is taken first.
  assertEquals(queue.transmit(packet(2049)), 0);
  assertEquals(around.descriptors(0, SIZE, 4, 2), [
    "00900000010000000c00000000000008",
    "00880000010000002c00000001020100",
  ]);
  queue.flush();
  assertEquals(around.doorbells, [4, 6]);
  assertEquals(around.context.counters.txPacketCompletions, 1);
  assertEquals(around.context.counters.txPacketDescriptors, 6);
});

Deno.test("iPXE's DQO packets complete in any order, lap after lap", () => {
  const { around, queue, complete } = transmitting();
  for (let round = 0; round < 100; round++) {
    const tags = [];
    for (let i = 0; i < 4; i++) {
      const slot = (round * 4 + i) % SIZE;
      assertEquals(queue.transmit(packet(60 + i)), 0);
      tags.push(around.memory.view.getUint16(slot * 16 + 12, true));
    }
    assertEquals(tags.map((tag) => tag & 0xff).sort(), [0, 1, 2, 3]);
    assertEquals(tags.map((tag) => tag >>> 8), [1, 1, 1, 1]);
    assertEquals(queue.transmit(packet(60)), FULL);
    for (const i of [2, 0, 3, 1]) complete(PACKET, tags[i]!);
    assertEquals(queue.clean(), 4);
    assertEquals(queue.clean(), 0, "a completion of the lap before is none");
  }
  assertEquals(around.context.counters.txPacketCompletions, 400);
});

Deno.test("iPXE looks at one bit of a completion's type: REINJECTION frees a packet, MISS and DESCRIPTOR do nothing", () => {
  const { around, queue, complete } = transmitting();
  queue.transmit(packet(60));
  complete(DESCRIPTOR, 1);
  complete(MISS, 0x0100);
  assertEquals(queue.clean(), 2);
  complete(REINJECTION, 0x0100);
  assertEquals(queue.clean(), 1);
  assertDriverFault(() => (complete(PACKET, 0x0100), queue.clean()), "tag-state");
  const { txMisses, txReinjections, txDescriptorCompletions, txPacketCompletions } = around.context.counters;
  assertEquals([txMisses, txReinjections, txDescriptorCompletions, txPacketCompletions], [1, 1, 1, 0]);
});

Deno.test("V12, V14: iPXE's queue refuses completions that fit no packet", () => {
  for (
    const [type, tag, values, code] of [
      [PACKET, 0x0101, {}, "tag-state"],
      [PACKET, 0x0100, {}, "tag-state"],
      [PACKET, 0x0000, {}, "tag-state"],
      [PACKET, 0x8101, {}, "tag-state"],
      [PACKET, 0x0104, {}, "tag-range"],
      [PACKET, 0x0301, { id: 1 }, "completion-queue"],
      [5, 0, {}, "completion-type"],
    ] as const
  ) {
    const strict = transmitting();
    strict.queue.transmit(packet(2049));
    strict.complete(type, tag, values);
    assertDriverFault(() => strict.queue.clean(), code);
    if (code === "completion-queue") continue;
    const lenient = transmitting(false);
    lenient.queue.transmit(packet(2049));
    lenient.complete(type, tag, values);
    assertEquals(lenient.queue.clean(), 1);
    assertEquals(lenient.around.context.counters.txIgnored, 1, code);
  }
});

Deno.test("iPXE's DQO queue takes what its buffers hold, and asks nothing of the device", () => {
  const { queue } = transmitting();
  assertEquals(queue.transmit(packet(0)), RUNT);
  assertEquals(queue.transmit(packet(BUFFERS * 2048 + 1)), OVERSIZE);
  assertEquals(queue.transmit(packet(BUFFERS * 2048)), 0);
  const asking = packet(60);
  asking.segmentSize = 100;
  assertThrows(() => queue.transmit(asking), RangeError, "iPXE");
});

Deno.test("ipxeBuffers is a power of two, leaves half of the ring free, and fits a byte", () => {
  assertEquals(
    [[8, 256], [1024, 64], [1024, 256], [1024, 32768], [700, 1024]].map(([n, ring]) =>
      ipxeBuffers(n!, ring!)
    ),
    [
      8,
      32,
      128,
      256,
      256,
    ],
  );
});

for (const format of ["dqo-rda", "dqo-qpl"]) {
  Deno.test(`frames of all sizes pass from iPXE's queue through the device and back: ${format}`, () => {
    for (
      const options of [{}, { "miss-rate": 30 }, { "out-of-order": "on" }, { "tx-ring": 64, "rx-ring": 64 }]
    ) {
      const pair = new RingPair(gve, { format, driver: "ipxe", ...options });
      for (let i = 0; i < 200; i++) {
        const frame = new Uint8Array(1 + (i * 997) % (i % 10 === 0 ? 30000 : 3000)).map((_, k) => i + k);
        for (let tries = 0; !pair.transmit(frame); tries++) {
          if (tries > 3) throw new Error("stuck");
          pair.service();
          pair.receive();
        }
        pair.service();
        assertEquals(pair.receive(), [frame]);
      }
      const counters = pair.counters();
      assertEquals(counters["tx.descriptors.metadata"], 0);
      assertEquals(counters["tx.dma_maps"], 0);
      assertEquals(counters["tx.bounce_bytes"], counters["tx.bytes"]);
      assertEquals(counters["tx.packets"], 200);
    }
  });
}
