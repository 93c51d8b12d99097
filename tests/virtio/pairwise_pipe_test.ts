import { assertEquals } from "@std/assert";
import { pairwise } from "../pairwise.ts";
import { Random } from "../random.ts";
import { type Feeding, type Outcome, pipe } from "./pipe.ts";

const choices = {
  "queue-size": [1, 2, 4, 8, 64, 256, 2048, 32768],
  "rx-queue-size": [1, 2, 16, 256, 32768],
  queues: [1, 2, 3, 8],
  layout: ["flexible", "legacy"],
  indirect: ["on", "off"],
  "event-idx": ["on", "off"],
  "in-order": ["off", "on"],
  "mrg-rxbuf": ["on", "off"],
  "rx-buffer": ["", "64", "300", "4096", "5000", "1M"],
  "hash-report": ["off", "on"],
  rss: ["off", "on"],
  batch: [64, 1, 3, 32768],
  profile: ["strict", "linux", "qemu", "dpdk"],
  snapshot: ["off", "on"],
  feeding: ["roomy", "tight", "foreign", "batch"],
} as const;

/** The legacy layout has no feature bits above 31, and eight of the largest queues are more than the memory holds. */
function allowed(row: Readonly<Record<string, unknown>>): boolean {
  if (row["rx-queue-size"] === 32768 && row["mrg-rxbuf"] === "off" && (row.queues ?? 1) !== 1) return false;
  const high = [row["in-order"], row["hash-report"], row.rss];
  return !(row.layout === "legacy" && high.includes("on"));
}

const rows = pairwise(choices, allowed);

/** Longest frame that the receive buffers hold, by the description of the options alone. */
function longestFrame(row: typeof rows[number]): number {
  const mergeable = row["mrg-rxbuf"] === "on";
  const header = row["hash-report"] === "on" ? 20 : row.layout === "legacy" && !mergeable ? 10 : 12;
  const size = row["rx-queue-size"];
  const text = row["rx-buffer"];
  const wanted = text === "" ? mergeable ? 2048 : 17 * 4096 : text === "1M" ? 1 << 20 : Number(text);
  if (!mergeable) return (wanted <= 4096 ? wanted : Math.min(wanted, size * 4096)) - header;
  return Math.min(size, Math.floor((16 << 20) / wanted)) * wanted - header;
}

/** What must add up, whatever went through. */
export function assertConservation(
  { counters, delivered, drops }: Outcome,
  lengths: readonly number[],
  header: number,
): void {
  const carried = lengths.filter((_, number) => !drops.has(number));
  const bytes = carried.reduce((sum, length) => sum + length, 0);
  const of = (name: string) => counters[name]!;
  assertEquals(of("tx.chains"), delivered);
  assertEquals(of("device.tx.chains"), delivered);
  assertEquals(of("rx.frames"), delivered);
  assertEquals(of("device.rx.chains"), of("rx.buffers"));
  assertEquals(of("rx.chains"), of("rx.dma_maps") + of("rx.buffers"));
  assertEquals(of("device.bytes_copied"), bytes + header * delivered);
  assertEquals(of("tx.descriptors"), of("device.tx.descriptors") + of("device.tx.indirect_tables"));
  assertEquals(of("tx.indirect_tables"), of("device.tx.indirect_tables"));
  assertEquals(of("driver.interrupts"), of("device.tx.interrupts") + of("device.rx.interrupts"));
}

/** Beyond pairs: combinations drawn at random. */
const drawn = Array.from({ length: 150 }, (_, seed) => {
  const random = new Random(seed);
  const row = Object.fromEntries(
    Object.entries(choices).map(([name, values]) => [name, random.pick<unknown>(values)]),
  );
  return row as typeof rows[number];
}).filter(allowed);

Deno.test("every pair of options carries frames of 0 to 64 KiB unchanged, and so does any mixture", async (t) => {
  for (const [i, row] of [...rows, ...drawn].entries()) {
    const { feeding, ...rest } = row;
    const given = Object.fromEntries(
      Object.entries(rest).filter(([, value]) => value !== "").map(([name, value]) => [name, String(value)]),
    );
    await t.step(Object.entries(row).map(([name, value]) => `${name}=${value}`).join(" "), () => {
      const random = new Random(i + 1);
      const longest = longestFrame(row);
      const edges = [
        0,
        1,
        11,
        12,
        13,
        51,
        52,
        53,
        60,
        1514,
        4084,
        65535,
        65536,
        longest - 1,
        longest,
        longest + 1,
      ];
      const lengths = edges.filter((length) => length >= 0 && length <= 65537);
      for (let n = 0; n < 60; n++) {
        lengths.push(random.chance(0.7) ? random.below(1600) : random.below(65537));
      }
      const outcome = pipe(given, lengths, feeding as Feeding);
      lengths.forEach((length, number) => {
        assertEquals(outcome.drops.get(number), length > longest ? "oversize" : undefined, `${length} bytes`);
      });
      const header = row["hash-report"] === "on"
        ? 20
        : row.layout === "legacy" && row["mrg-rxbuf"] === "off"
        ? 10
        : 12;
      assertConservation(outcome, lengths, header);
    });
  }
});
