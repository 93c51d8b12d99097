import { assert, assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import type { Registers } from "../../core/plugin.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { VirtioNetDriver } from "../../plugins/virtio/driver.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { ModernPciTransport } from "../../plugins/virtio/pci_driver.ts";
import { LegacyPciDevice } from "../../plugins/virtio/pci_legacy.ts";
import { COMMON, type CommonRegister, ModernRegisters, windows } from "./modern_registers.ts";
import { frameOf } from "./raw_net.ts";

const FEATURES = featureMask("VERSION_1", "MAC", "CTRL_VQ");

function open(features = FEATURES) {
  const host = new LocalHost({ dmaSize: 1 << 22 });
  const device = new VirtioNetDevice({
    features,
    rings: host.space,
    buffers: host.space,
    maxQueueSize: 8,
    mac: [2, 4, 6, 8, 10, 12],
  });
  return { host, device, pci: new ModernPciDevice(device) };
}

/** virtio 1.4, 4.1.4.9: a BAR reached through configuration space alone. */
class Window implements Registers {
  readonly config: Registers;
  readonly at: number;

  constructor(pci: ModernPciDevice) {
    this.config = pci.config;
    this.at = windows(pci.config.bytes).find(({ type }) => type === 5)!.at;
  }

  aim(offset: number, length: number, bar = 4): void {
    this.config.write(this.at + 4, 1, bar);
    this.config.write(this.at + 8, 4, offset);
    this.config.write(this.at + 12, 4, length);
  }

  read(offset: number, width: number): number {
    this.aim(offset, width);
    return this.config.read(this.at + 16, width);
  }

  write(offset: number, width: number, value: number): void {
    this.aim(offset, width);
    this.config.write(this.at + 16, width, value);
  }
}

Deno.test("the header: what a driver may write stays, the rest does not change", () => {
  const { config } = open().pci;
  const before = config.bytes.slice();
  for (let at = 0; at < 256; at += 4) {
    // Not into the window: what is written there goes to the BAR.
    if (at < 0x40) config.write(at, 4, 0xffff_ffff);
  }
  const changed = [...config.bytes.keys()].filter((at) => config.bytes[at] !== before[at]);
  // Command, cache line size, latency timer, BAR 4, interrupt line.
  assertEquals(changed, [4, 5, 12, 13, 0x22, 0x23, 0x3c]);
  assertEquals(config.read(4, 2), 0x0407);
  // A BAR of 128 KiB: the low bits stay 0, as memory of 32 bits says.
  assertEquals(config.read(0x20, 4), 0xfffe_0000);
  config.write(0x20, 4, 0xfe01_2345);
  assertEquals(config.read(0x20, 4), 0xfe00_0000);
});

Deno.test("configuration space answers aligned accesses of 1, 2 and 4 bytes", () => {
  const { config } = open().pci;
  assertEquals([0, 1, 2, 3].map((at) => config.read(at, 1)), [0xf4, 0x1a, 0x41, 0x10]);
  assertEquals([config.read(0, 2), config.read(0, 4)], [0x1af4, 0x1041_1af4]);
  assertEquals([config.read(1, 2), config.read(2, 4)], [0xffff, 0xffff_ffff]);
  assertEquals([config.read(256, 1), config.read(256, 4)], [0xff, 0xffff_ffff]);
  config.write(0x3d, 2, 0xffff);
  config.write(0x3c, 1, 9);
  assertEquals(config.read(0x3c, 4), 0x0000_0109);
});

Deno.test("a legacy device is told by its header, and has no capabilities", () => {
  const { device } = open(featureMask("MAC", "ANY_LAYOUT"));
  const { config } = new LegacyPciDevice(device);
  assertEquals([config.read(0, 4), config.read(8, 1), config.read(0x2e, 2)], [0x1000_1af4, 0, 1]);
  assertEquals([config.read(6, 2), config.read(0x34, 1)], [0, 0]);
  // BAR 0 is I/O space of 64 bytes.
  config.write(0x10, 4, 0xffff_ffff);
  assertEquals(config.read(0x10, 4), 0xffff_ffc1);
});

Deno.test("the window shows every common register as the BAR does, and writes them", () => {
  const { pci } = open();
  const registers = new ModernRegisters(pci.config.bytes, pci);
  const through = new ModernRegisters(pci.config.bytes, new Window(pci));
  through.set("device_feature_select", 1);
  through.set("queue_select", 1);
  through.set("queue_desc_hi", 0x1234_5678);
  through.set("queue_size", 4);
  assertEquals([registers.get("queue_select"), registers.get("queue_size")], [1, 4]);
  for (const name of Object.keys(COMMON) as CommonRegister[]) {
    assertEquals(through.get(name), registers.get(name), name);
  }
  assertEquals([through.get("queue_desc_hi"), through.get("device_feature")], [0x1234_5678, 1]);
  assertEquals([0, 1, 2].map((i) => through.bar.read(registers.device + 2 * i, 2)), [0x0402, 0x0806, 0x0c0a]);
});

Deno.test("a driver that has the window alone comes up, sends and receives", () => {
  const { host, device, pci } = open();
  const transport = new ModernPciTransport(pci.config, new Window(pci), () => false);
  const driver = new VirtioNetDriver(transport, {
    dma: host.dma,
    space: host.space,
    features: FEATURES,
    queueSize: 8,
    rxQueueSize: 8,
    rxBuffer: 256,
  });
  assertEquals(driver.mac, [2, 4, 6, 8, 10, 12]);
  driver.transmit(new Uint8Array(60), 0, 60, 0);
  driver.flush();
  const lengths: number[] = [];
  device.service({ transmit: (frame) => lengths.push(frame.length) > 0, drop: () => {} });
  assertEquals(device.deliver(frameOf(new Uint8Array(70))), 0);
  device.publish();
  driver.receive({ piece: (_queue, _bytes, _offset, length) => void lengths.push(length) });
  assertEquals(lengths, [60, 70]);
});

Deno.test("reading the interrupt status through the window clears it", () => {
  const { pci, device } = open();
  const registers = new ModernRegisters(pci.config.bytes, pci);
  registers.negotiate(FEATURES);
  registers.set("device_status", 15);
  device.interrupt(0);
  const window = new Window(pci);
  // The status register of configuration space says that INTx is asserted.
  assertEquals(pci.config.read(6, 2), 0x18);
  assertEquals([window.read(registers.isr, 1), window.read(registers.isr, 1)], [1, 0]);
  assertEquals(pci.config.read(6, 2), 0x10);
});

Deno.test("any access that touches pci_cfg_data moves as many bytes as cap.length says", () => {
  const { pci } = open();
  const registers = new ModernRegisters(pci.config.bytes, pci);
  const window = new Window(pci);
  registers.set("queue_select", 1);
  window.aim(registers.common + 22, 2);
  // A read of four bytes: two are of the register, the others as they were.
  window.config.write(window.at + 16, 4, 0xaaaa_0002);
  assertEquals(registers.get("queue_select"), 2);
  assertEquals(window.config.read(window.at + 16, 4), 0xaaaa_0002);
  registers.set("queue_select", 0);
  assertEquals(window.config.read(window.at + 17, 1), 0);
  assertEquals(pci.config.bytes.slice(window.at + 16, window.at + 20), Uint8Array.of(0, 0, 0xaa, 0xaa));
});

Deno.test("a window that names no access does nothing", () => {
  const { pci } = open();
  const registers = new ModernRegisters(pci.config.bytes, pci);
  const window = new Window(pci);
  const status = registers.common + 20;
  for (
    const [offset, length, bar] of [
      [status, 0, 4],
      [status, 3, 4],
      [status, 8, 4],
      [status, 0xffff_ffff, 4],
      [status, 1, 3],
      [status, 1, 6],
      [status + 1, 2, 4],
      [status + 2, 4, 4],
      [0xffff_fffc, 4, 4],
    ] as const
  ) {
    window.aim(offset, length, bar);
    window.config.write(window.at + 16, 4, 0x0101_0101);
    assertEquals(registers.get("device_status"), 0, `${offset} ${length} ${bar}`);
    const data = window.config.read(window.at + 16, 4);
    assert(data === 0x0101_0101 || offset === 0xffff_fffc && data === 0xffff_ffff);
  }
});
