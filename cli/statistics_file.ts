/**
 * Where statistics go.
 *
 * @module
 */
import { writeAll } from "../pcap/byte_source.ts";
import { UsageError } from "./errors.ts";
import { openOutput, type Output, statFile } from "./files.ts";
import { print } from "./output.ts";

const STANDARD = "-";

/** A path from the root without what does not change where it leads; `..` may, behind a link. */
function plain(path: string): string {
  const whole = path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
  return whole.split("/").filter((part) => part !== "" && part !== ".").join("/");
}

/** Whether statistics would go where a capture goes (1) or comes from (0). */
function isSame(file: string, capture: string, standard: 0 | 1): boolean {
  if (file === STANDARD && capture === STANDARD) return standard === 1;
  if (file !== STANDARD && capture !== STANDARD && plain(file) === plain(capture)) return true;
  const [one, other] = [statFile(file, 1), statFile(capture, standard)];
  if (!one?.keeps || one.ino === null || one.dev !== other?.dev || one.ino !== other.ino) return false;
  // A socket may well be standard input and standard output.
  return standard === 1 || one.size !== undefined;
}

/**
 * Refuses statistics where packets go or come from, by whatever name.
 *
 * @param file Where the statistics go.
 * @param input The capture that is read, if there is one.
 * @param output The capture that is written, if there is one.
 * @throws {UsageError} If they would be written over one.
 */
export function checkStatisticsFile(
  file: string,
  input: string | undefined,
  output: string | undefined,
): void {
  const taken = output !== undefined && isSame(file, output, 1) ||
    input !== undefined && isSame(file, input, 0);
  if (taken) throw new UsageError(`--stats-out would overwrite the capture: got "${file}"`);
}

/** Where statistics go: opened before packets move, as a mistake in its name should not be found out after that. */
export class StatisticsFile {
  /** The file; standard output if there is none. */
  readonly #output: Output | undefined;

  private constructor(output: Output | undefined) {
    this.#output = output;
  }

  /**
   * Opens it. What stands in it stays until there is something to be written.
   *
   * @param file Its path, or `-`.
   * @param input The capture that is read, if there is one.
   * @param output The capture that is written, if there is one.
   * @throws {UsageError} If they would be written over a capture, or if it is a directory.
   */
  static async open(
    file: string,
    input: string | undefined,
    output: string | undefined,
  ): Promise<StatisticsFile> {
    checkStatisticsFile(file, input, output);
    if (file === STANDARD) return new StatisticsFile(undefined);
    const opened = await openOutput(file, undefined, "--stats-out");
    try {
      // Two names of a file that was not there before lead to the one that is there now.
      checkStatisticsFile(file, input, output);
    } catch (error) {
      await opened.close();
      throw error;
    }
    return new StatisticsFile(opened);
  }

  /** Writes them. */
  async write(text: string): Promise<void> {
    if (this.#output) await writeAll(this.#output, new TextEncoder().encode(text));
    else print(text);
  }

  /** Closes it; a file that was created and has nothing is removed. */
  async close(): Promise<void> {
    await this.#output?.close();
  }
}
