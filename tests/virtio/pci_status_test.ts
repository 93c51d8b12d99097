import { assert, assertEquals } from "@std/assert";
import { NO_BUFFERS } from "../../core/plugin.ts";
import { assertFault } from "./faults.ts";
import { BASE, FEATURES, openModern } from "./modern_device.ts";
import { frameOf } from "./raw_net.ts";
import { RawRing, WRITE } from "./raw_ring.ts";

Deno.test("nothing is consumed before DRIVER_OK", () => {
  const { registers, startTransmit, service, frames } = openModern();
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
  const { host, device, registers } = openModern();
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

Deno.test("a fault sets NEEDS_RESET and the configuration interrupt; reset cures it", () => {
  const { registers, pci, startTransmit, service, frames } = openModern();
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
  const wire = openModern();
  wire.registers.negotiate(FEATURES);
  assert(wire.registers.startQueue(0, 8, BASE, BASE + 0x1000, BASE + 0x2000));
  wire.registers.set("device_status", 15);
  new RawRing(wire.host.memory.view, 8, 0, 0x1000, 0x2000).offer(8);
  assertFault(() => wire.device.deliver(frameOf(new Uint8Array(10))), "device", "head-out-of-range");
  assertEquals(wire.registers.get("device_status"), 15 | 64);
  const flags = openModern();
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
  const { registers, pci } = openModern();
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
  const { registers, pci, startTransmit, service } = openModern();
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
  const { registers, device, startTransmit, service, frames } = openModern();
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
  const { host, registers, device } = openModern();
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
