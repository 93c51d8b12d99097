import { assert, assertEquals } from "@std/assert";
import { featureMask } from "../../plugins/virtio/features.ts";
import { Random } from "../random.ts";
import { type Feeding, type Outcome, pipe } from "./pipe.ts";

const FEEDINGS: readonly Feeding[] = ["roomy", "tight", "foreign", "batch"];
const LONGEST = 262144;

/** Lengths around every border that the default rings have, and samples between them. */
function lengthsUpTo(longest: number, samples: number, seed: number): number[] {
  const lengths: number[] = [];
  for (let border = 1; border <= 2 * longest; border *= 2) {
    for (const header of [0, 10, 12, 20]) {
      for (const off of [-1, 0, 1]) lengths.push(border - header + off);
    }
  }
  // Where a frame begins to need one receive buffer more.
  for (let buffers = 1; buffers <= 130; buffers += 3) {
    for (const off of [-1, 0, 1]) lengths.push(buffers * 2048 - 12 + off);
  }
  const random = new Random(seed);
  for (let i = 0; i < samples; i++) lengths.push(random.below(longest + 1));
  lengths.push(0, longest);
  return lengths.filter((length) => length >= 0 && length <= longest);
}

for (const feeding of FEEDINGS) {
  Deno.test(`every frame from 0 to 262144 bytes passes with the defaults (${feeding})`, () => {
    const { drops } = pipe({}, lengthsUpTo(LONGEST, 100, 1), feeding);
    assertEquals(drops.size, 0);
  });
}

Deno.test("frames of every length from 0 to 4200 pass", () => {
  const lengths = Array.from({ length: 4201 }, (_, length) => length);
  for (const given of [{}, { "mrg-rxbuf": "off" }, { "rx-buffer": "1000", "in-order": "on" }]) {
    assertEquals(pipe(given, lengths).drops.size, 0);
  }
});

Deno.test("a frame that the receive side can never hold is dropped and counted, the others pass", () => {
  const { drops, delivered } = pipe({ "rx-queue-size": "2" }, [4084, 4085, 1, 100_000, 4084]);
  assertEquals([...drops], [[1, "oversize"], [3, "oversize"]]);
  assertEquals(delivered, 3);
});

/** 140000 small frames: more than two times round the 16-bit indices. */
const MANY: readonly number[] = Array.from({ length: 140_000 }, (_, i) => i % 90);

/** Every publication rings or does not; each ring has been heard. */
function assertSuppression(outcome: Outcome): void {
  const { counters, delivered } = outcome;
  const kicks = counters["tx.kicks"]! + counters["tx.kicks_suppressed"]!;
  assert(kicks > 0 && kicks <= delivered);
  const interrupts = counters["device.rx.interrupts"]! + counters["device.rx.interrupts_suppressed"]!;
  assert(interrupts > 0 && interrupts <= delivered);
}

for (
  const given of [
    { "event-idx": "on" },
    { "event-idx": "off" },
    { "event-idx": "on", "queue-size": "1" },
    { "event-idx": "off", "queue-size": "2", "rx-queue-size": "4" },
    { "event-idx": "on", "queue-size": "32768", batch: "32768" },
    { "event-idx": "on", "in-order": "on", "queue-size": "16" },
  ]
) {
  const name = Object.entries(given).map(([option, value]) => `${option}=${value}`).join(" ");
  Deno.test(`indices wrap past 65536 without a lost wake-up: ${name}`, () => {
    const outcome = pipe(given, MANY);
    assertEquals(outcome.delivered, MANY.length);
    assertSuppression(outcome);
  });
}

Deno.test("one frame at a time, the device is kicked and the driver interrupted for each", () => {
  for (const eventIdx of ["on", "off"]) {
    const { counters } = pipe({ "event-idx": eventIdx, batch: "1" }, MANY.slice(0, 70_000));
    assertEquals([counters["tx.kicks"], counters["tx.kicks_suppressed"]], [70_000, 0], eventIdx);
    assertEquals(
      [counters["device.rx.interrupts"], counters["device.rx.interrupts_suppressed"]],
      [70_000, 0],
      eventIdx,
    );
    // The driver reclaims transmitted buffers when it receives: it wants to hear of none.
    assertEquals(counters["device.tx.interrupts"]! <= 2, true, eventIdx);
  }
});

Deno.test("in a batch, one kick and one interrupt serve 64 frames", () => {
  for (const given of [{}, { "event-idx": "off" }, { "in-order": "on" }]) {
    const { counters } = pipe({ ...given, batch: "64" }, MANY.slice(0, 6400));
    assertEquals(counters["tx.kicks"], 100);
    assertEquals(counters["device.rx.interrupts"], 100);
  }
});

Deno.test("the driver posts at most 16 MiB of receive buffers", () => {
  for (
    const [given, posted] of [
      [{ "rx-queue-size": "32768" }, 8192],
      [{ "rx-queue-size": "32768", "rx-buffer": "1M" }, 16],
      [{ "rx-queue-size": "32768", "mrg-rxbuf": "off" }, Math.floor((16 << 20) / (17 * 4096))],
      [{ "rx-queue-size": "1024" }, 1024],
    ] as const
  ) {
    const { counters } = pipe(given, [0, 100, 60_000]);
    assertEquals(counters["rx.dma_maps"], posted);
  }
});

Deno.test("with IN_ORDER the descriptors of a receive ring that is not full still go round the table", () => {
  // 8192 buffers of 2048 bytes in a ring of 32768, and chains of 17 pages in a ring of 32.
  for (
    const given of [
      { "rx-queue-size": "32768", "queue-size": "1024" },
      { "rx-queue-size": "32", "mrg-rxbuf": "off", indirect: "off" },
      { "rx-queue-size": "64", "mrg-rxbuf": "off", indirect: "on" },
    ]
  ) {
    const { delivered } = pipe({ ...given, "in-order": "on" }, MANY.slice(0, 40_000));
    assertEquals(delivered, 40_000);
  }
});

Deno.test("frames that the device cannot see are bounced within bounds, however many heads there are", () => {
  const random = new Random(5);
  const lengths = Array.from({ length: 3000 }, () => random.pick([60, 1514, 65536]));
  const { counters, delivered } = pipe(
    { "queue-size": "4096", "in-order": "on", batch: "512", "rx-queue-size": "1024" },
    lengths,
    "foreign",
  );
  assertEquals(delivered, lengths.length);
  assertEquals(counters["tx.bounce_bytes"], lengths.reduce((sum, length) => sum + length));
  assertEquals(counters["tx.dma_maps"], 0);
});

Deno.test("frames in memory that the device sees are mapped, not copied", () => {
  for (const feeding of ["roomy", "tight", "batch"] as const) {
    const { counters } = pipe({}, [1, 60, 1514, 9000], feeding);
    assertEquals([counters["tx.dma_maps"], counters["tx.bounce_bytes"]], [4, 0]);
    assertEquals(counters["tx.indirect_tables"], feeding === "tight" ? 4 : 0);
  }
});

Deno.test("NOTIFICATION_DATA and MTU may be offered, and the MTU then bounds frames", () => {
  const features = featureMask("VERSION_1", "MRG_RXBUF", "NOTIFICATION_DATA", "MTU", "EVENT_IDX");
  const { drops, delivered } = pipe({ features }, [100, 65535 + 14, 65535 + 15]);
  assertEquals([delivered, [...drops]], [2, [[2, "oversize"]]]);
});
