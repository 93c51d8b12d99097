import { assert, assertEquals } from "@std/assert";
import { AddressSpace, READ, READ_WRITE } from "../../core/address_space.ts";
import { Memory } from "../../core/memory.ts";
import { RingPair } from "../../core/ring_pair.ts";
import { vring_desc } from "../../plugins/virtio/layout.ts";
import virtio from "../../plugins/virtio/mod.ts";
import type { RingAddresses } from "../../plugins/virtio/ring_areas.ts";
import { RingMap } from "../../plugins/virtio/ring_map.ts";
import { Random } from "../random.ts";
import { assertFault } from "./faults.ts";
import { RAM, RawNet } from "./raw_net.ts";
import { openRss } from "./rss_peer.ts";

Deno.test("Rooms: what they say of a buffer is what a look at every byte says", () => {
  const random = new Random(61);
  const size = 4096;
  for (let round = 0; round < 300; round++) {
    const space = new AddressSpace();
    const memory = new Memory(size);
    for (let at = 0; at < size;) {
      const length = Math.min(size - at, random.between(1, 2000));
      if (random.chance(0.8)) space.map(at, memory, at, length, random.pick([READ, READ_WRITE]));
      at += length;
    }
    const map = new RingMap();
    const taken = new Uint8Array(size);
    for (let ring = random.between(0, 4); ring > 0; ring--) {
      const entries = 1 << random.below(5);
      const [desc, driver, device] = [0, 0, 0].map(() => random.below(size - 600)) as [
        number,
        number,
        number,
      ];
      // Rings elsewhere do not count.
      const here = random.chance(0.8);
      map.add(`ring${ring}`, here ? space : new AddressSpace(), entries, { desc, driver, device });
      if (!here) continue;
      for (const [start, bytes] of [[desc, 16], [driver, 2], [device, 8]] as const) {
        taken.fill(ring, start, start + bytes * entries + (start === desc ? 0 : 6));
      }
    }
    const rooms = map.rooms(space);
    for (let i = 0; i < 200; i++) {
      const address = random.below(size);
      const length = random.between(1, Math.min(size - address, random.pick([3, 100, 1000])));
      const free = taken.subarray(address, address + length).every((ring) => ring === 0);
      const room = rooms.around(address, length);
      assertEquals(room !== undefined, free);
      if (room) assert(room.start <= address && room.end >= address + length);
      else assert(rooms.overlapped(address, length).startsWith("ring"));
      const whole = space.find(address, READ);
      const region = rooms.find(address, READ);
      assertEquals(region !== undefined, whole !== undefined && taken[address] === 0);
      if (!region || !whole) continue;
      assertEquals([region.memory, region.delta, region.access], [memory, whole.delta, whole.access]);
      assert(region.holds(address, 1));
      // It reaches as far as it can, and no further.
      assert(taken.subarray(region.start, region.end).every((ring) => ring === 0));
      assert(region.start === whole.start || taken[region.start - 1] !== 0);
      assert(region.end === whole.end || taken[region.end] !== 0);
      assertEquals(rooms.find(address, READ), region);
    }
  }
});

Deno.test("a ring is in the way from queue_enable on, and no more after queue_reset", () => {
  for (const lengths of [[100], [60, 40]]) {
    const { device, host, registers, rings, start } = openRss("RING_RESET");
    const base = host.dma.region.start;
    const send = (address: number) => {
      let at = address;
      const head = rings[1]!.availIdx % 64;
      rings[1]!.offer(rings[1]!.chain(head, ...lengths.map((len) => ({ addr: (at += len) - len, len }))));
      registers.ring(1);
      let sent = 0;
      const moved = device.service({
        transmit: () => (sent++, true),
        transmitBatch: (frames) => (sent += frames.count, frames.count),
        drop: () => {},
      });
      assertEquals(sent, moved);
      return moved;
    };
    const clear = () => host.memory.bytes.fill(0, 4 * 0x2000, 5 * 0x2000);
    assertEquals(send(base + 0x14000), 1);
    registers.set("queue_select", 4);
    registers.set("queue_reset", 1);
    clear();
    // Twice: the second time its region is known.
    for (let i = 0; i < 2; i++) assertEquals(send(base + 4 * 0x2000 + 64), 1);
    start(4);
    const fault = assertFault(() => send(base + 4 * 0x2000 + 64), "device", "buffer-overlaps-ring");
    assertEquals([fault.ring, fault.values.overlapped], ["tx0", "rx2"]);
    assertEquals(registers.get("device_status") & 64, 64);
    // After a reset of the device nothing is in the way but what is started again.
    registers.set("device_status", 0);
    assert(registers.negotiate(device.offered));
    rings[1] = start(1);
    registers.set("device_status", 15);
    clear();
    assertEquals(send(base + 4 * 0x2000 + 64), 1);
  }
});

Deno.test("where the last buffer lay says nothing of one below or above it", () => {
  const between = RAM + 0x7000;
  // Two parts of the ring below, the first byte of the one above, and a ring beyond that.
  for (const overlapping of [RAM + 0x6000, RAM + 0x4000, RAM + 0x8000 - 31, RAM + 0x1_0000]) {
    const net = new RawNet();
    net.tx.offer(net.tx.chain(0, net.packet(between, [1])));
    assertEquals(net.kick(1), 1);
    net.tx.offer(net.tx.chain(1, { addr: overlapping, len: 32 }));
    assertFault(() => net.kick(1), "device", "buffer-overlaps-ring");
  }
});

Deno.test("a queue that is started anew somewhere else leaves its old place, whether it was stopped or broke", () => {
  const net = new RawNet();
  const before = net.packet(RAM + 0x1_0000, [1, 2, 3]);
  net.tx.offer(net.tx.chain(0, before));
  assertFault(() => net.kick(1), "device", "buffer-overlaps-ring");
  const areas = { desc: RAM + 0x1_8000, driver: RAM + 0x1_c000, device: RAM + 0x1_e000 };
  net.device.queues[2]!.start(8, areas, net.device.features);
  net.device.queues[1]!.start(8, net.device.queues[1]!.areas, net.device.features);
  assertEquals([net.kick(1), net.frames], [1, [new Uint8Array([1, 2, 3])]]);
});

Deno.test("a queue that cannot be started anew where it shall leaves its old place", () => {
  const net = new RawNet();
  const nowhere = { desc: 0x10, driver: 0x20, device: 0x40 };
  const { device } = net;
  assertFault(() => device.queues[2]!.start(8, nowhere, device.features), "device", "bad-ring-address");
  net.tx.offer(net.tx.chain(0, net.packet(RAM + 0x1_0000, [1, 2, 3])));
  assertEquals([net.kick(1), net.frames], [1, [new Uint8Array([1, 2, 3])]]);
});

Deno.test("the driver's rings lie together, and its buffers behind them", () => {
  for (
    const given of [{}, { queues: 3 }, {
      queues: 2,
      "hash-report": "on",
      "mrg-rxbuf": "off",
      indirect: "off",
    }] as const
  ) {
    const pair = new RingPair(virtio, { "queue-size": 8, ...given }, { dmaSize: 1 << 24 });
    const queues = pair.link.driver.inspect().queues as {
      name: string;
      size: number;
      areas: RingAddresses;
    }[];
    const end = Math.max(...queues.map(({ size, areas }) => areas.device + 6 + 8 * size));
    for (const { name, areas } of queues.filter(({ name }) => name.startsWith("rx"))) {
      const { addr } = pair.structAt(vring_desc, areas.desc);
      assert(Number(addr) >= end, `${name}: ${addr}`);
    }
  }
});
