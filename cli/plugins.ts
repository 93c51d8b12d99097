/**
 * The backends that a command can reach: built in, loaded with `--plugin`, or brought along by the caller.
 *
 * @module
 */
import type { OptionValues } from "../core/options.ts";
import type { Plugin } from "../core/plugin.ts";
import { builtInNames, loadBackend, loadPlugin } from "../plugins/registry.ts";
import type { Call } from "./command.ts";
import { UsageError } from "./errors.ts";
import { optionValues } from "./option_values.ts";
import { unknownName } from "./unknown.ts";

/** The working directory as the base of relative specifiers. */
function workingDirectory(): string {
  const path = Deno.cwd().replaceAll("%", "%25");
  const url = new URL("file:///");
  url.pathname = Deno.build.os === "windows" ? `/${path.replaceAll("\\", "/")}/` : `${path}/`;
  return url.href;
}

/** Plugins that are not built in, by name. */
async function extraPlugins(call: Call): Promise<Map<string, Plugin>> {
  const extra = new Map<string, Plugin>();
  const add = (plugin: Plugin) => {
    if (builtInNames.includes(plugin.name) || extra.has(plugin.name)) {
      throw new UsageError(`there are two backends named "${plugin.name}"`);
    }
    extra.set(plugin.name, plugin);
  };
  if (call.plugins.length > 0) {
    const { validatePlugin } = await import("../core/plugin_check.ts");
    for (const plugin of call.plugins) add(validatePlugin(plugin));
  }
  for (const specifier of call.texts("plugin")) add(await loadPlugin(specifier, workingDirectory()));
  return extra;
}

/**
 * The backend of that name.
 *
 * @throws {UsageError} If there is none.
 * @throws {PluginError} If a plugin does not load.
 */
export async function findBackend(name: string, call: Call): Promise<Plugin> {
  const extra = await extraPlugins(call);
  const plugin = extra.get(name);
  if (plugin) return plugin;
  if (builtInNames.includes(name)) return loadBackend(name);
  throw unknownName("backend", name, [...builtInNames, ...extra.keys()]);
}

/** All backends, the built-in ones first. */
export async function allBackends(call: Call): Promise<Plugin[]> {
  const extra = await extraPlugins(call);
  return [...await Promise.all(builtInNames.map(loadBackend)), ...extra.values()];
}

/**
 * The backend that `-b` names.
 *
 * @throws {UsageError} If it is missing or unknown.
 */
export async function chosenBackend(call: Call): Promise<Plugin> {
  const name = call.text("backend");
  if (name === undefined) throw new UsageError(`-b BACKEND is missing: ${builtInNames.join(", ")}`);
  return await findBackend(name, call);
}

/**
 * The options that `-o` sets, checked against their definitions.
 *
 * @throws {UsageError} If one is malformed or given twice.
 * @throws {OptionError} If one is unknown or its value does not fit.
 */
export function chosenOptions(plugin: Plugin, call: Call): OptionValues {
  return optionValues(call.texts("option"), plugin.options);
}
