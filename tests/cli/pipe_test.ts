import { concat } from "@std/bytes/concat";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { CaptureError, ConversionError } from "../../pcap/capture_error.ts";
import { Interrupts } from "../../cli/pipe.ts";
import { Random } from "../random.ts";
import { block, epb, frame, idb, LE, ng, option, shb, START } from "../pcap/build.ts";
import { isGzip, specimens } from "../pcap/specimens.ts";
import { walk } from "../pcap/walk.ts";
import { runBetween, runBytes, stepwise } from "./pipe_harness.ts";

const FIXTURES = new URL("../../fixtures/", import.meta.url);

function fixture(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(name, FIXTURES));
}

function specimen(name: string): Uint8Array<ArrayBuffer> {
  return specimens.find((one) => one.name === name)!.bytes;
}

/** The capture with some of its packets left out, by number from 1. */
function without(
  capture: Uint8Array<ArrayBuffer>,
  isLost: (number: number) => boolean,
): Uint8Array<ArrayBuffer> {
  const view = new DataView(capture.buffer);
  const kept = [capture.slice(0, 24)];
  for (let at = 24, number = 1; at < capture.length; number++) {
    const end = at + 16 + view.getUint32(at + 8, true);
    if (!isLost(number)) kept.push(capture.slice(at, end));
    at = end;
  }
  return concat(kept);
}

Deno.test("runPipe gives each kind of capture back as far as it is good", async () => {
  for (const one of specimens) {
    const { name, bytes, packets, error } = one;
    const { result, output } = await runBytes(bytes, { steps: [4096] });
    assertEquals(result.packets, { in: packets, out: packets, dropped: 0 }, name);
    assertEquals(result.error !== undefined, error !== undefined, name);
    if (isGzip(one)) continue;
    assertEquals(output, bytes.slice(0, walk(bytes).end), name);
  }
});

Deno.test("runPipe gives a capture back however its bytes arrive and leave", async () => {
  for (
    const name of ["p10-modified-be", "n10-nrb-isb-dsb-cb-unknown", "n20-2sections-mixed-endian", "p20-v2.2"]
  ) {
    const bytes = specimen(name);
    for (const given of [{ steps: [1] }, { steps: [1, 7, 30], taken: 1 }, { taken: 5, live: true }]) {
      const { result, output } = await runBytes(bytes, given);
      assertEquals(result.error, undefined, name);
      assertEquals(output, bytes, name);
    }
  }
  const random = new Random(3);
  const web = fixture("web.pcap");
  for (let i = 0; i < 4; i++) {
    const steps = Array.from({ length: 7 }, () => random.between(1, 5000));
    assertEquals((await runBytes(web, { steps })).output, web);
  }
});

Deno.test("runPipe keeps order and bytes with several queues, pieces and used headroom", async () => {
  for (const name of ["web.pcap", "jumbo.pcap", "vlan.pcap"]) {
    const bytes = fixture(name);
    for (const options of [{ queues: 3 }, { queues: 8, piece: 100 }, { piece: 1 }, { scribble: "on" }]) {
      const { result, output } = await runBytes(bytes, { options });
      assertEquals(result.error, undefined);
      assertEquals(output, bytes);
    }
  }
  const bytes = specimen("n43-epb-all-opts");
  assertEquals((await runBytes(bytes, { options: { scribble: "on" } })).output, bytes);
});

Deno.test("runPipe leaves out what the ring refuses or drops, and says so", async () => {
  const web = fixture("web.pcap");
  const lengths = walk(web).packets.map(({ bytes }) => bytes.length);
  const cases = [
    {
      options: { largest: 1000 },
      isLost: (number: number) => lengths[number - 1]! > 1000,
      reason: "oversize",
    },
    { options: { smallest: 70 }, isLost: (number: number) => lengths[number - 1]! < 70, reason: "runt" },
    {
      options: { "drop-every": 3, queues: 2 },
      isLost: (number: number) => number % 3 === 0,
      reason: "told-to",
    },
    { options: { largest: 0 }, isLost: () => true, reason: "oversize" },
  ];
  for (const { options, isLost, reason } of cases) {
    const { result, output, drops } = await runBytes(web, { options });
    const lost = lengths.map((_, i) => i + 1).filter(isLost);
    assertEquals(output, without(web, isLost));
    assertEquals([...drops].sort(), lost.map((number) => `${number} ${reason}`).sort());
    assertEquals(result.drops, { [reason]: lost.length });
    assertEquals(result.packets, {
      in: lengths.length,
      out: lengths.length - lost.length,
      dropped: lost.length,
    });
    const sum = lengths.reduce((total, length) => total + length, 0);
    const gone = lost.reduce((total, number) => total + lengths[number - 1]!, 0);
    assertEquals(result.bytes, { in: sum, out: sum - gone });
    assertEquals(result.error, undefined);
  }
});

Deno.test("runPipe leaves out packets, the first one too, when it converts", async () => {
  const web = fixture("web.pcap");
  const { output: converted } = await runBytes(web, { format: "pcapng" });
  const lengths = walk(web).packets.map(({ bytes }) => bytes.length);
  for (const largest of [1000, lengths[0]! - 1, 0]) {
    const isKept = ({ bytes }: { bytes: Uint8Array }) => bytes.length <= largest;
    for (const [capture, format] of [[web, "pcapng"], [converted, "pcap"]] as const) {
      const { output, warnings } = await runBytes(capture, { format, options: { largest } });
      const told = walk(output);
      assertEquals(told.error, undefined);
      assertEquals(told.packets, walk(capture).packets.filter(isKept));
      assertEquals(warnings, []);
    }
  }
});

Deno.test("runPipe cuts whole blocks out of pcapng where packets are left out", async () => {
  const { output, result } = await runBytes(specimen("n10-nrb-isb-dsb-cb-unknown"), {
    options: { largest: 60 },
  });
  assertEquals(result.drops, { oversize: 1 });
  const told = walk(output);
  assertEquals(told.error, undefined);
  assertEquals(told.packets.map(({ bytes }) => bytes.length), [60]);
  assertEquals(output.length, specimen("n10-nrb-isb-dsb-cb-unknown").length - 132);
});

Deno.test("runPipe writes what came back before a ring fault and counts the rest", async () => {
  const web = fixture("web.pcap");
  const { result, output } = await runBytes(web, { options: { "fault-after": 100 } });
  assertEquals(result.error?.name, "RingFault");
  const told = walk(output);
  assertEquals(told.error, undefined);
  assertEquals(told.packets.length, result.packets.out);
  assert(result.packets.out > 0 && result.packets.out <= 100);
  assertEquals(result.packets.in, result.packets.out + result.packets.dropped);
  assertEquals(result.drops, { fault: result.packets.dropped });
  assertEquals(output, web.slice(0, output.length));
});

Deno.test("runPipe never writes a packet of which the ring bent the length", async () => {
  for (const bend of ["longer", "shorter"]) {
    const { result, output } = await runBytes(fixture("dns.pcap"), { options: { bend } });
    assertEquals(result.error?.name, "DeliveryError");
    assertMatch(result.error!.message, /^the ring brought packet 1 with 1 bytes (more|less) than were sent$/);
    assertEquals(output, fixture("dns.pcap").slice(0, 24));
  }
});

Deno.test("runPipe stops behind count packets", async () => {
  const web = fixture("web.pcap");
  for (const count of [1, 31, 500]) {
    const { result, output } = await runBytes(web, { count, steps: [1000] });
    assertEquals(result.packets.out, count);
    assertEquals(output, without(web, (number) => number > count));
  }
});

Deno.test("runPipe says file, place and how much was good when a capture is bad", async () => {
  const { result } = await runBytes(specimen("p43-trunc-data"));
  assert(result.error instanceof CaptureError);
  assertEquals(
    result.error.message,
    "in.pcap: truncated record at byte 1746: wanted 60 captured bytes, got 20; 3 packets were whole and written",
  );
  assertEquals(result.error.offset, 1746);
});

Deno.test("runPipe carries packets and blocks that are larger than what is read at a time", async () => {
  const block = (type: number, body: Uint8Array) => {
    const size = Uint32Array.of(body.length + 12);
    return concat([
      new Uint8Array(Uint32Array.of(type).buffer),
      new Uint8Array(size.buffer),
      body,
      new Uint8Array(size.buffer),
    ]);
  };
  const random = new Random(5);
  const options = new Uint8Array(3 << 20);
  for (let at = 0; at < options.length; at += 65536) {
    new DataView(options.buffer).setUint32(at, 0xfffc0001, true);
  }
  const huge = block(0x1234, random.bytes(16 * 1024 * 1024 - 12));
  const annotated = block(6, concat([new Uint8Array(12), new Uint8Array(8), options]));
  const good = specimen("n02-good-le");
  const capture = concat([good, huge, annotated, good, huge]);
  for (const steps of [[1 << 21], [65536]]) {
    const { result, output } = await runBytes(capture, { steps });
    assertEquals(result.error, undefined);
    assertEquals(result.packets.out, 5);
    assert(output.length === capture.length && output.every((byte, i) => byte === capture[i]));
  }
});

Deno.test("runPipe converts pcap to pcapng and back without loss", async () => {
  for (const name of ["web.pcap", "nano.pcap", "jumbo.pcap"]) {
    const bytes = fixture(name);
    const there = await runBytes(bytes, { format: "pcapng" });
    const told = walk(there.output);
    assertEquals(told.error, undefined);
    assertEquals(told.packets, walk(bytes).packets);
    const back = await runBytes(there.output, { format: "pcap" });
    assertEquals(back.output, bytes);
    assertEquals([...there.warnings, ...back.warnings], []);
  }
});

Deno.test("runPipe keeps packets and their times whatever it converts from", async () => {
  for (const { name, bytes, error } of specimens) {
    if (error || name.includes("gz") || /^n(00|21|24|25|26|27|46|47|49)|^p46/.test(name)) continue;
    for (const format of ["pcap", "pcapng"] as const) {
      const { output, result } = await runBytes(bytes, { format });
      assertEquals(result.error, undefined, name);
      const told = walk(output);
      const outline = ({ seconds, nanoseconds, length, bytes }: (typeof told.packets)[number]) => [
        seconds * 1000000000n + BigInt(nanoseconds),
        length,
        bytes,
      ];
      const timeless = format === "pcap" && /^n0[678]/.test(name);
      assertEquals(told.error, undefined, name);
      if (!timeless && !/^p44/.test(name)) {
        assertEquals(told.packets.map(outline), walk(bytes).packets.map(outline), `${name} to ${format}`);
      }
    }
  }
});

Deno.test("runPipe refuses to put packets of two link types into pcap, behind those of the first", async () => {
  const { result, output } = await runBytes(specimen("n21-2if-diff-linktype"), { format: "pcap" });
  assert(result.error instanceof ConversionError);
  assertMatch(result.error.message, /^in\.pcap: .*link type.*101; 1 packet was written$/);
  assertEquals(walk(output).packets.length, 1);
  assertEquals(result.packets, { in: 1, out: 1, dropped: 0 });
});

/** An obsolete packet block that says how many packets were dropped before it. */
function dropped(count: number): Uint8Array {
  return block(LE, 2, concat([LE.u16(0, count), LE.u32(395814, 0, 60, 60), frame(60)]));
}

Deno.test("runPipe warns of what pcap does not hold", async () => {
  const cases = [
    ["n10-nrb-isb-dsb-cb-unknown", /7 blocks that are no packets/],
    ["n43-epb-all-opts", /1 packet with options or flags/],
    ["n06-spb", /2 packets without a time/],
    ["n24-tsresol-12", /1 time cut to the precision of the output/],
    ["n26-tsoffset-neg", undefined],
    ["n22-2if-diff-snaplen", /1 packet of another interface than the first one's$/],
    ["n34-epb-caplen-gt-snaplen", /1 packet longer than the snaplen, where some readers cut it$/],
    ["n29-no-endofopt", /1 section or interface with options \(names, comments\)$/],
    [
      ng(shb(), idb({ options: [option(LE, 13, Uint8Array.of(3))] }), epb(frame(60))),
      /1 length of frame check/,
    ],
    [ng(shb(), idb({ options: [option(LE, 13, Uint8Array.of(32))] }), epb(frame(60))), undefined],
    [ng(...START, dropped(0), dropped(3), dropped(0xffff)), /1 packet with options or flags$/],
  ] as const;
  for (const [kind, warning] of cases) {
    const name = `${kind}`;
    const capture = typeof kind === "string" ? specimen(kind) : kind;
    const { warnings } = await runBytes(capture, { format: "pcap" });
    assertEquals(warnings.length, warning ? 1 : 0, name);
    if (warning) assertMatch(warnings[0]!, warning, name);
  }
});

Deno.test("runPipe warns of what pcapng does not hold", async () => {
  for (const name of ["p09-modified-le", "p11-modified-ss990915", "p12-oldmagic-ss990417"]) {
    const { warnings } = await runBytes(specimen(name), { format: "pcapng" });
    assertEquals(warnings.length, 1, name);
    assertMatch(warnings[0]!, /^pcapng does not hold .*: 3 interface numbers/, name);
  }
});

Deno.test("runPipe writes no pcap for a capture without an interface, and leaves an older output alone", async () => {
  const { result, output } = await runBytes(ng(shb()), { format: "pcap" });
  assert(result.error instanceof ConversionError);
  assertMatch(result.error.message, /no interface is described/);
  assertEquals(output.length, 0);
  const empty = await runBytes(ng(shb(), idb({ link: 113 }), shb()), { format: "pcap" });
  assertEquals(empty.result.error, undefined);
  assertEquals(walk(empty.output).scanner?.interfaces[0]?.linkType, 113);
});

Deno.test("runPipe hands on what has arrived before more does, the file header first", async () => {
  const bytes = specimen("p05-le-usec");
  const written: number[] = [];
  let total = 0;
  const sink = {
    write(part: Uint8Array) {
      total += part.length;
      return Promise.resolve(part.length);
    },
  };
  const steps = [24, 76, 10, 106];
  const source = stepwise(bytes, [...steps, bytes.length]);
  const watched = {
    ...source,
    async read(target: Uint8Array) {
      // Whatever arrived before has been written when the reader has nothing to do but wait.
      await new Promise((resolve) => setTimeout(resolve, 1));
      written.push(total);
      return await source.read(target);
    },
  };
  await runBetween(watched, sink, { live: true });
  assertEquals(written.slice(0, 5), [0, 24, 100, 100, 216]);
  assertEquals(total, bytes.length);
});

Deno.test("runPipe leaves the first interrupt to whoever writes into the pipe, and obeys the second", async () => {
  const bytes = specimen("p05-le-usec");
  const never = new Promise<null>(() => {});
  for (const [raises, interrupted] of [[1, false], [2, true]] as const) {
    const interrupts = new Interrupts();
    const source = stepwise(bytes.subarray(0, 110), [110]);
    let reads = 0;
    const waiting = {
      ...source,
      read(target: Uint8Array) {
        if (++reads < 2) return source.read(target);
        for (let i = 0; i < raises; i++) interrupts.raise();
        return interrupted ? never : source.read(target);
      },
    };
    let output = new Uint8Array(0);
    const sink = {
      write(part: Uint8Array) {
        output = concat([output, part]);
        return Promise.resolve(part.length);
      },
    };
    const { result } = await runBetween(waiting, sink, { live: true, interrupts });
    assertEquals(result.interrupted ?? false, interrupted);
    assertEquals(result.error === undefined, interrupted);
    assertEquals(output, bytes.slice(0, 100));
  }
});

Deno.test("runPipe ends a run over a file at the first interrupt, with whole records written", async () => {
  const web = fixture("web.pcap");
  const interrupts = new Interrupts();
  const source = stepwise(web, [50000]);
  let reads = 0;
  const watched = {
    ...source,
    read(target: Uint8Array) {
      if (++reads === 3) interrupts.raise();
      return source.read(target);
    },
  };
  let total = 0;
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const sink = {
    write(part: Uint8Array) {
      total += part.length;
      parts.push(part.slice() as Uint8Array<ArrayBuffer>);
      return Promise.resolve(part.length);
    },
  };
  const { result } = await runBetween(watched, sink, { interrupts });
  assertEquals(result.interrupted, true);
  assertEquals(result.error, undefined);
  const output = concat(parts);
  assert(total > 24 && total < web.length);
  assertEquals(walk(output).error, undefined);
  assertEquals(walk(output).packets.length, result.packets.out);
});

/** An output that takes so many bytes and no more. */
function limited(limit: number) {
  let output = new Uint8Array(0);
  return {
    get output() {
      return output;
    },
    write(bytes: Uint8Array) {
      const length = Math.min(bytes.length, limit - output.length);
      if (length === 0) return Promise.reject(new Error("No space left on device"));
      output = concat([output, bytes.subarray(0, length)]);
      return Promise.resolve(length);
    },
    cut(length: number) {
      output = output.slice(0, output.length - length);
      return Promise.resolve();
    },
  };
}

Deno.test("runPipe leaves a whole capture, and says how much it is, when the output takes no more", async () => {
  const random = new Random(4);
  const cases = [
    ["p05-le-usec", {}],
    ["p05-le-usec", { format: "pcapng" }],
    ["p10-modified-be", {}],
    ["n20-2sections-mixed-endian", {}],
    ["n10-nrb-isb-dsb-cb-unknown", { format: "pcap" }],
    ["web.pcap", {}],
    ["web.pcap", { format: "pcapng" }],
    ["web.pcap", { options: { largest: 1000 } }],
    ["web.pcap", { options: { "drop-every": 2, queues: 3 } }],
  ] as const;
  for (const [name, given] of cases) {
    const capture = name === "web.pcap" ? fixture(name) : specimen(name);
    const { output: all } = await runBytes(capture, given);
    const limits = [0, 23, 24, all.length - 1, ...Array.from({ length: 6 }, () => random.below(all.length))];
    for (const limit of limits) {
      const sink = limited(limit);
      const { result } = await runBetween(stepwise(capture, [60000]), sink, given);
      const { output } = sink;
      const message = `${name} ${JSON.stringify(given)} ${limit}`;
      assertEquals(result.error?.message, "No space left on device", message);
      assertEquals(output, all.slice(0, output.length), message);
      const told = output.length > 0 ? walk(output) : undefined;
      assertEquals(told?.error, undefined, message);
      const packets = told?.packets ?? [];
      assertEquals(result.packets.out, packets.length, message);
      assertEquals(result.bytes.out, packets.reduce((sum, { bytes }) => sum + bytes.length, 0), message);
      // Not one packet too few.
      assertEquals(packets.length, limit < 24 ? 0 : walk(all.slice(0, limit)).packets.length, message);
    }
  }
});

Deno.test("runPipe says when the output cannot be written, and when its reader went away", async () => {
  const web = fixture("web.pcap");
  const failing = (error: Error) => ({ write: () => Promise.reject(error) });
  const full = await runBetween(stepwise(web, [50000]), failing(new Error("No space left on device")));
  assertEquals(full.result.error?.message, "No space left on device");
  const gone = await runBetween(stepwise(web, [50000]), failing(new Deno.errors.BrokenPipe("gone")));
  assertEquals(gone.result.readerGone, true);
  assertEquals(gone.result.error, undefined);
});
