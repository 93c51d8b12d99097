import { assert, assertEquals } from "@std/assert";
import { Frame } from "../../core/frame.ts";
import { FrameBatch } from "../../core/frame_batch.ts";
import type { ValuesInput } from "../../core/layout.ts";
import * as g from "../../plugins/gve/mod.ts";
import { Random } from "../random.ts";
import { inBatches, outcome, wireTo } from "./both_ways.ts";
import { dqoRx } from "./raw_device.ts";
import { type RawDriver, receiving, transmitting } from "./raw_driver.ts";

const ODD_COMPLETIONS: readonly ValuesInput[] = [
  { rx_error: 1 },
  { end_of_packet: 0 },
  { packet_len: 0 },
  { packet_len: 2049 },
  { header_buffer_overflow: 1 },
  { split_header: 1, header_len: 20 },
  { rsc: 1 },
  { buffer_queue_id: 1 },
  { generation: 0 },
  { buf_id: 255 },
  { buf_id: 0xffff },
];

for (const strict of [true, false]) {
  for (
    const options of [{ copybreak: 256 }, { hold: 9 }, { hold: 200, copybreak: 1000 }, { bufferSize: 4096 }, {
      hold: 250,
      qpl: true,
      copybreak: 100,
    }]
  ) {
    const label = `${strict ? "strict" : "linux"}, ${JSON.stringify(options)}`;
    Deno.test(`a DQO driver does with odd completions in batches what it does with each: ${label}`, () => {
      const seen = new Set<unknown>();
      let onDemand = 0;
      for (let seed = 0; seed < 32; seed++) {
        const random = new Random(seed);
        const queues = [dqoRx(strict, options), dqoRx(strict, options)];
        const sinks = queues.map(({ sink }, i) => i === 1 ? inBatches(sink) : sink);
        let next = 0;
        for (let step = 0, going = true; step < 60 && going; step++) {
          const { tail, head } = queues[0]!.queue.state;
          const most = ((tail - head) & 63) + (random.chance(0.02) ? 3 : 0);
          for (let i = random.between(0, most); i > 0; i--) {
            const length = random.between(1, random.pick([60, 300, 2048]));
            const values = random.chance(seed % 4 * 0.01) ? random.pick(ODD_COMPLETIONS) : {};
            // Now and then another buffer than the next comes back.
            const slot = random.chance(seed % 3 * 0.003) ? next + 1 : next;
            for (const { complete, posted } of queues) complete(posted(slot), length, values);
            next++;
          }
          const [one, many] = queues.map(({ queue }, i) => outcome(() => queue.receive(sinks[i]!)));
          assertEquals(many, one);
          const [a, b] = queues as [typeof queues[0], typeof queues[0]];
          assertEquals(b!.queue.state, a!.queue.state);
          assertEquals(b!.states.census(), a!.states.census());
          assertEquals(b!.sink.frames.length, a!.sink.frames.length);
          assertEquals(b!.around.doorbells, a!.around.doorbells);
          for (const { around } of queues) around.doorbells.length = 0;
          for (let i = tail; i !== a!.queue.state.tail; i = (i + 1) & 63) {
            assertEquals(b!.around.hex(0x2000 + i * 32, 32), a!.around.hex(0x2000 + i * 32, 32));
          }
          going = typeof one === "number";
          seen.add(going ? "frames" : (one as { code: string }).code);
        }
        const [a, b] = queues;
        assertEquals(b!.sink.frames, a!.sink.frames);
        assertEquals(b!.around.context.counters, a!.around.context.counters);
        assertEquals(b!.around.log, a!.around.log);
        onDemand += a!.around.context.counters.rxOnDemand;
      }
      assert(seen.size > (strict ? 4 : 0), [...seen].join());
      assertEquals(onDemand > 0, "qpl" in options, "copies on demand");
    });
  }
}

const { DQO_DTYPE } = g;
const ODD_DESCRIPTORS: readonly ValuesInput[] = [
  { buf_size: 0 },
  { end_of_packet: 0 },
  { checksum_offload_enable: 1 },
  { reserved1: 1 },
  { compl_tag: 0x8000 },
  { dtype: 1 },
  { dtype: DQO_DTYPE.GENERAL_CONTEXT },
  { dtype: DQO_DTYPE.TSO_CONTEXT },
  { buf_addr: 64 },
  { buf_addr: "0xfffffffffffff000" },
  { report_event: 1 },
];

for (
  const [format, profile] of [["dqo-rda", "strict"], ["dqo-rda", "linux"], ["dqo-qpl", "strict"]] as const
) {
  Deno.test(`a DQO device does with odd descriptors in batches what it does with each: ${format}, ${profile}`, () => {
    const seen = new Set<unknown>();
    for (let seed = 0; seed < 60; seed++) {
      const random = new Random(seed);
      const sides = [0, 1].map(() => transmitting({ format, profile }));
      const frames: [Uint8Array[], Uint8Array[]] = [[], []];
      let limit = 0;
      const wires = frames.map((list, i) => wireTo(list, () => limit, i === 1));
      let tail = 0;
      let tag = 0;
      let report = 0;
      for (let step = 0, going = true; step < 30 && going; step++) {
        for (let i = random.between(0, 12); i > 0; i--) {
          const put = (bytes: (raw: RawDriver, list: readonly number[]) => Uint8Array) => {
            for (const { raw, queue, list } of sides) raw.put(queue.ring + tail * 16, bytes(raw, list));
            tail = (tail + 1) & 63;
          };
          if (random.chance(0.7)) {
            put(() => g.gve_tx_general_context_desc_dqo.encode({ dtype: DQO_DTYPE.GENERAL_CONTEXT }));
          }
          const odd = random.chance(seed % 4 * 0.03) ? random.pick(ODD_DESCRIPTORS) : {};
          const report_event = ((tail - report) & 63) >= 32 && random.chance(0.8) ? 1 : 0;
          if (report_event) report = tail;
          const page = random.below(4);
          const buf_size = random.between(1, random.pick([100, 2048]));
          const compl_tag = random.chance(seed % 5 * 0.005) ? tag : tag = (tag + 1) % 200;
          put((raw, list) =>
            g.gve_tx_pkt_desc_dqo.encode({
              buf_addr: (raw.qpl ? list[page]! : raw.buffer + page * 4096) + 100,
              dtype: DQO_DTYPE.PACKET,
              end_of_packet: 1,
              ...{ buf_size, compl_tag, report_event },
              ...odd,
            })
          );
        }
        // Sometimes the wire takes less than there is.
        limit = random.chance(0.8)
          ? Infinity
          : limit === Infinity
          ? frames[0].length + random.below(5)
          : limit;
        const [one, many] = sides.map(({ raw, queue }, i) => {
          raw.ring(queue, tail);
          return outcome(() => raw.device.service(wires[i]!));
        });
        if (limit === Infinity) assertEquals(many, one);
        const [a, b] = sides.map(({ raw, queue }) => raw.get(queue.completions, 64 * 8).toHex());
        assertEquals(b, a, `step ${step} of ${seed}`);
        going = typeof one === "number";
        seen.add(going ? "frames" : (one as { code: string }).code);
        // Whatever the wire did not take must not be overwritten.
        while (going && limit !== Infinity) {
          limit = Infinity;
          const [one, many] = sides.map(({ raw }, i) => outcome(() => raw.device.service(wires[i]!)));
          assertEquals(many, one);
          going = typeof one === "number";
        }
        assertEquals(frames[1], frames[0]);
      }
      const [a, b] = sides.map(({ raw }) => raw.device.counters());
      assertEquals(b, a);
    }
    assert(seen.size > 5, [...seen].join());
  });

  Deno.test(`a DQO device does with odd buffers in batches what it does with each: ${format}, ${profile}`, () => {
    const seen = new Set<unknown>();
    for (let seed = 0; seed < 60; seed++) {
      const random = new Random(seed);
      const sides = [0, 1].map(() => receiving({ format, profile }));
      let tail = 0;
      let id = 0;
      let room = 63;
      for (let step = 0, going = true; step < 30 && going; step++) {
        for (let i = random.between(0, room); i > 0; i--, room--) {
          const odd = random.chance(seed % 4 * 0.01)
            ? random.pick([{ reserved0: 1 }, { buf_addr: 64 }, { buf_addr: "0xffffffff00000000" }, {
              buf_id: id,
            }])
            : {};
          id = (id + 1) % 100;
          const section = random.below(8);
          for (const { raw, queue, list } of sides) {
            const page = raw.qpl ? list[section >> 1]! : raw.buffer + (section >> 1) * 4096;
            const values = { buf_id: id, buf_addr: page + (section & 1) * 2048, ...odd };
            raw.put(queue.ring + tail * 32, g.gve_rx_desc_dqo.encode(values));
          }
          tail = (tail + 1) & 63;
        }
        const batch = new FrameBatch();
        batch.count = random.between(1, 40);
        batch.bytes = random.bytes(5000);
        for (let i = 0; i < batch.count; i++) {
          batch.offsets[i] = random.below(100);
          batch.lengths[i] = random.between(1, random.pick([60, 2048, 2048, 4500]));
        }
        const results = sides.map(({ raw, queue }, side) => {
          raw.ring(queue, tail);
          return outcome(() => {
            const frame = new Frame();
            let next = 0;
            while (next < batch.count) {
              if (side === 1) next = raw.device.deliverBatch(batch, next);
              if (next === batch.count) break;
              frame.set(batch.bytes, batch.offsets[next]!, batch.lengths[next]!);
              if (raw.device.deliver(frame) < 0) break;
              next++;
            }
            return next;
          });
        });
        const [one, many] = results;
        assertEquals(many, one);
        const [a, b] = sides.map(({ raw, queue }) => raw.get(queue.completions, 64 * 32).toHex());
        assertEquals(b, a, `step ${step} of ${seed}`);
        const [c, d] = sides.map(({ raw, list }) =>
          (raw.qpl ? list : [raw.buffer]).map((at) => raw.get(at, 16384).toHex())
        );
        assertEquals(d, c);
        going = typeof one === "number";
        seen.add(going ? "frames" : (one as { code: string }).code);
        const { rx } = sides[0]!.raw.device.inspect() as { rx: Record<string, { head: number }> };
        room = 63 - ((tail - rx["0"]!.head) & 63);
      }
      const [a, b] = sides.map(({ raw }) => raw.device.counters());
      assertEquals(b, a);
    }
    assert(seen.size > (profile === "strict" ? 2 : 1), [...seen].join());
  });
}
