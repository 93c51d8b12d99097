import { assertEquals } from "@std/assert";
import xen from "../../plugins/xen/mod.ts";
import { runBytes } from "../cli/pipe_harness.ts";

const root = new URL("../../", import.meta.url);

Deno.test("the figures in docs/xen.md are those that the counters give for fixtures/web.pcap", async () => {
  const page = await Deno.readTextFile(new URL("docs/xen.md", root));
  const capture = await Deno.readFile(new URL("fixtures/web.pcap", root));
  const rows = [...page.matchAll(/^\| `([a-z0-9= -]+)` +\| +(\d[\d |]*)\|$/gm)];
  assertEquals(rows.length, 6);
  for (const [, text, figures] of rows) {
    const options = Object.fromEntries(text!.split(" ").map((option) => option.split("=")));
    const { result } = await runBytes(capture, { plugin: xen, options });
    const sum = (...names: string[]) => names.reduce((total, name) => total + result.counters[name]!, 0);
    const wanted = [
      sum("grant.tx.copy"),
      sum("grant.tx.map"),
      sum("grant.tx.unmap"),
      sum("grant.rx.copy"),
      sum("grant.setup.map", "grant.setup.unmap"),
      sum("hypercalls.copy", "hypercalls.map", "hypercalls.unmap"),
      sum("tlb.flushes"),
      sum("grant.guest.grants", "grant.guest.ends"),
      sum("memcpy.front.bytes", "memcpy.back.bytes"),
    ];
    assertEquals(figures!.split("|").map(Number), wanted, text);
  }
});
