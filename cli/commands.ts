/**
 * What commands there are. Each is loaded only when it is needed.
 *
 * @module
 */
import type { Command, CommandGroup } from "./command.ts";

/** Commands by name, in the order in which help lists them. */
const COMMANDS: Readonly<Record<string, () => Promise<{ readonly command: Command | CommandGroup }>>> = {
  run: () => import("./run.ts"),
  serve: () => import("./serve.ts"),
  capinfo: () => import("./capinfo.ts"),
  backends: () => import("./backends.ts"),
  struct: () => import("./struct.ts"),
  completions: () => import("./completions.ts"),
  help: () => import("./help.ts"),
};

/** Names of all commands. */
export const commandNames: readonly string[] = Object.keys(COMMANDS);

/** Loads a command; `undefined` if there is none of that name. */
export async function loadCommand(name: string): Promise<Command | CommandGroup | undefined> {
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  return (await load?.())?.command;
}
