import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../cli/errors.ts";
import { checkStatisticsFile } from "../../cli/statistics_file.ts";
import { inRoot, ringpipe } from "./program.ts";

Deno.test("checkStatisticsFile refuses the input and the output under any spelling", () => {
  const same: [string, string][] = [["a", "a"], ["./a", "a"], ["a", "././a"], ["x//a", "x/a"], [
    "/a",
    "//./a",
  ], ["-", "-"]];
  for (const [file, capture] of same) {
    assertThrows(() => checkStatisticsFile(file, undefined, capture), UsageError, `got "${file}"`);
    if (file !== "-") assertThrows(() => checkStatisticsFile(file, capture, "out"), UsageError);
  }
  const apart: [string, string][] = [["a", "b"], ["a", "/a"], ["x/a", "a"], ["../a", "a"], ["-", "a"], [
    "a",
    "-",
  ], ["a.", "a"]];
  for (const [file, capture] of apart) checkStatisticsFile(file, capture, capture);
  checkStatisticsFile("-", "-", "out");
  checkStatisticsFile("a", undefined, undefined);
});

Deno.test("run writes no statistics over a capture that a link leads to, and touches nothing", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const capture = `${directory}/in.pcap`;
    await Deno.copyFile(inRoot("fixtures/ping.pcap"), capture);
    const before = await Deno.readFile(capture);
    await Deno.symlink("in.pcap", `${directory}/link`);
    await Deno.link(capture, `${directory}/other`);
    for (const name of ["link", "other", "../" + directory.split("/").at(-1) + "/in.pcap"]) {
      const file = `${directory}/${name}`;
      const args = ["run", "-b", "virtio", capture, "-w", `${directory}/out.pcap`, "--stats-out", file];
      const { status, stderr } = await ringpipe(args);
      assertEquals([status, stderr], [
        2,
        `ringpipe: --stats-out would overwrite the capture: got "${file}"\n`,
      ]);
    }
    assertEquals(await Deno.readFile(capture), before);
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name).sort(), [
      "in.pcap",
      "link",
      "other",
    ]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("run finds out that statistics cannot be written before it touches the output", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const [capture, output] = [inRoot("fixtures/ping.pcap"), `${directory}/out.pcap`];
    const file = `${directory}/none/stats.json`;
    const { status, stderr } = await ringpipe([
      "run",
      "-b",
      "virtio",
      capture,
      "-w",
      output,
      "--stats-out",
      file,
    ]);
    assertEquals([status, stderr], [1, `ringpipe: ${file}: No such file or directory\n`]);
    assertEquals([...Deno.readDirSync(directory)], []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("run leaves statistics as they were, or none, when there is nothing to tell", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const [old, fresh] = [`${directory}/old.json`, `${directory}/fresh.json`];
    await Deno.writeTextFile(old, "of another run");
    for (const file of [old, fresh]) {
      const args = ["run", "-b", "virtio", `${directory}/none`, "-w", "-", "--stats-out", file];
      assertEquals((await ringpipe(args)).status, 1);
    }
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["old.json"]);
    assertEquals(await Deno.readTextFile(old), "of another run");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("run writes statistics over longer ones, with a permission to write them alone", async () => {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, "x".repeat(100_000));
    const capture = inRoot("fixtures/ping.pcap");
    const permissions = [`--allow-read=${capture}`, `--allow-write=${file}`];
    const { status } = await ringpipe(["run", "-b", "virtio", capture, "--stats-out", file], { permissions });
    assertEquals(status, 0);
    assertEquals(JSON.parse(await Deno.readTextFile(file)).backend, "virtio");
  } finally {
    await Deno.remove(file);
  }
});
