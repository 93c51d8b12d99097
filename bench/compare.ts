/**
 * ringpipe and the usual capture tools side by side: `deno task compare [OPTIONS] [CAPTURE...]`.
 *
 * Every tool copies the same capture from the page cache to a file in memory. After one warm-up the rounds
 * alternate, each in the reverse order of the one before, so that whatever drifts on the machine hits all alike;
 * the ratio is the median of the ratios within each round, not the ratio of two medians. Without a capture
 * the two that the documented figures stand on are generated: a million frames of IMIX, two million of 64 bytes.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { writeCapture } from "./gen_pcap.ts";

const USAGE = `usage: deno task compare [OPTIONS] [CAPTURE...]
  -b, --backend NAME      backend of ringpipe to run; repeatable (virtio)
  -o, --option NAME=VALUE option of that backend; repeatable
      --bundle            ringpipe from a bundle, too (docs/speed.md, Start)
  -n, --rounds N          rounds after the warm-up (11)
  -a, --add NAME=COMMAND  one more tool: a shell command with {in} and {out}; repeatable
      --against NAME      the tool that ratios are taken against (tcpdump)
      --out DIR           where captures go (/dev/shm where there is one)
      --json FILE         all figures as JSON, - for standard output instead of the table
`;
const RSS_POLL_MS = 5;
/** As `deno task start` runs it, and an installed command may: modules of other backends are not looked at. */
const START_FLAGS = "--unstable-lazy-dynamic-imports --v8-flags=--no-lazy,--min-semi-space-size=16";
/** In a command, the place of the bundle, which is made last. */
const BUNDLE = "{bundle}";

/** A command that turns one capture into another. */
interface Tool {
  name: string;
  /** Shell command with {in} and {out}. */
  command: string;
  /** Whether a difference between input and output is an error; other tools may rewrite the header. */
  exact: boolean;
}

/** One timed run. */
interface Run {
  wall: number;
  cpu: number;
}

/** What is told about a tool; seconds and bytes. */
interface Row {
  tool: string;
  command: string;
  wall: { min: number; median: number; max: number };
  cpu: number;
  peakRss: number | undefined;
  bytesPerSecond: number;
  packetsPerSecond: number;
  /** Speed against the reference: median, lowest and highest of the rounds. */
  ratio: { median: number; min: number; max: number };
  identical: boolean;
}

/** A run that makes the comparison worthless. */
class Failure extends Error {}

function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text + "\n"));
}

function usageError(text: string): never {
  say(`compare: ${text}\n${USAGE}`);
  Deno.exit(2);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function installed(program: string): boolean {
  const which = new Deno.Command("sh", {
    args: ["-c", `command -v ${program}`],
    stdout: "null",
    stderr: "null",
  });
  return which.outputSync().success;
}

/** Number of records in a little-endian capture with plain 16-byte record headers. */
function countPackets(path: string): number {
  const bytes = Deno.readFileSync(path);
  const view = new DataView(bytes.buffer);
  let count = 0;
  for (let at = 24; at + 16 <= bytes.length; at += 16 + view.getUint32(at + 8, true)) count++;
  return count;
}

function sameBytes(a: string, b: string): boolean {
  return new Deno.Command("cmp", { args: ["-s", a, b] }).outputSync().success;
}

/** The largest resident set of any process below this one, as the kernel noted it. */
function highWater(pid: number): number {
  let peak = 0;
  try {
    const kilobytes = /^VmHWM:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1];
    peak = Number(kilobytes ?? 0) * 1024;
    const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim();
    for (const child of children ? children.split(" ") : []) peak = Math.max(peak, highWater(Number(child)));
  } catch {
    // It has ended, or there is no /proc.
  }
  return peak;
}

/** Processor seconds of the children, from what the shell's `times` printed last. */
function cpuSeconds(times: string): number {
  const last = times.trim().split("\n").at(-1) ?? "";
  let seconds = 0;
  for (const [, m, s] of last.matchAll(/(\d+)m([\d.]+)s/g)) seconds += Number(m) * 60 + Number(s);
  return seconds;
}

async function runOnce(
  tool: Tool,
  input: string,
  output: string,
  watch?: (pid: number) => void,
): Promise<Run> {
  const command = tool.command.replaceAll("{in}", quote(input)).replaceAll("{out}", quote(output));
  try {
    Deno.removeSync(output);
  } catch {
    // Not there in the first run.
  }
  const script = `exec 3>&1 >/dev/null </dev/null; ${command}; code=$?; times >&3; exit $code`;
  const started = performance.now();
  const child = new Deno.Command("sh", { args: ["-c", script], stdout: "piped", stderr: "piped" }).spawn();
  const timer = watch && setInterval(() => watch(child.pid), RSS_POLL_MS);
  const { code, stdout, stderr } = await child.output();
  const wall = (performance.now() - started) / 1000;
  clearInterval(timer);
  if (code !== 0) {
    throw new Failure(
      `${tool.name} failed (${code}): ${command}\n${new TextDecoder().decode(stderr).trim()}`,
    );
  }
  return { wall, cpu: cpuSeconds(new TextDecoder().decode(stdout)) };
}

async function compare(
  tools: Tool[],
  against: string,
  input: string,
  output: string,
  rounds: number,
): Promise<Row[]> {
  const bytes = Deno.statSync(input).size;
  const packets = countPackets(input);
  const peaks = new Map<string, number>();
  const identical = new Map<string, boolean>();
  const runs = new Map<string, Run[]>(tools.map((tool) => [tool.name, []]));
  for (const tool of tools) {
    await runOnce(tool, input, output, (pid) => {
      peaks.set(tool.name, Math.max(peaks.get(tool.name) ?? 0, highWater(pid)));
    });
    identical.set(tool.name, sameBytes(input, output));
    if (tool.exact && !identical.get(tool.name)) throw new Failure(`${tool.name} changed the capture`);
  }
  for (let round = 0; round < rounds; round++) {
    for (const tool of round % 2 ? tools.toReversed() : tools) {
      runs.get(tool.name)!.push(await runOnce(tool, input, output));
    }
  }
  const reference = runs.get(against)!;
  return tools.map((tool) => {
    const walls = runs.get(tool.name)!.map((run) => run.wall);
    const ratios = walls.map((wall, round) => reference[round]!.wall / wall);
    return {
      tool: tool.name,
      command: tool.command,
      wall: { min: Math.min(...walls), median: median(walls), max: Math.max(...walls) },
      cpu: median(runs.get(tool.name)!.map((run) => run.cpu)),
      peakRss: peaks.get(tool.name),
      bytesPerSecond: bytes / median(walls),
      packetsPerSecond: packets / median(walls),
      ratio: { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) },
      identical: identical.get(tool.name)!,
    };
  });
}

function table(rows: Row[], against: string): string {
  const lines = [
    `| tool | median (s) | min - max (s) | CPU (s) | peak RSS (MB) | MB/s | Mpackets/s | speed against ${against} |`,
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
  ];
  for (const row of rows) {
    const { wall, ratio } = row;
    lines.push(
      `| ${row.tool} | ${wall.median.toFixed(3)} | ${wall.min.toFixed(3)} - ${wall.max.toFixed(3)} ` +
        `| ${row.cpu.toFixed(2)} | ${row.peakRss ? (row.peakRss / 1e6).toFixed(0) : "-"} ` +
        `| ${(row.bytesPerSecond / 1e6).toFixed(0)} | ${(row.packetsPerSecond / 1e6).toFixed(2)} ` +
        `| **${ratio.median.toFixed(2)}x** (${ratio.min.toFixed(2)} - ${ratio.max.toFixed(2)}) |`,
    );
  }
  return lines.join("\n") + "\n";
}

function pathOf(file: string): string {
  return decodeURIComponent(new URL(file, import.meta.url).pathname);
}

/** Bundles the command line into a directory. */
function bundle(directory: string): string {
  const { success } = new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--code-splitting", `--outdir=${directory}`, pathOf("../cli/main.ts")],
    cwd: pathOf(".."),
  }).outputSync();
  if (!success) throw new Failure("the bundle cannot be made");
  return `${directory}/main.js`;
}

function ringpipe(backend: string, options: readonly string[], main: string, suffix = ""): Tool {
  const settings = options.map((option) => ` -o ${quote(option)}`).join("");
  return {
    name: ["ringpipe", backend, ...options].join(" ") + suffix,
    // Less would do, but Deno refuses everything under /dev, and so /dev/shm, to whoever may not do all.
    command: `${quote(Deno.execPath())} run -A ${START_FLAGS} ${main} ` +
      `run -q -b ${backend}${settings} {in} -w {out}`,
    exact: true,
  };
}

function added(text: string): Tool {
  const split = text.indexOf("=");
  if (split < 1) usageError(`--add wants NAME=COMMAND: ${text}`);
  return { name: text.slice(0, split), command: text.slice(split + 1), exact: false };
}

if (import.meta.main) {
  const args = parseArgs(Deno.args, {
    string: ["_", "backend", "option", "rounds", "add", "against", "out", "json"],
    boolean: ["bundle", "help"],
    collect: ["backend", "option", "add"],
    alias: { backend: "b", option: "o", rounds: "n", add: "a", help: "h" },
    unknown: (arg, key) => key === undefined || usageError(`unknown option ${arg}`),
  });
  if (args.help) {
    Deno.stdout.writeSync(new TextEncoder().encode(USAGE));
    Deno.exit(0);
  }
  const rounds = Number(args.rounds ?? 11);
  if (!Number.isInteger(rounds) || rounds < 1) {
    usageError(`--rounds wants a number from 1: ${args.rounds}`);
  }
  const backends = args.backend.length ? args.backend : ["virtio"];
  const tools = [
    ...backends.map((backend) => ringpipe(backend, args.option, quote(pathOf("../cli/main.ts")))),
    ...args.bundle ? backends.map((backend) => ringpipe(backend, args.option, BUNDLE, ", bundled")) : [],
    { name: "tcpdump", command: "tcpdump -r {in} -w {out}", exact: false },
    { name: "editcap", command: "editcap -F pcap {in} {out}", exact: false },
    { name: "cat", command: "cat {in} > {out}", exact: true },
    ...args.add.map(added),
  ].filter((tool) => {
    const program = tool.command.split(" ")[0]!;
    const found = tool.command.startsWith("'") || installed(program);
    if (!found) say(`compare: ${program} is not installed, left out`);
    return found;
  });
  const against = args.against ?? "tcpdump";
  if (!tools.some((tool) => tool.name === against)) usageError(`nothing to compare with: ${against}`);

  let base = args.out;
  if (base === undefined && Deno.build.os === "linux") base = "/dev/shm";
  const directory = Deno.makeTempDirSync({ prefix: "ringpipe-bench-", ...(base ? { dir: base } : {}) });
  // tcpdump gives up root before it opens its output.
  Deno.chmodSync(directory, 0o1777);
  const results: { capture: string; rows: Row[] }[] = [];
  try {
    if (args.bundle) {
      const main = quote(bundle(`${directory}/bundle`));
      for (const tool of tools) tool.command = tool.command.replace(BUNDLE, main);
    }
    let captures = args._.map((path) => ({ name: String(path), path: Deno.realPathSync(String(path)) }));
    if (captures.length === 0) {
      const imix = `${directory}/imix.pcap`;
      const small = `${directory}/64.pcap`;
      writeCapture(imix, 1_000_000, "imix", 1);
      writeCapture(small, 2_000_000, "64", 2);
      captures = [{ name: "1 M packets IMIX", path: imix }, { name: "2 M packets of 64 bytes", path: small }];
    }
    for (const { name, path } of captures) {
      const rows = await compare(tools, against, path, `${directory}/out.pcap`, rounds);
      results.push({ capture: name, rows });
      if (args.json !== "-") {
        Deno.stdout.writeSync(
          new TextEncoder().encode(`\n${name}, ${rounds} rounds\n\n${table(rows, against)}`),
        );
      }
    }
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    say(`compare: ${error.message}`);
    Deno.exitCode = 1;
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
  if (args.json !== undefined && Deno.exitCode === 0) {
    const text = JSON.stringify({ rounds, against, deno: Deno.version.deno, results }, null, 2) + "\n";
    if (args.json === "-") Deno.stdout.writeSync(new TextEncoder().encode(text));
    else Deno.writeTextFileSync(args.json, text);
  }
}
