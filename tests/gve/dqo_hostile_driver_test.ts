import { assertEquals } from "@std/assert";
import { FrameBatch } from "../../core/frame_batch.ts";
import type { ValuesInput } from "../../core/layout.ts";
import * as g from "../../plugins/gve/mod.ts";
import { wireTo } from "./both_ways.ts";
import { assertDeviceFault } from "./faults.ts";
import { type RawDriver, type RawQueue, receiving, transmitting } from "./raw_driver.ts";

const { DQO_DTYPE } = g;

function data(raw: RawDriver, values: ValuesInput = {}): Uint8Array {
  return g.gve_tx_pkt_desc_dqo.encode({
    buf_addr: raw.buffer,
    dtype: DQO_DTYPE.PACKET,
    buf_size: 60,
    end_of_packet: 1,
    ...values,
  });
}

const general = g.gve_tx_general_context_desc_dqo.encode({ dtype: DQO_DTYPE.GENERAL_CONTEXT });
function tso(values: ValuesInput = {}): Uint8Array {
  return g.gve_tx_tso_context_desc_dqo.encode({
    dtype: DQO_DTYPE.TSO_CONTEXT,
    tso: 1,
    tso_total_len: 100,
    mss: 88,
    header_len: 54,
    ...values,
  });
}

function send(
  raw: RawDriver,
  queue: RawQueue,
  descriptors: readonly Uint8Array[],
  tail = descriptors.length,
): void {
  descriptors.forEach((bytes, i) => raw.put(queue.ring + i * 16, bytes));
  raw.ring(queue, tail);
}

type Make = (raw: RawDriver) => readonly Uint8Array[];

/** What the device says to these descriptors. */
function refused(code: g.DeviceFault, make: Make, options: Record<string, string> = {}): void {
  const { raw, queue } = transmitting({ format: "dqo-rda", ...options });
  send(raw, queue, make(raw));
  assertDeviceFault(() => raw.service(), code);
  assertEquals(raw.service(), 0, "the queue is stopped");
}

/** Transmit completions so far: type, tag and generation. */
function completions(raw: RawDriver, queue: RawQueue, count: number): unknown[] {
  return Array.from({ length: count }, (_, i) => {
    const values = g.gve_tx_compl_desc.decode(raw.get(queue.completions + i * 8, 8));
    return [values["type"], values["completion_tag"], values["generation"]];
  });
}

Deno.test("D15: contexts stand before the data, TSO first, one of each", () => {
  refused("context-order", (raw) => [general, general, data(raw)]);
  refused("context-order", (raw) => [general, tso(), data(raw)]);
  refused("context-order", (raw) => [tso(), tso(), data(raw)]);
  refused("context-order", (raw) => [data(raw, { end_of_packet: 0 }), general, data(raw)]);
  refused("descriptor-type", (raw) => [data(raw, { dtype: 0x1f })]);
  refused("descriptor-type", () => [new Uint8Array(16)]);
});

Deno.test("D15: a doorbell announces whole packets", () => {
  refused("unfinished-packet", () => [general]);
  refused("unfinished-packet", (raw) => [general, data(raw, { end_of_packet: 0 })]);
  refused("unfinished-packet", () => [tso()]);
});

Deno.test("D16: no buffer is empty, and whatever is too much for the NIC stops the queue", () => {
  refused("zero-length", (raw) => [data(raw, { buf_size: 0 })]);
  const nic = { limits: "nic" };
  refused("packet-size", (raw) => [data(raw, { buf_size: 16 })], nic);
  refused("packet-size", (raw) => [data(raw, { buf_size: 9729 })], nic);
  const eleven: Make = (raw) =>
    Array.from({ length: 11 }, (_, i) => data(raw, { end_of_packet: i === 10 ? 1 : 0 }));
  refused("descriptor-limit", eleven, nic);
  const { raw, queue } = transmitting({ format: "dqo-rda" });
  send(raw, queue, eleven(raw));
  assertEquals(raw.service(), 11, "without the NIC's limits they pass");
});

Deno.test("D16: the data of a TSO packet are its headers and its total", () => {
  refused("tso", (raw) => [tso({ mss: 0 }), data(raw)]);
  refused("tso", (raw) => [tso({ tso_total_len: 0 }), data(raw)]);
  refused("tso", (raw) => [tso({ tso_total_len: 262144 }), data(raw)]);
  refused("tso", (raw) => [tso({ tso: 0 }), data(raw)]);
  refused("length-mismatch", (raw) => [tso(), data(raw, { buf_size: 153 })]);
  refused("tso", (raw) => [tso({ mss: 87 }), data(raw, { buf_size: 154 })], { limits: "nic" });
  refused("tso", (raw) => [tso({ mss: 9729 }), data(raw, { buf_size: 154 })], { limits: "nic" });
  refused("tso", (raw) => [tso(), data(raw, { buf_size: 154 })]);
});

Deno.test("D16: a segment touches at most 10 buffers, its headers counted as one", () => {
  // 9 payload buffers per segment pass, 10 do not.
  for (const [pieces, code] of [[9, "tso"], [10, "descriptor-limit"]] as const) {
    refused(code, (raw) => [
      tso({ tso_total_len: 880, mss: 880 }),
      data(raw, { buf_size: 54, end_of_packet: 0 }),
      ...Array.from({ length: pieces }, (_, i) =>
        data(raw, {
          buf_size: i < pieces - 1 ? 10 : 880 - 10 * (pieces - 1),
          end_of_packet: i === pieces - 1 ? 1 : 0,
        })),
    ], { limits: "nic" });
  }
});

Deno.test("D17: a tag has 15 bits and stands on all descriptors of its packet, or on the last alone", () => {
  refused("tag-range", (raw) => [data(raw, { compl_tag: 0x8000 })]);
  refused(
    "tag-mismatch",
    (raw) => [data(raw, { compl_tag: 1, end_of_packet: 0 }), data(raw, { compl_tag: 2 })],
  );
  const { raw, queue } = transmitting({ format: "dqo-rda" });
  send(raw, queue, [data(raw, { end_of_packet: 0 }), data(raw, { compl_tag: 0x0205 })]);
  assertEquals(raw.service(), 2);
  assertEquals(completions(raw, queue, 1), [[2, 0x0205, 1]], "as iPXE does it");
});

Deno.test("D17: a tag is not used again before its completion", () => {
  refused("tag-in-flight", (raw) => [data(raw, { compl_tag: 7 }), data(raw, { compl_tag: 7 })]);
  const { raw, queue } = transmitting({ format: "dqo-rda" });
  send(raw, queue, [data(raw, { compl_tag: 7 })]);
  raw.service();
  raw.put(queue.ring + 16, data(raw, { compl_tag: 7 }));
  raw.ring(queue, 2);
  assertEquals(raw.service(), 1, "afterwards it is free");
});

/** Numbers up to the largest that a field holds, in an order in which the device needs more room each time. */
function rising(largest: number): number[] {
  return [7, 1023, 1024, 2047, 2048, 5000, largest];
}

Deno.test("D17: a tag is not used again before its completion, whatever others there are", () => {
  for (const batches of [false, true]) {
    for (const again of rising(0x7fff)) {
      const { raw, queue } = transmitting({ format: "dqo-rda" });
      const tags = [...rising(0x7fff), again];
      send(raw, queue, tags.map((compl_tag) => data(raw, { compl_tag })));
      const service = () => raw.device.service(wireTo(raw.frames, () => Infinity, batches));
      assertDeviceFault(service, "tag-in-flight");
      assertEquals(raw.frames.length, 7, `${again}`);
      const other = transmitting({ format: "dqo-rda" });
      send(other.raw, other.queue, tags.slice(0, -1).map((compl_tag) => data(other.raw, { compl_tag })));
      other.raw.device.service(wireTo(other.raw.frames, () => Infinity, batches));
      other.raw.put(other.queue.ring + 7 * 16, data(other.raw, { compl_tag: again }));
      other.raw.ring(other.queue, 8);
      assertEquals(other.raw.device.service(wireTo(other.raw.frames, () => Infinity, batches)), 1);
    }
  }
});

Deno.test("D17: a tag of a packet in pieces is not used again by one that moves in a batch", () => {
  for (const first of [5, 5000]) {
    const { raw, queue } = transmitting({ format: "dqo-rda" });
    const pieces = [data(raw, { compl_tag: 7, end_of_packet: 0 }), data(raw, { compl_tag: 7 })];
    send(raw, queue, [data(raw, { compl_tag: first }), ...pieces, data(raw, { compl_tag: 7 })]);
    const service = () => raw.device.service(wireTo(raw.frames, () => Infinity, true));
    assertDeviceFault(service, "tag-in-flight");
    assertEquals(raw.frames.map(({ length }) => length), [60, 120]);
  }
});

Deno.test("D17: a tag whose packet is on the slow path is in flight", () => {
  const { raw, queue } = transmitting({ "format": "dqo-rda", "miss-rate": "100" });
  send(raw, queue, [data(raw, { compl_tag: 7 })]);
  raw.service();
  assertEquals(completions(raw, queue, 2), [[1, 7, 1], [0, 0, 0]], "MISS");
  raw.put(queue.ring + 16, data(raw, { compl_tag: 7 }));
  raw.ring(queue, 2);
  assertDeviceFault(() => raw.service(), "tag-in-flight");
});

Deno.test("a packet on the slow path completes with REINJECTION", () => {
  const { raw, queue } = transmitting({ "format": "dqo-rda", "miss-rate": "100" });
  send(raw, queue, [data(raw, { compl_tag: 7 })]);
  assertEquals(raw.service(), 2, "a descriptor and a completion");
  assertEquals(raw.service(), 1, "the late completion");
  assertEquals(completions(raw, queue, 2), [[1, 7, 1], [3, 7, 1]]);
});

Deno.test("D18: report events stand on last descriptors, at least 32 apart", () => {
  refused("report-event", (raw) => [data(raw, { report_event: 1, end_of_packet: 0 }), data(raw)]);
  refused("report-event", (raw) => [data(raw, { report_event: 1 })]);
  const { raw, queue } = transmitting({ format: "dqo-rda" });
  send(
    raw,
    queue,
    Array.from({ length: 33 }, (_, i) => data(raw, { compl_tag: i, report_event: i === 32 ? 1 : 0 })),
  );
  assertEquals(raw.service(), 33);
  assertEquals(
    completions(raw, queue, 34).slice(32),
    [[4, 33, 1], [2, 32, 1]],
    "DESCRIPTOR names the next index",
  );
});

Deno.test("D19, D20: a DQO doorbell is an index", () => {
  for (const tail of [64, 0xffffffff]) {
    const { raw, queue } = transmitting({ format: "dqo-rda" });
    raw.ring(queue, tail);
    assertDeviceFault(() => raw.service(), "doorbell-beyond-ring");
    const other = receiving({ format: "dqo-rda" });
    other.raw.ring(other.queue, tail);
    assertDeviceFault(() => other.raw.deliver(new Uint8Array(60)), "doorbell-beyond-ring");
  }
});

Deno.test("buffers lie in memory that the device may reach, and in the page list if there is one", () => {
  refused("address", (raw) => [data(raw, { buf_addr: 0 })]);
  refused("address", (raw) => [data(raw, { buf_addr: "0xffffffffffffff00" })]);
  refused("address", (raw) => [data(raw, { buf_addr: raw.host.dma.region.end - 59 })]);
  refused("outside-page-list", (raw) => [data(raw)], { format: "dqo-qpl" });
  const { raw, queue, list } = transmitting({ format: "dqo-qpl" });
  send(raw, queue, [data(raw, { buf_addr: list[2]! + 4036 })]);
  assertEquals(raw.service(), 1);
});

Deno.test("D23: reserved bits of descriptors are zero", () => {
  refused("reserved-bits", (raw) => [data(raw, { reserved0: 1 })]);
  refused("reserved-bits", (raw) => [data(raw, { reserved1: 1 })]);
  refused("reserved-bits", (raw) => [data(raw, { reserved2: 1 })]);
  const { raw, queue } = transmitting({ format: "dqo-rda", profile: "linux" });
  send(raw, queue, [data(raw, { reserved0: 1, reserved1: 2, reserved2: 3 })]);
  assertEquals(raw.service(), 1, "profile=linux does not look");
});

/** Posts receive buffers from index 0 on. */
function post(raw: RawDriver, queue: RawQueue, buffers: readonly ValuesInput[]): void {
  buffers.forEach((values, i) => raw.put(queue.ring + i * 32, g.gve_rx_desc_dqo.encode(values)));
  raw.ring(queue, buffers.length);
}

Deno.test("D20: a buffer id is not posted twice at a time", () => {
  const { raw, queue } = receiving({ format: "dqo-rda" });
  const buf_addr = raw.buffer;
  post(raw, queue, [{ buf_id: 3, buf_addr }, { buf_id: 3, buf_addr }]);
  assertEquals(raw.deliver(new Uint8Array(60)), 0);
  assertDeviceFault(() => raw.deliver(new Uint8Array(60)), "buffer-id-posted");
  const other = receiving({ format: "dqo-rda" });
  post(other.raw, other.queue, [{ buf_id: 3, buf_addr }]);
  other.raw.deliver(new Uint8Array(60));
  post(other.raw, other.queue, [{ buf_id: 3, buf_addr }, { buf_id: 3, buf_addr }]);
  assertEquals(other.raw.deliver(new Uint8Array(60)), 0, "after its completion it is free");
});

Deno.test("D20: a buffer id is not posted twice at a time, whatever others there are", () => {
  for (const batches of [false, true]) {
    for (const again of rising(0xffff)) {
      const { raw, queue } = receiving({ format: "dqo-rda" });
      const ids = [...rising(0xffff), again];
      post(raw, queue, ids.map((buf_id, i) => ({ buf_id, buf_addr: raw.buffer + i * 2048 })));
      const deliver = () => {
        if (!batches) return raw.deliver(new Uint8Array(60)) + 1;
        const frames = new FrameBatch();
        frames.bytes = new Uint8Array(60);
        frames.lengths[0] = 60;
        frames.count = 1;
        return raw.device.deliverBatch(frames, 0) || raw.deliver(frames.bytes) + 1;
      };
      for (const buf_id of rising(0xffff)) assertEquals(deliver(), 1, `${buf_id}`);
      assertDeviceFault(deliver, "buffer-id-posted");
    }
  }
});

Deno.test("D20: buffers at the doorbell are not available", () => {
  const { raw, queue } = receiving({ format: "dqo-rda" });
  post(raw, queue, [{ buf_id: 3, buf_addr: raw.buffer }]);
  assertEquals(raw.deliver(new Uint8Array(2049)), -1, "one buffer is too few");
  assertEquals(raw.deliver(new Uint8Array(2048)), 0);
  assertEquals(raw.deliver(new Uint8Array(60)), -1);
  assertEquals(raw.device.counters()["device.rx.no_buffers"], 2);
});

Deno.test("D21: with header split every buffer has a header buffer", () => {
  const { raw, queue } = receiving({ format: "dqo-rda" }, { header_buffer_size: 128 });
  post(raw, queue, [{ buf_id: 3, buf_addr: raw.buffer }]);
  assertDeviceFault(() => raw.deliver(new Uint8Array(60)), "header-buffer");
});

Deno.test("receive buffers lie in memory that the device may write", () => {
  const { raw, queue } = receiving({ format: "dqo-rda" });
  post(raw, queue, [{ buf_id: 3, buf_addr: 64 }]);
  assertDeviceFault(() => raw.deliver(new Uint8Array(60)), "address");
  const listed = receiving({ format: "dqo-qpl" });
  post(listed.raw, listed.queue, [{ buf_id: 3, buf_addr: listed.raw.buffer }]);
  assertDeviceFault(() => listed.raw.deliver(new Uint8Array(60)), "outside-page-list");
});

Deno.test("DQO receive: one completion per buffer, the id echoed, generation by lap", () => {
  const { raw, queue } = receiving({ format: "dqo-rda" });
  post(raw, queue, [
    { buf_id: 0xfffe, buf_addr: raw.buffer },
    { buf_id: 9, buf_addr: raw.buffer + 4096 },
  ]);
  const frame = Uint8Array.from({ length: 3000 }, (_, i) => i * 11);
  assertEquals(raw.deliver(frame), 0);
  const at = (i: number) => {
    const values = g.gve_rx_compl_desc_dqo.decode(raw.get(queue.completions + i * 32, 32));
    return [
      values["buf_id"],
      values["packet_len"],
      values["end_of_packet"],
      values["generation"],
      values["rxdid"],
    ];
  };
  assertEquals([at(0), at(1), at(2)], [[0xfffe, 2048, 0, 1, 1], [9, 952, 1, 1, 1], [0, 0, 0, 0, 0]]);
  assertEquals(raw.get(raw.buffer, 2048), frame.slice(0, 2048));
  assertEquals(raw.get(raw.buffer + 4096, 952), frame.slice(2048));
});

Deno.test("DQO interrupts are one-shot, and completions wait for one in batches", () => {
  const { raw, queue } = receiving({ "format": "dqo-rda", "completion-batch": "4" });
  post(raw, queue, Array.from({ length: 8 }, (_, i) => ({ buf_id: i, buf_addr: raw.buffer + i * 2048 })));
  const valid = () =>
    Array.from({ length: 8 }, (_, i) =>
      Number(
        g.gve_rx_compl_desc_dqo.decode(raw.get(queue.completions + i * 32, 32))["generation"],
      )).reduce((sum, bit) => sum + bit, 0);
  for (let i = 0; i < 3; i++) raw.deliver(new Uint8Array(60));
  raw.service();
  assertEquals([valid(), raw.interrupts.length], [0, 0], "not armed, not four");
  raw.deliver(new Uint8Array(60));
  assertEquals(valid(), 4);
  raw.deliver(new Uint8Array(60));
  assertEquals(valid(), 4);
  const irq = Number(raw.device.bar2.read(0, 4));
  assertEquals(irq, 0);
  // Interrupt doorbells come first in this device: block 1 is the second.
  raw.device.bar2.write((16 + 1) * 4, 4, 0x19);
  raw.service();
  assertEquals([valid(), raw.interrupts], [5, [1]], "armed: what waits comes out");
  raw.deliver(new Uint8Array(60));
  raw.service();
  assertEquals([valid(), raw.interrupts], [5, [1]], "and only once");
});
