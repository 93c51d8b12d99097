import { assertEquals, assertThrows } from "@std/assert";
import { ManualClock, OptionError, OVERSIZE, type Plugin, RingPair, struct, u32 } from "../../mod.ts";
import { fakeLink } from "./fake_link.ts";

const plugin: Plugin = {
  api: 1,
  name: "fake",
  summary: "No ring at all",
  options: [{ name: "capacity", meaning: "Frames", type: "integer", min: 1, max: 100, default: 2 }],
  counters: [],
  structures: [],
  open: (options) =>
    fakeLink({
      capacity: options.integer("capacity"),
      buffers: 1,
      pieces: 2,
      drops: (frame) => frame[0] === 1 ? "odd" : undefined,
      refuses: (frame) => frame.length > 100 ? OVERSIZE : undefined,
      holds: (frame) => frame.length < 50,
    }),
};

Deno.test("RingPair goes step by step: transmit until full, service, receive", () => {
  const pair = new RingPair(plugin, {}, { dmaSize: 4096 });
  const frames = [2, 3, 4].map((byte) => new Uint8Array([byte, byte, byte]));
  assertEquals(frames.map((frame) => pair.transmit(frame)), [true, true, false]);
  assertEquals(pair.receive(), []);
  assertEquals(pair.service(), 1);
  assertEquals(pair.receive(), [frames[0]!]);
  assertEquals(pair.service(), 1);
  assertEquals(pair.receive(), [frames[1]!]);
  assertEquals(pair.service(), 0);
  assertEquals(pair.counters(), { "tx.frames": 1, "rx.frames": 2 });
});

Deno.test("RingPair keeps the reasons of drops, also when no receive buffer can hold a frame", () => {
  const pair = new RingPair(plugin, { capacity: "9" }, { dmaSize: 4096, clock: new ManualClock() });
  assertEquals(pair.options.integer("capacity"), 9);
  for (const frame of [[1], [2], new Array(60).fill(7)]) pair.transmit(new Uint8Array(frame));
  assertEquals(pair.service(), 3);
  assertEquals(pair.dropped, ["odd", "oversize"]);
  assertEquals(pair.receive(), [new Uint8Array([2])]);
});

Deno.test("RingPair.transmit throws for a frame that the ring never carries", () => {
  const pair = new RingPair(plugin, {}, { dmaSize: 4096 });
  assertThrows(() => pair.transmit(new Uint8Array(101)), RangeError, "Cannot transmit 101 bytes: oversize");
  assertThrows(() => pair.transmit(new Uint8Array(0)), RangeError, "Cannot transmit 0 bytes: runt");
});

Deno.test("RingPair refuses options that do not exist", () => {
  assertThrows(() => new RingPair(plugin, { capacty: 1 }), OptionError, 'did you mean "capacity"');
});

Deno.test("RingPair.structAt reads what the device sees, and refuses what it does not", () => {
  const pair = new RingPair(plugin, {}, { dmaSize: 4096 });
  const { address, offset } = pair.host.dma.allocate(8, 8);
  pair.host.memory.view.setUint32(offset + 4, 0x12345678, true);
  const word = struct("word", {
    summary: "A number",
    source: "this test",
    fields: [u32("value", "The number")],
  });
  assertEquals(pair.structAt(word, address + 4), { value: 0x12345678 });
  assertThrows(
    () => pair.structAt(word, address + 4094),
    RangeError,
    "Cannot read word as it is not all mapped",
  );
  assertThrows(() => pair.structAt(word, 0), RangeError, "4 bytes at address 0");
});
