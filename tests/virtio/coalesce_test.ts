import { assertEquals } from "@std/assert";
import { AddressSpace, READ_WRITE } from "../../core/address_space.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { Memory } from "../../core/memory.ts";
import { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { DriverQueue } from "../../plugins/virtio/driver_queue.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { vring_used, vring_used_elem } from "../../plugins/virtio/layout.ts";
import { assertFault } from "./faults.ts";
import { RawRing, WRITE } from "./raw_ring.ts";

const ADDRESS = 0x1000_0000;

Deno.test("pushBack and push write one used element for a run of chains, at its first slot, with its last head", () => {
  const memory = new Memory(1 << 16);
  const space = new AddressSpace();
  const dma = new DmaMemory(space, memory, 0, memory.size, ADDRESS);
  const features = featureMask("IN_ORDER");
  const driver = new DriverQueue("tx0", 1, dma, { size: 8, legacy: false, features, longestChain: 1 });
  const device = new DeviceQueue("tx0", 1, 8, space, space, { coalesce: true });
  device.start(8, driver.areas, features);
  device.region = dma.region;
  const buffer = dma.allocate(64, 64);
  const used = driver.areas.device - ADDRESS;
  const element = (slot: number) => {
    const at = used + slot * vring_used_elem.size;
    return [
      memory.view.getUint32(at + vring_used.offsetOf("ring[].id"), true),
      memory.view.getUint32(at + vring_used.offsetOf("ring[].len"), true),
    ];
  };
  const add = (chains: number) => {
    for (let i = 0; i < chains; i++) driver.add(buffer.address, 64, false);
    driver.publish();
  };

  add(5);
  assertEquals(device.plainAhead(0), 5);
  device.takePlain(5);
  device.pushBack(0, 0);
  device.pushBack(0, 3);
  device.pushBack(3, 2);
  device.publish();
  assertEquals([0, 1, 2, 3, 4].map(element), [[4, 0], [0, 0], [0, 0], [0, 0], [0, 0]]);
  assertEquals([device.usedIndex, driver.releaseUsed()], [5, 5]);

  // The next run begins where the last one has ended, over the end of the table.
  add(6);
  assertEquals(device.plainAhead(0), 6);
  device.takePlain(6);
  device.pushBack(5, 5);
  device.push(2, 0);
  device.publish();
  assertEquals([5, 6, 7, 0, 1, 2].map(element), [[2, 0], [0, 0], [0, 0], [4, 0], [0, 0], [0, 0]]);
  assertEquals([device.usedIndex, driver.releaseUsed()], [11, 6]);
});

Deno.test("pushAll writes an element for each chain, with its length, over the end of the ring and of the indices", () => {
  for (const names of [[], ["IN_ORDER"]] as const) {
    const memory = new Memory(1 << 16);
    const space = new AddressSpace();
    space.map(ADDRESS, memory, 0, memory.size, READ_WRITE);
    const device = new DeviceQueue("rx0", 0, 4, space, space, { coalesce: true });
    const areas = { desc: ADDRESS, driver: ADDRESS + 0x100, device: ADDRESS + 0x200 };
    const ring = new RawRing(memory.view, 4, 0, 0x100, 0x200);
    for (let i = 0; i < 4; i++) ring.setDesc(i, { addr: ADDRESS + 0x1000, len: 64, flags: WRITE });
    device.start(4, areas, featureMask(...names), 65534);
    for (let slot = 0; slot < 4; slot++) ring.view.setUint16(ring.avail + 4 + 2 * slot, (slot + 2) % 4, true);
    ring.availIdx = 2;
    for (let i = 0; i < 4; i++) device.pop();
    device.pushAll(Uint16Array.of(0, 1, 2), Uint32Array.of(5, 64, 2 ** 32 - 1), 3);
    assertEquals(ring.usedIdx, 0);
    device.publish();
    assertEquals(ring.usedIdx, 1);
    assertEquals([2, 3, 0, 1].map((slot) => ring.usedElem(slot)), [[0, 5], [1, 64], [2, 2 ** 32 - 1], [
      0,
      0,
    ]]);
    // Each is the driver's again, the fourth is not.
    ring.offer(0, 1, 2);
    for (let i = 0; i < 3; i++) device.pop();
    ring.offer(3);
    assertFault(() => device.pop(), "device", "head-available-twice");
  }
});
