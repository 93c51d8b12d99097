import { assertEquals, assertThrows } from "@std/assert";
import { FULL, OVERSIZE, RUNT } from "../../core/plugin.ts";
import { RingPair } from "../../core/ring_pair.ts";
import { IpxeRxDriver } from "../../plugins/gve/gqi/ipxe_rx_driver.ts";
import { IpxeTxDriver } from "../../plugins/gve/gqi/ipxe_tx_driver.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { swap32 } from "../../plugins/gve/registers.ts";
import { assertDriverFault } from "./faults.ts";
import { Arrived, packet } from "./raw_device.ts";
import { Surroundings } from "./replay_context.ts";

const PAGE = 4096;
const SIZE = 16;
const BUFFERS = 4;
/** Where things are in memory. */
const RING = 0;
const DATA = PAGE;
const COUNTER = 2 * PAGE;
const MEMORY = 4 * PAGE;

/** A transmit queue over 4 buffers of a page list; the event counter is the test's. */
function transmitting(strict = true, start = 0) {
  const around = new Surroundings(64 * PAGE, strict);
  around.memory.bytes.fill(0xee, RING, RING + SIZE * 16);
  const queue = new IpxeTxDriver(around.context, { queue: 0, ring: RING, size: SIZE, doorbell: 0 }, {
    buffers: MEMORY,
    start,
    count: BUFFERS,
    counter: COUNTER,
  });
  return { around, queue, count: (value: number) => around.memory.view.setUint32(COUNTER, value) };
}

Deno.test("iPXE's transmit descriptors: one per 2048 bytes, addresses written once, the rest as the slot held it", () => {
  const { around, queue, count } = transmitting();
  const unused = "eeeeeeeeeeeeeeee";
  assertEquals(
    around.descriptors(RING, SIZE, 0, 6),
    [0, 2048, 4096, 6144, 0, 2048].map((offset) => unused + offset.toString(16).padStart(16, "0")),
  );
  const long = packet(5000);
  long.bytes[0]!.forEach((_, i, all) => all[i] = i * 7);
  assertEquals(queue.transmit(long), 0);
  assertEquals(around.descriptors(RING, SIZE, 0, 3), [
    "00eeee03138808000000000000000000",
    "20eeee00000008000000000000000800",
    "20eeee00000003880000000000001000",
  ]);
  assertEquals(around.memory.bytes.slice(MEMORY, MEMORY + 5000), long.bytes[0]);
  assertEquals(queue.transmit(packet(60)), 0);
  assertEquals(around.descriptors(RING, SIZE, 3, 1), ["00eeee01003c003c0000000000001800"]);
  assertEquals(queue.transmit(packet(60)), FULL, "all four buffers are in flight");
  assertEquals(around.doorbells.map(swap32), [4], "which tells the device of them");
  count(3);
  assertEquals(queue.clean(), 3);
  assertEquals(around.context.counters.txPacketCompletions, 1, "a packet is done when its last buffer is");
  assertEquals(queue.transmit(packet(60)), 0);
  assertEquals(around.descriptors(RING, SIZE, 4, 1), ["00eeee01003c003c0000000000000000"]);
});

Deno.test("iPXE's transmit queue takes what its buffers hold, and asks nothing of the device", () => {
  const { queue } = transmitting();
  assertEquals(queue.transmit(packet(0)), RUNT);
  assertEquals(queue.transmit(packet(BUFFERS * 2048 + 1)), OVERSIZE);
  assertEquals(queue.transmit(packet(BUFFERS * 2048)), 0);
  const asking = packet(60);
  asking.checksum = true;
  assertThrows(() => queue.transmit(asking), RangeError, "iPXE");
});

Deno.test("V7: iPXE's transmit queue refuses an event counter that passes what was posted", () => {
  const { queue, count } = transmitting();
  queue.transmit(packet(60));
  count(2);
  assertDriverFault(() => queue.clean(), "event-counter");
  const lenient = transmitting(false);
  lenient.queue.transmit(packet(60));
  lenient.count(0xfffffff0);
  assertEquals(lenient.queue.clean(), 0xfffffff0);
  assertEquals(lenient.around.context.counters.txPacketCompletions, 1);
});

/** A receive queue over 4 buffers; descriptors are the test's. */
function receiving(strict = true) {
  const around = new Surroundings(64 * PAGE, strict);
  const place = { queue: 0, ring: RING, data: DATA, size: SIZE, doorbell: 0, bufferSize: 2048 };
  const options = { buffers: MEMORY, start: 0x10000000, count: BUFFERS };
  const queue = new IpxeRxDriver(around.context, place, options);
  queue.flush();
  let index = 0;
  const arrive = (length: number, values: Record<string, number> = {}) => {
    const slot = index % SIZE;
    const bytes = g.gve_rx_desc.encode({ len: length });
    bytes.set(
      g.gve_rx_flags_seq.encode({ seq: index % 7 + 1, ...values }),
      g.gve_rx_desc.offsetOf("flags_seq"),
    );
    const buffer = MEMORY + (index % BUFFERS) * 2048;
    around.memory.bytes.fill(index + 1, buffer, buffer + 2048);
    around.memory.bytes.set(bytes, RING + slot * 64);
    index++;
  };
  return { around, queue, arrive, sink: new Arrived() };
}

Deno.test("iPXE's receive slots name its buffers in rotation, and the doorbell keeps as far ahead as there are", () => {
  const { around, queue, arrive, sink } = receiving();
  const slots = Array.from({ length: SIZE }, (_, i) => Number(around.memory.view.getBigUint64(DATA + i * 8)));
  assertEquals(slots, Array.from({ length: SIZE }, (_, i) => 0x10000000 + (i % BUFFERS) * 2048));
  assertEquals(around.doorbells.map(swap32), [BUFFERS]);
  for (let round = 0; round < 3 * SIZE; round += 3) {
    arrive(62);
    arrive(2048, { pkt_cont: 1 });
    arrive(100);
    assertEquals(queue.receive(sink), 3);
    assertEquals(queue.receive(sink), 0);
    assertEquals(swap32(around.doorbells.at(-1)!), round + 3 + BUFFERS);
    const [short, long] = sink.frames.splice(0);
    assertEquals(short, new Uint8Array(60).fill(round + 1));
    assertEquals(long!.length, 2146);
    assertEquals([long![2045], long![2046]], [round + 2, round + 3]);
  }
  assertEquals(around.doorbells.length, 1 + SIZE, "one per poll that did work");
});

Deno.test("iPXE's receive queue waits for the rest of a packet, which strictly must not be missing", () => {
  const { queue, arrive, sink } = receiving();
  arrive(2048, { pkt_cont: 1 });
  assertDriverFault(() => queue.receive(sink), "partial-packet");
  const lenient = receiving(false);
  lenient.arrive(2048, { pkt_cont: 1 });
  assertEquals(lenient.queue.receive(lenient.sink), 0);
  lenient.arrive(10);
  assertEquals(lenient.queue.receive(lenient.sink), 2);
  assertEquals(lenient.sink.frames.map(({ length }) => length), [2056]);
});

Deno.test("iPXE takes what follows an error for another packet; strictly it is dropped to the packet's end", () => {
  for (const strict of [true, false]) {
    const { queue, arrive, sink, around } = receiving(strict);
    arrive(2048, { pkt_cont: 1 });
    arrive(2048, { pkt_cont: 1, err: 1 });
    arrive(102);
    arrive(62);
    assertEquals(queue.receive(sink), 4);
    assertEquals(sink.frames.map(({ length }) => length), strict ? [60] : [100, 60]);
    assertEquals(around.context.counters.rxErrors, 1);
    assertEquals(around.context.counters.rxDroppedFragments, strict ? 3 : 2);
  }
});

Deno.test("V8: iPXE's receive queue refuses lengths that do not fit its buffers", () => {
  for (const length of [0, 2, 2049, 65535]) {
    const { queue, arrive, sink } = receiving();
    arrive(length);
    assertDriverFault(() => queue.receive(sink), "packet-length");
  }
});

Deno.test("driver=ipxe: buffers are those of the page list, 8 with qpl-pages=4, in both GQI formats", () => {
  for (const format of ["gqi-qpl", "gqi-rda"]) {
    const pair = new RingPair(gve, { format, "driver": "ipxe", "qpl-pages": 4 });
    const { driver } = pair.link;
    const frame = new Uint8Array(8 * 2048).map((_, i) => i * 11);
    assertEquals(driver.transmit(new Uint8Array(frame.length + 1), 0, frame.length + 1, 0), OVERSIZE);
    for (let i = 0; i < 3; i++) {
      assertEquals(driver.transmit(frame, 0, frame.length, 0), 0);
      assertEquals(driver.transmit(frame, 0, 1, 0), FULL);
      assertEquals(pair.service(), 8);
      assertEquals(pair.receive(), [frame]);
    }
    const counters = pair.counters();
    assertEquals([counters["tx.descriptors.packet"], counters["tx.descriptors.segment"]], [3, 21]);
    assertEquals([counters["tx.bounce_bytes"], counters["rx.bounce_bytes"]], [3 * 16384, 3 * 16384]);
    const pages = format === "gqi-qpl" ? 4 + 32 : 0;
    assertEquals(counters["pages.registered"], pages, "64 receive buffers of 2048 bytes");
  }
});
