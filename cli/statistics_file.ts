/**
 * Where statistics go.
 *
 * @module
 */
import { writeAll } from "../pcap/byte_source.ts";
import { UsageError } from "./errors.ts";
import { openOutput, type Output } from "./files.ts";
import { print } from "./output.ts";

const STANDARD = "-";

/** A path without what does not change where it leads; `..` may, behind a link. */
function plain(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  return `${path.startsWith("/") ? "/" : ""}${parts.join("/")}`;
}

/** What file a path leads to: nothing if there is none yet, or if looking at it is not permitted. */
function identity(path: string): { dev: number; ino: number | null } | undefined {
  if (Deno.permissions.querySync({ name: "read", path }).state !== "granted") return undefined;
  try {
    const { isFile, dev, ino } = Deno.statSync(path);
    return isFile ? { dev, ino } : undefined;
  } catch {
    return undefined;
  }
}

function isSame(a: string, b: string): boolean {
  if (a === STANDARD || b === STANDARD) return a === b;
  if (plain(a) === plain(b)) return true;
  const [one, other] = [identity(a), identity(b)];
  return one !== undefined && one.ino !== null && one.dev === other?.dev && one.ino === other.ino;
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
  const taken = output !== undefined && isSame(file, output) ||
    input !== undefined && input !== STANDARD && isSame(file, input);
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
    return new StatisticsFile(
      file === STANDARD ? undefined : await openOutput(file, undefined, "--stats-out"),
    );
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
