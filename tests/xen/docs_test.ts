import { assertEquals } from "@std/assert";
import xen from "../../plugins/xen/mod.ts";
import { runBytes } from "../cli/pipe_harness.ts";

const root = new URL("../../", import.meta.url);

/** The columns of the table, and what its rows add up. */
const COLUMNS = [
  { "static-grants": "off" },
  { "static-grants": "off", "grant-policy": "copy" },
  { pool: "fixed" },
  { pool: "recycle" },
  { pool: "copy" },
  { pool: "recycle", grants: 64 },
];
const ROWS: Readonly<Record<string, readonly string[]>> = {
  "tx copy": ["grant.tx.copy"],
  "tx map": ["grant.tx.map"],
  "tx unmap": ["grant.tx.unmap"],
  "rx copy": ["grant.rx.copy"],
  "setup": ["grant.setup.map", "grant.setup.unmap"],
  "hypercalls": ["hypercalls.copy", "hypercalls.map", "hypercalls.unmap"],
  "TLB flushes": ["tlb.flushes"],
  "guest writes": ["grant.guest.grants", "grant.guest.ends"],
  "bytes copied": ["memcpy.front.bytes", "memcpy.back.bytes"],
};

Deno.test("the figures in docs/xen.md are those that the counters give for fixtures/web.pcap", async () => {
  const page = await Deno.readTextFile(new URL("docs/xen.md", root));
  const capture = await Deno.readFile(new URL("fixtures/web.pcap", root));
  const counters: Readonly<Record<string, number>>[] = [];
  for (const options of COLUMNS) {
    counters.push((await runBytes(capture, { plugin: xen, options })).result.counters);
  }
  for (const [row, names] of Object.entries(ROWS)) {
    const [, figures] = new RegExp(`^\\| ${row} +\\|([ \\d|]+)\\|$`, "m").exec(page) ?? [];
    const wanted = counters.map((column) => names.reduce((sum, name) => sum + column[name]!, 0));
    assertEquals(figures?.split("|").map(Number), wanted, row);
  }
});
