/**
 * Finds plugins: the built-in ones by short name, any other by module specifier.
 *
 * @module
 */
import { didYouMean } from "../core/nearest.ts";
import { type Plugin, validatePlugin } from "../core/plugin.ts";

/** Built-in backends. Each is loaded only when it is asked for. */
const BUILT_IN: Readonly<Record<string, () => Promise<{ readonly default: Plugin }>>> = {
  virtio: () => import("./virtio/mod.ts"),
  gve: () => import("./gve/mod.ts"),
  xen: () => import("./xen/mod.ts"),
  vdpa: () => import("./vdpa/mod.ts"),
};

/** A backend or plugin module that does not exist, does not load, or is no plugin. */
export class PluginError extends Error {
  /** Always `"PluginError"`. */
  override readonly name = "PluginError";
}

/** Short names of the built-in backends. */
export const builtInNames: readonly string[] = Object.keys(BUILT_IN);

/**
 * Loads a built-in backend.
 *
 * @throws {PluginError} If there is none of that name.
 */
export async function loadBackend(name: string): Promise<Plugin> {
  const load = Object.hasOwn(BUILT_IN, name) ? BUILT_IN[name] : undefined;
  if (!load) throw new PluginError(`unknown backend "${name}"${didYouMean(name, builtInNames)}`);
  return (await load()).default;
}

/**
 * Loads a plugin from a module whose default export it is.
 *
 * @param specifier What the user typed: `./my_ring.ts`, `jsr:@scope/ring`, `npm:ring`.
 * @param base URL against which relative specifiers are resolved, ending in `/`.
 * @throws {PluginError} If the module cannot be loaded or exports no plugin.
 */
export async function loadPlugin(specifier: string, base: string): Promise<Plugin> {
  const isPath = /^\.{0,2}\//.test(specifier) || /^[^@:][^:]*\.m?[jt]s$/.test(specifier);
  const resolved = isPath ? new URL(specifier, base).href : specifier;
  try {
    const module: { default?: unknown } = await import(resolved);
    return validatePlugin(module.default);
  } catch (error) {
    const [reason = ""] = (error instanceof Error ? error.message : String(error)).replace(/\.$/, "").split(
      "\n",
    );
    const hint = reason.startsWith("Requires read access") ? ` (pass --allow-read=${specifier})` : "";
    throw new PluginError(`cannot load plugin "${specifier}": ${reason}${hint}`);
  }
}
