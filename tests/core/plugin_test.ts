import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  builtInNames,
  loadBackend,
  LocalHost,
  openLink,
  OptionError,
  type OptionSpec,
  OptionValues,
  type Plugin,
  struct,
  validatePlugin,
  withinMemory,
} from "../../mod.ts";
import { fakeLink } from "./fake_link.ts";

const plugin: Plugin = {
  api: 1,
  name: "my-ring2",
  summary: "A ring",
  options: [],
  counters: [],
  structures: [],
  open: () => {
    throw new Error("Not to be opened");
  },
};

Deno.test("validatePlugin gives a plugin back as it is", () => {
  assertStrictEquals(validatePlugin(plugin), plugin);
});

Deno.test("validatePlugin says what is missing or wrong", () => {
  for (const value of [undefined, null, 1, "ring", () => plugin]) {
    assertThrows(() => validatePlugin(value), TypeError, "expected an object");
  }
  const wrong: readonly (readonly [string, unknown, string])[] = [
    ["api", 2, '"api" must be the number 1'],
    ["api", "1", '"api" must be the number 1'],
    ["name", "My Ring", '"name" must be a name in kebab-case'],
    ["name", "", '"name" must be a name in kebab-case'],
    ["summary", undefined, '"summary" must be a string'],
    ["options", {}, '"options" must be an array'],
    ["counters", null, '"counters" must be an array'],
    ["structures", "x", '"structures" must be an array'],
    ["open", {}, '"open" must be a function'],
  ];
  for (const [key, value, message] of wrong) {
    assertThrows(() => validatePlugin({ ...plugin, [key]: value }), TypeError, message);
    const missing = Object.fromEntries(Object.entries(plugin).filter(([name]) => name !== key));
    assertThrows(() => validatePlugin(missing), TypeError, `"${key}" must be`);
  }
});

Deno.test("validatePlugin takes every built-in backend", async () => {
  for (const name of builtInNames) {
    const backend = await loadBackend(name);
    assertStrictEquals(validatePlugin(backend), backend);
  }
});

Deno.test("validatePlugin says which option, counter, structure or fault is wrong", () => {
  const integer = { name: "slots", meaning: "", type: "integer", min: 1, max: 64 };
  const choice = { name: "mode", meaning: "", type: "choice", choices: ["a", "b"] };
  const wrong: readonly (readonly [key: string, item: unknown, message: string])[] = [
    ["options", "slots", '"options[1]" must be an object'],
    ["options", { ...integer, name: "Slots" }, '"options[1].name" must be a name in kebab-case'],
    ["options", { ...integer, meaning: 1 }, '"options[1].meaning" must be a string'],
    ["options", { ...integer, type: "number" }, '"options[1].type" must be one of integer, size, flag'],
    ["options", { ...integer, type: "toString" }, '"options[1].type" must be one of integer, size, flag'],
    ["options", { ...integer, max: undefined }, '"options[1].max" must be a whole number'],
    ["options", { ...integer, default: 65 }, '"options[1].default" does not fit: option slots takes 1..64'],
    ["options", { ...integer, default: "2" }, '"options[1].default" must be a whole number, or left out'],
    ["options", { ...integer, type: "flag", default: "off" }, '"options[1].default" must be true or false'],
    ["options", { ...integer, type: "mask", default: 1 }, '"options[1].default" must be a bigint'],
    ["options", { ...choice, choices: undefined }, '"options[1].choices" must be an array of names'],
    ["options", { ...choice, choices: [] }, '"options[1].choices" must be an array of names'],
    ["options", { ...choice, choices: ["a", "b c"] }, '"options[1].choices" must be an array of names'],
    ["options", { ...choice, default: "c" }, '"options[1].default" does not fit: option mode takes a|b'],
    ["options", { ...choice, type: "text" }, '"options[1].form" must be a string'],
    ["options", { ...integer, name: "first" }, '"options[1].name" is there twice: first'],
    ["counters", "tx.kicks", '"counters[1]" must be an object'],
    ["counters", { name: "tx kicks", meaning: "" }, '"counters[1].name" must be a name without spaces'],
    ["counters", { name: "first" }, '"counters[1].meaning" must be a string'],
    ["counters", { name: "first", meaning: "" }, '"counters[1].name" is there twice: first'],
    ["structures", { name: "slot", summary: "", source: "", fields: [] }, '"structures[1].decode" must be a'],
    ["faults", { code: "bad-address" }, '"faults[1].meaning" must be a string'],
    [
      "faults",
      { code: "bad-address", half: "both", meaning: "" },
      '"faults[1].half" must be "driver" or "dev',
    ],
  ];
  const right: Readonly<Record<string, unknown>> = {
    options: { name: "first", meaning: "", type: "text", form: "WORD" },
    counters: { name: "first", meaning: "" },
    structures: struct("first", { summary: "", source: "", fields: [] }),
    faults: { code: "first", meaning: "" },
  };
  for (const [key, item, message] of wrong) {
    assertStrictEquals(validatePlugin({ ...plugin, [key]: [right[key]] }).name, plugin.name);
    assertThrows(() => validatePlugin({ ...plugin, [key]: [right[key], item] }), TypeError, message);
  }
});

Deno.test("validatePlugin takes an instance of a class", () => {
  class Ring {
    readonly api = 1;
    readonly name = "ring";
    readonly summary = "";
    readonly options = [];
    readonly counters = [];
    readonly structures = [];
    open(): never {
      throw new Error("Not to be opened");
    }
  }
  assertEquals(validatePlugin(new Ring()).name, "ring");
});

Deno.test("withinMemory tells memory used up as a mistake of the user's, and nothing else", () => {
  const specs: OptionSpec[] = [
    { name: "slots", meaning: "", type: "integer", min: 1, max: 64, default: 2 },
    { name: "buffer", meaning: "", type: "size", min: 1, max: 2 ** 30 },
    { name: "mode", meaning: "", type: "text", form: "WORD", default: "a" },
  ];
  const { dma } = new LocalHost({ dmaSize: 3 * 1024 * 1024 });
  const options = new OptionValues(specs, { buffer: "4M" });
  const run = (make: () => unknown, who?: string) =>
    withinMemory(dma, options, ["slots", "buffer"], make, who);
  assertEquals(run(() => 5), 5);
  const greedy = () => dma.allocate(options.integer("buffer"), 1);
  const message = "has 3M of memory, too little for slots=2, buffer=4194304";
  assertThrows(() => run(greedy), OptionError, `the driver ${message}`);
  assertThrows(() => run(greedy, "the guest"), OptionError, `the guest ${message}`);
  const wrong = assertThrows(() => run(() => dma.allocate(-1, 1)), RangeError, "Cannot allocate -1 bytes");
  assertEquals(wrong.name, "RangeError");
});

Deno.test("openLink says which part of a link is missing", () => {
  const host = new LocalHost({ dmaSize: 4096 });
  const whole = fakeLink({ capacity: 1, buffers: 1, pieces: 1 });
  const opened = (link: unknown) =>
    openLink({ ...plugin, open: () => link as never }, new OptionValues([]), host);
  assertStrictEquals(opened(whole), whole);
  const noFlush = { ...whole.driver, flush: undefined };
  const wrong: readonly (readonly [unknown, string])[] = [
    [undefined, "driver.transmit is missing"],
    [{}, "driver.transmit is missing"],
    [{ ...whole, driver: noFlush }, "driver.flush is missing"],
    [{ ...whole, device: undefined }, "device.service is missing"],
    [{ ...whole, batch: 0 }, "batch must be a whole number from 1"],
    [{ ...whole, batch: undefined }, "batch must be a whole number from 1"],
  ];
  for (const [link, message] of wrong) {
    assertThrows(() => opened(link), TypeError, `Plugin my-ring2 opened no whole link: ${message}`);
  }
});
