/**
 * Holds the driver halves against traces of the real Linux driver: what it wrote for given packets and completions,
 * byte for byte. Which kind of trace it is follows from what its steps hold.
 *
 * @module
 */
import { replayGqiTransmit } from "./replay_gqi.ts";
import { replayDqoTransmit } from "./replay_dqo.ts";
import { replayReceive } from "./replay_rx.ts";

const FIXTURES = ["gve_traces.json", "gve_traces_more.json"];
/** Parts of steps that only DQO transmit traces have. */
const DQO_ONLY = ["last_re_idx", "rc", "free_tag", "dump_qpl"];
/** Numbers that all receive traces have. */
const RECEIVE_PARTS = ["buf_states", "buffer_size", "copybreak"];
/** Most entries of a ring: what a 16-bit field says. */
const MAX_ENTRIES = 32768;

/** What went in and what came out. */
export interface Step {
  readonly in: Readonly<Record<string, unknown>>;
  readonly out: Readonly<Record<string, unknown>>;
}

/** A trace. */
export interface Trace extends Readonly<Record<string, unknown>> {
  readonly trace: string;
  readonly ring_entries: number;
  readonly qpl_pages: number;
  readonly steps: readonly Step[];
}

/** Traces of the file that RINGPIPE_TRACES names, or of the fixtures. A file without traces is an error. */
export function loadTraces(): Trace[] {
  const given = Deno.env.get("RINGPIPE_TRACES");
  const files = given !== undefined
    ? [given]
    : FIXTURES.map((name) => new URL(`../../fixtures/vectors/${name}`, import.meta.url));
  return files.flatMap((file) => parseTraces(Deno.readTextFileSync(file)));
}

/**
 * Traces of a text.
 *
 * @throws {TypeError} If there are none, or one is not what it must be.
 */
export function parseTraces(text: string): Trace[] {
  const traces = record(parse(text))["traces"];
  if (!Array.isArray(traces) || traces.length === 0) throw new TypeError("The file has no traces");
  traces.forEach(checkTrace);
  return traces;
}

/** Replays one trace, and throws at the first difference. */
export function replay(trace: Trace): void {
  const has = (name: string) => trace.steps.some((step) => name in step.in || name in step.out);
  if ("initial" in trace || "buf_states" in trace) replayReceive(trace);
  else if (DQO_ONLY.some(has)) replayDqoTransmit(trace);
  else replayGqiTransmit(trace);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TypeError(`The file is no JSON: ${(cause as Error).message}`, { cause });
  }
}

/** A value as a record: an empty one if it is none. */
function record(value: unknown): Record<string, unknown> {
  return (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
}

function checkTrace(value: unknown, index: number): void {
  const trace = record(value);
  const name = trace["trace"];
  if (typeof name !== "string") throw new TypeError(`Trace ${index} has no name`);
  const check = (part: string, is: boolean) => {
    if (!is) throw new TypeError(`${name}: ${part} is ${JSON.stringify(trace[part])}`);
  };
  const size = Number(trace["ring_entries"]);
  check("ring_entries", size >= 1 && size <= MAX_ENTRIES && Math.log2(size) % 1 === 0);
  const receive = "initial" in trace || "buf_states" in trace;
  for (const part of receive ? ["qpl_pages", ...RECEIVE_PARTS] : ["qpl_pages"]) {
    check(part, Number.isInteger(trace[part]) && Number(trace[part]) >= 0);
  }
  const { steps } = trace;
  check("steps", Array.isArray(steps) && (receive || steps.length > 0));
  (steps as unknown[]).forEach((step, number) => {
    for (const part of ["in", "out"]) {
      const found = record(step)[part];
      if (found === record(found)) continue;
      throw new TypeError(`${name}, step ${number}: "${part}" is ${JSON.stringify(found)}`);
    }
  });
}
