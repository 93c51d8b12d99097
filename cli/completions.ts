/**
 * `ringpipe completions`: scripts that let a shell complete commands, flags, backends, options and structures.
 *
 * @module
 */
import type { OptionSpec } from "../core/options.ts";
import type { Command } from "./command.ts";
import { commandNames, loadCommand } from "./commands.ts";
import { DELIVERED } from "./errors.ts";
import * as flags from "./flags.ts";
import { print } from "./output.ts";
import { allBackends } from "./plugins.ts";

/** A command with the words that choose it. */
export interface Completed {
  /** The words: `run`, `struct show`. */
  readonly path: string;
  /** The command. */
  readonly command: Command;
}

/** All that a script knows. */
export interface CompletionModel {
  /** First words with what they do. */
  readonly names: readonly (readonly [string, string])[];
  /** Words behind the first word of a group. */
  readonly groups: Readonly<Record<string, readonly (readonly [string, string])[]>>;
  /** All commands that do something. */
  readonly commands: readonly Completed[];
  /** Options of each backend. */
  readonly options: Readonly<Record<string, readonly OptionSpec[]>>;
  /** Names of all structures. */
  readonly structs: readonly string[];
}

/** What an option may be set to, as far as there are few values. */
export function optionChoices(option: OptionSpec): readonly string[] {
  return option.type === "flag" ? ["on", "off"] : option.type === "choice" ? option.choices : [];
}

/** The options that `-o` may set: by backend, and by command for commands with options of their own. */
export function optionSets({ options, commands }: CompletionModel): Record<string, readonly OptionSpec[]> {
  const own = commands.flatMap(({ path, command }) =>
    command.options ? [[path, command.options] as const] : []
  );
  return { ...options, ...Object.fromEntries(own) };
}

/** Loads every command and every backend, for their names. */
async function collect(call: Parameters<Command["execute"]>[0]): Promise<CompletionModel> {
  const loaded = await Promise.all(commandNames.map(async (name) => (await loadCommand(name))!));
  const commands: Completed[] = [];
  const groups: Record<string, [string, string][]> = {};
  for (const command of loaded) {
    if ("commands" in command) {
      groups[command.name] = command.commands.map(({ name, summary }) => [name, summary]);
      commands.push(
        ...command.commands.map((inner) => ({ path: `${command.name} ${inner.name}`, command: inner })),
      );
    } else {
      commands.push({ path: command.name, command });
    }
  }
  const backends = await allBackends(call);
  return {
    names: loaded.map(({ name, summary }) => [name, summary]),
    groups,
    commands,
    options: Object.fromEntries(backends.map(({ name, options }) => [name, options])),
    structs: [...new Set(backends.flatMap(({ structures }) => structures.map(({ name }) => name)))],
  };
}

/** The command. */
export const command: Command = {
  name: "completions",
  summary: "Prints a completion script for a shell",
  about: [
    "bash: source <(ringpipe completions bash)",
    "zsh: source <(ringpipe completions zsh), behind compinit",
    "fish: ringpipe completions fish | source",
  ],
  usage: "bash|zsh|fish",
  operands: [{ name: "SHELL", choices: ["bash", "zsh", "fish"] }],
  flags: [flags.PLUGIN],
  async execute(call) {
    const model = await collect(call);
    switch (call.operands[0]) {
      case "bash":
        print((await import("./completions_bash.ts")).bashScript(model));
        break;
      case "zsh":
        print((await import("./completions_zsh.ts")).zshScript(model));
        break;
      default:
        print((await import("./completions_fish.ts")).fishScript(model));
    }
    return DELIVERED;
  },
};
