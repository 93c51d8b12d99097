import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../cli/errors.ts";
import { Replay } from "../../cli/replay.ts";
import { CaptureError } from "../../pcap/capture_error.ts";
import { block, epb, LE, ng, START } from "../pcap/build.ts";
import { Random } from "../random.ts";

/** Bytes that come in pieces of any size. */
function source(bytes: Uint8Array, random: Random) {
  let at = 0;
  return {
    read(target: Uint8Array): Promise<number | null> {
      if (at === bytes.length) return Promise.resolve(null);
      const length = Math.min(bytes.length - at, target.length, random.between(1, 50000));
      target.set(bytes.subarray(at, at + length));
      at += length;
      return Promise.resolve(length);
    },
  };
}

function number32(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function capture(frames: readonly Uint8Array[], linkType = 1): Uint8Array {
  const parts = frames.flatMap((frame, i) => [number32(i, 500_000, frame.length, frame.length), frame]);
  const all = [number32(0xa1b2c3d4, 0x40002, 0, 0, 262144, linkType), ...parts];
  const bytes = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of all) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** All frames and times, and the error at the end if there is one. */
async function drain(bytes: Uint8Array) {
  let woken = 0;
  const replay = new Replay(source(bytes, new Random(5)), () => woken++);
  const frames: Uint8Array[] = [];
  const times: number[] = [];
  while (!replay.ended) {
    assertEquals(replay.error, undefined, "frames are left");
    while (replay.next()) {
      frames.push(replay.bytes.slice(replay.offset, replay.offset + replay.length));
      times.push(replay.time);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert(woken > 0);
  assertEquals(replay.frames, frames.length);
  return { frames, times, error: replay.error };
}

const random = new Random(1);
const FRAMES = Array.from({ length: 3000 }, () => random.bytes(random.between(0, 1514)));

Deno.test("Replay gives all frames of a capture, however it arrives", async () => {
  const { frames, times, error } = await drain(capture(FRAMES));
  assertEquals(error, undefined);
  assertEquals(frames.length, FRAMES.length);
  for (const [i, frame] of frames.entries()) assertEquals(frame, FRAMES[i]);
  assertEquals(times.slice(0, 2), [500, 1500]);
});

Deno.test("Replay reads gzip", async () => {
  const stream = new Blob([capture(FRAMES.slice(0, 500)) as BlobPart]).stream()
    .pipeThrough(new CompressionStream("gzip"));
  const { frames, error } = await drain(new Uint8Array(await new Response(stream).arrayBuffer()));
  assertEquals([frames.length, error], [500, undefined]);
  assertEquals(frames[499], FRAMES[499]);
});

Deno.test("Replay gives what is whole before it tells what is not", async () => {
  const bytes = capture(FRAMES.slice(0, 10));
  const { frames, error } = await drain(bytes.subarray(0, bytes.length - 1));
  assertEquals(frames.length, 9);
  assert(error instanceof CaptureError);
});

Deno.test("Replay gives what stands before a damaged record", async () => {
  const bytes = capture(FRAMES.slice(0, 10));
  const damaged = capture(FRAMES.slice(0, 9)).length;
  bytes.fill(0xff, damaged + 8, damaged + 12);
  const { frames, error } = await drain(bytes);
  assertEquals(frames.length, 9);
  assert(error instanceof CaptureError);
});

Deno.test("Replay passes over more blocks without packets than it holds", async () => {
  const large = block(LE, 0x1234, new Uint8Array(7 << 20));
  const blocks = [large, large, large, epb(FRAMES[0]!), large, large, large, large, epb(FRAMES[1]!)];
  const { frames, error } = await drain(ng(...START, ...blocks));
  assertEquals(error, undefined);
  assertEquals(frames, FRAMES.slice(0, 2));
});

Deno.test("Replay refuses what is no capture, or none of Ethernet frames", async () => {
  const text = await drain(new TextEncoder().encode("this is no capture, is it?"));
  assertThrows(() => {
    throw text.error;
  }, CaptureError);
  const raw = await drain(capture(FRAMES.slice(0, 3), 101));
  assertThrows(
    () => {
      throw raw.error;
    },
    UsageError,
    "Ethernet",
  );
});

Deno.test("Replay of an empty capture ends", async () => {
  const { frames, error } = await drain(capture([]));
  assertEquals([frames, error], [[], undefined]);
});
