import { concat } from "@std/bytes/concat";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { constants, gunzipSync, gzipSync, zstdCompressSync } from "node:zlib";
import { CaptureError } from "../../pcap/capture_error.ts";
import { DecompressedSource, GzipSink } from "../../pcap/compression.ts";
import { ZstdFrame } from "../../pcap/zstd_frame.ts";
import { stepwise } from "../cli/pipe_harness.ts";
import { Random } from "../random.ts";

const DATA = (() => {
  const random = new Random(9);
  // Something that compresses, but not to nothing.
  return Uint8Array.from({ length: 300000 }, () => random.below(20));
})();

interface Decompressed {
  readonly bytes: Uint8Array;
  readonly error: Error | undefined;
}

async function decompress(
  bytes: Uint8Array,
  steps: readonly number[] = [1 << 20],
  format: "gzip" | "zstd" = "gzip",
): Promise<Decompressed> {
  const source = new DecompressedSource(format, bytes.slice(0, 4), stepwise(bytes.subarray(4), steps));
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const target = new Uint8Array(70000);
  try {
    for (;;) {
      const length = await source.read(target);
      if (length === null) return { bytes: concat(parts), error: undefined };
      parts.push(target.slice(0, length));
    }
  } catch (error) {
    return { bytes: concat(parts), error: error as Error };
  }
}

Deno.test("DecompressedSource gives back what was compressed, however it arrives", async () => {
  const zipped = gzipSync(DATA);
  for (const steps of [[1 << 20], [65536], [1000], [1, 50000]]) {
    assertEquals(await decompress(zipped, steps), { bytes: DATA, error: undefined });
  }
  assertEquals(await decompress(zstdCompressSync(DATA), [999], "zstd"), { bytes: DATA, error: undefined });
});

Deno.test("DecompressedSource reads several members and zeros behind them", async () => {
  const members = [0, 1, 100000].map((start, i, starts) => gzipSync(DATA.subarray(start, starts[i + 1])));
  const { bytes, error } = await decompress(concat([...members, new Uint8Array(512)]));
  assertEquals(error, undefined);
  assertEquals(bytes, DATA);
});

Deno.test("DecompressedSource gives all that decompresses before it says what is bad", async () => {
  const zipped = new Uint8Array(gzipSync(DATA));
  const wrongSum = zipped.slice();
  wrongSum[zipped.length - 6]! ^= 1;
  const cases: [Uint8Array, RegExp, boolean][] = [
    [wrongSum, /^bad gzip data behind what decompresses at byte 300000: /, false],
    [concat([zipped, new TextEncoder().encode("garbage")]), /^bad gzip data .* at byte 300000: /, false],
    [zipped.slice(0, -4), /^truncated gzip data behind what decompresses at byte 300000: /, true],
  ];
  for (const [bytes, message, truncated] of cases) {
    const told = await decompress(bytes);
    assertEquals(told.bytes, DATA);
    assert(told.error instanceof CaptureError);
    assertMatch(told.error.message, message);
    assertEquals(told.error.truncated, truncated);
  }
});

Deno.test("DecompressedSource gives nearly all before a cut or a bent byte", async () => {
  const zipped = new Uint8Array(gzipSync(DATA));
  for (const part of [0.2, 0.5, 0.9]) {
    const at = Math.floor(zipped.length * part);
    const cut = await decompress(zipped.slice(0, at));
    assert(cut.error instanceof CaptureError && cut.error.truncated);
    assert(cut.bytes.length > DATA.length * part * 0.95, `${cut.bytes.length}`);
    assertEquals(cut.bytes, DATA.slice(0, cut.bytes.length));
  }
});

Deno.test("DecompressedSource gives nearly all before damage, of a capture that is read at once", async () => {
  const web = await Deno.readFile(new URL("../../fixtures/web.pcap", import.meta.url));
  const zipped = new Uint8Array(gzipSync(web));
  for (const part of [0.1, 0.3, 0.5, 0.7]) {
    const at = Math.floor(zipped.length * part);
    const told = await decompress(zipped.slice().fill(0xff, at, at + 40));
    assertMatch(told.error?.message ?? "", /^bad gzip data/);
    // What the bytes before the damage decompress to, less what a sixty-fourth of the file does.
    const sure = (await decompress(zipped.slice(0, at - zipped.length / 64))).bytes;
    assert(told.bytes.length >= sure.length, `${told.bytes.length} of ${sure.length} at ${part}`);
    assertEquals(told.bytes.slice(0, sure.length), web.slice(0, sure.length));
  }
});

Deno.test("DecompressedSource gives all before garbage that follows, however much it is", async () => {
  // So few compressed bytes that they arrive together with the garbage.
  const zeros = new Uint8Array(100000);
  const raw = DATA.subarray(0, 1000);
  const cases: [Uint8Array, "gzip" | "zstd", RegExp][] = [
    [
      concat([gzipSync(zeros), raw]),
      "gzip",
      /at byte 100000: wanted more, got something that is no gzip member$/,
    ],
    [concat([gzipSync(zeros), new Uint8Array(3), raw]), "gzip", /at byte 100000: /],
    [
      concat([gzipSync(zeros).subarray(0, -8), new Uint8Array(8), gzipSync(raw)]),
      "gzip",
      /incorrect data check$/,
    ],
    [concat([zstdCompressSync(zeros), raw]), "zstd", /^bad zstd data .* at byte 100000: /],
  ];
  for (const [bytes, format, message] of cases) {
    const told = await decompress(bytes, [1 << 20], format);
    assertEquals(told.bytes, zeros);
    assertMatch(told.error?.message ?? "", message);
  }
});

Deno.test("DecompressedSource reads a gzip header with all that may stand in it", async () => {
  const { length } = gzipSync(DATA);
  const data = gzipSync(DATA).subarray(10);
  const header = [0x1f, 0x8b, 8, 0x1f, 0, 0, 0, 0, 0, 3, 4, 0, 1, 2, 3, 4, 110, 0, 99, 0, 0xaa, 0xbb];
  assertEquals(await decompress(concat([Uint8Array.from(header), data])), { bytes: DATA, error: undefined });
  for (
    const [at, value, message] of [[2, 7, /compression method$/], [3, 0x20, /header flags set$/]] as const
  ) {
    const bad = Uint8Array.from(header);
    bad[at] = value;
    const told = await decompress(concat([bad, data]));
    assertMatch(told.error?.message ?? "", message);
  }
  for (let end = 4; end < header.length; end++) {
    const told = await decompress(Uint8Array.from(header.slice(0, end)));
    assertMatch(told.error?.message ?? "", /^truncated gzip data/, `${end} of ${length}`);
  }
});

/** Frames of zstd: without and with a checksum, of blocks of every kind, one that is to be skipped. */
const FRAMES = (() => {
  const settings = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };
  const data = DATA.subarray(0, 1000);
  return {
    data,
    plain: new Uint8Array(zstdCompressSync(data)),
    summed: new Uint8Array(zstdCompressSync(concat([data, new Uint8Array(500000)]), settings)),
    skippable: Uint8Array.of(0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3),
  };
})();

Deno.test("ZstdFrame ends where the frame ends and nowhere before", () => {
  for (const bytes of [FRAMES.plain, FRAMES.summed, FRAMES.skippable]) {
    const frame = new ZstdFrame();
    for (let at = 0; at < bytes.length; at++) {
      assertEquals(frame.whole, false);
      assertEquals(frame.follow(bytes.subarray(at, at + 1)), 1);
    }
    assert(frame.whole);
    assertEquals(new ZstdFrame().follow(concat([bytes, bytes])), bytes.length);
  }
});

Deno.test("DecompressedSource reads zstd frames in a row, and notices where one is cut off", async () => {
  const { data, plain, summed, skippable } = FRAMES;
  const bytes = concat([data, data, new Uint8Array(500000), data]);
  const stream = concat([skippable, plain, summed, skippable, plain, skippable]);
  for (const steps of [[1 << 20], [1], [7, 1000]]) {
    assertEquals(await decompress(stream, steps, "zstd"), { bytes, error: undefined });
  }
  for (const whole of [plain, summed, concat([skippable, plain]), concat([plain, plain])]) {
    for (const part of [0.3, 0.6, 0.99]) {
      const cut = await decompress(whole.slice(0, Math.floor(whole.length * part)), [1 << 20], "zstd");
      assert(cut.error instanceof CaptureError && cut.error.truncated);
    }
  }
});

Deno.test("DecompressedSource passes on an error of its source as it is", async () => {
  const failing = { read: () => Promise.reject(new TypeError("no more")) };
  const source = new DecompressedSource("gzip", gzipSync(DATA).subarray(0, 100), failing);
  await assertRejects(
    async () => {
      while (await source.read(new Uint8Array(10)) !== null);
    },
    TypeError,
    "no more",
  );
});

Deno.test("GzipSink writes what gunzip reads, and hears of its sink's errors", async () => {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const sink = new GzipSink({
    write(bytes) {
      parts.push(bytes.slice(0, 1000) as Uint8Array<ArrayBuffer>);
      return Promise.resolve(Math.min(bytes.length, 1000));
    },
  });
  for (let at = 0; at < DATA.length; at += 70000) await sink.write(DATA.subarray(at, at + 70000));
  await sink.end();
  assertEquals(new Uint8Array(gunzipSync(concat(parts))), DATA);

  const full = new GzipSink({ write: () => Promise.reject(new TypeError("full")) });
  const random = new Random(1).bytes(100000);
  await assertRejects(
    async () => {
      for (let i = 0; i < 100; i++) await full.write(random);
      await full.end();
    },
    TypeError,
    "full",
  );
});
