import { assert, assertEquals } from "@std/assert";
import { equals } from "@std/bytes/equals";
import { FrameBatch } from "../../core/frame_batch.ts";
import { Frame } from "../../core/frame.ts";
import { LocalHost } from "../../core/host.ts";
import { OptionValues } from "../../core/options.ts";
import type { FrameSink, Wire } from "../../core/plugin.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { Random } from "../random.ts";

/** Memory that both ways are compared in: rings, and buffers of the first pages. */
const COMPARED = 3 << 20;
const SLOT = 4096;

/** Both halves over memory of their own, moving frames one by one or in batches. */
class Link {
  readonly host = new LocalHost({ captureSize: 64 * SLOT });
  readonly driver: g.GveDriver;
  readonly device: g.GveDevice;
  readonly frames: Uint8Array[] = [];
  readonly #batches: boolean;

  constructor(options: Record<string, string>, batches: boolean) {
    this.#batches = batches;
    const settings = g.settingsFrom(new OptionValues(gve.options, options));
    this.device = new g.GveDevice(
      this.host.space,
      settings.device,
      (vector) => this.driver.interrupt(vector),
    );
    this.driver = new g.GveDriver(
      this.device,
      this.host.dma,
      this.host.space,
      this.host.clock,
      settings.driver,
    );
  }

  /** Sends frames of these lengths and takes what comes back. */
  round(lengths: readonly number[], fill: number): void {
    const { memory, captureOffset } = this.host;
    const batch = new FrameBatch();
    batch.bytes = memory.bytes;
    lengths.forEach((length, i) => {
      const at = captureOffset + i * SLOT;
      memory.bytes.fill(fill + i, at, at + length);
      batch.offsets[i] = at;
      batch.lengths[i] = length;
    });
    batch.count = lengths.length;
    let next = 0;
    while (next < batch.count) {
      if (this.#batches) next = this.driver.transmitBatch(batch, next, 0);
      if (next === batch.count) break;
      if (this.driver.transmit(memory.bytes, batch.offsets[next]!, batch.lengths[next]!, 0) < 0) this.#turn();
      else next++;
    }
    this.#turn();
  }

  #turn(): void {
    this.driver.flush();
    const single: Wire = { transmit: (frame: Frame) => this.device.deliver(frame) >= 0, drop: () => {} };
    const wire: Wire = this.#batches
      ? {
        ...single,
        transmitBatch: (frames) => this.device.deliverBatch(frames, 0),
        transmitPieces: (frames) => this.device.deliverPieces(frames),
      }
      : single;
    let part: number[] = [];
    const piece: FrameSink["piece"] = (_queue, bytes, offset, length, more) => {
      part.push(...bytes.subarray(offset, offset + length));
      if (more) return;
      this.frames.push(Uint8Array.from(part));
      part = [];
    };
    const batch: FrameSink["batch"] = (queue, { bytes, offsets, lengths, count }) => {
      for (let i = 0; i < count; i++) piece(queue, bytes, offsets[i]!, lengths[i]!, false);
    };
    this.device.service(wire);
    this.driver.receive(this.#batches ? { piece, batch } : { piece });
  }

  /** Rings and buffers. */
  memory(): Uint8Array {
    return this.host.memory.bytes.subarray(0, COMPARED);
  }
}

for (
  const options of [
    {},
    { "copybreak": "0" },
    { "hold": "40", "copybreak": "100" },
    { "tx-ring": "64", "rx-ring": "64" },
    { "rx-buffer": "600" },
    { "profile": "linux", "copybreak": "2000" },
    { "miss-rate": "40", "out-of-order": "on" },
    { "queues": "2" },
    { "mtu": "3000" },
    { "format": "gqi-qpl", "mtu": "3000" },
    { "format": "dqo-qpl" },
    { "format": "gqi-rda" },
    { "format": "gqi-rda", "hold": "40", "copybreak": "100", "rx-ring": "64", "tx-ring": "256" },
    { "format": "gqi-rda", "profile": "linux", "rx-buffer": "600", "copybreak": "0" },
    { "format": "gqi-qpl" },
    { "format": "gqi-qpl", "hold": "40", "copybreak": "100", "rx-ring": "64", "qpl-pages": "9" },
    { "format": "gqi-qpl", "page-size": "16384", "rx-buffer": "4096", "copybreak": "0" },
    { "format": "gqi-qpl", "driver": "ipxe" },
    { "format": "gqi-rda", "limits": "nic" },
    { "completion-batch": "4" },
    { "header-split": "on" },
  ] as Record<string, string>[]
) {
  Deno.test(`batches write the same bytes as frames one by one: ${JSON.stringify(options)}`, () => {
    const random = new Random(5);
    const one = new Link({ format: "dqo-rda", ...options }, false);
    const many = new Link({ format: "dqo-rda", ...options }, true);
    for (let round = 0; round < 30; round++) {
      const lengths = Array.from(
        { length: random.between(1, 63) },
        () => random.between(1, random.pick([64, 300, 3000])),
      );
      one.round(lengths, round);
      many.round(lengths, round);
      assertEquals(many.frames.length, one.frames.length);
      if (round % 5 === 4) assert(equals(many.memory(), one.memory()), `round ${round}`);
    }
    assertEquals(many.frames, one.frames);
    assert(one.frames.length > 400);
    assertEquals(many.driver.counters(), one.driver.counters());
    assertEquals(many.device.counters(), one.device.counters());
  });
}

Deno.test("a batch ends before a frame that may be longer than the MTU allows, on either side", () => {
  const lengths = [100, 1514, 1515, 1518, 1519, 100];
  for (const format of ["gqi-qpl", "gqi-rda", "dqo-qpl", "dqo-rda"]) {
    const { host, driver, device } = new Link({ format, "mtu": "1500" }, true);
    const batch = new FrameBatch();
    batch.bytes = host.memory.bytes;
    batch.count = lengths.length;
    lengths.forEach((length, i) => {
      batch.offsets[i] = host.captureOffset + i * SLOT;
      batch.lengths[i] = length;
    });
    // A tag, which comes on top of the MTU.
    for (const i of [3, 4]) host.memory.bytes.set([0x81, 0], host.captureOffset + i * SLOT + 12);
    const single = new Frame();
    const ends = [
      (from: number) => driver.transmitBatch(batch, from, 0),
      (from: number) => device.deliverBatch(batch, from),
    ]
      .map((take) => [0, 2, 3, 4, 5].map((from) => take(from)));
    const results = lengths.map((length, i) => {
      single.set(batch.bytes, batch.offsets[i]!, length);
      return [driver.transmit(batch.bytes, batch.offsets[i]!, length, 0), device.deliver(single)];
    });
    assertEquals(ends, [[2, 2, 3, 4, 6], [2, 2, 3, 4, 6]], format);
    assertEquals(results, [[0, 0], [0, 0], [-2, -2], [0, 0], [-2, -2], [0, 0]], format);
  }
});
