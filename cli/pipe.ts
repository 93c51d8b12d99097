/**
 * The run loop: a capture goes in, its packets go through a ring, the capture comes out.
 *
 * @module
 */
import type { Counters } from "../core/counters.ts";
import type { OptionValues } from "../core/options.ts";
import type { Plugin } from "../core/plugin.ts";
import { INTERRUPTED, InterruptError, TERMINATED } from "./errors.ts";
import { type Input, openInput, openOutput, type Output } from "./files.ts";
import { PipeRun } from "./pipe_run.ts";

/** What {@linkcode runPipe} takes. */
export interface PipeOptions {
  /** The ring. */
  readonly plugin: Plugin;
  /** Its options. */
  readonly options: OptionValues;
  /** Path of the capture to read, or `-` for standard input. */
  readonly input: string;
  /** Path of the capture to write, or `-` for standard output. */
  readonly output: string;
  /** Stop after so many packets. */
  readonly count?: number;
  /** Format to write; that of the input if not given. */
  readonly format?: "pcap" | "pcapng";
  /** Hears of each packet that was left out: its number, counted from 1, and why. */
  onDrop?(number: number, reason: string): void;
  /** Hears of what is odd but not wrong, in one line. */
  onWarning?(message: string): void;
  /** Hears how far it is, at most every 100 ms or so. */
  onProgress?(progress: PipeProgress): void;
  /** Where signal handlers ask for an end. */
  readonly interrupts?: Interrupts;
}

/** How far a run is. */
export interface PipeProgress {
  /** Packets taken from the input. */
  readonly packets: number;
  /** Bytes read from the input, as they lie there (compressed ones if it is compressed). */
  readonly bytesRead: number;
  /** Size of the input in bytes, if it is a regular file. */
  readonly inputSize?: number;
}

/** What became of a run. */
export interface PipeResult {
  /** Packets taken from the input, written to the output, and left out. */
  readonly packets: { readonly in: number; readonly out: number; readonly dropped: number };
  /** Captured bytes of those packets. */
  readonly bytes: { readonly in: number; readonly out: number };
  /** Packets left out, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** Counters of both halves. */
  readonly counters: Counters;
  /** Seconds from the first byte read to the last written. */
  readonly elapsed_s: number;
  /** The format that was read, for a person. */
  readonly format: string;
  /** What ended the run early: bad data, a fault, a stuck ring, a write error. All that was whole is written. */
  readonly error?: Error;
  /** Whether a signal ended the run before the end of the input. */
  readonly interrupted?: boolean;
  /** Whether not even what had been taken was written, as the output took nothing. */
  readonly abandoned?: boolean;
  /** Whether the reader of the output went away. */
  readonly readerGone?: boolean;
}

/**
 * Requests to end a run, one per signal. Where the input is a regular file the first ends the run after the
 * records already taken; where it is a pipe the first is left to the program upstream, which ends and so brings
 * the end of the input, and the second ends the run. An output that takes nothing is not waited for much longer
 * after the second, and not at all after the third.
 */
export class Interrupts {
  #count = 0;
  #terminated = false;
  #wake: () => void = () => {};

  /** How many there were. */
  get count(): number {
    return this.#count;
  }

  /** The exit status that they lead to. */
  get status(): number {
    return this.#terminated ? TERMINATED : INTERRUPTED;
  }

  /** Notes another one: to be called by the handler of SIGINT. */
  raise(): void {
    this.#count++;
    this.#wake();
  }

  /** Notes one that is meant for this program alone, so it counts as two: to be called by the handler of SIGTERM. */
  terminate(): void {
    this.#terminated = true;
    this.#count = Math.max(this.#count + 1, 2);
    this.#wake();
  }

  /** Calls `wake` at each further one, and at once if there was one; for the run loop. */
  onRaise(wake: () => void): void {
    this.#wake = wake;
    if (this.#count > 0) wake();
  }
}

/** Waits for a file to be opened, which a named pipe is not before its other end is. */
function opened<T>(opening: Promise<T>, path: string, interrupts?: Interrupts): Promise<T> {
  return new Promise((resolve, reject) => {
    interrupts?.onRaise(() => {
      reject(new InterruptError(`interrupted before ${path} was opened`, interrupts.status));
    });
    opening.then(resolve, reject);
  });
}

/**
 * Runs a capture through a ring.
 *
 * @throws {InterruptError} If it was interrupted before both ends were open.
 * @throws {UsageError} If the input or the output is one that must not be touched; nothing was.
 * @returns What became of it; whatever went wrong under way is its `error`.
 */
export async function runPipe(options: PipeOptions): Promise<PipeResult> {
  const { interrupts } = options;
  const input = await opened(openInput(options.input), options.input, interrupts);
  try {
    const output = await opened(openOutput(options.output, input), options.output, interrupts);
    try {
      return await runThrough(options, input, output);
    } finally {
      await output.close();
    }
  } finally {
    input.close();
  }
}

async function runThrough(options: PipeOptions, input: Input, output: Output): Promise<PipeResult> {
  const compressed = options.output.endsWith(".gz");
  const gzip = compressed ? new (await import("../pcap/compression.ts")).GzipSink(output) : undefined;
  const run = new PipeRun(options, input, gzip ?? output);
  await run.run();
  const result = run.result();
  if (!gzip || result.abandoned) return result;
  try {
    // Whatever went wrong with the input, what came of it is to be whole.
    await gzip.end();
    return result;
  } catch (error) {
    // Of compressed data that is not whole nobody can say what is in it.
    const { packets, bytes, ...rest } = result;
    const failure = error instanceof Deno.errors.BrokenPipe
      ? { readerGone: true }
      : { error: error as Error };
    return { packets: { ...packets, out: 0 }, bytes: { ...bytes, out: 0 }, ...rest, ...failure };
  }
}
