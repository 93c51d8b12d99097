/**
 * `ringpipe serve`: a device half for drivers in other processes.
 *
 * @module
 */
import type { OptionValues } from "../core/options.ts";
import type { SyncByteSink } from "../pcap/byte_source.ts";
import { CaptureError } from "../pcap/capture_error.ts";
import { LiveWriter } from "../pcap/live_writer.ts";
import type { Profile } from "../plugins/virtio/faults.ts";
import type { Call, Command } from "./command.ts";
import { DELIVERED, exitStatus, explain, READER_GONE, UsageError } from "./errors.ts";
import { FileLimit, type Input, openInput, openOutput, type Output } from "./files.ts";
import * as flags from "./flags.ts";
import { printError, report } from "./output.ts";
import { Replay } from "./replay.ts";
import { offeredFeatures, SERVE_OPTIONS, serveOptions } from "./serve_options.ts";
import { type Pace, ServePort } from "./serve_port.ts";
import { StatisticsFile } from "./statistics_file.ts";
import { counted } from "./table.ts";

const STDOUT = 1;
/** What a pipe takes at once if it takes anything. */
const PIPE_PAGE = 4096;
/** How long the loop stands still for an output that takes nothing. */
const PATIENCE_MS = 10;
/** How long such an output is waited for after a signal. */
const GRACE_MS = 500;

const MULTIPLES: Readonly<Record<string, number>> = { "": 1, k: 1e3, M: 1e6 };

/** `original`, `asap`, or frames per second. */
function chosenPace(text: string): Pace {
  if (text === "original" || text === "asap") return text;
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)([kM]?)$/.exec(text) ?? [];
  const rate = Number(number) * MULTIPLES[unit]!;
  if (!(rate > 0)) throw new UsageError(`--pace takes original, asap or frames per second: got "${text}"`);
  return rate;
}

function check(call: Call): string {
  const backend = call.text("backend") ?? "virtio";
  if (backend !== "virtio") throw new UsageError(`only virtio can be served: got "${backend}"`);
  const path = call.text("vhost-user");
  if (!path) throw new UsageError("--vhost-user SOCKET is missing");
  // The runtime has put a replacement character there: the socket would be one of another name.
  if (path.includes("\ufffd")) throw new UsageError(`${path} is not UTF-8, and no such socket can be served`);
  const sources = ["echo", "drop"].filter((name) => call.has(name)).map((name) => `--${name}`);
  if (call.text("read") !== undefined) sources.unshift("-r");
  if (sources.length > 1) throw new UsageError(`${sources.join(" and ")} exclude each other`);
  if (call.text("pace") !== undefined && call.text("read") === undefined) {
    throw new UsageError("--pace needs -r INPUT");
  }
  if (call.count("count") !== undefined && call.text("write") === undefined) {
    throw new UsageError("-c counts written frames: it needs -w OUTPUT");
  }
  if (call.text("write")?.endsWith(".gz")) {
    throw new UsageError(`serve writes without compression: got "${call.text("write")}"`);
  }
  return path;
}

/** Loads what calls the C library; where that cannot be, says what is missing. */
async function loadHost() {
  try {
    const [server, clock, files, poller] = await Promise.all([
      import("../host/vhost_user/server.ts"),
      import("../host/wall_clock.ts"),
      import("../host/mapped_file.ts"),
      import("../host/poller.ts"),
    ]);
    return {
      VhostUserServer: server.VhostUserServer,
      clock: new clock.WallClock(),
      isRegularFile: files.isRegularFile,
      isWritable: poller.isWritable,
    };
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) {
      throw new UsageError("serving needs the C library: add --allow-ffi");
    }
    throw error;
  }
}

/** What there was, for `--stats` and the last line. */
function statisticsOf(
  options: OptionValues,
  port: ServePort,
  counters: Record<string, number>,
  start: number,
) {
  const dropped = [...port.drops.values()].reduce((sum, count) => sum + count, 0);
  return {
    backend: "virtio",
    options,
    packets: { in: port.received.frames, out: port.written.frames, dropped },
    bytes: { in: port.received.bytes, out: port.written.bytes },
    drops: Object.fromEntries(port.drops),
    counters: {
      "serve.frames_delivered": port.delivered.frames,
      "serve.bytes_delivered": port.delivered.bytes,
      ...counters,
    },
    elapsed_s: (performance.now() - start) / 1000,
  };
}

function summary(port: ServePort, frontEnds: number): string {
  const drops = [...port.drops].map(([reason, count]) => `${reason} ${count}`);
  return `${counted(port.received.frames, "frame")} received, ${port.written.frames} written, ` +
    `${port.delivered.frames} sent to ${counted(frontEnds, "front end")}` +
    (drops.length > 0 ? `; left out: ${drops.join(", ")}` : "");
}

async function execute(call: Call): Promise<number> {
  const path = check(call);
  const options = serveOptions(call.texts("option"));
  const pace = chosenPace(call.text("pace") ?? "original");
  const host = await loadHost();
  const [inputPath, outputPath, filePath] = ["read", "write", "stats-out"].map((name) => call.text(name));
  const file = filePath === undefined
    ? undefined
    : await StatisticsFile.open(filePath, inputPath, outputPath);
  using _limit = new FileLimit();
  try {
    const input = inputPath === undefined ? undefined : await openInput(inputPath);
    const output = outputPath === undefined ? undefined : await openOutput(outputPath, input);
    return await serve(call, { path, options, pace, ...host, input, output, file });
  } finally {
    await file?.close();
  }
}

/** What {@linkcode serve} takes. */
interface ServeParts extends Awaited<ReturnType<typeof loadHost>> {
  readonly path: string;
  readonly options: OptionValues;
  readonly pace: Pace;
  readonly input: Input | undefined;
  readonly output: Output | undefined;
  readonly file: StatisticsFile | undefined;
}

/**
 * An output to be written from the server's loop. A reader of standard output that takes nothing must not keep that
 * from signals and front ends.
 */
function patient(output: Output, { isRegularFile, isWritable }: ServeParts): SyncByteSink {
  if (output.name !== "standard output" || isRegularFile(STDOUT)) return output;
  return {
    writeSync(bytes) {
      return isWritable(STDOUT, PATIENCE_MS) ? output.writeSync(bytes.subarray(0, PIPE_PAGE)) : 0;
    },
  };
}

/** Waits until the rest is written: for ever, but not long after a signal. */
async function drain(writer: LiveWriter, isUrgent: () => boolean): Promise<void> {
  let urgentSince = Infinity;
  for (writer.flush(); writer.stalled; writer.flush()) {
    if (isUrgent()) urgentSince = Math.min(urgentSince, performance.now());
    if (performance.now() - urgentSince > GRACE_MS) {
      throw new Error("cannot write standard output: nobody takes what is there");
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
}

/** Serves until there is a reason to end, and tells what there was. */
async function serve(call: Call, parts: ServeParts): Promise<number> {
  const { path, options, pace, VhostUserServer, clock, input, output, file } = parts;
  // Without a single frame no front end is waited for.
  const wake = () => replay!.error && replay!.frames === 0 ? server.stop() : server.wake();
  const replay = input && new Replay(input, wake);
  const start = performance.now();
  const writer = output && new LiveWriter(patient(output, parts));
  const port = new ServePort({
    ...writer && { writer },
    clock,
    ...replay && { replay },
    pace,
    echo: call.has("echo"),
    count: call.count("count") ?? Infinity,
  });
  const server = new VhostUserServer({
    path,
    connect: call.has("client"),
    once: call.has("once"),
    features: offeredFeatures(options),
    queuePairs: options.integer("queue-pairs"),
    maxQueueSize: options.integer("queue-size"),
    profile: options.text("profile") as Profile,
    segment: options.text("gso") === "segment",
    port,
    log: report,
  });
  let signalled = false;
  const stop = () => {
    signalled = true;
    server.stop();
  };
  Deno.addSignalListener("SIGINT", stop);
  Deno.addSignalListener("SIGTERM", stop);
  let failure: unknown;
  try {
    await server.run();
    if (writer) await drain(writer, () => signalled);
    failure = replay?.error;
  } catch (error) {
    failure = error;
  } finally {
    Deno.removeSignalListener("SIGINT", stop);
    Deno.removeSignalListener("SIGTERM", stop);
    input?.close();
    await output?.close();
  }
  if (failure instanceof Deno.errors.BrokenPipe) return READER_GONE;
  await tellStatistics(call, statisticsOf(options, port, server.counters(), start), file);
  if (failure instanceof CaptureError) failure = failure.inFile(input!.name, replay!.frames, "whole");
  if (failure) report(explain(failure));
  const moved = port.received.frames + port.delivered.frames > 0;
  if (!call.has("quiet") && (!failure || moved)) report(summary(port, server.frontEnds));
  return failure ? exitStatus(failure) : DELIVERED;
}

async function tellStatistics(
  call: Call,
  statistics: ReturnType<typeof statisticsOf>,
  file: StatisticsFile | undefined,
): Promise<void> {
  if (!call.has("stats") && !file) return;
  const { statisticsJson, statisticsTable } = await import("./statistics.ts");
  if (call.has("stats")) printError(statisticsTable(statistics));
  await file?.write(statisticsJson(statistics));
}

/** The command. */
export const command: Command = {
  name: "serve",
  summary: "Serves a virtio-net device to drivers in other processes: QEMU guests, DPDK",
  about: [
    "Listens at a vhost-user socket. What the driver sends is written to OUTPUT as a capture, live, with the time " +
    "of day; `-w - | tcpdump -r -` shows it. Frames of INPUT are sent to the driver.",
    "When a front end has gone, the next is waited for. SIGINT ends; the capture is whole.",
    "It takes Linux and --allow-ffi. A front end that cuts its memory short kills this process: serve those you trust.",
  ],
  usage: "-b virtio --vhost-user SOCKET [-o NAME=VALUE]... [-w OUTPUT] [-r INPUT | --echo | --drop]",
  operands: [],
  options: SERVE_OPTIONS,
  flags: [
    { ...flags.BACKEND, meaning: "The device: virtio, which is also the default" },
    { ...flags.OPTION, meaning: "Sets an option, or several with commas between them: csum=on,tso=on" },
    { name: "vhost-user", value: "SOCKET", kind: "file", meaning: "The socket" },
    { name: "client", meaning: "Connects to a front end that listens, again and again" },
    {
      name: "write",
      short: "w",
      value: "OUTPUT",
      kind: "file",
      meaning: "The capture to write, or - for standard output",
    },
    {
      name: "read",
      short: "r",
      value: "INPUT",
      kind: "file",
      meaning: "The capture to send, or - for standard input",
    },
    {
      name: "pace",
      value: "PACE",
      meaning:
        "When its frames are sent: original (their own gaps), asap, or frames per second (500, 20k, 1.5M)",
    },
    { name: "echo", meaning: "Sends back what came" },
    { name: "drop", meaning: "Sends nothing; the same as neither -r nor --echo" },
    { name: "once", meaning: "Ends when the first front end has gone" },
    { ...flags.COUNT, meaning: "Stops after N written frames" },
    flags.STATS,
    flags.STATS_OUT,
    flags.QUIET,
  ],
  execute,
};
