/**
 * Plugin options as data: from one definition come validation, help, completions and documentation.
 *
 * @module
 */
import { isPowerOfTwo } from "./index.ts";
import { didYouMean } from "./nearest.ts";

/** What all options have. */
export interface OptionBase {
  /** As typed on the command line, in kebab-case. */
  readonly name: string;
  /** What it does, in one sentence without a full stop. */
  readonly meaning: string;
}

/** A whole number within bounds. */
export interface IntegerOption extends OptionBase {
  /** Discriminates the union. */
  readonly type: "integer";
  /** Value when not given; left out if it is derived, and the meaning says from what. */
  readonly default?: number;
  /** Smallest value. */
  readonly min: number;
  /** Largest value. */
  readonly max: number;
  /** Whether only powers of two are allowed. */
  readonly powerOfTwo?: boolean;
}

/** A number of bytes, optionally with the suffix K, M, G or T (powers of 1024). */
export interface SizeOption extends OptionBase {
  /** Discriminates the union. */
  readonly type: "size";
  /** Value in bytes when not given. */
  readonly default?: number;
  /** Smallest value in bytes. */
  readonly min: number;
  /** Largest value in bytes. */
  readonly max: number;
}

/** `on` or `off`. */
export interface FlagOption extends OptionBase {
  /** Discriminates the union. */
  readonly type: "flag";
  /** Value when not given; left out if it is derived. */
  readonly default?: boolean;
}

/** One of a few words. */
export interface ChoiceOption extends OptionBase {
  /** Discriminates the union. */
  readonly type: "choice";
  /** Value when not given; left out if it is derived. */
  readonly default?: string;
  /** The words. */
  readonly choices: readonly string[];
}

/** A bit mask of up to 128 bits, decimal or `0x...`. */
export interface MaskOption extends OptionBase {
  /** Discriminates the union. */
  readonly type: "mask";
  /** Value when not given; left out if it is derived. */
  readonly default?: bigint;
}

/** Any text in a form that the plugin checks itself. */
export interface TextOption extends OptionBase {
  /** Discriminates the union. */
  readonly type: "text";
  /** Value when not given. */
  readonly default?: string;
  /** The form, as help shows it: `N[,M...]`. */
  readonly form: string;
}

/** One option of a plugin. */
export type OptionSpec = IntegerOption | SizeOption | FlagOption | ChoiceOption | MaskOption | TextOption;

/** A resolved value. */
export type OptionValue = number | boolean | string | bigint;

/** An option that does not exist or a value that does not fit: a mistake of the user, not of the peer. */
export class OptionError extends Error {
  /** Always `"OptionError"`. */
  override readonly name = "OptionError";
}

const UNITS = "KMGT";

function parseInteger(text: string): number {
  return /^(\d+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : NaN;
}

function parseSize(text: string): number {
  const match = /^(\d+)([KMGT])?$/i.exec(text);
  if (!match) return parseInteger(text);
  return Number(match[1]) * 1024 ** (match[2] ? UNITS.indexOf(match[2].toUpperCase()) + 1 : 0);
}

/** A number of bytes as {@linkcode SizeOption} takes it, with the largest suffix that divides it. */
export function formatSize(bytes: number): string {
  let unit = -1;
  while (bytes > 0 && bytes % 1024 === 0 && unit + 1 < UNITS.length) {
    bytes /= 1024;
    unit++;
  }
  return unit < 0 ? `${bytes}` : `${bytes}${UNITS[unit]}`;
}

/** What values an option takes, for help and error messages. */
export function optionForm(spec: OptionSpec): string {
  switch (spec.type) {
    case "integer":
      return `${spec.powerOfTwo ? "power of two " : ""}${spec.min}..${spec.max}`;
    case "size":
      return `${formatSize(spec.min)}..${formatSize(spec.max)}`;
    case "flag":
      return "on|off";
    case "choice":
      return spec.choices.join("|");
    case "mask":
      return "MASK";
    case "text":
      return spec.form;
  }
}

/** A value as it would be typed. */
export function formatOption(value: OptionValue): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  return typeof value === "bigint" ? `0x${value.toString(16)}` : String(value);
}

function parseOption(spec: OptionSpec, given: OptionValue): OptionValue {
  const text = formatOption(given);
  const refuse = (): never => {
    const hint = spec.type === "choice" ? didYouMean(text, spec.choices) : "";
    throw new OptionError(`option ${spec.name} takes ${optionForm(spec)}: got "${text}"${hint}`);
  };
  switch (spec.type) {
    case "integer":
    case "size": {
      const value = spec.type === "size" ? parseSize(text) : parseInteger(text);
      if (!(value >= spec.min && value <= spec.max)) return refuse();
      if (spec.type === "integer" && spec.powerOfTwo && !isPowerOfTwo(value)) return refuse();
      return value;
    }
    case "flag":
      return text === "on" ? true : text === "off" ? false : refuse();
    case "choice":
      return spec.choices.includes(text) ? text : refuse();
    case "mask":
      return /^(\d{1,39}|0x[0-9a-f]{1,32})$/i.test(text) && BigInt(text) >> 128n === 0n
        ? BigInt(text)
        : refuse();
    case "text":
      return text;
  }
}

function unknownOption(name: string, names: readonly string[]): OptionError {
  const hint = didYouMean(name, names) || `; there are ${names.join(", ") || "none"}`;
  return new OptionError(`unknown option "${name}"${hint}`);
}

/** The options of one opened plugin: given values and defaults, checked against their definitions. */
export class OptionValues {
  #values = new Map<string, OptionValue>();
  #given = new Set<string>();
  readonly #specs: ReadonlyMap<string, OptionSpec>;

  /**
   * Checks what was given against the definitions.
   *
   * @param specs The plugin's options.
   * @param given What the user chose, by name; texts are parsed, other values checked.
   * @throws {OptionError} If a name is unknown or a value does not fit.
   */
  constructor(specs: readonly OptionSpec[], given: Readonly<Record<string, OptionValue>> = {}) {
    this.#specs = new Map(specs.map((spec) => [spec.name, spec]));
    for (const spec of specs) if (spec.default !== undefined) this.#values.set(spec.name, spec.default);
    for (const [name, value] of Object.entries(given)) {
      const spec = this.#specs.get(name);
      if (!spec) throw unknownOption(name, [...this.#specs.keys()]);
      this.#values.set(name, parseOption(spec, value));
      this.#given.add(name);
    }
  }

  /**
   * Whether the user chose the value.
   *
   * @throws {TypeError} If there is no such option.
   */
  given(name: string): boolean {
    return this.#given.has(this.#spec(name).name);
  }

  /**
   * Replaces a value: a plugin notes here what it derived, so that the statistics show it.
   *
   * @throws {TypeError} If there is no such option.
   */
  resolve(name: string, value: OptionValue): void {
    this.#values.set(this.#spec(name).name, value);
  }

  /**
   * Whether there is a value; if not, the plugin derives one and notes it with {@linkcode resolve}.
   *
   * @throws {TypeError} If there is no such option.
   */
  has(name: string): boolean {
    return this.#values.has(this.#spec(name).name);
  }

  /**
   * The value of an `integer` or `size` option.
   *
   * @throws {TypeError} If there is no such option, or it has no value.
   */
  integer(name: string): number {
    return this.#get(name, "integer", "size") as number;
  }

  /**
   * The value of a `flag` option.
   *
   * @throws {TypeError} If there is no such option, or it has no value.
   */
  flag(name: string): boolean {
    return this.#get(name, "flag") as boolean;
  }

  /**
   * The value of a `choice` or `text` option.
   *
   * @throws {TypeError} If there is no such option, or it has no value.
   */
  text(name: string): string {
    return this.#get(name, "choice", "text") as string;
  }

  /**
   * The value of a `mask` option.
   *
   * @throws {TypeError} If there is no such option, or it has no value.
   */
  mask(name: string): bigint {
    return this.#get(name, "mask") as bigint;
  }

  #get(name: string, ...types: readonly OptionSpec["type"][]): OptionValue {
    const { type } = this.#spec(name);
    if (!types.includes(type)) {
      throw new TypeError(`Option "${name}" is no ${types.join(" or ")}: it is ${type}`);
    }
    const value = this.#values.get(name);
    if (value === undefined) throw new TypeError(`Option "${name}" has no value: derive one first`);
    return value;
  }

  #spec(name: string): OptionSpec {
    const spec = this.#specs.get(name);
    if (!spec) throw new TypeError(`There is no option "${name}"${didYouMean(name, this.#specs.keys())}`);
    return spec;
  }

  /** All values that there are, defaults and derived ones included, in the order of the definitions. */
  *#entries(): Generator<[string, OptionValue]> {
    for (const name of this.#specs.keys()) {
      const value = this.#values.get(name);
      if (value !== undefined) yield [name, value];
    }
  }

  /** All values as typed on the command line: `NAME=VALUE` each. */
  assignments(): string[] {
    return Array.from(this.#entries(), ([name, value]) => `${name}=${formatOption(value)}`);
  }

  /** All values for the statistics: numbers (sizes in bytes), booleans and texts as such, masks as `0x...`. */
  toJSON(): Record<string, number | boolean | string> {
    const result: Record<string, number | boolean | string> = {};
    for (const [name, value] of this.#entries()) {
      result[name] = typeof value === "bigint" ? formatOption(value) : value;
    }
    return result;
  }
}
