/** The loops over whole batches must come to what single steps come to: the same bytes, counts and faults. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import { FrameBatch } from "../../core/frame_batch.ts";
import { Memory } from "../../core/memory.ts";
import type { FrameSink, Wire } from "../../core/plugin.ts";
import { XEN_NETIF_CTRL_TYPE } from "../../plugins/xen/mod.ts";
import { Random } from "../random.ts";
import { openPair, type TestPair } from "./pair.ts";
import { RawFrontend } from "./raw_frontend.ts";

/** What something comes to: its result or the fault's message. */
function outcome(work: () => number): number | string {
  try {
    return work();
  } catch (error) {
    if (error instanceof RingFault) return error.message;
    throw error;
  }
}

/** Whether two memories of whole words hold the same. */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  const [ours, theirs] = [a, b].map((bytes) =>
    new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8)
  );
  for (let i = 0; i < ours!.length; i++) if (ours![i] !== theirs![i]) return false;
  return a.length === b.length;
}

/** A device whose frames go back into it, `budget` of them; one by one or in batches. */
class Looped {
  readonly raw: RawFrontend;
  readonly frames: string[] = [];
  readonly drops: string[] = [];
  readonly wire: Wire;
  budget = 0;
  batched = 0;

  constructor(raw: RawFrontend, batches: boolean) {
    this.raw = raw;
    const transmit = (frame: Frame) => {
      if (this.budget === 0 || raw.device.deliver(frame) < 0) return false;
      const copy = new Memory(frame.length);
      frame.copyTo(copy, 0, 0, frame.length);
      this.#took(copy.bytes);
      return true;
    };
    const transmitBatch = (frames: FrameBatch) => {
      frames.count = Math.min(frames.count, this.budget);
      const taken = raw.device.deliverBatch(frames, 0);
      for (let i = 0; i < taken; i++) {
        this.#took(frames.bytes.subarray(frames.offsets[i]!, frames.offsets[i]! + frames.lengths[i]!));
      }
      this.batched += taken;
      return taken;
    };
    const drop = (_queue: number, reason: string) => void this.drops.push(reason);
    this.wire = batches ? { transmit, transmitBatch, drop } : { transmit, drop };
  }

  #took(bytes: Uint8Array): void {
    this.budget--;
    this.frames.push(bytes.toHex());
  }
}

/**
 * These references are granted pages, the upper ones for receive: where the same page is sent from and received
 * into, it matters when it is read. Some may not be read, or written, or are another domain's.
 */
const FIRST = 10;
const FIRST_POSTED = 80;
const LAST = 149;
const LIST = { page: 250, ref: 250 };

/** Writes the same into the memories of several guests. */
function guestSteps(random: Random, guests: readonly RawFrontend[]) {
  const each = (work: (raw: RawFrontend) => void) => guests.forEach(work);
  return {
    grants() {
      for (let ref = FIRST; ref <= LAST; ref++) {
        const flags = random.pick([1, 1, 1, 1, 1, 1, 5, 0]);
        const domid = random.chance(0.02) ? 3 : 0;
        const fill = random.u32() & 0xff;
        each((raw) => {
          raw.grant(ref, ref, flags, domid);
          raw.page(ref).fill(fill).set([ref, fill], 100);
        });
      }
    },
    statics() {
      const refs = Array.from({ length: random.between(1, 150) }, (_, i) => FIRST + i)
        .filter((ref) => ref <= LAST && (guests[0]!.flags(ref) & 3) === 1);
      const entries = refs.map((ref) => [ref, (guests[0]!.flags(ref) & 4) === 0 ? 0 : 1] as const);
      each((raw) => {
        raw.grant(LIST.ref, LIST.page);
        raw.list(LIST.page, entries);
        raw.ask(XEN_NETIF_CTRL_TYPE.ADD_GREF_MAPPING, 0, LIST.ref, entries.length);
      });
    },
    removals() {
      const refs = Array.from({ length: random.between(1, 40) }, () => random.between(FIRST, LAST));
      each((raw) => {
        raw.list(LIST.page, refs);
        raw.ask(XEN_NETIF_CTRL_TYPE.DEL_GREF_MAPPING, 0, LIST.ref, refs.length);
      });
    },
    send() {
      for (let i = random.below(30); i > 0; i--) {
        const odd = random.chance(0.05);
        const fields = {
          gref: odd
            ? random.pick([0, 200, 511, 512, 0x7fffffff, 0xffffffff])
            : random.between(FIRST, FIRST_POSTED - 1),
          offset: random.pick([0, 0, 0, random.below(4096)]),
          flags: odd ? random.pick([1, 2, 3, 4, 8, 0x10]) : 0,
          id: random.below(0x10000),
          size: random.pick([0, 13, 14, 60, 60, 128, 129, 1514, 4096, random.below(4097)]),
        };
        if (fields.offset + fields.size > 4096 && !odd) fields.offset = 0;
        each((raw) => raw.tx(fields));
      }
      each((raw) => raw.publish("tx"));
    },
    post() {
      const [first, count] = [random.between(FIRST_POSTED, LAST - 30), random.below(40)];
      each((raw) => raw.post(first, count));
      if (random.chance(0.02)) each((raw) => raw.publish("rx", 5000));
    },
  };
}

Deno.test("XenDevice comes to the same in batches as frame by frame, whatever it is sent", () => {
  let batched = 0;
  const faults = new Set<unknown>();
  for (let seed = 1; seed <= 250; seed++) {
    const random = new Random(seed);
    const settings = {
      linux: random.chance(0.3),
      policy: random.pick(["linux", "copy"] as const),
      together: random.chance(0.6),
    };
    const [one, many] = [false, true].map((batches) =>
      new Looped(new RawFrontend(settings).connect(), batches)
    ) as [Looped, Looped];
    const guest = guestSteps(random, [one.raw, many.raw]);
    guest.grants();
    if (random.chance(0.6)) guest.statics();
    for (let step = 0; step < 8; step++) {
      if (random.chance(0.2)) guest.removals();
      guest.send();
      guest.post();
      one.budget = many.budget = random.pick([0, 3, 20, 1000]);
      const wanted = outcome(() => one.raw.device.service(one.wire));
      const label = `seed ${seed}, step ${step}, after ${wanted}`;
      assertEquals(outcome(() => many.raw.device.service(many.wire)), wanted, label);
      assert(many.frames.join() === one.frames.join(), label);
      assertEquals(many.drops, one.drops, label);
      assertEquals(many.raw.device.counters(), one.raw.device.counters(), label);
      assert(isSame(many.raw.guestBytes, one.raw.guestBytes), label);
      assertEquals(many.raw.grants.mapped, one.raw.grants.mapped, label);
      if (typeof wanted !== "number") {
        faults.add(wanted.split(" ").at(-2));
        break;
      }
    }
    batched += many.batched;
  }
  assert(batched > 1000, `${batched} frames`);
  assert(faults.size > 1);
});

function never(): never {
  throw new Error("A packet did not go in a batch");
}

for (
  const options of [
    {},
    { "pool": "recycle" },
    { "pool": "copy" },
    { "static-grants": false },
    { "static-grants": false, "grant-policy": "copy" },
    { "static-grants": false, "grant-table": "v2" },
  ]
) {
  Deno.test(`packets of one slot go in batches all the way with ${JSON.stringify(options)}`, () => {
    const pair = openPair(options);
    const taken = { wire: 0, sink: 0 };
    const wire: Wire = {
      transmit: never,
      transmitBatch: (frames) => {
        const count = pair.device.deliverBatch(frames, 0);
        taken.wire += count;
        return count;
      },
      drop: never,
    };
    const sink: FrameSink = {
      piece: never,
      batch: (_queue, frames) => void (taken.sink += frames.count),
    };
    const frames = new FrameBatch(pair.host.memory);
    for (let round = 0; round < 5; round++) {
      frames.count = 64;
      for (let i = 0; i < frames.count; i++) {
        frames.offsets[i] = pair.host.captureOffset;
        frames.lengths[i] = [60, 128, 129, 1514, 4096][i % 5]!;
      }
      assertEquals(pair.driver.transmitBatch(frames, 0, 0), 64);
      pair.driver.flush();
      pair.device.service(wire);
      pair.driver.receive(sink);
    }
    assertEquals(taken, { wire: 320, sink: 320 });
  });
}

Deno.test("XenDevice ends the mappings of a batch that the wire throws at, and goes on with it", () => {
  const raw = new RawFrontend({ together: true }).connect();
  for (let i = 0; i < 4; i++) {
    raw.grant(FIRST + i, FIRST + i);
    raw.tx({ gref: FIRST + i, id: i, size: 1000 });
  }
  raw.publish("tx");
  const mapped = raw.grants.mapped;
  const transmitBatch = () => {
    assertEquals(raw.grants.mapped, mapped + 4);
    throw new Error("Not now");
  };
  assertThrows(() => raw.device.service({ ...raw.wire, transmitBatch }), Error, "Not now");
  assertEquals(raw.grants.mapped, mapped);
  assertEquals(raw.service(), 4);
  assertEquals(raw.frames.map((frame) => frame.length), [1000, 1000, 1000, 1000]);
  assertEquals(raw.grants.mapped, mapped);
});

/** Counts as a sink of single pieces does, whichever way frames come. */
class Sink implements FrameSink {
  readonly frames: string[] = [];
  batches = 0;
  batch?: (queue: number, frames: FrameBatch) => void;
  #parts = "";

  constructor(batches: boolean) {
    if (!batches) return;
    this.batch = (queue, { bytes, offsets, lengths, count }) => {
      this.batches += count;
      for (let i = 0; i < count; i++) this.piece(queue, bytes, offsets[i]!, lengths[i]!, false);
    };
  }

  piece(queue: number, bytes: Uint8Array, offset: number, length: number, more: boolean): void {
    this.#parts += bytes.subarray(offset, offset + length).toHex();
    if (more) return;
    this.frames.push(`${queue} ${this.#parts}`);
    this.#parts = "";
  }
}

/** Pages that a frontend has made: its grant table, rings and packets, but not what it only copies through. */
function guestBytes({ driver, host, ring }: TestPair, pool: string): Uint8Array {
  const { memory, dma } = host;
  if (pool !== "copy") return memory.bytes.subarray(0, dma.region.last - dma.free);
  const table = dma.region.offsetOf(driver.grants.address);
  const tableEnd = dma.region.offsetOf(driver.grants.statusAddress) + driver.grants.entries * 2;
  const parts = [memory.bytes.subarray(table, Math.max(tableEnd, table + driver.grants.entries * 8))];
  for (const name of ["tx", "rx"] as const) parts.push(memory.bytes.subarray(ring(name), ring(name) + 4096));
  return concat(parts);
}

/** Sends frames until the ring is full, and publishes them: how many it took. */
function sendAll({ driver, host }: TestPair, frames: FrameBatch, batches: boolean): number {
  frames.bytes = host.memory.bytes;
  let sent = 0;
  while (sent < frames.count) {
    if (batches) {
      sent = driver.transmitBatch(frames, sent, 0);
      if (sent === frames.count) break;
    }
    if (driver.transmit(frames.bytes, frames.offsets[sent]!, frames.lengths[sent]!, 0) < 0) break;
    sent++;
  }
  driver.flush();
  return sent;
}

Deno.test("XenDriver comes to the same in batches as frame by frame, whatever it is answered", () => {
  let batched = 0;
  const faults = new Set<unknown>();
  for (let seed = 1; seed <= 40; seed++) {
    const random = new Random(seed);
    const hostile = random.chance(0.5);
    const options = {
      "static-grants": random.chance(0.6),
      pool: random.pick(["fixed", "recycle", "copy"]),
      grants: random.pick([512, 100, 20]),
      "grant-table": random.pick(["v1", "v2"]),
      profile: random.pick(["spec", "linux"]),
      copybreak: random.pick([65535, 600]),
      "tx-offset": random.pick([0, 0, 100, 4090]),
    };
    const [one, many] = [openPair(options), openPair(options)];
    const [oneSink, manySink] = [new Sink(false), new Sink(true)];
    const frames = new FrameBatch();
    for (let step = 0; step < 15; step++) {
      frames.count = random.pick([1, 5, 120, 256]);
      for (let i = 0; i < frames.count; i++) {
        frames.offsets[i] = one.host.captureOffset + random.below(4096);
        frames.lengths[i] = random.pick([14, 60, 60, 576, 1500, 4096, random.below(9000)]);
      }
      const fill = random.u32() & 0xff;
      for (const { host } of [one, many]) {
        host.memory.bytes.fill(fill, host.captureOffset, host.captureOffset + 16384);
        for (let i = 0; i < 16384; i += 61) host.memory.bytes[host.captureOffset + i] = i >> 4;
      }
      const label = `seed ${seed}, step ${step}, ${JSON.stringify(options)}`;
      assertEquals(sendAll(many, frames, true), sendAll(one, frames, false), label);
      assertEquals(
        outcome(() => many.device.service(many.wire)),
        outcome(() => one.device.service(one.wire)),
        label,
      );
      if (hostile && step > 10) {
        const [ring, at] = [random.pick(["tx", "rx"] as const), 64 + 2 * random.below(1000)];
        const value = random.pick([0, 1, 8, 4096, 4097, 0xffff, random.u32() & 0xffff]);
        for (const pair of [one, many]) pair.host.memory.view.setUint16(pair.ring(ring) + at, value, true);
      }
      const wanted = outcome(() => one.driver.receive(oneSink));
      assertEquals(outcome(() => many.driver.receive(manySink)), wanted, label);
      assert(manySink.frames.join() === oneSink.frames.join(), label);
      assertEquals(many.driver.counters(), one.driver.counters(), label);
      assert(isSame(guestBytes(many, options.pool), guestBytes(one, options.pool)), label);
      if (typeof wanted !== "number") {
        faults.add(wanted.split(" ").at(-2));
        break;
      }
      oneSink.frames.length = manySink.frames.length = 0;
    }
    batched += manySink.batches;
  }
  assert(batched > 5000, `${batched} frames`);
  assert(faults.size > 1);
});
