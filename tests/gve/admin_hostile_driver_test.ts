import { assertEquals } from "@std/assert";
import * as g from "../../plugins/gve/mod.ts";
import { read32, write32 } from "../../plugins/gve/registers.ts";
import { assertDeviceFault } from "./faults.ts";
import { RawDriver, receiving, transmitting } from "./raw_driver.ts";

const { STATUS, OPCODE, RAW_ADDRESSING } = g;
const HUGE = 0x7fff_ffff_f000;
/** The middle of the address space, as iPXE tried: two pages of this size would be all of it. */
const GIANT = 1n << 63n;

Deno.test("D1: an admin doorbell that jumps stops the admin queue", () => {
  const raw = new RawDriver({ format: "gqi-qpl" });
  assertDeviceFault(() => raw.ringAdmin(65), "admin-doorbell");
  // It does nothing any more, until it is attached again.
  assertEquals(raw.command(OPCODE.REPORT_LINK_SPEED, g.report_link_speed), STATUS.UNSET);
  raw.attach();
  assertEquals(raw.configure(), STATUS.PASSED);
});

Deno.test("D1: 64 commands at once are carried out in order", () => {
  const raw = new RawDriver({ format: "gqi-qpl" });
  const slots = Array.from(
    { length: 64 },
    () => raw.post(OPCODE.UNREGISTER_PAGE_LIST, g.unregister_page_list, { page_list_id: 9 }),
  );
  raw.ringAdmin();
  assertEquals(raw.eventCounter, 64);
  for (const slot of slots) {
    assertEquals(g.gve_adminq_command.decode(raw.get(slot, 64))["status"], STATUS.NOT_FOUND);
  }
});

Deno.test("the admin queue must lie in memory", () => {
  const raw = new RawDriver({ format: "gqi-qpl" });
  const pfn = g.gve_registers.offsetOf("adminq_pfn");
  assertDeviceFault(() => write32(raw.device.bar0, pfn, 0x7fffffff), "admin-queue-address");
});

Deno.test("D2: reserved bytes must be zero, but the page size may be anything", () => {
  const raw = new RawDriver({ format: "gqi-qpl" });
  assertEquals(raw.configure({ padding: [0, 0, 1, 0, 0, 0, 0] }), STATUS.INVALID_ARGUMENT);
  assertEquals(raw.configure(), STATUS.PASSED);
  const page = raw.page();
  [0n, 1n, 0xdeadbeefcafen, GIANT].forEach((page_size, i) => {
    assertEquals(raw.register(i, [page], { page_size }), STATUS.PASSED);
  });
  const lenient = new RawDriver({ format: "gqi-qpl", profile: "linux" });
  assertEquals(lenient.configure({ padding: [1, 1, 1, 1, 1, 1, 1] }), STATUS.PASSED);
});

Deno.test("two pages of 2^63 bytes register, and are two pages of 4096", () => {
  const raw = new RawDriver({ format: "gqi-qpl" });
  assertEquals(raw.configure(), STATUS.PASSED);
  assertEquals(raw.register(1, [0n, GIANT], { page_size: GIANT }), STATUS.PASSED);
  assertEquals(raw.device.inspect()["page_lists"], [
    { id: 1, pages: 2, page_size: "0x8000000000000000", users: 0 },
  ]);
  const [status, queue] = raw.createTx();
  assertEquals(status, STATUS.PASSED);
  raw.put(queue.ring, g.gve_tx_pkt_desc.encode({ desc_cnt: 1, len: 60, seg_len: 60, seg_addr: 8192 }));
  raw.ring(queue, 1);
  assertDeviceFault(() => raw.service(), "outside-page-list");
});

Deno.test("D3: create before configure, twice, and destroy of what is not there", () => {
  const raw = new RawDriver({ format: "dqo-rda" });
  assertEquals(raw.createTx()[0], STATUS.FAILED_PRECONDITION);
  assertEquals(raw.createRx()[0], STATUS.FAILED_PRECONDITION);
  assertEquals(
    raw.command(OPCODE.DECONFIGURE_DEVICE_RESOURCES, g.deconfigure_device_resources),
    STATUS.FAILED_PRECONDITION,
  );
  assertEquals(raw.configure(), STATUS.PASSED);
  assertEquals(raw.configure(), STATUS.ALREADY_EXISTS);
  assertEquals(raw.createTx()[0], STATUS.PASSED);
  assertEquals(raw.createTx()[0], STATUS.ALREADY_EXISTS);
  assertEquals(raw.createRx()[0], STATUS.PASSED);
  assertEquals(raw.createRx()[0], STATUS.ALREADY_EXISTS);
  assertEquals(
    raw.command(OPCODE.DECONFIGURE_DEVICE_RESOURCES, g.deconfigure_device_resources),
    STATUS.FAILED_PRECONDITION,
  );
  assertEquals(raw.command(OPCODE.DESTROY_TX_QUEUE, g.destroy_tx_queue, { queue_id: 3 }), STATUS.NOT_FOUND);
  assertEquals(raw.command(OPCODE.DESTROY_TX_QUEUE, g.destroy_tx_queue), STATUS.PASSED);
  assertEquals(raw.command(OPCODE.DESTROY_TX_QUEUE, g.destroy_tx_queue), STATUS.NOT_FOUND);
  assertEquals(raw.command(OPCODE.DESTROY_RX_QUEUE, g.destroy_rx_queue), STATUS.PASSED);
  assertEquals(
    raw.command(OPCODE.DECONFIGURE_DEVICE_RESOURCES, g.deconfigure_device_resources),
    STATUS.PASSED,
  );
});

Deno.test("D3: a page list is unchangeable once registered, and stays while a queue uses it", () => {
  const raw = new RawDriver({ format: "gqi-qpl" });
  assertEquals(raw.configure(), STATUS.PASSED);
  const pages = [raw.page(), raw.page()];
  assertEquals(raw.createTx()[0], STATUS.NOT_FOUND, "a queue needs its list first");
  assertEquals(raw.register(1, pages), STATUS.PASSED);
  assertEquals(raw.register(1, [raw.page()]), STATUS.ALREADY_EXISTS);
  assertEquals(raw.createTx()[0], STATUS.PASSED);
  const unregister = () =>
    raw.command(OPCODE.UNREGISTER_PAGE_LIST, g.unregister_page_list, { page_list_id: 1 });
  assertEquals(unregister(), STATUS.FAILED_PRECONDITION);
  assertEquals(raw.command(OPCODE.DESTROY_TX_QUEUE, g.destroy_tx_queue), STATUS.PASSED);
  assertEquals(unregister(), STATUS.PASSED);
  assertEquals(unregister(), STATUS.NOT_FOUND);
});

Deno.test("a page list is copied when it is registered: later changes of the array have no effect", () => {
  const raw = new RawDriver({ format: "gqi-qpl" });
  assertEquals(raw.configure(), STATUS.PASSED);
  const [right, wrong, list] = [raw.page(), raw.page(), raw.page()];
  raw.put(list, g.gve_page_list_entry.encode({ addr: right }));
  raw.put(right, new Uint8Array(60).fill(1));
  raw.put(wrong, new Uint8Array(60).fill(2));
  const values = { page_list_id: 1, num_pages: 1, page_address_list_addr: list };
  assertEquals(raw.command(OPCODE.REGISTER_PAGE_LIST, g.register_page_list, values), STATUS.PASSED);
  raw.put(list, g.gve_page_list_entry.encode({ addr: wrong }));
  const [, queue] = raw.createTx();
  raw.put(queue.ring, g.gve_tx_pkt_desc.encode({ desc_cnt: 1, len: 60, seg_len: 60 }));
  raw.ring(queue, 1);
  raw.service();
  assertEquals(raw.frames, [new Uint8Array(60).fill(1)]);
});

Deno.test("D4: queue numbers, notify blocks and addresses must be the device's", () => {
  const raw = new RawDriver({ format: "dqo-rda" });
  assertEquals(raw.configure({ counter_array: HUGE }), STATUS.INVALID_ARGUMENT);
  assertEquals(raw.configure({ irq_db_addr: HUGE }), STATUS.INVALID_ARGUMENT);
  assertEquals(raw.configure({ num_irq_dbs: 0xffffffff }), STATUS.OUT_OF_RANGE);
  assertEquals(raw.configure({ irq_db_stride: 0 }), STATUS.INVALID_ARGUMENT);
  assertEquals(raw.configure({ queue_format: 2 }), STATUS.INVALID_ARGUMENT, "a format that is not offered");
  assertEquals(raw.configure(), STATUS.PASSED);
  assertEquals(raw.createTx(64, { queue_id: 1 })[0], STATUS.OUT_OF_RANGE);
  assertEquals(raw.createTx(64, { ntfy_id: 4 })[0], STATUS.OUT_OF_RANGE);
  assertEquals(raw.createTx(64, { queue_resources_addr: HUGE })[0], STATUS.INVALID_ARGUMENT);
  assertEquals(raw.createTx(64, { tx_ring_addr: HUGE })[0], STATUS.INVALID_ARGUMENT);
  assertEquals(raw.createTx(64, { tx_comp_ring_addr: HUGE })[0], STATUS.INVALID_ARGUMENT);
  assertEquals(raw.createRx(64, { rx_desc_ring_addr: HUGE })[0], STATUS.INVALID_ARGUMENT);
  assertEquals(raw.createRx(64, { rx_data_ring_addr: HUGE })[0], STATUS.INVALID_ARGUMENT);
  assertEquals(raw.createRx(64, { packet_buffer_size: 16384 })[0], STATUS.OUT_OF_RANGE, "14 bits of length");
});

Deno.test("D4: without interrupt cells there is one queue only, as iPXE saw", () => {
  const raw = new RawDriver({ format: "dqo-rda" });
  assertEquals(raw.configure({ num_irq_dbs: 0 }), STATUS.PASSED);
  assertEquals(raw.createTx()[0], STATUS.PASSED);
  assertEquals(raw.createRx(64, { ntfy_id: 0 })[0], STATUS.RESOURCE_EXHAUSTED);
});

Deno.test("D5: ring sizes are powers of two within bounds; GQI may leave them out", () => {
  const raw = new RawDriver({ format: "dqo-rda" });
  assertEquals(raw.configure(), STATUS.PASSED);
  for (const size of [0, 63, 100]) assertEquals(raw.createTx(size)[0], STATUS.INVALID_ARGUMENT, `${size}`);
  assertEquals(raw.createTx(16)[0], STATUS.OUT_OF_RANGE);
  assertEquals(raw.createRx(96)[0], STATUS.INVALID_ARGUMENT);
  const gqi = new RawDriver({ "format": "gqi-rda", "tx-ring": "256" });
  assertEquals(gqi.configure(), STATUS.PASSED);
  assertEquals(gqi.createTx(0)[0], STATUS.PASSED);
});

Deno.test("D6: raw addressing is list 0xFFFFFFFF, except that DQO_QPL takes it too", () => {
  for (
    const [format, status] of [["gqi-qpl", STATUS.INVALID_ARGUMENT], ["dqo-qpl", STATUS.PASSED]] as const
  ) {
    const raw = new RawDriver({ format });
    assertEquals(raw.configure(), STATUS.PASSED);
    assertEquals(raw.register(1, [raw.page()]), STATUS.PASSED);
    assertEquals(raw.createTx(64, { queue_page_list_id: RAW_ADDRESSING })[0], status, format);
    assertEquals(
      raw.createTx(64, { queue_page_list_id: 77, queue_id: 0 })[0],
      format === "gqi-qpl" ? STATUS.NOT_FOUND : STATUS.ALREADY_EXISTS,
    );
  }
  const raw = new RawDriver({ format: "gqi-rda" });
  assertEquals(raw.configure(), STATUS.PASSED);
  assertEquals(raw.register(1, [raw.page()]), STATUS.PASSED);
  assertEquals(raw.createTx(64, { queue_page_list_id: 1 })[0], STATUS.INVALID_ARGUMENT);
});

Deno.test("D7: page lists have a limit, and no memory is taken before it is known", () => {
  const raw = new RawDriver({ format: "gqi-qpl" });
  assertEquals(raw.register(1, [raw.page()], { num_pages: 0xffffffff }), STATUS.RESOURCE_EXHAUSTED);
  assertEquals(raw.register(1, [raw.page()], { num_pages: 0 }), STATUS.INVALID_ARGUMENT);
  assertEquals(raw.register(1, [raw.page()], { page_address_list_addr: HUGE }), STATUS.INVALID_ARGUMENT);
  assertEquals(raw.register(RAW_ADDRESSING, [raw.page()]), STATUS.INVALID_ARGUMENT);
});

Deno.test("D8: pages are aligned to 4096 bytes", () => {
  const raw = new RawDriver({ format: "gqi-qpl" });
  assertEquals(raw.register(1, [raw.page() + 64]), STATUS.INVALID_ARGUMENT);
});

Deno.test("commands without a meaning here are UNIMPLEMENTED", () => {
  const raw = new RawDriver({ format: "dqo-rda" });
  const opcodes = [
    0,
    OPCODE.QUERY_FLOW_RULES,
    OPCODE.REPORT_NIC_TIMESTAMP,
    OPCODE.EXTENDED_COMMAND,
    0x13,
    0xffffffff,
  ];
  for (const opcode of opcodes) {
    assertEquals(raw.command(opcode, g.gve_adminq_command), STATUS.UNIMPLEMENTED, `${opcode}`);
  }
});

Deno.test("DESCRIBE_DEVICE wants version 1, room and memory", () => {
  const raw = new RawDriver({ format: "dqo-rda" });
  const values = { device_descriptor_addr: raw.page(), device_descriptor_version: 1, available_length: 4096 };
  const describe = (change: Record<string, number>) =>
    raw.command(OPCODE.DESCRIBE_DEVICE, g.describe_device, { ...values, ...change });
  assertEquals(describe({}), STATUS.PASSED);
  assertEquals(describe({ device_descriptor_version: 2 }), STATUS.INVALID_ARGUMENT);
  assertEquals(describe({ available_length: 40 }), STATUS.OUT_OF_RANGE);
  assertEquals(describe({ device_descriptor_addr: HUGE }), STATUS.INVALID_ARGUMENT);
});

Deno.test("settings, statistics and link speed are checked", () => {
  const raw = new RawDriver({ format: "dqo-rda" });
  const mtu = (parameter_value: number, parameter_type = 1) =>
    raw.command(OPCODE.SET_DRIVER_PARAMETER, g.set_driver_parameter, { parameter_type, parameter_value });
  assertEquals([mtu(1500), mtu(67), mtu(1 << 20), mtu(1500, 2)], [
    STATUS.PASSED,
    STATUS.OUT_OF_RANGE,
    STATUS.OUT_OF_RANGE,
    STATUS.INVALID_ARGUMENT,
  ]);
  const report = (stats_report_len: number, stats_report_addr: number) =>
    raw.command(OPCODE.REPORT_STATS, g.report_stats, { stats_report_len, stats_report_addr });
  assertEquals([report(8, raw.page()), report(8, HUGE), report(4, raw.page()), report(0, 0)], [
    STATUS.PASSED,
    STATUS.INVALID_ARGUMENT,
    STATUS.INVALID_ARGUMENT,
    STATUS.PASSED,
  ]);
  const speed = (link_speed_address: number) =>
    raw.command(OPCODE.REPORT_LINK_SPEED, g.report_link_speed, { link_speed_address });
  assertEquals([speed(raw.page()), speed(HUGE)], [STATUS.PASSED, STATUS.INVALID_ARGUMENT]);
  const types = (ptype_map_len: number) =>
    raw.command(OPCODE.GET_PTYPE_MAP, g.get_ptype_map, { ptype_map_len, ptype_map_addr: raw.page() });
  assertEquals(types(2048), STATUS.FAILED_PRECONDITION);
  raw.configure();
  assertEquals([types(2047), types(2048)], [STATUS.OUT_OF_RANGE, STATUS.PASSED]);
});

Deno.test("CONFIGURE_RSS is checked, and QUERY_RSS tells what holds", () => {
  const raw = new RawDriver({ format: "dqo-rda", queues: 4 });
  raw.configure();
  const [key, table, answer] = [raw.page(), raw.page(), raw.page()];
  raw.put(key, new Uint8Array(40).fill(5));
  raw.put(table, g.gve_rss_lut_entry.encode({ queue: 3 }));
  const base = {
    hash_alg: 1,
    hash_types: 3,
    hash_key_size: 40,
    hash_lut_size: 128,
    hash_key_addr: key,
    hash_lut_addr: table,
  };
  const set = (change: Record<string, number>) =>
    raw.command(OPCODE.CONFIGURE_RSS, g.configure_rss, { ...base, ...change });
  assertEquals(set({}), STATUS.PASSED);
  assertEquals(set({ hash_alg: 2 }), STATUS.INVALID_ARGUMENT);
  assertEquals(set({ hash_types: 0x8000 }), STATUS.INVALID_ARGUMENT);
  assertEquals(set({ hash_key_size: 41 }), STATUS.INVALID_ARGUMENT);
  assertEquals(set({ hash_lut_size: 64 }), STATUS.INVALID_ARGUMENT);
  assertEquals(set({ hash_lut_addr: HUGE }), STATUS.INVALID_ARGUMENT);
  raw.put(table, g.gve_rss_lut_entry.encode({ queue: 4 }));
  assertEquals(set({}), STATUS.OUT_OF_RANGE);
  const query = (available_length: number) =>
    raw.command(OPCODE.QUERY_RSS, g.query_rss, { available_length, rss_descriptor_addr: answer });
  assertEquals([query(559), query(560)], [STATUS.OUT_OF_RANGE, STATUS.PASSED]);
  const header = g.gve_query_rss_descriptor.decode(raw.get(answer, 8));
  assertEquals(header, { total_length: 560, hash_types: 3, hash_alg: 1, reserved: 0 });
  assertEquals(raw.get(answer + 8, 40), new Uint8Array(40).fill(5));
  assertEquals(raw.get(answer + 48, 4), g.gve_rss_lut_entry.encode({ queue: 3 }));
});

Deno.test("a wedged queue cannot be destroyed, and a reset undoes everything", () => {
  const { raw, queue } = transmitting({ format: "dqo-rda" });
  raw.ring(queue, 64);
  assertDeviceFault(() => raw.service(), "doorbell-beyond-ring");
  assertEquals(raw.service(), 0);
  assertEquals(raw.command(OPCODE.DESTROY_TX_QUEUE, g.destroy_tx_queue), STATUS.FAILED_PRECONDITION);
  write32(raw.device.bar0, g.gve_registers.offsetOf("adminq_pfn"), 0);
  assertEquals(read32(raw.device.bar0, g.gve_registers.offsetOf("adminq_pfn")), 0);
  assertEquals(raw.eventCounter, 0);
  raw.attach();
  assertEquals(raw.configure(), STATUS.PASSED);
  assertEquals(raw.createTx()[0], STATUS.PASSED);
});

Deno.test("a reset while busy leaves nothing of what was posted", () => {
  const { raw, queue } = receiving({ format: "dqo-rda" });
  raw.put(queue.ring, g.gve_rx_desc_dqo.encode({ buf_id: 1, buf_addr: raw.page() }));
  raw.ring(queue, 1);
  write32(raw.device.bar0, g.gve_registers.offsetOf("driver_status"), 2);
  assertEquals(read32(raw.device.bar0, 0) & g.DEVICE_STATUS.IN_RESET, g.DEVICE_STATUS.IN_RESET);
  assertEquals(raw.deliver(new Uint8Array(60)), -1);
  assertEquals(raw.get(queue.completions, 32), new Uint8Array(32));
});

Deno.test("memory that a queue lies in stays mapped", () => {
  for (const format of ["gqi-rda", "dqo-rda"]) {
    const tx = transmitting({ format });
    const rx = receiving({ format });
    for (const { raw } of [tx, rx]) raw.host.space.clear();
    assertDeviceFault(() => tx.raw.service(), "memory-gone");
    assertEquals(tx.raw.service(), 0);
    assertDeviceFault(() => rx.raw.deliver(new Uint8Array(60)), "memory-gone");
    assertEquals(rx.raw.deliver(new Uint8Array(60)), -1);
  }
});
