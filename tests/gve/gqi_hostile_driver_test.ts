import { assertEquals } from "@std/assert";
import type { ValuesInput } from "../../core/layout.ts";
import { NO_BUFFERS, OVERSIZE } from "../../core/plugin.ts";
import * as g from "../../plugins/gve/mod.ts";
import { wireTo } from "./both_ways.ts";
import { assertDeviceFault } from "./faults.ts";
import { RawDriver, type RawQueue, receiving, transmitting } from "./raw_driver.ts";

const SEG = g.GQI_TYPE.SEG;
const MTD = g.GQI_TYPE.MTD;
const TSO = g.GQI_TYPE.TSO;

/** Puts descriptors at index 0, and rings. */
function send(
  raw: RawDriver,
  queue: RawQueue,
  descriptors: readonly Uint8Array[],
  count = descriptors.length,
): void {
  descriptors.forEach((bytes, i) => raw.put(queue.ring + i * 16, bytes));
  raw.ring(queue, count);
}

function packet(values: ValuesInput): Uint8Array {
  return g.gve_tx_pkt_desc.encode({ desc_cnt: 1, len: 60, seg_len: 60, ...values });
}

function segment(values: ValuesInput): Uint8Array {
  return g.gve_tx_seg_desc.encode({ type_flags: SEG, seg_len: 60, ...values });
}

/** What the device says to descriptors of a page list queue. */
function refused(code: g.DeviceFault, ...descriptors: readonly Uint8Array[]): void {
  const { raw, queue } = transmitting({ "format": "gqi-qpl", "tx-ring": "256" });
  send(raw, queue, descriptors);
  assertDeviceFault(() => raw.service(), code);
  assertEquals(raw.frames, [], "nothing went out");
  assertEquals(raw.service(), 0, "the queue is stopped");
}

Deno.test("a GQI doorbell beyond the ring stops the queue", () => {
  for (const count of [65, 0xffffffff]) {
    const { raw, queue } = transmitting({ format: "gqi-qpl" });
    raw.ring(queue, count);
    assertDeviceFault(() => raw.service(), "doorbell-beyond-ring");
  }
});

Deno.test("D9: a packet starts with STD or TSO, then MTD at most once, then SEG", () => {
  refused("descriptor-type", segment({}));
  refused("descriptor-type", packet({ type_flags: MTD }));
  refused("descriptor-type", packet({ type_flags: 0x40 }));
  refused("descriptor-type", packet({ desc_cnt: 2, len: 120 }), packet({}));
  const metadata = g.gve_tx_mtd_desc.encode({ type_flags: MTD });
  refused("descriptor-type", packet({ desc_cnt: 3, len: 120 }), metadata, metadata);
  refused("descriptor-type", packet({ desc_cnt: 3, len: 120 }), segment({}), metadata);
});

Deno.test("D23: what is reserved in metadata is zero; in a plain segment it is what the slot held", () => {
  const data = { desc_cnt: 3, len: 120 };
  const metadata = (values: ValuesInput) =>
    g.gve_tx_mtd_desc.encode({ type_flags: MTD, path_state: 0x10, path_hash: 7, ...values });
  refused("reserved-bits", packet(data), metadata({ reserved0: 1 }), segment({}));
  refused("reserved-bits", packet(data), metadata({ reserved1: 1 }), segment({}));
  refused("reserved-bits", packet(data), metadata({ reserved1: "0x8000000000000000" }), segment({}));
  const { raw, queue } = transmitting({ format: "gqi-qpl", profile: "linux" });
  send(raw, queue, [packet(data), metadata({ reserved0: 1 }), segment({ seg_addr: 64 })]);
  assertEquals(raw.service(), 3);
  const stale = transmitting({ format: "gqi-qpl" });
  const held = { l3_offset: 7, reserved: 0xffff, mss: 0x5a8, seg_addr: 64 };
  send(stale.raw, stale.queue, [packet(data), metadata({}), segment(held)]);
  assertEquals(stale.raw.service(), 3);
  assertEquals(stale.raw.frames.map(({ length }) => length), [120]);
});

Deno.test("D9: desc_cnt is the number of descriptors", () => {
  refused("descriptor-count", packet({ desc_cnt: 0 }));
  refused("descriptor-count", packet({ desc_cnt: 65 }));
  // Too small: the segment behind is taken for a packet.
  const { raw, queue } = transmitting({ format: "gqi-qpl" });
  send(raw, queue, [packet({}), segment({})]);
  assertDeviceFault(() => raw.service(), "descriptor-type");
  assertEquals(raw.frames.length, 1);
  assertEquals(raw.get(queue.counter, 4), g.gve_event_counter.encode({ count: 1 }), "the first one is done");
});

Deno.test("D9: the device waits for descriptors that were not announced yet", () => {
  const { raw, queue } = transmitting({ format: "gqi-qpl" });
  send(raw, queue, [packet({ desc_cnt: 2, len: 120 }), segment({ seg_addr: 64 })], 1);
  assertEquals(raw.service(), 0);
  assertEquals(raw.frames, []);
  raw.ring(queue, 2);
  assertEquals(raw.service(), 2);
  assertEquals(raw.frames.map(({ length }) => length), [120]);
});

Deno.test("D10: segments are not empty, and add up to the length", () => {
  refused("zero-length", packet({ seg_len: 0 }));
  refused("zero-length", packet({ desc_cnt: 2 }), segment({ seg_len: 0 }));
  refused("length-mismatch", packet({ len: 61 }));
  refused("length-mismatch", packet({ desc_cnt: 2, len: 60 }), segment({}));
});

Deno.test("D10: offsets lie in the page list", () => {
  const size = 4 * 4096;
  refused("outside-page-list", packet({ seg_addr: size }));
  refused("outside-page-list", packet({ seg_addr: size - 59 }));
  refused("outside-page-list", packet({ seg_addr: "0xffffffffffffffff" }));
  refused("outside-page-list", packet({ desc_cnt: 2, len: 120 }), segment({ seg_addr: size - 1 }));
  const { raw, queue } = transmitting({ format: "gqi-qpl" });
  send(raw, queue, [packet({ seg_addr: size - 60 })]);
  assertEquals(raw.service(), 1, "the last byte of the list is its last");
});

Deno.test("a segment may cross pages that do not follow one another in memory", () => {
  const { raw, queue, list } = transmitting({ format: "gqi-qpl" });
  raw.put(list[0]! + 4000, new Uint8Array(96).fill(1));
  raw.put(list[1]!, new Uint8Array(104).fill(2));
  send(raw, queue, [packet({ len: 200, seg_len: 200, seg_addr: 4000 })]);
  raw.service();
  assertEquals(raw.frames, [Uint8Array.from({ length: 200 }, (_, i) => i < 96 ? 1 : 2)]);
});

Deno.test("D10: raw addresses lie in memory that the device may read", () => {
  for (const seg_addr of [0, 4096, "0xffffffffffffffff", 0x7fff_ffff_f000]) {
    const { raw, queue } = transmitting({ format: "gqi-rda" });
    send(raw, queue, [packet({ seg_addr })]);
    assertDeviceFault(() => raw.service(), "address");
  }
  const { raw, queue } = transmitting({ format: "gqi-rda" });
  const end = raw.host.dma.region.end;
  send(raw, queue, [packet({ seg_addr: end - 59 })]);
  assertDeviceFault(() => raw.service(), "address");
});

Deno.test("D12: a TSO packet has segments, an mss and headers of TCP in its first descriptor", () => {
  const headers = packet({ type_flags: TSO | 1, len: 54, seg_len: 54 });
  refused("segment-missing", headers);
  const whole = { type_flags: TSO | 1, desc_cnt: 2, len: 114, seg_len: 54 };
  refused("tso", packet(whole), segment({ mss: 0 }));
  refused("tso", packet(whole), segment({ mss: 20 }));
});

Deno.test("a checksum field lies in its packet", () => {
  refused("checksum-offset", packet({ type_flags: 1, l4_hdr_offset: 30, l4_csum_offset: 0 }));
  refused("checksum-offset", packet({ type_flags: 1, l4_hdr_offset: 255, l4_csum_offset: 255 }));
});

Deno.test("limits=nic: 18 descriptors per packet", () => {
  const { raw, queue } = transmitting({ format: "gqi-qpl", limits: "nic" });
  const many = Array.from({ length: 18 }, () => segment({}));
  send(raw, queue, [packet({ desc_cnt: 19, len: 19 * 60 }), ...many]);
  assertDeviceFault(() => raw.service(), "descriptor-limit");
});

Deno.test("limits=nic: offsets in a transmit page list have 24 bits, in batches too", () => {
  const end = 2 ** 24;
  const beyond = [
    [packet({ seg_addr: end - 59 })],
    [packet({ seg_addr: end })],
    [packet({ desc_cnt: 2, len: 61 }), segment({ seg_len: 1, seg_addr: end })],
  ];
  for (const limits of ["fields", "nic"]) {
    for (const over of beyond) {
      for (const batches of [false, true]) {
        const raw = new RawDriver({ format: "gqi-qpl", limits });
        raw.configure();
        const pages = end / 4096 + 1;
        const addresses = raw.pages(9);
        const page = g.gve_page_list_entry.encode({ addr: raw.buffer });
        for (let i = 0; i < pages; i++) raw.put(addresses + i * page.length, page);
        const values = { page_list_id: 1, num_pages: pages, page_address_list_addr: addresses };
        const status = raw.command(g.OPCODE.REGISTER_PAGE_LIST, g.register_page_list_24, values);
        assertEquals(status, g.STATUS.PASSED);
        const [created, queue] = raw.createTx();
        assertEquals(created, g.STATUS.PASSED);
        send(raw, queue, [packet({ seg_addr: end - 60 }), ...over]);
        const service = () => raw.device.service(wireTo(raw.frames, () => Infinity, batches));
        if (limits === "nic") assertDeviceFault(service, "outside-page-list");
        else service();
        assertEquals(raw.frames.length, limits === "nic" ? 1 : 2);
      }
    }
  }
});

Deno.test("D13: a GQI receive doorbell announces no more than the ring holds", () => {
  for (const format of ["gqi-qpl", "gqi-rda"]) {
    const { raw, queue } = receiving({ format });
    raw.ring(queue, 65);
    assertDeviceFault(() => raw.deliver(new Uint8Array(60)), "doorbell-beyond-ring");
    assertEquals(raw.deliver(new Uint8Array(60)), -1, "the queue is stopped");
  }
});

Deno.test("D14: a receive slot lies in the page list with its whole buffer", () => {
  for (const addr of [4 * 4096, 4 * 4096 - 2047, "0xffffffffffffffff"]) {
    const { raw, queue } = receiving({ format: "gqi-qpl" });
    raw.put(queue.ring, g.gve_rx_data_slot.encode({ addr }));
    raw.ring(queue, 1);
    assertDeviceFault(() => raw.deliver(new Uint8Array(60)), "outside-page-list");
    assertEquals(raw.get(queue.completions, 64), new Uint8Array(64), "nothing was published");
  }
});

Deno.test("a raw receive buffer lies in memory that the device may write", () => {
  for (const addr of [0, 0x7fff_ffff_f000]) {
    const { raw, queue } = receiving({ format: "gqi-rda" });
    raw.put(queue.ring, g.gve_rx_data_slot.encode({ addr }));
    raw.ring(queue, 1);
    assertDeviceFault(() => raw.deliver(new Uint8Array(60)), "address");
  }
});

Deno.test("GQI receive: two bytes of padding, slots of 2048, sequence 1 to 7, the first descriptor last", () => {
  const { raw, queue, list } = receiving({ format: "gqi-qpl" });
  for (let i = 0; i < 8; i++) raw.put(queue.ring + i * 8, g.gve_rx_data_slot.encode({ addr: i * 2048 }));
  raw.ring(queue, 8);
  const frame = Uint8Array.from({ length: 5000 }, (_, i) => i * 7);
  assertEquals(raw.deliver(frame), 0);
  const described = (i: number) => g.gve_rx_desc.decode(raw.get(queue.completions + i * 64, 64));
  const flags = (i: number) => {
    const { seq, pkt_cont } = g.gve_rx_flags_seq.decode(raw.get(queue.completions + i * 64 + 62, 2));
    return [described(i)["len"], seq, pkt_cont];
  };
  assertEquals([flags(0), flags(1), flags(2), flags(3)], [[2048, 1, 1], [2048, 2, 1], [906, 3, 0], [
    0,
    0,
    0,
  ]]);
  assertEquals(raw.get(list[0]! + 2, 2046), frame.slice(0, 2046));
  assertEquals(raw.get(list[0]! + 2048, 2048), frame.slice(2046, 4094));
  assertEquals(raw.get(list[1]!, 906), frame.slice(4094));
  for (let i = 0; i < 4; i++) assertEquals(raw.deliver(new Uint8Array(60)), 0);
  assertEquals([3, 4, 5, 6].map((i) => flags(i)[1]), [4, 5, 6, 7]);
  assertEquals(raw.deliver(new Uint8Array(60)), 0);
  assertEquals(flags(7)[1], 1, "7 is followed by 1");
  assertEquals(raw.deliver(new Uint8Array(60)), -1, "no slot is left");
});

Deno.test("a frame that the wire does not take stays on the ring", () => {
  const { raw, queue } = transmitting({ format: "gqi-qpl" });
  send(raw, queue, [packet({}), packet({})]);
  raw.open = false;
  assertEquals(raw.service(), 0);
  assertEquals(raw.get(queue.counter, 4), new Uint8Array(4));
  raw.open = true;
  assertEquals(raw.service(), 2);
  assertEquals(raw.frames.length, 2);
});

Deno.test("deliver() tells frames that can never fit, and ends empty ones", () => {
  for (const format of ["gqi-rda", "dqo-rda"]) {
    const { raw } = receiving({ format });
    assertEquals(raw.deliver(new Uint8Array(64 * 2048 + 1)), OVERSIZE, format);
    assertEquals(raw.deliver(new Uint8Array(60 * 2048)), NO_BUFFERS, format);
    assertEquals(raw.deliver(new Uint8Array(0)), 0, format);
    assertEquals(raw.device.counters()["device.rx.runts"], 1, format);
  }
});
