/**
 * Standard output and standard error as text.
 *
 * @module
 */
import { explain } from "./errors.ts";

const encoder = new TextEncoder();

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = encoder.encode(text);
  for (let done = 0; done < bytes.length;) done += stream.writeSync(bytes.subarray(done));
}

/**
 * Prints text on standard output.
 *
 * @throws {Deno.errors.BrokenPipe} If its reader went away.
 * @throws {Error} If it cannot be written.
 */
export function print(text: string): void {
  try {
    writeAll(Deno.stdout, text);
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) throw error;
    throw new Error(`cannot write standard output: ${explain(error)}`);
  }
}

/** Text in which characters that would move the cursor, or worse, are written out: names of files may have any. */
export function visible(text: string): string {
  // deno-lint-ignore no-control-regex -- That is what is looked for.
  return text.replace(/[\0-\x1f\x7f-\x9f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

/** How many characters a line of a terminal has; `undefined` if the stream is none, or does not say. */
export function terminalWidth(stream: { isTerminal(): boolean }): number | undefined {
  if (!stream.isTerminal()) return undefined;
  try {
    return Deno.consoleSize().columns || undefined;
  } catch {
    return undefined;
  }
}

/** Prints one line on standard error, behind the program's name. */
export function report(line: string): void {
  printError(`ringpipe: ${visible(line)}\n`);
}

/** Prints text on standard error. What cannot be said there cannot be said at all. */
export function printError(text: string): void {
  try {
    writeAll(Deno.stderr, text);
  } catch {
    // Standard error is closed or full.
  }
}
