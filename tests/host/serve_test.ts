import { assert, assertEquals } from "@std/assert";
import { UnixSocket } from "../../host/unix_socket.ts";
import { needPeers } from "../peers.ts";
import { FrontEnd, numbers, until } from "./front_end.ts";
import { frame, MAIN, records, ROOT, Serve, VERSION_1 } from "./serve_program.ts";
import { LINUX } from "./served.ts";

function isSocket(path: string): boolean {
  try {
    return Deno.statSync(path).isSocket === true;
  } catch {
    return false;
  }
}

/** A capture of frames so many seconds apart, made by hand. */
function capture(frames: readonly Uint8Array[], gap: number): Uint8Array<ArrayBuffer> {
  const records = frames.map((bytes, i) => [
    ...numbers(Math.floor(i * gap), Math.round(i * gap % 1 * 1e6), bytes.length, bytes.length),
    ...bytes,
  ]);
  return Uint8Array.from([...numbers(0xa1b2c3d4, 0x40002, 0, 0, 65535, 1), ...records.flat()]);
}

Deno.test({
  ...LINUX,
  name: "serve writes what a driver sends, with the time of day, and ends whole at SIGINT",
  async fn() {
    await using serve = new Serve(["-b", "virtio", "-w", "DIR/out.pcap", "--stats-out", "DIR/stats.json"]);
    const before = Date.now();
    using front = await serve.frontEnd();
    for (let i = 0; i < 10; i++) {
      front.transmit(frame(i));
      await until(() => front.used(1) === i + 1);
    }
    serve.child.kill("SIGINT");
    const { code, stderr } = await serve.output;
    assertEquals(code, 0, stderr);
    const found = records(Deno.readFileSync(`${serve.directory}/out.pcap`));
    assertEquals(found.map((record) => record.frame), Array.from({ length: 10 }, (_, i) => frame(i)));
    for (const [i, { time }] of found.entries()) {
      assert(time >= (found[i - 1]?.time ?? before) && time <= Date.now(), `time of frame ${i}`);
    }
    const statistics = JSON.parse(Deno.readTextFileSync(`${serve.directory}/stats.json`));
    assertEquals(statistics.packets, { in: 10, out: 10, dropped: 0 });
    assertEquals(statistics.options["event-idx"], true);
    assertEquals(statistics.counters["device.tx.chains"], 10);
    assert(!Deno.readTextFileSync("/proc/net/unix").includes(serve.path));
  },
});

Deno.test({
  ...LINUX,
  name: "serve -c stops after so many frames with status 0",
  async fn() {
    await using serve = new Serve(["-w", "DIR/out.pcap", "-c", "3"]);
    using front = await serve.frontEnd();
    for (let i = 0; i < 5; i++) front.transmit(frame(i));
    assertEquals((await serve.output).code, 0);
    assertEquals(records(Deno.readFileSync(`${serve.directory}/out.pcap`)).length, 3);
  },
});

Deno.test({
  ...LINUX,
  name: "serve --once ends when the front end has gone",
  async fn() {
    await using serve = new Serve(["--once", "--drop"]);
    {
      using front = await serve.frontEnd();
      front.transmit(frame(1));
      await until(() => front.used(1) === 1);
    }
    const { code, stderr } = await serve.output;
    assertEquals(code, 0);
    assert(stderr.includes("1 frame received, 0 written, 0 sent to 1 front end"), stderr);
  },
});

Deno.test({
  ...LINUX,
  name: "serve --echo sends back what came, and -w has it too",
  async fn() {
    await using serve = new Serve(["--echo", "-w", "DIR/out.pcap"]);
    using front = await serve.frontEnd();
    front.transmit(frame(5));
    front.transmit(frame(6));
    front.post();
    await until(() => front.used(0) === 1);
    front.post();
    await until(() => front.used(0) === 2);
    assertEquals([front.take(), front.take()], [frame(5), frame(6)]);
    serve.child.kill("SIGTERM");
    assertEquals((await serve.output).code, 0);
    assertEquals(records(Deno.readFileSync(`${serve.directory}/out.pcap`)).length, 2);
  },
});

// An hour between frames shows that their own times do not count.
const HOUR = 3600;

for (
  const [pace, gap, least] of [["asap", HOUR, 0], ["original", 0.015, 60], ["100", HOUR, 40]] as const
) {
  Deno.test({
    ...LINUX,
    name: `serve -r sends the frames of a capture, --pace ${pace}`,
    async fn() {
      const directory = Deno.makeTempDirSync();
      const frames = [frame(1), frame(2), frame(3), frame(4), frame(5)];
      Deno.writeFileSync(`${directory}/in.pcap`, capture(frames, gap));
      await using serve = new Serve(["-r", `${directory}/in.pcap`, "--pace", pace]);
      // How long the program takes to start says nothing.
      await until(() => isSocket(serve.path), "it does not listen");
      const start = performance.now();
      using front = await serve.frontEnd();
      for (let i = 0; i < 5; i++) front.post();
      await until(() => front.used(0) === 5);
      const elapsed = performance.now() - start;
      assertEquals(frames.map(() => front.take()), frames);
      assert(elapsed >= least, `it took ${elapsed} ms`);
      Deno.removeSync(directory, { recursive: true });
    },
  });
}

Deno.test({
  ...LINUX,
  name: "serve -r goes on with the next front end where the last one left",
  async fn() {
    const directory = Deno.makeTempDirSync();
    const frames = [frame(1), frame(2)];
    Deno.writeFileSync(`${directory}/in.pcap`, capture(frames, 0));
    await using serve = new Serve(["-r", `${directory}/in.pcap`, "--pace", "asap"]);
    for (const wanted of frames) {
      using front = await serve.frontEnd();
      front.post();
      await until(() => front.used(0) === 1);
      assertEquals(front.take(), wanted);
    }
    Deno.removeSync(directory, { recursive: true });
  },
});

Deno.test({
  ignore: LINUX.ignore || needPeers("tcpdump", "sh").ignore,
  name: "serve -w - is read by tcpdump while it grows",
  async fn() {
    const directory = Deno.makeTempDirSync();
    const path = `${directory}/socket`;
    const serve = [Deno.execPath(), "run", "-q", "-A", MAIN, "serve", "--vhost-user", path, "-w", "-"].join(
      " ",
    );
    const child = new Deno.Command("sh", {
      args: ["-c", `${serve} | tcpdump -nlr - -c 2 2> /dev/null`],
      stdout: "piped",
      stderr: "null",
      cwd: ROOT,
    }).spawn();
    let text = "";
    const reading = (async () => {
      for await (const bytes of child.stdout) text += new TextDecoder().decode(bytes);
    })();
    let socket: UnixSocket | undefined;
    await until(() => (socket = UnixSocket.connect(path)) !== undefined, "it does not listen");
    using front = new FrontEnd(socket!);
    front.setUp(VERSION_1);
    for (let i = 1; i <= 2; i++) {
      front.transmit(frame(i));
      await until(() => text.split("\n").length > i, "tcpdump says nothing");
    }
    // Its reader goes, and so does the server with the first frame that it cannot write any more.
    let gone = false;
    const ended = child.status.then(() => gone = true);
    await until(() => {
      if (!gone && front.used(1) === front.rings[1]!.avail) front.transmit(frame(3));
      return gone;
    }, "it goes on without a reader");
    await reading;
    await ended;
    Deno.removeSync(directory, { recursive: true });
  },
});

for (
  const [what, bytes, line] of [
    [
      "an empty file",
      [],
      "not a capture at byte 0: wanted pcap or pcapng, got an empty file; 0 packets were whole",
    ],
    [
      "a text",
      [...new TextEncoder().encode("hello")],
      "not a capture at byte 0: wanted pcap or pcapng, got text; 0 packets were whole",
    ],
    [
      "a capture that is cut short",
      [...capture([frame(1), frame(2)], 0).subarray(0, -1)],
      "truncated record at byte 101: wanted 62 captured bytes, got 61; 1 packet was whole",
    ],
  ] as const
) {
  Deno.test({
    ...LINUX,
    name: `serve -r ends where ${what} does, and says so in one line`,
    async fn() {
      const directory = Deno.makeTempDirSync();
      const path = `${directory}/in.pcap`;
      Deno.writeFileSync(path, Uint8Array.from(bytes));
      await using serve = new Serve(["-q", "-r", path, "--pace", "asap"]);
      // Only where there is something to be sent is a front end waited for.
      using front = line.includes("1 packet") ? await serve.frontEnd() : undefined;
      front?.post();
      const { code, stderr } = await serve.output;
      assertEquals([code, stderr], [1, `ringpipe: ${path}: ${line}\n`]);
      if (front) assertEquals(front.take(), frame(1));
      Deno.removeSync(directory, { recursive: true });
    },
  });
}

Deno.test({
  ...LINUX,
  name: "serve says in one line what is wrong with its arguments",
  async fn() {
    const wrong: [string[], string][] = [
      [["--vhost-user", "s", "-b", "xen"], 'only virtio can be served: got "xen"'],
      [["-w", "out"], "--vhost-user SOCKET is missing"],
      [["--vhost-user", "s\ufffd"], "s\ufffd is not UTF-8, and no such socket can be served"],
      [["--vhost-user", "s", "--echo", "--drop"], "--echo and --drop exclude each other"],
      [["--vhost-user", "s", "-r", "x", "--echo"], "-r and --echo exclude each other"],
      [["--vhost-user", "s", "--pace", "asap"], "--pace needs -r INPUT"],
      [
        ["--vhost-user", "s", "-r", "x", "--pace", "fast"],
        '--pace takes original, asap or frames per second: got "fast"',
      ],
      [["--vhost-user", "s", "-w", "a.pcap.gz"], 'serve writes without compression: got "a.pcap.gz"'],
      [["--vhost-user", "s", "-c", "1"], "-c counts written frames: it needs -w OUTPUT"],
      [["--vhost-user", "s", "-o", "tso=on"], "option tso needs csum=on"],
      [["--vhost-user", "s", "-o", "csum=on,csum=off"], "option csum is given twice"],
      [
        ["--vhost-user", "s", "-o", "mtu=9000"],
        'unknown option "mtu"; there are queue-pairs, queue-size, \
indirect, event-idx, in-order, mrg-rxbuf, csum, tso, gso, profile',
      ],
      [["--vhost-user", "s", "-o", "csum=on,"], '-o takes NAME=VALUE: got ""'],
      [["--vhost-user", "s", "--stats-out", "."], ". is a directory"],
      [["--vhost-user", "s", "-o", "event_idx=on"], 'unknown option "event_idx" (did you mean "event-idx"?)'],
    ];
    for (const [args, line] of wrong) {
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--quiet",
          "--no-prompt",
          "--allow-read",
          "--allow-write",
          "--allow-ffi",
          MAIN,
          "serve",
          ...args,
        ],
        cwd: ROOT,
      }).output();
      assertEquals([code, new TextDecoder().decode(stderr)], [2, `ringpipe: ${line}\n`]);
    }
  },
});

Deno.test({
  ...LINUX,
  name: "serve without --allow-ffi says what is missing",
  async fn() {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-prompt", "--allow-read", MAIN, "serve", "--vhost-user", "s"],
      cwd: ROOT,
    }).output();
    assertEquals(code, 2);
    assertEquals(
      new TextDecoder().decode(stderr),
      "ringpipe: serving needs the C library: add --allow-ffi\n",
    );
  },
});
