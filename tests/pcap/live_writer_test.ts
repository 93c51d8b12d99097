import { assert, assertEquals } from "@std/assert";
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

Deno.test("LiveWriter writes the header at once and records as they are flushed", () => {
  const written: number[] = [];
  const writer = new LiveWriter((bytes) => written.push(...bytes));
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

Deno.test("LiveWriter refuses a frame that no capture holds", () => {
  const writer = new LiveWriter(() => {});
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
    const writer = new LiveWriter((bytes) => chunks.push(bytes.slice()));
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
