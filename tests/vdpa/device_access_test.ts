/**
 * What a device reaches through which space, and what it says of addresses that it cannot use.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { READ_WRITE } from "../../core/address_space.ts";
import { RingFault } from "../../core/fault.ts";
import { Frame } from "../../core/frame.ts";
import { NO_BUFFERS, type Wire } from "../../core/plugin.ts";
import type { Feature } from "../../plugins/virtio/features.ts";
import { VHOST } from "../../plugins/vdpa/ioctls.ts";
import { MODELS, type VdpaModel } from "../../plugins/vdpa/models.ts";
import { ACK, DRIVER, DRIVER_OK, Face, type FaceOptions, FEATURES_OK, MEMORY, MODELLED } from "./face.ts";
import { HandRing, INDIRECT, NEXT, WRITE } from "./hand_ring.ts";

const RX = 0;
const TX = 1;
const SIZE = 8;
const HEADER = 12;
/** Offsets in memory: rings, then buffers. */
const RINGS = 0x10000;
const BUFFERS = 0x80000;
/** Where the device sees offset 0 of the memory, by what it is for. */
const RING_BASE = 0x4000_0000;
const BUFFER_BASE = 0x8000_0000;
const PLAIN_FEATURES: readonly Feature[] = ["VERSION_1", "ACCESS_PLATFORM", "CTRL_VQ", "INDIRECT_DESC"];

class Bench extends Face implements Wire {
  readonly rings: HandRing[] = [];
  readonly frames: string[] = [];

  constructor(options: FaceOptions = {}) {
    super({ ...options });
    this.owner();
    this.number(VHOST.GET_BACKEND_FEATURES);
    this.number(VHOST.SET_BACKEND_FEATURES, this.out);
    this.status(ACK);
    this.status(DRIVER);
    this.features(...PLAIN_FEATURES);
    this.status(FEATURES_OK);
    for (let index = 0; index < this.device.nvqs; index++) {
      this.rings.push(new HandRing(this.memory, RINGS + index * 0x4000, SIZE));
    }
  }

  /** Maps all memory in a space, at a base. */
  mapAll(asid: number, base: number, perm = 3): this {
    assertEquals(this.map(asid, base, 0x100000, MEMORY, perm), "72");
    return this;
  }

  bind(group: number, asid: number): this {
    assertEquals(this.state(VHOST.VDPA_SET_GROUP_ASID, group, asid), "ok");
    return this;
  }

  /** Sets queues up with their rings at `base`, and runs. */
  run(base = RING_BASE, indexes: readonly number[] = [RX, TX]): this {
    for (const index of indexes) {
      const { desc, driver, device } = this.rings[index]!.areas(base);
      assertEquals(this.state(VHOST.SET_VRING_NUM, index, SIZE), "ok");
      assertEquals(this.address(index, desc, driver, device), "ok");
      assertEquals(this.state(VHOST.VDPA_SET_VRING_ENABLE, index, 1), "ok");
    }
    assertEquals(this.status(DRIVER_OK), "ok");
    return this;
  }

  /** Writes a frame of bytes behind an empty header into the buffers. Returns its offset. */
  fill(offset: number, text: string): number {
    this.memory.bytes.fill(0, BUFFERS + offset, BUFFERS + offset + HEADER);
    this.memory.bytes.set(new TextEncoder().encode(text), BUFFERS + offset + HEADER);
    return BUFFERS + offset;
  }

  kick(index = TX): void {
    this.device.kick_vq(index);
  }

  service(): number {
    return this.device.service(this);
  }

  transmit(frame: Frame): boolean {
    const bytes = new Uint8Array(frame.length);
    let at = 0;
    for (let i = 0; i < frame.pieces; i++) {
      const start = frame.offsets[i]!;
      bytes.set(frame.bytes[i]!.subarray(start, start + frame.lengths[i]!), at);
      at += frame.lengths[i]!;
    }
    this.frames.push(new TextDecoder().decode(bytes));
    return true;
  }

  drop(): void {}

  deliver(text: string): number {
    const bytes = new TextEncoder().encode(text);
    const frame = new Frame();
    frame.push(bytes, 0, bytes.length);
    return this.device.deliver(frame);
  }

  /** What the device says of the next transmitted chain. */
  refusal(): string {
    this.rings[TX]!.offer(0);
    this.kick();
    return this.fault(() => this.service());
  }

  fault(work: () => unknown): string {
    const { code, values } = assertThrows(work, RingFault);
    const at = values.at === undefined ? "" : ` at ${BigInt(values.at).toString(16)}`;
    return `${code}${at} in ${values.asid}`;
  }
}

/** Rings in space 1, buffers in space 0: what a descriptor group is for. */
function split(options: FaceOptions = {}): Bench {
  return new Bench(options).mapAll(0, BUFFER_BASE).mapAll(1, RING_BASE).bind(2, 1);
}

Deno.test("VdpaDevice reads rings through the descriptor group and buffers through the queue's group", () => {
  const bench = split().run();
  const at = bench.fill(0, "split");
  bench.rings[TX]!.descriptor(0, BUFFER_BASE + at, HEADER + 5);
  bench.rings[TX]!.offer(0);
  bench.kick();
  assertEquals(bench.service(), 1);
  assertEquals(bench.frames, ["split"]);
  assertEquals(bench.rings[TX]!.usedElement(0), { id: 0, length: 0 });
});

Deno.test("VdpaDevice follows indirect tables through the queue's group", () => {
  const bench = split().run();
  const at = bench.fill(0, "table");
  const ring = bench.rings[TX]!;
  const table = BUFFERS + 0x1000;
  ring.describe(table, BUFFER_BASE + at, HEADER, NEXT, 1);
  ring.describe(table + 16, BUFFER_BASE + at + HEADER, 5);
  ring.descriptor(0, BUFFER_BASE + table, 32, INDIRECT);
  ring.offer(0);
  bench.kick();
  bench.service();
  assertEquals(bench.frames, ["table"]);
});

Deno.test("VdpaDevice faults on an indirect table in the rings' space", () => {
  const bench = split().run();
  bench.rings[TX]!.descriptor(0, RING_BASE + BUFFERS, 32, INDIRECT);
  assertEquals(bench.refusal(), `iova-other-space at ${(RING_BASE + BUFFERS).toString(16)} in 0`);
});

Deno.test("VdpaDevice faults on rings that are mapped in the buffers' space only", () => {
  const bench = new Bench().mapAll(0, RING_BASE).bind(2, 1);
  bench.map(1, 0x1000, 0x1000);
  bench.run();
  assertEquals(
    bench.fault(() => bench.service()),
    `iova-other-space at ${(RING_BASE + RINGS).toString(16)} in 1`,
  );
  assertEquals(bench.device.get_status() & 64, 64);
});

Deno.test("VdpaDevice faults on a buffer that is mapped in the rings' space only", () => {
  const bench = split().run();
  bench.rings[TX]!.descriptor(0, RING_BASE + BUFFERS, 60);
  assertEquals(bench.refusal(), `iova-other-space at ${(RING_BASE + BUFFERS).toString(16)} in 0`);
});

Deno.test("VdpaDevice binds a group, not a queue: all queues of the group move", () => {
  const bench = split({ queues: 5 }).run(RING_BASE, [RX, TX, 2, 3]);
  for (const index of [TX, 3]) {
    const at = bench.fill(0x100 * index, `queue ${index}`);
    bench.rings[index]!.descriptor(0, BUFFER_BASE + at, HEADER + 7);
    bench.rings[index]!.offer(0);
    bench.kick(index);
  }
  bench.service();
  assertEquals(bench.frames, ["queue 1", "queue 3"]);
});

Deno.test("VdpaDevice takes a descriptor group that is the queue's own group", () => {
  const model: VdpaModel = { ...MODELS.mlx5, descGroup: () => 0 };
  const bench = new Bench({ model }).mapAll(1, RING_BASE).bind(0, 1).run();
  const at = bench.fill(0, "own");
  bench.rings[TX]!.descriptor(0, RING_BASE + at, HEADER + 3);
  bench.rings[TX]!.offer(0);
  bench.kick();
  bench.service();
  assertEquals(bench.frames, ["own"]);
});

Deno.test("VdpaDevice takes one group for the buffers of some queues and the rings of others", () => {
  // rx0: buffers in group 0, rings in group 1; tx0: buffers in group 1, rings in group 0.
  const model: VdpaModel = { ...MODELS.mlx5, vqGroup: (idx) => idx & 1, descGroup: (idx) => ~idx & 1 };
  const bench = new Bench({ model }).mapAll(0, BUFFER_BASE).mapAll(1, RING_BASE).bind(1, 1);
  const tx = bench.rings[TX]!.areas(BUFFER_BASE);
  const rx = bench.rings[RX]!.areas(RING_BASE);
  bench.address(TX, tx.desc, tx.driver, tx.device);
  bench.address(RX, rx.desc, rx.driver, rx.device);
  for (const index of [RX, TX]) {
    bench.state(VHOST.SET_VRING_NUM, index, SIZE);
    bench.state(VHOST.VDPA_SET_VRING_ENABLE, index, 1);
  }
  bench.status(DRIVER_OK);
  bench.rings[TX]!.descriptor(0, RING_BASE + bench.fill(0, "cross"), HEADER + 5);
  bench.rings[TX]!.offer(0);
  bench.rings[RX]!.descriptor(0, BUFFER_BASE + BUFFERS + 0x1000, 100, WRITE);
  bench.rings[RX]!.offer(0);
  bench.kick();
  bench.service();
  assertEquals(bench.frames, ["cross"]);
  assertEquals(bench.deliver("back"), 0);
  const start = BUFFERS + 0x1000 + HEADER;
  assertEquals(new TextDecoder().decode(bench.memory.bytes.subarray(start, start + 4)), "back");
});

Deno.test("VdpaDevice keeps spaces apart: unmapping in one leaves the other", () => {
  const bench = split().run();
  bench.map(1, BUFFER_BASE, 0x1000);
  bench.unmap(1, BUFFER_BASE, 0x1000);
  bench.rings[TX]!.descriptor(0, BUFFER_BASE + bench.fill(0, "still"), HEADER + 5);
  bench.rings[TX]!.offer(0);
  bench.kick();
  bench.service();
  assertEquals(bench.frames, ["still"]);
});

Deno.test("VdpaDevice takes a buffer across two mappings, wherever these lead", () => {
  const bench = new Bench().bind(2, 1).mapAll(1, RING_BASE);
  // The second half of the frame lies before the first in memory.
  bench.fill(0x1000 - HEADER - 4, "head");
  bench.memory.bytes.set(new TextEncoder().encode("tail"), BUFFERS - 0x1000);
  bench.map(0, 0x10000, 0x1000, MEMORY + BUFFERS);
  bench.map(0, 0x11000, 0x1000, MEMORY + BUFFERS - 0x1000);
  bench.run();
  bench.rings[TX]!.descriptor(0, 0x11000 - HEADER - 4, HEADER + 8);
  bench.rings[TX]!.offer(0);
  bench.kick();
  bench.service();
  assertEquals(bench.frames, ["headtail"]);
  bench.rings[RX]!.descriptor(0, 0x11000 - HEADER - 2, 100, WRITE);
  bench.rings[RX]!.offer(0);
  bench.deliver("abcdef");
  const bytes = bench.memory.bytes;
  assertEquals(new TextDecoder().decode(bytes.subarray(BUFFERS + 0x1000 - 2, BUFFERS + 0x1000)), "ab");
  assertEquals(new TextDecoder().decode(bytes.subarray(BUFFERS - 0x1000, BUFFERS - 0x1000 + 4)), "cdef");
});

Deno.test("VdpaDevice faults at the first byte of a hole between mappings", () => {
  const bench = new Bench().bind(2, 1).mapAll(1, RING_BASE);
  bench.map(0, 0x10000, 0x1000);
  bench.map(0, 0x12000, 0x1000);
  bench.run();
  bench.rings[TX]!.descriptor(0, 0x10ff0, 0x1020);
  assertEquals(bench.refusal(), "iova-unmapped at 11000 in 0");
});

Deno.test("VdpaDevice faults on a buffer outside any mapping, on either side", () => {
  const bench = split().run();
  bench.rings[RX]!.descriptor(0, 0xdead0000, 2048, WRITE);
  bench.rings[RX]!.offer(0);
  assertEquals(bench.fault(() => bench.deliver("x")), "iova-unmapped at dead0000 in 0");
  bench.rings[TX]!.descriptor(0, 0xdead0000, 60);
  assertEquals(bench.refusal(), "iova-unmapped at dead0000 in 0");
});

Deno.test("VdpaDevice serves no queue on that a fault was found, until it is reset", () => {
  const bench = split().run();
  bench.rings[TX]!.descriptor(0, 0xdead0000, 60);
  bench.refusal();
  bench.rings[TX]!.descriptor(1, BUFFER_BASE + bench.fill(0, "never"), HEADER + 5);
  bench.rings[TX]!.offer(1);
  bench.kick();
  assertEquals(bench.service(), 0);
  assertEquals(bench.frames, []);
  assertEquals(bench.device.get_status() & 64, 64);
});

Deno.test("VdpaDevice does not read what it may only write, nor write what it may only read", () => {
  const bench = new Bench().bind(2, 1).mapAll(1, RING_BASE);
  bench.map(0, 0x10000, 0x1000, MEMORY, 2);
  bench.map(0, 0x20000, 0x1000, MEMORY, 1);
  bench.run();
  bench.rings[RX]!.descriptor(0, 0x20000, 0x800, WRITE);
  bench.rings[RX]!.offer(0);
  assertEquals(bench.fault(() => bench.deliver("x")), "iova-permission at 20000 in 0");
  bench.rings[TX]!.descriptor(0, 0x10000, 60);
  assertEquals(bench.refusal(), "iova-permission at 10000 in 0");
});

Deno.test("VdpaDevice faults on guest memory that is modelled only", () => {
  const bench = new Bench().bind(2, 1).mapAll(1, RING_BASE);
  bench.map(0, 0x10_0000_0000, 0x10_0000_0000, MODELLED);
  bench.run();
  bench.rings[TX]!.descriptor(0, 0x10_0000_1000, 60);
  assertEquals(bench.refusal(), "iova-unbacked at 1000001000 in 0");
});

Deno.test("VdpaDevice faults on an address that it cannot have been given, near 2^64", () => {
  const bench = split().run();
  bench.rings[TX]!.descriptor(0, 0xffff_ffff_ffff_f000n, 60);
  assertEquals(bench.refusal(), "iova-unmapped at fffffffffffff000 in 0");
});

Deno.test("VdpaDevice finds mapped addresses beyond 2^53 to be without bytes", () => {
  const bench = new Bench().bind(2, 1).mapAll(1, RING_BASE);
  bench.map(0, 2n ** 63n, 0x100000);
  bench.run();
  bench.rings[TX]!.descriptor(0, 2n ** 63n + 0x1000n, 60);
  assertEquals(bench.refusal(), "iova-unbacked at 8000000000001000 in 0");
});

Deno.test("VdpaDevice needs to write the used ring, and only to read the rest", () => {
  const readOnly = new Bench().mapAll(0, BUFFER_BASE).mapAll(1, RING_BASE, 1).bind(2, 1).run();
  const used = RING_BASE + readOnly.rings[RX]!.used;
  assertEquals(readOnly.fault(() => readOnly.service()), `iova-permission at ${used.toString(16)} in 1`);
  const parts = new Bench().mapAll(0, BUFFER_BASE).bind(2, 1);
  const { used: usedAt } = parts.rings[TX]!;
  parts.map(1, RING_BASE, usedAt, MEMORY, 1);
  parts.map(1, RING_BASE + usedAt, 0x1000, MEMORY + usedAt, 3);
  parts.run(RING_BASE, [TX]);
  parts.rings[TX]!.descriptor(0, BUFFER_BASE + parts.fill(0, "parts"), HEADER + 5);
  parts.rings[TX]!.offer(0);
  parts.kick();
  parts.service();
  assertEquals(parts.frames, ["parts"]);
});

Deno.test("VdpaDevice takes a ring part across mappings that continue each other in memory, and no others", () => {
  const border = RINGS + 0x4000 + 64;
  // No pages are pinned, so that a mapping may end within one.
  const model: VdpaModel = { ...MODELS.mlx5, useVa: true };
  const bench = new Bench({ model }).mapAll(0, BUFFER_BASE).bind(2, 1);
  bench.map(1, RING_BASE, border);
  bench.map(1, RING_BASE + border, 0x4000, MEMORY + border);
  bench.run(RING_BASE, [TX]);
  bench.rings[TX]!.descriptor(5, BUFFER_BASE + bench.fill(0, "joined"), HEADER + 6);
  bench.rings[TX]!.offer(5);
  bench.kick();
  bench.service();
  assertEquals(bench.frames, ["joined"]);

  const torn = new Bench({ model }).mapAll(0, BUFFER_BASE).bind(2, 1);
  torn.map(1, RING_BASE, border);
  torn.map(1, RING_BASE + border, 0x4000, MEMORY);
  torn.run(RING_BASE, [TX]);
  const desc = RING_BASE + torn.rings[TX]!.desc;
  assertEquals(torn.fault(() => torn.service()), `ring-not-contiguous at ${desc.toString(16)} in 1`);
});

Deno.test("VdpaDevice faults when rings in use are unmapped, and goes on when they are mapped elsewhere", () => {
  const bench = split().run();
  const { TX: ring } = { TX: bench.rings[TX]! };
  ring.descriptor(0, BUFFER_BASE + bench.fill(0, "one"), HEADER + 3);
  ring.offer(0);
  bench.kick();
  bench.service();
  // The same addresses now lead to a copy of the rings.
  bench.memory.bytes.copyWithin(0x200000, 0, 0x100000);
  bench.unmap(1, RING_BASE, 1);
  bench.map(1, RING_BASE, 0x100000, MEMORY + 0x200000);
  ring.memory.view.setUint16(0x200000 + ring.avail + 2, 2, true);
  bench.kick();
  assertEquals(bench.service(), 1);
  assertEquals(bench.frames, ["one", "one"]);
  bench.unmap(1, RING_BASE, 1);
  bench.kick();
  assertEquals(bench.fault(() => bench.service()).split(" ")[0], "iova-unmapped");
});

Deno.test("VdpaDevice faults when a buffer in flight is unmapped", () => {
  const bench = split().run();
  bench.rings[RX]!.descriptor(0, BUFFER_BASE + BUFFERS, 2048, WRITE);
  bench.rings[RX]!.offer(0);
  bench.kick(RX);
  bench.unmap(0, BUFFER_BASE, 1);
  assertEquals(bench.fault(() => bench.deliver("late")).split(" ")[0], "iova-unmapped");
});

Deno.test("VdpaDevice touches nothing while suspended, and goes on where it was when resumed", () => {
  const bench = split().run();
  bench.rings[TX]!.descriptor(0, BUFFER_BASE + bench.fill(0, "later"), HEADER + 5);
  bench.rings[RX]!.descriptor(0, BUFFER_BASE + BUFFERS + 0x1000, 2048, WRITE);
  bench.rings[RX]!.offer(0);
  bench.ioctl(VHOST.VDPA_SUSPEND);
  bench.rings[TX]!.offer(0);
  bench.kick();
  assertEquals([bench.service(), bench.deliver("x")], [0, NO_BUFFERS]);
  bench.state(VHOST.GET_VRING_BASE, TX);
  assertEquals(bench.out, 0);
  bench.ioctl(VHOST.VDPA_RESUME);
  assertEquals(bench.service(), 1);
  assertEquals(bench.frames, ["later"]);
  bench.ioctl(VHOST.VDPA_SUSPEND);
  bench.state(VHOST.GET_VRING_BASE, TX);
  assertEquals(bench.out, 1);
});

Deno.test("VdpaDevice goes on at the position that it is given", () => {
  const bench = split();
  const ring = bench.rings[TX]!;
  bench.state(VHOST.SET_VRING_BASE, TX, 0xffff);
  ring.descriptor(3, BUFFER_BASE + bench.fill(0, "wrap"), HEADER + 4);
  ring.memory.view.setUint16(ring.avail + 4 + 2 * (0xffff % SIZE), 3, true);
  ring.memory.view.setUint16(ring.avail + 2, 0, true);
  ring.memory.view.setUint16(ring.used + 2, 0xffff, true);
  bench.run();
  bench.kick();
  bench.service();
  assertEquals(bench.frames, ["wrap"]);
  assertEquals(ring.usedIndex, 0);
  assertEquals(ring.usedElement(0xffff), { id: 3, length: 0 });
});

Deno.test("VdpaDevice starts a queue that is enabled after DRIVER_OK, and takes it away again", () => {
  const bench = split();
  const { desc, driver, device } = bench.rings[TX]!.areas(RING_BASE);
  bench.state(VHOST.SET_VRING_NUM, TX, SIZE);
  bench.address(TX, desc, driver, device);
  bench.status(DRIVER_OK);
  bench.rings[TX]!.descriptor(0, BUFFER_BASE + bench.fill(0, "late"), HEADER + 4);
  bench.rings[TX]!.offer(0);
  bench.kick();
  assertEquals(bench.service(), 0);
  bench.state(VHOST.VDPA_SET_VRING_ENABLE, TX, 1);
  bench.kick();
  assertEquals(bench.service(), 1);
  bench.state(VHOST.VDPA_SET_VRING_ENABLE, TX, 0);
  bench.rings[TX]!.offer(0);
  bench.kick();
  assertEquals(bench.service(), 0);
  bench.state(VHOST.GET_VRING_BASE, TX);
  assertEquals(bench.out, 1);
});

Deno.test("VdpaDevice calls the eventfd of the queue that it used buffers of, and is kicked by another", () => {
  const bench = split();
  const calls: number[] = [];
  bench.file.call = (fd) => calls.push(fd);
  bench.ioctl(VHOST.SET_VRING_CALL, new Uint8Array([TX, 0, 0, 0, 21, 0, 0, 0]));
  bench.ioctl(VHOST.SET_VRING_KICK, new Uint8Array([TX, 0, 0, 0, 20, 0, 0, 0]));
  bench.run();
  bench.rings[TX]!.descriptor(0, BUFFER_BASE + bench.fill(0, "call"), HEADER + 4);
  bench.rings[TX]!.offer(0);
  bench.file.kick(19);
  assertEquals(bench.service(), 0);
  bench.file.kick(20);
  assertEquals(bench.service(), 1);
  assertEquals(calls, [21]);
  bench.ioctl(VHOST.SET_VRING_KICK, new Uint8Array([TX, 0, 0, 0, 255, 255, 255, 255]));
  bench.ioctl(VHOST.SET_VRING_CALL, new Uint8Array([TX, 0, 0, 0, 255, 255, 255, 255]));
  bench.rings[TX]!.offer(0);
  bench.file.kick(20);
  assertEquals(bench.service(), 0);
  bench.kick();
  assertEquals(bench.service(), 1);
  assertEquals(calls, [21]);
});

Deno.test("VdpaDevice reaches bytes that were there before they were mapped, with the smaller of both permissions", () => {
  const bench = new Bench().bind(2, 1).mapAll(1, RING_BASE);
  bench.process.addSection(0x5000000, 0x10000);
  bench.process.back(0x5000000, bench.memory, BUFFERS, 0x1000, READ_WRITE & 1);
  bench.map(0, 0x10000, 0x10000, 0x5000000, 3);
  bench.run();
  bench.rings[TX]!.descriptor(0, 0x10000 + bench.fill(0, "thin") - BUFFERS, HEADER + 4);
  bench.rings[TX]!.offer(0);
  bench.kick();
  bench.service();
  assertEquals(bench.frames, ["thin"]);
  bench.rings[RX]!.descriptor(0, 0x10000, 0x800, WRITE);
  bench.rings[RX]!.offer(0);
  assertEquals(bench.fault(() => bench.deliver("x")).split(" ")[0], "iova-permission");
});
