import { assert, assertEquals } from "@std/assert";
import { equals } from "@std/bytes/equals";
import { type PipeResult, runPipe } from "../../cli/pipe.ts";
import { type OptionSpec, OptionValues } from "../../core/options.ts";
import type { Plugin } from "../../core/plugin.ts";
import { builtInNames, loadBackend } from "../../plugins/registry.ts";
import { Random } from "../random.ts";
import { inRoot } from "./program.ts";

/** Option sets that are tried for each backend. */
const TRIES = Number(Deno.env.get("RINGPIPE_TRIES") ?? 25);

/** Runs a capture through a backend: what came out, what became of it, and which packets were left out. */
async function carry(
  plugin: Plugin,
  options: OptionValues,
  input: string,
): Promise<{ output: Uint8Array; result: PipeResult; left: number[] }> {
  const output = await Deno.makeTempFile();
  try {
    const left: number[] = [];
    const result = await runPipe({ plugin, options, input, output, onDrop: (number) => left.push(number) });
    return { output: await Deno.readFile(output), result, left };
  } finally {
    await Deno.remove(output);
  }
}

for (const name of builtInNames) {
  Deno.test(`${name} gives back every fixture byte for byte`, async () => {
    const plugin = await loadBackend(name);
    for await (const { name: file } of Deno.readDir(inRoot("fixtures"))) {
      if (!file.endsWith(".pcap")) continue;
      const input = inRoot(`fixtures/${file}`);
      const { output, result } = await carry(plugin, new OptionValues(plugin.options), input);
      assertEquals([result.error, result.packets.dropped], [undefined, 0], file);
      assert(equals(output, await Deno.readFile(input)), file);
    }
  });
}

/** A capture of random packets, and where each record starts. */
function randomCapture(random: Random): { bytes: Uint8Array<ArrayBuffer>; starts: number[] } {
  const lengths = Array.from({ length: random.between(1, 200) }, () => {
    const longest = random.pick([60, 60, 1514, 1514, 1514, 9000, 65535]);
    return random.between(random.chance(0.05) ? 0 : Math.min(14, longest), longest);
  });
  const starts: number[] = [];
  const bytes = random.bytes(lengths.reduce((sum, length) => sum + 16 + length, 24));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b23c4d, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 262144, true);
  view.setUint32(20, 1, true);
  let at = 24;
  for (const length of lengths) {
    starts.push(at);
    view.setUint32(at + 4, random.below(1_000_000_000), true);
    view.setUint32(at + 8, length, true);
    view.setUint32(at + 12, length + random.below(100), true);
    at += 16 + length;
  }
  starts.push(at);
  return { bytes, starts };
}

/** A value that an option may have, the edges of its range often. */
function randomValue(spec: OptionSpec, random: Random): string | undefined {
  switch (spec.type) {
    case "flag":
      return random.pick(["on", "off"]);
    case "choice":
      return random.pick(spec.choices);
    case "integer": {
      if (spec.powerOfTwo) return `${2 ** random.between(Math.log2(spec.min), Math.log2(spec.max))}`;
      const value = random.pick([
        spec.min,
        spec.max,
        random.between(spec.min, Math.min(spec.max, spec.min + 100)),
      ]);
      return `${value}`;
    }
    case "size":
      return `${
        random.pick([spec.min, Math.min(spec.max, 65536), random.between(spec.min, Math.min(spec.max, 9000))])
      }`;
    default:
      return undefined;
  }
}

/** The capture without the packets of these numbers. */
function without(bytes: Uint8Array, starts: readonly number[], left: readonly number[]): Uint8Array {
  const kept = [bytes.subarray(0, 24)];
  for (let i = 0; i + 1 < starts.length; i++) {
    if (!left.includes(i + 1)) kept.push(bytes.subarray(starts[i], starts[i + 1]));
  }
  return new Uint8Array(kept.flatMap((part) => [...part]));
}

for (const name of builtInNames) {
  Deno.test(`${name} gives back random captures under random options, but for packets that it names`, async () => {
    const plugin = await loadBackend(name);
    const input = await Deno.makeTempFile();
    let carried = 0;
    for (let seed = 0; seed < TRIES; seed++) {
      const random = new Random(seed);
      const { bytes, starts } = randomCapture(random);
      await Deno.writeFile(input, bytes);
      const chosen: Record<string, string> = {};
      for (const spec of plugin.options) {
        const value = random.chance(0.3) ? randomValue(spec, random) : undefined;
        if (value !== undefined) chosen[spec.name] = value;
      }
      const what = `seed ${seed}: ${JSON.stringify(chosen)}`;
      let outcome: Awaited<ReturnType<typeof carry>>;
      try {
        outcome = await carry(plugin, new OptionValues(plugin.options, chosen), input);
      } catch (error) {
        // Options that do not go together, or need more than the driver's memory, are refused before anything moves.
        const refused = (error as Error).name === "OptionError" ||
          /^Cannot .* memory/.test((error as Error).message);
        assert(refused, `${what}: ${error}`);
        continue;
      }
      const { output, result, left } = outcome;
      carried++;
      assertEquals(result.error, undefined, what);
      assert(equals(output, without(bytes, starts, left)), what);
    }
    await Deno.remove(input);
    assert(carried > TRIES / 4, `only ${carried} of ${TRIES} option sets go together`);
  });
}
