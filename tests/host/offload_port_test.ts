import { assertEquals } from "@std/assert";
import { Frame } from "../../core/frame.ts";
import { Memory } from "../../core/memory.ts";
import { OffloadPort } from "../../host/vhost_user/offload_port.ts";

const NEEDS_CSUM = 1;
const TCPV4 = 1;

/** Takes frames as long as it may. */
class Taker {
  readonly frames: Uint8Array[] = [];
  readonly drops: string[] = [];
  room = Infinity;

  transmit(frame: Frame): boolean {
    if (this.room-- <= 0) return false;
    const copy = new Memory(frame.length);
    frame.copyTo(copy, 0, 0, frame.length);
    this.frames.push(copy.bytes);
    return true;
  }

  drop(_pair: number, reason: string): void {
    this.drops.push(reason);
  }
}

class Bench {
  readonly header = new Memory(12);
  readonly taker = new Taker();
  readonly port: OffloadPort;

  constructor(segment = true) {
    this.port = new OffloadPort(this, this.taker, segment);
  }

  /** Sends a frame with a net header, in two pieces. */
  send(bytes: Uint8Array, flags = 0, type = 0, size = 0, start = 0, field = 0): boolean {
    const { view } = this.header;
    view.setUint8(0, flags);
    view.setUint8(1, type);
    [0, size, start, field].forEach((value, i) => view.setUint16(2 + 2 * i, value, true));
    const frame = new Frame();
    frame.push(bytes, 0, 5);
    frame.push(bytes, 5, bytes.length - 5);
    return this.port.transmit(frame, 0);
  }
}

/** 10.0.0.1 to 10.0.0.2, so many bytes of TCP payload. */
function tcp(payload: number): Uint8Array {
  const bytes = new Uint8Array(54 + payload);
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45], 0);
  new DataView(bytes.buffer).setUint16(16, 40 + payload);
  bytes.set([64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 4, 210, 0, 80], 22);
  bytes[46] = 0x50;
  return bytes;
}

Deno.test("OffloadPort passes frames on untouched that ask for nothing", () => {
  const bench = new Bench();
  const bytes = tcp(10);
  assertEquals(bench.send(bytes), true);
  assertEquals(bench.taker.frames, [bytes]);
  bench.taker.room = 0;
  assertEquals(bench.send(bytes), false);
});

Deno.test("OffloadPort finishes a checksum in a copy: the driver's buffer stays as it is", () => {
  const bench = new Bench();
  const bytes = tcp(10);
  const before = bytes.slice();
  bench.send(bytes, NEEDS_CSUM, 0, 0, 34, 16);
  assertEquals(bytes, before);
  const [frame] = bench.taker.frames;
  assertEquals(frame!.length, bytes.length);
  assertEquals([frame![50] !== 0 || frame![51] !== 0, frame!.subarray(0, 50)], [true, bytes.subarray(0, 50)]);
});

Deno.test("OffloadPort hands on the rest of a cut frame before it takes the next", () => {
  const bench = new Bench();
  bench.taker.room = 2;
  assertEquals(bench.send(tcp(5000), NEEDS_CSUM, TCPV4, 1000, 34, 16), true);
  assertEquals(bench.taker.frames.length, 2);
  bench.taker.room = 1;
  assertEquals(bench.send(tcp(7)), false);
  assertEquals(bench.taker.frames.length, 3);
  bench.taker.room = Infinity;
  assertEquals(bench.port.flush(), true);
  assertEquals(bench.send(tcp(7)), true);
  assertEquals(bench.taker.frames.map((frame) => frame.length), [1054, 1054, 1054, 1054, 1054, 61]);
});

Deno.test("OffloadPort keeps large frames as they came if asked to", () => {
  const bench = new Bench(false);
  const bytes = tcp(5000);
  bench.send(bytes, NEEDS_CSUM, TCPV4, 1000, 34, 16);
  assertEquals(bench.taker.frames, [bytes]);
});

Deno.test("OffloadPort forgets what is left when the driver goes", () => {
  const bench = new Bench();
  bench.taker.room = 1;
  bench.send(tcp(3000), NEEDS_CSUM, TCPV4, 1000, 34, 16);
  bench.port.clear();
  bench.taker.room = Infinity;
  bench.send(tcp(7));
  assertEquals(bench.taker.frames.map((frame) => frame.length), [1054, 61]);
});

Deno.test("OffloadPort drops, with a reason, what no device could finish", () => {
  const bench = new Bench();
  bench.send(tcp(100), NEEDS_CSUM, 0, 0, 200, 16);
  bench.send(tcp(100), NEEDS_CSUM, 4, 1000, 34, 16);
  bench.send(tcp(60_000), NEEDS_CSUM, TCPV4, 1, 34, 16);
  bench.send(new Uint8Array(70_000), NEEDS_CSUM, TCPV4, 1000, 34, 16);
  assertEquals(bench.taker.drops, [
    "offload-header",
    "offload-header",
    "offload-too-long",
    "offload-too-long",
  ]);
  assertEquals([bench.taker.frames.length, bench.port.flush()], [0, true]);
});
