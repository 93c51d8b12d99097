/**
 * What tests take from @std means the same whether the real one or the stand-in in registry/ is used.
 *
 * @module
 */
import {
  assert,
  assertAlmostEquals,
  assertArrayIncludes,
  assertEquals,
  assertInstanceOf,
  AssertionError,
  assertNotMatch,
  assertObjectMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { concat, indexOfNeedle, repeat } from "@std/bytes";
import { parseArgs } from "@std/cli/parse-args";
import { assertSpyCall, assertSpyCalls, returnsNext, spy, stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import { assertType, type Has, type IsExact, type IsNullable } from "@std/testing/types";

Deno.test("assert names fail and pass as they should", async () => {
  assertArrayIncludes([1, 2, 3], [2]);
  assertObjectMatch({ a: 1, b: 2 }, { a: 1 });
  assertAlmostEquals(1, 1.00000001);
  assertNotMatch("a", /b/);
  assertThrows(() => assertEquals([1], [2]), AssertionError);
  const error = assertThrows(() => assert(false, "no"), Error, "no");
  assertInstanceOf(error, AssertionError);
  assertType<IsExact<typeof error, Error>>(true);
  await assertRejects(() => Promise.reject(new TypeError("no")), TypeError, "no");
});

Deno.test("bytes and parseArgs work on what the command line gives them", () => {
  const twice = repeat(concat([new Uint8Array([1]), new Uint8Array([2])]), 2);
  assertEquals(indexOfNeedle(twice, new Uint8Array([2, 1])), 1);
  const args = parseArgs(["-b", "x", "--q", "007"], { string: ["b", "_"], boolean: ["q"], collect: ["b"] });
  assertEquals([args.b, args.q, args._], [["x"], true, ["007"]]);
});

Deno.test("mock remembers calls and gives methods back", () => {
  const double = spy((x: number) => 2 * x);
  double(2);
  assertSpyCalls(double, 1);
  assertSpyCall(double, 0, { args: [2], returned: 4 });
  const target = { get: () => 1 };
  {
    using fake = stub(target, "get", returnsNext([5, 6]));
    assertEquals([target.get(), target.get()], [5, 6]);
    assertSpyCalls(fake, 2);
  }
  assertEquals(target.get(), 1);
});

Deno.test("FakeTime moves Date and timers together", () => {
  using time = new FakeTime(1000);
  const seen: number[] = [];
  const interval = setInterval(() => seen.push(Date.now()), 10);
  setTimeout(() => clearInterval(interval), 25);
  time.tick(100);
  assertEquals(seen, [1010, 1020]);
  assertEquals(new Date().getTime(), 1100);
});

Deno.test("types compare at compile time", () => {
  assertType<Has<string | number, string>>(true);
  assertType<IsNullable<string>>(false);
  assertType<IsExact<{ a: 1 }, { a: number }>>(false);
});
