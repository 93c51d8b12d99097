import { assert, assertEquals } from "@std/assert";
import { AddressSpace } from "../../core/address_space.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { Memory } from "../../core/memory.ts";
import { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { DriverQueue } from "../../plugins/virtio/driver_queue.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { vectors } from "../vectors.ts";

const images = vectors("virtio_behaviour.json", "vring memory image");

/** The image of a step, named by the letter of its scenario and its number. */
function image(scenario: string, step: number): Uint8Array {
  const found = images.find(({ fields }) =>
    String(fields.scenario).startsWith(`${scenario}:`) && String(fields.step).startsWith(`${step} `)
  );
  assert(found);
  return found.bytes;
}

/**
 * Both sides of one ring. The images were taken from buffers that are less aligned than the used ring, which
 * `vring_init()` aligns by address, not by offset: so the ring starts at the same remainder here.
 */
function ring(size: number, align: number, remainder: number, ...names: Feature[]) {
  const memory = new Memory(1 << 16);
  const space = new AddressSpace();
  const dma = new DmaMemory(space, memory, 0, memory.size, 0x1000_0000 + remainder);
  const features = featureMask(...names);
  const driver = new DriverQueue("q", 0, dma, {
    size,
    legacy: false,
    features,
    longestChain: 4,
    usedAlign: align,
  });
  const device = new DeviceQueue("q", 0, size, space, space);
  device.start(size, driver.areas, features);
  const start = dma.region.offsetOf(driver.areas.desc);
  const bytes = (like: Uint8Array) => memory.bytes.slice(start, start + like.length);
  return { driver, device, bytes, memory, start };
}

const TAIL_NEXTS = [16 + 14, 2 * 16 + 14] as const;

Deno.test("memory images, scenario A: chains, EVENT_IDX, used in another order", () => {
  const { driver, device, bytes } = ring(4, 64, 0x20, "EVENT_IDX");
  // The scenario leaves `next` of a chain's last descriptor 0. Ours, as Linux's, says which descriptor is free next;
  // only NEXT tells whether it means anything.
  const assertImage = (step: number) => {
    const wanted = image("A", step).slice();
    if (step > 0) TAIL_NEXTS.forEach((at, i) => wanted[at] = i + 2);
    assertEquals(bytes(wanted), wanted, `step ${step}`);
  };
  assertImage(0);
  assertEquals(driver.addChain([0x10000, 0x10100], [12, 60], 2, 2), 0);
  assert(driver.publish());
  assertEquals(driver.add(0x20000, 1526, true), 2);
  assert(!driver.publish());
  assertImage(3);
  assert(device.pop() && device.pop());
  assertEquals([device.head, device.writableBytes], [2, 1526]);
  assert(!device.enableNotify());
  device.push(2, 72);
  assert(device.publish());
  assertImage(5);
  assert(driver.nextUsed());
  assertEquals([driver.usedHead, driver.usedLength], [2, 72]);
  driver.enableInterrupts();
  assertImage(6);
  device.push(0, 0);
  assert(device.publish());
  assert(driver.nextUsed());
  driver.enableInterrupts();
  assertImage(8);
});

Deno.test("memory images, scenario B: flags suppression, indices that wrap", () => {
  // The scenario uses descriptor 1 next: with IN_ORDER an odd number of chains has just gone through descriptor 0.
  const { driver, device, bytes, memory, start } = ring(2, 4096, 0xa0, "IN_ORDER");
  const round = (address: number) => {
    driver.add(address, 1514, false);
    const kick = driver.publish();
    assert(device.pop());
    device.push(device.head, 0);
    const interrupt = device.publish();
    driver.releaseUsed();
    return [kick, interrupt];
  };
  driver.disableInterrupts();
  device.disableNotify();
  for (let i = 0; i < 65535; i++) assertEquals(round(0x3000), [false, false]);
  // What the chains before have left: descriptors, heads, used elements. The scenario starts with swept memory.
  const sweep = [[0, 32], [36, 40], [0xf60 + 4, 0xf60 + 20]] as const;
  for (const [from, to] of sweep) memory.bytes.fill(0, start + from, start + to);
  assertEquals(bytes(image("B", 0)), image("B", 0));
  assertEquals(round(0x3000), [false, false]);
  assertEquals(bytes(image("B", 2)), image("B", 2));
});
