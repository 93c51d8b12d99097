import { assert, assertEquals } from "@std/assert";
import { FULL } from "../../core/plugin.ts";
import { BufferStates } from "../../plugins/gve/dqo/buffer_states.ts";
import { DriverCounters } from "../../plugins/gve/counters.ts";
import { Fifo } from "../../plugins/gve/gqi/fifo.ts";
import {
  DQO_COMPLETION,
  DQO_DTYPE,
  GQI_TYPE,
  gve_tx_pkt_desc,
  gve_tx_pkt_desc_dqo,
  structures,
  TransmitRequest,
} from "../../plugins/gve/mod.ts";
import { HoldingStack, PagePool } from "../../plugins/gve/pages.ts";
import { swap32 } from "../../plugins/gve/registers.ts";
import { Memory } from "../../core/memory.ts";
import { Random } from "../random.ts";
import type { Surroundings } from "./replay_context.ts";
import { dqoRx, dqoTx, gqiRx, gqiTx, packet } from "./raw_device.ts";

Deno.test("tags are free, pending, waiting or timed out: together always the table", () => {
  const random = new Random(1);
  const { queue, complete, around } = dqoTx(true);
  const states = new Map<number, string>();
  const of = (state: string) => [...states].filter(([, value]) => value === state).map(([tag]) => tag);
  let free: number[] = Array.from({ length: 31 }, (_, i) => i);
  let head = 0;
  for (let step = 0; step < 4000; step++) {
    const choice = random.below(10);
    if (choice < 4) {
      const before = queue.tail;
      if (queue.transmit(packet(60)) !== FULL) {
        const at = ((queue.tail - 1) & 63) * 16 + 12;
        const tag = around.memory.view.getUint16(at, true);
        assert(free.includes(tag), "a tag in use is not given out");
        free = free.filter((other) => other !== tag);
        states.set(tag, "pending");
        assertEquals((queue.tail - before) & 63, 2, "descriptors are the doorbell's advance");
      }
    } else if (choice < 6 && of("pending").length > 0) {
      const tag = random.pick(of("pending"));
      complete(DQO_COMPLETION.PACKET, tag);
      states.delete(tag);
      free.push(tag);
    } else if (choice === 6 && of("pending").length > 0) {
      const tag = random.pick(of("pending"));
      complete(DQO_COMPLETION.MISS, tag);
      states.set(tag, "waiting");
    } else if (choice === 7 && of("waiting").length > 0) {
      const tag = random.pick(of("waiting"));
      complete(DQO_COMPLETION.REINJECTION, tag);
      states.delete(tag);
      free.push(tag);
    } else if (choice === 8) {
      head = queue.tail;
      complete(DQO_COMPLETION.DESCRIPTOR, head);
    }
    queue.clean();
    const { free: count, pending, waiting, timedOut, size } = queue.tagCounts;
    assertEquals(count + pending + waiting + timedOut, size);
    assertEquals([pending, waiting, timedOut], [of("pending").length, of("waiting").length, 0]);
  }
});

Deno.test("what is available in the FIFO and what is in flight is its size", () => {
  const random = new Random(2);
  const { queue, fifo, count } = gqiTx(true, new Fifo(8 * 4096));
  assert(fifo);
  const flying: { at: number; bytes: number; descriptors: number }[] = [];
  let held = 0;
  for (let step = 0; step < 3000; step++) {
    if (random.chance(0.6)) {
      const at = queue.posted;
      if (queue.transmit(packet(random.between(1, random.chance(0.1) ? 20000 : 2000))) === 0) {
        const pieces = queue.pieces;
        const bytes = pieces.reduce((sum, value, i) => i % 3 === 0 ? sum : sum + value, 0);
        flying.push({ at, bytes, descriptors: queue.posted - at });
        held += bytes;
      }
    } else if (flying.length > 0) {
      const done = flying.shift()!;
      held -= done.bytes;
      count(done.at + done.descriptors);
      queue.clean();
    }
    assertEquals(fifo.available + held, fifo.size);
    assertEquals(fifo.head % 64, 0);
    assert(fifo.head < fifo.size);
  }
});

Deno.test("a doorbell advances by a packet's descriptors, which hold all of its bytes", () => {
  const random = new Random(6);
  const view = (around: Surroundings) => around.memory.view;
  const request = () => {
    const what = new TransmitRequest();
    const tso = random.chance(0.3);
    const header = 54;
    what.push(new Uint8Array(20000), 0, header + (tso ? random.between(1, 900) : 0), 0x1000000);
    for (let i = random.below(4); i > 0; i--) {
      what.push(what.bytes[0]!, 0, random.between(1, 20000), 0x2000000);
    }
    what.l4Hash = random.chance(0.5);
    what.segmentSize = tso ? 1448 : 0;
    Object.assign(what, { checksumStart: 34, transportOffset: 34, tcpHeaderLength: 20, networkOffset: 14 });
    return what;
  };
  for (const fifo of [new Fifo(32 * 4096), null]) {
    const { queue, around, count } = gqiTx(true, fifo);
    for (let i = 0; i < 500; i++) {
      const what = request();
      const first = queue.posted;
      if (queue.transmit(what) !== 0) continue;
      queue.flush();
      const advance = swap32(around.doorbells.at(-1)!) - first;
      const at = (descriptor: number) => (first + descriptor) % 64 * gve_tx_pkt_desc.size;
      assertEquals(view(around).getUint8(at(0) + gve_tx_pkt_desc.offsetOf("desc_cnt")), advance);
      let bytes = 0;
      for (let k = 0; k < advance; k++) {
        const type = view(around).getUint8(at(k)) & 0xf0;
        assertEquals(type === GQI_TYPE.SEG || type === GQI_TYPE.MTD, k > 0);
        if (type !== GQI_TYPE.MTD) {
          bytes += view(around).getUint16(at(k) + gve_tx_pkt_desc.offsetOf("seg_len"));
        }
      }
      assertEquals(bytes, what.length);
      count(queue.posted);
      queue.clean();
    }
    assert(queue.posted > 64 * 4, "the ring went around");
  }
  const { queue, around, complete } = dqoTx(true);
  for (let i = 0, tag = 0; i < 500; i++) {
    const what = request();
    const first = queue.tail;
    if (queue.transmit(what) !== 0) continue;
    queue.flush();
    const advance = (around.doorbells.at(-1)! - first) & 63;
    let bytes = 0;
    for (let k = 0; k < advance; k++) {
      const at = (first + k) % 64 * gve_tx_pkt_desc_dqo.size;
      const values = gve_tx_pkt_desc_dqo.decode(around.memory.bytes.slice(at, at + gve_tx_pkt_desc_dqo.size));
      if (values["dtype"] !== DQO_DTYPE.PACKET) continue;
      bytes += Number(values["buf_size"]);
      tag = Number(values["compl_tag"]);
      assertEquals(values["end_of_packet"], k === advance - 1 ? 1 : 0);
    }
    assertEquals(bytes, what.length);
    complete(DQO_COMPLETION.DESCRIPTOR, queue.tail);
    complete(DQO_COMPLETION.PACKET, tag);
    queue.clean();
  }
});

Deno.test("buffer states are posted, recycled, used or free, and the rings agree", () => {
  const random = new Random(3);
  for (const hold of [0, 5, 100]) {
    const { queue, states, complete, posted, sink } = dqoRx(true, { hold });
    let next = 0;
    for (let step = 0; step < 400; step++) {
      const most = (queue.state.tail - queue.state.head) & 63;
      for (let i = random.between(0, most); i > 0; i--) complete(posted(next++), random.between(1, 2048));
      queue.receive(sink);
      const census = states.census();
      assertEquals(census.posted + census.recycled + census.used + census.free, states.size);
      const { tail, head, freeSlots } = queue.state;
      assertEquals(census.posted, (tail - head) & 63);
      assertEquals(freeSlots + census.posted, 64);
    }
    assertEquals(sink.frames.length, next);
  }
});

/** Sections of a page: the stack must never hold one that is posted. */
for (
  const [pageSize, bufferSize] of [[4096, 2048], [8192, 2048], [65536, 2048], [4096, 4096], [
    4096,
    1024,
  ]] as const
) {
  const sections = pageSize / bufferSize;
  Deno.test(`no buffer is posted while the stack holds it: ${sections} section${sections > 1 ? "s" : ""} per page of ${pageSize}`, () => {
    const random = new Random(pageSize + bufferSize);
    let next = 0;
    const pool = new PagePool(
      {
        memory: new Memory(0),
        free: Infinity,
        allocate: (size) => ({ offset: 0, address: next += size }),
      },
      pageSize,
      100000,
    );
    const counters = new DriverCounters();
    const states = new BufferStates(pool, counters, { states: 64, bufferSize, pageList: undefined });
    const posted: number[] = [];
    const held: { page: number; address: number }[] = [];
    for (let step = 0; step < 20000; step++) {
      if (posted.length < 15 && random.chance(0.5)) {
        const state = states.take();
        if (state >= 0) {
          const address = pool.addressOf(states.pages[state]!) + states.offsets[state]!;
          assert(!held.some((other) => other.address === address), "a held buffer is posted");
          assert(states.isPosted(state));
          posted.push(state);
        }
      } else if (posted.length > 0 && random.chance(0.7)) {
        const state = posted.shift()!;
        const page = states.pages[state]!;
        const address = pool.addressOf(page) + states.offsets[state]!;
        if (random.chance(0.2)) states.recycle(state);
        else {
          held.push({ page, address });
          states.giveAway(state);
        }
      } else if (held.length > 0) {
        const { page } = held.splice(random.below(held.length), 1)[0]!;
        pool.drop(page, 1);
      }
      if (held.length > 60) pool.drop(held.shift()!.page, 1);
    }
    const { rxRecycled, rxReused, rxAllocated } = counters;
    assert(rxRecycled > 0 && rxAllocated > 0);
    if (sections === 1) assert(rxReused > 0, "one buffer per page comes back from the used list");
  });
}

Deno.test("the driver tries the used list five times before it takes a new page, once more without a free state", () => {
  let next = 0;
  const pool = new PagePool(
    {
      memory: new Memory(0),
      free: Infinity,
      allocate: (size) => ({ offset: 0, address: next += size }),
    },
    4096,
    100,
  );
  const counters = new DriverCounters();
  const states = new BufferStates(pool, counters, { states: 8, bufferSize: 4096, pageList: undefined });
  const taken = Array.from({ length: 8 }, () => states.take());
  for (const state of taken) states.giveAway(state);
  assertEquals(states.usedCount, 8);
  // Of eight pages the stack lets the seventh go: five tries do not reach it, the sixth page is given up.
  pool.drop(states.pages[taken[6]!]!, 1);
  const state = states.take();
  assertEquals(state, taken[5]!, "the state is used again, with a new page");
  assertEquals([counters.rxDiscarded, counters.rxAllocated, counters.rxReused], [1, 9, 0]);
  assertEquals(states.usedCount, 8, "the count drifts here, as with Linux");
  assertEquals(states.take(), taken[6]!, "now the free one is at the head");
  assertEquals(counters.rxReused, 1);
});

Deno.test("a page_count bias that is used up is topped up", () => {
  let next = 0;
  const pool = new PagePool(
    {
      memory: new Memory(0),
      free: Infinity,
      allocate: (size) => ({ offset: 0, address: next += size }),
    },
    4096,
    10,
  );
  const page = pool.take();
  let bias = pool.bias(page);
  assertEquals([bias, pool.counts[page]], [0x7fffffff, 0x7fffffff]);
  bias = 0;
  // All of the driver's references went to the stack, which let all but three go.
  pool.drop(page, 0x7fffffff - 3);
  bias = pool.topUp(page);
  assertEquals(pool.counts[page]! - bias, 3);
  assertEquals(pool.counts[page], 0x7fffffff);
});

Deno.test("a GQI page is flipped when it is free, copied when it is held (page list)", () => {
  const { queue, describe, slot, sink, around } = gqiRx(true, { hold: 1000 });
  assertEquals([slot(0), slot(1)], [0, 4096]);
  for (let i = 0; i < 64; i++) describe(502, i % 7 + 1);
  queue.receive(sink);
  assertEquals([slot(0), slot(1)], [2048, 6144], "the other half is posted");
  for (let i = 64; i < 128; i++) describe(502, i % 7 + 1);
  queue.receive(sink);
  // The stack lets a few frames go by chance; all other pages are held, so their slots stay and data are copied.
  const stayed =
    Array.from({ length: 64 }, (_, i) => slot(i)).filter((offset) => offset % 4096 === 2048).length;
  assert(stayed >= 50, `${stayed} slots stayed`);
  assertEquals(around.context.counters.rxBounceBytes, stayed * 500);
  assertEquals(sink.frames.length, 128);
});

Deno.test("a GQI page is flipped when it was free, replaced when it is held (raw addressing)", () => {
  const { queue, describe, slot, sink, around } = gqiRx(true, { qpl: false, hold: 200 });
  const first = slot(0);
  for (let i = 0; i < 40; i++) describe(502, i % 7 + 1);
  queue.receive(sink);
  assertEquals(slot(0), first + 2048);
  for (let i = 40; i < 104; i++) describe(502, i % 7 + 1);
  queue.receive(sink);
  assert(slot(0) !== first && slot(0) !== first + 2048, "a new page");
  assert(around.context.counters.rxDiscarded > 0);
});

Deno.test("a stack lets go of what it holds when memory is short", () => {
  let left = 4;
  const pool = new PagePool(
    {
      memory: new Memory(0),
      get free() {
        return left > 0 ? 1 << 20 : 0;
      },
      allocate: () => ({ offset: 0, address: left-- }),
    },
    4096,
    100,
  );
  const stack = new HoldingStack(pool, 10, 1);
  pool.onPressure = () => stack.shrink();
  for (let i = 0; i < 4; i++) {
    stack.fragment(pool.take());
    stack.complete();
  }
  for (let i = 0; i < 4; i++) assert(pool.take() >= 0, "held pages came back");
  assertEquals(stack.references, 0);
});

Deno.test("a decoded structure encodes to the same bytes, reserved and stale ones included", () => {
  const random = new Random(4);
  for (const struct of structures) {
    for (let i = 0; i < 20; i++) {
      const bytes = random.bytes(struct.size);
      assertEquals(struct.encode(struct.decode(bytes)), bytes, struct.name);
    }
  }
});

Deno.test("PagePool keeps addresses and references of pages when it gets more", () => {
  const high = 3 * 2 ** 32;
  let next = 0;
  const pool = new PagePool(
    {
      memory: new Memory(0),
      free: Infinity,
      allocate: (size) => ({ offset: next += size, address: high + next }),
    },
    4096,
    5000,
  );
  const pages = Array.from({ length: 5000 }, () => pool.take());
  assertEquals(pool.take(), -1);
  assertEquals(pages.map((page) => pool.counts[page]), pages.map(() => 1));
  assertEquals(pages.map((page) => pool.offsets[page]), pages.map((_, i) => 4096 * (i + 1)));
  assertEquals(pages.map((page) => pool.addressOf(page)), pages.map((_, i) => high + 4096 * (i + 1)));
});
