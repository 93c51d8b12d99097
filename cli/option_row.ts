/**
 * How an option is listed: its name, the values it takes, its meaning and default.
 *
 * @module
 */
import { formatOption, formatSize, optionForm, type OptionSpec } from "../core/options.ts";

/** The default as it would be typed; `undefined` if it is derived. */
export function defaultOf(option: OptionSpec): string | undefined {
  if (option.default === undefined) return undefined;
  return option.type === "size" ? formatSize(option.default) : formatOption(option.default);
}

/** The cells of an option's row. */
export function optionRow(option: OptionSpec): string[] {
  const value = defaultOf(option);
  return [
    option.name,
    optionForm(option),
    option.meaning + (value === undefined ? "" : ` (default ${value})`),
  ];
}
