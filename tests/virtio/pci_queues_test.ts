import { assert, assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { BASE, FEATURES, openModern } from "./modern_device.ts";
import { ModernRegisters } from "./modern_registers.ts";
import { RawRing, WRITE } from "./raw_ring.ts";

Deno.test("a queue's size may be any power of two up to the largest, and is the largest after reset", () => {
  const { registers } = openModern(FEATURES, 32768);
  registers.negotiate(FEATURES);
  registers.set("queue_select", 0);
  for (let size = 1; size <= 32768; size *= 2) {
    registers.set("queue_size", size);
    assertEquals(registers.get("queue_size"), size);
  }
  for (const bad of [0, 3, 6, 65535]) {
    registers.set("queue_size", bad);
    assertEquals(registers.get("queue_size"), 32768);
  }
  registers.set("queue_size", 4);
  registers.set("device_status", 0);
  assertEquals(registers.get("queue_size"), 32768);
});

Deno.test("a queue that does not exist has size 0 and takes nothing", () => {
  const { registers } = openModern();
  registers.negotiate(FEATURES);
  registers.set("queue_select", 3);
  registers.set("queue_size", 4);
  registers.set("queue_enable", 1);
  registers.set("queue_reset", 1);
  assertEquals([registers.get("queue_size"), registers.get("queue_enable")], [0, 0]);
  registers.set("device_status", 15);
  for (const bell of [3, 0xffff]) registers.ring(bell);
});

Deno.test("a queue is enabled after FEATURES_OK only, and does not change while it is", () => {
  const { registers, device } = openModern();
  assert(!registers.startQueue(1, 8, BASE, BASE + 0x1000, BASE + 0x2000));
  registers.negotiate(FEATURES);
  assert(registers.startQueue(1, 4, BASE, BASE + 0x1000, BASE + 0x2000));
  registers.set("queue_size", 8);
  registers.set("queue_desc_lo", 16);
  registers.set("queue_enable", 0);
  assertEquals(
    [registers.get("queue_size"), registers.get("queue_desc_lo"), registers.get("queue_enable")],
    [4, BASE, 1],
  );
  assertEquals(device.queues[1]!.size, 4);
});

Deno.test("a queue that cannot start leaves queue_enable 0 and asks for a reset", () => {
  for (
    const [desc, driver, used] of [
      [BASE + 8, BASE + 0x1000, BASE + 0x2000],
      [BASE, BASE + 0x1001, BASE + 0x2000],
      [BASE, BASE + 0x1000, BASE + 0x2002],
      [BASE, BASE + 0x1000, BASE + 0x2000 + 2 ** 40],
    ] as const
  ) {
    const { registers } = openModern();
    registers.negotiate(FEATURES);
    assert(!registers.startQueue(1, 8, desc, driver, used));
    assertEquals(registers.get("device_status"), 11 | 64);
  }
});

Deno.test("the control queue follows all pairs; without MQ and RSS there is one pair, and it is queue 2", () => {
  const pairs = featureMask("MQ", "RSS");
  for (
    const [accepted, index] of [[0n, 2], [featureMask("MQ"), 6], [featureMask("RSS"), 6], [pairs, 6]] as const
  ) {
    const host = new LocalHost({ dmaSize: 1 << 16 });
    const device = new VirtioNetDevice({
      features: FEATURES | pairs,
      rings: host.space,
      buffers: host.space,
      queuePairs: 3,
      maxQueueSize: 128,
      maxRxQueueSize: 32,
    });
    const pci = new ModernPciDevice(device);
    const registers = new ModernRegisters(pci.config.bytes, pci);
    const interrupts: number[] = [];
    pci.interrupt = (queue) => void interrupts.push(queue);
    // Twice: what one driver has declined, the next may accept.
    for (let round = 0; round < 2; round++) {
      assert(registers.negotiate(FEATURES | accepted));
      registers.set("queue_select", index);
      assertEquals([registers.get("num_queues"), registers.get("queue_size")], [7, 128]);
      assert(registers.startQueue(index, 8, BASE, BASE + 0x1000, BASE + 0x2000));
      host.memory.bytes.fill(0);
      registers.set("device_status", 15);
      host.memory.bytes.set([1, 1, 9, 8, 7, 6, 5, round, 0xee], 0x4000);
      const ring = new RawRing(host.memory.view, 8, 0, 0x1000, 0x2000);
      ring.offer(
        ring.chain(0, { addr: BASE + 0x4000, len: 8 }, { addr: BASE + 0x4008, len: 1, flags: WRITE }),
      );
      registers.ring(index);
      assertEquals([ring.usedIdx, host.memory.bytes[0x4008], device.control.mac[5]], [1, 0, round]);
      assertEquals(interrupts.splice(0), [index]);
    }
    // The queues of pairs that the driver does not know of are not served.
    const other = index === 2 ? 4 : 2;
    assert(registers.startQueue(other, 8, BASE + 0x8000, BASE + 0x9000, BASE + 0xa000));
    new RawRing(host.memory.view, 8, 0x8000, 0x9000, 0xa000).offer(77);
    registers.ring(other);
    assertEquals(device.service({ transmit: () => true, drop: () => {} }), 0);
  }
});

Deno.test("a queue smaller than the largest wraps at its own size", () => {
  const { registers, startTransmit, service, frames } = openModern();
  registers.negotiate(FEATURES);
  const ring = startTransmit(2);
  registers.set("device_status", 15);
  for (let i = 0; i < 7; i++) {
    ring.offer(ring.chain(i % 2, { addr: BASE + 0x4000, len: 12 + i }));
    registers.ring(1);
    service();
    assertEquals([ring.usedIdx, ring.usedElem(i % 2)], [i + 1, [i % 2, 0]]);
  }
  assertEquals(frames, [0, 1, 2, 3, 4, 5, 6]);
});

Deno.test("queue_reset gives one queue back, at its largest size, and the others go on", () => {
  const { registers, device, startTransmit, service, frames } = openModern();
  registers.negotiate(FEATURES);
  let ring = startTransmit(4);
  assert(registers.startQueue(0, 8, BASE + 0x8000, BASE + 0x9000, BASE + 0xa000));
  registers.set("device_status", 15);
  for (let i = 0; i < 3; i++) ring.offer(ring.chain(i, { addr: BASE + 0x4000, len: 12 + i }));
  registers.ring(1);
  service();
  registers.set("queue_select", 1);
  registers.set("queue_reset", 1);
  assertEquals(
    [registers.get("queue_reset"), registers.get("queue_enable"), registers.get("queue_size")],
    [0, 0, 8],
  );
  assertEquals([device.queues[0]!.running, device.queues[1]!.running], [true, false]);
  registers.ring(1);
  assertEquals(service(), 0);
  ring = startTransmit(8);
  ring.availIdx = ring.usedIdx = 0;
  for (let i = 0; i < 8; i++) ring.offer(ring.chain(i, { addr: BASE + 0x4000, len: 112 + i }));
  registers.ring(1);
  assertEquals([service(), ring.usedIdx], [8, 8]);
  assertEquals(frames, [0, 1, 2, 100, 101, 102, 103, 104, 105, 106, 107]);
});

Deno.test("queue_reset does nothing without RING_RESET", () => {
  const { registers, device, startTransmit } = openModern();
  registers.negotiate(featureMask("VERSION_1"));
  startTransmit();
  registers.set("queue_reset", 1);
  assertEquals([registers.get("queue_enable"), device.queues[1]!.running], [1, true]);
});
