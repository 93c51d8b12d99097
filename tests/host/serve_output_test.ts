import { assert, assertEquals } from "@std/assert";
import { DISK_SIZE, limitFiles, onSmallDisk, smallDisk } from "../full_disk.ts";
import { needPeers } from "../peers.ts";
import type { FrontEnd } from "./front_end.ts";
import { until } from "./front_end.ts";
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
    await using serve = new Serve(["-w", "DIR/out.pcap", ...STATISTICS]);
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
