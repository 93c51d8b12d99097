/**
 * The ring between two rings, with a guest and a device that keep to no rule.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { AddressSpace, READ_WRITE } from "../../core/address_space.ts";
import { RingFault } from "../../core/fault.ts";
import { Memory } from "../../core/memory.ts";
import { DeviceQueue } from "../../plugins/virtio/device_queue.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { ProcessMemory } from "../../plugins/vdpa/process_memory.ts";
import { OwnMemory, ShadowArea } from "../../plugins/vdpa/shadow_area.ts";
import { ShadowQueue } from "../../plugins/vdpa/shadow_queue.ts";
import { Translation } from "../../plugins/vdpa/translation.ts";
import { HandRing, INDIRECT, NEXT, WRITE } from "./hand_ring.ts";

const SIZE = 4;
const BASE = 0x1_0000_0000;
const IOVA = 0x1000;

/** A guest whose ring is written by hand, a shadow queue, and a device that only looks. */
class Bench {
  readonly memory = new Memory(0x20000);
  readonly guest = new HandRing(this.memory, 0, SIZE);
  readonly process = new ProcessMemory();
  readonly area = new ShadowArea(new OwnMemory(this.process, 4096), SIZE);
  /** The device's end of the shadow ring. */
  readonly device: DeviceQueue;
  readonly guestQueue: DeviceQueue;
  readonly shadow: ShadowQueue;
  kicks = 0;
  interrupts = 0;

  constructor(translation?: Translation, features: readonly Feature[] = ["VERSION_1", "INDIRECT_DESC"]) {
    const space = new AddressSpace();
    space.map(BASE, this.memory, 0, this.memory.size, READ_WRITE);
    this.guestQueue = new DeviceQueue("tx0", 1, SIZE, space, space);
    this.guestQueue.start(SIZE, this.guest.areas(BASE), featureMask(...features), 0);
    const ring = this.area.ring("tx0", featureMask("VERSION_1"), IOVA);
    const rings = new AddressSpace();
    const [driver, device] = this.area.pieces;
    let iova = IOVA;
    for (const piece of [driver!, device!]) {
      const { start, end, memory, offset } = this.process.backing(piece.uaddr)!;
      rings.map(iova, memory, offset, Math.min(piece.size, end - start), piece.perm);
      iova += piece.size;
    }
    this.device = new DeviceQueue("device", 1, SIZE, rings, new AddressSpace(), { profile: "linux" });
    this.device.start(SIZE, ring.areas, featureMask("VERSION_1"), 0);
    this.shadow = new ShadowQueue({
      guest: this.guestQueue,
      ring,
      translation,
      kick: () => this.kicks++,
      interrupt: () => this.interrupts++,
    });
  }

  /** What the device finds next, as `address+length` of each buffer, a stroke before the writable ones. */
  pop(): string {
    if (!this.device.pop()) return "nothing";
    const { addresses, lengths, count, readable } = this.device;
    return Array.from(
      { length: count },
      (_, i) => `${i === readable ? "|" : ""}${addresses[i]!.toString(16)}+${lengths[i]}`,
    ).join(" ");
  }

  use(head: number, length: number): void {
    this.device.push(head, length);
    this.device.publish();
  }

  fault(work: () => unknown): string {
    const { half, code } = assertThrows(work, RingFault);
    return `${half} ${code}`;
  }
}

Deno.test("ShadowQueue relays a chain with its addresses, lengths and directions as they are", () => {
  const bench = new Bench();
  bench.guest.descriptor(2, 0x123456789a, 12, NEXT, 1);
  bench.guest.descriptor(1, 0x2000, 60, NEXT | WRITE, 3);
  bench.guest.descriptor(3, 0x3000, 1, WRITE);
  bench.guest.offer(2);
  bench.shadow.forward();
  assertEquals(bench.kicks, 1);
  assertEquals(bench.pop(), "123456789a+12 |2000+60 3000+1");
  assertEquals(bench.pop(), "nothing");
  bench.use(bench.device.head, 33);
  bench.shadow.reclaim();
  assertEquals(bench.guest.usedIndex, 1);
  assertEquals(bench.guest.usedElement(0), { id: 2, length: 33 });
  assertEquals(bench.interrupts, 1);
});

Deno.test("ShadowQueue makes a plain chain of an indirect table", () => {
  const bench = new Bench();
  bench.guest.describe(0x8000, 0x5000, 12, NEXT, 1);
  bench.guest.describe(0x8010, 0x6000, 100);
  bench.guest.descriptor(0, BASE + 0x8000, 32, INDIRECT);
  bench.guest.offer(0);
  bench.shadow.forward();
  assertEquals(bench.pop(), "5000+12 6000+100");
  assertEquals(bench.shadow.counters.descriptors, 2);
});

Deno.test("ShadowQueue translates each address where the guest's memory lies elsewhere", () => {
  const bench = new Bench(
    new Translation([{ gpa: 0, size: 0x10000, iova: 0x1000 }, {
      gpa: 0x10000,
      size: 0x10000,
      iova: 0x900000,
    }]),
  );
  bench.guest.descriptor(0, 0x2000, 12, NEXT, 1);
  bench.guest.descriptor(1, 0xfff0, 0x20);
  bench.guest.offer(0);
  bench.shadow.forward();
  assertEquals(bench.pop(), "3000+12 10ff0+16 900000+16");
  assertEquals(bench.shadow.counters.translations, 2);
});

/** Four chains of one buffer each in the guest's memory, as the device finds them. */
function relayFour(bench: Bench, flags: number): string[] {
  for (let i = 0; i < SIZE; i++) {
    const head = SIZE - 1 - i;
    bench.guest.descriptor(head, BASE + 0x9000 + 0x100 * i, 60 + i, flags);
    bench.guest.offer(head);
  }
  bench.shadow.forward();
  return Array.from({ length: SIZE }, () => bench.pop());
}

Deno.test("ShadowQueue relays chains of one buffer each many at once, above 4 GiB as below", () => {
  for (const [flags, mark] of [[0, ""], [WRITE, "|"]] as const) {
    const bench = new Bench();
    assertEquals(relayFour(bench, flags), [
      `${mark}100009000+60`,
      `${mark}100009100+61`,
      `${mark}100009200+62`,
      `${mark}100009300+63`,
    ]);
    const { chains, descriptors, translations } = bench.shadow.counters;
    assertEquals([chains, descriptors, translations], [4, 4, 0]);
    for (let head = 0; head < SIZE; head++) bench.device.push(head, flags === 0 ? 0 : 60 + head);
    bench.device.publish();
    bench.shadow.reclaim();
    assertEquals(
      Array.from({ length: SIZE }, (_, i) => bench.guest.usedElement(i)),
      Array.from({ length: SIZE }, (_, i) => ({ id: SIZE - 1 - i, length: flags === 0 ? 0 : 60 + i })),
    );
    // All descriptors are free again.
    assertEquals(relayFour(bench, flags).length, SIZE);
    assertEquals(bench.shadow.counters.parked, 0);
  }
});

Deno.test("ShadowQueue translates many chains at once, also to where upper halves of addresses differ", () => {
  for (const iova of [0x4_8000_0000, 0x3_ffff_6f00]) {
    const bench = new Bench(new Translation([{ gpa: BASE, size: 0x20000, iova }]));
    assertEquals(
      relayFour(bench, 0),
      Array.from({ length: SIZE }, (_, i) => `${(iova + 0x9000 + 0x100 * i).toString(16)}+${60 + i}`),
    );
    assertEquals(bench.shadow.counters.translations, 4);
  }
});

Deno.test("ShadowQueue keeps directions apart when a buffer is split by translation", () => {
  const bench = new Bench(
    new Translation([{ gpa: 0, size: 0x1000, iova: 0x10000 }, { gpa: 0x1000, size: 0x1000, iova: 0x5000 }]),
  );
  bench.guest.descriptor(0, 0xffc, 8, NEXT, 1);
  bench.guest.descriptor(1, 0x1800, 4, WRITE);
  bench.guest.offer(0);
  bench.shadow.forward();
  assertEquals(bench.pop(), "10ffc+4 5000+4 |5800+4");
});

Deno.test("ShadowQueue refuses a buffer outside the guest's memory", () => {
  const bench = new Bench(new Translation([{ gpa: 0, size: 0x1000, iova: 0x1000 }]));
  bench.guest.descriptor(0, 0xff0, 0x20);
  bench.guest.offer(0);
  assertEquals(bench.fault(() => bench.shadow.forward()), "device shadow-untranslatable");
  assertEquals(bench.guestQueue.running, false);
});

Deno.test("ShadowQueue parks a chain that finds no room, and relays it when there is some", () => {
  const bench = new Bench();
  for (let i = 0; i < 2; i++) {
    bench.guest.describe(0x8000 + 0x100 * i, 0x1000 * (i + 1), 12, NEXT, 1);
    bench.guest.describe(0x8010 + 0x100 * i, 0x1800 * (i + 1), 100, NEXT, 2);
    bench.guest.describe(0x8020 + 0x100 * i, 0x1900 * (i + 1), 100);
    bench.guest.descriptor(i, BASE + 0x8000 + 0x100 * i, 48, INDIRECT);
    bench.guest.offer(i);
  }
  bench.shadow.forward();
  assertEquals(bench.shadow.counters.parked, 1);
  assertEquals(bench.pop(), "1000+12 1800+100 1900+100");
  assertEquals(bench.pop(), "nothing");
  bench.use(bench.device.head, 0);
  bench.shadow.reclaim();
  assertEquals(bench.pop(), "2000+12 3000+100 3200+100");
  assertEquals(bench.guest.usedElement(0), { id: 0, length: 0 });
});

Deno.test("ShadowQueue refuses a chain that its ring can never hold", () => {
  const sections = Array.from({ length: 8 }, (_, i) => ({ gpa: i * 16, size: 16, iova: 0x10000 * i }));
  const bench = new Bench(new Translation(sections));
  bench.guest.descriptor(0, 0, 128);
  bench.guest.offer(0);
  assertEquals(bench.fault(() => bench.shadow.forward()), "device shadow-chain-too-long");
});

Deno.test("ShadowQueue rewinds what the device did not use", () => {
  const bench = new Bench();
  for (let i = 0; i < 4; i++) {
    bench.guest.descriptor(i, 0x1000 * (i + 1), 60);
    bench.guest.offer(i);
  }
  bench.shadow.forward();
  bench.pop();
  const first = bench.device.head;
  bench.use(first, 0);
  assertEquals(bench.shadow.stop(), 1);
  assertEquals(bench.guest.usedIndex, 1);
  assertEquals(bench.shadow.counters.rewound, 3);
  assertEquals(bench.guestQueue.running, false);
});

Deno.test("ShadowQueue does not rewind past a gap: a device that used buffers out of order cannot be taken away", () => {
  const bench = new Bench();
  for (let i = 0; i < 3; i++) {
    bench.guest.descriptor(i, 0x1000 * (i + 1), 60);
    bench.guest.offer(i);
  }
  bench.shadow.forward();
  bench.pop();
  bench.pop();
  bench.use(bench.device.head, 0);
  assertEquals(bench.fault(() => bench.shadow.stop()), "device shadow-out-of-order");
});

Deno.test("ShadowQueue relays out of order what is used out of order", () => {
  const bench = new Bench();
  for (let i = 0; i < 2; i++) {
    bench.guest.descriptor(i, 0x1000 * (i + 1), 60, WRITE);
    bench.guest.offer(i);
  }
  bench.shadow.forward();
  bench.pop();
  const first = bench.device.head;
  bench.pop();
  const second = bench.device.head;
  bench.use(second, 20);
  bench.use(first, 10);
  bench.shadow.reclaim();
  assertEquals(bench.guest.usedElement(0), { id: 1, length: 20 });
  assertEquals(bench.guest.usedElement(1), { id: 0, length: 10 });
  assertEquals(bench.shadow.stop(), 2);
});

Deno.test("ShadowQueue checks what the device says of its ring", () => {
  for (
    const [expected, spoil] of [
      ["driver used-id-out-of-range", (bench: Bench) => bench.use(SIZE, 0)],
      ["driver used-id-not-outstanding", (bench: Bench) => bench.use((bench.device.head + 1) % SIZE, 0)],
      ["driver used-length", (bench: Bench) => bench.use(bench.device.head, 61)],
      ["driver used-idx-jump", (bench: Bench) => {
        bench.device.push(bench.device.head, 0);
        bench.use(bench.device.head, 0);
      }],
    ] as const
  ) {
    const bench = new Bench();
    bench.guest.descriptor(0, 0x1000, 60, WRITE);
    bench.guest.offer(0);
    bench.shadow.forward();
    bench.pop();
    spoil(bench);
    assertEquals(bench.fault(() => bench.shadow.reclaim()), expected);
  }
});

Deno.test("ShadowQueue shows the guest nothing of what came together with a broken rule", () => {
  const bench = new Bench();
  for (let head = 0; head < 2; head++) {
    bench.guest.descriptor(head, 0x1000, 60, WRITE);
    bench.guest.offer(head);
  }
  bench.shadow.forward();
  bench.pop();
  bench.device.push(bench.device.head, 60);
  bench.pop();
  bench.use(bench.device.head, 61);
  for (let i = 0; i < 2; i++) {
    assertEquals(bench.fault(() => bench.shadow.reclaim()), "driver used-length");
    assertEquals([bench.guest.usedIndex, bench.interrupts], [0, 0]);
  }
});

Deno.test("ShadowQueue checks the guest's ring as a device does", () => {
  const bench = new Bench();
  bench.guest.offer(SIZE);
  assertEquals(bench.fault(() => bench.shadow.forward()), "device head-out-of-range");
  const loop = new Bench();
  loop.guest.descriptor(0, 0x1000, 60, NEXT, 0);
  loop.guest.offer(0);
  assertEquals(loop.fault(() => loop.shadow.forward()), "device chain-too-long");
});

Deno.test("ShadowArea has whole pages, the used ring on pages of its own", () => {
  const area = new ShadowArea(new OwnMemory(new ProcessMemory(), 4096), 256);
  assertEquals(area.pieces.map(({ size, perm }) => [size, perm]), [[8192, 1], [4096, 3]]);
  const { areas } = area.ring("tx0", featureMask("VERSION_1"), 0x7000);
  assertEquals(areas, { desc: 0x7000, driver: 0x8000, device: 0x9000 });
  const large = new ShadowArea(new OwnMemory(new ProcessMemory(), 1 << 21), 256);
  assertEquals(large.pieces.map(({ size }) => size), [1 << 21, 1 << 21]);
});

Deno.test("ShadowArea gives a fresh ring each time: indices begin at 0 again", () => {
  const bench = new Bench();
  bench.guest.descriptor(0, 0x1000, 60);
  bench.guest.offer(0);
  bench.shadow.forward();
  bench.area.ring("tx0", featureMask("VERSION_1"), IOVA);
  bench.device.start(SIZE, bench.device.areas, featureMask("VERSION_1"), 0);
  assertEquals(bench.pop(), "nothing");
});
