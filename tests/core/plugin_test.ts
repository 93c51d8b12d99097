import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { LocalHost, openLink, OptionValues, type Plugin, validatePlugin } from "../../mod.ts";
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
