import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { gunzipSync } from "node:zlib";
import { UsageError } from "../../cli/errors.ts";
import { type PipeOptions, type PipeProgress, type PipeResult, runPipe } from "../../cli/pipe.ts";
import { OptionValues } from "../../core/options.ts";
import { needPeers } from "../peers.ts";
import { specimens } from "../pcap/specimens.ts";
import { walk } from "../pcap/walk.ts";
import { loopback } from "./pipe_loopback.ts";

const WEB = new URL("../../fixtures/web.pcap", import.meta.url).pathname;

function run(input: string, output: string, more: Partial<PipeOptions> = {}): Promise<PipeResult> {
  return runPipe({ plugin: loopback, options: new OptionValues(loopback.options), input, output, ...more });
}

/** Calls `use` with the path of a directory that exists until it returns. */
async function inDirectory(use: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await use(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

async function shell(command: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("sh", { args: ["-c", command] }).output();
  const decoder = new TextDecoder();
  assert(success, `${command}: ${decoder.decode(stderr)}`);
  return decoder.decode(stdout).trim();
}

Deno.test("runPipe writes over an older and longer output", async () => {
  await inDirectory(async (path) => {
    const output = `${path}/out.pcap`;
    await Deno.writeFile(output, new Uint8Array(1 << 20));
    const result = await run(WEB, output);
    assertEquals(result.error, undefined);
    assertEquals(await Deno.readFile(output), await Deno.readFile(WEB));
  });
});

Deno.test("runPipe touches nothing when the output is the input, by whatever name", async () => {
  await inDirectory(async (path) => {
    const input = `${path}/in.pcap`;
    await Deno.copyFile(WEB, input);
    await Deno.symlink(input, `${path}/symbolic`);
    await Deno.link(input, `${path}/hard`);
    for (
      const output of [
        input,
        `${path}/symbolic`,
        `${path}/hard`,
        `${path}/../${path.split("/").at(-1)}/in.pcap`,
      ]
    ) {
      await assertRejects(() => run(input, output), UsageError, "is the input");
      assertEquals(await Deno.readFile(input), await Deno.readFile(WEB));
    }
  });
});

Deno.test("runPipe leaves no output behind, and an older one alone, when the input is no capture", async () => {
  await inDirectory(async (path) => {
    await Deno.writeTextFile(`${path}/in`, "this is text and no capture");
    const result = await run(`${path}/in`, `${path}/out`);
    assertMatch(
      result.error!.message,
      /in: not a capture at byte 0: wanted pcap or pcapng, got text; 0 packets were whole and written$/,
    );
    await assertRejects(() => Deno.stat(`${path}/out`), Deno.errors.NotFound);
    await Deno.writeTextFile(`${path}/older`, "older");
    await run(`${path}/in`, `${path}/older`);
    assertEquals(await Deno.readTextFile(`${path}/older`), "older");
  });
});

Deno.test("runPipe refuses a directory, and says which file is missing", async () => {
  await inDirectory(async (path) => {
    await assertRejects(() => run(path, `${path}/out`), UsageError, "is a directory");
    await assertRejects(() => run(`${path}/none`, `${path}/out`), Deno.errors.NotFound, "none");
    await assertRejects(() => run(WEB, `${path}/no/out`), Deno.errors.NotFound, "no/out");
  });
});

Deno.test("runPipe compresses an output that is named so, and reads it again", async () => {
  await inDirectory(async (path) => {
    const output = `${path}/out.pcap.gz`;
    assertEquals((await run(WEB, output)).error, undefined);
    const size = (await Deno.stat(output)).size;
    assert(size < (await Deno.stat(WEB)).size);
    const back = await run(output, `${path}/back.pcap`);
    assertEquals(back.format, "pcap, little endian, gzip");
    assertEquals(await Deno.readFile(`${path}/back.pcap`), await Deno.readFile(WEB));
  });
});

Deno.test("runPipe writes a whole gzip member of what was whole of a bad input", async () => {
  await inDirectory(async (path) => {
    const web = await Deno.readFile(WEB);
    const [input, output] = [`${path}/in.pcap`, `${path}/out.pcap.gz`];
    await Deno.writeFile(input, web.subarray(0, 300000));
    const result = await run(input, output);
    assertMatch(
      result.error?.message ?? "",
      /truncated record at byte 299850.*; 389 packets were whole and written$/,
    );
    assertEquals(new Uint8Array(gunzipSync(await Deno.readFile(output))), web.slice(0, 299850));
  });
});

Deno.test("runPipe says that the disk is full", { ignore: Deno.build.os !== "linux" }, async () => {
  for (const output of ["/dev/full"]) {
    const result = await run(WEB, output);
    assertMatch(result.error!.message, /^cannot write \/dev\/full: No space left on device$/);
  }
});

Deno.test("runPipe tells its progress in bytes of the input", async () => {
  await inDirectory(async (path) => {
    const seen: PipeProgress[] = [];
    const { size } = await Deno.stat(WEB);
    await run(WEB, `${path}/out`, { onProgress: (progress) => void seen.push(progress) });
    assert(seen.length > 0);
    assertEquals(seen[0], { packets: 733, bytesRead: size, inputSize: size });
  });
});

Deno.test({
  ...needPeers("gzip"),
  name: "runPipe reads what gzip wrote, in several members and levels, and gzip reads what it wrote",
  async fn() {
    await inDirectory(async (path) => {
      await shell(
        `head -c 1000 ${WEB} | gzip -1 > ${path}/in.gz; tail -c +1001 ${WEB} | gzip -9 >> ${path}/in.gz`,
      );
      assertEquals((await run(`${path}/in.gz`, `${path}/out.gz`)).error, undefined);
      await shell(`gzip -dc ${path}/out.gz | cmp - ${WEB}`);
    });
  },
});

Deno.test({
  ...needPeers("zstd"),
  name: "runPipe reads what zstd wrote",
  async fn() {
    await inDirectory(async (path) => {
      await shell(`zstd -q ${WEB} -o ${path}/in.zst`);
      const result = await run(`${path}/in.zst`, `${path}/out`);
      assertEquals(result.error, undefined);
      await shell(`cmp ${path}/out ${WEB}`);
    });
  },
});

Deno.test({
  ...needPeers("tcpdump", "capinfos", "tshark", "editcap"),
  name: "runPipe writes captures that tcpdump, capinfos, tshark and editcap read",
  async fn() {
    await inDirectory(async (path) => {
      for (const format of ["pcap", "pcapng"] as const) {
        const output = `${path}/out.${format}`;
        const { packets } = await run(WEB, output, { format });
        const dumped = await shell(`tcpdump -nn -tt -r ${output} 2>/dev/null`);
        assertEquals(dumped, await shell(`tcpdump -nn -tt -r ${WEB} 2>/dev/null`));
        const infos = await shell(`capinfos -TrcM -aeS ${output} | cut -f 2-`);
        assertEquals(infos, await shell(`capinfos -TrcM -aeS ${WEB} | cut -f 2-`));
        assertEquals(
          (await shell(`tshark -r ${output} -T fields -e frame.number 2>/dev/null`)).split("\n").length,
          packets.out,
        );
        await shell(`editcap -F pcap ${output} ${path}/edited && cmp ${path}/edited ${WEB}`);
      }
    });
  },
});

Deno.test({
  ...needPeers("tcpdump"),
  name: "runPipe leaves a capture that tcpdump reads to its end, however bad the input was",
  async fn() {
    await inDirectory(async (path) => {
      for (const { name, bytes, error, packets } of specimens) {
        if (!error || name === "n05-epb-ifid-7" && packets === 0) continue;
        await Deno.writeFile(`${path}/in`, bytes);
        await Deno.remove(`${path}/out`).catch(() => {});
        await run(`${path}/in`, `${path}/out`);
        const written = await Deno.readFile(`${path}/out`).catch(() => undefined);
        if (!written) continue;
        assertEquals(walk(written).error, undefined, name);
        assertEquals(walk(written).packets.length, packets, name);
        // A section header alone is a capture without packets, but libpcap wants an interface.
        if (packets > 0) await shell(`tcpdump -r ${path}/out -w /dev/null`);
      }
    });
  },
});
