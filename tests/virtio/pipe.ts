/**
 * Frames through a virtio link and back, each compared byte by byte with what went in.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { equals } from "@std/bytes/equals";
import { FrameBatch } from "../../core/frame_batch.ts";
import { LocalHost } from "../../core/host.ts";
import { type OptionValue, OptionValues } from "../../core/options.ts";
import type { Link } from "../../core/plugin.ts";
import { Pump } from "../../core/pump.ts";
import virtio from "../../plugins/virtio/mod.ts";
import { Random } from "../random.ts";

/** Bytes before each frame that the driver may overwrite. */
export const HEADROOM = 32;
/** Bytes from the start of one frame to that of the next in the content. */
const STEP = 7919;
/** Where the frames' bytes come from: anywhere in here. Every second frame is UDP over IPv4, each of another flow. */
const CONTENT = new Random(77).bytes(600_000);
for (let at = STEP; at + STEP < CONTENT.length; at += 2 * STEP) {
  CONTENT.set([0x08, 0x00, 0x45], at + 12);
  CONTENT.set([0, 0, 64, 17], at + 20);
}

/** How frames are given to the pump. */
export type Feeding = "roomy" | "tight" | "foreign" | "batch";

/** What came of it. */
export interface Outcome {
  readonly link: Link;
  readonly options: OptionValues;
  /** Reasons of dropped frames, by number. */
  readonly drops: ReadonlyMap<number, string>;
  /** Frames that came out. */
  readonly delivered: number;
  /** Counters of both halves. */
  readonly counters: Readonly<Record<string, number>>;
}

/**
 * Sends frames of these lengths. Fails if one comes out other than it went in, cut, twice, in another order than the
 * frames of its flow, or not at all without a drop. Frames of even numbers are one flow; with one queue all are.
 *
 * @param given Options of the plugin.
 * @param lengths Length of each frame.
 * @param feeding Whether frames have room before them, have none, lie in memory that the device cannot see, or go in
 *   batches.
 * @param dmaSize Size of the driver's memory.
 */
export function pipe(
  given: Readonly<Record<string, OptionValue>>,
  lengths: readonly number[],
  feeding: Feeding = "roomy",
  dmaSize = 192 << 20,
): Outcome {
  const arena = Math.max(1 << 21, lengths.reduce((most, length) => Math.max(most, length), 0) + HEADROOM);
  const host = new LocalHost({ dmaSize, captureSize: arena });
  const options = new OptionValues(virtio.options, given);
  const link = virtio.open(options, host);
  const drops = new Map<number, string>();
  const start = (number: number) => (number * STEP) % (CONTENT.length - lengths[number]!);
  const ordered = options.integer("queues") === 1;
  /** The number that must come next, by flow. */
  const turns = new Map<number, number>();
  let delivered = 0;
  let position = 0;
  const piece = (number: number, bytes: Uint8Array, offset: number, length: number, more: boolean) => {
    const flow = ordered ? -1 : number % 2 ? number : 0;
    const step = ordered ? 1 : 2;
    let turn = turns.get(flow) ?? Math.max(flow, 0);
    while (drops.has(turn)) turn += step;
    assertEquals(number, turn, "a frame came out of turn");
    const from = start(number) + position;
    const same = equals(bytes.subarray(offset, offset + length), CONTENT.subarray(from, from + length));
    assert(same, `frame ${number} differs between bytes ${position} and ${position + length}`);
    position += length;
    if (more) return;
    assertEquals(position, lengths[number], `frame ${number} was cut`);
    position = 0;
    turns.set(flow, turn + step);
    delivered++;
  };
  const pump = new Pump(link, {
    piece,
    batch(number, { bytes, offsets, lengths, count }) {
      for (let i = 0; i < count; i++) piece(number + i, bytes, offsets[i]!, lengths[i]!, false);
    },
    drop: (number, reason) => void drops.set(number, reason),
  });
  const foreign = new Uint8Array(feeding === "foreign" ? arena : 0);
  const bytes = feeding === "foreign" ? foreign : host.memory.bytes;
  const base = feeding === "foreign" ? 0 : host.captureOffset;
  const headroom = feeding === "tight" ? 0 : HEADROOM;
  const batch = new FrameBatch();
  batch.bytes = bytes;
  const flush = () => {
    pump.pushBatch(batch, headroom);
    batch.count = 0;
  };
  let at = 0;
  for (let number = 0; number < lengths.length; number++) {
    const length = lengths[number]!;
    if (at + HEADROOM + length > arena) {
      flush();
      pump.drain();
      at = 0;
    }
    const offset = base + at + HEADROOM;
    bytes.set(CONTENT.subarray(start(number), start(number) + length), offset);
    at += HEADROOM + length;
    if (feeding === "batch") {
      batch.offsets[batch.count] = offset;
      batch.lengths[batch.count] = length;
      if (++batch.count === batch.offsets.length) flush();
    } else {
      pump.push(bytes, offset, length, headroom);
    }
  }
  flush();
  pump.drain();
  assertEquals(delivered + drops.size, lengths.length, "frames were lost");
  const counters = { ...link.driver.counters(), ...link.device.counters() };
  return { link, options, drops, delivered, counters };
}
