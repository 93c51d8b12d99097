/**
 * The launcher of the tasks: where @std comes from, exit codes, interrupts.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";

const ROOT = new URL("../../", import.meta.url);

/** Runs the launcher with a cache that remembers this answer; undefined for a variable that is to be absent. */
async function launch(
  args: readonly string[],
  remembered: string,
  jsrUrl?: string,
): Promise<{ code: number; out: string; err: string }> {
  const cache = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${cache}/ringpipe_jsr`, remembered);
    const env: Record<string, string> = { ...Deno.env.toObject(), DENO_DIR: cache, NO_COLOR: "1" };
    delete env.JSR_URL;
    if (jsrUrl !== undefined) env.JSR_URL = jsrUrl;
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "tools/launch.ts", ...args],
      cwd: ROOT,
      env,
      clearEnv: true,
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
  } finally {
    Deno.removeSync(cache, { recursive: true });
  }
}

const SHOW = ["eval", "console.log(Deno.env.get('JSR_URL'))"];

Deno.test("launch points JSR_URL at the stand-in and says so where JSR does not answer", async () => {
  const { code, out, err } = await launch(SHOW, "no");
  assertEquals([code, out], [0, `${new URL("registry", ROOT).href}\n`]);
  assertMatch(err, /^ringpipe: JSR does not answer[^\n]*\n$/);
});

Deno.test("launch changes nothing where JSR answers", async () => {
  assertEquals(await launch(SHOW, "yes"), { code: 0, out: "undefined\n", err: "" });
});

Deno.test("launch leaves a JSR_URL alone that is already set", async () => {
  const url = "https://registry.example/";
  assertEquals(await launch(SHOW, "no", url), { code: 0, out: `${url}\n`, err: "" });
});

Deno.test("launch hands on the exit code", async () => {
  for (const code of [1, 2, 130, 141]) {
    assertEquals((await launch(["eval", `Deno.exit(${code})`], "yes")).code, code);
  }
});

Deno.test({
  name: "launch hands on one interrupt where several arrive at once",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const capture = Deno.readFileSync(new URL("fixtures/dns.pcap", ROOT));
    await using child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "tools/launch.ts", "start", "run", "-q", "-b", "virtio"],
      cwd: ROOT,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const writer = child.stdin.getWriter();
    const reader = child.stdout.getReader();
    await writer.write(capture.subarray(0, 1000));
    let received = (await reader.read()).value?.length ?? 0;
    // A second one would end the run at once; the first leaves a pipe to its producer.
    for (let i = 0; i < 3; i++) child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 150));
    await writer.write(capture.subarray(1000));
    await writer.close();
    for (let part = await reader.read(); part.value; part = await reader.read()) {
      received += part.value.length;
    }
    assertEquals([received, (await child.status).code], [capture.length, 0]);
  },
});
