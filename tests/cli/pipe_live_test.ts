import { concat } from "@std/bytes/concat";
import { assert, assertEquals } from "@std/assert";
import { needPeers } from "../peers.ts";
import { walk } from "../pcap/walk.ts";
import { inRoot } from "./program.ts";

const WEB = await Deno.readFile(new URL("../../fixtures/web.pcap", import.meta.url));
const RUN = [
  "run",
  "--quiet",
  "--no-prompt",
  "--config",
  inRoot("deno.json"),
  inRoot("cli/main.ts"),
  "run",
  "-b",
  "virtio",
];

/** The program between two pipes, without a permission. */
class Live implements AsyncDisposable {
  readonly child: Deno.ChildProcess;
  readonly input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly output: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  received: Uint8Array<ArrayBuffer> = new Uint8Array(0);

  constructor() {
    this.child = new Deno.Command(Deno.execPath(), {
      args: RUN,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.input = this.child.stdin.getWriter();
    this.output = this.child.stdout.getReader();
  }

  /** Reads until there are so many bytes, or no more. */
  async receive(length = Infinity): Promise<Uint8Array> {
    while (this.received.length < length) {
      const { value, done } = await this.output.read();
      if (done) break;
      this.received = concat([this.received, value]);
    }
    return this.received;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.input.close().catch(() => {});
    await this.output.cancel();
    await this.child.status;
  }
}

Deno.test("run hands on at once what has arrived, the file header first", async () => {
  await using live = new Live();
  let sent = 0;
  for (const { end } of [{ end: 24 }, ...recordsOf(WEB).slice(0, 3)]) {
    await live.input.write(WEB.slice(sent, end));
    sent = end;
    assertEquals(await live.receive(sent), WEB.slice(0, sent));
  }
});

Deno.test("run leaves the first interrupt to the program upstream, and exits 0 at the end of its output", async () => {
  await using live = new Live();
  await live.input.write(WEB.slice(0, 10000));
  await live.receive(24);
  live.child.kill("SIGINT");
  const written = live.input.write(WEB.slice(10000)).then(() => live.input.close());
  assertEquals(await live.receive(), WEB);
  await written;
  assertEquals((await live.child.status).code, 0);
});

Deno.test("run ends at the second interrupt with whole records written, and exits 130", async () => {
  await using live = new Live();
  await live.input.write(WEB.slice(0, 10000));
  await live.receive(5000);
  live.child.kill("SIGINT");
  // Two signals that are not waited for between may be one.
  await new Promise((resolve) => setTimeout(resolve, 100));
  live.child.kill("SIGINT");
  const { packets, error } = walk(await live.receive());
  assertEquals((await live.child.status).code, 130);
  assertEquals(error, undefined);
  assert(packets.length > 0);
});

Deno.test("run exits 141 without a word when the reader went away", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: RUN,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  await input.write(WEB.slice(0, 1000));
  const output = child.stdout.getReader();
  await output.read();
  await output.cancel();
  // The program may be gone before all is written, which is the point.
  await input.write(WEB.slice(1000)).then(() => input.close()).catch(() => {});
  const words = await new Response(child.stderr).text();
  assertEquals((await child.status).code, 141);
  assertEquals(words, "");
});

Deno.test({
  ...needPeers("tcpdump"),
  name: "run stands between two tcpdumps",
  async fn() {
    const program = [Deno.execPath(), ...RUN].map((word) => `'${word}'`).join(" ");
    const command = `tcpdump -U -r ${
      inRoot("fixtures/web.pcap")
    } -w - 2>/dev/null | ${program} -q | tcpdump -nn -r - 2>/dev/null`;
    const { stdout } = await new Deno.Command("sh", { args: ["-c", command] }).output();
    assertEquals(new TextDecoder().decode(stdout).trim().split("\n").length, 733);
  },
});

/** Where the records of a capture in little endian end. */
function recordsOf(capture: Uint8Array<ArrayBuffer>): { end: number }[] {
  const view = new DataView(capture.buffer);
  const ends: { end: number }[] = [];
  for (let at = 24; at < capture.length;) {
    at += 16 + view.getUint32(at + 8, true);
    ends.push({ end: at });
  }
  return ends;
}
