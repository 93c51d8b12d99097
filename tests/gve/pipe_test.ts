import { assert, assertEquals, assertThrows } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { LocalHost } from "../../core/host.ts";
import { OptionError, OptionValues } from "../../core/options.ts";
import gve, { settingsFrom } from "../../plugins/gve/mod.ts";
import { runBytes } from "../cli/pipe_harness.ts";
import { isGzip, specimens } from "../pcap/specimens.ts";
import { walk } from "../pcap/walk.ts";
import { pairwise } from "../pairwise.ts";
import { Random } from "../random.ts";

const FIXTURES = new URL("../../fixtures/", import.meta.url);
const RECORD = 16;
const HEADER = 24;
const FORMATS = ["gqi-qpl", "gqi-rda", "dqo-qpl", "dqo-rda"];

/** What becomes of the specimens' empty records, and of those longer than any frame. */
const DROPS: Readonly<Record<string, readonly string[]>> = {
  "p34-caplen0-len0": ["1 runt"],
  "p35-caplen0-len60": ["1 runt"],
  "p37-caplen-262144": ["1 oversize"],
  "p49-trailing-zeros16": ["4 runt"],
  "p50-concat": ["4 runt"],
  "n37-epb-caplen0": ["1 runt"],
};

/** The capture without the packets of the given numbers, counted from 1. */
function without(capture: Uint8Array<ArrayBuffer>, lost: ReadonlySet<number>): Uint8Array<ArrayBuffer> {
  const view = new DataView(capture.buffer);
  const kept = [capture.slice(0, HEADER)];
  for (let at = HEADER, number = 1; at < capture.length; number++) {
    const end = at + RECORD + view.getUint32(at + 8, true);
    if (!lost.has(number)) kept.push(capture.slice(at, end));
    at = end;
  }
  return concat(kept);
}

function capture(frames: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const parts = [Uint8Array.fromHex("d4c3b2a1020004000000000000000000ffff040001000000")];
  for (const [i, frame] of frames.entries()) {
    const header = new Uint8Array(RECORD);
    const view = new DataView(header.buffer);
    view.setUint32(0, 1_700_000_000 + i, true);
    view.setUint32(8, frame.length, true);
    view.setUint32(12, frame.length + 4, true);
    parts.push(header, frame);
  }
  return concat(parts);
}

/** A frame of random bytes and length; often with the headers of TCP, so that flows and headers are found. */
function randomFrame(random: Random): Uint8Array<ArrayBuffer> {
  const edges = [
    0,
    1,
    16,
    17,
    181,
    182,
    183,
    256,
    257,
    1514,
    2045,
    2046,
    2047,
    2048,
    2049,
    4094,
    4096,
    65534,
    65535,
  ];
  const kind = random.below(10);
  const length = kind === 0 ? random.pick(edges) : kind < 9 ? random.below(1600) : random.below(65536);
  const frame = new Uint8Array(length).fill(random.u32() & 0xff);
  for (let i = 0; i < length; i += 61) frame[i] = random.u32();
  if (length >= 60 && random.chance(0.6)) {
    frame.set([0x08, 0, 0x45, 0, length >> 8, length & 0xff, 0, 0, 0, 0, 64, 6], 12);
    frame[46] = 0x50;
  }
  return frame;
}

for (const format of FORMATS) {
  Deno.test(`the pipe gives every fixture back with ${format}`, async () => {
    for (const { name } of Deno.readDirSync(FIXTURES)) {
      if (!name.endsWith(".pcap")) continue;
      const input = Deno.readFileSync(new URL(name, FIXTURES));
      const { output, drops } = await runBytes(input, { plugin: gve, options: { format } });
      const reasons = new Set(drops.map((drop) => drop.split(" ")[1]));
      assert(reasons.isSubsetOf(new Set(["runt", "oversize"])), `${name}: ${drops}`);
      assertEquals(output, without(input, new Set(drops.map((drop) => parseInt(drop)))), name);
      if (name !== "runts.pcap") assertEquals(drops, [], name);
    }
  });

  Deno.test(`frames of 1 to 65535 bytes pass with ${format}, an empty one is a runt`, async () => {
    const lengths = [
      0,
      1,
      2,
      13,
      60,
      182,
      183,
      2046,
      2047,
      2048,
      16383,
      16384,
      32766,
      32767,
      65533,
      65534,
      65535,
    ];
    const input = capture(lengths.map((length) => new Uint8Array(length).map((_, i) => i * 7 + length)));
    const { output, drops } = await runBytes(input, { plugin: gve, options: { format } });
    assertEquals(drops, ["1 runt"]);
    assertEquals(output, without(input, new Set([1])));
  });

  Deno.test(`the pipe gives each kind of capture back as far as it is good with ${format}`, async () => {
    for (const one of specimens) {
      const { result, output, drops } = await runBytes(one.bytes, { plugin: gve, options: { format } });
      assertEquals(result.error !== undefined, one.error !== undefined, one.name);
      assertEquals(drops, DROPS[one.name] ?? [], one.name);
      if (drops.length === 0 && !isGzip(one)) {
        assertEquals(output, one.bytes.slice(0, walk(one.bytes).end), one.name);
      }
    }
  });

  Deno.test(`frames over 65535 bytes are oversize with ${format}`, async () => {
    const input = capture([new Uint8Array(65536), new Uint8Array(60)]);
    const { output, drops } = await runBytes(input, { plugin: gve, options: { format } });
    assertEquals(drops, ["1 oversize"]);
    assertEquals(output, without(input, new Set([1])));
  });
}

Deno.test("the pipe gives random captures back under every pair of DQO options", async () => {
  const combinations = pairwise({
    "format": ["dqo-rda", "dqo-qpl"],
    "queues": ["1", "3"],
    "tx-ring": ["512", "64"],
    "rx-ring": ["512", "64"],
    "rx-buffer": ["2048", "1024", "4096", "777"],
    "page-size": ["4096", "8192", "65536"],
    "copybreak": ["256", "0", "65535"],
    "hold": ["0", "40", "1000"],
    "header-split": ["off", "on"],
    "miss-rate": ["0", "30", "100"],
    "out-of-order": ["off", "on"],
    "completion-batch": ["1", "4", "64"],
    "profile": ["strict", "linux"],
    "driver": ["linux", "ipxe"],
    "revision": ["0", "1"],
    "batch": ["64", "1"],
  }, ({ driver, "header-split": split }) => driver !== "ipxe" || split !== "on");
  assert(combinations.length < 40, `${combinations.length} combinations`);
  await checkAll(combinations, 17);
});

Deno.test("the pipe gives random captures back under every pair of GQI options", async () => {
  const combinations = pairwise({
    "format": ["gqi-rda", "gqi-qpl"],
    "queues": ["1", "4"],
    "tx-ring": ["256", "1024"],
    "rx-ring": ["512", "64"],
    "rx-buffer": ["2048", "4096", "1500"],
    "page-size": ["4096", "16384"],
    "qpl-pages": ["64", "17"],
    "copybreak": ["256", "0", "2000"],
    "hold": ["0", "30", "1000"],
    "profile": ["strict", "linux"],
    "driver": ["linux", "ipxe"],
    "revision": ["0", "1"],
    "batch": ["64", "1"],
  });
  await checkAll(combinations, 18);
});

/** Random captures under each combination: what is missing must be what these options cannot carry. */
async function checkAll(combinations: readonly Record<string, string>[], seed: number): Promise<void> {
  const random = new Random(seed);
  for (const options of combinations) {
    const frames = Array.from({ length: 120 }, () => randomFrame(random));
    const input = capture(frames);
    const label = JSON.stringify(options);
    const { output, drops, result } = await runBytes(input, { plugin: gve, options });
    const lost = new Set(drops.map((drop) => parseInt(drop)));
    const small = Number(options["rx-buffer"]) < 2048 || Number(options["qpl-pages"] ?? 64) < 64 ||
      options["tx-ring"] === "64";
    for (const drop of drops) {
      const [number, reason] = drop.split(" ");
      const { length } = frames[Number(number) - 1]!;
      assertEquals(reason, length === 0 ? "runt" : "oversize", label);
      // Small rings carry whatever fits 24 KiB; the default ones all there is.
      assert(length === 0 || (small && length > 24576), `${label}: ${length}`);
    }
    assertEquals(output, without(input, lost), label);
    assertEquals(result.packets, { in: 120, out: 120 - lost.size, dropped: lost.size }, label);
  }
}

Deno.test("limits=nic keeps to what the NIC takes", async () => {
  const lengths = [16, 17, 1514, 9728, 9729];
  const input = capture(lengths.map((length) => new Uint8Array(length).fill(length)));
  for (const format of ["dqo-rda", "dqo-qpl"]) {
    const { drops } = await runBytes(input, { plugin: gve, options: { format, limits: "nic" } });
    assertEquals(drops, ["1 runt", "5 oversize"]);
  }
});

Deno.test("an MTU is policed only when asked for, VLAN tags not counted", async () => {
  const tagged = new Uint8Array(1518);
  tagged.set([0x81, 0], 12);
  const input = capture([new Uint8Array(1514), new Uint8Array(1515), tagged, new Uint8Array(1518)]);
  for (const format of FORMATS) {
    const { drops } = await runBytes(input, { plugin: gve, options: { format, mtu: 1500 } });
    assertEquals(drops, ["2 oversize", "4 oversize"]);
  }
});

Deno.test("settingsFrom() refuses options that do not go together", () => {
  const refused: Record<string, string>[] = [
    { "format": "dqo-rda", "tx-ring": "32" },
    { "format": "dqo-rda", "rx-ring": "32" },
    { "format": "gqi-qpl", "tx-ring": "128" },
    { "format": "gqi-rda", "header-split": "on" },
    { "format": "gqi-rda", "miss-rate": "5" },
    { "format": "gqi-rda", "offer": "gqi-rda,dqo-rda" },
    { "offer": "gqi-qlp" },
    { "rx-buffer": "8192" },
    { "page-size": "5000" },
    { "format": "dqo-qpl", "qpl-pages": "20" },
    { "format": "dqo-qpl", "qpl-pages": "1023", "page-size": "65536" },
    { "format": "gqi-qpl", "qpl-pages": "4097", "limits": "nic" },
    { "mtu": "20" },
  ];
  for (const options of refused) {
    assertThrows(
      () => settingsFrom(new OptionValues(gve.options, options)),
      OptionError,
      "",
      JSON.stringify(options),
    );
  }
});

Deno.test("settingsFrom() takes the format that Linux prefers from an offer", () => {
  const formats: Record<string, string> = {
    "gqi-qpl,gqi-rda,dqo-qpl,dqo-rda": "dqo-rda",
    "gqi-qpl,dqo-qpl,gqi-rda": "dqo-qpl",
    "gqi-qpl,gqi-rda": "gqi-rda",
    "gqi-raw-addressing,gqi-qpl": "gqi-rda",
    "modify-ring,gqi-qpl": "gqi-qpl",
    "": "gqi-qpl",
  };
  for (const [offer, format] of Object.entries(formats)) {
    const options = new OptionValues(gve.options, { offer });
    settingsFrom(options);
    assertEquals(options.text("format"), format, offer);
  }
});

Deno.test("unknown device options are passed over", async () => {
  const input = capture([new Uint8Array(60).fill(1)]);
  const options = { offer: "0x5,dqo-rda,0x9,modify-ring,flow-steering,nic-timestamp" };
  const { output, result } = await runBytes(input, { plugin: gve, options });
  assertEquals(output, input);
  assertEquals(result.counters["admin.options_skipped"], 4);
});

Deno.test("rings and page lists that do not fit in memory are refused", () => {
  const options = new OptionValues(gve.options, { "format": "gqi-qpl", "queues": 16, "rx-ring": 32768 });
  assertThrows(() => gve.open(options, new LocalHost()), OptionError, "do not fit");
});

Deno.test("the largest rings and the most queues come up", async () => {
  const input = capture(Array.from({ length: 200 }, (_, i) => new Uint8Array(60 + i).fill(i)));
  for (const format of FORMATS) {
    for (const options of [{ queues: 16 }, { "tx-ring": 32768, "rx-ring": 32768 }]) {
      const { output } = await runBytes(input, { plugin: gve, options: { format, ...options } });
      assertEquals(output, input, format);
    }
  }
});

Deno.test("many large DQO queues share the memory, so that frames of every flow find buffers", async () => {
  const large: readonly Record<string, number>[] = [
    { "queues": 16, "rx-ring": 8192 },
    { "queues": 4, "rx-ring": 32768, "rx-buffer": 4096 },
    { "queues": 16, "rx-ring": 32768, "page-size": 16384 },
  ];
  for (const name of ["dns", "gso"]) {
    const input = await Deno.readFile(new URL(`${name}.pcap`, FIXTURES));
    for (const options of large) {
      const { output, drops } = await runBytes(input, { plugin: gve, options });
      assertEquals(drops, [], JSON.stringify(options));
      assertEquals(output, input, JSON.stringify(options));
    }
  }
});

Deno.test("no frame waits for ever for buffers that are posted late, or held by the stack", async () => {
  const random = new Random(29);
  const frames = Array.from(
    { length: 600 },
    () => new Uint8Array(random.chance(0.15) ? random.between(1, 65535) : random.between(1, 1600)),
  );
  const input = capture(frames);
  const combinations: Record<string, string>[] = [
    { "format": "gqi-rda", "rx-ring": "64", "rx-buffer": "1024" },
    { "format": "gqi-rda", "rx-ring": "256", "rx-buffer": "128", "batch": "1" },
    { "format": "gqi-rda", "rx-ring": "1024", "page-size": "65536", "hold": "1024", "copybreak": "0" },
    {
      "format": "dqo-qpl",
      "rx-ring": "128",
      "rx-buffer": "700",
      "hold": "100",
      "copybreak": "0",
      "batch": "1",
    },
    {
      "format": "dqo-qpl",
      "rx-ring": "256",
      "rx-buffer": "700",
      "hold": "1024",
      "copybreak": "0",
      "header-split": "on",
    },
  ];
  for (const options of combinations) {
    const { output, drops } = await runBytes(input, { plugin: gve, options });
    const label = JSON.stringify(options);
    assertEquals(drops.filter((drop) => !drop.endsWith(" oversize")), [], label);
    assertEquals(output, without(input, new Set(drops.map((drop) => parseInt(drop)))), label);
  }
});
