import { assert, assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import type { Registers } from "../../core/plugin.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { VirtioNetDriver } from "../../plugins/virtio/driver.ts";
import { MsixTable } from "../../plugins/virtio/msix.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { ModernPciTransport } from "../../plugins/virtio/pci_driver.ts";
import { assertFault } from "./faults.ts";
import { ModernRegisters } from "./modern_registers.ts";

const FEATURES = featureMask("VERSION_1", "MAC", "CTRL_VQ", "RING_RESET");
const BASE = 0x1000_0000;
const NO_VECTOR = 0xffff;
const ENABLE = 0x8000;
const FUNCTION_MASK = 0x4000;

/** A driver's hand on MSI-X, by the offsets of PCI 3.0, 6.8.2. */
class Msix {
  readonly config: Registers;
  readonly bar: Registers;
  readonly at: number;
  readonly table: number;
  readonly pending: number;
  readonly vectors: number;

  constructor(pci: ModernPciDevice) {
    this.config = pci.config;
    this.bar = pci;
    let at = pci.config.read(0x34, 1);
    while (pci.config.read(at, 1) !== 0x11) at = pci.config.read(at + 1, 1);
    this.at = at;
    this.vectors = (pci.config.read(at + 2, 2) & 0x7ff) + 1;
    this.table = pci.config.read(at + 4, 4) - 4;
    this.pending = pci.config.read(at + 8, 4) - 4;
  }

  control(value: number): void {
    this.config.write(this.at + 2, 2, value);
  }

  set(vector: number, data: number, masked = false): void {
    const words = [0xfee0_1000, 1, data, masked ? 1 : 0];
    words.forEach((word, i) => this.bar.write(this.table + 16 * vector + 4 * i, 4, word));
  }

  mask(vector: number, masked: boolean): void {
    this.bar.write(this.table + 16 * vector + 12, 4, masked ? 1 : 0);
  }

  get waiting(): number {
    return this.bar.read(this.pending, 4);
  }
}

function open() {
  const host = new LocalHost({ dmaSize: 1 << 22 });
  const device = new VirtioNetDevice({
    features: FEATURES,
    rings: host.space,
    buffers: host.space,
    maxQueueSize: 8,
  });
  const pci = new ModernPciDevice(device);
  /** What arrived: data of messages, or queues; "config" is INTx for the configuration. */
  const heard: (number | string)[] = [];
  pci.interrupt = (value) => heard.push(value);
  pci.configInterrupt = () => heard.push("config");
  const take = () => heard.splice(0);
  const registers = new ModernRegisters(pci.config.bytes, pci);
  return { host, device, pci, registers, msix: new Msix(pci), take };
}

/** Negotiates, maps vector 2 to queue 1 and vector 0 to the configuration, and turns MSI-X on. */
function mapped() {
  const opened = open();
  const { registers, msix } = opened;
  assert(registers.negotiate(FEATURES));
  registers.set("config_msix_vector", 0);
  registers.set("queue_select", 1);
  registers.set("queue_msix_vector", 2);
  registers.set("device_status", 15);
  for (let vector = 0; vector < msix.vectors; vector++) msix.set(vector, 0xd0 + vector);
  msix.control(ENABLE);
  return opened;
}

Deno.test("the capability: a vector for each queue and one for the configuration, table and pending bits apart", () => {
  const { msix, pci, registers } = open();
  assertEquals([msix.vectors, msix.table % 8, msix.pending % 8], [4, 0, 0]);
  assert(msix.pending >= msix.table + 16 * msix.vectors);
  assert(registers.notify >= msix.pending + 8);
  // The size is read-only; enable and mask are not.
  pci.config.write(msix.at + 2, 2, 0xffff);
  assertEquals(pci.config.read(msix.at + 2, 2), ENABLE | FUNCTION_MASK | 3);
});

Deno.test("table entries hold what was written, and are masked at first; pending bits are read-only", () => {
  const { msix, pci } = open();
  for (let vector = 0; vector < msix.vectors; vector++) {
    assertEquals([0, 4, 8, 12].map((i) => pci.read(msix.table + 16 * vector + i, 4)), [0, 0, 0, 1]);
  }
  msix.set(3, 0xffff_ffff, true);
  const entry = [0, 4, 8, 12].map((i) => pci.read(msix.table + 48 + i, 4));
  assertEquals(entry, [0xfee0_1000, 1, 0xffff_ffff, 1]);
  pci.write(msix.table + 48 + 12, 4, 0xffff_fffe);
  assertEquals(pci.read(msix.table + 48 + 12, 4), 0);
  // Behind the last entry there is nothing.
  pci.write(msix.table + 64, 4, 5);
  assertEquals(pci.read(msix.table + 64, 4), 0xffff_ffff);
  pci.write(msix.table, 2, 7);
  assertEquals([pci.read(msix.table, 4), pci.read(msix.table, 2)], [0, 0xffff]);
  pci.write(msix.pending, 4, 0xf);
  assertEquals([msix.waiting, pci.read(msix.pending, 1)], [0, 0xff]);
});

Deno.test("a vector reads back as mapped, or as NO_VECTOR where there is no such entry", () => {
  const { registers } = open();
  registers.negotiate(FEATURES);
  for (const name of ["config_msix_vector", "queue_msix_vector"] as const) {
    for (const vector of [0, 1, 3, NO_VECTOR, 2, 4, 0x7ff, 0x800, 0xfffe]) {
      registers.set(name, vector);
      assertEquals(registers.get(name), vector < 4 ? vector : NO_VECTOR, `${name} ${vector}`);
    }
  }
});

Deno.test("vectors belong to queues, are unmapped by a reset, and may change while a queue runs", () => {
  const { registers } = open();
  registers.negotiate(FEATURES);
  registers.set("config_msix_vector", 1);
  for (const queue of [0, 1, 2]) {
    registers.set("queue_select", queue);
    registers.set("queue_msix_vector", queue);
  }
  registers.startQueue(1, 8, BASE, BASE + 0x1000, BASE + 0x2000);
  registers.set("queue_msix_vector", 3);
  const read = () =>
    [0, 1, 2, 7].map((queue) => {
      registers.set("queue_select", queue);
      return registers.get("queue_msix_vector");
    });
  assertEquals([read(), registers.get("config_msix_vector")], [[0, 3, 2, NO_VECTOR], 1]);
  registers.set("queue_select", 1);
  registers.set("queue_reset", 1);
  assertEquals(read(), [0, NO_VECTOR, 2, NO_VECTOR]);
  registers.set("device_status", 0);
  const none = [NO_VECTOR, NO_VECTOR, NO_VECTOR, NO_VECTOR];
  assertEquals([read(), registers.get("config_msix_vector")], [none, NO_VECTOR]);
});

Deno.test("a queue's event sends the data of its vector; one without a vector interrupts nobody", () => {
  const { device, pci, registers, take } = mapped();
  device.interrupt(1);
  device.interrupt(0);
  // The interrupt status is for INTx.
  assertEquals([take(), pci.read(registers.isr, 1), pci.config.read(6, 2) & 8], [[0xd2], 0, 0]);
});

Deno.test("a message comes with its address of 64 bits", () => {
  const { device, pci } = mapped();
  const messages: unknown[] = [];
  pci.interrupt = (...message) => void messages.push(message);
  device.interrupt(1);
  assertEquals(messages, [[0xd2, 0x1_fee0_1000]]);
});

Deno.test("a change of the configuration sends the message of its vector, if there is one", () => {
  const { device, pci, registers, take } = mapped();
  device.onFault(new Error() as never);
  assertEquals([take(), registers.get("device_status")], [[0xd0], 15 | 64]);
  assertEquals(pci.read(registers.isr, 1), 2);
  registers.set("config_msix_vector", NO_VECTOR);
  device.onFault(new Error() as never);
  assertEquals(take(), []);
});

Deno.test("without MSI-X the line is asserted, unless the driver has turned it off", () => {
  const { device, pci, registers, msix, take } = mapped();
  msix.control(0);
  device.interrupt(1);
  device.interrupt(0);
  assertEquals([take(), pci.config.read(6, 2) & 8, pci.read(registers.isr, 1)], [[1, 0], 8, 1]);
  pci.config.write(4, 2, 0x400);
  device.interrupt(1);
  device.onFault(new Error() as never);
  assertEquals([take(), pci.read(registers.isr, 1)], [[], 3]);
});

Deno.test("a masked vector's message waits as a pending bit, once however often it is due", () => {
  const { device, msix, take } = mapped();
  msix.mask(2, true);
  device.interrupt(1);
  device.interrupt(1);
  assertEquals([take(), msix.waiting], [[], 1 << 2]);
  msix.mask(1, false);
  assertEquals([take(), msix.waiting], [[], 1 << 2]);
  msix.set(2, 0x77);
  assertEquals([take(), msix.waiting], [[0x77], 0]);
  device.interrupt(1);
  assertEquals(take(), [0x77]);
});

Deno.test("the function mask holds all messages back, and the vectors' own masks still count behind it", () => {
  const { device, msix, registers, take } = mapped();
  registers.set("queue_select", 0);
  registers.set("queue_msix_vector", 1);
  msix.control(ENABLE | FUNCTION_MASK);
  msix.mask(1, true);
  device.interrupt(0);
  device.interrupt(1);
  assertEquals([take(), msix.waiting], [[], 1 << 1 | 1 << 2]);
  msix.control(ENABLE);
  assertEquals([take(), msix.waiting], [[0xd2], 1 << 1]);
  registers.set("device_status", 0);
  msix.mask(1, false);
  assertEquals([take(), msix.waiting], [[], 0]);
});

Deno.test("MsixTable keeps apart the pending bits of up to 2048 vectors", () => {
  const sent: number[] = [];
  const table = new MsixTable(2048, (data) => sent.push(data));
  assertEquals([table.size, table.pendingSize], [32768, 256]);
  table.setControl(ENABLE);
  const vectors = [0, 31, 32, 63, 64, 2047];
  for (const vector of vectors) {
    table.write(16 * vector + 8, 4, vector);
    table.send(vector);
  }
  for (const none of [2048, NO_VECTOR]) table.send(none);
  assertEquals([0, 4, 8, 252].map((at) => table.readPending(at, 4)), [
    0x8000_0001,
    0x8000_0001,
    1,
    0x8000_0000,
  ]);
  for (const vector of vectors) table.write(16 * vector + 12, 4, 0);
  assertEquals([sent, table.readPending(0, 4)], [vectors, 0]);
});

/** A driver over registers that `change` may alter. */
function bringUp(change: (pci: ModernPciDevice) => Registers = (pci) => pci) {
  const opened = open();
  const { host, pci } = opened;
  const connect = () =>
    new VirtioNetDriver(new ModernPciTransport(pci.config, change(pci), () => false), {
      dma: host.dma,
      space: host.space,
      features: FEATURES,
      queueSize: 8,
      rxQueueSize: 8,
      rxBuffer: 256,
    });
  return { ...opened, connect };
}

Deno.test("the driver turns MSI-X on: a vector for the configuration, and messages that name their queue", () => {
  const { connect, device, pci, registers, msix, take } = bringUp();
  connect();
  assertEquals(pci.config.read(msix.at + 2, 2), ENABLE | 3);
  assertEquals(registers.get("config_msix_vector"), 0);
  take();
  for (const queue of [0, 1, 2]) device.interrupt(queue);
  device.onFault(new Error() as never);
  assertEquals(take(), [0, 1, 2, 0xffff]);
});

Deno.test("the driver shares vectors where there are fewer than queues, and takes INTx where there is one", () => {
  for (const [size, wanted] of [[3, [1, 2, 1]], [2, [1, 1, 1]]] as [number, number[]][]) {
    const { connect, pci, registers, msix } = bringUp();
    pci.config.bytes[msix.at + 2] = size - 1;
    connect();
    const vectors = [0, 1, 2].map((queue) => {
      registers.set("queue_select", queue);
      return registers.get("queue_msix_vector");
    });
    assertEquals(vectors, wanted);
  }
  for (const change of [[2, 0], [4, 3], [0, 5]] as const) {
    // One vector; a table in a BAR that the driver does not look at; no MSI-X at all.
    const { connect, device, pci, registers, msix, take } = bringUp();
    pci.config.bytes[msix.at + change[0]] = change[1];
    connect();
    take();
    device.interrupt(1);
    assertEquals([take(), pci.read(registers.isr, 1)], [[1], 1]);
    assertEquals(registers.get("queue_msix_vector"), NO_VECTOR);
  }
});

Deno.test("a device that does not map a vector is a bring-up fault", () => {
  for (const register of [16, 26]) {
    const { connect } = bringUp((pci) => ({
      read: (offset, width) => offset === register && width === 2 ? NO_VECTOR : pci.read(offset, width),
      write: (offset, width, value) => pci.write(offset, width, value),
    }));
    assertFault(connect, "driver", "bring-up");
  }
});
