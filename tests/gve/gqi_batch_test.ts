import { assert, assertEquals } from "@std/assert";
import { Frame } from "../../core/frame.ts";
import { FrameBatch, PieceBatch } from "../../core/frame_batch.ts";
import type { ValuesInput } from "../../core/layout.ts";
import { FULL, NO_BUFFERS } from "../../core/plugin.ts";
import { Fifo } from "../../plugins/gve/gqi/fifo.ts";
import * as g from "../../plugins/gve/mod.ts";
import { Random } from "../random.ts";
import { inBatches, outcome, wireTo } from "./both_ways.ts";
import { gqiRx, gqiTx } from "./raw_device.ts";
import { receiving, transmitting } from "./raw_driver.ts";

const PAGE = 4096;
const SIZE = 64;
const { SEG, MTD, TSO } = g.GQI_TYPE;

for (const fifoPages of [0, 4]) {
  for (const strict of [true, false]) {
    const label = `${fifoPages > 0 ? "gqi-qpl" : "gqi-rda"}, ${strict ? "strict" : "linux"}`;
    Deno.test(`a GQI driver puts batches on its ring as it does with each frame: ${label}`, () => {
      let full = 0;
      for (let seed = 0; seed < 24; seed++) {
        const random = new Random(seed);
        const make = () => gqiTx(strict, fifoPages > 0 ? new Fifo(fifoPages * PAGE) : null);
        const sides = [make(), make()];
        let completed = 0;
        for (let step = 0; step < 80; step++) {
          const batch = new FrameBatch();
          batch.count = random.between(1, 20);
          for (let i = 0; i < batch.count; i++) {
            batch.offsets[i] = 32 * PAGE + random.below(2 * PAGE);
            batch.lengths[i] = random.chance(0.02)
              ? 0
              : random.between(1, random.pick([60, 182, 183, 1500, 9000]));
          }
          const results = sides.map(({ queue, around }, side) => {
            batch.bytes = around.memory.bytes;
            const request = new g.TransmitRequest();
            const taken = [];
            for (let next = 0; next < batch.count; next++) {
              if (side === 1) {
                const end = queue.transmitBatch(batch, next, 65535);
                while (next < end) taken.push([next++, 0]);
                if (next === batch.count) break;
              }
              request.clear();
              request.push(batch.bytes, batch.offsets[next]!, batch.lengths[next]!, g.UNMAPPED);
              taken.push([next, queue.transmit(request)]);
            }
            if (step % 3 === 0) queue.flush();
            return taken;
          });
          assertEquals(results[1], results[0]);
          if (results[0]!.some(([, result]) => result === FULL)) full++;
          const posted = sides[0]!.queue.posted;
          // Whole packets at a time; without strictness the counter may run away.
          if (random.chance(0.5)) {
            completed = !strict && random.chance(0.02) ? (posted + 3) >>> 0 : posted;
            const cleaned = sides.map(({ queue, count }) => {
              count(completed);
              return outcome(() => queue.clean());
            });
            assertEquals(cleaned[1], cleaned[0]);
          }
          const [a, b] = sides.map(({ around, queue, fifo }) => ({
            ring: around.hex(0, SIZE * 16),
            fifo: around.hex(16 * PAGE, fifoPages * PAGE),
            head: fifo?.head,
            available: fifo?.available,
            posted: queue.posted,
            completed: queue.completed,
            doorbells: around.doorbells,
            counters: around.context.counters,
          }));
          assertEquals(b, a, `step ${step} of ${seed}`);
        }
      }
      assert(full > 20, `${full} times full`);
    });
  }
}

const ODD_PACKETS: readonly ValuesInput[] = [
  { type_flags: TSO },
  { type_flags: SEG },
  { type_flags: MTD },
  { type_flags: 0x40 },
  { type_flags: 1 },
  { type_flags: 1, l4_hdr_offset: 255, l4_csum_offset: 255 },
  { type_flags: 4 },
  { l4_hdr_offset: 7, l4_csum_offset: 9 },
  { desc_cnt: 0 },
  { desc_cnt: 2 },
  { desc_cnt: 65 },
  { len: 0 },
  { seg_len: 0 },
  { len: 0, seg_len: 0 },
  { len: 5 },
  { seg_addr: 4 * PAGE - 1 },
  { seg_addr: "0xffffffff00000000" },
  { seg_addr: "0x7ffffffff000" },
];

for (const format of ["gqi-qpl", "gqi-rda"]) {
  Deno.test(`a GQI device does with odd descriptors in batches what it does with each: ${format}`, () => {
    const seen = new Set<unknown>();
    for (let seed = 0; seed < 80; seed++) {
      const random = new Random(seed);
      const sides = [0, 1].map(() => transmitting({ format }));
      const frames: [Uint8Array[], Uint8Array[]] = [[], []];
      let limit = 0;
      const wires = frames.map((list, i) => wireTo(list, () => limit, i === 1));
      const room = (raw: typeof sides[0]["raw"]) => {
        for (let page = 0; page < 4; page++) raw.put(raw.buffer + page * PAGE, random.bytes(PAGE));
      };
      for (const { raw } of sides) room(raw);
      // Both have the same bytes.
      sides[1]!.raw.put(sides[1]!.raw.buffer, sides[0]!.raw.get(sides[0]!.raw.buffer, 4 * PAGE));
      for (const { raw, list } of sides) {
        list.forEach((page, i) => raw.put(page, raw.get(raw.buffer + i * PAGE, PAGE)));
      }
      let posted = 0;
      for (let step = 0, going = true; step < 30 && going; step++) {
        for (let i = random.between(0, 20); i > 0; i--) {
          const parts = Array.from(
            { length: random.pick([1, 1, 2, 3]) },
            () => random.between(1, random.pick([60, 200, 1000])),
          );
          parts.forEach((seg_len, part) => {
            const odd = random.chance(seed % 4 * 0.02) ? random.pick(ODD_PACKETS) : {};
            const offset = random.below(4 * PAGE - seg_len + 1);
            const above = random.chance(seed % 4 * 0.01) ? 2 ** 32 : 0;
            const first = { desc_cnt: parts.length, len: parts.reduce((sum, length) => sum + length) };
            for (const { raw, queue } of sides) {
              const seg_addr = (raw.qpl ? 0 : raw.buffer) + offset + above;
              const values = { ...(part === 0 ? first : { type_flags: SEG }), seg_len, seg_addr, ...odd };
              raw.put(queue.ring + (posted % SIZE) * 16, g.gve_tx_pkt_desc.encode(values));
            }
            posted++;
          });
        }
        // Sometimes the wire takes less than there is.
        limit = random.chance(0.8) ? Infinity : frames[0].length + random.below(5);
        const [one, many] = sides.map(({ raw, queue }, i) => {
          raw.ring(queue, posted);
          return outcome(() => raw.device.service(wires[i]!));
        });
        assertEquals(many, one, `step ${step} of ${seed}`);
        const [a, b] = sides.map(({ raw, queue }) => raw.get(queue.counter, 4));
        assertEquals(b, a);
        going = typeof one === "number";
        seen.add(going ? "frames" : (one as { code: string }).code);
        // Whatever the wire did not take must not be overwritten.
        while (going && limit !== Infinity) {
          limit = Infinity;
          const [one, many] = sides.map(({ raw }, i) => outcome(() => raw.device.service(wires[i]!)));
          assertEquals(many, one);
          going = typeof one === "number";
        }
        // A descriptor that waits for others is in the way.
        const { tx } = sides[0]!.raw.device.inspect() as { tx: Record<string, { taken: number }> };
        going &&= tx["0"]!.taken === posted;
        assertEquals(frames[1], frames[0]);
      }
      const [a, b] = sides.map(({ raw }) => raw.device.counters());
      assertEquals(b, a);
    }
    assert(seen.size > 6, [...seen].join());
  });

  Deno.test(`a GQI packet waits in the device until all its descriptors are announced: ${format}`, () => {
    for (const batches of [true, false]) {
      const { raw, queue } = transmitting({ format });
      const address = raw.qpl ? 0 : raw.buffer;
      raw.put(
        queue.ring,
        g.gve_tx_pkt_desc.encode({ desc_cnt: 2, len: 300, seg_len: 182, seg_addr: address }),
      );
      raw.put(
        queue.ring + 16,
        g.gve_tx_seg_desc.encode({ type_flags: SEG, seg_len: 118, seg_addr: address + 182 }),
      );
      const frames: Uint8Array[] = [];
      const wire = wireTo(frames, () => Infinity, batches);
      raw.ring(queue, 1);
      assertEquals([raw.device.service(wire), frames.length], [0, 0]);
      raw.ring(queue, 2);
      assertEquals([raw.device.service(wire), frames.map(({ length }) => length)], [2, [300]]);
    }
  });

  Deno.test(`a GQI device does with odd slots in batches what it does with each: ${format}`, () => {
    const seen = new Set<unknown>();
    for (let seed = 0; seed < 40; seed++) {
      const random = new Random(seed);
      const sides = [0, 1, 2].map(() => receiving({ format }));
      // Buffers lie one on another or apart: what is written first matters as little as with a good driver.
      const shift = random.pick([0, 0, 700]);
      let posted = 0;
      let room = SIZE;
      for (let step = 0, going = true; step < 30 && going; step++) {
        for (let i = random.between(0, room); i > 0; i--) {
          const section = random.below(7) * 2048 + shift;
          const odd = random.chance(seed % 4 * 0.01)
            ? random.pick([4 * PAGE - 2047, 4 * PAGE, "0xffffffff00000000", "0x7ffffffff000"])
            : undefined;
          const above = random.chance(seed % 4 * 0.01) ? 2 ** 32 : 0;
          for (const { raw, queue } of sides) {
            const addr = odd ?? (raw.qpl ? 0 : raw.buffer) + section + above;
            raw.put(queue.ring + (posted % SIZE) * 8, g.gve_rx_data_slot.encode({ addr }));
          }
          posted++;
        }
        const batch = new FrameBatch();
        batch.count = random.between(1, 40);
        batch.bytes = random.bytes(5000);
        for (let i = 0; i < batch.count; i++) {
          batch.offsets[i] = random.below(100);
          batch.lengths[i] = random.between(1, random.pick([60, 2046, 2048, 4500]));
        }
        const cuts = Array.from({ length: batch.count }, () => random.below(3000));
        const [one, many, pieces] = sides.map(({ raw, queue }, side) => {
          raw.ring(queue, posted);
          return outcome(() => {
            const frame = new Frame();
            let next = 0;
            while (next < batch.count) {
              if (side === 1) next = raw.device.deliverBatch(batch, next);
              if (side === 2) next += raw.device.deliverPieces(inPieces(batch, next, cuts));
              if (next === batch.count) break;
              frame.set(batch.bytes, batch.offsets[next]!, batch.lengths[next]!);
              if (raw.device.deliver(frame) === NO_BUFFERS) break;
              next++;
            }
            return next;
          });
        });
        assertEquals(many, one);
        assertEquals(pieces, one);
        const [a, b, c] = sides.map(({ raw, queue, list }) => [
          raw.get(queue.completions, SIZE * 64).toHex(),
          ...(raw.qpl ? list.map((page) => raw.get(page, PAGE)) : [raw.get(raw.buffer, 4 * PAGE)])
            .map((bytes) => bytes.toHex()),
        ]);
        assertEquals(b, a, `step ${step} of ${seed}`);
        assertEquals(c, a, `step ${step} of ${seed}`);
        going = typeof one === "number";
        seen.add(going ? "frames" : (one as { code: string }).code);
        const { rx } = sides[0]!.raw.device.inspect() as { rx: Record<string, { used: number }> };
        room = SIZE - (posted - rx["0"]!.used);
      }
      const [a, b, c] = sides.map(({ raw }) => raw.device.counters());
      assertEquals(b, a);
      assertEquals(c, a);
    }
    assert(seen.size > 1, [...seen].join());
  });
}

/** Frames from index `from` on, each in two pieces if it is longer than its cut. */
function inPieces({ bytes, offsets, lengths, count }: FrameBatch, from: number, cuts: number[]): PieceBatch {
  const batch = new PieceBatch();
  batch.bytes = bytes;
  let piece = 0;
  for (let i = from; i < count; i++) {
    const length = batch.sizes[batch.count] = lengths[i]!;
    const first = cuts[i]! === 0 ? length : Math.min(cuts[i]!, length);
    batch.offsets[piece] = offsets[i]!;
    batch.lengths[piece++] = first;
    if (first < length) {
      batch.offsets[piece] = offsets[i]! + first;
      batch.lengths[piece++] = length - first;
    }
    batch.ends[batch.count++] = piece;
  }
  return batch;
}

/** What a test may do to a descriptor. */
const ODD_DESCRIPTORS: readonly { length?: number; flags?: ValuesInput; skip?: number }[] = [
  { flags: { err: 1 } },
  { flags: { pkt_cont: 1 } },
  { flags: { ipv4: 1, tcp: 1 } },
  { flags: { frag: 1 } },
  { length: 0 },
  { length: 2 },
  { length: 2049 },
  { length: 65535 },
  { skip: 1 },
  { skip: 6 },
];

for (const qpl of [true, false]) {
  for (const strict of [true, false]) {
    for (const options of [{ copybreak: 256 }, { hold: 9 }, { hold: 300, copybreak: 1000, limit: 128 }]) {
      const label = `${qpl ? "gqi-qpl" : "gqi-rda"}, ${strict ? "strict" : "linux"}, ${
        JSON.stringify(options)
      }`;
      Deno.test(`a GQI driver does with odd descriptors in batches what it does with each: ${label}`, () => {
        const seen = new Set<unknown>();
        for (let seed = 0; seed < 8; seed++) {
          const random = new Random(seed);
          const sides = [gqiRx(strict, { qpl, ...options }), gqiRx(strict, { qpl, ...options })];
          const sinks = sides.map(({ sink }, i) => i === 1 ? inBatches(sink) : sink);
          let index = 0;
          for (let step = 0, going = true; step < 40 && going; step++) {
            const most = sides[0]!.queue.posted - index + (random.chance(0.1) ? 3 : 0);
            const count = random.between(0, most);
            for (let i = 0; i < count; i++) {
              const odd = random.chance(seed % 4 * (i === count - 1 ? 0.1 : 0.01))
                ? random.pick(ODD_DESCRIPTORS)
                : {};
              const length = odd.length ?? random.between(3, random.pick([62, 500, 2048]));
              const sequence = (index + (odd.skip ?? 0)) % 7 + 1;
              for (const { describe } of sides) describe(length, sequence, odd.flags);
              index++;
            }
            const [one, many] = sides.map(({ queue }, i) => outcome(() => queue.receive(sinks[i]!)));
            assertEquals(many, one, `step ${step} of ${seed}`);
            going = typeof one === "number" && one >= count;
            seen.add(typeof one === "number" ? "frames" : (one as { code: string }).code);
            const [a, b] = sides.map(({ around, queue, pool, slot }) => ({
              state: queue.inspect(),
              slots: Array.from({ length: SIZE }, (_, i) => slot(i)),
              doorbells: around.doorbells,
              unused: pool.unused,
              counts: pool.counts.slice(0, pool.pages),
              counters: around.context.counters,
            }));
            assertEquals(b, a, `step ${step} of ${seed}`);
          }
          assertEquals(sides[1]!.sink.frames, sides[0]!.sink.frames);
        }
        assert(seen.size > (strict ? 1 : 0), [...seen].join());
      });
    }
  }
}
