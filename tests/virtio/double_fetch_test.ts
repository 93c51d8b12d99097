import { assert, assertEquals } from "@std/assert";
import { READ_WRITE } from "../../core/address_space.ts";
import { NO_BUFFERS, OVERSIZE, type Wire } from "../../core/plugin.ts";
import { assertFault } from "./faults.ts";
import { BUFFERS, frameOf, NOWHERE, RAM, RAM_SIZE, RawNet } from "./raw_net.ts";
import { INDIRECT, NEXT, WRITE, writeDesc } from "./raw_ring.ts";

/** What a driver that writes while the device reads can do at most: everything in all rings, and all net headers. */
function scramble(net: RawNet): void {
  for (const ring of [net.rx, net.tx]) {
    for (let i = 0; i < ring.size; i++) {
      ring.setDesc(i, { addr: 0xdead_0000, len: 0xffff_ffff, flags: 7, next: 99 });
    }
    for (let at = ring.avail; at < ring.avail + 4 + 2 * ring.size; at++) net.memory.bytes[at] = 0xff;
  }
}

Deno.test("what the device has read of a chain stays, whatever the driver writes while the frame is on the wire", () => {
  const net = new RawNet({ features: ["INDIRECT_DESC"], profile: "linux" });
  const table = BUFFERS + 0x4000;
  const payload = Uint8Array.from({ length: 100 }, (_, i) => i);
  net.put(BUFFERS + 0x1000, payload);
  writeDesc(net.memory.view, net.at(table), { addr: BUFFERS, len: 12, flags: NEXT, next: 1 });
  writeDesc(net.memory.view, net.at(table) + 16, { addr: BUFFERS + 0x1000, len: 100 });
  net.tx.setDesc(5, { addr: table, len: 32, flags: INDIRECT });
  net.tx.offer(5);
  net.onFrame = () => {
    scramble(net);
    net.memory.bytes.fill(0xff, net.at(table), net.at(table) + 32);
    // The header was checked: it is not looked at again.
    net.memory.bytes.fill(0xff, net.at(BUFFERS), net.at(BUFFERS) + 12);
  };
  let code = "";
  try {
    net.kick(1);
  } catch (error) {
    code = (error as { code: string }).code;
  }
  // The frame was read through the old table; the used element names the old head; the new index is the fault.
  assertEquals(net.frames, [payload]);
  assertEquals([net.tx.usedIdx, net.tx.usedElem(0)], [1, [5, 0]]);
  assertEquals(code, "avail-idx-jump");
});

Deno.test("an index that was read once bounds what is consumed, and a head that was read once is the one used", () => {
  const net = new RawNet();
  for (const head of [3, 1, 6]) net.tx.offer(net.tx.chain(head, net.packet(BUFFERS + head * 64, [head])));
  net.onFrame = () => {
    // All heads become 0, and the index moves back to where the device began.
    for (let slot = 0; slot < 8; slot++) net.memory.view.setUint16(net.tx.avail + 4 + 2 * slot, 0, true);
  };
  net.kick(1);
  assertEquals(net.frames.map((frame) => frame[0]), [3, 1, 6]);
  assertEquals([0, 1, 2].map((slot) => net.tx.usedElem(slot)[0]), [3, 1, 6]);
});

Deno.test("receive buffers keep their place and length while a frame is written, even into the ring itself", () => {
  // The second buffer's chain is changed by the bytes of the frame that fill the first one.
  const net = new RawNet({ features: ["MRG_RXBUF"], profile: "dpdk" });
  const descs = RAM + 0 * 0x8000;
  net.rx.setDesc(0, { addr: descs, len: 64, flags: WRITE });
  net.rx.setDesc(1, { addr: BUFFERS, len: 100, flags: WRITE });
  net.rx.offer(0, 1);
  const frame = new Uint8Array(120).fill(0xee);
  net.arrive(frame);
  // The frame lies where the descriptors said when they were read: 12 + 52 bytes over the table, the rest behind.
  assertEquals(net.get(descs + 12, 52), new Uint8Array(52).fill(0xee));
  assertEquals(net.get(BUFFERS, 68), new Uint8Array(68).fill(0xee));
  assertEquals([net.rx.usedElem(0), net.rx.usedElem(1)], [[0, 64], [1, 68]]);
});

Deno.test("the shared used index is never read back: a driver that scribbles on it confuses only itself", () => {
  const net = new RawNet();
  for (let i = 0; i < 5; i++) {
    net.tx.usedIdx = 0x4321;
    net.tx.offer(net.tx.chain(i, net.packet(BUFFERS, [i])));
    net.kick(1);
    assertEquals([net.tx.usedIdx, net.tx.usedElem(i)], [i + 1, [i, 0]]);
  }
});

Deno.test("a wire that refuses keeps the chain: it is read again, and counts once", () => {
  const net = new RawNet({ features: ["INDIRECT_DESC"] });
  const table = BUFFERS + 0x4000;
  net.packet(BUFFERS, []);
  net.put(BUFFERS + 0x1000, [1, 2, 3]);
  writeDesc(net.memory.view, net.at(table), { addr: BUFFERS, len: 12, flags: NEXT, next: 1 });
  writeDesc(net.memory.view, net.at(table) + 16, { addr: BUFFERS + 0x1000, len: 3 });
  net.tx.setDesc(0, { addr: table, len: 32, flags: INDIRECT });
  net.tx.offer(0, net.tx.chain(1, { addr: BUFFERS, len: 12 }, { addr: BUFFERS + 0x1000, len: 2 }));
  net.refusing = true;
  for (let i = 0; i < 4; i++) assertEquals(net.kick(1), 0);
  assertEquals(net.tx.usedIdx, 0);
  net.refusing = false;
  assertEquals(net.kick(1), 2);
  assertEquals(net.frames, [Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2)]);
  const counters = net.device.counters();
  assertEquals(
    ["chains", "descriptors", "indirect_tables"].map((name) => counters[`device.tx.${name}`]),
    [2, 4, 1],
  );
});

Deno.test("a frame that finds too few merged buffers waits, and no buffer is lost or half filled", () => {
  const net = new RawNet({ features: ["MRG_RXBUF"] });
  for (const head of [0, 1]) {
    net.rx.offer(net.rx.chain(head, { addr: BUFFERS + head * 256, len: 100, flags: WRITE }));
  }
  const frame = new Uint8Array(250).fill(9);
  for (let i = 0; i < 3; i++) assert(net.arrive(frame) < 0);
  assertEquals([net.rx.usedIdx, net.get(BUFFERS, 512).every((byte) => byte === 0)], [0, true]);
  net.rx.offer(net.rx.chain(2, { addr: BUFFERS + 512, len: 100, flags: WRITE }));
  assertEquals(net.arrive(frame), 0);
  assertEquals([0, 1, 2].map((slot) => net.rx.usedElem(slot)), [[0, 100], [1, 100], [2, 62]]);
  assertEquals(net.get(BUFFERS + 10, 2)[0], 3);
  assertEquals(net.device.counters()["device.rx.descriptors"], 3);
});

Deno.test("a buffer that is posted while the device asks for a kick is filled at once", () => {
  for (const first of [[], [0]]) {
    const net = new RawNet({ features: ["MRG_RXBUF", "EVENT_IDX"] });
    const post = (head: number) =>
      net.rx.offer(net.rx.chain(head, { addr: BUFFERS + head * 256, len: 100, flags: WRITE }));
    first.forEach(post);
    const queue = net.device.queues[0]!;
    const { enableNotify } = queue;
    let asked = 0;
    queue.enableNotify = () => {
      // The driver publishes just before the device has written the event index, and so does not kick.
      if (asked++ === 0) post(first.length);
      return enableNotify.call(queue);
    };
    const frame = new Uint8Array(50 + 100 * first.length).fill(7);
    assertEquals([net.arrive(frame), asked], [0, 1]);
    const lengths = [...first.map(() => 100), 62];
    assertEquals([0, 1].slice(0, lengths.length).map((slot) => net.rx.usedElem(slot)[1]), lengths);
    assertEquals(net.get(BUFFERS + 256 * first.length + lengths.at(-1)! - 1, 2), Uint8Array.of(7, 0));
  }
});

Deno.test("with MTU no frame is delivered that is more than 65535 bytes behind its Ethernet header", () => {
  for (const [features, verdict] of [[["MTU"], OVERSIZE], [[], 0]] as const) {
    const net = new RawNet({ features });
    for (const head of [0, 1]) {
      net.rx.offer(net.rx.chain(head, { addr: BUFFERS, len: 0x2_0000, flags: WRITE }));
    }
    assertEquals(net.arrive(new Uint8Array(65535 + 14 + 1)), verdict);
    assertEquals(net.arrive(new Uint8Array(65535 + 14)), 0);
  }
});

Deno.test("with MTU the same holds for frames that go in batches", () => {
  const net = new RawNet({ features: ["MTU"] });
  for (const head of [0, 1]) {
    net.rx.offer(net.rx.chain(head, { addr: BUFFERS, len: 0x2_0000, flags: WRITE }));
  }
  const batches: number[] = [];
  const wire: Wire = {
    transmit: (frame) => {
      const into = net.device.deliver(frame);
      if (into === OVERSIZE) wire.drop(0, "oversize");
      return into !== NO_BUFFERS;
    },
    transmitBatch: (frames) => {
      batches.push(net.device.deliverBatch(frames, 0));
      return batches.at(-1)!;
    },
    drop: (_queue, reason) => void drops.push(reason),
  };
  const drops: string[] = [];
  const at = BUFFERS + 0x4_0000;
  [100, 65535 + 15, 200].forEach((length, head) => {
    net.tx.setDesc(head, { addr: at + 0x2_0000 * head, len: 12 + length });
    net.tx.offer(head);
  });
  net.device.notify(1);
  assertEquals(net.device.service(wire), 3);
  assertEquals([drops, batches[0], net.rx.usedIdx], [["oversize"], 0, 2]);
  assertEquals([0, 1].map((slot) => net.rx.usedElem(slot)[1]), [112, 212]);
});

Deno.test("a frame that no buffers can hold is told from one that needs more buffers", () => {
  const post = (net: RawNet, ...heads: number[]) => {
    for (const head of heads) {
      net.rx.offer(net.rx.chain(head, { addr: BUFFERS + head * 256, len: 100, flags: WRITE }));
    }
  };
  const merging = new RawNet({ features: ["MRG_RXBUF"], size: 4 });
  post(merging, 0, 1, 2);
  assertEquals(merging.arrive(new Uint8Array(389)), NO_BUFFERS);
  post(merging, 3);
  assertEquals(merging.arrive(new Uint8Array(389)), OVERSIZE);
  assertEquals([merging.rx.usedIdx, merging.arrive(new Uint8Array(388))], [0, 0]);
  const single = new RawNet({ size: 4 });
  assertEquals(single.arrive(new Uint8Array(89)), NO_BUFFERS);
  post(single, 0);
  assertEquals(single.arrive(new Uint8Array(89)), OVERSIZE);
  assertEquals([single.rx.usedIdx, single.arrive(new Uint8Array(88))], [0, 0]);
});

Deno.test("nothing outside the mapped regions is read or written", () => {
  const net = new RawNet();
  net.rx.offer(net.rx.chain(0, { addr: RAM + RAM_SIZE - 40, len: 60, flags: WRITE }));
  assertEquals(net.arrive(new Uint8Array(48).fill(3)), 0);
  assert(net.guarded);
});

Deno.test("what was given back but not shown is not written any more once the ring is unmapped", () => {
  for (const broken of [false, true]) {
    const net = new RawNet();
    net.rx.offer(net.rx.chain(0, { addr: BUFFERS, len: 100, flags: WRITE }));
    assertEquals(net.device.deliver(frameOf(new Uint8Array(10))), 0);
    if (broken) {
      net.rx.offer(77);
      assertFault(() => net.device.deliver(frameOf(new Uint8Array(10))), "device", "head-out-of-range");
    }
    net.space.unmap(net.space.find(RAM, 0)!);
    const before = net.memory.bytes.slice();
    // A bell for fresh buffers is no reason to write, either.
    net.device.notify(0);
    if (broken) net.device.publish();
    else assertFault(() => net.device.publish(), "device", "bad-ring-address");
    net.device.publish();
    assertEquals(net.memory.bytes, before);
  }
});

Deno.test("a map that changes for the better loses nothing that was given back", () => {
  const net = new RawNet();
  net.rx.offer(net.rx.chain(3, { addr: BUFFERS, len: 100, flags: WRITE }));
  assertEquals(net.device.deliver(frameOf(new Uint8Array(10))), 0);
  net.space.map(NOWHERE, net.memory, 0, 0x1000, READ_WRITE);
  net.device.publish();
  assertEquals([net.rx.usedIdx, net.rx.usedElem(0), net.interrupts], [1, [3, 22], [0]]);
});
