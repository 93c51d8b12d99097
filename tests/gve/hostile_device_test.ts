import { assertEquals } from "@std/assert";
import { FULL } from "../../core/plugin.ts";
import { DQO_COMPLETION } from "../../plugins/gve/mod.ts";
import { assertDriverFault } from "./faults.ts";
import { dqoRx, dqoTx, gqiRx, gqiTx, packet } from "./raw_device.ts";

const { MISS, PACKET, REINJECTION, DESCRIPTOR } = DQO_COMPLETION as Record<string, number> & {
  MISS: number;
  PACKET: number;
  REINJECTION: number;
  DESCRIPTOR: number;
};

Deno.test("V7: an event counter that passes what was posted is refused", () => {
  for (const value of [3, 0x80000000, 0xffffffff]) {
    const { queue, count } = gqiTx(true);
    queue.transmit(packet(60));
    queue.transmit(packet(60));
    count(value);
    assertDriverFault(() => queue.clean(), "event-counter");
  }
});

Deno.test("V7: profile=linux lets done chase a counter that runs away, without an endless loop", () => {
  const { queue, count, fifo } = gqiTx(false);
  queue.transmit(packet(60));
  count(0xfffffff0);
  assertEquals(queue.clean(), 0xfffffff0);
  assertEquals(queue.completed, 0xfffffff0);
  assertEquals(fifo!.available, fifo!.size, "what was in flight is freed once");
});

Deno.test("V8: a GQI length must hold the padding and fit the buffer", () => {
  for (const length of [0, 1, 2, 2049, 65535]) {
    const { queue, describe, sink } = gqiRx(true);
    describe(length, 1);
    assertDriverFault(() => queue.receive(sink), "packet-length");
    assertEquals(sink.frames, []);
  }
});

Deno.test("V8: profile=linux takes a length of 0 or 1 for 65534 or 65535 bytes, and drops what is too long", () => {
  const { queue, describe, sink, around } = gqiRx(false);
  describe(0, 1);
  describe(1, 2);
  describe(2049, 3);
  queue.receive(sink);
  assertEquals(sink.frames.map(({ length }) => length), [65534, 65535]);
  assertEquals([around.context.counters.rxErrors, around.context.counters.rxResetsWanted], [1, 1]);
  describe(2049, 4, { err: 1 });
  queue.receive(sink);
  assertEquals([around.context.counters.rxErrors, around.context.counters.rxResetsWanted], [2, 1]);
});

Deno.test("V9: a GQI packet is published as a whole", () => {
  const { queue, describe, sink } = gqiRx(true);
  describe(2048, 1, { pkt_cont: 1 });
  assertDriverFault(() => queue.receive(sink), "partial-packet");
  const lenient = gqiRx(false);
  lenient.describe(2048, 1, { pkt_cont: 1 });
  lenient.queue.receive(lenient.sink);
  assertEquals(lenient.around.context.counters.rxResetsWanted, 1, "Linux resets the device");
});

Deno.test("V10: a sequence number that skips or repeats is not a descriptor", () => {
  for (const sequence of [0, 2, 7]) {
    const { queue, describe, sink } = gqiRx(true);
    describe(62, sequence);
    assertEquals(queue.receive(sink), 0);
  }
  const { queue, describe, sink } = gqiRx(true);
  for (const sequence of [1, 2, 2, 3]) describe(62, sequence);
  assertEquals(queue.receive(sink), 2, "the gap ends what is taken");
});

Deno.test("V10: no more descriptors are taken than slots are posted", () => {
  // The stack holds all pages there are, so that none can be posted again.
  const { queue, describe, sink } = gqiRx(true, { qpl: false, hold: 1000, limit: 64 });
  const lap = (from: number, count: number) => {
    for (let i = from; i < from + count; i++) describe(502, i % 7 + 1);
    queue.receive(sink);
  };
  lap(0, 64);
  lap(64, 64);
  assertDriverFault(() => lap(128, 64), "sequence");
});

Deno.test("a GQI packet with ERR is dropped to its end", () => {
  const { queue, describe, sink, around } = gqiRx(true);
  describe(2048, 1, { pkt_cont: 1 });
  describe(2048, 2, { pkt_cont: 1, err: 1 });
  describe(100, 3);
  describe(62, 4);
  queue.receive(sink);
  assertEquals(sink.frames.map(({ length }) => length), [60]);
  assertEquals([around.context.counters.rxErrors, around.context.counters.rxDroppedFragments], [1, 3]);
});

Deno.test("V12: a tag that is not outstanding is refused, whatever the completion", () => {
  for (
    const [type, tag, code] of [
      [PACKET, 0, "tag-state"],
      [MISS, 0, "tag-state"],
      [REINJECTION, 0, "tag-state"],
      [PACKET, 31, "tag-range"],
      [PACKET, 0x7fff, "tag-range"],
      [PACKET, 0x8000, "tag-state"],
      [MISS, 0xffff, "tag-range"],
    ] as const
  ) {
    const { queue, complete } = dqoTx(true);
    complete(type, tag);
    assertDriverFault(() => queue.clean(), code);
  }
});

Deno.test("V12: a packet completes once", () => {
  const { queue, complete } = dqoTx(true);
  queue.transmit(packet(60));
  complete(PACKET, 0);
  assertEquals(queue.clean(), 1);
  complete(PACKET, 0);
  assertDriverFault(() => queue.clean(), "tag-state");
});

Deno.test("V12: profile=linux ignores completions that fit no packet, and unknown types", () => {
  const { queue, complete, around } = dqoTx(false);
  queue.transmit(packet(60));
  complete(PACKET, 5);
  complete(REINJECTION, 0);
  complete(7, 0);
  complete(PACKET, 0x7fff);
  assertEquals(queue.clean(), 4);
  assertEquals(around.context.counters.txIgnored, 4);
  assertEquals(queue.tagCounts, { free: 30, pending: 1, waiting: 0, timedOut: 0, size: 31 });
});

Deno.test("V13: tx_head stays between head and tail", () => {
  for (const head of [3, 63, 64, 0xffff]) {
    const { queue, complete } = dqoTx(true);
    queue.transmit(packet(60));
    complete(DESCRIPTOR, head);
    assertDriverFault(() => queue.clean(), "tx-head");
  }
  const { queue, complete } = dqoTx(true);
  queue.transmit(packet(60));
  queue.transmit(packet(60));
  complete(DESCRIPTOR, 4);
  complete(DESCRIPTOR, 2);
  assertDriverFault(() => queue.clean(), "tx-head");
  const lenient = dqoTx(false);
  lenient.complete(DESCRIPTOR, 64 + 5);
  lenient.queue.clean();
  assertEquals(lenient.queue.inspect()["head"], 5, "Linux masks it and looks no further");
});

Deno.test("V14: a completion names its own queue", () => {
  const { queue, complete } = dqoTx(true, 2);
  queue.transmit(packet(60));
  complete(PACKET, 0, { id: 1 });
  assertDriverFault(() => queue.clean(), "completion-queue");
});

Deno.test("an unknown completion type is refused", () => {
  for (const type of [0, 5, 6, 7]) {
    const { queue, complete } = dqoTx(true);
    complete(type, 0);
    assertDriverFault(() => queue.clean(), "completion-type");
  }
});

Deno.test("V11: a completion of the wrong generation is not one", () => {
  const { queue, complete } = dqoTx(true);
  queue.transmit(packet(60));
  complete(PACKET, 0, { generation: 0 });
  assertEquals(queue.clean(), 0);
  const rx = dqoRx(true);
  rx.complete(0, 60, { generation: 0 });
  assertEquals(rx.queue.receive(rx.sink), 0);
});

Deno.test("V11: a ring full of completions that never end is taken for one lap at most", () => {
  const { queue, complete } = dqoTx(false);
  for (let i = 0; i < 64; i++) complete(PACKET, 0);
  assertEquals(queue.clean(), 64);
});

Deno.test("V15: a buffer id is the driver's, and posted", () => {
  for (const [id, code] of [[256, "buffer-id"], [0xffff, "buffer-id"], [63, "buffer-not-posted"]] as const) {
    const { queue, complete, sink } = dqoRx(true);
    complete(id, 60);
    assertDriverFault(() => queue.receive(sink), code);
  }
  const { queue, complete, sink } = dqoRx(true);
  complete(5, 1000);
  complete(5, 1000);
  assertDriverFault(() => queue.receive(sink), "buffer-not-posted");
});

Deno.test("V16: packet_len fits the buffer and is not 0", () => {
  for (const length of [0, 2049, 16383]) {
    const { queue, complete, sink } = dqoRx(true);
    complete(0, length);
    assertDriverFault(() => queue.receive(sink), "packet-length");
  }
});

Deno.test("V16: profile=linux delivers 16383 bytes out of a buffer of 2048", () => {
  const { queue, complete, sink } = dqoRx(false);
  complete(0, 16383);
  queue.receive(sink);
  assertEquals(sink.frames.map(({ length }) => length), [16383]);
});

Deno.test("V17, V18: a header fits its buffer and stands first", () => {
  const split = { split_header: 1 };
  for (const header_len of [0, 129, 1023]) {
    const { queue, complete, sink } = dqoRx(true, { headerSize: 128 });
    complete(0, 100, { ...split, header_len });
    assertDriverFault(() => queue.receive(sink), "header-length");
  }
  const without = dqoRx(true);
  without.complete(0, 100, { ...split, header_len: 54 });
  assertDriverFault(() => without.queue.receive(without.sink), "header-length");
  const { queue, complete, sink } = dqoRx(true, { headerSize: 128 });
  complete(0, 2048, { end_of_packet: 0 });
  complete(1, 100, { ...split, header_len: 54 });
  assertDriverFault(() => queue.receive(sink), "header-position");
});

Deno.test("a split header that did not fit is none", () => {
  const { queue, complete, sink } = dqoRx(true, { headerSize: 128 });
  complete(0, 100, { split_header: 1, header_len: 500, header_buffer_overflow: 1 });
  queue.receive(sink);
  assertEquals(sink.frames.map(({ length }) => length), [100]);
});

Deno.test("V20: a coalesced packet is TCP and says its segment length", () => {
  const packetTypes = new Uint8Array(2048);
  packetTypes.set([2, 2, 2, 3, 1, 2, 3, 2], 5 * 2);
  for (
    const values of [
      { packet_type: 5, raw_cs: 0 },
      { packet_type: 6, raw_cs: 1448 },
      { packet_type: 7, raw_cs: 1448 },
    ]
  ) {
    const { queue, complete, sink } = dqoRx(true, { packetTypes });
    complete(0, 2000, { rsc: 1, ...values });
    assertDriverFault(() => queue.receive(sink), "segment-length");
  }
  const { queue, complete, sink } = dqoRx(false, { packetTypes });
  complete(0, 2000, { rsc: 1, packet_type: 6, raw_cs: 1448 });
  complete(1, 2000, { rsc: 1, packet_type: 7, raw_cs: 1448 });
  complete(2, 2000, { rsc: 1, packet_type: 5, raw_cs: 1448 });
  complete(3, 2001, { rsc: 1, packet_type: 8, raw_cs: 1448 });
  queue.receive(sink);
  assertEquals(sink.frames.map(({ length }) => length), [2000, 2001], "Linux drops what is not TCP over IP");
});

Deno.test("V22: a MISS comes once, a PACKET never after it", () => {
  for (const type of [MISS, PACKET]) {
    const { queue, complete } = dqoTx(true);
    queue.transmit(packet(60));
    complete(MISS, 0);
    assertEquals(queue.clean(), 1);
    complete(type, 0);
    assertDriverFault(() => queue.clean(), "tag-state");
  }
});

Deno.test("V22: a MISS without REINJECTION gives its buffers up after 1 s, its tag after 60 s more", () => {
  for (const alternate of [false, true]) {
    const { queue, complete, around } = dqoTx(true);
    queue.transmit(packet(60));
    if (alternate) complete(PACKET, 0x8000);
    else complete(MISS, 0);
    queue.clean();
    assertEquals(queue.tagCounts.waiting, 1);
    around.clock.advance(999);
    queue.clean();
    assertEquals(queue.tagCounts.waiting, 1);
    around.clock.advance(1);
    queue.clean();
    assertEquals(queue.tagCounts, { free: 30, pending: 0, waiting: 0, timedOut: 1, size: 31 });
    around.clock.advance(59999);
    queue.clean();
    assertEquals(queue.tagCounts.timedOut, 1);
    around.clock.advance(1);
    queue.clean();
    assertEquals(queue.tagCounts.free, 31);
    const { txMisses, txTimeouts, txTagsReclaimed } = around.context.counters;
    assertEquals([txMisses, txTimeouts, txTagsReclaimed], [1, 1, 1]);
  }
});

Deno.test("V22: a late REINJECTION frees the tag at once", () => {
  const { queue, complete, around } = dqoTx(true);
  queue.transmit(packet(60));
  complete(MISS, 0);
  queue.clean();
  around.clock.advance(1500);
  queue.clean();
  complete(REINJECTION, 0);
  queue.clean();
  assertEquals(queue.tagCounts.free, 31);
  complete(REINJECTION, 0);
  assertDriverFault(() => queue.clean(), "tag-state");
});

Deno.test("V25: after an error in mid-packet the rest is dropped; profile=linux delivers it as a packet", () => {
  for (const strict of [true, false]) {
    const { queue, complete, sink } = dqoRx(strict);
    complete(0, 2048, { end_of_packet: 0 });
    complete(1, 2048, { end_of_packet: 0, rx_error: 1 });
    complete(2, 2048, { end_of_packet: 0 });
    complete(3, 500);
    complete(4, 600);
    queue.receive(sink);
    assertEquals(sink.frames.map(({ length }) => length), strict ? [600] : [2548, 600]);
  }
});

Deno.test("a packet that never ends is refused once it is longer than any", () => {
  const { queue, complete, sink, posted } = dqoRx(true);
  const endless = () => {
    for (let i = 0; i < 200; i++) {
      complete(posted(i), 2048, { end_of_packet: 0 });
      if (i % 16 === 15) queue.receive(sink);
    }
  };
  assertDriverFault(endless, "frame-too-long");
});

Deno.test("a full queue stops once, and goes on when completions come", () => {
  const { queue, complete, around } = dqoTx(true);
  let sent = 0;
  while (queue.transmit(packet(60)) !== FULL) sent++;
  assertEquals(queue.transmit(packet(60)), FULL);
  assertEquals(around.context.counters.txStops, 1);
  // 64 slots, one unused, 4 spare, 2 per packet: the last leaves room for less than a packet.
  assertEquals(sent, 29);
  complete(DESCRIPTOR, 34);
  complete(PACKET, 0);
  queue.clean();
  assertEquals(queue.transmit(packet(60)), 0);
});
