import { assertEquals, assertThrows } from "@std/assert";
import { finishChecksum, FlowParser, foldSum, onesSum, pseudoHeaderSum } from "../../mod.ts";
import { Random } from "../random.ts";
import { vectors } from "../vectors.ts";

Deno.test("onesSum gives the sum that RFC 1071 works out as its example", () => {
  const bytes = new Uint8Array([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
  assertEquals(onesSum(bytes, 0, 8), 0xddf2);
});

Deno.test("onesSum of pieces, odd ones included, folds to the sum of the whole", () => {
  const random = new Random(12);
  for (let round = 0; round < 500; round++) {
    const bytes = random.bytes(random.below(200));
    let wanted = 0n;
    bytes.forEach((byte, i) => wanted += BigInt(byte) << (i % 2 ? 0n : 8n));
    const first = random.below(bytes.length + 1);
    const second = first + random.below(bytes.length - first + 1);
    const sum = foldSum(
      onesSum(bytes, 0, first) + onesSum(bytes, first, second - first, first % 2 === 1) +
        onesSum(bytes, second, bytes.length - second, second % 2 === 1),
    );
    assertEquals(BigInt(sum) % 0xffffn, wanted % 0xffffn);
    assertEquals(sum === 0, wanted === 0n);
    assertEquals(sum, onesSum(bytes, 0, bytes.length));
  }
});

Deno.test("onesSum does not overflow on long runs of ones", () => {
  const bytes = new Uint8Array(300_001).fill(0xff);
  assertEquals(onesSum(bytes, 0, 300_000), 0xffff);
  assertEquals(onesSum(bytes, 0, 300_001), foldSum(0xffff + 0xff00));
});

Deno.test("foldSum folds sums of any size", () => {
  assertEquals([0, 0xffff, 0x10000, 0x1fffe, 0xffffffff].map(foldSum), [0, 0xffff, 1, 0xffff, 0xffff]);
  assertEquals(foldSum(2 ** 48 + 2 ** 32 + 5), 7);
});

Deno.test("pseudoHeaderSum and finishChecksum agree with what drivers leave and devices make of it", () => {
  for (const { fields, bytes } of vectors("virtio_behaviour.json", "csum offload (NEEDS_CSUM)")) {
    const flow = new FlowParser();
    flow.parse(bytes, 0, bytes.length);
    assertEquals(
      pseudoHeaderSum(flow, flow.end - flow.l4Offset),
      Number(fields.partial),
      String(fields.case),
    );
    const start = Number(fields.csum_start);
    const field = start + Number(fields.csum_offset);
    finishChecksum(bytes, start, field, bytes.length);
    assertEquals(bytes.toHex(), fields.after, String(fields.case));
    assertEquals((bytes[field]! << 8) | bytes[field + 1]!, Number(fields.full), String(fields.case));
  }
});

Deno.test("finishChecksum stores 0xffff for 0 in UDP's field alone", () => {
  for (const [field, stored] of [[6, 0xffff], [16, 0], [2, 0]] as const) {
    const segment = new Uint8Array(20);
    segment.set([0xff, 0xff]);
    finishChecksum(segment, 0, field, 20);
    assertEquals((segment[field]! << 8) | segment[field + 1]!, stored, `field at ${field}`);
  }
});

Deno.test("finishChecksum makes sums of 0xffff with the pseudo header", () => {
  const random = new Random(13);
  for (let length = 2; length < 100; length++) {
    // Other bytes stand before and behind, and stay.
    const start = random.below(8);
    const bytes = random.bytes(start + length + 9);
    const field = start + 2 * random.below(length >> 1);
    const pseudo = random.below(0x10000);
    bytes[field] = pseudo >>> 8;
    bytes[field + 1] = pseudo & 0xff;
    const before = bytes.slice();
    finishChecksum(bytes, start, field, start + length);
    assertEquals(foldSum(pseudo + onesSum(bytes, start, length)), 0xffff);
    before.set(bytes.subarray(field, field + 2), field);
    assertEquals(bytes, before);
  }
});

Deno.test("finishChecksum refuses a field outside the range", () => {
  const bytes = new Uint8Array(16);
  for (const field of [3, 15, 16]) {
    assertThrows(() => finishChecksum(bytes, 4, field, 16), RangeError, `Cannot put a checksum at ${field}`);
  }
});
