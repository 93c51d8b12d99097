import { assert, assertEquals } from "@std/assert";
import { ManualClock, systemClock } from "../../mod.ts";

Deno.test("ManualClock stands still until it is moved", () => {
  const clock = new ManualClock();
  assertEquals(clock.now(), 0);
  clock.advance(2.5);
  clock.advance(1);
  assertEquals(clock.now(), 3.5);
  assertEquals(new ManualClock(100).now(), 100);
});

Deno.test("systemClock never goes back", () => {
  let last = systemClock.now();
  for (let i = 0; i < 1000; i++) {
    const now = systemClock.now();
    assert(now >= last);
    last = now;
  }
});
