import { assertEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { columns, counted, grouped, LINE_WIDTH, lineWidth, wrap } from "../../cli/table.ts";

Deno.test("columns aligns cells, to the right where asked, and leaves no space at line ends", () => {
  assertEquals(columns([["a", "1", "x"], ["bcd", "100", ""]], [1]), "a      1  x\nbcd  100\n");
  assertEquals(columns([["a", "1"], ["b", "10"]], [1], 2), "  a   1\n  b  10\n");
});

Deno.test("lineWidth is that of the terminal, if it is narrower than usual", () => {
  let columns = 60;
  using _terminal = stub(Deno.stdout, "isTerminal", () => true);
  using _size = stub(Deno, "consoleSize", () => ({ columns, rows: 25 }));
  assertEquals(lineWidth(), 60);
  columns = 300;
  assertEquals(lineWidth(), LINE_WIDTH);
  // A terminal that does not know.
  columns = 0;
  assertEquals(lineWidth(), LINE_WIDTH);
});

Deno.test("columns wraps the last cell under itself", () => {
  const text = columns([["name", "word ".repeat(40).trimEnd()]]);
  const lines = text.trimEnd().split("\n");
  assertEquals(lines.length, 3);
  assertEquals(lines.slice(1).every((line) => line.startsWith("      word")), true);
  assertEquals(lines.every((line) => line.length <= LINE_WIDTH), true);
});

Deno.test("wrap breaks at spaces only", () => {
  assertEquals(wrap("aa bb cc", 5), ["aa bb", "cc"]);
  assertEquals(wrap("aaaaaaaa b", 3), ["aaaaaaaa", "b"]);
  assertEquals(wrap("", 3), [""]);
});

Deno.test("grouped and counted write numbers for people", () => {
  assertEquals([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
  assertEquals([counted(1, "packet"), counted(2, "packet")], ["1 packet", "2 packets"]);
});
