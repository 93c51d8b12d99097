import { assertEquals } from "@std/assert";
import { stub } from "@std/testing/mock";
import { Monitor, progressLine } from "../../cli/progress.ts";

/** Runs `body` and gives back what it wrote to standard error. */
function stderrOf(body: () => void): string {
  let text = "";
  using _stub = stub(Deno.stderr, "writeSync", (bytes: Uint8Array) => {
    text += new TextDecoder().decode(bytes);
    return bytes.length;
  });
  body();
  return text;
}

Deno.test("progressLine shows a bar when the size of the input is known", () => {
  assertEquals(
    progressLine({ packets: 1500, bytesRead: 50, inputSize: 100 }, 1000),
    "[###############...............]  50%  1,500 packets, 1,500 packets/s",
  );
});

Deno.test("progressLine never shows more than everything", () => {
  assertEquals(
    progressLine({ packets: 1, bytesRead: 200, inputSize: 100 }, 500),
    "[##############################] 100%  1 packet, 2 packets/s",
  );
});

Deno.test("progressLine counts when the input has no size", () => {
  assertEquals(progressLine({ packets: 10, bytesRead: 50 }, 0), "10 packets, 10,000 packets/s");
});

Deno.test("Monitor shows no progress of a short run, then at most ten lines a second, and erases them", () => {
  let now = 0;
  const text = stderrOf(() => {
    const monitor = new Monitor({ live: true, verbose: false, now: () => now });
    for (now = 0; now < 500; now += 10) monitor.progress({ packets: now, bytesRead: now });
    monitor.line("done");
    monitor.end();
  });
  assertEquals(
    text,
    "\r\x1b[K250 packets, 1,000 packets/s\r\x1b[K350 packets, 1,000 packets/s" +
      "\r\x1b[K450 packets, 1,000 packets/s\r\x1b[Kringpipe: done\n",
  );
});

Deno.test("Monitor keeps progress to one line of a narrow terminal", () => {
  using _terminal = stub(Deno.stderr, "isTerminal", () => true);
  using _size = stub(Deno, "consoleSize", () => ({ columns: 40, rows: 25 }));
  const told = stderrOf(() => {
    let now = 0;
    const monitor = new Monitor({ live: true, verbose: false, now: () => now });
    now = 1000;
    monitor.progress({ packets: 1e6, bytesRead: 5, inputSize: 10 });
  });
  assertEquals(told.replace("\r\x1b[K", "").length, 39);
});

Deno.test("Monitor shows no progress where it is not wanted", () => {
  let now = 0;
  const text = stderrOf(() => {
    const monitor = new Monitor({ live: false, verbose: false, now: () => now });
    now = 10_000;
    monitor.progress({ packets: 1, bytesRead: 1 });
    monitor.end();
  });
  assertEquals(text, "");
});

Deno.test("Monitor tells ten dropped packets one by one and the rest as a sum", () => {
  const text = stderrOf(() => {
    const monitor = new Monitor({ live: false, verbose: false });
    for (let number = 1; number <= 13; number++) monitor.drop(number, number === 12 ? "runt" : "oversize");
    monitor.end();
  });
  const lines = text.trimEnd().split("\n");
  assertEquals(lines.length, 11);
  assertEquals(lines[0], "ringpipe: packet 1 is left out: oversize");
  assertEquals(lines[10], "ringpipe: 3 more packets left out: oversize 2, runt 1 (-v names each)");
});

Deno.test("Monitor tells every dropped packet when verbose", () => {
  const text = stderrOf(() => {
    const monitor = new Monitor({ live: false, verbose: true });
    for (let number = 1; number <= 13; number++) monitor.drop(number, "runt");
    monitor.end();
  });
  assertEquals(text.trimEnd().split("\n").length, 13);
});
