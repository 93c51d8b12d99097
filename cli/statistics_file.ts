/**
 * Keeps statistics from being written over a capture.
 *
 * @module
 */
import { UsageError } from "./errors.ts";

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
