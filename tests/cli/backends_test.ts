import { assertEquals } from "@std/assert";
import { builtInNames, loadBackend } from "../../plugins/registry.ts";
import { ringpipe } from "./program.ts";

Deno.test("backends lists every built-in backend with its summary", async () => {
  const { status, text } = await ringpipe(["backends"]);
  assertEquals(status, 0);
  const lines = text.trimEnd().split("\n");
  for (const [i, name] of builtInNames.entries()) {
    assertEquals(lines[i]!.split(/ {2,}/)[0], name);
  }
});

Deno.test("backends NAME tells every option, counter, fault and structure", async () => {
  for (const name of builtInNames) {
    const plugin = await loadBackend(name);
    const { text } = await ringpipe(["backends", name]);
    const first = text.split("\n").map((line) => line.trim().split(/ {2,}/)[0]);
    const named = [plugin.options, plugin.counters, plugin.structures].flat().map((item) => item.name);
    const codes = (plugin.faults ?? []).map(({ code }) => code);
    assertEquals([...named, ...codes].filter((item) => !first.includes(item)), [], name);
  }
});

Deno.test("backends --json gives the same as data", async () => {
  const { text } = await ringpipe(["backends", "virtio", "--json"]);
  const plain = JSON.parse(text);
  const plugin = await loadBackend("virtio");
  assertEquals(plain.name, "virtio");
  assertEquals(
    plain.options.map(({ name }: { name: string }) => name),
    plugin.options.map(({ name }) => name),
  );
  assertEquals(plain.counters, plugin.counters);
  const queueSize = plain.options.find(({ name }: { name: string }) => name === "queue-size");
  assertEquals([queueSize.type, queueSize.values], ["integer", "power of two 1..32768"]);
  assertEquals(JSON.parse((await ringpipe(["backends", "--json"])).text).length, builtInNames.length);
});
