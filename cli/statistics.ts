/**
 * What a run has cost: the table of `--stats`, the JSON of `--stats-out`.
 *
 * @module
 */
import type { Counters } from "../core/counters.ts";
import type { OptionValues } from "../core/options.ts";
import { columns, grouped } from "./table.ts";

/** What there is to tell. */
export interface Statistics {
  /** Name of the backend. */
  readonly backend: string;
  /** Its options as resolved. */
  readonly options: OptionValues;
  /** Packets taken from the input, written to the output, and left out. */
  readonly packets: { readonly in: number; readonly out: number; readonly dropped: number };
  /** Captured bytes of those packets. */
  readonly bytes: { readonly in: number; readonly out: number };
  /** Packets left out, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** Counters of the rings. */
  readonly counters: Counters;
  /** Seconds from the first byte to the last. */
  readonly elapsed_s: number;
}

/** The statistics as a JSON document, keys in this order; options as {@linkcode OptionValues.toJSON} gives them. */
export function statisticsJson(statistics: Statistics): string {
  const { backend, options, packets, bytes, drops, counters, elapsed_s } = statistics;
  return `${JSON.stringify({ backend, options, packets, bytes, drops, counters, elapsed_s }, null, 2)}\n`;
}

/** The statistics as a table. */
export function statisticsTable(statistics: Statistics): string {
  const { backend, options, packets, bytes, drops, counters, elapsed_s } = statistics;
  const flat: Counters = {
    "packets.in": packets.in,
    "packets.out": packets.out,
    "packets.dropped": packets.dropped,
    ...Object.fromEntries(Object.entries(drops).map(([reason, count]) => [`drops.${reason}`, count])),
    "bytes.in": bytes.in,
    "bytes.out": bytes.out,
    ...counters,
  };
  const rows = Object.entries(flat).map(([name, count]) => [
    name,
    grouped(count),
    name in counters && packets.in > 0 ? (count / packets.in).toFixed(3) : "",
  ]);
  const head = ["counter", "total", "per packet"];
  const general = [
    ["backend", backend],
    ["options", options.assignments().join(" ") || "none"],
    ["elapsed", `${elapsed_s.toFixed(3)} s`],
  ];
  return columns(general) + columns([head, ...rows], [1, 2]);
}
