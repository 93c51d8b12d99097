/**
 * `ringpipe run`: a capture in, its packets through a ring, the capture out.
 *
 * @module
 */
import "./run_modules.ts";
import type { OptionValues } from "../core/options.ts";
import type { Plugin } from "../core/plugin.ts";
import type { Call, Command } from "./command.ts";
import { DELIVERED, exitStatus, explain, FAILED, READER_GONE, UsageError } from "./errors.ts";
import { FileLimit } from "./files.ts";
import * as flags from "./flags.ts";
import { printError } from "./output.ts";
import { Interrupts, type PipeOptions, type PipeResult, runPipe } from "./pipe.ts";
import { chosenBackend, chosenOptions } from "./plugins.ts";
import { Monitor } from "./progress.ts";
import type { StatisticsFile } from "./statistics_file.ts";

function chosenInput(call: Call): string {
  const [operand] = call.operands;
  const flag = call.text("read");
  if (operand !== undefined && flag !== undefined) {
    throw new UsageError(`there are two inputs: "${operand}" and -r "${flag}"`);
  }
  return operand ?? flag ?? "-";
}

function settings(plugin: Plugin, options: OptionValues): string {
  return `backend ${plugin.name}${options.assignments().map((pair) => ` -o ${pair}`).join("")}`;
}

/** Tells what was asked for: table, error, summary, file. */
async function tell(
  call: Call,
  monitor: Monitor,
  plugin: Plugin,
  options: OptionValues,
  result: PipeResult,
  file: StatisticsFile | undefined,
): Promise<void> {
  if (call.has("verbose")) {
    monitor.line(settings(plugin, options));
    monitor.line(`read ${result.format}`);
  }
  const statistics = { backend: plugin.name, options, ...result };
  if (call.has("stats")) {
    const { statisticsTable } = await import("./statistics.ts");
    printError(statisticsTable(statistics));
  }
  if (!result.readerGone) {
    if (result.error) monitor.line(explain(result.error));
    if (!call.has("quiet") && (!result.error || result.packets.in > 0)) {
      const { summaryLine } = await import("./summary.ts");
      monitor.line(summaryLine(plugin.name, result));
    }
  }
  if (file) {
    const { statisticsJson } = await import("./statistics.ts");
    await file.write(statisticsJson(statistics));
  }
}

/** Opens the file for statistics, if they are wanted. */
async function openStatistics(
  call: Call,
  input: string,
  output: string,
): Promise<StatisticsFile | undefined> {
  const path = call.text("stats-out");
  if (path === undefined) return undefined;
  const { StatisticsFile } = await import("./statistics_file.ts");
  return StatisticsFile.open(path, input, output);
}

/** The exit status that a run leads to. */
function statusOf({ error, interrupted, readerGone, packets }: PipeResult, interrupts: Interrupts): number {
  if (readerGone) return READER_GONE;
  if (error) return exitStatus(error);
  if (interrupted) return interrupts.status;
  return packets.dropped > 0 ? FAILED : DELIVERED;
}

/** Runs it, with signals as its interrupts. */
async function moved(options: PipeOptions & { readonly interrupts: Interrupts }): Promise<PipeResult> {
  const interrupt = () => options.interrupts.raise();
  const terminate = () => options.interrupts.terminate();
  Deno.addSignalListener("SIGINT", interrupt);
  // Windows has no such signals.
  const isUnix = Deno.build.os !== "windows";
  if (isUnix) Deno.addSignalListener("SIGTERM", terminate);
  try {
    return await runPipe(options);
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
    if (isUnix) Deno.removeSignalListener("SIGTERM", terminate);
  }
}

async function execute(call: Call): Promise<number> {
  const input = chosenInput(call);
  const output = call.text("write") ?? "-";
  const plugin = await chosenBackend(call);
  const options = chosenOptions(plugin, call);
  const count = call.count("count");
  const format = call.text("format") as "pcap" | "pcapng" | undefined;
  const live = !call.has("quiet") && Deno.stderr.isTerminal();
  const monitor = new Monitor({ live, verbose: call.has("verbose") });
  const interrupts = new Interrupts();
  const file = await openStatistics(call, input, output);
  using _limit = new FileLimit();
  try {
    const result = await moved({
      plugin,
      options,
      input,
      output,
      ...count !== undefined && { count },
      ...format && { format },
      onDrop: (number, reason) => monitor.drop(number, reason),
      onWarning: (message) => monitor.line(message),
      ...live && { onProgress: (progress) => monitor.progress(progress) },
      interrupts,
    }).finally(() => monitor.end());
    await tell(call, monitor, plugin, options, result, file);
    return statusOf(result, interrupts);
  } finally {
    await file?.close();
  }
}

/** The command. */
export const command: Command = {
  name: "run",
  summary: "Moves the packets of a capture through a ring and writes the capture that comes out",
  about: [
    "INPUT and OUTPUT are pcap or pcapng files, gzip or not; both default to `-`, standard input and output. " +
    "When every packet was carried, the output is the input, byte for byte.",
    "A packet that the ring cannot carry is never cut: it is left out, told with its number and counted.",
    "Standard input to standard output needs no permission; a plugin can then touch nothing but the packets.",
  ],
  usage: "-b BACKEND [-o NAME=VALUE]... [INPUT] [-w OUTPUT]",
  operands: [{ name: "INPUT", kind: "file", optional: true }],
  flags: [
    flags.BACKEND,
    flags.OPTION,
    {
      name: "read",
      short: "r",
      value: "INPUT",
      kind: "file",
      meaning: "The capture to read, as the operand",
    },
    { name: "write", short: "w", value: "OUTPUT", kind: "file", meaning: "The capture to write" },
    flags.COUNT,
    {
      name: "format",
      short: "F",
      value: "FORMAT",
      choices: ["pcap", "pcapng"],
      meaning: "Converts on the way out",
    },
    flags.PLUGIN,
    flags.STATS,
    flags.STATS_OUT,
    flags.QUIET,
    flags.VERBOSE,
  ],
  execute,
};
