/**
 * What is said of a name that does not exist.
 *
 * @module
 */
import { didYouMean } from "../core/nearest.ts";
import { UsageError } from "./errors.ts";

/**
 * A mistake in a name: with the one that was probably meant, else with those that there are.
 *
 * @param kind What it should name: `command`.
 * @param word What was typed.
 * @param names Those that there are, if they are few.
 */
export function unknownName(kind: string, word: string, names: readonly string[]): UsageError {
  const hint = didYouMean(word, names) || `; there are ${names.join(", ")}`;
  return new UsageError(`unknown ${kind} "${word}"${hint}`);
}
