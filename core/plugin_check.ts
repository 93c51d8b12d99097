/**
 * Tells what is wrong with a value that should be a plugin; only plugins from elsewhere are looked at.
 *
 * @module
 */
import { type OptionError, type OptionSpec, OptionValues } from "./options.ts";
import type { Plugin } from "./plugin.ts";

/** What a member must be, if it is not that. */
type Check = (value: unknown) => string | undefined;
/** Members of an object, each with its check. */
type Shape = Readonly<Record<string, Check>>;

function must(wanted: string, fits: (value: unknown) => boolean): Check {
  return (value) => fits(value) ? undefined : wanted;
}

function optional(check: Check): Check {
  return (value) => {
    const wanted = value === undefined ? undefined : check(value);
    return wanted && `${wanted}, or left out`;
  };
}

const string = must("a string", (value) => typeof value === "string");
const word = must("a name without spaces", (value) => typeof value === "string" && /^\S+$/.test(value));
const kebab = must(
  "a name in kebab-case",
  (value) => typeof value === "string" && /^[a-z][a-z0-9-]*$/.test(value),
);
const words = must(
  "an array of names without spaces",
  (value) => Array.isArray(value) && value.length > 0 && value.every((item) => word(item) === undefined),
);
const list = must("an array", Array.isArray);
const whole = must("a whole number", Number.isSafeInteger);
const callable = must("a function", (value) => typeof value === "function");

const PLUGIN: Shape = {
  api: must("the number 1", (value) => value === 1),
  name: kebab,
  summary: string,
  options: list,
  counters: list,
  structures: list,
  faults: optional(list),
  open: callable,
};
const COUNTER: Shape = { name: word, meaning: string };
const STRUCTURE: Shape = {
  name: word,
  summary: string,
  source: string,
  fields: list,
  decode: callable,
  encode: callable,
};
const FAULT: Shape = {
  code: word,
  half: optional(must('"driver" or "device"', (value) => value === "driver" || value === "device")),
  meaning: string,
};
const OPTION: Shape = { name: kebab, meaning: string };
/** What the types of options have beside that. */
const OPTION_TYPES: Readonly<Record<OptionSpec["type"], Shape>> = {
  integer: { min: whole, max: whole, default: optional(whole) },
  size: { min: whole, max: whole, default: optional(whole) },
  flag: { default: optional(must("true or false", (value) => typeof value === "boolean")) },
  choice: { choices: words, default: optional(string) },
  mask: { default: optional(must("a bigint", (value) => typeof value === "bigint")) },
  text: { form: string, default: optional(string) },
};

/** What is wrong with the members of a value, which stands at `path`. */
function wrongMember(value: unknown, shape: Shape, path: string): string | undefined {
  if (typeof value !== "object" || value === null) return `"${path}" must be an object`;
  for (const [key, check] of Object.entries(shape)) {
    const wanted = check((value as Record<string, unknown>)[key]);
    if (wanted) return `"${path}${path && "."}${key}" must be ${wanted}`;
  }
  return undefined;
}

function wrongOption(value: unknown, path: string): string | undefined {
  const wrong = wrongMember(value, OPTION, path);
  if (wrong) return wrong;
  const spec = value as OptionSpec;
  if (!Object.hasOwn(OPTION_TYPES, spec.type)) {
    return `"${path}.type" must be one of ${Object.keys(OPTION_TYPES).join(", ")}`;
  }
  const wrongHere = wrongMember(spec, OPTION_TYPES[spec.type], path);
  if (wrongHere || spec.default === undefined) return wrongHere;
  try {
    new OptionValues([spec], { [spec.name]: spec.default });
  } catch (error) {
    return `"${path}.default" does not fit: ${(error as OptionError).message}`;
  }
  return undefined;
}

/** What is wrong with the items at `key` of the plugin; if they have names, no two the same. */
function wrongItem(
  items: readonly unknown[],
  key: string,
  wrongWith: (item: unknown, path: string) => string | undefined,
): string | undefined {
  const seen = new Set<unknown>();
  for (const [i, item] of items.entries()) {
    const path = `${key}[${i}]`;
    const wrong = wrongWith(item, path);
    if (wrong) return wrong;
    const { name } = item as { name?: unknown };
    if (seen.has(name)) return `"${path}.name" is there twice: ${name}`;
    if (name !== undefined) seen.add(name);
  }
  return undefined;
}

/** What is wrong with a value that should be a plugin, or nothing. */
function wrongWithPlugin(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return "expected an object";
  const wrong = wrongMember(value, PLUGIN, "");
  if (wrong) return wrong;
  const { options, counters, structures, faults = [] } = value as Record<string, unknown[]>;
  return wrongItem(options!, "options", wrongOption) ??
    wrongItem(counters!, "counters", (item, path) => wrongMember(item, COUNTER, path)) ??
    wrongItem(structures!, "structures", (item, path) => wrongMember(item, STRUCTURE, path)) ??
    wrongItem(faults, "faults", (item, path) => wrongMember(item, FAULT, path));
}

/**
 * Checks that a loaded value is a plugin: modules are loaded without a look at their types.
 *
 * @throws {TypeError} If it is not; the message says what is missing or wrong.
 */
export function validatePlugin(value: unknown): Plugin {
  const wrong = wrongWithPlugin(value);
  if (wrong) throw new TypeError(`its default export is not a plugin: ${wrong}`);
  return value as Plugin;
}
