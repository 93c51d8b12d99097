import { assertEquals } from "@std/assert";
import { Iotlb, LAST_ADDRESS, pagesOf } from "../../plugins/vdpa/iotlb.ts";
import { Random } from "../random.ts";

function ranges(table: Iotlb): string {
  return table.entries.map(({ start, last }) => `${start.toString(16)}-${last.toString(16)}`).join(" ");
}

Deno.test("Iotlb keeps entries in order of address, whatever the order they come in", () => {
  const table = new Iotlb();
  for (const start of [0x3000n, 0x1000n, 0x2000n]) {
    assertEquals(table.add(start, start + 0xfffn, 0n, 3), undefined);
  }
  assertEquals(ranges(table), "1000-1fff 2000-2fff 3000-3fff");
});

Deno.test("Iotlb.add refuses every kind of overlap and changes nothing then", () => {
  const table = new Iotlb();
  table.add(0x1000n, 0x1fffn, 0n, 3);
  for (
    const [start, last] of [
      [0x1000n, 0x1fffn],
      [0x1800n, 0x27ffn],
      [0x0n, 0x1000n],
      [0x1fffn, 0x1fffn],
      [0x1100n, 0x11ffn],
      [0x0n, 0xffffn],
    ] as const
  ) {
    assertEquals(table.add(start, last, 0n, 3), "EEXIST");
  }
  assertEquals(table.add(0x2000n, 0x2000n, 0n, 3), undefined);
  assertEquals(table.add(0xfffn, 0xfffn, 0n, 3), undefined);
  assertEquals(ranges(table), "fff-fff 1000-1fff 2000-2000");
});

Deno.test("Iotlb.add refuses a range that is empty or leaves 64 bits", () => {
  const table = new Iotlb();
  assertEquals(table.add(1n, 0n, 0n, 3), "EINVAL");
  assertEquals(table.add(-1n, 0n, 0n, 3), "EINVAL");
  assertEquals(table.add(0n, LAST_ADDRESS + 1n, 0n, 3), "EINVAL");
});

Deno.test("Iotlb takes a range that ends at 2^64-1 as one entry, and all of 64 bits as two halves", () => {
  const table = new Iotlb();
  assertEquals(table.add(LAST_ADDRESS, LAST_ADDRESS, 0n, 3), undefined);
  assertEquals(ranges(table), "ffffffffffffffff-ffffffffffffffff");
  table.clear();
  assertEquals(table.add(0n, LAST_ADDRESS, 0n, 3), undefined);
  assertEquals(ranges(table), "0-7fffffffffffffff 8000000000000000-ffffffffffffffff");
  assertEquals(table.entries[1]!.addr, 0x8000000000000000n);
});

Deno.test("Iotlb.remove takes every entry that the range touches, whole", () => {
  const table = new Iotlb();
  for (let i = 0n; i < 4n; i++) table.add(i * 0x1000n, i * 0x1000n + 0xfffn, i, 3);
  const removed = table.remove(0x1fffn, 0x2000n);
  assertEquals(removed.map(({ addr }) => addr), [1n, 2n]);
  assertEquals(ranges(table), "0-fff 3000-3fff");
});

Deno.test("Iotlb refuses an entry beyond its limit, and takes one again when one has gone", () => {
  const table = new Iotlb(2);
  table.add(0n, 0n, 0n, 3);
  table.add(1n, 1n, 0n, 3);
  assertEquals(table.add(2n, 2n, 0n, 3), "ENOSPC");
  table.remove(0n, 0n);
  assertEquals(table.add(2n, 2n, 0n, 3), undefined);
});

Deno.test("Iotlb agrees with a list that is searched from end to end", () => {
  const random = new Random(11);
  const table = new Iotlb(0);
  let list: { start: bigint; last: bigint }[] = [];
  for (let step = 0; step < 4000; step++) {
    const start = BigInt(random.below(2000));
    const last = start + BigInt(random.below(60));
    const hits = list.filter((entry) => entry.start <= last && entry.last >= start);
    if (random.chance(0.7)) {
      assertEquals(table.add(start, last, start, 3), hits.length > 0 ? "EEXIST" : undefined);
      if (hits.length === 0) list.push({ start, last });
    } else {
      assertEquals(table.remove(start, last).length, hits.length);
      list = list.filter((entry) => !hits.includes(entry));
    }
    const address = BigInt(random.below(2100));
    const found = list.find((entry) => entry.start <= address && entry.last >= address);
    assertEquals(table.find(address)?.start, found?.start);
  }
  assertEquals(table.entries.length, list.length);
});

Deno.test("pagesOf counts every page that a range touches", () => {
  assertEquals(pagesOf(0n, 4095n, 4096), 1);
  assertEquals(pagesOf(4095n, 4096n, 4096), 2);
  assertEquals(pagesOf(0n, 2n ** 37n - 1n, 4096), 2 ** 25);
  assertEquals(pagesOf(0n, 2n ** 37n - 1n, 2 ** 21), 2 ** 16);
});
