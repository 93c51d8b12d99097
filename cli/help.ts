/**
 * `ringpipe help`: what commands there are, and what one of them takes.
 *
 * @module
 */
import type { Command, CommandGroup, FlagSpec } from "./command.ts";
import { commandNames, loadCommand } from "./commands.ts";
import { DELIVERED, UsageError } from "./errors.ts";
import { print } from "./output.ts";
import { optionRow } from "./option_row.ts";
import { columns, lineWidth, wrap } from "./table.ts";
import { unknownName } from "./unknown.ts";

const OVERVIEW = `ringpipe moves packets through real NIC rings, byte for byte.

Usage: ringpipe COMMAND [ARGUMENTS]

Commands:
`;

const OVERVIEW_END = `
\`ringpipe help COMMAND\` says more. \`ringpipe --version\` prints the version.

Exit status: 0 all delivered; 1 bad data, a fault, a dropped packet, a failed write or a failing plugin;
2 a mistake on the command line; 130 interrupted; 141 the reader went away; 143 terminated.
`;

const HELP: FlagSpec = { name: "help", short: "h", meaning: "Prints this text" };

function paragraphs(command: Command | CommandGroup): string {
  return [`${command.summary}.`, ...command.about ?? []]
    .map((text) => `${wrap(text, lineWidth()).join("\n")}\n`)
    .join("\n");
}

/** One row for each flag: its forms, and what it does. */
function flagRows(flags: readonly FlagSpec[]): string[][] {
  return flags.map((flag) => {
    const short = flag.short ? `-${flag.short}, ` : "    ";
    const notes = [
      ...flag.choices ? [flag.choices.join(", ")] : [],
      ...flag.repeat ? ["may be repeated"] : [],
    ];
    return [
      `${short}--${flag.name}${flag.value ? ` ${flag.value}` : ""}`,
      flag.meaning + (notes.length > 0 ? ` (${notes.join("; ")})` : ""),
    ];
  });
}

function commandHelp(title: string, command: Command): string {
  return `Usage: ringpipe ${title}${command.usage && ` ${command.usage}`}\n\n${paragraphs(command)}\n` +
    `Flags:\n${columns(flagRows([...command.flags, HELP]), [], 2)}` +
    (command.options ? `\nOptions (-o NAME=VALUE):\n${columns(command.options.map(optionRow), [], 2)}` : "");
}

function groupHelp(group: CommandGroup): string {
  const rows = group.commands.map((command) => [`${command.name} ${command.usage}`.trim(), command.summary]);
  return `Usage: ringpipe ${group.name} COMMAND [ARGUMENTS]\n\n${paragraphs(group)}\n` +
    `Commands:\n${columns(rows, [], 2)}\n` +
    `\`ringpipe help ${group.name} COMMAND\` says more.\n`;
}

/**
 * The help for a command, or for the whole program.
 *
 * @param path The words that choose the command; none for the program.
 * @throws {UsageError} If there is no such command.
 */
export async function helpText(path: readonly string[]): Promise<string> {
  const [name, word] = path;
  if (name === undefined) {
    const rows = await Promise.all(
      commandNames.map(async (name) => [name, (await loadCommand(name))!.summary]),
    );
    return `${OVERVIEW}${columns(rows, [], 2)}${OVERVIEW_END}`;
  }
  const command = await loadCommand(name);
  if (!command) throw unknownName("command", name, commandNames);
  if (!("commands" in command)) {
    if (word !== undefined) throw new UsageError(`${name} has no commands of its own: got "${word}"`);
    return commandHelp(name, command);
  }
  if (word === undefined) return groupHelp(command);
  const inner = command.commands.find((inner) => inner.name === word);
  if (!inner) {
    throw unknownName(`${name} command`, word, command.commands.map((inner) => inner.name));
  }
  return commandHelp(`${name} ${word}`, inner);
}

/** The command. */
export const command: Command = {
  name: "help",
  summary: "Says what the commands do and what they take",
  usage: "[COMMAND]",
  flags: [],
  operands: [
    { name: "COMMAND", kind: "command", optional: true },
    { name: "COMMAND", optional: true },
  ],
  async execute({ operands }) {
    print(await helpText(operands));
    return DELIVERED;
  },
};
