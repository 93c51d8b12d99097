import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../cli/errors.ts";
import { formatHex, parseHex } from "../../cli/hex.ts";

Deno.test("parseHex takes the forms in which people copy bytes", () => {
  for (const text of ["00ff10", "0x00ff10", "00:ff:10", "00 FF\n10", "0x00, 0xff, 0x10"]) {
    assertEquals([...parseHex(text)], [0, 255, 16], text);
  }
  assertEquals(parseHex("").length, 0);
});

Deno.test("parseHex refuses what is no hex, and half a byte", () => {
  assertThrows(() => parseHex("0g"), UsageError, 'no hexadecimal digit: "g"');
  assertThrows(() => parseHex("000"), UsageError, "hexadecimal digits come in pairs: got 3");
});

Deno.test("formatHex writes two digits for each byte", () => {
  assertEquals([formatHex([0, 255, 16]), formatHex([1, 2], ":")], ["00ff10", "01:02"]);
});
