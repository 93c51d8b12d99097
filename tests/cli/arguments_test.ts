import { assertEquals, assertThrows } from "@std/assert";
import { parseCall } from "../../cli/arguments.ts";
import type { Call, Command } from "../../cli/command.ts";
import { UsageError } from "../../cli/errors.ts";

const SAMPLE: Command = {
  name: "sample",
  summary: "For tests",
  usage: "[IN] [OUT]...",
  operands: [{ name: "IN", optional: true }, {
    name: "OUT",
    choices: ["1", "2", "-"],
    repeat: true,
    optional: true,
  }],
  flags: [
    { name: "write", short: "w", value: "FILE", kind: "file", meaning: "" },
    { name: "option", short: "o", value: "NAME=VALUE", repeat: true, meaning: "" },
    { name: "count", short: "c", value: "N", kind: "count", meaning: "" },
    { name: "format", short: "F", value: "FORMAT", choices: ["pcap", "pcapng"], meaning: "" },
    { name: "quiet", short: "q", meaning: "" },
    { name: "verbose", short: "v", meaning: "" },
  ],
  execute: () => Promise.resolve(0),
};

function parse(...args: string[]): Call {
  return parseCall(SAMPLE, "sample", args, [])!;
}

function refusal(...args: string[]): string {
  return assertThrows(() => parse(...args), UsageError).message;
}

Deno.test("parseCall takes short and long flags with their values in every form", () => {
  for (const args of [["-w", "x"], ["-wx"], ["--write", "x"], ["--write=x"], ["-qw", "x"], ["-qvwx"]]) {
    assertEquals(parse(...args).text("write"), "x", args.join(" "));
  }
  const call = parse("-qv");
  assertEquals([call.has("quiet"), call.has("verbose"), parse().has("quiet")], [true, true, false]);
});

Deno.test("parseCall takes a dash, and what starts with one, as the value of a flag", () => {
  assertEquals(parse("-w", "-").text("write"), "-");
  assertEquals(parse("--write", "-").text("write"), "-");
  assertEquals(parse("-qw", "-").text("write"), "-");
  assertEquals(parse("-w", "-q").text("write"), "-q");
  assertEquals(parse("-w", "-q").has("quiet"), false);
});

Deno.test("parseCall keeps operands as they were typed, a dash and numbers too", () => {
  assertEquals(parse("-").operands, ["-"]);
  assertEquals(parse("007").operands, ["007"]);
  assertEquals(parse("0x10", "1", "-", "2").operands, ["0x10", "1", "-", "2"]);
  assertEquals(parse("-q", "--", "-q").operands, ["-q"]);
});

Deno.test("parseCall keeps everything behind the first equals sign of a value", () => {
  assertEquals(parse("-o", "a=b=c", "--option=d==").texts("option"), ["a=b=c", "d=="]);
});

Deno.test("parseCall checks counts", () => {
  assertEquals(parse("-c", "12").count("count"), 12);
  assertEquals(parse().count("count"), undefined);
  for (const bad of ["0", "-1", "1e3", "x", "", "1.5", "99999999999999999"]) {
    assertEquals(refusal("-c", bad), `-c takes a whole number from 1: got "${bad}"`);
  }
});

Deno.test("parseCall names the nearest flag or word when one is wrong", () => {
  assertEquals(refusal("--wirte=x"), 'unknown flag --wirte (did you mean "--write"?)');
  assertEquals(refusal("--hlep"), 'unknown flag --hlep (did you mean "--help"?)');
  assertEquals(refusal("-x"), "unknown flag -x; `ringpipe sample --help` lists those that there are");
  assertEquals(refusal("-F", "pcapgn"), '-F takes pcap|pcapng: got "pcapgn" (did you mean "pcapng"?)');
  assertEquals(refusal("a", "3"), 'OUT takes 1|2|-: got "3" (did you mean "1"?)');
});

Deno.test("parseCall refuses dotted, prototype and valued switches as any other unknown flag", () => {
  assertEquals(refusal("--write.x=1"), 'unknown flag --write.x (did you mean "--write"?)');
  const remedy = "; `ringpipe sample --help` lists those that there are";
  assertEquals(refusal("--__proto__=1"), `unknown flag --__proto__${remedy}`);
  assertEquals(refusal("--no-quiet").startsWith("unknown flag --no-quiet"), true);
  assertEquals(refusal("--quiet=yes"), "--quiet takes no value");
});

Deno.test("parseCall refuses what is missing or given twice", () => {
  assertEquals(refusal("-w"), "-w needs FILE");
  assertEquals(refusal("-w", "a", "--write", "b"), "-w is given twice");
  assertEquals(refusal("-w", ""), '-w takes a file name: got ""');
  const needy: Command = { ...SAMPLE, operands: [{ name: "IN" }] };
  assertThrows(() => parseCall(needy, "needy", [], []), UsageError, "needy needs IN");
  assertThrows(
    () => parseCall(needy, "needy", ["a", "b"], []),
    UsageError,
    'needy takes no further operand: got "b"',
  );
});

Deno.test("parseCall says that help is wanted", () => {
  assertEquals(parseCall(SAMPLE, "sample", ["-h"], []), undefined);
  assertEquals(parseCall(SAMPLE, "sample", ["-q", "--help", "x"], []), undefined);
});
