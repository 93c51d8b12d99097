/**
 * The command line. `deno run jsr:@ringpipe/ringpipe/cli help` shows what it can do.
 *
 * A program with a ring of its own can be a command line too:
 *
 * ```ts ignore
 * import { main } from "jsr:@ringpipe/ringpipe/cli";
 * import myRing from "./my_ring.ts";
 *
 * Deno.exitCode = await main(Deno.args, { plugins: [myRing] }); // run -b my-ring in.pcap -w out.pcap
 * ```
 *
 * @module
 */
import type { Plugin } from "../core/plugin.ts";
import { parseCall } from "./arguments.ts";
import { commandNames, loadCommand } from "./commands.ts";
import { DELIVERED, exitStatus, explain, FAILED, READER_GONE, UsageError } from "./errors.ts";
import { print, report } from "./output.ts";

/** What {@linkcode main} takes beside the arguments. */
export interface MainOptions {
  /** Plugins that can be named with `-b` beside the built-in backends. */
  readonly plugins?: readonly Plugin[];
}

async function version(): Promise<number> {
  const manifest = await import("../deno.json", { with: { type: "json" } });
  print(`ringpipe ${manifest.default.version}\n`);
  return DELIVERED;
}

async function help(path: readonly string[]): Promise<number> {
  const { helpText } = await import("./help.ts");
  print(await helpText(path));
  return DELIVERED;
}

async function unknown(kind: string, word: string, names: readonly string[]): Promise<never> {
  const { unknownName } = await import("./unknown.ts");
  throw unknownName(kind, word, names);
}

async function dispatch(args: readonly string[], plugins: readonly Plugin[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) throw new UsageError(`what to do is missing: ${commandNames.join(", ")}`);
  if (name === "--help" || name === "-h") return help([]);
  if (name === "--version" || name === "-V") return version();
  if (name.startsWith("-")) throw new UsageError(`a command comes first: got ${name}`);
  let title = name;
  let command = await loadCommand(name);
  if (!command) return unknown("command", name, commandNames);
  if ("commands" in command) {
    const choices = command.commands;
    const word = rest.shift();
    if (word === "--help" || word === "-h") return help([name]);
    const names = choices.map((choice) => choice.name);
    if (word === undefined) throw new UsageError(`${name} needs a command: ${names.join(", ")}`);
    command = choices.find((choice) => choice.name === word);
    if (!command) return unknown(`${name} command`, word, names);
    title = `${name} ${word}`;
  }
  const call = parseCall(command, title, rest, plugins);
  return call ? await command.execute(call) : help(title.split(" "));
}

/**
 * Runs one command. Packets and answers go to standard output, all else to standard error; nothing is thrown.
 *
 * @param args The arguments, the command first.
 * @param options What the calling program brings along.
 * @returns The exit status: 0 all delivered; 1 bad data, a fault, a dropped packet, a failed write or a failing
 * plugin; 2 a mistake on the command line; 130 interrupted; 141 the reader went away; 143 terminated.
 */
export async function main(args: readonly string[], options: MainOptions = {}): Promise<number> {
  try {
    return await dispatch(args, options.plugins ?? []);
  } catch (error) {
    const status = exitStatus(error);
    if (status !== READER_GONE) report(explain(error));
    return status;
  }
}

/** Ends the process over what went wrong where nobody waited for it: in a plugin, most likely. */
function endOver(error: unknown): never {
  report(explain(error));
  Deno.exit(FAILED);
}

if (import.meta.main) {
  addEventListener("error", (event) => endOver(event.error));
  addEventListener("unhandledrejection", (event) => endOver(event.reason));
  // A read of standard input that will never end must not keep the process.
  Deno.exit(await main(Deno.args));
}
