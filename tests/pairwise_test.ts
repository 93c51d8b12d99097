import { assert, assertEquals } from "@std/assert";
import { pairwise } from "./pairwise.ts";

Deno.test("pairwise covers every pair, with few rows", () => {
  const choices = { a: [1, 2, 3], b: ["x", "y", "z"], c: [true, false], d: [0, 1, 2, 3] } as const;
  const rows = pairwise(choices);
  const names = Object.keys(choices) as (keyof typeof choices)[];
  for (const one of names) {
    for (const other of names.filter((name) => name !== one)) {
      const seen = new Set(rows.map((row) => `${row[one]} ${row[other]}`));
      assertEquals(seen.size, choices[one].length * choices[other].length);
    }
  }
  assert(rows.length <= 16);
});

Deno.test("pairwise keeps what may not stand together apart", () => {
  const rows = pairwise({ a: [1, 2, 3], b: [1, 2, 3], c: [1, 2] }, ({ a, b }) => !(a && b && a === b));
  assert(rows.every(({ a, b }) => a !== b));
  assertEquals(new Set(rows.map(({ a, b }) => `${a} ${b}`)).size, 6);
});

Deno.test("pairwise leaves a pair out that fits into no row", () => {
  // 1 with 1 needs a third value that neither allows.
  const rows = pairwise({ a: [1, 2], b: [1, 2], c: [1, 2] }, ({ a, b, c }) => !(a === 1 && b === 1 && c));
  assert(rows.length > 0 && rows.every(({ a, b }) => !(a === 1 && b === 1)));
});
