import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../cli/errors.ts";
import { checkStatisticsFile } from "../../cli/statistics_file.ts";
import { inRoot, ringpipe } from "./program.ts";

Deno.test("checkStatisticsFile refuses the input and the output under any spelling", () => {
  const same: [string, string][] = [
    ["a", "a"],
    ["./a", "a"],
    ["a", "././a"],
    ["x//a", "x/a"],
    [
      "/a",
      "//./a",
    ],
    ["-", "-"],
    [`${Deno.cwd()}/none/a`, "none/./a"],
  ];
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

Deno.test("run writes no statistics where standard input comes from or standard output goes", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const capture = await Deno.readFile(inRoot("fixtures/ping.pcap"));
    const [input, output] = [`${directory}/in.pcap`, `${directory}/out.pcap`];
    const all = [
      [`--stats-out ${output} > ${output}`, output],
      [`--stats-out /dev/stdout > ${output}`, "/dev/stdout"],
      ["--stats-out /dev/stdout | cat", "/dev/stdout"],
      [`--stats-out - -w ${output} > ${output}`, "-"],
    ] as const;
    const some = [
      [`--stats-out ${output} > ${output}`, output],
      [`--stats-out ${input} > ${output}`, input],
      [`--stats-out ${input} -w ${output}`, input],
      [`--stats-out - -w ${output} > ${output}`, "-"],
    ] as const;
    for (const [permissions, cases] of [["-A", all], ["--allow-read --allow-write", some]] as const) {
      for (const [rest, file] of cases) {
        await Deno.writeFile(input, capture);
        const program = `'${Deno.execPath()}' run -q --no-prompt ${permissions} '${inRoot("cli/main.ts")}'`;
        const line = `cd '${inRoot("")}' && ${program} run -q -b virtio < ${input} ${rest}`;
        const { stderr } = await new Deno.Command("sh", { args: ["-c", line] }).output();
        const told = `ringpipe: --stats-out would overwrite the capture: got "${file}"\n`;
        assertEquals(new TextDecoder().decode(stderr), told, line);
        assertEquals(await Deno.readFile(input), capture, line);
      }
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("run writes no statistics over a capture that is not there yet, and leaves none there", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const output = `${directory}/out.pcap`;
    await Deno.symlink("out.pcap", `${directory}/link`);
    for (const name of ["link", `../${directory.split("/").at(-1)}/out.pcap`]) {
      const file = `${directory}/${name}`;
      const args = ["run", "-b", "virtio", inRoot("fixtures/ping.pcap"), "-w", output, "--stats-out", file];
      const { status, stderr } = await ringpipe(args, { permissions: ["-A"] });
      assertEquals([status, stderr], [
        2,
        `ringpipe: --stats-out would overwrite the capture: got "${file}"\n`,
      ]);
      assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["link"]);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("run writes statistics beside a capture in another file, whatever the two are", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const [output, file] = [`${directory}/out.pcap`, `${directory}/stats.json`];
    const program = `'${Deno.execPath()}' run -q --no-prompt -A '${inRoot("cli/main.ts")}' run -q -b virtio`;
    const input = inRoot("fixtures/ping.pcap");
    for (
      const rest of [
        `--stats-out ${file} < ${input} > ${output}`,
        `--stats-out - ${input} -w ${output} > ${file}`,
        `--stats-out /dev/stdout ${input} -w ${output} > ${file}`,
        `--stats-out ${file} ${input} | cat > ${output}`,
      ]
    ) {
      const line = `cd '${inRoot("")}' && ${program} ${rest}`;
      const { success, stderr } = await new Deno.Command("sh", { args: ["-c", line] }).output();
      assertEquals([success, new TextDecoder().decode(stderr)], [true, ""], line);
      assertEquals(JSON.parse(await Deno.readTextFile(file)).packets.dropped, 0, line);
      assertEquals(await Deno.readFile(output), await Deno.readFile(input), line);
    }
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
