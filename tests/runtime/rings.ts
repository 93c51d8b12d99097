/**
 * What is bundled and run elsewhere than in Deno: frames through every built-in ring.
 *
 * @module
 */
import {
  AddressSpace,
  builtInNames,
  DmaMemory,
  FrameBatch,
  loadBackend,
  type LocalHostOptions,
  ManualClock,
  Memory,
  openLink,
  type OptionValue,
  OptionValues,
  Pump,
  READ,
  RingPair,
} from "../../mod.ts";

const SIZES = [14, 60, 64, 577, 1500];
const FRAMES = 300;

function isFrame(number: number, bytes: Uint8Array, offset: number, length: number): boolean {
  if (length !== SIZES[number % SIZES.length]) return false;
  return bytes.subarray(offset, offset + length).every((byte) => byte === number % 256);
}

function frame(number: number): Uint8Array {
  return new Uint8Array(SIZES[number % SIZES.length]!).fill(number);
}

/** Sends frames one after the other. */
function oneByOne(pair: RingPair): number {
  let back = 0;
  for (let number = 0; number < FRAMES; number++) {
    pair.transmit(frame(number));
    pair.service();
    const [received] = pair.receive();
    if (received && isFrame(number, received, 0, received.length)) back++;
  }
  return back;
}

/** Sends frames in batches, from memory that the device can read. */
function inBatches({ link, host: { memory, captureOffset } }: RingPair): number {
  let back = 0;
  let arrived = 0;
  const pump = new Pump(link, {
    piece(number, bytes, offset, length, more) {
      memory.copyFrom(memory.size - 65536 + arrived, bytes, offset, length);
      arrived += length;
      if (more) return;
      if (isFrame(number, memory.bytes, memory.size - 65536, arrived)) back++;
      arrived = 0;
    },
    batch(number, { bytes, offsets, lengths, count }) {
      for (let i = 0; i < count; i++) if (isFrame(number + i, bytes, offsets[i]!, lengths[i]!)) back++;
    },
    drop() {},
  });
  const batch = new FrameBatch(memory);
  for (let number = 0; number < FRAMES; number += batch.count) {
    batch.count = Math.min(100, FRAMES - number);
    let end = captureOffset;
    for (let i = 0; i < batch.count; i++) {
      const bytes = frame(number + i);
      batch.offsets[i] = end + 64;
      batch.lengths[i] = bytes.length;
      memory.bytes.set(bytes, end + 64);
      end += 64 + bytes.length;
    }
    pump.pushBatch(batch, 0);
    pump.drain();
  }
  return back;
}

/** A host over a buffer that somebody else made, of which the driver's part starts anywhere. */
export interface ForeignHost {
  /** The buffer. */
  readonly buffer: ArrayBufferLike;
  /** Where the driver's part starts; it ends 1 MiB before the buffer does. */
  readonly offset: number;
  /** Its first address. */
  readonly address: number;
}

/**
 * Sends frames through each ring in such memory; they lie in another memory, which the device sees elsewhere. Says, by
 * the ring's name, how many came back as they were.
 */
export async function runForeign(
  { buffer, offset, address }: ForeignHost,
  options: Readonly<Record<string, Record<string, OptionValue>>> = {},
): Promise<Record<string, number>> {
  const results: Record<string, number> = {};
  for (const name of builtInNames) {
    const space = new AddressSpace();
    const memory = new Memory(buffer);
    memory.bytes.fill(0);
    const dma = new DmaMemory(space, memory, offset, memory.size - offset - (1 << 20), address);
    const outside = new Memory(FRAMES * 2048);
    space.map(0x200_0000_0000, outside, 0, outside.size, READ);
    const plugin = await loadBackend(name);
    const values = new OptionValues(plugin.options, options[name]);
    const link = openLink(plugin, values, { dma, space, clock: new ManualClock() });
    let back = 0;
    let parts: number[] = [];
    const pump = new Pump(link, {
      piece(number, bytes, offset, length, more) {
        parts.push(...bytes.subarray(offset, offset + length));
        if (more) return;
        if (isFrame(number, Uint8Array.from(parts), 0, parts.length)) back++;
        parts = [];
      },
      batch(number, { bytes, offsets, lengths, count }) {
        for (let i = 0; i < count; i++) if (isFrame(number + i, bytes, offsets[i]!, lengths[i]!)) back++;
      },
      drop() {},
    });
    for (let number = 0; number < FRAMES; number++) {
      const bytes = frame(number);
      const at = number * 2048 + 64 + number % 7;
      outside.bytes.set(bytes, at);
      pump.push(outside.bytes, at, bytes.length, 64);
    }
    pump.drain();
    results[name] = back;
  }
  return results;
}

/** Sends frames through each ring and says, by its name, how many came back as they were, one by one and in batches. */
export async function run(host: LocalHostOptions = {}): Promise<Record<string, [number, number]>> {
  const results: Record<string, [number, number]> = {};
  for (const name of builtInNames) {
    const pair = new RingPair(await loadBackend(name), {}, {
      captureSize: 1 << 18,
      privateSize: 65536,
      ...host,
    });
    results[name] = [oneByOne(pair), inBatches(pair)];
  }
  return results;
}
