import { assert, assertEquals } from "@std/assert";
import { DISK_SIZE, limitFiles, onSmallDisk, smallDisk } from "../full_disk.ts";
import { needPeers } from "../peers.ts";
import { walk } from "../pcap/walk.ts";
import { inRoot } from "./program.ts";

const WEB = await Deno.readFile(new URL("../../fixtures/web.pcap", import.meta.url));

/** A `run` from standard input to `out.pcap` of a directory. */
class Run implements Disposable {
  readonly directory: string = Deno.makeTempDirSync({ prefix: "ringpipe-full-" });
  readonly child: Deno.ChildProcess;

  constructor(before: readonly string[] = [], output = "DIR/out.pcap") {
    const [command, ...args] = [
      ...[...before, Deno.execPath(), "run", "--quiet", "--no-prompt", "--allow-read", "--allow-write"],
      // Else the runtime writes to files of its own, at the end.
      ...[
        "--no-code-cache",
        "--config",
        inRoot("deno.json"),
        inRoot("cli/main.ts"),
        "run",
        "-b",
        "virtio",
        "-",
      ],
      ...["-w", output, "--stats-out", "DIR/stats.json"],
    ].map((word) => word.replaceAll("DIR", this.directory));
    this.child = new Deno.Command(command!, { args, stdin: "piped", stdout: "null", stderr: "piped" })
      .spawn();
  }

  get path(): string {
    return `${this.directory}/out.pcap`;
  }

  /** How much it has written. */
  get size(): number {
    try {
      return Deno.statSync(this.path).size;
    } catch {
      return 0;
    }
  }

  /** Writes the rest of the input, and looks at what is left when there is room for so many bytes. */
  async end(input: WritableStreamDefaultWriter<Uint8Array>, from: number, limit: number): Promise<void> {
    const writing = input.write(WEB.subarray(from)).then(() => input.close()).catch(() => {});
    const { code, stderr } = await this.child.output();
    await writing;
    const output = Deno.readFileSync(this.path);
    assertEquals(output, WEB.slice(0, output.length));
    const { packets, error } = walk(output);
    assertEquals(error, undefined);
    const next = walk(WEB).packets[packets.length]!;
    assert(
      output.length <= limit && output.length + 16 + next.bytes.length > limit,
      "as many as there is room for",
    );
    const text = new TextDecoder().decode(stderr);
    const [words, summary, ...more] = text.split("\n");
    const reason = limit === DISK_SIZE ? "No space left on device" : "File too large";
    assert(words!.startsWith("ringpipe: cannot write /") && words!.endsWith(`/out.pcap: ${reason}`), text);
    assert(summary!.startsWith(`ringpipe: ${packets.length} packets, `), text);
    assertEquals([more, code], [[""], 1]);
    const told = JSON.parse(Deno.readTextFileSync(`${this.directory}/stats.json`));
    const bytes = packets.reduce((sum, packet) => sum + packet.bytes.length, 0);
    assertEquals([told.packets.out, told.bytes.out], [packets.length, bytes]);
  }

  [Symbol.dispose](): void {
    try {
      this.child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    Deno.removeSync(this.directory, { recursive: true });
  }
}

Deno.test({
  ...smallDisk(),
  name: "run on a full disk ends with whole records alone, says so and counts them",
  async fn() {
    const disk = Deno.makeTempDirSync();
    using run = new Run(onSmallDisk(disk, "DIR"), `${disk}/out.pcap`);
    await run.end(run.child.stdin.getWriter(), 0, DISK_SIZE);
    Deno.removeSync(disk);
  },
});

Deno.test({
  ...needPeers("prlimit"),
  name: "run with a file that may not grow ends as on a full disk",
  async fn() {
    for (const limit of [50_000, 123_456]) {
      using run = new Run();
      const input = run.child.stdin.getWriter();
      await input.write(WEB.subarray(0, 30_000));
      while (run.size === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      await limitFiles(run.child.pid, limit);
      await run.end(input, 30_000, limit);
    }
  },
});
