/**
 * Runs through a ring in memory: bytes in, bytes out.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";
import { type OptionValue, OptionValues } from "../../core/options.ts";
import type { Plugin } from "../../core/plugin.ts";
import { Input } from "../../cli/files.ts";
import type { Interrupts, PipeOptions, PipeResult } from "../../cli/pipe.ts";
import { PipeRun } from "../../cli/pipe_run.ts";
import type { ByteSink, ByteSource } from "../../pcap/byte_source.ts";
import { loopback } from "./pipe_loopback.ts";

/** What a run may be given. */
export interface Given {
  /** The ring; the loopback if not given. */
  readonly plugin?: Plugin;
  /** Its options. */
  readonly options?: Readonly<Record<string, OptionValue>>;
  /** How many bytes the input gives at a time, again and again. */
  readonly steps?: readonly number[];
  /** How many bytes the output takes at a time. */
  readonly taken?: number;
  /** Stop after so many packets. */
  readonly count?: number;
  /** Format to write. */
  readonly format?: "pcap" | "pcapng";
  /** Whether the input is a pipe. */
  readonly live?: boolean;
  /** Where to ask for an end. */
  readonly interrupts?: Interrupts;
}

/** What a run did. */
export interface Ran {
  /** What it said. */
  readonly result: PipeResult;
  /** What it wrote. */
  readonly output: Uint8Array<ArrayBuffer>;
  /** Packets that were left out, as `NUMBER REASON`. */
  readonly drops: string[];
  /** What it warned of. */
  readonly warnings: string[];
}

/** Gives bytes a few at a time. */
export function stepwise(bytes: Uint8Array, steps: readonly number[]): ByteSource & { close(): void } {
  let done = 0;
  let turn = 0;
  return {
    read(target) {
      const length = Math.min(steps[turn++ % steps.length]!, target.length, bytes.length - done);
      target.set(bytes.subarray(done, done + length));
      done += length;
      return Promise.resolve(length === 0 ? null : length);
    },
    close() {},
  };
}

/** Runs a source of bytes into a sink. */
export async function runBetween(
  source: ByteSource & { close(): void },
  sink: ByteSink,
  given: Given = {},
): Promise<Omit<Ran, "output">> {
  const { plugin = loopback, options = {}, count, format, live = false, interrupts } = given;
  const drops: string[] = [];
  const warnings: string[] = [];
  const pipe: PipeOptions = {
    plugin,
    options: new OptionValues(plugin.options, options),
    input: "in.pcap",
    output: "out.pcap",
    ...count !== undefined && { count },
    ...format && { format },
    ...interrupts && { interrupts },
    onDrop: (number, reason) => drops.push(`${number} ${reason}`),
    onWarning: (message) => warnings.push(message),
  };
  const run = new PipeRun(
    pipe,
    new Input("in.pcap", source, { size: live ? undefined : 0, keeps: true, dev: 0, ino: null }),
    sink,
  );
  await run.run();
  return { result: run.result(), drops, warnings };
}

/** Runs a capture. */
export async function runBytes(capture: Uint8Array, given: Given = {}): Promise<Ran> {
  const { steps = [1 << 21], taken = Infinity } = given;
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const sink: ByteSink = {
    write(bytes) {
      const length = Math.min(taken, bytes.length);
      parts.push(bytes.slice(0, length) as Uint8Array<ArrayBuffer>);
      return Promise.resolve(length);
    },
  };
  const ran = await runBetween(stepwise(capture, steps), sink, given);
  return { ...ran, output: concat(parts) };
}
