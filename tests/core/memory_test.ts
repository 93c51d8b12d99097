import { assertEquals, assertThrows } from "@std/assert";
import { Memory } from "../../core/memory.ts";
import { Random } from "../random.ts";

/** Large enough for WebAssembly. */
const LARGE = 1024 * 1024;

/** Longer than the longest copy that is made in a loop. */
const LONGEST = 400;

/** Where a copy must leave the bytes, by the plainest means. */
function copied(
  before: Uint8Array,
  target: number,
  bytes: Uint8Array,
  source: number,
  length: number,
): Uint8Array {
  const after = before.slice();
  const moved = bytes.slice(source, source + length);
  for (let i = 0; i < length; i++) after[target + i] = moved[i]!;
  return after;
}

Deno.test("Memory.copyWithin moves every length between places of every alignment", () => {
  const before = new Random(3).bytes(1024);
  const memory = new Memory(1024);
  for (let length = 0; length <= LONGEST; length++) {
    for (let align = 0; align < 8; align++) {
      memory.bytes.set(before);
      memory.copyWithin(512 + align, 3 * align % 8, length);
      assertEquals(memory.bytes, copied(before, 512 + align, before, 3 * align % 8, length));
    }
  }
});

Deno.test("Memory.copyWithin moves overlapping ranges either way as if through a copy", () => {
  const before = new Random(4).bytes(1024);
  const memory = new Memory(1024);
  for (let length = 0; length <= LONGEST; length += 7) {
    for (const distance of [-257, -256, -17, -9, -8, -7, -1, 0, 1, 7, 8, 9, 17, 256, 257]) {
      memory.bytes.set(before);
      memory.copyWithin(300 + distance, 300, length);
      assertEquals(memory.bytes, copied(before, 300 + distance, before, 300, length));
    }
  }
});

Deno.test("Memory.copyFrom takes bytes from another buffer, a view into one, and its own", () => {
  const random = new Random(5);
  const before = random.bytes(1024);
  const foreign = random.bytes(1024).subarray(13, 900);
  const memory = new Memory(1024);
  for (let length = 0; length <= LONGEST; length++) {
    memory.bytes.set(before);
    memory.copyFrom(511, foreign, length % 8, length);
    assertEquals(memory.bytes, copied(before, 511, foreign, length % 8, length));
    memory.bytes.set(before);
    memory.copyFrom(511, memory.bytes, length % 8, length);
    assertEquals(memory.bytes, copied(before, 511, before, length % 8, length));
  }
});

Deno.test("Memory refuses a buffer in which an offset would not be a small integer", () => {
  const large = Object.create(SharedArrayBuffer.prototype, { byteLength: { value: 2 ** 31 } });
  assertThrows(() => new Memory(large), RangeError, "Cannot take 2147483648 bytes");
});

Deno.test("Memory looks at a given buffer as a whole, shared or not", () => {
  const shared = new SharedArrayBuffer(64);
  const memory = new Memory(shared);
  memory.view.setUint16(62, 0x1234, true);
  assertEquals([...new Uint8Array(shared, 62)], [0x34, 0x12]);
  memory.copyWithin(0, 60, 4);
  assertEquals([...memory.bytes.subarray(0, 4)], [0, 0, 0x34, 0x12]);
  assertEquals(memory.size, 64);
  assertEquals(new Memory(5).bytes, new Uint8Array(5));
});

/** A memory whose copies are made by WebAssembly, and one of a buffer that somebody else made. */
const MEMORIES: readonly (readonly [string, () => Memory])[] = [
  ["large", () => new Memory(LARGE)],
  ["foreign", () => new Memory(new ArrayBuffer(LARGE))],
];

for (const [name, make] of MEMORIES) {
  Deno.test(`Memory.copyEach copies ranges of every length, from its own bytes and from others: ${name}`, () => {
    const random = new Random(6);
    const before = random.bytes(4096);
    const foreign = random.bytes(2048);
    const memory = make();
    const [targets, sources, lengths] = [memory.words(3), memory.words(4), memory.words(4)];
    for (let length = 0; length <= LONGEST; length++) {
      for (const bytes of [memory.bytes, foreign]) {
        // The second range overlaps its source in the memory itself, one way or the other.
        sources.set([0, length % 8, 1000 - length % 2 * 6, 500]);
        lengths.set([0, length, LONGEST - length, length >> 1]);
        targets.set([2048 + (3 * length) % 8, 997, 3000]);
        memory.bytes.set(before);
        const wanted = new Memory(4096);
        wanted.bytes.set(before);
        const from = bytes === memory.bytes ? wanted.bytes : foreign;
        for (let i = 0; i < 3; i++) {
          const source = sources[i + 1]!;
          wanted.bytes.set(from.slice(source, source + lengths[i + 1]!), targets[i]!);
        }
        memory.copyEach(targets, bytes, sources, lengths, 1, 3);
        assertEquals(memory.bytes.subarray(0, 4096), wanted.bytes);
      }
    }
  });
}

for (const [name, make] of MEMORIES) {
  Deno.test(`Memory.copyHeads copies the 16 bytes before each offset: ${name}`, () => {
    const memory = make();
    const bytes = new Random(7).bytes(1024);
    memory.bytes.set(bytes);
    const [targets, offsets] = [memory.words(3), memory.words(3)];
    targets.set([2000, 3001, 4003]);
    offsets.set([16, 777, 1024]);
    memory.copyHeads(targets, offsets, 3);
    for (let i = 0; i < 3; i++) {
      const copied = memory.bytes.slice(targets[i]! - 1, targets[i]! + 17);
      assertEquals(copied, Uint8Array.of(0, ...bytes.slice(offsets[i]! - 16, offsets[i]!), 0));
    }
  });
}
