import { assertEquals } from "@std/assert";
import { exitStatus, explain, UsageError } from "../../cli/errors.ts";
import { OptionError } from "../../core/options.ts";

Deno.test("exitStatus tells mistakes of the user from everything else", () => {
  assertEquals(exitStatus(new UsageError("x")), 2);
  assertEquals(exitStatus(new OptionError("x")), 2);
  assertEquals(exitStatus(new Deno.errors.BrokenPipe("x")), 141);
  assertEquals(exitStatus(new TypeError("x")), 1);
  assertEquals(exitStatus("x"), 1);
});

Deno.test("exitStatus knows an OptionError of another copy of the core", () => {
  class OptionError extends Error {
    override name = "OptionError";
  }
  assertEquals(exitStatus(new OptionError("x")), 2);
});

Deno.test("explain gives one line without the numbers of the system", () => {
  assertEquals(explain(new Error("first\nsecond")), "first");
  assertEquals(explain(new UsageError('unknown command "a\nb"')), 'unknown command "a\nb"');
  assertEquals(
    explain(new Error("No such file or directory (os error 2): open 'a b'")),
    "a b: No such file or directory",
  );
  assertEquals(explain(new Error("Is a directory (os error 21): open 'a\nb'")), "a\nb: Is a directory");
  assertEquals(explain(new Error("No space left on device (os error 28)")), "No space left on device");
  assertEquals(explain(new RangeError()), "RangeError");
  assertEquals(explain("text"), "text");
});
