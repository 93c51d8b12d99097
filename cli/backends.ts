/**
 * `ringpipe backends`: which rings there are, and what one of them offers.
 *
 * @module
 */
import { optionForm } from "../core/options.ts";
import type { Plugin } from "../core/plugin.ts";
import type { Command } from "./command.ts";
import { DELIVERED } from "./errors.ts";
import * as flags from "./flags.ts";
import { defaultOf, optionRow } from "./option_row.ts";
import { print } from "./output.ts";
import { allBackends, findBackend } from "./plugins.ts";
import { columns } from "./table.ts";

function section(title: string, rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  return rows.length === 0 ? "" : `\n${title}:\n${columns(rows, right, 2)}`;
}

function describe(plugin: Plugin): string {
  return `${plugin.name}: ${plugin.summary}\n` +
    section("Options (-o NAME=VALUE)", plugin.options.map(optionRow)) +
    section("Counters", plugin.counters.map(({ name, meaning }) => [name, meaning])) +
    section(
      "Faults",
      (plugin.faults ?? []).map(({ code, half, meaning }) => [code, half ?? "either", meaning]),
    ) +
    section(
      "Structures (ringpipe struct show NAME)",
      plugin.structures.map(({ name, size, stride, summary }) => [
        name,
        `${size}${stride ? `+${stride}n` : ""}`,
        summary,
      ]),
      [1],
    );
}

function plain(plugin: Plugin): Record<string, unknown> {
  return {
    name: plugin.name,
    summary: plugin.summary,
    options: plugin.options.map((option) => ({
      name: option.name,
      type: option.type,
      values: optionForm(option),
      default: defaultOf(option) ?? null,
      meaning: option.meaning,
    })),
    counters: plugin.counters,
    faults: plugin.faults ?? [],
    structures: plugin.structures.map(({ name, size, stride, summary }) => ({ name, size, stride, summary })),
  };
}

/** The command. */
export const command: Command = {
  name: "backends",
  summary: "Lists the backends, or tells the options, counters, faults and structures of one",
  usage: "[NAME]",
  operands: [{ name: "NAME", kind: "backend", optional: true }],
  flags: [flags.PLUGIN, flags.JSON_OUTPUT],
  async execute(call) {
    const [name] = call.operands;
    if (name !== undefined) {
      const plugin = await findBackend(name, call);
      print(call.has("json") ? `${JSON.stringify(plain(plugin), null, 2)}\n` : describe(plugin));
      return DELIVERED;
    }
    const plugins = await allBackends(call);
    print(
      call.has("json")
        ? `${JSON.stringify(plugins.map(plain), null, 2)}\n`
        : columns(plugins.map((plugin) => [plugin.name, plugin.summary])),
    );
    return DELIVERED;
  },
};
