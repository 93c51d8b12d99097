import { assert, assertEquals } from "@std/assert";
import { featureMask } from "../../plugins/virtio/features.ts";
import { BASE, FEATURES, openModern } from "./modern_device.ts";
import { COMMON, type CommonRegister, windows } from "./modern_registers.ts";
import { RawRing, WRITE } from "./raw_ring.ts";

Deno.test("configuration space says virtio, and lists windows that lie apart in one BAR", () => {
  const { pci, device } = openModern();
  const view = pci.config.view;
  assertEquals([view.getUint16(0, true), view.getUint16(2, true)], [0x1af4, 0x1041]);
  // Status: a capability list. Revision 1, an Ethernet controller; subsystem 0x40.
  assertEquals([view.getUint16(6, true), view.getUint32(8, true)], [0x10, 0x0200_0001]);
  assertEquals([view.getUint16(0x2c, true), view.getUint16(0x2e, true)], [0x1af4, 0x40]);
  const all = windows(pci.config.bytes);
  assertEquals(all.map(({ type }) => type).sort(), [1, 2, 3, 4, 5]);
  const found = all.filter(({ type }) => type !== 5);
  for (const { at, bar } of found) assertEquals([pci.config.bytes[at], bar <= 5], [9, true]);
  const sorted = found.toSorted((a, b) => a.offset - b.offset);
  for (let i = 1; i < sorted.length; i++) {
    assert(sorted[i - 1]!.offset + sorted[i - 1]!.length <= sorted[i]!.offset);
  }
  const length = (type: number) => found.find((window) => window.type === type)!.length;
  assertEquals([length(1), length(3), length(4)], [64, 1, 24]);
  const notify = found.find(({ type }) => type === 2)!;
  const multiplier = view.getUint32(notify.at + 16, true);
  assertEquals([notify.capLength, multiplier], [20, 4]);
  assert(notify.length >= (device.queues.length - 1) * multiplier + 4);
});

Deno.test("registers have their values after reset", () => {
  const { registers } = openModern();
  const expected: Partial<Record<CommonRegister, number>> = {
    num_queues: 3,
    queue_size: 8,
    config_msix_vector: 0xffff,
    queue_msix_vector: 0xffff,
    driver_feature: 0,
  };
  registers.set("device_feature_select", 9);
  for (const name of Object.keys(COMMON) as CommonRegister[]) {
    const wanted = name === "device_feature_select" ? 9 : expected[name] ?? 0;
    assertEquals(registers.get(name), wanted, name);
  }
});

Deno.test("registers answer accesses of their own width only", () => {
  const { registers, pci } = openModern();
  registers.set("queue_select", 1);
  for (const [name, [offset, width]] of Object.entries(COMMON)) {
    for (const other of [1, 2, 4].filter((other) => other !== width)) {
      assertEquals(pci.read(registers.common + offset, other), 2 ** (8 * other) - 1, `${name} ${other}`);
    }
  }
  // A write of another width changes nothing: neither the status, nor the registers beside it.
  pci.write(registers.common + 20, 4, 0xffff_ffff);
  pci.write(registers.common + 20, 2, 0x0101);
  pci.write(registers.common + 22, 1, 2);
  assertEquals([registers.get("device_status"), registers.get("queue_select")], [0, 1]);
  assertEquals(pci.read(registers.common + 1, 4), 0xffff_ffff);
  assertEquals(pci.read(0xfff0, 4), 0xffff_ffff);
});

Deno.test("read-only registers and the configuration stay as they are", () => {
  const { registers, pci } = openModern();
  const names = ["device_feature", "num_queues", "config_generation", "queue_notify_off"] as const;
  const before = names.map((name) => registers.get(name));
  for (const name of names) registers.set(name, 0x55);
  pci.write(registers.device, 1, 0xff);
  assertEquals(names.map((name) => registers.get(name)), before);
  assertEquals(pci.read(registers.device, 1), 2);
});

Deno.test("the device configuration has address, link, pairs and MTU, at any width", () => {
  const { registers, pci } = openModern(FEATURES | featureMask("MTU"));
  const at = registers.device;
  assertEquals([0, 1, 2, 3, 4, 5].map((i) => pci.read(at + i, 1)), [2, 4, 6, 8, 10, 12]);
  assertEquals(pci.read(at, 4), 0x08060402);
  assertEquals([pci.read(at + 6, 2), pci.read(at + 8, 2), pci.read(at + 10, 2)], [1, 1, 65535]);
  assertEquals(pci.read(at + 22, 4), 0xffff_ffff);
});

Deno.test("config_generation moves when a command has changed the address, and the configuration shows it", () => {
  const { host, registers, pci } = openModern();
  registers.negotiate(FEATURES);
  assert(registers.startQueue(2, 8, BASE, BASE + 0x1000, BASE + 0x2000));
  registers.set("device_status", 15);
  const before = registers.get("config_generation");
  assertEquals(registers.get("config_generation"), before);
  host.memory.bytes.set([1, 1, 9, 8, 7, 6, 5, 4], 0x4000);
  const ring = new RawRing(host.memory.view, 8, 0, 0x1000, 0x2000);
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 8 }, { addr: BASE + 0x5000, len: 1, flags: WRITE }));
  registers.ring(2);
  assertEquals(pci.read(registers.device, 4), 0x06070809);
  assert(registers.get("config_generation") !== before);
});
