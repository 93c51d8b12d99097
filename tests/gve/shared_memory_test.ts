import { assert, assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import { tagsFor } from "../../plugins/gve/dqo/tx_tags.ts";
import { Fifo } from "../../plugins/gve/gqi/fifo.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { Random } from "../random.ts";
import { assertDriverFault } from "./faults.ts";
import { dqoRx, dqoTx, gqiTx, packet } from "./raw_device.ts";
import { receiving, transmitting } from "./raw_driver.ts";

/** Notes how often each byte of a view is read. */
function countReads(view: DataView): Map<number, number> {
  const reads = new Map<number, number>();
  const widths = {
    ...{ getUint8: 1, getUint16: 2, getUint32: 4, getBigUint64: 8 },
    ...{ getInt8: 1, getInt16: 2, getInt32: 4, getFloat64: 8 },
  };
  for (const [name, width] of Object.entries(widths)) {
    const read = view[name as "getUint32"].bind(view);
    Object.defineProperty(view, name, {
      value: (at: number, littleEndian?: boolean) => {
        for (let i = at; i < at + width; i++) reads.set(i, (reads.get(i) ?? 0) + 1);
        return read(at, littleEndian);
      },
    });
  }
  return reads;
}

Deno.test("D11: no piece of a packet crosses the end of the FIFO, and no header is split", () => {
  const size = 4 * 4096;
  const { around, queue } = gqiTx(true, new Fifo(size));
  const random = new Random(3);
  for (let i = 0, done = 0; i < 2000; i++) {
    const length = random.between(1, 4000);
    const at = queue.posted;
    assertEquals(queue.transmit(packet(length)), 0);
    const count = queue.posted - at;
    for (let k = 0; k < count; k++) {
      const bytes = around.memory.bytes.slice(((at + k) % 64) * 16, ((at + k) % 64) * 16 + 16);
      const { seg_len, seg_addr } = (k === 0 ? g.gve_tx_pkt_desc : g.gve_tx_seg_desc).decode(bytes);
      assert(Number(seg_addr) + Number(seg_len) <= size, `${seg_addr}+${seg_len}`);
      if (k === 0) assertEquals(seg_len, Math.min(182, length));
    }
    done += count;
    around.memory.view.setUint32(4 * 4096, done);
    queue.clean();
  }
});

Deno.test("D22: the driver has no memory back before the device says that it is in reset", () => {
  for (const revision of ["0", "1"]) {
    const host = new LocalHost();
    const settings = g.settingsFrom(new OptionValues(gve.options, { format: "dqo-rda", revision }));
    const device = new g.GveDevice(host.space, settings.device, () => {});
    let deaf = false;
    const bar0 = {
      read: (offset: number, width: number) => device.bar0.read(offset, width),
      write: (offset: number, width: number, value: number) => {
        const resets = offset === g.gve_registers.offsetOf(revision === "0" ? "adminq_pfn" : "driver_status");
        if (!(deaf && resets)) device.bar0.write(offset, width, value);
      },
    };
    const bus = { bar0, bar2: device.bar2, bar2Size: device.bar2Size };
    const driver = new g.GveDriver(bus, host.dma, host.space, host.clock, settings.driver);
    deaf = true;
    assertDriverFault(() => driver.close(), "admin-timeout");
  }
});

Deno.test("V19: no byte of a completion is read twice", () => {
  const rx = dqoRx(true);
  const completions = countReads(rx.around.memory.view);
  for (let i = 0; i < 3; i++) rx.complete(rx.posted(i), 100, { end_of_packet: i > 0 ? 1 : 0 });
  completions.clear();
  rx.queue.receive(rx.sink);
  assertEquals(rx.sink.frames.length, 2);
  for (let at = 0; at < 3 * g.gve_rx_compl_desc_dqo.size; at++) {
    assert((completions.get(at) ?? 0) <= 1, `receive completion byte ${at}: ${completions.get(at)}`);
  }
  for (let i = 0; i < 3; i++) {
    const at = i * g.gve_rx_compl_desc_dqo.size + g.gve_rx_compl_desc_dqo.offsetOf("buf_id");
    assertEquals(completions.get(at), 1);
  }
  const tx = dqoTx(true);
  tx.queue.transmit(packet(60));
  tx.complete(g.DQO_COMPLETION.PACKET, 0);
  const reads = countReads(tx.around.memory.view);
  assertEquals(tx.queue.clean(), 1);
  assertEquals(reads.get(2 * 4096), 1);
  for (let at = 0; at < g.gve_tx_compl_desc.size; at++) {
    assert((reads.get(2 * 4096 + at) ?? 0) <= 1, `transmit completion byte ${at}`);
  }
});

Deno.test("V23: nothing is written for a queue once its destruction was acknowledged", () => {
  const { raw, queue } = transmitting({ "format": "dqo-rda", "miss-rate": "100" });
  raw.put(
    queue.ring,
    g.gve_tx_pkt_desc_dqo.encode({
      buf_addr: raw.buffer,
      dtype: g.DQO_DTYPE.PACKET,
      end_of_packet: 1,
      buf_size: 60,
    }),
  );
  raw.ring(queue, 1);
  raw.service();
  const before = raw.get(queue.completions, 4096);
  assertEquals(raw.frames.length, 1);
  assertEquals(raw.command(g.OPCODE.DESTROY_TX_QUEUE, g.destroy_tx_queue), g.STATUS.PASSED);
  raw.service();
  assertEquals(raw.get(queue.completions, 4096), before, "the REINJECTION does not come");
  const other = receiving({ "format": "dqo-rda", "completion-batch": "4" });
  other.raw.put(other.queue.ring, g.gve_rx_desc_dqo.encode({ buf_id: 1, buf_addr: other.raw.buffer }));
  other.raw.ring(other.queue, 1);
  other.raw.deliver(new Uint8Array(60).fill(1));
  const held = other.raw.get(other.queue.completions, 4096);
  const first = g.gve_rx_compl_desc_dqo.decode(held.slice(0, g.gve_rx_compl_desc_dqo.size));
  assertEquals([first["buf_id"], first["generation"]], [1, 0], "it is not published yet");
  assertEquals(other.raw.command(g.OPCODE.DESTROY_RX_QUEUE, g.destroy_rx_queue), g.STATUS.PASSED);
  other.raw.service();
  assertEquals(other.raw.get(other.queue.completions, 4096), held, "what was held back does not come");
});

Deno.test("V24: a ring of completions holds MISS and REINJECTION of all tags, and all reports", () => {
  for (let size = 64; size <= 32768; size *= 2) {
    const tags = tagsFor(size);
    assert(tags > 0 && 2 * tags + size / g.DQO_REPORT_SPACING <= size, `${size}: ${tags}`);
  }
});
