/**
 * Holds the driver halves against traces of the real Linux driver: what it wrote for given packets and completions,
 * byte for byte. Which kind of trace it is follows from what its steps hold.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { replayGqiTransmit } from "./replay_gqi.ts";
import { replayDqoTransmit } from "./replay_dqo.ts";
import { replayReceive } from "./replay_rx.ts";

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

/** Traces of the file that RINGPIPE_TRACES names, or of the fixture. A file without traces is an error. */
export function loadTraces(): Trace[] {
  const path = Deno.env.get("RINGPIPE_TRACES") ??
    new URL("../../fixtures/vectors/gve_traces.json", import.meta.url);
  const traces = parseTraces(Deno.readTextFileSync(path));
  return traces;
}

/** Traces of a text. */
export function parseTraces(text: string): Trace[] {
  const { traces } = JSON.parse(text) as { traces?: Trace[] };
  assert(Array.isArray(traces) && traces.length > 0, "The file has no traces");
  return traces;
}

/** Replays one trace, and throws at the first difference. */
export function replay(trace: Trace): void {
  assert(Math.log2(trace.ring_entries) % 1 === 0, `ring_entries is ${trace.ring_entries}`);
  assertEquals(trace["warnings"] ?? [], []);
  const { steps } = trace;
  if ("initial" in trace || "buf_states" in trace) return replayReceive(trace);
  assert(steps.length > 0, "A transmit trace has steps");
  if (steps.some(({ out }) => "last_re_idx" in out || "rc" in out)) return replayDqoTransmit(trace);
  replayGqiTransmit(trace);
}
