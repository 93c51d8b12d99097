import { assertEquals, assertThrows } from "@std/assert";
import { OptionError, OptionValues } from "../../core/options.ts";
import { IpxeDqoRxDriver } from "../../plugins/gve/dqo/ipxe_rx_driver.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { assertDriverFault } from "./faults.ts";
import { Arrived } from "./raw_device.ts";
import { receiving as rawReceiving } from "./raw_driver.ts";
import { Surroundings } from "./replay_context.ts";

const PAGE = 4096;
const SIZE = 16;
const BUFFERS = 4;
const DATA = PAGE;
const MEMORY = 4 * PAGE;

/** A queue over 4 buffers or more, all posted; the completions are the test's. */
function receiving(strict = true, pages = 16, count = BUFFERS, size = SIZE) {
  const around = new Surroundings(pages * PAGE, strict);
  for (let i = 0; i < count * 2048; i++) around.memory.bytes[MEMORY + i] = i * 7 + (i >> 8);
  const queue = new IpxeDqoRxDriver(
    around.context,
    { queue: 0, ring: 0, data: DATA, size, doorbell: 0, bufferSize: 2048 },
    { buffers: MEMORY, address: 0x1_0000_8000, count },
  );
  queue.post();
  const sink = new Arrived();
  let index = 0;
  const complete = (buf_id: number, packet_len: number, values: Record<string, number> = {}) => {
    const generation = Math.floor(index / size) % 2 === 0 ? 1 : 0;
    const bytes = g.gve_rx_compl_desc_dqo.encode({
      ...{ rxdid: 1, buf_id, packet_len, generation, descriptor_done: 1, end_of_packet: 1 },
      ...values,
    });
    around.memory.bytes.set(bytes, (index++ % size) * 32);
  };
  /** Ids that stand in the buffer ring from an index on. */
  const ids = (first: number, count: number) =>
    Array.from({ length: count }, (_, i) => around.memory.bytes[DATA + ((first + i) % size) * 32]);
  const buffer = (id: number, length: number) =>
    around.memory.bytes.slice(MEMORY + id * 2048).slice(0, length);
  return { around, queue, sink, complete, ids, buffer, receive: () => queue.receive(sink) };
}

Deno.test("iPXE's DQO receive queue posts all buffers at once, by an id of one byte and an address", () => {
  const { around, queue } = receiving();
  const zeros = "00".repeat(16);
  assertEquals(
    Array.from({ length: 5 }, (_, i) => around.hex(DATA + i * 32, 32)),
    [
      `00000000000000000080000001000000${zeros}`,
      `01000000000000000088000001000000${zeros}`,
      `02000000000000000090000001000000${zeros}`,
      `03000000000000000098000001000000${zeros}`,
      "00".repeat(32),
    ],
  );
  assertEquals(around.doorbells, [4]);
  assertEquals(queue.post(), 0);
  assertEquals(around.doorbells, [4], "nothing new");
});

Deno.test("buffers are posted in the order in which they came back, and the doorbell counts on beyond the ring", () => {
  const { around, sink, complete, ids, buffer, receive } = receiving();
  complete(2, 60);
  complete(0, 2048);
  assertEquals(receive(), 2);
  assertEquals(sink.frames, [buffer(2, 60), buffer(0, 2048)], "a full buffer is one of 2048 bytes");
  assertEquals(ids(4, 2), [2, 0]);
  assertEquals(around.doorbells, [4, 6]);
  assertEquals(receive(), 0, "what is left from the lap before is no completion");
  const doorbells = [4, 6];
  // The buffers that the device took are 1, 3, then 2, 0 and so on: it gives the second of two back first.
  for (let i = 6; i < 70; i += 2) {
    const [first, second] = ids(i - 4, 2);
    complete(second!, 61);
    complete(first!, 62);
    assertEquals(receive(), 2);
    assertEquals(ids(i, 2), [second, first]);
    doorbells.push(i + 2);
  }
  assertEquals(around.doorbells, doorbells);
  const { rxPackets, rxBytes, rxBounceBytes, rxPosted, rxRecycled, rxDescriptors } = around.context.counters;
  assertEquals([rxPackets, rxBytes, rxBounceBytes], [66, 60 + 2048 + 32 * 123, 60 + 2048 + 32 * 123]);
  assertEquals([rxPosted, rxRecycled, rxDescriptors], [70, 66, 66]);
});

Deno.test("buffers of a packet are posted again when all of it is there", () => {
  const { around, sink, complete, ids, buffer, receive } = receiving();
  complete(1, 2048, { end_of_packet: 0 });
  complete(3, 2048, { end_of_packet: 0 });
  assertEquals(receive(), 2);
  assertEquals([sink.frames.length, around.doorbells], [0, [4]]);
  complete(0, 5);
  assertEquals(receive(), 1);
  const parts = [buffer(1, 2048), buffer(3, 2048), buffer(0, 5)];
  assertEquals(sink.frames, [Uint8Array.from(parts.flatMap((part) => [...part]))]);
  assertEquals([ids(4, 3), around.doorbells], [[1, 3, 0], [4, 7]]);
});

Deno.test("V25: of a packet with an error nothing arrives; leniently what follows the error is another packet", () => {
  for (const strict of [true, false]) {
    const { around, sink, complete, ids, buffer, receive } = receiving(strict);
    complete(0, 100, { end_of_packet: 0 });
    complete(1, 5000, { end_of_packet: 0, rx_error: 1 });
    complete(2, 100);
    complete(3, 100);
    assertEquals(receive(), 4);
    assertEquals(sink.frames, [...strict ? [] : [buffer(2, 100)], buffer(3, 100)]);
    assertEquals([ids(4, 4), around.doorbells], [[0, 1, 2, 3], [4, 8]]);
    const { rxErrors, rxDroppedFragments } = around.context.counters;
    assertEquals([rxErrors, rxDroppedFragments], [1, strict ? 3 : 2]);
  }
});

Deno.test("V15, V16: iPXE's queue refuses buffers that the device does not have, and lengths that do not fit", () => {
  for (
    const [id, length, code] of [
      [4, 60, "buffer-id"],
      [0x100, 60, "buffer-id"],
      [0xffff, 60, "buffer-id"],
      [0, 0, "packet-length"],
      [0, 2049, "packet-length"],
    ] as const
  ) {
    const { queue, sink, complete, receive } = receiving();
    complete(id, length);
    assertDriverFault(receive, code);
    assertDriverFault(() => queue.receive(sink), code);
    assertEquals(sink.frames, []);
  }
  const twice = receiving();
  twice.complete(1, 60, { end_of_packet: 0 });
  twice.complete(1, 60);
  assertDriverFault(twice.receive, "buffer-not-posted");
});

Deno.test("leniently a buffer that the device does not have is passed over, and is not posted for it", () => {
  const { around, sink, complete, ids, receive } = receiving(false);
  complete(9, 60);
  complete(1, 60);
  complete(2, 0);
  complete(3, 60, { end_of_packet: 0 });
  complete(3, 60);
  assertEquals([receive(), receive()], [4, 1]);
  assertEquals([sink.frames.length, ids(4, 3), around.doorbells], [1, [1, 2, 3], [4, 6, 7]]);
  assertEquals(around.context.counters.rxErrors, 3);
});

Deno.test("a device that completes without end is left after as many buffers as there are", () => {
  const { around, complete, receive } = receiving(false);
  for (let i = 0; i < SIZE; i++) complete(9, 60);
  assertEquals(receive(), BUFFERS);
  assertEquals(around.context.counters.rxErrors, BUFFERS);
});

Deno.test("leniently a length may lie, but neither beyond memory nor beyond the longest frame", () => {
  const last = receiving(false, 6);
  last.complete(3, 2048);
  assertEquals(last.receive(), 1);
  last.complete(2, 4096);
  assertEquals(last.receive(), 1);
  last.complete(1, 6145);
  assertDriverFault(last.receive, "frame-too-long");
  const long = receiving(false, 64, 32, 64);
  for (let id = 0; id < 17; id++) long.complete(id, 16383, { end_of_packet: 0 });
  assertDriverFault(long.receive, "frame-too-long");
});

for (const options of [{ driver: "ipxe" }, { profile: "linux" }]) {
  const whose = Object.values(options)[0];
  Deno.test(`a DQO receive doorbell may be a count, as iPXE's is, for ${whose}`, () => countOn(options));
}

/** Lets receive doorbells go on beyond the ring. */
function countOn(options: Record<string, string>): void {
  const { raw, queue } = rawReceiving({ format: "dqo-rda", ...options });
  for (let count = 1; count <= 200; count++) {
    const descriptor = g.gve_rx_desc_dqo.encode({ buf_id: 7, buf_addr: raw.buffer });
    raw.put(queue.ring + (count - 1) % 64 * 32, descriptor);
    raw.ring(queue, count);
    assertEquals(raw.deliver(Uint8Array.of(count)), 0);
    assertEquals(raw.deliver(new Uint8Array(60)), -1, "one buffer was posted");
    const completion = raw.get(queue.completions + (count - 1) % 64 * 32, 32);
    const { buf_id, packet_len, generation } = g.gve_rx_compl_desc_dqo.decode(completion);
    assertEquals([buf_id, packet_len, generation], [7, 1, 1 - Math.floor((count - 1) / 64) % 2]);
    assertEquals(raw.get(raw.buffer, 1), Uint8Array.of(count));
  }
}

Deno.test("iPXE has no header buffers", () => {
  const options = { "format": "dqo-rda", "driver": "ipxe", "header-split": "on" };
  assertThrows(() => g.settingsFrom(new OptionValues(gve.options, options)), OptionError, "driver=linux");
});
