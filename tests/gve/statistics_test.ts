import { assertEquals } from "@std/assert";
import * as g from "../../plugins/gve/mod.ts";
import { receiving } from "./raw_driver.ts";

Deno.test("the device writes its part of the statistics block at the interval asked for, until detached", () => {
  const { raw } = receiving({ format: "dqo-rda" });
  const block = raw.page();
  const length = g.gve_stats_report.size + g.stats.size * (2 + 4);
  const attach = { stats_report_len: length, stats_report_addr: block, interval: 20000 };
  assertEquals(raw.command(g.OPCODE.REPORT_STATS, g.report_stats, attach), g.STATUS.PASSED);
  const after = (milliseconds: number) => {
    raw.clock.advance(milliseconds);
    raw.deliver(new Uint8Array(60));
    raw.service();
    const values = g.gve_stats_report.decode(raw.get(block, length));
    assertEquals(values["stats[0].stat_name"], 0, "the driver's part is the driver's");
    return [values["stats[3].stat_name"], values["stats[3].value"]];
  };
  const { RX_NO_BUFFERS_POSTED } = g.STAT;
  assertEquals(after(19999), [0, 0n], "before its time");
  assertEquals(after(1), [RX_NO_BUFFERS_POSTED, 2n]);
  assertEquals(after(19999), [RX_NO_BUFFERS_POSTED, 2n]);
  assertEquals(after(1), [RX_NO_BUFFERS_POSTED, 4n]);
  assertEquals(raw.command(g.OPCODE.REPORT_STATS, g.report_stats), g.STATUS.PASSED);
  assertEquals(after(20000), [RX_NO_BUFFERS_POSTED, 4n]);
});
