import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  AddressSpace,
  DmaMemory,
  DmaMemoryError,
  LocalHost,
  ManualClock,
  Memory,
  READ,
  WRITE,
} from "../../mod.ts";
import { Random } from "../random.ts";

Deno.test("DmaMemory.allocate gives out aligned pieces that never overlap, at the address the device sees", () => {
  const random = new Random(6);
  const space = new AddressSpace();
  const memory = new Memory(0x10000);
  const dma = new DmaMemory(space, memory, 0x123, 0xf000, 0x7_0000_0040);
  let last = 0;
  for (let i = 0; i < 50; i++) {
    const alignment = 2 ** random.below(11);
    const size = random.between(1, 300);
    const before = dma.free;
    const piece = dma.allocate(size, alignment);
    assertEquals(piece.size, size);
    assertEquals(piece.address % alignment, 0);
    assert(piece.address >= last);
    assert(before - dma.free >= size);
    const region = space.find(piece.address, READ)!;
    assert(region.holds(piece.address, size));
    assertEquals(piece.address + region.delta, piece.offset);
    last = piece.address + size;
  }
});

Deno.test("DmaMemory.allocate takes the last byte and then refuses", () => {
  const dma = new DmaMemory(new AddressSpace(), new Memory(100), 10, 64, 0x1000);
  assertEquals(dma.allocate(60, 1).offset, 10);
  assertThrows(() => dma.allocate(5, 1), DmaMemoryError, "only 4 of the driver's memory are free");
  assertThrows(() => dma.allocate(1, 64), DmaMemoryError, "Cannot allocate");
  assertEquals(dma.allocate(4, 4), { offset: 70, address: 0x103c, size: 4 });
  assertEquals(dma.free, 0);
  assertThrows(() => dma.allocate(1, 1), DmaMemoryError, "Cannot allocate");
});

Deno.test("DmaMemory.allocate refuses sizes and alignments that are none, and gives out what it would have", () => {
  const dma = new DmaMemory(new AddressSpace(), new Memory(0x1000), 0, 0x1000, 0x1000);
  dma.allocate(64, 1);
  for (const size of [-64, -1, 0.5, NaN, Infinity, 2 ** 53]) {
    assertThrows(() => dma.allocate(size, 1), RangeError, `Cannot allocate ${size} bytes`);
  }
  for (const alignment of [0, -8, 3, 0.5, NaN, Infinity]) {
    assertThrows(() => dma.allocate(8, alignment), RangeError, `aligned to ${alignment}`);
  }
  assertEquals(dma.allocate(0, 1), { offset: 64, address: 0x1040, size: 0 });
  assertEquals(dma.allocate(8, 1), { offset: 64, address: 0x1040, size: 8 });
});

Deno.test("LocalHost shows the device the driver's part, lets it read the capture part, and hides the rest", () => {
  const clock = new ManualClock(5);
  const host = new LocalHost({ dmaSize: 0x1000, captureSize: 0x800, privateSize: 0x400, clock });
  assertEquals([host.captureOffset, host.privateOffset, host.memory.size], [0x1000, 0x1800, 0x1c00]);
  assertEquals(host.clock.now(), 5);
  const start = host.dma.region.start;
  assert(start > 0);
  assertEquals(host.space.find(start, WRITE)?.delta, -start);
  assertEquals(host.space.find(start + 0xfff, READ)?.delta, -start);
  assertEquals(host.space.find(start + 0x1000, WRITE), undefined);
  assertEquals(host.space.find(start + 0x17ff, READ)?.delta, -start);
  assertEquals(host.space.find(start + 0x1800, READ), undefined);
});

Deno.test("LocalHost puts the driver's memory where it is told, above 4 GiB too", () => {
  const base = 0x12_3456_7000;
  const host = new LocalHost({ base, dmaSize: 0x1000, captureSize: 0x1000 });
  assertEquals(host.space.regions.map(({ start, end }) => [start, end]), [
    [base, base + 0x1000],
    [base + 0x1000, base + 0x2000],
  ]);
  assertEquals(host.dma.allocate(16, 256).address, base);
});

Deno.test("LocalHost maps no capture part when none is asked for", () => {
  const host = new LocalHost({ dmaSize: 64 });
  assertEquals(host.space.regions, [host.dma.region]);
  assertEquals(host.memory.size, 64);
});
