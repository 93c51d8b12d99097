import { assert, assertEquals, assertThrows } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { FrameBatch, FULL, type Link, OVERSIZE, PieceBatch, Pump, StallError, type Wire } from "../../mod.ts";
import { Random } from "../random.ts";
import { type FakeLink, fakeLink, type FakeOptions } from "./fake_link.ts";

/** What came out of a pump: bytes or the reason of a drop, by frame number. */
class Outcome {
  readonly frames = new Map<number, number[]>();
  readonly drops = new Map<number, string>();
  readonly order: number[] = [];

  piece(number: number, bytes: Uint8Array, offset: number, length: number, more: boolean): void {
    const frame = this.frames.get(number) ?? [];
    frame.push(...bytes.subarray(offset, offset + length));
    this.frames.set(number, frame);
    if (!more) this.order.push(number);
  }

  batch(number: number, { bytes, offsets, lengths, count }: FrameBatch): void {
    for (let i = 0; i < count; i++) this.piece(number + i, bytes, offsets[i]!, lengths[i]!, false);
  }

  drop(number: number, reason: string): void {
    assert(!this.drops.has(number));
    this.drops.set(number, reason);
  }
}

/** Sends the frames through a link, each from the middle of a buffer, one by one or so many at a time. */
function pump(link: Link, frames: readonly Uint8Array[], many = 1): Outcome {
  const outcome = new Outcome();
  const engine = new Pump(link, outcome);
  const batch = new FrameBatch();
  for (let start = 0; start < frames.length; start += many) {
    const some = frames.slice(start, start + many);
    batch.bytes = concat(some.flatMap((frame) => [new Uint8Array(5), frame, new Uint8Array(2)]));
    batch.count = 0;
    let offset = 5;
    for (const { length } of some) {
      batch.offsets[batch.count] = offset;
      batch.lengths[batch.count++] = length;
      offset += length + 7;
    }
    if (many > 1) engine.pushBatch(batch, 5);
    else engine.push(batch.bytes, 5, some[0]!.length, 5);
  }
  engine.drain();
  assertEquals([engine.pushed, engine.pending], [frames.length, 0]);
  return outcome;
}

function randomFrames(seed: number, count: number): Uint8Array[] {
  const random = new Random(seed);
  return Array.from({ length: count }, () => random.bytes(random.between(1, 40)));
}

Deno.test("Pump names each frame by its number however it is spread over transmit and receive queues", () => {
  const frames = randomFrames(18, 5000);
  for (const batch of [1, 3, 64]) {
    const outcome = pump(
      fakeLink({
        batch,
        capacity: 100,
        buffers: 7,
        pieces: 3,
        transmitQueue: (frame) => frame[0]! % 5,
        receiveQueue: (frame) => frame[frame.length - 1]! % 4,
      }),
      frames,
    );
    assertEquals(outcome.drops.size, 0);
    frames.forEach((frame, i) => assertEquals(outcome.frames.get(i), [...frame]));
    assertEquals(outcome.order.length, frames.length);
  }
});

Deno.test("Pump names thousands of frames right that are inside at once", () => {
  const frames = randomFrames(31, 9000);
  const outcome = pump(
    fakeLink({
      batch: 1500,
      budget: 1000,
      capacity: 9000,
      buffers: 9000,
      transmitQueue: (frame) => frame[0]! < 230 ? 1 : 0,
      receiveQueue: (frame) => frame[frame.length - 1]! < 230 ? 1 : 0,
    }),
    frames,
  );
  frames.forEach((frame, i) => assertEquals(outcome.frames.get(i), [...frame]));
  assertEquals(outcome.order.length, frames.length);
});

Deno.test("Pump names frames right when the first that goes another way comes while many are inside", () => {
  const frames = randomFrames(27, 400);
  // Frames of the second part begin with 128 and more; of those, every fourth goes another way.
  frames.forEach((frame, i) => frame[0] = i < 150 ? frame[0]! & 0x7f : frame[0]! | 0x80);
  const strays = (frame: Uint8Array) => frame[0]! >= 128 && frame[0]! % 4 === 0;
  const ways: FakeOptions[] = [
    { transmitQueue: (frame) => strays(frame) ? 2 : 0 },
    { receiveQueue: (frame) => strays(frame) ? 1 : 0 },
    { drops: (frame) => strays(frame) ? "odd" : undefined },
    { refuses: (frame) => strays(frame) ? OVERSIZE : undefined },
    { holds: (frame) => !strays(frame) },
    { halved: true },
    { halved: true, buffers: 3 },
    { halved: true, receiveQueue: (frame) => strays(frame) ? 1 : 0 },
  ];
  for (const way of ways) {
    for (const budget of [3, Infinity]) {
      const outcome = pump(
        fakeLink({ batch: 16, capacity: 64, buffers: 24, pieces: 2, budget, ...way }),
        frames,
      );
      frames.forEach((frame, i) => {
        const gone = outcome.drops.has(i);
        assertEquals(outcome.frames.get(i), gone ? undefined : [...frame]);
        if (gone) assert(strays(frame));
      });
      assertEquals(outcome.drops.size + outcome.order.length, frames.length);
    }
  }
});

Deno.test("Pump keeps order when there is one queue", () => {
  const outcome = pump(fakeLink({ batch: 3, capacity: 5, buffers: 2 }), randomFrames(19, 500));
  assertEquals(outcome.order, Array.from({ length: 500 }, (_, i) => i));
});

Deno.test("Pump accounts for every frame: delivered, or dropped with the reason", () => {
  const frames = randomFrames(20, 3000);
  const reason = (frame: Uint8Array) => frame[0]! < 30 ? "malformed" : undefined;
  const refusal = (frame: Uint8Array) => frame[0]! > 220 ? OVERSIZE : frame[0]! > 200 ? -9 : undefined;
  const outcome = pump(
    fakeLink({
      batch: 8,
      capacity: 16,
      buffers: 3,
      transmitQueue: (frame) => frame.length % 3,
      drops: reason,
      refuses: refusal,
      holds: (frame) => frame[0]! < 150 || frame[0]! >= 160,
    }),
    frames,
  );
  frames.forEach((frame, i) => {
    const first = frame[0]!;
    let wanted: string | undefined;
    if (first > 220 || (first >= 150 && first < 160)) wanted = "oversize";
    else if (first > 200) wanted = "refused";
    else if (first < 30) wanted = "malformed";
    assertEquals(outcome.drops.get(i), wanted);
    assertEquals(outcome.frames.get(i), wanted === undefined ? [...frame] : undefined);
  });
});

Deno.test("Pump reports a frame that is too short for the ring", () => {
  const outcome = pump(fakeLink(), [new Uint8Array(0), new Uint8Array(1)]);
  assertEquals([...outcome.drops], [[0, "runt"]]);
  assertEquals([...outcome.frames], [[1, [0]]]);
});

Deno.test("Pump lets the device work after each batch, and drains what is left", () => {
  const link = fakeLink({ batch: 4, capacity: 100, buffers: 100 });
  pump(link, randomFrames(21, 10));
  assertEquals(link.log, ["flush 4", "flush 4", "flush 2"]);
});

Deno.test("Pump rings the doorbell as often for batches as for single frames", () => {
  for (const many of [1, 3, 10]) {
    const link = fakeLink({ batch: 4, capacity: 100, buffers: 100, batches: true });
    pump(link, randomFrames(30, 10), many);
    assertEquals(link.log, ["flush 4", "flush 4", "flush 2"]);
  }
});

Deno.test("Pump makes room when the ring is full instead of dropping", () => {
  const link = fakeLink({ batch: 100, capacity: 2, buffers: 1 });
  const outcome = pump(link, randomFrames(22, 50));
  assertEquals(outcome.order.length, 50);
  assert(link.log.includes("full"));
  assert(link.log.includes("kept"));
});

Deno.test("Pump goes on while a device takes only a few frames at a time", () => {
  const outcome = pump(fakeLink({ batch: 64, capacity: 64, buffers: 64, budget: 1 }), randomFrames(23, 300));
  assertEquals(outcome.order.length, 300);
});

function stuck(options: FakeOptions, change: (link: Link) => void, message: string): void {
  const link = fakeLink({ batch: 4, ...options });
  change(link);
  assertThrows(() => pump(link, randomFrames(24, 20)), StallError, message);
}

Deno.test("Pump throws StallError when a device never takes anything", () => {
  stuck({}, (link) => link.device.service = () => 0, "frames inside, and nothing moved in a full round");
});

Deno.test("Pump lets a device wait while frames still come", () => {
  const link = fakeLink({ batch: 3, capacity: 100 });
  const { flush, transmit } = link.driver;
  const { service } = link.device;
  let fresh = 0;
  let announced = 0;
  link.driver.transmit = (...frame) => {
    fresh++;
    return transmit(...frame);
  };
  link.driver.flush = () => {
    announced = fresh;
    fresh = 0;
    flush();
  };
  // As a device does that waits for more before it begins: it works only when nothing new was announced.
  link.device.service = (wire) => announced > 0 ? 0 : service(wire);
  assertEquals(pump(link, randomFrames(32, 50)).order.length, 50);
});

Deno.test("Pump throws StallError when received frames never come out", () => {
  stuck({}, (link) => link.driver.receive = () => 0, "the link is stuck: 8 frames inside");
});

Deno.test("Pump throws StallError when the driver is always full", () => {
  stuck({}, (link) => link.driver.transmit = () => FULL, "the link is stuck: 0 frames inside");
});

Deno.test("Pump throws StallError when the rings move for ever but no frame comes out", () => {
  stuck({}, (link) => {
    link.driver.flush = () => {};
    link.device.service = () => 1;
  }, "none came out in 1000000 rounds");
});

Deno.test("Pump throws StallError when a half brings a frame that was never sent", () => {
  stuck({}, (link) => {
    link.device.service = (wire) => {
      wire.drop(3, "odd");
      return 1;
    };
  }, "transmit queue 3 brought a frame that was never sent");
  stuck({}, (link) => {
    const { service } = link.device;
    link.device.service = (wire) => {
      const twice: typeof wire = {
        transmit: (frame, queue) => wire.transmit(frame, queue) && wire.transmit(frame, queue),
        drop: (queue, reason) => wire.drop(queue, reason),
      };
      return service(twice);
    };
  }, "transmit queue 0 brought a frame that was never sent");
  stuck({}, (link) => {
    link.driver.receive = (sink) => {
      sink.piece(9, new Uint8Array(1), 0, 1, false);
      return 1;
    };
  }, "receive queue 9 brought a frame that was never sent");
});

Deno.test("Pump throws TypeError when a half forgets to say which queue took a frame", () => {
  const careless: readonly ((link: FakeLink) => void)[] = [
    ({ driver }) => {
      const { transmit } = driver;
      driver.transmit = (...frame) => void transmit(...frame) as unknown as number;
    },
    ({ device }) => {
      const { deliver } = device;
      device.deliver = (frame) => void deliver(frame) as unknown as number;
    },
  ];
  for (const spoil of careless) {
    const link = fakeLink();
    spoil(link);
    assertThrows(() => pump(link, randomFrames(30, 2)), TypeError, "a half gave undefined for its queue");
  }
});

Deno.test("Pump moves batches as it moves frames one by one, whichever half can do which", () => {
  const frames = randomFrames(28, 600);
  frames.forEach((frame, i) => frame[0] = i < 200 ? frame[0]! & 0x7f : frame[0]! | 0x80);
  const strays = (frame: Uint8Array) => frame[0]! >= 128 && frame[0]! % 4 === 0;
  const ways: FakeOptions[] = [
    {},
    { batch: 7, budget: 5 },
    { buffers: 3 },
    { capacity: 3, batch: 300 },
    { pieces: 2 },
    { pieces: 3, receiveQueue: (frame) => strays(frame) ? 1 : 0 },
    { transmitQueue: (frame) => strays(frame) ? 1 : 0 },
    { receiveQueue: (frame) => strays(frame) ? 1 : 0 },
    { drops: (frame) => strays(frame) ? "odd" : undefined },
    { refuses: (frame) => strays(frame) ? OVERSIZE : undefined },
    { holds: (frame) => !strays(frame) },
  ];
  for (const way of ways) {
    const options = { batch: 64, capacity: 128, buffers: 96, ...way };
    const wanted = pump(fakeLink(options), frames);
    for (const many of [1, 2, 50, 256]) {
      const { driver, device, batch } = fakeLink({ ...options, batches: true });
      const outcome = pump({ driver, device, batch }, frames, many);
      assertEquals(outcome.frames, wanted.frames);
      assertEquals(outcome.drops, wanted.drops);
    }
    assertEquals(pump(fakeLink(options), frames, 50).frames, wanted.frames);
  }
});

Deno.test("Pump throws StallError when a device brings a batch that was never sent", () => {
  const brings: ((wire: Wire) => void)[] = [
    (wire) => wire.transmitBatch!(batchOf(9), 0),
    (wire) => wire.transmitPieces!(piecesOf(9), 0),
  ];
  for (const bring of brings) {
    const link = fakeLink({ batch: 4, batches: true });
    const { service } = link.device;
    link.device.service = (wire) => {
      bring(wire);
      return service(wire);
    };
    assertThrows(() => pump(link, randomFrames(29, 20), 4), StallError, "that was never sent");
  }
});

Deno.test("Pump passes frames in pieces on while all go one way, and counts them", () => {
  const link = fakeLink({ batch: 100, capacity: 100, buffers: 100 });
  const { device } = link;
  const taken = [2, 0, 3];
  device.deliverPieces = (pieces) => Math.min(taken.shift()!, pieces.count);
  const engine = new Pump(link, new Outcome());
  const pieces = new PieceBatch();
  pieces.count = 3;
  for (let i = 0; i < 4; i++) engine.push(new Uint8Array(1), 0, 1, 0);
  assertEquals(engine.transmitPieces(pieces, 1), 0); // another queue: one by one
  assertEquals(engine.transmitPieces(pieces, 0), 2);
  assertEquals(engine.transmitPieces(pieces, 0), 0);
  assertThrows(() => engine.transmitPieces(pieces, 0), StallError, "that was never sent");

  device.deliverPieces = () => 1;
  const branched = new Pump(link, new Outcome());
  branched.push(new Uint8Array(1), 0, 1, 0);
  branched.push(new Uint8Array(1), 0, 1, 0);
  branched.drop(0, "odd");
  assertEquals(branched.transmitPieces(pieces, 0), 0); // frames no longer go one way
  delete device.deliverPieces;
  const plain = new Pump(link, new Outcome());
  plain.push(new Uint8Array(1), 0, 1, 0);
  assertEquals(plain.transmitPieces(pieces, 0), 0); // a device that takes none
});

/** So many frames of one byte. */
function batchOf(count: number): FrameBatch {
  const batch = new FrameBatch();
  batch.bytes = new Uint8Array(count);
  batch.count = count;
  batch.lengths.fill(1, 0, count);
  return batch;
}

/** The same in batches of pieces. */
function piecesOf(count: number): PieceBatch {
  const batch = new PieceBatch();
  batch.bytes = new Uint8Array(count);
  batch.count = count;
  for (let i = 0; i < count; i++) batch.ends[i] = i + 1;
  batch.lengths.fill(1, 0, count);
  batch.sizes.fill(1, 0, count);
  return batch;
}
