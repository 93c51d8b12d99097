/**
 * Commands as data: from one description come parsing, `--help`, completions and the list of commands.
 *
 * @module
 */
import type { OptionSpec } from "../core/options.ts";
import type { Plugin } from "../core/plugin.ts";

/** What a value is: decides how it is checked and how a shell completes it. */
export type ValueKind = "text" | "file" | "count" | "backend" | "option" | "module" | "struct" | "command";

/** What flags and operands have in common. */
export interface ValueSpec {
  /** What the value is; `text` if left out. A `count` is a whole number from 1. */
  readonly kind?: ValueKind;
  /** The words it may be, if it is one of a few. */
  readonly choices?: readonly string[];
}

/** A flag: a switch, or with a value. */
export interface FlagSpec extends ValueSpec {
  /** Long name without dashes. */
  readonly name: string;
  /** One letter without a dash. */
  readonly short?: string;
  /** What help calls its value, in capitals; a flag without one is a switch. */
  readonly value?: string;
  /** Whether it may be given several times. */
  readonly repeat?: boolean;
  /** What it does, in one sentence without a full stop. */
  readonly meaning: string;
}

/** An argument that is not a flag. */
export interface OperandSpec extends ValueSpec {
  /** What help calls it, in capitals. */
  readonly name: string;
  /** Whether it may be left out. */
  readonly optional?: boolean;
  /** Whether any number of further ones may follow; only the last operand. */
  readonly repeat?: boolean;
}

/** What has a name and an explanation. */
interface CommandBase {
  /** The word that is typed. */
  readonly name: string;
  /** What it does, in one line without a full stop. */
  readonly summary: string;
  /** More of it, for its own help: paragraphs. */
  readonly about?: readonly string[];
}

/** A command that does something. */
export interface Command extends CommandBase {
  /** Its form, as help shows it behind its name. */
  readonly usage: string;
  /** Its flags, `--help` not among them. */
  readonly flags: readonly FlagSpec[];
  /** Its operands in order. */
  readonly operands: readonly OperandSpec[];
  /** What its `-o` sets, if not the options of the chosen backend. */
  readonly options?: readonly OptionSpec[];
  /**
   * Does it. Errors are thrown; main turns them into one line and an exit status.
   *
   * @returns The exit status.
   */
  execute(call: Call): Promise<number>;
}

/** A command whose next word is a command again. */
export interface CommandGroup extends CommandBase {
  /** The commands it has. */
  readonly commands: readonly Command[];
}

/** The arguments of one command, checked against its description. */
export interface Call {
  /** What is not a flag, in order. */
  readonly operands: readonly string[];
  /** Plugins that the caller of `main` brought along. */
  readonly plugins: readonly Plugin[];
  /** Whether a switch was given. */
  has(flag: string): boolean;
  /** The value of a flag, if it was given. */
  text(flag: string): string | undefined;
  /** All values of a flag that may be repeated. */
  texts(flag: string): readonly string[];
  /** The value of a flag of the kind `count`, if it was given. */
  count(flag: string): number | undefined;
}
