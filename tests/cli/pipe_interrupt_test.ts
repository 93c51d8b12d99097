import { assertEquals, assertMatch } from "@std/assert";
import { Interrupts } from "../../cli/pipe.ts";
import { needPeers } from "../peers.ts";
import { walk } from "../pcap/walk.ts";
import { runBetween, stepwise } from "./pipe_harness.ts";
import { inRoot } from "./program.ts";

const WEB = await Deno.readFile(new URL("../../fixtures/web.pcap", import.meta.url));
const RUN = [
  "run",
  "--quiet",
  "--no-prompt",
  "--allow-read",
  "--allow-write",
  "--config",
  inRoot("deno.json"),
];

function spawn(...args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [...RUN, inRoot("cli/main.ts"), "run", "-b", "virtio", ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function named(): Promise<AsyncDisposable & { readonly path: string }> {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/pipe`;
  await new Deno.Command("mkfifo", { args: [path] }).output();
  return { path, [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }) };
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 50));
}

/** Sends a signal again and again until the process has ended: the first ones may be left to others. */
async function insist(child: Deno.ChildProcess, signal: Deno.Signal): Promise<void> {
  let ended = false;
  child.status.then(() => ended = true);
  while (!ended) {
    try {
      child.kill(signal);
    } catch {
      // It has just ended.
    }
    await pause();
  }
}

/** Resolves when the process handles signals itself: what Linux says of it. */
async function handles(child: Deno.ChildProcess, signal: number): Promise<void> {
  for (;;) {
    const status = await Deno.readTextFile(`/proc/${child.pid}/status`);
    const caught = BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)$/m.exec(status)![1]}`);
    if ((caught >> BigInt(signal - 1)) & 1n) return;
    await pause();
  }
}

const SIGNALS = [["SIGINT", 2, 130], ["SIGTERM", 15, 143]] as const;
const LINUX = { ignore: Deno.build.os !== "linux" };

for (const [signal, number, expected] of SIGNALS) {
  Deno.test({
    ...needPeers("mkfifo"),
    ...Deno.build.os !== "linux" && LINUX,
    name: `run ends at ${signal} while it waits for the other end of a named pipe`,
    async fn() {
      await using pipe = await named();
      for (
        const args of [[pipe.path, "-w", `${pipe.path}.out`], [inRoot("fixtures/web.pcap"), "-w", pipe.path]]
      ) {
        const child = spawn(...args);
        const outcome = child.output();
        await handles(child, number);
        await insist(child, signal);
        const { code, stderr } = await outcome;
        assertEquals(code, expected);
        const words = new TextDecoder().decode(stderr);
        assertMatch(words, /^ringpipe: interrupted before .* was opened\n$/);
      }
    },
  });

  Deno.test({
    ...LINUX,
    name: `run ends when ${signal} comes again and again though nobody reads its output`,
    async fn() {
      // More than all the buffers on the way hold.
      const input = await Deno.makeTempFile();
      await Deno.writeFile(input, WEB);
      for (let i = 0; i < 20; i++) await Deno.writeFile(input, WEB.subarray(24), { append: true });
      const child = spawn(input);
      await handles(child, number);
      await insist(child, signal);
      assertEquals((await child.status).code, expected);
      await Promise.all([child.stdout.cancel(), child.stderr.cancel(), Deno.remove(input)]);
    },
  });
}

Deno.test({
  ...LINUX,
  name: "run writes whole records, and a whole gzip member, when it is ended by SIGTERM",
  async fn() {
    const output = await Deno.makeTempFile({ suffix: ".pcap.gz" });
    const child = new Deno.Command(Deno.execPath(), {
      args: [...RUN, inRoot("cli/main.ts"), "run", "-q", "-b", "virtio", "-w", output],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const writer = child.stdin.getWriter();
    await handles(child, 15);
    // More than a pipe holds, so the program is at work when this is done; of the last record there is only a part.
    await writer.write(WEB.slice(0, 490000));
    child.kill("SIGTERM");
    assertEquals((await child.status).code, 143);
    await writer.close().catch(() => {});
    const plain = await new Response(
      (await Deno.open(output)).readable.pipeThrough(new DecompressionStream("gzip")),
    ).bytes();
    assertEquals(plain, WEB.slice(0, plain.length));
    assertEquals(walk(plain).error, undefined);
    await Deno.remove(output);
  },
});

Deno.test("runPipe gives up an output that takes nothing at the third interrupt, and claims nothing", async () => {
  const interrupts = new Interrupts();
  const stuck = {
    write() {
      for (let i = 0; i < 3; i++) interrupts.raise();
      return new Promise<number>(() => {});
    },
  };
  const { result } = await runBetween(stepwise(WEB, [50000]), stuck, { interrupts });
  assertEquals(result.interrupted, true);
  assertEquals(result.abandoned, true);
  assertEquals(result.error, undefined);
  assertEquals(result.packets.out, 0);
  assertEquals(interrupts.status, 130);
});

Deno.test("runPipe ends at once when it is terminated, whatever its input is", async () => {
  const interrupts = new Interrupts();
  const source = stepwise(WEB, [50000]);
  const silent = {
    ...source,
    read(target: Uint8Array) {
      if (interrupts.count > 0) return new Promise<null>(() => {});
      interrupts.terminate();
      return source.read(target);
    },
  };
  const sink = { write: (bytes: Uint8Array) => Promise.resolve(bytes.length) };
  const { result } = await runBetween(silent, sink, { live: true, interrupts });
  assertEquals(result.interrupted, true);
  assertEquals(result.abandoned ?? false, false);
  assertEquals(interrupts.status, 143);
});

Deno.test("runPipe counts as out only what was written", async () => {
  const limits = [0, 24, 60000, 200000];
  for (const limit of limits) {
    let written = 0;
    const sink = {
      write(bytes: Uint8Array) {
        if (written + bytes.length > limit) return Promise.reject(new Error("No space left on device"));
        written += bytes.length;
        return Promise.resolve(bytes.length);
      },
    };
    const { result } = await runBetween(stepwise(WEB, [50000]), sink);
    assertEquals(result.error?.message, "No space left on device");
    const { packets } = walk(WEB.slice(0, written));
    assertEquals(result.packets.out, packets.length);
    assertEquals(result.bytes.out, packets.reduce((sum, { bytes }) => sum + bytes.length, 0));
  }
});
