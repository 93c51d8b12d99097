/**
 * The ring of a shadow virtqueue, with the virtio plugin's device queue for its device: that one knows every descriptor
 * that it has, and faults on any that it is given twice.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { AddressSpace, NO_REGION, READ_WRITE, Region } from "../../core/address_space.ts";
import { RingFault } from "../../core/fault.ts";
import { Memory } from "../../core/memory.ts";
import { ShadowRing } from "../../plugins/vdpa/shadow_ring.ts";
import { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { Random } from "../random.ts";
import { HandRing, WRITE } from "./hand_ring.ts";

const IOVA = 0x7000;
const USED = 0x2000;

/** A ring and the device behind it. */
function make(
  size: number,
  ...features: Feature[]
): { ring: ShadowRing; device: DeviceQueue; memory: Memory } {
  const memory = new Memory(0x4000);
  const mask = featureMask("VERSION_1", ...features);
  const ring = new ShadowRing({ name: "tx0", size, features: mask, memory, used: USED, iova: IOVA });
  const space = new AddressSpace();
  space.map(IOVA, memory, 0, memory.size, READ_WRITE);
  const device = new DeviceQueue("device", 1, size, space, new AddressSpace());
  device.start(size, ring.areas, mask, 0);
  return { ring, device, memory };
}

/** The used chains, in the order of the used ring. */
function collect(ring: ShadowRing): { tag: number; length: number }[] {
  return Array.from({ length: ring.collect() }, (_, i) => ({
    tag: ring.usedTags[i]!,
    length: ring.usedLengths[i]!,
  }));
}

/** What the device popped: address and length of each buffer, and how many are readable. */
function popped({ addresses, lengths, count, readable }: DeviceQueue): string {
  const buffers = Array.from({ length: count }, (_, i) => `${addresses[i]}+${lengths[i]}`);
  return `${buffers.join(" ")} ${readable}`;
}

Deno.test("ShadowRing gives every chain to the device once and takes it back by its tag, in any order", () => {
  const random = new Random(41);
  for (const features of [[], ["EVENT_IDX"]] as Feature[][]) {
    const { ring, device } = make(16, ...features);
    /** What each chain that is out looks like, by tag; and what the device holds. */
    const out = new Map<number, { chain: string; writable: number }>();
    const held: { head: number; length: number; tag: number }[] = [];
    const expected: { tag: number; length: number }[] = [];
    const order: number[] = [];
    let tag = 0;
    let wraps = 0;
    for (let step = 0; step < 20000; step++) {
      const count = random.between(1, 5);
      if (random.chance(0.6) && count <= ring.free) {
        const readable = random.between(0, count);
        const addresses = Array.from(
          { length: count },
          () => random.below(2 ** 31) * 4096 + random.below(4096),
        );
        const lengths = Array.from({ length: count }, () => random.between(1, 5000));
        ring.addChain(addresses, lengths, count, readable, tag);
        const writable = lengths.slice(readable).reduce((sum, length) => sum + length, 0);
        const buffers = addresses.map((address, i) => `${address}+${lengths[i]}`);
        out.set(tag, { chain: `${buffers.join(" ")} ${readable}`, writable });
        order.push(tag);
        tag = (tag + 1) & 0x7fff;
        if (tag === 0) wraps++;
      }
      if (random.chance(0.3)) ring.publish();
      while (random.chance(0.5) && device.pop()) {
        const next = order.shift()!;
        assertEquals(popped(device), out.get(next)!.chain);
        held.push({ head: device.head, length: random.between(0, out.get(next)!.writable), tag: next });
      }
      while (held.length > 0 && random.chance(0.5)) {
        const { head, length, tag } = held.splice(random.below(held.length), 1)[0]!;
        device.push(head, length);
        expected.push({ tag, length });
        out.delete(tag);
      }
      if (!random.chance(0.5)) continue;
      device.publish();
      assertEquals(collect(ring), expected.splice(0));
      assertEquals(ring.outstanding, out.size);
      assertEquals(ring.tags.toSorted((a, b) => a - b), [...out.keys()].toSorted((a, b) => a - b));
    }
    assert(ring.chains > 5000 && wraps === 0, `${ring.chains}`);
  }
});

Deno.test("ShadowRing adds plain chains of the guest as it adds others, over the end of both rings", () => {
  const memory = new Memory(0x8000);
  const base = 0x2_0000_0000;
  const guest = new HandRing(memory, 0, 8);
  const space = new AddressSpace();
  space.map(base, memory, 0, memory.size, READ_WRITE);
  const queue = new DeviceQueue("rx0", 0, 8, space, space);
  queue.start(8, guest.areas(base), featureMask("VERSION_1"), 0);
  const { ring, device } = make(8);
  const window = new Region(0x5_0000_1000, memory.size, memory, 0, READ_WRITE);
  for (let round = 0; round < 50; round++) {
    const count = 1 + round % 8;
    for (let i = 0; i < count; i++) {
      guest.descriptor(7 - i, base + 0x4000 + 64 * i, 40 + i, WRITE);
      guest.offer(7 - i);
    }
    queue.refresh();
    queue.region = space.regions[0]!;
    assertEquals(queue.plainAhead(WRITE), count);
    ring.addPlain(queue, count, window, WRITE);
    queue.takePlain(count);
    assertEquals(ring.free, 8 - count);
    ring.publish();
    for (let i = 0; i < count; i++) {
      assert(device.pop());
      assertEquals(popped(device), `${0x5_0000_1000 + 0x4000 + 64 * i}+${40 + i} 0`);
      device.push(device.head, 40 + i);
    }
    assertEquals(device.pop(), false);
    device.publish();
    assertEquals(collect(ring), Array.from({ length: count }, (_, i) => ({ tag: 7 - i, length: 40 + i })));
    for (let i = 0; i < count; i++) queue.push(7 - i, 0);
    queue.publish();
    queue.region = NO_REGION;
  }
});

Deno.test("ShadowRing holds a chain of all its descriptors, of which every byte is writable", () => {
  const { ring, device } = make(32768 / 256);
  const lengths = new Array<number>(ring.size).fill(2 ** 25 - 1);
  ring.addChain(lengths, lengths, ring.size, 0, 0xffff);
  assertEquals(ring.free, 0);
  ring.publish();
  assert(device.pop());
  assertEquals(device.count, ring.size);
  device.push(device.head, ring.size * (2 ** 25 - 1));
  device.publish();
  assertEquals(collect(ring), [{ tag: 0xffff, length: ring.size * (2 ** 25 - 1) }]);
  assertEquals(ring.free, ring.size);
});

Deno.test("ShadowRing takes back a chain of 2^32 bytes with as many written as can be told", () => {
  const { ring, device } = make(4);
  ring.addChain([0, 2 ** 31], [2 ** 31, 2 ** 31], 2, 0, 3);
  ring.publish();
  assert(device.pop());
  device.push(device.head, 2 ** 32 - 1);
  device.publish();
  assertEquals(collect(ring), [{ tag: 3, length: 2 ** 32 - 1 }]);
});

Deno.test("ShadowRing says whether the device wants a kick, and when it wants an interrupt", () => {
  const add = (ring: ShadowRing) => ring.addChain([1], [1], 1, 1, 0);
  const flags = make(4);
  add(flags.ring);
  assertEquals(flags.ring.publish(), true);
  assertEquals(flags.ring.publish(), false);
  flags.device.disableNotify();
  add(flags.ring);
  assertEquals(flags.ring.publish(), false);
  const events = make(4, "EVENT_IDX");
  for (const wanted of [true, false, false]) {
    add(events.ring);
    assertEquals(events.ring.publish(), wanted);
  }
  assertEquals(events.device.enableNotify(), true);
  for (const interrupt of [true, false]) {
    events.device.pop();
    events.device.push(events.device.head, 0);
    assertEquals(events.device.publish(), interrupt);
  }
  assertEquals(collect(events.ring).length, 2);
  events.ring.enableInterrupts();
  events.device.pop();
  events.device.push(events.device.head, 0);
  assertEquals(events.device.publish(), true);
});

Deno.test("ShadowRing stays broken once the device broke a rule", () => {
  const { ring, memory } = make(4);
  memory.view.setUint16(USED, 2, true);
  ring.addChain([1], [1], 1, 1, 0);
  const fault = assertThrows(() => ring.publish(), RingFault);
  assertEquals([fault.half, fault.ring, fault.code], ["driver", "tx0", "used-flags"]);
  memory.view.setUint16(USED, 0, true);
  assertEquals(assertThrows(() => collect(ring), RingFault), fault);
  ring.addChain([1], [1], 1, 1, 0);
  assertEquals(assertThrows(() => ring.publish(), RingFault), fault);
});
