import { assertEquals, assertThrows } from "@std/assert";
import { stub } from "@std/testing/mock";
import { print, printError, report, visible } from "../../cli/output.ts";

Deno.test("print writes all of a text, however little is taken at a time", () => {
  const taken: number[] = [];
  using _stub = stub(Deno.stdout, "writeSync", (bytes) => {
    taken.push(bytes[0]!);
    return 1;
  });
  print("abc");
  assertEquals(taken, [97, 98, 99]);
});

Deno.test("print says what could not be written, and leaves a reader that went away to its caller", () => {
  let failure: Error = new Error("No space left on device (os error 28)");
  using _stub = stub(Deno.stdout, "writeSync", () => {
    throw failure;
  });
  const error = assertThrows(() => print("x"), Error);
  assertEquals(error.message, "cannot write standard output: No space left on device");
  failure = new Deno.errors.BrokenPipe();
  assertThrows(() => print("x"), Deno.errors.BrokenPipe);
});

Deno.test("report keeps to one line and moves no cursor, whatever a file is called", () => {
  let told = "";
  using _stub = stub(Deno.stderr, "writeSync", (bytes) => {
    told += new TextDecoder().decode(bytes);
    return bytes.length;
  });
  report("a\nb\x1b[2Jc\x7f: ü");
  assertEquals(told, "ringpipe: a\\x0ab\\x1b[2Jc\\x7f: ü\n");
  assertEquals(visible("plain ü"), "plain ü");
});

Deno.test("printError gives up silently", () => {
  using _stub = stub(Deno.stderr, "writeSync", () => {
    throw new Deno.errors.BrokenPipe();
  });
  printError("x");
});
