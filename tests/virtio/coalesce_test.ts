import { assertEquals } from "@std/assert";
import { AddressSpace } from "../../core/address_space.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { Memory } from "../../core/memory.ts";
import { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { DriverQueue } from "../../plugins/virtio/driver_queue.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { vring_used, vring_used_elem } from "../../plugins/virtio/layout.ts";

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
