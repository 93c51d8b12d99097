import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { loadBackend } from "../../plugins/registry.ts";
import { needPeers } from "../peers.ts";
import { inRoot, MAILBOX, ringpipe } from "./program.ts";

const WEB = inRoot("fixtures/web.pcap");
const RUN = ["run", "-b", "virtio"];
/** A ring that carries small frames only. */
const SMALL = [
  ...RUN,
  "-o",
  "queue-size=2",
  "-o",
  "indirect=off",
  "-o",
  "mrg-rxbuf=off",
  "-o",
  "rx-buffer=128",
];

/** Calls `body` with the path of a directory that goes away afterwards. */
async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "ringpipe-" });
  try {
    await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** A little-endian capture of packets of the given lengths. */
function capture(...lengths: number[]): Uint8Array<ArrayBuffer> {
  const total = lengths.reduce((sum, length) => sum + 16 + length, 24);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 262144, true);
  view.setUint32(20, 1, true);
  let at = 24;
  for (const length of lengths) {
    view.setUint32(at + 8, length, true);
    view.setUint32(at + 12, length, true);
    at += 16 + length;
  }
  return bytes;
}

Deno.test("run gives back the capture byte for byte, from file to file, with permissions for just these", async () => {
  const wanted = await Deno.readFile(WEB);
  await withDirectory(async (directory) => {
    const output = `${directory}/out.pcap`;
    for (const input of [[WEB], ["-r", WEB]]) {
      const permissions = [`--allow-read=${WEB}`, `--allow-write=${output}`];
      const { status, text, stderr } = await ringpipe([...RUN, ...input, "-w", output], { permissions });
      assertMatch(
        stderr,
        /^ringpipe: 733 packets, 481,806 bytes through virtio in [\d.]+ s, [\d,]+ packets\/s\n$/,
      );
      assertEquals([status, text], [0, ""]);
      assert(equal(await Deno.readFile(output), wanted));
    }
  });
});

Deno.test("run gives back the capture from standard input to standard output without any permission", async () => {
  const stdin = await Deno.readFile(WEB);
  for (const args of [[], ["-"], ["-", "-w", "-"], ["-r", "-", "-w-"]]) {
    const { status, stdout, stderr } = await ringpipe([...RUN, "-q", ...args], { stdin, permissions: [] });
    assertEquals([status, stderr], [0, ""]);
    assert(equal(stdout, stdin));
  }
});

Deno.test("run carries a capture through a third party's ring", async () => {
  const wanted = await Deno.readFile(WEB);
  const { status, stdout, stderr } = await ringpipe(["run", ...MAILBOX, WEB, "--stats", "-q"]);
  assertEquals(status, 0);
  assert(equal(stdout, wanted));
  assertMatch(stderr, /^tx\.slots +733 +1\.000$/m);
});

Deno.test("an example of a ring stays under 150 lines", async () => {
  const text = await Deno.readTextFile(inRoot("examples/mailbox.ts"));
  assert(text.trimEnd().split("\n").length < 150);
});

Deno.test("run -c stops after so many packets", async () => {
  const stdin = capture(60, 61, 62);
  for (
    const [count, wanted] of [["1", capture(60)], ["2", capture(60, 61)], ["3", stdin], ["4", stdin]] as const
  ) {
    const { status, stdout } = await ringpipe([...RUN, "-q", "-c", count], { stdin });
    assertEquals(status, 0);
    assert(equal(stdout, wanted));
  }
});

Deno.test("run leaves out what the ring cannot carry: number and reason, the rest whole, status 1", async () => {
  const { status, stdout, stderr } = await ringpipe([...SMALL, "-q"], { stdin: capture(60, 1000, 61, 2000) });
  assertEquals(
    stderr,
    "ringpipe: packet 2 is left out: oversize\nringpipe: packet 4 is left out: oversize\n",
  );
  assertEquals(status, 1);
  assert(equal(stdout, capture(60, 61)));
});

Deno.test("run --stats-out writes exactly the documented keys", async () => {
  await withDirectory(async (directory) => {
    const file = `${directory}/stats.json`;
    const stdin = capture(60, 1000, 61);
    const { status } = await ringpipe([...SMALL, "-q", "--stats-out", file], { stdin });
    assertEquals(status, 1);
    const { options, counters, elapsed_s, ...rest } = JSON.parse(await Deno.readTextFile(file));
    assertEquals(rest, {
      backend: "virtio",
      packets: { in: 3, out: 2, dropped: 1 },
      bytes: { in: 1121, out: 121 },
      drops: { oversize: 1 },
    });
    const plugin = await loadBackend("virtio");
    assertEquals(Object.keys(options).sort(), plugin.options.map(({ name }) => name).sort());
    assertEquals([options["queue-size"], options["rx-queue-size"], options.indirect], [2, 2, false]);
    assertEquals(typeof elapsed_s, "number");
    const known = plugin.counters.map(({ name }) => name);
    assertEquals(Object.keys(counters).filter((name) => !known.includes(name)), []);
    assertEquals(counters["rx.frames"], 2);
  });
});

Deno.test("run --stats-out - prints the statistics where no packets go", async () => {
  const { status, text } = await ringpipe([...RUN, "-q", WEB, "-w", "/dev/null", "--stats-out", "-"]);
  assertEquals(status, 0);
  assertEquals(JSON.parse(text).packets, { in: 733, out: 733, dropped: 0 });
});

Deno.test("run --stats prints a table of the same numbers", async () => {
  const { stderr } = await ringpipe([...SMALL, "-q", "--stats"], { stdin: capture(60, 1000, 61) });
  assertMatch(stderr, /^backend {2}virtio$/m);
  assertMatch(stderr, /^packets\.in +3$/m);
  assertMatch(stderr, /^drops\.oversize +1$/m);
  assertMatch(stderr, /^rx\.frames +2 +0\.667$/m);
});

Deno.test("run -v says what was resolved and seen", async () => {
  const { stderr } = await ringpipe([...RUN, "-v", "-o", "queue-size=8"], { stdin: capture(60) });
  assertMatch(stderr, /^ringpipe: backend virtio -o queue-size=8 .*-o rx-queue-size=8/m);
  assertMatch(stderr, /^ringpipe: read pcap/m);
});

Deno.test("run writes everything whole before a fault in the capture, says where it is, and ends with 1", async () => {
  const whole = capture(60, 61);
  const { status, stdout, stderr } = await ringpipe([...RUN, "-q"], {
    stdin: capture(60, 61, 62).slice(0, -10),
  });
  assertEquals(stderr.split("\n").length, 2);
  assertStringIncludes(stderr, "at byte 177: wanted 62 captured bytes, got 52");
  assertStringIncludes(stderr, "2 packets");
  assertEquals(status, 1);
  assert(equal(stdout, whole));
});

Deno.test("run refuses an output that is the input under any name, and touches nothing", async () => {
  await withDirectory(async (directory) => {
    const file = `${directory}/a.pcap`;
    const bytes = capture(60);
    await Deno.writeFile(file, bytes);
    await Deno.symlink(file, `${directory}/symbolic`);
    await Deno.link(file, `${directory}/hard`);
    for (const output of [file, `${directory}/./a.pcap`, `${directory}/symbolic`, `${directory}/hard`]) {
      const { status, stderr } = await ringpipe([...RUN, file, "-w", output]);
      assertEquals([status, stderr], [2, `ringpipe: the output ${output} is the input\n`]);
      assert(equal(await Deno.readFile(file), bytes));
    }
  });
});

Deno.test({
  ignore: Deno.build.os !== "linux",
  name: "run refuses to append to its input, by name or not",
  async fn() {
    await withDirectory(async (directory) => {
      const file = `${directory}/a.pcap`;
      await Deno.writeFile(file, capture(60));
      const run = [Deno.execPath(), "run", "--quiet", "-A", "cli/main.ts", ...RUN];
      for (const files of [`${file} >> ${file}`, `< ${file} >> ${file}`, `< ${file} 1<> ${file}`]) {
        const { code, stderr } = await new Deno.Command("sh", {
          args: ["-c", `"$@" ${files}`, "sh", ...run],
          cwd: inRoot("."),
        }).output();
        assertEquals(new TextDecoder().decode(stderr), "ringpipe: standard output is the input\n");
        assertEquals(code, 2);
        assert(equal(await Deno.readFile(file), capture(60)));
      }
    });
  },
});

Deno.test("run refuses an output that is the input without a permission to read it by that name", async () => {
  await withDirectory(async (directory) => {
    const [file, hard] = [`${directory}/a.pcap`, `${directory}/hard`];
    await Deno.writeFile(file, capture(60));
    await Deno.link(file, hard);
    const permissions = [`--allow-read=${file}`, `--allow-write=${hard}`];
    const { status, stderr } = await ringpipe([...RUN, file, "-w", hard], { permissions });
    assertEquals([status, stderr], [2, `ringpipe: the output ${hard} is the input\n`]);
    assert(equal(await Deno.readFile(file), capture(60)));
  });
});

Deno.test("run refuses an output that standard input is taken from, whatever it may look at", async () => {
  await withDirectory(async (directory) => {
    const file = `${directory}/a.pcap`;
    const bytes = capture(60);
    for (const permissions of [["--allow-all"], ["--allow-read", "--allow-write"]]) {
      for (const [input, output, wanted] of [[file, file, 2], [file, `${directory}/b.pcap`, 0]] as const) {
        await Deno.writeFile(input, bytes);
        await Deno.writeFile(output, bytes);
        const { code } = await new Deno.Command("sh", {
          args: [
            "-c",
            'input=$1; shift; exec "$@" < "$input"',
            "sh",
            input,
            Deno.execPath(),
            ...["run", "--quiet", "--no-prompt", ...permissions, "cli/main.ts", ...RUN, "-q", "-w", output],
          ],
          cwd: inRoot("."),
          stderr: "null",
        }).output();
        assertEquals(code, wanted);
        assert(equal(await Deno.readFile(output), bytes));
      }
    }
  });
});

Deno.test("run creates no output when there is no input", async () => {
  await withDirectory(async (directory) => {
    const { status, stderr } = await ringpipe([...RUN, `${directory}/none`, "-w", `${directory}/out`]);
    assertEquals([status, stderr], [1, `ringpipe: ${directory}/none: No such file or directory\n`]);
    assertEquals([...Deno.readDirSync(directory)], []);
  });
});

Deno.test("run refuses names that are not UTF-8, and makes no file of another name", async () => {
  await withDirectory(async (directory) => {
    const web = `${directory}/web.pcap`;
    await Deno.copyFile(WEB, web);
    const run = [Deno.execPath(), "run", "--quiet", "-A", "cli/main.ts", ...RUN];
    const bad = `${directory}/a$(printf '\\377')`;
    for (
      const [files, instead] of [
        [`${web} -w ${bad}`, "-w - > FILE"],
        [bad, "- < FILE"],
        [`${web} -w /dev/null --stats-out ${bad}`, "--stats-out - > FILE"],
      ]
    ) {
      const { code, stderr } = await new Deno.Command("sh", {
        args: ["-c", `"$@" ${files}`, "sh", ...run],
        cwd: inRoot("."),
      }).output();
      const words = new TextDecoder().decode(stderr);
      assertEquals(
        words,
        `ringpipe: ${directory}/a\ufffd is not UTF-8, and no such file can be opened: use ${instead}\n`,
      );
      assertEquals(code, 2);
    }
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["web.pcap"]);
  });
});

Deno.test("run reports a full disk with status 1", async () => {
  const { status, stderr } = await ringpipe([...RUN, "-q", WEB, "-w", "/dev/full"], { permissions: ["-A"] });
  assertEquals(status, 1);
  assertStringIncludes(stderr, "No space left on device");
  assertEquals(stderr.split("\n").length, 2);
});

Deno.test({
  ...needPeers("script"),
  name: "run refuses to read from or write to a terminal",
  fn: async () => {
    for (
      const [redirected, reason] of [["< /dev/null", "standard output is a terminal"], [
        "",
        "standard input is a terminal",
      ]]
    ) {
      const command =
        `${Deno.execPath()} run --quiet -A cli/main.ts run -b virtio ${redirected}; echo status $?`;
      const { stdout } = await new Deno.Command("script", {
        args: ["-qc", command, "/dev/null"],
        cwd: inRoot("."),
        stdin: "null",
        env: { NO_COLOR: "1" },
      }).output();
      const text = new TextDecoder().decode(stdout);
      assertStringIncludes(text, `ringpipe: ${reason}`);
      assertStringIncludes(text, "status 2");
    }
  },
});

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
