import { assertEquals } from "@std/assert";
import type { Frame } from "../../core/frame.ts";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import { OVERSIZE } from "../../core/plugin.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { joined } from "./raw_driver.ts";

/** Descriptors that a frame in so many pieces becomes, and the frame as it reaches the wire; or the refusal. */
function send(options: Record<string, string>, pieces: number, size: number, values: object = {}) {
  const host = new LocalHost({ captureSize: 65536 });
  const settings = g.settingsFrom(new OptionValues(gve.options, options));
  const device = new g.GveDevice(host.space, settings.device, () => {});
  const driver = new g.GveDriver(device, host.dma, host.space, host.clock, settings.driver);
  const { memory, captureOffset } = host;
  const request = Object.assign(new g.TransmitRequest(), values);
  const frame = new Uint8Array(pieces * size).map((_, i) => i * 13);
  memory.bytes.set(frame, captureOffset);
  for (let i = 0; i < pieces; i++) request.push(memory.bytes, captureOffset + i * size, size, g.UNMAPPED);
  const result = driver.transmitRequest(request);
  driver.flush();
  const frames: Uint8Array[] = [];
  device.service({ transmit: (got: Frame) => frames.push(joined(got)) > 0, drop: () => {} });
  const counters = { ...device.counters(), ...driver.counters() };
  assertEquals(frames, result === 0 ? [frame] : [], JSON.stringify(options));
  return {
    result,
    descriptors: counters["device.tx.descriptors"],
    linearized: counters["tx.linearized"],
    copied: counters["tx.unmapped_bytes"],
    maps: counters["tx.dma_maps"],
  };
}

Deno.test("limits=nic: a packet in more pieces than the NIC takes is made one, as Linux does", () => {
  for (const [format, most, others] of [["dqo-rda", 10, 1], ["gqi-rda", 18, 0]] as const) {
    const options = { format, limits: "nic" };
    const as = (pieces: number, linearized: number) => ({
      result: 0,
      descriptors: (linearized ? 1 : pieces) + others,
      linearized,
      copied: linearized * pieces * 100,
      maps: linearized ? 1 : pieces,
    });
    assertEquals(send(options, most, 100), as(most, 0), format);
    assertEquals(send(options, most + 1, 100), as(most + 1, 1), format);
    assertEquals(send({ format }, most + 1, 100), as(most + 1, 0), `${format}: without limits`);
  }
});

Deno.test("limits=nic: metadata is one of GQI's descriptors, and stays when the packet is made one piece", () => {
  const options = { format: "gqi-rda", limits: "nic" };
  const hash = { l4Hash: true, hash: 0x1234 };
  assertEquals(send(options, 17, 100, hash).descriptors, 18);
  const { descriptors, linearized } = send(options, 18, 100, hash);
  assertEquals([descriptors, linearized], [2, 1]);
});

Deno.test("limits=nic: a packet that is too long is refused, in however many pieces", () => {
  for (const format of ["dqo-rda", "dqo-qpl"]) {
    assertEquals(send({ format, limits: "nic" }, 12, 811).result, OVERSIZE, format);
    assertEquals(send({ format, limits: "nic" }, 12, 810).result, 0, format);
  }
});

Deno.test("limits=nic: what a page list holds is copied into as few pieces as can be anyway", () => {
  for (const format of ["gqi-qpl", "dqo-qpl"]) {
    const { result, linearized } = send({ format, limits: "nic" }, 30, 100);
    assertEquals([result, linearized], [0, 0], format);
  }
  const { result, linearized } = send({ format: "gqi-rda", limits: "nic", driver: "ipxe" }, 30, 100);
  assertEquals([result, linearized], [0, 0]);
});

Deno.test("a request made one piece is taken as it is when the ring was full and it comes again", () => {
  const request = new g.TransmitRequest();
  const bytes = new Uint8Array(300).map((_, i) => i);
  for (const at of [0, 100, 200]) request.push(bytes, at, 100, 0x1000 + at);
  request.linearize();
  assertEquals([request.pieces, request.length, request.lengths[0], request.addresses[0]], [1, 300, 300, -1]);
  assertEquals(request.bytes[0]!.slice(0, 300), bytes);
  bytes.fill(0);
  request.linearize();
  assertEquals(request.bytes[0]![299], 299 & 0xff, "its bytes are its own");
});
