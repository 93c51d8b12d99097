/**
 * Finds plugins: the built-in ones by short name, any other by module specifier.
 *
 * @module
 */
import { didYouMean } from "../core/nearest.ts";
import type { Plugin } from "../core/plugin.ts";

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

/** Specifiers that are paths: those that begin with `/`, `./` or `../`, and names of source files. */
const PATH = /^\.{0,2}\/|^[^@:][^:]*\.m?[jt]s$/;
/** Specifiers that are URLs of any kind. */
const URL_SCHEME = /^[a-z][a-z0-9+.-]*:/i;

/** Why an import failed, in one line, and what may help. */
function explain(error: unknown, specifier: string): string {
  const message = error instanceof Error ? error.message : String(error);
  const [line = ""] = message.split("\n");
  const [, path] = /^Requires read access to "(.*?)"/.exec(line) ?? [];
  if (path !== undefined) return `${line} (pass --allow-read=${path})`;
  if (PATH.test(specifier) || URL_SCHEME.test(specifier)) return line.replace(/\.$/, "");
  // What does the asking is of no use to who typed the name.
  return `${line.replace(/ from "[^"]*"$/, "")} (a file is ./${specifier})`;
}

/**
 * Loads a plugin from a module whose default export it is.
 *
 * @param specifier What the user typed: a path (`./my_ring.ts`), or `jsr:@scope/ring`, `npm:ring`, a URL.
 * @param base URL against which relative paths are resolved, ending in `/`.
 * @throws {PluginError} If the module cannot be loaded or exports no plugin.
 */
export async function loadPlugin(specifier: string, base: string): Promise<Plugin> {
  const resolved = PATH.test(specifier)
    ? new URL(specifier.replace(/[%?#]/g, encodeURIComponent), base).href
    : specifier;
  try {
    const module: { default?: unknown } = await import(resolved);
    const { validatePlugin } = await import("../core/plugin_check.ts");
    return validatePlugin(module.default);
  } catch (error) {
    throw new PluginError(`cannot load plugin "${specifier}": ${explain(error, specifier)}`);
  }
}
