import { assertEquals } from "@std/assert";
import { type Access, READ, WRITE } from "../../core/address_space.ts";
import { Memory } from "../../core/memory.ts";
import * as g from "../../plugins/gve/mod.ts";
import { assertDeviceFault } from "./faults.ts";
import { type RawDriver, receiving, transmitting } from "./raw_driver.ts";

/** Where memory with one kind of access is mapped, out of the way of the rest. */
const PAGES = 0x7000_0000_0000;
const FRAME = new Uint8Array(60).fill(7);

/** Maps a page with this access and makes list 2 of it. */
function limited(raw: RawDriver, access: Access): Memory {
  const memory = new Memory(4096);
  raw.host.space.map(PAGES, memory, 0, 4096, access);
  assertEquals(raw.register(2, [PAGES]), g.STATUS.PASSED);
  return memory;
}

Deno.test("transmit pages are only read by the device", () => {
  for (const [access, fault] of [[READ, false], [WRITE, true]] as const) {
    const { raw } = transmitting({ format: "gqi-qpl" });
    limited(raw, access).bytes.set(FRAME);
    assertEquals(raw.command(g.OPCODE.DESTROY_TX_QUEUE, g.destroy_tx_queue), g.STATUS.PASSED);
    const [status, queue] = raw.createTx(64, { queue_page_list_id: 2 });
    assertEquals(status, g.STATUS.PASSED);
    raw.put(queue.ring, g.gve_tx_pkt_desc.encode({ desc_cnt: 1, len: 60, seg_len: 60 }));
    raw.ring(queue, 1);
    if (fault) assertDeviceFault(() => raw.service(), "address");
    else {
      raw.service();
      assertEquals(raw.frames, [FRAME]);
    }
  }
});

Deno.test("receive pages are only written by the device", () => {
  for (const [access, fault] of [[WRITE, false], [READ, true]] as const) {
    const { raw } = receiving({ format: "gqi-qpl" });
    const memory = limited(raw, access);
    assertEquals(raw.command(g.OPCODE.DESTROY_RX_QUEUE, g.destroy_rx_queue), g.STATUS.PASSED);
    const [status, queue] = raw.createRx(64, { queue_page_list_id: 2 });
    assertEquals(status, g.STATUS.PASSED);
    raw.put(queue.ring, g.gve_rx_data_slot.encode({ addr: 2048 }));
    raw.ring(queue, 1);
    if (fault) assertDeviceFault(() => raw.deliver(FRAME), "address");
    else {
      raw.deliver(FRAME);
      assertEquals(memory.bytes.slice(2050, 2110), FRAME);
    }
  }
});
