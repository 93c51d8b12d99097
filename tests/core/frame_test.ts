import { assertEquals, assertThrows } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { Frame, Memory } from "../../mod.ts";
import { Random } from "../random.ts";

/** The bytes of a frame, read piece by piece. */
function bytesOf(frame: Frame): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let i = 0; i < frame.pieces; i++) {
    parts.push(frame.bytes[i]!.subarray(frame.offsets[i]!, frame.offsets[i]! + frame.lengths[i]!));
  }
  return concat(parts);
}

/** Fills a frame with random pieces, some empty, and tells the bytes it stands for. */
function fill(frame: Frame, random: Random): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let left = random.below(6); left > 0; left--) {
    const bytes = random.bytes(64);
    const offset = random.below(32);
    const length = random.chance(0.3) ? 0 : random.below(32);
    frame.push(bytes, offset, length);
    parts.push(bytes.subarray(offset, offset + length));
  }
  return concat(parts);
}

Deno.test("Frame.copyTo copies any part of frames of any pieces, also when reused for shorter frames", () => {
  const random = new Random(7);
  const frame = new Frame();
  for (let round = 0; round < 2000; round++) {
    frame.clear();
    const wanted = fill(frame, random);
    assertEquals(frame.length, wanted.length);
    const position = random.below(wanted.length + 1);
    const length = random.below(wanted.length - position + 1);
    const memory = new Memory(256);
    frame.copyTo(memory, 10, position, length);
    const after = new Uint8Array(256);
    after.set(wanted.subarray(position, position + length), 10);
    assertEquals(memory.bytes, after);
  }
});

Deno.test("Frame.set leaves one piece, whatever there was before", () => {
  const random = new Random(8);
  const frame = new Frame();
  for (let round = 0; round < 20; round++) {
    fill(frame, random);
    const bytes = random.bytes(64);
    for (const offset of [3, 5]) {
      frame.set(bytes, offset, 7);
      assertEquals([frame.pieces, frame.length], [1, 7]);
      assertEquals(bytesOf(frame), bytes.subarray(offset, offset + 7));
    }
  }
});

Deno.test("Frame.copyTo refuses to go beyond the frame, though longer ones came before", () => {
  const frame = new Frame();
  frame.push(new Uint8Array(64), 0, 64);
  frame.push(new Uint8Array(64), 0, 64);
  frame.clear();
  frame.push(new Uint8Array(64), 0, 10);
  const memory = new Memory(64);
  frame.copyTo(memory, 0, 10, 0);
  assertThrows(() => frame.copyTo(memory, 0, 0, 11), RangeError, "0+11 of a frame of 10 bytes");
  assertThrows(() => frame.copyTo(memory, 0, 11, 0), RangeError, "frame of 10 bytes");
});

Deno.test("Frame.skip drops bytes and Frame.shift pieces from the front", () => {
  const random = new Random(8);
  const frame = new Frame();
  for (let round = 0; round < 1000; round++) {
    frame.clear();
    const whole = fill(frame, random);
    const skipped = random.below(whole.length + 1);
    assertThrows(() => frame.skip(whole.length + 1), RangeError, "Cannot skip");
    frame.skip(skipped);
    assertEquals(bytesOf(frame), whole.slice(skipped));
    assertEquals(frame.length, whole.length - skipped);
    if (frame.pieces === 0) continue;
    const first = frame.lengths[0]!;
    frame.shift();
    assertEquals(bytesOf(frame), whole.slice(skipped + first));
    assertEquals(frame.length, whole.length - skipped - first);
  }
});

Deno.test("Frame.append adds the pieces of another frame and leaves that as it is", () => {
  const random = new Random(9);
  const frame = new Frame();
  const other = new Frame();
  const start = fill(frame, random);
  const end = fill(other, random);
  frame.append(other);
  assertEquals(bytesOf(frame), concat([start, end]));
  assertEquals(bytesOf(other), end);
});
