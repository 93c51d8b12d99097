import { assert, assertEquals } from "@std/assert";
import { gzipSync } from "node:zlib";
import { runBytes } from "./pipe_harness.ts";
import { inRoot } from "./program.ts";

const WEB = await Deno.readFile(new URL("../../fixtures/web.pcap", import.meta.url));
/** Bytes to send through; RINGPIPE_FLAT=2147483648 is what a bench-size run takes. */
const SIZE = Number(Deno.env.get("RINGPIPE_FLAT") ?? 0);
const MOST_RESIDENT = 120 * 1024;

/** What is sent: a start, and a rest that may follow it any number of times. */
interface Stream {
  readonly start: Uint8Array<ArrayBuffer>;
  readonly rest: Uint8Array<ArrayBuffer>;
}

async function streams(): Promise<Record<string, Stream>> {
  const { output } = await runBytes(WEB, { format: "pcapng" });
  const pcap = { start: WEB.slice(0, 24), rest: WEB.slice(24) };
  const zipped = (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes));
  return {
    pcap,
    // Whole sections, one after the other.
    pcapng: { start: new Uint8Array(0), rest: output },
    gzip: { start: zipped(pcap.start), rest: zipped(pcap.rest) },
  };
}

/** The most memory that a process had at a time so far, in KiB. */
async function peak(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`).catch(() => "");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
}

Deno.test({
  ignore: SIZE === 0 || Deno.build.os !== "linux",
  name: "run takes no more memory for a long stream than for a short one",
  async fn() {
    for (const [name, { start, rest }] of Object.entries(await streams())) {
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--quiet",
          "--no-prompt",
          "--config",
          inRoot("deno.json"),
          inRoot("cli/main.ts"),
          "run",
          "-q",
          "-b",
          "virtio",
        ],
        stdin: "piped",
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      const input = child.stdin.getWriter();
      const rounds = Math.ceil(SIZE / (name === "gzip" ? WEB.length : rest.length));
      let most = 0;
      const writing = (async () => {
        if (start.length > 0) await input.write(start);
        for (let i = 0; i < rounds; i++) {
          await input.write(rest);
          if (i % 64 === 0) most = Math.max(most, await peak(child.pid));
        }
        most = Math.max(most, await peak(child.pid));
        await input.close();
      })();
      let received = 0;
      for await (const chunk of child.stdout) received += chunk.length;
      await writing;
      assertEquals((await child.status).code, 0, name);
      const unit = name === "gzip" ? WEB.length - 24 : rest.length;
      assertEquals(received, (name === "pcapng" ? 0 : 24) + rounds * unit, name);
      assert(most > 0 && most < MOST_RESIDENT, `${name}: ${most} KiB`);
    }
  },
});
