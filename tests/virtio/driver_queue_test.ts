import { assert, assertEquals, assertThrows } from "@std/assert";
import { AddressSpace } from "../../core/address_space.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { RingFault } from "../../core/fault.ts";
import { Memory } from "../../core/memory.ts";
import { DriverQueue } from "../../plugins/virtio/driver_queue.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { vring_used } from "../../plugins/virtio/layout.ts";

const ADDRESS = 0xffff_8000;

function makeQueue(...names: Feature[]) {
  const memory = new Memory(1 << 16);
  const dma = new DmaMemory(new AddressSpace(), memory, 0, memory.size, ADDRESS);
  const features = featureMask(...names);
  const queue = new DriverQueue("rx0", 0, dma, { size: 8, legacy: false, features, longestChain: 2 });
  /** The device says that it has written so many bytes into the first chain. */
  const use = (id: number, length: number) => {
    const used = queue.areas.device - ADDRESS;
    memory.view.setUint32(used + vring_used.offsetOf("ring[].id"), id, true);
    memory.view.setUint32(used + vring_used.offsetOf("ring[].len"), length, true);
    memory.view.setUint16(used + vring_used.offsetOf("idx"), 1, true);
  };
  return { queue, dma, memory, use };
}

for (const length of [2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
  Deno.test(`nextUsed takes a chain of ${length} writable bytes up to its last, and no more`, () => {
    for (const [written, good] of [[0, true], [length, true], [length + 1, false]] as const) {
      if (written >= 2 ** 32) continue;
      const { queue, use } = makeQueue();
      const head = queue.addChain([0x1000_0000, 0x9000_0000], [1, length - 1], 2, 0);
      queue.publish();
      use(head, written);
      if (good) assert(queue.nextUsed());
      else assertThrows(() => queue.nextUsed(), RingFault, "used-length");
      assertEquals(queue.usedLength, good ? written : 0);
    }
  });
}

Deno.test("nextUsed takes all that a used element can tell of a chain of 2^32 bytes", () => {
  const { queue, use } = makeQueue();
  queue.addChain([0x1_0000_0000, 0x2_0000_0000], [2 ** 31, 2 ** 31], 2, 0);
  queue.publish();
  use(0, 2 ** 32 - 1);
  assert(queue.nextUsed());
  assertEquals(queue.usedLength, 2 ** 32 - 1);
});

for (const names of [[], ["IN_ORDER"]] as const) {
  Deno.test(`addBuffers writes what add writes one by one, over a multiple of 4 GiB: ${names}`, () => {
    const [one, many] = [makeQueue(...names), makeQueue(...names)];
    const area = one.dma.allocate(6 * 0x2000, 64);
    assertEquals(many.dma.allocate(area.size, 64), area);
    assert(area.address < 2 ** 32 && area.address + area.size > 2 ** 32);
    const places = new Int32Array(8);
    many.queue.addBuffers(area, 0x1800, 0x2000, 6, places);
    for (let i = 0; i < 6; i++) {
      const head = one.queue.add(area.address + 0x2000 * i, 0x1800, true);
      assertEquals(places[head], area.offset + 0x2000 * i);
    }
    for (const { queue } of [one, many]) queue.publish();
    assertEquals(many.memory.bytes, one.memory.bytes);
    assertEquals(many.queue.counters, one.queue.counters);
    assertEquals([many.queue.free, many.queue.nextHead], [2, 6]);
    for (const { queue, use } of [one, many]) {
      use(0, 0x1801);
      assertThrows(() => queue.nextUsed(), RingFault, "used-length");
    }
  });
}
