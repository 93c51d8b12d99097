import { assert, assertEquals } from "@std/assert";
import { equals } from "@std/bytes/equals";
import { DISK_SIZE, limitFiles, onSmallDisk, smallDisk } from "../full_disk.ts";
import { needPeers } from "../peers.ts";
import { ASK, type FrontEnd, until } from "./front_end.ts";
import { frame, records, Serve, type ServeOptions } from "./serve_program.ts";
import { LINUX } from "./served.ts";

/** Sends frames of 1500 bytes, one after the other, until nobody takes them any more. */
async function sendAll(front: FrontEnd, serve: Serve): Promise<number> {
  let ended = false;
  serve.output.then(() => ended = true);
  for (let sent = 0;; sent++) {
    front.transmit(frame(1440));
    await until(() => ended || front.used(1) === front.rings[1]!.avail);
    if (ended) return sent;
  }
}

/** What a serve left behind that could not write more than so many bytes. */
async function assertWhole(serve: Serve, limit: number): Promise<void> {
  const { code, stderr } = await serve.output;
  const bytes = Deno.readFileSync(`${serve.directory}/out.pcap`);
  const whole = records(bytes).length;
  assertEquals(whole, Math.floor((limit - 24) / 1516), "as many as there was room for");
  assert(records(bytes).every((record) => record.frame.length === 1500));
  const [error, summary, ...more] = stderr.split("\n");
  const reason = limit === DISK_SIZE ? "No space left on device" : "File too large";
  assert(error!.endsWith(`out.pcap: ${reason}`) && error!.startsWith("ringpipe: cannot write /"), stderr);
  assert(summary!.includes(` received, ${whole} written, 0 sent to 1 front end`), stderr);
  assertEquals([more, code], [[""], 1]);
  const { packets, bytes: { out } } = JSON.parse(Deno.readTextFileSync(`${serve.directory}/stats.json`));
  assertEquals([packets.out, out], [whole, whole * 1500]);
  assert(packets.in > whole);
}

const STATISTICS = ["--stats-out", "DIR/stats.json"];

Deno.test({
  ignore: LINUX.ignore || smallDisk().ignore,
  name: "serve on a full disk ends with whole records alone, says so and counts them",
  async fn() {
    const disk = Deno.makeTempDirSync();
    const options: ServeOptions = { before: onSmallDisk(disk, "DIR") };
    await using serve = new Serve(["-w", `${disk}/out.pcap`, ...STATISTICS], options);
    using front = await serve.frontEnd();
    await sendAll(front, serve);
    await assertWhole(serve, DISK_SIZE);
    Deno.removeSync(disk);
  },
});

Deno.test({
  ignore: LINUX.ignore || needPeers("prlimit").ignore,
  name: "serve with a file that may not grow ends as on a full disk",
  async fn() {
    // Else the runtime writes to files of its own, at the end.
    const permissions = ["--allow-all", "--no-code-cache"];
    await using serve = new Serve(["-w", "DIR/out.pcap", ...STATISTICS], { permissions });
    using front = await serve.frontEnd();
    await limitFiles(serve.child.pid, 40_000);
    await sendAll(front, serve);
    await assertWhole(serve, 40_000);
  },
});

Deno.test({
  ...LINUX,
  name: "serve needs a permission to write its output, and none to read it",
  async fn() {
    const permissions = ["--allow-ffi", "--allow-write=DIR/out.pcap"];
    const args = ["-w", "DIR/out.pcap", "-c", "2"];
    await using serve = new Serve(args, { permissions });
    using front = await serve.frontEnd();
    front.transmit(frame(1));
    front.transmit(frame(2));
    const { code, stderr } = await serve.output;
    assertEquals([code, stderr.split("\n").length], [0, 2], stderr);
    assertEquals(records(Deno.readFileSync(`${serve.directory}/out.pcap`)).length, 2);
  },
});

Deno.test({
  ...LINUX,
  name: "serve leaves an output as it was when its socket cannot be made",
  async fn() {
    for (const there of [true, false]) {
      const directory = Deno.makeTempDirSync();
      const output = `${directory}/out.pcap`;
      if (there) Deno.writeTextFileSync(output, "a capture");
      await using serve = new Serve(["-w", output], { socket: `${directory}/none/socket` });
      const { code, stderr } = await serve.output;
      assertEquals([code, stderr.split("\n").length], [1, 2], stderr);
      assertEquals([...Deno.readDirSync(directory)].length, there ? 1 : 0);
      if (there) assertEquals(Deno.readTextFileSync(output), "a capture");
      Deno.removeSync(directory, { recursive: true });
    }
  },
});

Deno.test({
  ...LINUX,
  name: "serve refuses to write over what it sends",
  async fn() {
    const directory = Deno.makeTempDirSync();
    const [file, hard] = [`${directory}/a.pcap`, `${directory}/b.pcap`];
    Deno.writeTextFileSync(file, "a capture");
    Deno.linkSync(file, hard);
    const permissions = ["--allow-ffi", `--allow-read=${file}`, "--allow-write"];
    await using serve = new Serve(["-r", file, "-w", hard], { permissions });
    const { code, stderr } = await serve.output;
    assertEquals([code, stderr], [2, `ringpipe: the output ${hard} is the input\n`]);
    assertEquals(Deno.readTextFileSync(file), "a capture");
    Deno.removeSync(directory, { recursive: true });
  },
});

/** A `serve` whose standard output is a named pipe, and the other end of that. */
async function intoPipe(args: readonly string[]): Promise<[Serve, Deno.FsFile]> {
  const directory = Deno.makeTempDirSync();
  const pipe = `${directory}/pipe`;
  await new Deno.Command("mkfifo", { args: [pipe] }).output();
  const serve = new Serve(["-w", "-", ...args], { before: ["sh", "-c", `exec "$@" > ${pipe}`, "sh"] });
  const reader = await Deno.open(pipe);
  Deno.removeSync(directory, { recursive: true });
  return [serve, reader];
}

/** Sends so many frames of 1500 bytes. */
async function send(front: FrontEnd, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    front.transmit(frame(1440));
    await until(() => front.rings[1]!.avail - front.used(1) < 16);
  }
}

Deno.test({
  ignore: LINUX.ignore || needPeers("mkfifo", "sh").ignore,
  name: "serve answers its front end and ends at a signal while nobody reads what it writes",
  async fn() {
    const [started, reader] = await intoPipe([]);
    await using serve = started;
    using _reader = reader;
    using front = await serve.frontEnd();
    // More than a pipe takes, and less than is kept.
    await send(front, 200);
    await until(() => front.used(1) === 200);
    assert(await front.ask(ASK.GET_FEATURES));
    serve.child.kill("SIGINT");
    const { code, stderr } = await serve.output;
    const [error, summary, ...more] = stderr.split("\n");
    assertEquals(error, "ringpipe: cannot write standard output: nobody takes what is there");
    assert(summary!.startsWith("ringpipe: 200 frames received, "), stderr);
    assertEquals([more, code], [[""], 1]);
  },
});

Deno.test({
  ignore: LINUX.ignore || needPeers("mkfifo", "sh").ignore,
  name: "serve holds frames back while nobody reads what it writes, and loses none",
  async fn() {
    const [started, reader] = await intoPipe(["-c", "600"]);
    await using serve = started;
    using front = await serve.frontEnd();
    await send(front, 300);
    const reading = new Response(reader.readable).bytes();
    await send(front, 300);
    const found = records(await reading);
    assertEquals(found.length, 600);
    assert(found.every((record) => equals(record.frame, frame(1440))));
    const { code, stderr } = await serve.output;
    assertEquals([code, stderr], [0, "ringpipe: 600 frames received, 600 written, 0 sent to 1 front end\n"]);
  },
});
