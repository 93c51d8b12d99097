import { assert, assertEquals, assertThrows } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { equals } from "@std/bytes/equals";
import { Frame } from "../../core/frame.ts";
import { LiveWriter } from "../../pcap/live_writer.ts";
import { needPeers } from "../peers.ts";
import { Random } from "../random.ts";

/** A frame in pieces that lie in different buffers. */
function inPieces(random: Random, bytes: Uint8Array): Frame {
  const frame = new Frame();
  for (let at = 0; at < bytes.length;) {
    const length = Math.min(bytes.length - at, random.between(1, 700));
    const offset = random.below(20);
    const buffer = new Uint8Array(offset + length + random.below(20));
    buffer.set(bytes.subarray(at, at + length), offset);
    frame.push(buffer, offset, length);
    at += length;
  }
  return frame;
}

Deno.test("LiveWriter writes the header and records as they are flushed", () => {
  const written: number[] = [];
  const writer = new LiveWriter({ writeSync: (bytes) => written.push(...bytes) && bytes.length });
  writer.flush();
  assertEquals(written, [
    ...[0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ...[0, 0, 4, 0, 1, 0, 0, 0],
  ]);
  const frame = new Frame();
  frame.push(Uint8Array.from([9, 1, 2, 3, 9]), 1, 3);
  assert(writer.add(frame, 0x01020304, 999_999_999));
  assertEquals(written.length, 24);
  writer.flush();
  writer.flush();
  assertEquals(written.slice(24), [4, 3, 2, 1, 0xff, 0xc9, 0x9a, 0x3b, 3, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3]);
});

Deno.test("LiveWriter takes back what a full sink took of a record, and counts whole ones", () => {
  const lengths = [60, 1, 1500];
  const whole = [24, 24 + 76, 24 + 76 + 17, 24 + 76 + 17 + 1516];
  for (let room = 0; room < whole[3]!; room++) {
    for (const early of [false, true]) {
      let size = 0;
      const failure = new Error("No space left on device");
      const writer = new LiveWriter({
        writeSync(bytes) {
          // It takes what it can, a little at a time, before it refuses.
          const taken = Math.min(bytes.length, room - size, 700);
          if (taken === 0) throw failure;
          size += taken;
          return taken;
        },
        cutSync: (length) => size -= length,
      });
      const all = () => {
        if (early) writer.flush();
        for (const length of lengths) {
          const frame = new Frame();
          frame.push(new Uint8Array(length), 0, length);
          writer.add(frame, 0, 0);
        }
        writer.flush();
      };
      assertEquals(assertThrows(all, Error), failure);
      const frames = whole.findLastIndex((end) => end <= room);
      assertEquals([size, writer.frames], frames < 0 ? [0, 0] : [whole[frames]!, frames]);
      assertEquals(writer.bytes, lengths.slice(0, writer.frames).reduce((sum, length) => sum + length, 0));
      writer.flush();
      assertEquals(size, frames < 0 ? 0 : whole[frames]!, "it is written again");
    }
  }
});

/** Keeps what is written. */
class Bytes {
  length = 0;
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];

  writeSync(bytes: Uint8Array): number {
    this.#chunks.push(bytes.slice());
    this.length += bytes.length;
    return bytes.length;
  }

  all(): Uint8Array {
    return concat(this.#chunks);
  }
}

Deno.test("LiveWriter keeps what a sink does not take now, and counts what it took", () => {
  const random = new Random(7);
  const [written, wanted] = [new Bytes(), new Bytes()];
  let most = 0;
  const writer = new LiveWriter({
    writeSync(bytes) {
      const taken = written.writeSync(bytes.subarray(0, most));
      most -= taken;
      return taken;
    },
  });
  const reference = new LiveWriter(wanted);
  const frame = new Frame();
  let refused = 0;
  for (let i = 0; i < 3000; i++) {
    frame.clear();
    const bytes = random.bytes(random.pick([0, 1, 60, 1500, 60_000]));
    frame.push(bytes, 0, bytes.length);
    if (random.chance(0.3)) most += random.pick([1, 5, 100, 4096, 100_000]);
    if (!writer.hasRoom(bytes.length)) {
      refused++;
      assertThrows(() => writer.add(frame, 0, 0), TypeError, "no room");
      assert(writer.stalled);
      continue;
    }
    writer.add(frame, i, 0);
    reference.add(frame, i, 0);
    if (random.chance(0.1)) {
      writer.flush();
      reference.flush();
      assertEquals(writer.stalled, written.length < wanted.length);
      assert(writer.frames <= reference.frames);
    }
  }
  assert(refused > 10);
  most = Infinity;
  writer.flush();
  reference.flush();
  assertEquals(writer.stalled, false);
  assert(equals(written.all(), wanted.all()));
  assertEquals([writer.frames, writer.bytes], [reference.frames, reference.bytes]);
});

Deno.test("LiveWriter throws what its sink throws, though that cannot take back either", () => {
  const writer = new LiveWriter({
    writeSync(bytes) {
      if (bytes.length < 24) throw new Error("No space left on device");
      return 10;
    },
    cutSync() {
      throw new Error("Invalid argument");
    },
  });
  assertThrows(() => writer.flush(), Error, "No space left on device");
});

Deno.test("LiveWriter refuses a frame that no capture holds", () => {
  const writer = new LiveWriter({ writeSync: (bytes) => bytes.length });
  const frame = new Frame();
  frame.push(new Uint8Array(262145), 0, 262144);
  assert(writer.add(frame, 0, 0));
  frame.push(frame.bytes[0]!, 0, 1);
  assertEquals(writer.add(frame, 0, 0), false);
});

Deno.test({
  ...needPeers("tcpdump"),
  name: "LiveWriter's captures are copied by tcpdump without a change",
  async fn() {
    const random = new Random(3);
    const chunks: Uint8Array[] = [];
    const writer = new LiveWriter({ writeSync: (bytes) => chunks.push(bytes.slice()) && bytes.length });
    for (let i = 0; i < 2000; i++) {
      const bytes = random.bytes(random.pick([0, 1, 14, 60, 64, 255, 256, 257, 1514, 9000]));
      writer.add(inPieces(random, bytes), 1_700_000_000 + i, random.below(1e9));
    }
    writer.flush();
    const path = Deno.makeTempFileSync();
    Deno.writeFileSync(path, new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer()));
    const { code, stderr } = await new Deno.Command("tcpdump", {
      args: ["--time-stamp-precision=nano", "-r", path, "-w", `${path}.copy`],
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    assertEquals(Deno.readFileSync(`${path}.copy`), Deno.readFileSync(path));
    Deno.removeSync(path);
    Deno.removeSync(`${path}.copy`);
  },
});
