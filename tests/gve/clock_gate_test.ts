import { assertEquals } from "@std/assert";
import { RingPair } from "../../core/ring_pair.ts";
import { ClockGate } from "../../plugins/gve/clock_gate.ts";
import gve from "../../plugins/gve/mod.ts";

Deno.test("ClockGate opens after every round that moved little, and after each 256th in a row that moved much", () => {
  const gate = new ClockGate();
  const looks = (moved: number, rounds: number) =>
    Array.from({ length: rounds }, () => gate.opens(moved)).filter((open) => open).length;
  assertEquals(looks(63, 10), 10);
  assertEquals(looks(64, 255), 0);
  assertEquals(looks(1000, 1), 1, "the 256th");
  assertEquals(looks(64, 2560), 10);
  looks(64, 255);
  assertEquals(looks(0, 1), 1);
  assertEquals(looks(64, 255), 0, "the count starts again");
});

Deno.test("both halves look at the clock seldom in busy rounds, and in each of the others", () => {
  for (const [frames, looks] of [[1, 512], [40, 2]] as const) {
    let count = 0;
    const clock = { now: () => count++ };
    const pair = new RingPair(gve, { format: "dqo-rda" }, { clock });
    count = 0;
    for (let round = 0; round < 256; round++) {
      for (let i = 0; i < frames; i++) pair.transmit(new Uint8Array(60));
      pair.service();
      assertEquals(pair.receive().length, frames);
    }
    assertEquals(count, looks, `${frames} frames per round`);
  }
});
