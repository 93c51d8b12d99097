import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import manifest from "../../deno.json" with { type: "json" };
import { inRoot, MAILBOX, ringpipe } from "./program.ts";

/** Arguments that are wrong, and the one line that says so. */
const MISTAKES: readonly (readonly [readonly string[], string])[] = [
  [[], "what to do is missing: run, "],
  [["rnu"], 'unknown command "rnu" (did you mean "run"?)'],
  [["-b", "virtio"], "a command comes first: got -b"],
  [["struct"], "struct needs a command: list, show, decode, encode, verify"],
  [["struct", "shwo"], 'unknown struct command "shwo" (did you mean "show"?)'],
  [["install"], 'unknown command "install"; there are run, serve, '],
  [["run", "-b", "vmxnet3"], 'unknown backend "vmxnet3"; there are virtio, gve, xen, vdpa'],
  [["run", "--plugin", "", "-b", "virtio"], '--plugin takes a module: got ""'],
  [
    ["run", ...MAILBOX, inRoot("fixtures/web.pcap"), "-w", inRoot("fixtures")],
    `${inRoot("fixtures")} is a directory`,
  ],
  [["struct", "show", "zzzzz"], 'unknown structure "zzzzz"; `ringpipe struct list` has '],
  [
    ["struct", "encode", ...MAILBOX, "mailbox_slot", "length"],
    'struct encode takes FIELD=VALUE: got "length"',
  ],
  [["struct", "encode", ...MAILBOX, "mailbox_slot", "length=1", "length=2"], "field length is given twice"],
  [["help", "rum"], 'unknown command "rum" (did you mean "run"?)'],
  [["help", "struct", "verfy"], 'unknown struct command "verfy" (did you mean "verify"?)'],
  [["help", "run", "x"], 'run has no commands of its own: got "x"'],
  [["run"], "-b BACKEND is missing: virtio, gve, xen, vdpa"],
  [["run", "--bakend", "virtio"], 'unknown flag --bakend (did you mean "--backend"?)'],
  [["run", "-b", "virtoi"], 'unknown backend "virtoi" (did you mean "virtio"?)'],
  [["run", ...MAILBOX.slice(0, 2), "-b", "mailbux"], 'unknown backend "mailbux" (did you mean "mailbox"?)'],
  [["run", ...MAILBOX, "-o", "slost=1"], 'unknown option "slost" (did you mean "slots"?)'],
  [["run", ...MAILBOX, "-o", "queue-size=8"], 'unknown option "queue-size"; there are slots'],
  [["run", ...MAILBOX, "-o", "slots=1,slots=2"], "option slots is given twice"],
  [["run", ...MAILBOX, "-o", "slots=1,"], '-o takes NAME=VALUE: got ""'],
  [
    ["run", "-b", "gve", "-o", "queues=2,offer=dqo-rda,queues=2"],
    'option offer takes device options: got "queues=2"',
  ],
  [
    ["run", "-b", "gve", "-o", "offer=dqo-rda,a"],
    'option offer takes device options: got "a"; there are gqi-raw-addressing, gqi-rda, ',
  ],
  [
    ["run", "-b", "gve", "-o", "offer=constructor"],
    'option offer takes device options: got "constructor"; there are ',
  ],
  [["run", "-b", "gve", "-o", "ofer=dqo-rda,rss-config"], 'unknown option "ofer" (did you mean "offer"?)'],
  [["run", "--version"], "unknown flag --version; `ringpipe run --help` lists those that there are\n"],
  [["struct", "show", "-x"], "unknown flag -x; `ringpipe struct show --help` lists those that there are\n"],
  [["run", "a", "b"], 'run takes no further operand: got "b"; an output is named with -w\n'],
  [["backends", "gve", "xen"], 'backends takes no further operand: got "xen"\n'],
  [["RUN"], 'unknown command "RUN" (did you mean "run"?)'],
  [
    ["run", ...MAILBOX, "x", "-w", "y", "--stats-out", inRoot("fixtures")],
    `${inRoot("fixtures")} is a directory`,
  ],
  [["run", ...MAILBOX, "-o", "slots=65"], 'option slots takes 1..64: got "65"'],
  [["run", ...MAILBOX, "-o", "slots"], '-o takes NAME=VALUE: got "slots"'],
  [["run", ...MAILBOX, "-o", "slots=1", "-o", "slots=2"], "option slots is given twice"],
  [["run", ...MAILBOX, ...MAILBOX.slice(0, 2)], 'there are two backends named "mailbox"'],
  [["run", ...MAILBOX, "-r", "a", "b"], 'there are two inputs: "b" and -r "a"'],
  [
    ["run", ...MAILBOX, "a", "-w", "b", "--stats-out", "b"],
    '--stats-out would overwrite the capture: got "b"',
  ],
  [
    ["run", ...MAILBOX, "a", "-w", "b", "--stats-out", "a"],
    '--stats-out would overwrite the capture: got "a"',
  ],
  [["run", "-F", "erf"], '-F takes pcap|pcapng: got "erf"'],
  [["backends", "gvee"], 'unknown backend "gvee" (did you mean "gve"?)'],
  [
    ["struct", "show", ...MAILBOX, "mailbox_slto"],
    'unknown structure "mailbox_slto" (did you mean "mailbox_slot"?)',
  ],
  [["completions", "bahs"], 'SHELL takes bash|zsh|fish: got "bahs" (did you mean "bash"?)'],
];

Deno.test("main answers each mistake with one line and status 2, and prints nothing else", async (t) => {
  for (const [args, wanted] of MISTAKES) {
    await t.step(args.join(" ") || "no arguments", async () => {
      const { status, text, stderr } = await ringpipe(args);
      assertStringIncludes(stderr, `ringpipe: ${wanted}`);
      assertEquals(stderr.split("\n").length, 2, stderr);
      assertEquals(text, "");
      assertEquals(status, 2);
    });
  }
});

Deno.test("main prints help on standard output for --help, -h, help and help COMMAND", async () => {
  const [flag, letter, word] = await Promise.all(
    [["--help"], ["-h"], ["help"]].map((args) => ringpipe(args)),
  );
  assertEquals([flag!.status, flag!.stderr], [0, ""]);
  assertEquals([letter!.text, word!.text], [flag!.text, flag!.text]);
  for (const name of ["run", "backends", "struct", "completions"]) {
    assertStringIncludes(flag!.text, `  ${name} `);
  }
  for (const path of [["run"], ["struct"], ["struct", "verify"], ["help"]]) {
    const [long, short, asked] = await Promise.all([[...path, "--help"], [...path, "-h"], ["help", ...path]]
      .map((args) => ringpipe(args)));
    assertStringIncludes(long!.text, `Usage: ringpipe ${path.join(" ")} `);
    assertEquals([short!.text, asked!.text], [long!.text, long!.text]);
    assertEquals(long!.status, 0);
  }
});

Deno.test("main describes in the help of a command every flag that the command takes", async () => {
  const { text } = await ringpipe(["run", "--help"]);
  const { command } = await import("../../cli/run.ts");
  for (const { name, short } of command.flags) {
    assertMatch(text, new RegExp(`^ {2}${short ? `-${short},` : "   "} --${name}[ \n]`, "m"));
  }
  assertEquals(text.split("\n").every((line) => line.length <= 100), true);
});

Deno.test("main prints its version", async () => {
  const { status, text } = await ringpipe(["--version"]);
  assertEquals([status, text], [0, `ringpipe ${manifest.version}\n`]);
});

Deno.test("main needs no permission to say what is wrong, to help and to list backends", async () => {
  for (const args of [["help"], ["backends"], ["struct", "list"], ["--version"]]) {
    const { status, stderr } = await ringpipe(args, { permissions: [] });
    assertEquals([status, stderr], [0, ""], args.join(" "));
  }
});

Deno.test("main ends silently with 141 when the reader of its output is gone", async () => {
  const script = `(sleep 0.3; exec "$0" run --quiet cli/main.ts help run) | true; echo \${PIPESTATUS[0]}`;
  const { stdout, stderr } = await new Deno.Command("bash", {
    args: ["-c", script, Deno.execPath()],
    cwd: inRoot("."),
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  assertEquals(new TextDecoder().decode(stdout), "141\n");
});
