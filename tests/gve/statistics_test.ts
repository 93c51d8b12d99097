import { assertEquals } from "@std/assert";
import { ManualClock } from "../../core/clock.ts";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { read32 } from "../../plugins/gve/registers.ts";
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

/** A driver and the block that it gave the device. */
function reporting(options: Record<string, string>) {
  const clock = new ManualClock();
  const host = new LocalHost({ clock, captureSize: 4096 });
  const settings = g.settingsFrom(new OptionValues(gve.options, { ...options, revision: "0" }));
  const device = new g.GveDevice(host.space, settings.device, () => {}, clock);
  const { bytes } = host.memory;
  let block = 0;
  const bar0 = {
    read: (offset: number, width: number) => device.bar0.read(offset, width),
    write(offset: number, width: number, value: number) {
      device.bar0.write(offset, width, value);
      const queue = read32(device.bar0, g.gve_registers.offsetOf("adminq_pfn")) * 4096;
      if (block > 0 || queue === 0) return;
      for (let slot = 0; slot < 64; slot++) {
        const at = host.dma.region.offsetOf(queue + slot * 64);
        const command = g.report_stats.decode(bytes.subarray(at, at + 64));
        if (command["opcode"] !== g.OPCODE.REPORT_STATS) continue;
        assertEquals(command["interval"], 20000n);
        block = host.dma.region.offsetOf(Number(command["stats_report_addr"]));
      }
    },
  };
  const bus = { bar0, bar2: device.bar2, bar2Size: device.bar2Size };
  const driver = new g.GveDriver(bus, host.dma, host.space, clock, settings.driver);
  const read = (records: number) => {
    const report = bytes.slice(block, block + g.gve_stats_report.size + records * g.stats.size);
    const values = g.gve_stats_report.decode(report);
    const rows = Array.from(
      { length: records },
      (_, i) => ["stat_name", "queue_id", "value"].map((name) => Number(values[`stats[${i}].${name}`])),
    );
    return { written: values["written_count"], rows };
  };
  return { clock, host, device, driver, read };
}

Deno.test("the driver writes its part of the statistics block every 20 seconds", () => {
  const sink = { piece: () => {} };
  for (const [format, completed, sequence] of [["gqi-rda", 3, 1], ["dqo-rda", 3, 0]] as const) {
    const { clock, host, device, driver, read } = reporting({ format, "rx-ring": "256" });
    for (let i = 0; i < 3; i++) driver.transmit(host.memory.bytes, host.captureOffset, 100 + i, 0);
    driver.flush();
    device.service({ transmit: () => true, drop: () => {} });
    clock.advance(19999);
    driver.receive(sink);
    assertEquals(read(8).written, 0n, format);
    clock.advance(1);
    driver.receive(sink);
    const { written, rows } = read(8);
    assertEquals(written, 1n, format);
    const posted = driver.counters()["rx.buffers_posted"]!;
    assertEquals(
      rows,
      [[1, 0, 0], [2, 0, 0], [3, 0, 3], [4, 0, 303], [5, 0, completed], [8, 0, 0], [6, 0, sequence], [
        7,
        0,
        posted,
      ]],
      format,
    );
    clock.advance(20000);
    driver.receive(sink);
    assertEquals(read(0).written, 2n, format);
  }
});

Deno.test("statistics are those of each queue, stops and wakes among them", () => {
  const { clock, host, device, driver, read } = reporting({
    "format": "gqi-rda",
    "tx-ring": "256",
    "queues": "2",
  });
  const request = new g.TransmitRequest();
  request.push(host.memory.bytes, host.captureOffset, 60, g.UNMAPPED);
  let sent = 0;
  while (driver.transmitRequest(request, 1) === 1) sent++;
  driver.flush();
  device.service({ transmit: () => true, drop: () => {} });
  clock.advance(20000);
  driver.receive({ piece: () => {} });
  assertEquals(driver.transmitRequest(request, 1), 1);
  clock.advance(20000);
  driver.receive({ piece: () => {} });
  const { rows } = read(16);
  assertEquals(rows.slice(0, 6).map(([, , value]) => value), [0, 0, 0, 0, 0, 0]);
  assertEquals(rows.slice(6, 10), [[1, 1, 1], [2, 1, 1], [3, 1, sent + 1], [4, 1, 60 * (sent + 1)]]);
  assertEquals(rows.slice(12).map(([name, queue]) => [name, queue]), [[6, 0], [7, 0], [6, 1], [7, 1]]);
  assertEquals([driver.counters()["tx.stops"], driver.counters()["tx.wakes"]], [1, 1]);
});
