/**
 * Checks the arguments of a command against its description.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { didYouMean, nearest } from "../core/nearest.ts";
import type { Plugin } from "../core/plugin.ts";
import type { Call, Command, FlagSpec, ValueSpec } from "./command.ts";
import { UsageError } from "./errors.ts";

/** A flag as it is typed: `-b`, or `--plugin` if it has no letter. */
function typed(flag: FlagSpec): string {
  return flag.short ? `-${flag.short}` : `--${flag.name}`;
}

/** Refuses a flag that does not exist, with the one that was probably meant. */
function unknownFlag(word: string, title: string, flags: readonly FlagSpec[]): never {
  const [name = ""] = word.split("=");
  const meant = name.startsWith("--")
    ? nearest(name.slice(2), [...flags.map((flag) => flag.name), "help"])
    : undefined;
  const hint = meant === undefined
    ? `; \`ringpipe ${title} --help\` lists those that there are`
    : ` (did you mean "--${meant}"?)`;
  throw new UsageError(`unknown flag ${name}${hint}`);
}

/**
 * Ties each value to its flag (`-w -` becomes `--write=-`), which the parser would not do for values that start
 * with a dash.
 */
function tieValues(args: readonly string[], title: string, flags: readonly FlagSpec[]): string[] {
  const tied: string[] = [];
  const rest = args.values();
  const value = (flag: FlagSpec): string => {
    const next = rest.next();
    if (next.done) throw new UsageError(`${typed(flag)} needs ${flag.value}`);
    return `--${flag.name}=${next.value}`;
  };
  for (const word of rest) {
    if (word === "--") return [...tied, word, ...rest];
    if (word.startsWith("--")) {
      const flag = flags.find((flag) => flag.value && word === `--${flag.name}`);
      tied.push(flag ? value(flag) : word);
    } else if (word.startsWith("-") && word !== "-") {
      for (let i = 1; i < word.length; i++) {
        const flag = flags.find((flag) => flag.short === word[i]);
        if (!flag) unknownFlag(`-${word[i]}`, title, flags);
        if (!flag.value) {
          tied.push(`--${flag.name}`);
          continue;
        }
        const attached = word.slice(i + 1);
        tied.push(attached ? `--${flag.name}=${attached}` : value(flag));
        break;
      }
    } else {
      tied.push(word);
    }
  }
  return tied;
}

/** Refuses a value that is not of its kind. */
function checkValue(name: string, value: string, { kind, choices }: ValueSpec): void {
  if (choices && !choices.includes(value)) {
    throw new UsageError(`${name} takes ${choices.join("|")}: got "${value}"${didYouMean(value, choices)}`);
  }
  if (
    kind === "count" && !(/^\d+$/.test(value) && Number(value) > 0 && Number.isSafeInteger(Number(value)))
  ) {
    throw new UsageError(`${name} takes a whole number from 1: got "${value}"`);
  }
  if (kind === "file" && value === "") throw new UsageError(`${name} takes a file name: got ""`);
  if (kind === "module" && value === "") throw new UsageError(`${name} takes a module: got ""`);
}

function checkOperands(title: string, given: readonly string[], { operands: specs, flags }: Command): void {
  const missing = specs.find((spec, i) => !spec.optional && i >= given.length);
  if (missing) throw new UsageError(`${title} needs ${missing.name}`);
  const last = specs.at(-1);
  given.forEach((operand, i) => {
    const spec = specs[i] ?? (last?.repeat ? last : undefined);
    if (!spec) {
      const output = flags.find(({ name }) => name === "write");
      const hint = output ? `; an output is named with ${typed(output)}` : "";
      throw new UsageError(`${title} takes no further operand: got "${operand}"${hint}`);
    }
    checkValue(spec.name, operand, spec);
  });
}

/**
 * Parses the arguments of a command.
 *
 * @param command The command's description.
 * @param title The words that chose it, for messages: `struct show`.
 * @param args The arguments behind those words.
 * @param plugins Passed on to the command.
 * @returns The checked arguments, or `undefined` if help is wanted.
 * @throws {UsageError} If they do not fit.
 */
export function parseCall(
  command: Command,
  title: string,
  args: readonly string[],
  plugins: readonly Plugin[],
): Call | undefined {
  const flags: readonly FlagSpec[] = [...command.flags, { name: "help", short: "h", meaning: "" }];
  const valued = flags.filter((flag) => flag.value);
  const parsed = parseArgs(tieValues(args, title, flags), {
    string: ["_", ...valued.map((flag) => flag.name)],
    boolean: flags.filter((flag) => !flag.value).map((flag) => flag.name),
    collect: valued.map((flag) => flag.name),
    "--": true,
    unknown: (word, key) => key === undefined || unknownFlag(word, title, command.flags),
  });
  for (const flag of flags) {
    if (!flag.value && args.some((word) => word.startsWith(`--${flag.name}=`))) {
      throw new UsageError(`--${flag.name} takes no value`);
    }
  }
  if (parsed["help"]) return undefined;
  const texts = new Map<string, readonly string[]>();
  for (const flag of valued) {
    const values = (parsed[flag.name] ?? []) as readonly string[];
    if (values.length > 1 && !flag.repeat) throw new UsageError(`${typed(flag)} is given twice`);
    for (const value of values) checkValue(typed(flag), value, flag);
    texts.set(flag.name, values);
  }
  const operands = [...parsed._, ...(parsed["--"] ?? []) as string[]].map(String);
  checkOperands(title, operands, command);
  return {
    operands,
    plugins,
    has: (flag) => parsed[flag] === true,
    text: (flag) => texts.get(flag)?.[0],
    texts: (flag) => texts.get(flag) ?? [],
    count: (flag) => {
      const text = texts.get(flag)?.[0];
      return text === undefined ? undefined : Number(text);
    },
  };
}
