/**
 * What is given with `-o`.
 *
 * @module
 */
import { type OptionSpec, OptionValues } from "../core/options.ts";
import { UsageError } from "./errors.ts";

/** Name and value of the first of several options, and the others. */
function first(text: string, isEndless: (name: string) => boolean): [string, string, string | undefined] {
  const [, name, value] = /^([^=]+)=([^]*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new UsageError(`-o takes NAME=VALUE: got "${text}"`);
  const end = isEndless(name) ? -1 : value.indexOf(",");
  return end < 0 ? [name, value, undefined] : [name, value.slice(0, end), value.slice(end + 1)];
}

/**
 * Reads what was given with `-o`: `NAME=VALUE`, or several with commas between them. A value of any form has no end of
 * its own, as it may have commas: it is the last one of its `-o`.
 *
 * @param texts What stands behind each `-o`.
 * @param specs The options that there are.
 * @throws {UsageError} If one is malformed or given twice.
 * @throws {OptionError} If one is unknown or its value does not fit.
 */
export function optionValues(texts: readonly string[], specs: readonly OptionSpec[]): OptionValues {
  const given = new Map<string, string>();
  // Where the value of an unknown option ends nobody knows: it is not to be told as another mistake.
  const isEndless = (name: string) => (specs.find((spec) => spec.name === name)?.type ?? "text") === "text";
  for (const text of texts) {
    let rest: string | undefined = text;
    while (rest !== undefined) {
      const [name, value, more]: ReturnType<typeof first> = first(rest, isEndless);
      if (given.has(name)) throw new UsageError(`option ${name} is given twice`);
      given.set(name, value);
      rest = more;
    }
  }
  return new OptionValues(specs, Object.fromEntries(given));
}
