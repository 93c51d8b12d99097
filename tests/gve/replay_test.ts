import { assertThrows } from "@std/assert";
import { loadTraces, parseTraces, replay, type Trace } from "./replay.ts";

Deno.test("driver halves write what the real driver wrote", async (t) => {
  for (const trace of loadTraces()) await t.step(trace.trace, () => replay(trace));
});

Deno.test("parseTraces() throws when there are no traces", () => {
  for (const text of [`{"about": "nothing", "traces": []}`, "{}", "null", "7", `{"traces": {}}`]) {
    assertThrows(() => parseTraces(text), TypeError, "no traces", text);
  }
  for (const text of ["", "{", `{"traces": [`, "traces"]) {
    assertThrows(() => parseTraces(text), TypeError, "no JSON", text);
  }
});

Deno.test("parseTraces() names what a trace lacks", () => {
  const trace = { trace: "t", ring_entries: 64, qpl_pages: 0, steps: [{ in: { complete: 1 }, out: {} }] };
  const receive = { ...trace, initial: {}, buf_states: 256, buffer_size: 2048, copybreak: 256, steps: [] };
  const parse = (value: unknown) => parseTraces(JSON.stringify({ traces: [value] }));
  parse(trace);
  parse(receive);
  for (
    const [value, message] of [
      [null, "Trace 0 has no name"],
      [{ ...trace, trace: 1 }, "Trace 0 has no name"],
      [{ ...trace, ring_entries: 63 }, "t: ring_entries is 63"],
      [{ ...trace, ring_entries: 0 }, "t: ring_entries is 0"],
      [{ ...trace, ring_entries: 65536 }, "t: ring_entries is 65536"],
      [{ ...trace, qpl_pages: -1 }, "t: qpl_pages is -1"],
      [{ ...trace, qpl_pages: undefined }, "t: qpl_pages is undefined"],
      [{ ...trace, steps: [] }, "t: steps is []"],
      [{ ...trace, steps: undefined }, "t: steps is undefined"],
      [{ ...trace, steps: [{ in: {} }] }, `t, step 0: "out" is undefined`],
      [{ ...trace, steps: [null] }, `t, step 0: "in" is undefined`],
      [{ ...receive, copybreak: "256" }, `t: copybreak is "256"`],
      [{ ...receive, buffer_size: 0.5 }, "t: buffer_size is 0.5"],
    ] as const
  ) assertThrows(() => parse(value), TypeError, message);
});

/** Every place in a trace's outcome where a bit can be bent: a setter for each number or text. */
function* bends(value: unknown, bend: (bent: unknown) => unknown): Generator<() => unknown> {
  if (typeof value === "number") yield () => bend(value ^ 1);
  else if (typeof value === "boolean") yield () => bend(!value);
  else if (typeof value === "string" && value.length > 0) {
    // The lowest bit of one character: a hex digit stays one, a letter changes.
    const at = value.length >> 1;
    const code = value.charCodeAt(at) ^ 1;
    yield () => bend(value.slice(0, at) + String.fromCharCode(code) + value.slice(at + 1));
  } else if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) yield* bends(value[i], (bent) => bend(value.with(i, bent)));
  } else if (value !== null && typeof value === "object") {
    for (const [key, part] of Object.entries(value)) {
      yield* bends(part, (bent) => bend({ ...value, [key]: bent }));
    }
  }
}

Deno.test("replay() throws when one bit of an outcome is bent", () => {
  for (const trace of loadTraces()) {
    // Long traces: the outcomes of some steps, each bent in every place.
    const chosen = trace.steps.map((_, i) => i).filter((i) => Object.keys(trace.steps[i]!.out).length > 0);
    const stride = Math.max(1, Math.floor(chosen.length / 4));
    for (let c = 0; c < chosen.length; c += stride) {
      const number = chosen[c]!;
      const step = trace.steps[number]!;
      const all = [...bends(step.out, (out) => ({
        ...trace,
        steps: trace.steps.with(number, { in: step.in, out: out as Trace["steps"][0]["out"] }),
      }))];
      const some = Math.max(1, Math.floor(all.length / 8));
      for (let i = 0; i < all.length; i += some) {
        assertThrows(() => replay(all[i]!() as Trace), Error);
      }
    }
  }
});
