import { assert, assertEquals } from "@std/assert";
import { onesSum } from "../../core/checksum.ts";
import { FlowParser } from "../../core/flow.ts";
import type { Frame } from "../../core/frame.ts";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import { OVERSIZE } from "../../core/plugin.ts";
import { RingPair } from "../../core/ring_pair.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { joined } from "./raw_driver.ts";

const FORMATS = ["gqi-qpl", "gqi-rda", "dqo-qpl", "dqo-rda"];

/** A TCP packet whose checksum field holds the pseudo header sum, as Linux leaves it. */
function tcpPacket(v6: boolean, payload: number): Uint8Array<ArrayBuffer> {
  const l4 = v6 ? 54 : 34;
  const bytes = new Uint8Array(l4 + 20 + payload).map((_, i) => i < l4 + 20 ? 0 : i * 7);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, v6 ? 0x86dd : 0x0800);
  if (v6) {
    bytes.set([0x60, 0, 0, 0, 0, 0, 6, 64], 14);
    view.setUint16(18, 20 + payload);
    for (let i = 22; i < 54; i++) bytes[i] = i;
  } else {
    bytes.set([0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14);
    view.setUint16(16, 40 + payload);
  }
  bytes.set([0x12, 0x34, 0, 80, 0, 1, 0, 0, 0, 0, 0, 1, 0x50, 0x19, 2, 0, 0, 0, 0, 0], l4);
  const addresses = v6 ? onesSum(bytes, 22, 32) : onesSum(bytes, 26, 8);
  let sum = addresses + 6 + 20 + payload;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view.setUint16(l4 + 16, sum);
  return bytes;
}

/** A request for that packet in pieces: a linear part with the headers, and fragments. */
function request(bytes: Uint8Array, v6: boolean, linear: number, mss: number): g.TransmitRequest {
  const l4 = v6 ? 54 : 34;
  const result = new g.TransmitRequest();
  result.push(bytes, 0, linear, g.UNMAPPED);
  for (let at = linear; at < bytes.length; at += 700) {
    result.push(bytes, at, Math.min(700, bytes.length - at), g.UNMAPPED);
  }
  result.checksum = true;
  result.checksumStart = l4;
  result.checksumOffset = 16;
  result.networkOffset = 14;
  result.transportOffset = l4;
  result.tcpHeaderLength = 20;
  result.segmentSize = mss;
  result.segmentV6 = v6;
  result.l4Hash = true;
  result.hash = 0xdeadbeef;
  return result;
}

/** Sends a request, and returns the frames that reach the wire. */
function wire(format: string, what: g.TransmitRequest): Uint8Array[] {
  const host = new LocalHost();
  const settings = g.settingsFrom(new OptionValues(gve.options, { format }));
  const device = new g.GveDevice(host.space, settings.device, () => {});
  const driver = new g.GveDriver(device, host.dma, host.space, host.clock, settings.driver);
  assertEquals(driver.transmitRequest(what), 0);
  driver.flush();
  const frames: Uint8Array[] = [];
  // The wire takes every other frame only: what is refused must come again.
  let turn = 0;
  const loop = {
    transmit: (frame: Frame) => {
      if (turn++ % 2 === 0) return false;
      frames.push(joined(frame));
      return true;
    },
    drop: () => {},
  };
  for (let i = 0; i < 200; i++) device.service(loop);
  return frames;
}

/** The checksums of a TCP frame are right. */
function assertSums(frame: Uint8Array): void {
  const flow = new FlowParser();
  flow.parse(frame, 0, frame.length);
  assertEquals(flow.end, frame.length, "the IP length is the frame's");
  const addresses = flow.l3 === 2 ? 32 : 8;
  let sum = onesSum(frame, flow.sourceOffset, addresses) + 6 + flow.end - flow.l4Offset +
    onesSum(frame, flow.l4Offset, flow.end - flow.l4Offset);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  assertEquals(sum, 0xffff, "TCP checksum");
}

for (const format of FORMATS) {
  for (const v6 of [false, true]) {
    Deno.test(`the device finishes checksums: ${format}, IPv${v6 ? 6 : 4}`, () => {
      const bytes = tcpPacket(v6, 1001);
      const frames = wire(format, request(bytes.slice(), v6, 200, 0));
      assertEquals(frames.length, 1);
      assertSums(frames[0]!);
      const l4 = v6 ? 54 : 34;
      const [sent, got] = [bytes.slice(), frames[0]!.slice()];
      for (const frame of [sent, got]) frame.fill(0, l4 + 16, l4 + 18);
      assertEquals(got, sent, "nothing else was changed");
    });

    Deno.test(`the device segments: ${format}, IPv${v6 ? 6 : 4}`, () => {
      const bytes = tcpPacket(v6, 4000);
      const headers = v6 ? 74 : 54;
      const frames = wire(format, request(bytes.slice(), v6, headers + 46, 1448));
      assertEquals(frames.map(({ length }) => length - headers), [1448, 1448, 1104]);
      const payload: number[] = [];
      frames.forEach((frame, i) => {
        assertSums(frame);
        const view = new DataView(frame.buffer);
        const l4 = headers - 20;
        assertEquals(view.getUint32(l4 + 4), 0x10000 + i * 1448, "sequence number");
        assertEquals(frame[l4 + 13]! & 0x09, i === 2 ? 0x09 : 0, "FIN and PSH stand on the last");
        if (!v6) {
          assertEquals(view.getUint16(18), 0x1234 + i, "IP id");
          assertEquals(onesSum(frame, 14, 20), 0xffff, "IP header checksum");
        }
        payload.push(...frame.slice(headers));
      });
      assertEquals(Uint8Array.from(payload), bytes.slice(headers));
    });
  }
}

Deno.test("a request with a hash is followed by metadata, which carries no data", () => {
  for (const format of FORMATS) {
    const bytes = tcpPacket(false, 500);
    const what = request(bytes.slice(), false, bytes.length, 0);
    what.checksum = false;
    assertEquals(wire(format, what), [bytes], format);
  }
});

Deno.test("receive side scaling keeps each flow on its queue and uses all of them", () => {
  for (const format of FORMATS) {
    const pair = new RingPair(gve, { format, queues: 4 });
    const seen = new Set<number>();
    const byFlow = new Map<number, number>();
    for (let i = 0; i < 200; i++) {
      const frame = tcpPacket(false, 100 + i);
      frame[35] = i % 20;
      pair.link.driver.transmit(frame, 0, frame.length, 0);
      pair.link.driver.flush();
      pair.service();
      pair.link.driver.receive({
        piece: (queue) => {
          seen.add(queue);
          assertEquals(byFlow.get(i % 20) ?? queue, queue, `flow ${i % 20}`);
          byFlow.set(i % 20, queue);
        },
      });
    }
    assertEquals(byFlow.size, 20, format);
    assertEquals([...seen].sort(), [0, 1, 2, 3], format);
  }
});

Deno.test("headers go to their own buffers when they fit, and come back as one frame", () => {
  const pair = new RingPair(gve, { "format": "dqo-rda", "header-split": "on", "copybreak": 0 });
  const frames = [
    tcpPacket(false, 500),
    tcpPacket(true, 3000),
    new Uint8Array(60).fill(1),
    tcpPacket(false, 0),
  ];
  for (const frame of frames) {
    assert(pair.transmit(frame));
    pair.service();
    assertEquals(pair.receive(), [frame]);
  }
  assertEquals(pair.counters()["rx.header_splits"], 2, "not without headers, not without payload");
});

Deno.test("copied bytes are counted where they are copied", () => {
  const count = (format: string, name: string, options: Record<string, string> = {}) => {
    const pair = new RingPair(gve, { format, ...options }, { captureSize: 4096 });
    const { memory, captureOffset } = pair.host;
    for (let i = 0; i < 10; i++) {
      pair.link.driver.transmit(memory.bytes, captureOffset, 1000, 0);
      pair.link.driver.flush();
      pair.service();
      assertEquals(pair.receive().length, 1);
    }
    return pair.counters()[name];
  };
  for (const format of ["gqi-qpl", "dqo-qpl"]) {
    assertEquals(count(format, "tx.bounce_bytes"), 10000, format);
    assertEquals(count(format, "tx.dma_maps"), 0, format);
    assert(count(format, "tx.dma_syncs")! >= 10, format);
    assertEquals(count(format, "tx.dma_syncs", { driver: "ipxe" }), 0, format);
    assertEquals(count(format, "rx.bounce_bytes"), 0, format);
  }
  for (const format of ["gqi-rda", "dqo-rda"]) {
    assertEquals(count(format, "tx.bounce_bytes"), 0, format);
    assertEquals(count(format, "tx.unmapped_bytes"), 0, format);
    assertEquals(count(format, "tx.dma_maps"), 10, format);
  }
  assertEquals(count("gqi-qpl", "pages.registered"), 64 + 256);
  assertEquals(count("dqo-qpl", "pages.registered"), 512 + 512);
  assertEquals(count("dqo-rda", "pages.registered"), 0);
});

Deno.test("limits=nic: a segment that touches more than 10 buffers is oversize, and the device takes what is not", () => {
  // Headers, then so many fragments of 80 bytes for each segment of 800.
  for (
    const [format, mss, size, result] of [
      ["dqo-rda", 800, 100, 0],
      ["dqo-rda", 800, 80, OVERSIZE],
      ["dqo-rda", 720, 80, 0],
      ["dqo-rda", 721, 80, OVERSIZE],
      ["dqo-qpl", 800, 80, 0],
    ] as const
  ) {
    const bytes = tcpPacket(false, 4000);
    const what = new g.TransmitRequest();
    what.push(bytes, 0, 54, g.UNMAPPED);
    for (let at = 54; at < bytes.length; at += size) {
      what.push(bytes, at, Math.min(size, bytes.length - at), g.UNMAPPED);
    }
    Object.assign(what, { checksum: true, checksumStart: 34, checksumOffset: 16, networkOffset: 14 });
    Object.assign(what, { transportOffset: 34, tcpHeaderLength: 20, segmentSize: mss });
    const pair = new RingPair(gve, { format, limits: "nic" });
    const driver = pair.link.driver as g.GveDriver;
    const label = `${format} ${mss} ${size}`;
    assertEquals(driver.transmitRequest(what), result, label);
    driver.flush();
    pair.service();
    assertEquals(pair.receive().length, result === 0 ? Math.ceil(4000 / mss) : 0, label);
  }
});
