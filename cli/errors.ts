/**
 * Exit statuses, and errors as one line.
 *
 * @module
 */

/** Everything was delivered. */
export const DELIVERED = 0;
/** Bad data, a fault, a dropped packet, a failed write or a failing plugin. */
export const FAILED = 1;
/** A mistake on the command line; nothing was touched. */
export const MISUSED = 2;
/** Ended by an interrupt: SIGINT. */
export const INTERRUPTED = 130;
/** Ended by SIGTERM. */
export const TERMINATED = 143;
/** The reader of standard output went away. */
export const READER_GONE = 141;

/** A mistake on the command line. */
export class UsageError extends Error {
  /** Always `"UsageError"`. */
  override readonly name = "UsageError";
}

/** A signal came before there was anything to end. */
export class InterruptError extends Error {
  /** Always `"InterruptError"`. */
  override readonly name = "InterruptError";
  /** The exit status that the signal leads to. */
  readonly status: number;

  /** Says what was not done, and how to exit. */
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** The exit status that an error leads to. */
export function exitStatus(error: unknown): number {
  if (error instanceof InterruptError) return error.status;
  if (error instanceof Deno.errors.BrokenPipe) return READER_GONE;
  // By name, as a plugin may bring a copy of the core of its own.
  const name = error instanceof Error ? error.name : "";
  return name === "UsageError" || name === "OptionError" ? MISUSED : FAILED;
}

/** What went wrong: what the message says in its first line, without the numbers that systems add. */
export function explain(error: unknown): string {
  const message = error instanceof Error ? error.message || error.name : String(error);
  const [, what, file] = /^(.*) \(os error \d+\)(?:: \w+ '([^]*)')?$/.exec(message) ?? [];
  if (what !== undefined) return file === undefined ? what : `${file}: ${what}`;
  // What was typed may have any number of lines; an error of the runtime has its own behind the first.
  return error instanceof UsageError ? message : message.split("\n")[0]!;
}
