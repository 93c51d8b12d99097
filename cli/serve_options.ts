/**
 * The options of a served virtio-net device, as data.
 *
 * @module
 */
import type { OptionSpec, OptionValues } from "../core/options.ts";
import { type Feature, featureMask } from "../plugins/virtio/features.ts";
import { UsageError } from "./errors.ts";
import { optionValues } from "./option_values.ts";

/** What `-o` sets. */
export const SERVE_OPTIONS: readonly OptionSpec[] = [
  {
    name: "queue-pairs",
    type: "integer",
    default: 1,
    min: 1,
    max: 8,
    meaning: "receive and transmit queue pairs on offer",
  },
  {
    name: "queue-size",
    type: "integer",
    default: 32768,
    min: 2,
    max: 32768,
    powerOfTwo: true,
    meaning: "largest queue that is accepted",
  },
  { name: "indirect", type: "flag", default: true, meaning: "offer INDIRECT_DESC" },
  { name: "event-idx", type: "flag", default: true, meaning: "offer EVENT_IDX" },
  { name: "in-order", type: "flag", default: true, meaning: "offer IN_ORDER" },
  { name: "mrg-rxbuf", type: "flag", default: true, meaning: "offer MRG_RXBUF" },
  {
    name: "csum",
    type: "flag",
    default: false,
    meaning: "offer CSUM: take frames with unfinished checksums, and finish them",
  },
  {
    name: "tso",
    type: "flag",
    default: false,
    meaning: "offer HOST_TSO4, HOST_TSO6 and HOST_ECN: take TCP frames up to 64 KiB; needs csum=on",
  },
  {
    name: "gso",
    type: "choice",
    default: "segment",
    choices: ["segment", "keep"],
    meaning: "what becomes of those frames: cut into segments with finished checksums, or kept as they came",
  },
  {
    name: "profile",
    type: "choice",
    default: "linux",
    choices: ["strict", "linux", "qemu", "dpdk"],
    meaning: "how odd descriptor chains are judged",
  },
];

const OFFERS: readonly (readonly [string, readonly Feature[]])[] = [
  ["indirect", ["INDIRECT_DESC"]],
  ["event-idx", ["EVENT_IDX"]],
  ["in-order", ["IN_ORDER"]],
  ["mrg-rxbuf", ["MRG_RXBUF"]],
  ["csum", ["CSUM"]],
  ["tso", ["HOST_TSO4", "HOST_TSO6", "HOST_ECN"]],
];

/**
 * Reads what was given with `-o`.
 *
 * @throws {UsageError} If one is malformed or given twice, or options contradict each other.
 * @throws {OptionError} If one is unknown or its value does not fit.
 */
export function serveOptions(texts: readonly string[]): OptionValues {
  const options = optionValues(texts, SERVE_OPTIONS);
  if (options.flag("tso") && !options.flag("csum")) throw new UsageError("option tso needs csum=on");
  return options;
}

/** The features that options offer. */
export function offeredFeatures(options: OptionValues): bigint {
  const names = OFFERS.flatMap(([option, features]) => options.flag(option) ? features : []);
  const several = options.integer("queue-pairs") > 1;
  return featureMask("VERSION_1", ...several ? ["MQ" as const] : [], ...names);
}
