import { assertEquals } from "@std/assert";
import { ManualClock } from "../../core/clock.ts";
import { Frame } from "../../core/frame.ts";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import { OVERSIZE } from "../../core/plugin.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { read32, write32 } from "../../plugins/gve/registers.ts";
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

Deno.test("the device's records are those of each receive queue, and say why frames ended in the device", () => {
  const { raw } = receiving({ format: "dqo-rda", queues: 2 });
  const [status] = raw.createRx(64, { queue_id: 1 });
  assertEquals(status, g.STATUS.PASSED);
  const block = raw.page();
  const driver = 2 * 2;
  const length = g.gve_stats_report.size + g.stats.size * (driver + 2 * 4);
  const attach = { stats_report_len: length, stats_report_addr: block, interval: 1000 };
  assertEquals(raw.command(g.OPCODE.REPORT_STATS, g.report_stats, attach), g.STATUS.PASSED);
  const mtu = { parameter_type: 1, parameter_value: 1500 };
  assertEquals(raw.command(g.OPCODE.SET_DRIVER_PARAMETER, g.set_driver_parameter, mtu), g.STATUS.PASSED);
  let seen = [0, 0];
  // Frames without an IP header have hash 0: they go to queue 0. This flow goes to queue 1.
  const flow = Array.from({ length: 256 }, (_, i) => i).find((i) => queueOf(udp(60, i)) === 1)!;
  function queueOf(frame: Uint8Array): number {
    const before = raw.device.counters()["device.rx.no_buffers"]!;
    assertEquals(raw.deliver(frame), -1);
    assertEquals(raw.device.counters()["device.rx.no_buffers"], before + 1);
    raw.clock.advance(1000);
    raw.service();
    const values = g.gve_stats_report.decode(raw.get(block, length));
    const waited = [0, 1].map((queue) => Number(values[`stats[${driver + queue * 4 + 1}].value`]));
    const moved = waited.findIndex((value, queue) => value !== seen[queue]);
    seen = waited;
    return moved;
  }
  assertEquals(raw.deliver(new Uint8Array(0)), 0);
  assertEquals(raw.deliver(udp(1514, flow)), -1, "as long as the MTU allows");
  for (let i = 0; i < 3; i++) assertEquals(raw.deliver(udp(1515, flow)), OVERSIZE);
  assertEquals(raw.deliver(new Uint8Array(64 * 2048)), OVERSIZE);
  raw.clock.advance(1000);
  raw.service();
  const values = g.gve_stats_report.decode(raw.get(block, length));
  const rows = Array.from({ length: 8 }, (_, i) => {
    const at = `stats[${driver + i}]`;
    return ["stat_name", "queue_id", "value"].map((name) => Number(values[`${at}.${name}`]));
  });
  const { RX_QUEUE_DROPS, RX_NO_BUFFERS_POSTED, RX_DROPS_OVER_MRU, RX_DROPS_BAD_CHECKSUM } = g.STAT;
  assertEquals(rows, [
    [RX_QUEUE_DROPS, 0, 1],
    [RX_NO_BUFFERS_POSTED, 0, seen[0]!],
    [RX_DROPS_OVER_MRU, 0, 1],
    [RX_DROPS_BAD_CHECKSUM, 0, 0],
    [RX_QUEUE_DROPS, 1, 0],
    [RX_NO_BUFFERS_POSTED, 1, seen[1]! + 1],
    [RX_DROPS_OVER_MRU, 1, 3],
    [RX_DROPS_BAD_CHECKSUM, 1, 0],
  ]);
  const counters = raw.device.counters();
  assertEquals([counters["device.rx.runts"], counters["device.rx.oversize"]], [1, 4]);
});

Deno.test("the device polices the MTU that the driver has set, VLAN tags not counted", () => {
  for (const format of ["gqi-rda", "dqo-rda"]) {
    const { raw } = receiving({ format });
    const results = () => {
      const frames = [1514, 1515, 1518, 1522, 1526].map((length) => new Uint8Array(length));
      [0x81, 0x88, 0x81].forEach((byte, i) => frames[2 + i]!.set([byte, byte === 0x81 ? 0 : 0xa8], 12));
      frames[3]!.set([0x81, 0], 16);
      frames[4]!.set([0x81, 0, 0, 0, 0x81, 0, 0, 0, 0x81, 0], 12);
      return frames.map((frame) => raw.deliver(frame));
    };
    assertEquals(results(), [-1, -1, -1, -1, -1], `${format}: nothing is policed that nobody has set`);
    const values = { parameter_type: 1, parameter_value: 1500 };
    const set = () => raw.command(g.OPCODE.SET_DRIVER_PARAMETER, g.set_driver_parameter, values);
    assertEquals(set(), g.STATUS.PASSED);
    assertEquals(results(), [-1, OVERSIZE, -1, -1, OVERSIZE], format);
  }
});

/** A UDP packet over IPv4 whose source address ends in `flow`. */
function udp(length: number, flow: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set([0x08, 0, 0x45, 0, (length - 14) >> 8, (length - 14) & 0xff, 0, 0, 0, 0, 64, 17], 12);
  bytes[29] = flow;
  return bytes;
}

/** A driver and the block that it gave the device. */
function reporting(options: Record<string, string>) {
  const clock = new ManualClock();
  const host = new LocalHost({ clock, captureSize: 4096 });
  const settings = g.settingsFrom(new OptionValues(gve.options, { ...options, revision: "0" }));
  const vectors: number[] = [];
  const device = new g.GveDevice(host.space, settings.device, (vector) => vectors.push(vector), clock);
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
  return { clock, host, device, driver, read, vectors };
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

Deno.test("a device that wants statistics sets a bit and interrupts; both sides write, and the bit is cleared", () => {
  const STATUS = g.gve_registers.offsetOf("device_status");
  const { REPORT_STATS } = g.DEVICE_STATUS;
  for (const format of ["gqi-qpl", "dqo-rda"]) {
    const { clock, host, device, driver, read, vectors } = reporting({ format });
    const wanted = () => (read32(device.bar0, STATUS) & REPORT_STATS) !== 0;
    const turn = () => {
      driver.receive({ piece: () => {} });
      device.service({ transmit: () => true, drop: () => {} });
    };
    assertEquals(device.deliver(oversized()), OVERSIZE);
    driver.transmit(host.memory.bytes, host.captureOffset, 100, 0);
    turn();
    assertEquals([wanted(), read(0).written], [false, 0n], format);
    vectors.length = 0;
    device.requestStatistics();
    assertEquals([wanted(), vectors], [true, [2]], `${format}: two blocks, then the management vector`);
    device.service({ transmit: () => true, drop: () => {} });
    assertEquals(
      [wanted(), read(12).rows[10]],
      [true, [0, 0, 0]],
      `${format}: the driver has not written yet`,
    );
    driver.interrupt(2);
    turn();
    assertEquals([wanted(), read(0).written], [false, 1n], format);
    const { rows } = read(12);
    assertEquals(rows[2], [g.STAT.TX_FRAMES, 0, 1], format);
    assertEquals(rows[10], [g.STAT.RX_DROPS_OVER_MRU, 0, 1], format);
    turn();
    assertEquals(read(0).written, 1n, `${format}: once`);
    clock.advance(20000);
    turn();
    assertEquals(read(0).written, 2n, `${format}: the interval goes on`);
  }
});

Deno.test("a reset takes back that the device wants statistics", () => {
  const { raw } = receiving({ format: "dqo-rda", revision: 0 });
  const status = () => read32(raw.device.bar0, g.gve_registers.offsetOf("device_status"));
  raw.device.requestStatistics();
  raw.service();
  assertEquals(status() & g.DEVICE_STATUS.REPORT_STATS, g.DEVICE_STATUS.REPORT_STATS, "nobody has a block");
  write32(raw.device.bar0, g.gve_registers.offsetOf("adminq_pfn"), 0);
  assertEquals(status() & g.DEVICE_STATUS.REPORT_STATS, 0);
});

/** A frame that no receive ring holds. */
function oversized(): Frame {
  const frame = new Frame();
  frame.push(new Uint8Array(1 << 20), 0, 1 << 20);
  return frame;
}
