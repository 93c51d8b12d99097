import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { AddressSpace, Memory, NO_REGION, READ, READ_WRITE, WRITE } from "../../mod.ts";
import { Random } from "../random.ts";

Deno.test("AddressSpace.find gives the region that holds the byte, and nothing in a hole", () => {
  const space = new AddressSpace();
  const memory = new Memory(0x3000);
  const low = space.map(0x1000, memory, 0, 0x1000, READ_WRITE);
  const high = space.map(0x3000, memory, 0x2000, 0x1000, READ_WRITE);
  assertEquals(space.find(0xfff, READ), undefined);
  assertStrictEquals(space.find(0x1000, READ), low);
  assertStrictEquals(space.find(0x1fff, READ), low);
  assertEquals(space.find(0x2000, READ), undefined);
  assertEquals(space.find(0x2fff, READ), undefined);
  assertStrictEquals(space.find(0x3000, READ), high);
  assertEquals(space.find(0x4000, READ), undefined);
  assertEquals(0x3000 + high.delta, 0x2000);
});

Deno.test("AddressSpace.find gives nothing in an empty space, at 2^53 and above, and at what is no address", () => {
  const empty = new AddressSpace();
  assertEquals(empty.find(0, READ), undefined);
  const space = new AddressSpace();
  const top = space.map(Number.MAX_SAFE_INTEGER - 16, new Memory(16), 0, 16, READ);
  assertStrictEquals(space.find(Number.MAX_SAFE_INTEGER - 1, READ), top);
  for (const address of [2 ** 53, 2 ** 53 + 2, 0xffffffffffffffff, Infinity, -1, NaN]) {
    assertEquals(space.find(address, READ), undefined);
  }
});

Deno.test("AddressSpace.find gives nothing when the region does not grant the access", () => {
  const space = new AddressSpace();
  const memory = new Memory(0x3000);
  const readable = space.map(0, memory, 0, 0x1000, READ);
  const writable = space.map(0x1000, memory, 0x1000, 0x1000, WRITE);
  const both = space.map(0x2000, memory, 0x2000, 0x1000, READ_WRITE);
  const found = [readable, writable, both].map(({ start }) =>
    [READ, WRITE, READ_WRITE].map((access) => space.find(start, access) !== undefined)
  );
  assertEquals(found, [[true, false, false], [false, true, false], [true, true, true]]);
});

Deno.test("Region.holds is true exactly for ranges within the region", () => {
  const region = new AddressSpace().map(0x1000, new Memory(0x100), 0, 0x100, READ);
  assertEquals(region.holds(0x1000, 0x100), true);
  assertEquals(region.holds(0x10ff, 1), true);
  assertEquals(region.holds(0xfff, 1), false);
  assertEquals(region.holds(0x1000, 0x101), false);
  assertEquals(region.holds(0x10ff, 2), false);
  assertEquals(region.holds(0x1100, 1), false);
  assertEquals(region.holds(0x1101, 0), false);
  assertEquals(region.holds(0xffffffffffffffff, 0xffffffff), false);
  assertEquals(NO_REGION.holds(0, 1), false);
});

Deno.test("Region.offsetOf and addressOf turn addresses into offsets and back, at any address", () => {
  for (const start of [0x1000, 0xffff_fff0, 0x12_3456_7000, Number.MAX_SAFE_INTEGER - 0x200]) {
    const region = new AddressSpace().map(start, new Memory(0x400), 0x123, 0x100, READ);
    for (const at of [0, 1, 0x7f, 0xff]) {
      assertEquals(region.offsetOf(start + at), 0x123 + at);
      assertEquals(region.addressOf(0x123 + at), start + at);
    }
  }
});

Deno.test("Region.high and shift find an offset from the halves of an address, unless a region crosses 4 GiB", () => {
  const memory = new Memory(0x400);
  for (const start of [0x1000, 0xffff_ff00, 0x9000_0000, 0x1_0000_0000, 0x12_f456_7000]) {
    const region = new AddressSpace().map(start, memory, 0x123, 0x100, READ);
    assertEquals([region.first, region.last], [0x123, 0x223]);
    for (const at of [0, 0x7f, 0xff]) {
      const low = (start + at) % 2 ** 32;
      assertEquals(region.high, Math.floor((start + at) / 2 ** 32));
      assertEquals((low + region.shift) | 0, 0x123 + at);
      assertEquals(((low | 0) + region.shift) | 0, 0x123 + at);
    }
  }
  assertEquals(new AddressSpace().map(0xffff_ff01, memory, 0, 0x100, READ).high, -1);
});

Deno.test("AddressSpace.map refuses what overlaps, on either side, within and around", () => {
  const space = new AddressSpace();
  const memory = new Memory(0x10000);
  space.map(0x2000, memory, 0, 0x1000, READ);
  for (const [start, size] of [[0x2000, 0x1000], [0x1fff, 2], [0x2fff, 2], [0x2800, 1], [0x1000, 0x4000]]) {
    assertThrows(() => space.map(start!, memory, 0, size!, READ), RangeError, "overlaps");
  }
  space.map(0x1fff, memory, 0, 1, READ);
  space.map(0x3000, memory, 0, 1, READ);
  assertEquals(space.regions.map(({ start, end }) => [start, end]), [
    [0x1fff, 0x2000],
    [0x2000, 0x3000],
    [0x3000, 0x3001],
  ]);
});

Deno.test("AddressSpace.map refuses empty ranges, ranges above 2^53 and ranges outside the memory", () => {
  const space = new AddressSpace();
  const memory = new Memory(16);
  for (
    const [start, size] of [[0, 0], [0, -1], [-1, 2], [NaN, 1], [0.5, 0.5], [Number.MAX_SAFE_INTEGER, 1]]
  ) {
    assertThrows(() => space.map(start!, memory, 0, size!, READ), RangeError, "Cannot map");
  }
  for (const [offset, size] of [[0, 17], [16, 1], [-1, 1], [NaN, 1], [0.5, 1], [Infinity, 1]]) {
    assertThrows(() => space.map(0, memory, offset!, size!, READ), RangeError, "memory is too small");
  }
  assertEquals(space.regions, []);
  assertEquals(space.generation, 0);
});

Deno.test("AddressSpace.generation moves with every change of the map and with nothing else", () => {
  const space = new AddressSpace();
  const region = space.map(0, new Memory(16), 0, 16, READ);
  const mapped = space.generation;
  space.find(0, READ);
  space.read(0, new Uint8Array(4));
  space.unmap(NO_REGION);
  assertEquals(space.generation, mapped);
  space.unmap(region);
  const unmapped = space.generation;
  space.clear();
  assertEquals(new Set([0, mapped, unmapped, space.generation]).size, 4);
  assertEquals(space.find(0, READ), undefined);
});

Deno.test("AddressSpace.contiguous joins neighbours that continue each other in memory", () => {
  const space = new AddressSpace();
  const memory = new Memory(0x4000);
  const first = space.map(0x1000, memory, 0, 0x1000, READ_WRITE);
  space.map(0x2000, memory, 0x1000, 0x1000, READ_WRITE);
  space.map(0x3000, memory, 0x2000, 0x1000, READ);
  assertStrictEquals(space.contiguous(0x1800, 0x800, READ), first);
  const joined = space.contiguous(0x1ff0, 0x1020, READ)!;
  assertEquals([joined.start, joined.end, joined.delta], [0x1000, 0x4000, -0x1000]);
  assertEquals(space.contiguous(0x1ff0, 0x1020, READ_WRITE), undefined);
  assertEquals(space.contiguous(0x3ff0, 0x20, READ), undefined);
  assertEquals(space.contiguous(0xfff, 2, READ), undefined);
});

Deno.test("AddressSpace.contiguous does not join neighbours that lie apart in memory or in different memories", () => {
  const space = new AddressSpace();
  const memory = new Memory(0x4000);
  space.map(0x1000, memory, 0, 0x1000, READ);
  space.map(0x2000, memory, 0x2000, 0x1000, READ);
  space.map(0x3000, new Memory(0x4000), 0x3000, 0x1000, READ);
  assertEquals(space.contiguous(0x1ff0, 0x20, READ), undefined);
  assertEquals(space.contiguous(0x2ff0, 0x20, READ), undefined);
});

Deno.test("AddressSpace.read and write cross region borders and stop at holes", () => {
  const random = new Random(1);
  const space = new AddressSpace();
  const memories = Array.from({ length: 4 }, () => new Memory(0x100));
  // The regions follow each other in the space, but not in memory.
  memories.forEach((memory, i) => space.map(0x1000 + i * 0x40, memory, 0x80 - i * 0x20, 0x40, READ_WRITE));
  for (let round = 0; round < 200; round++) {
    const start = random.below(0x100);
    const source = random.bytes(random.below(0x100 - start + 1));
    assertEquals(space.write(0x1000 + start, source), true);
    const target = new Uint8Array(source.length);
    assertEquals(space.read(0x1000 + start, target), true);
    assertEquals(target, source);
    for (let i = 0; i < source.length; i++) {
      const region = (start + i) >>> 6;
      const offset = 0x80 - region * 0x20 + ((start + i) & 0x3f);
      assertEquals(memories[region]!.bytes[offset], source[i]);
    }
  }
  assertEquals(space.write(0x10ff, new Uint8Array(2)), false);
  assertEquals(space.read(0xfff, new Uint8Array(2)), false);
  assertEquals(space.read(2 ** 60, new Uint8Array(1)), false);
  assertEquals(space.read(2 ** 60, new Uint8Array(0)), true);
});

Deno.test("AddressSpace.read and write keep to the permissions", () => {
  const space = new AddressSpace();
  const memory = new Memory(16);
  space.map(0, memory, 0, 8, READ);
  space.map(8, memory, 8, 8, WRITE);
  assertEquals(space.read(0, new Uint8Array(8)), true);
  assertEquals(space.read(0, new Uint8Array(9)), false);
  assertEquals(space.write(8, new Uint8Array(8)), true);
  assertEquals(space.write(7, new Uint8Array(2)), false);
});

Deno.test("AddressSpace finds each byte again after random maps and unmaps", () => {
  const random = new Random(2);
  const space = new AddressSpace();
  const memory = new Memory(64);
  const owner: (number | undefined)[] = new Array(64).fill(undefined);
  for (let round = 0; round < 500; round++) {
    const start = random.below(64);
    const size = random.between(1, Math.min(8, 64 - start));
    const old = space.find(start, READ);
    assertEquals(old?.start, owner[start]);
    if (old) {
      space.unmap(old);
      owner.fill(undefined, old.start, old.end);
    } else if (owner.slice(start, start + size).every((value) => value === undefined)) {
      space.map(start, memory, start, size, READ);
      owner.fill(start, start, start + size);
    } else assertThrows(() => space.map(start, memory, start, size, READ), RangeError, "overlaps");
    for (let address = 0; address < 64; address++) {
      assertEquals(space.find(address, READ)?.start, owner[address]);
    }
  }
});

Deno.test("AddressSpace.contiguous finds exactly the ranges whose bytes stand side by side in one memory", () => {
  const random = new Random(7);
  const memories = [new Memory(64), new Memory(64)];
  for (let round = 0; round < 100; round++) {
    const space = new AddressSpace();
    // What each address shows: a memory, an offset and the access; neighbours often continue each other.
    const shown: ({ memory: Memory; offset: number; access: number } | undefined)[] = [];
    for (let start = 0; start < 40;) {
      const size = random.between(1, 8);
      const memory = memories[random.below(8) === 0 ? 1 : 0]!;
      const offset = random.below(4) === 0 ? random.below(64 - size) : start;
      const access = random.below(4) === 0 ? READ : READ_WRITE;
      const hole = random.below(8) === 0;
      if (!hole) space.map(start, memory, offset, size, access);
      for (let i = 0; i < size; i++) {
        shown[start + i] = hole ? undefined : { memory, offset: offset + i, access };
      }
      start += size;
    }
    for (let address = 0; address < 44; address++) {
      for (const length of [1, 2, 5, 9, 20]) {
        for (const access of [READ, WRITE, READ_WRITE]) {
          const bytes = Array.from({ length }, (_, i) => shown[address + i]);
          const [first] = bytes;
          const whole = first !== undefined &&
            bytes.every((byte, i) =>
              byte?.memory === first.memory && byte.offset === first.offset + i &&
              (byte.access & access) === access
            );
          const region = space.contiguous(address, length, access);
          assertEquals(region !== undefined, whole, `${address}+${length}`);
          if (!region || !first) continue;
          assertStrictEquals(region.memory, first.memory);
          assertEquals(address + region.delta, first.offset);
          assertEquals([region.holds(address, length), region.access & access], [true, access]);
        }
      }
    }
  }
});
