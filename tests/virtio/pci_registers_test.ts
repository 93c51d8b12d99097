import { assert, assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import { NO_BUFFERS } from "../../core/plugin.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { FEATURE_BITS, featureMask } from "../../plugins/virtio/features.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { assertFault } from "./faults.ts";
import { COMMON, type CommonRegister, ModernRegisters, windows } from "./modern_registers.ts";
import { frameOf } from "./raw_net.ts";
import { RawRing, WRITE } from "./raw_ring.ts";

const BASE = 0x1000_0000;
const FEATURES = featureMask("VERSION_1", "MAC", "STATUS", "RING_RESET", "CTRL_VQ", "CTRL_MAC_ADDR");

function open(features: bigint = FEATURES, maxQueueSize = 8) {
  const host = new LocalHost({ dmaSize: 1 << 16 });
  const device = new VirtioNetDevice({
    features,
    rings: host.space,
    buffers: host.space,
    maxQueueSize,
    mac: [2, 4, 6, 8, 10, 12],
  });
  const pci = new ModernPciDevice(device);
  const registers = new ModernRegisters(pci.config.bytes, pci);
  /** Starts the transmit queue of `size` entries and returns it as bytes. */
  const startTransmit = (size = 8): RawRing => {
    assert(registers.startQueue(1, size, BASE, BASE + 0x1000, BASE + 0x2000));
    return new RawRing(host.memory.view, size, 0, 0x1000, 0x2000);
  };
  const frames: number[] = [];
  const service = () =>
    device.service({ transmit: (frame) => frames.push(frame.length) > 0, drop: () => {} });
  return { host, device, pci, registers, startTransmit, service, frames };
}

Deno.test("configuration space says virtio, and lists windows that lie apart in one BAR", () => {
  const { pci, device } = open();
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
  const { registers } = open();
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
  const { registers, pci } = open();
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
  const { registers, pci } = open();
  const names = ["device_feature", "num_queues", "config_generation", "queue_notify_off"] as const;
  const before = names.map((name) => registers.get(name));
  for (const name of names) registers.set(name, 0x55);
  pci.write(registers.device, 1, 0xff);
  assertEquals(names.map((name) => registers.get(name)), before);
  assertEquals(pci.read(registers.device, 1), 2);
});

Deno.test("the device configuration has address, link, pairs and MTU, at any width", () => {
  const { registers, pci } = open(FEATURES | featureMask("MTU"));
  const at = registers.device;
  assertEquals([0, 1, 2, 3, 4, 5].map((i) => pci.read(at + i, 1)), [2, 4, 6, 8, 10, 12]);
  assertEquals(pci.read(at, 4), 0x08060402);
  assertEquals([pci.read(at + 6, 2), pci.read(at + 8, 2), pci.read(at + 10, 2)], [1, 1, 65535]);
  assertEquals(pci.read(at + 22, 4), 0xffff_ffff);
});

Deno.test("config_generation moves when a command has changed the address, and the configuration shows it", () => {
  const { host, registers, pci } = open();
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

Deno.test("features are offered in words of 32 bits, and words above the last are 0", () => {
  const { registers } = open();
  assertEquals(registers.offered(), FEATURES);
  registers.set("device_feature_select", 4);
  assertEquals(registers.get("device_feature"), 0);
  registers.set("device_feature_select", 0xffff_ffff);
  assertEquals(registers.get("device_feature"), 0);
  // Bit 31 of a word comes back as written, not as a negative number.
  registers.set("driver_feature_select", 1);
  registers.set("driver_feature", 0x8000_0001);
  assertEquals(registers.get("driver_feature"), 0x8000_0001);
  registers.set("driver_feature_select", 77);
  registers.set("driver_feature", 1);
  registers.set("driver_feature_select", 1);
  assertEquals(registers.get("driver_feature"), 0x8000_0001);
});

/** virtio 1.4, 5.1.3.1: a feature, and what it needs. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  GUEST_TSO4: ["GUEST_CSUM"],
  GUEST_TSO6: ["GUEST_CSUM"],
  GUEST_ECN: ["GUEST_TSO4", "GUEST_CSUM"],
  GUEST_UFO: ["GUEST_CSUM"],
  GUEST_USO4: ["GUEST_CSUM"],
  GUEST_USO6: ["GUEST_CSUM"],
  HOST_TSO4: ["CSUM"],
  HOST_TSO6: ["CSUM"],
  HOST_ECN: ["HOST_TSO6", "CSUM"],
  HOST_UFO: ["CSUM"],
  HOST_USO: ["CSUM"],
  CTRL_RX: ["CTRL_VQ"],
  CTRL_VLAN: ["CTRL_VQ"],
  CTRL_RX_EXTRA: ["CTRL_VQ"],
  GUEST_ANNOUNCE: ["CTRL_VQ"],
  MQ: ["CTRL_VQ"],
  CTRL_MAC_ADDR: ["CTRL_VQ"],
  CTRL_GUEST_OFFLOADS: ["CTRL_VQ"],
  NOTF_COAL: ["CTRL_VQ"],
  VQ_NOTF_COAL: ["CTRL_VQ"],
  RSS: ["CTRL_VQ"],
  HASH_REPORT: ["CTRL_VQ"],
  HASH_TUNNEL: ["CTRL_VQ", "RSS"],
  RSS_CONTEXT: ["CTRL_VQ", "RSS"],
  RSC_EXT: ["HOST_TSO4", "CSUM"],
  GUEST_UDP_TUNNEL_GSO: ["GUEST_CSUM", "GUEST_TSO4", "GUEST_TSO6", "GUEST_USO4", "GUEST_USO6"],
  GUEST_UDP_TUNNEL_GSO_CSUM: [
    "GUEST_UDP_TUNNEL_GSO",
    "GUEST_CSUM",
    "GUEST_TSO4",
    "GUEST_TSO6",
    "GUEST_USO4",
    "GUEST_USO6",
  ],
  HOST_UDP_TUNNEL_GSO: ["CSUM", "HOST_TSO4", "HOST_TSO6", "HOST_USO"],
  HOST_UDP_TUNNEL_GSO_CSUM: ["HOST_UDP_TUNNEL_GSO", "CSUM", "HOST_TSO4", "HOST_TSO6", "HOST_USO"],
};

const mask = (...names: readonly string[]) => featureMask(...names as (keyof typeof FEATURE_BITS)[]);

Deno.test("FEATURES_OK is refused for each broken dependency, and given where none is", async (t) => {
  const everything = mask(...Object.keys(FEATURE_BITS));
  for (const [feature, needs] of Object.entries(NEEDS)) {
    await t.step(feature, () => {
      const { registers } = open(everything);
      assert(registers.negotiate(mask("VERSION_1", feature, ...needs)));
      for (const missing of needs) {
        const rest = needs.filter((name) => name !== missing);
        assert(!registers.negotiate(mask("VERSION_1", feature, ...rest)), `without ${missing}`);
        assertEquals(registers.get("device_status"), 3);
      }
    });
  }
});

Deno.test("FEATURES_OK is refused without VERSION_1, and for what was not offered", () => {
  const { registers } = open();
  assert(!registers.negotiate(featureMask("MAC")));
  assert(!registers.negotiate(featureMask("VERSION_1", "EVENT_IDX")));
  assert(!registers.negotiate(featureMask("VERSION_1") | 1n << 127n));
  assert(registers.negotiate(featureMask("VERSION_1")));
});

Deno.test("after a refusal the driver may try again; after FEATURES_OK features stay until reset", () => {
  const { registers, device } = open();
  assert(!registers.negotiate(0n));
  registers.accept(FEATURES);
  registers.set("device_status", 11);
  assertEquals(registers.get("device_status"), 11);
  registers.accept(featureMask("VERSION_1"));
  registers.set("driver_feature_select", 0);
  assertEquals(registers.get("driver_feature"), Number(FEATURES & 0xffff_ffffn));
  assertEquals(device.features, FEATURES);
  registers.set("device_status", 0);
  assertEquals([registers.get("device_status"), device.features], [0, 0n]);
});

Deno.test("the driver cannot clear status bits, nor set NEEDS_RESET", () => {
  const { registers } = open();
  assert(registers.negotiate(FEATURES));
  registers.set("device_status", 1);
  assertEquals(registers.get("device_status"), 11);
  registers.set("device_status", 11 | 64 | 128);
  assertEquals(registers.get("device_status"), 11 | 128);
});

Deno.test("a queue's size may be any power of two up to the largest, and is the largest after reset", () => {
  const { registers } = open(FEATURES, 32768);
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
  const { registers } = open();
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
  const { registers, device } = open();
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
    const { registers } = open();
    registers.negotiate(FEATURES);
    assert(!registers.startQueue(1, 8, desc, driver, used));
    assertEquals(registers.get("device_status"), 11 | 64);
  }
});

Deno.test("nothing is consumed before DRIVER_OK", () => {
  const { registers, startTransmit, service, frames } = open();
  registers.negotiate(FEATURES);
  const ring = startTransmit();
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 30 }));
  registers.ring(1);
  assertEquals([service(), frames], [0, []]);
  registers.set("device_status", 15);
  registers.ring(1);
  assertEquals([service(), frames], [1, [18]]);
});

Deno.test("no frame is delivered before DRIVER_OK, nor after a reset", () => {
  const { host, device, registers } = open();
  const frame = () => device.deliver(frameOf(new Uint8Array(10)));
  registers.negotiate(FEATURES);
  assert(registers.startQueue(0, 8, BASE, BASE + 0x1000, BASE + 0x2000));
  const ring = new RawRing(host.memory.view, 8, 0, 0x1000, 0x2000);
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 100, flags: WRITE }));
  assertEquals([frame(), host.memory.bytes[0x400a]], [NO_BUFFERS, 0]);
  registers.set("device_status", 15);
  assertEquals([frame(), host.memory.bytes[0x400a]], [0, 1]);
  registers.set("device_status", 0);
  assertEquals(frame(), NO_BUFFERS);
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
  const { registers, startTransmit, service, frames } = open();
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

Deno.test("a fault sets NEEDS_RESET and the configuration interrupt; reset cures it", () => {
  const { registers, pci, startTransmit, service, frames } = open();
  let configInterrupts = 0;
  pci.configInterrupt = () => configInterrupts++;
  registers.negotiate(FEATURES);
  let ring = startTransmit();
  registers.set("device_status", 15);
  ring.offer(9);
  registers.ring(1);
  let message = "";
  try {
    service();
  } catch (error) {
    message = (error as Error).message;
  }
  assertEquals(message, "device stopped ring tx0 at index 0: head-out-of-range (head=9 size=8)");
  assertEquals([registers.get("device_status"), configInterrupts], [15 | 64, 1]);
  assertEquals(pci.read(registers.isr, 1) & 2, 2);
  // The bell of a device that waits for a reset rings unheard.
  registers.ring(1);
  assertEquals(service(), 0);
  registers.negotiate(FEATURES);
  ring = startTransmit();
  ring.availIdx = ring.usedIdx = 0;
  registers.set("device_status", 15);
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 40 }));
  registers.ring(1);
  assertEquals([service(), frames, registers.get("device_status")], [1, [28], 15]);
});

Deno.test("a fault asks for a reset wherever it shows: with a frame from the wire, or when used chains are shown", () => {
  const wire = open();
  wire.registers.negotiate(FEATURES);
  assert(wire.registers.startQueue(0, 8, BASE, BASE + 0x1000, BASE + 0x2000));
  wire.registers.set("device_status", 15);
  new RawRing(wire.host.memory.view, 8, 0, 0x1000, 0x2000).offer(8);
  assertFault(() => wire.device.deliver(frameOf(new Uint8Array(10))), "device", "head-out-of-range");
  assertEquals(wire.registers.get("device_status"), 15 | 64);
  const flags = open();
  flags.registers.negotiate(FEATURES);
  const ring = flags.startTransmit();
  flags.registers.set("device_status", 15);
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 40 }));
  ring.availFlags = 4;
  flags.registers.ring(1);
  assertFault(() => flags.service(), "device", "avail-flags");
  assertEquals(flags.registers.get("device_status"), 15 | 64);
});

Deno.test("a fault before DRIVER_OK asks for a reset, and the notification comes with DRIVER_OK", () => {
  const { registers, pci } = open();
  let configInterrupts = 0;
  pci.configInterrupt = () => configInterrupts++;
  registers.negotiate(FEATURES);
  registers.startQueue(1, 8, BASE + 1, BASE + 0x1000, BASE + 0x2000);
  assertEquals([registers.get("device_status"), configInterrupts], [11 | 64, 0]);
  registers.set("device_status", 15);
  assertEquals([registers.get("device_status"), configInterrupts], [15 | 64, 1]);
  registers.set("device_status", 15);
  assertEquals([pci.read(registers.isr, 1), configInterrupts], [2, 1]);
});

Deno.test("the interrupt status says why, once", () => {
  const { registers, pci, startTransmit, service } = open();
  registers.negotiate(FEATURES);
  const ring = startTransmit();
  registers.set("device_status", 15);
  assertEquals(pci.read(registers.isr, 1), 0);
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 40 }));
  registers.ring(1);
  service();
  assertEquals([pci.read(registers.isr, 1), pci.read(registers.isr, 1)], [1, 0]);
});

Deno.test("reset in the midst of work stops everything and forgets what was not shown", () => {
  const { registers, device, startTransmit, service, frames } = open();
  registers.negotiate(FEATURES);
  const ring = startTransmit();
  registers.set("device_status", 15);
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 40 }));
  registers.ring(1);
  registers.set("device_status", 0);
  assertEquals([service(), frames, ring.usedIdx], [0, [], 0]);
  assert(device.queues.every((queue) => !queue.running));
});

Deno.test("after a reset the device writes nothing, not even what a broken queue had still to show", () => {
  const { host, registers, device } = open();
  registers.negotiate(FEATURES);
  assert(registers.startQueue(0, 8, BASE, BASE + 0x1000, BASE + 0x2000));
  registers.set("device_status", 15);
  const ring = new RawRing(host.memory.view, 8, 0, 0x1000, 0x2000);
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 100, flags: WRITE }));
  assertEquals(device.deliver(frameOf(new Uint8Array(10))), 0);
  ring.offer(77);
  assertFault(() => device.deliver(frameOf(new Uint8Array(10))), "device", "head-out-of-range");
  registers.set("device_status", 0);
  device.publish();
  assertEquals([ring.usedIdx, device.queues[0]!.broken], [0, undefined]);
});

Deno.test("queue_reset gives one queue back, at its largest size, and the others go on", () => {
  const { registers, device, startTransmit, service, frames } = open();
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
  const { registers, device, startTransmit } = open();
  registers.negotiate(featureMask("VERSION_1"));
  startTransmit();
  registers.set("queue_reset", 1);
  assertEquals([registers.get("queue_enable"), device.queues[1]!.running], [1, true]);
});
