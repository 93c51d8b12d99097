/**
 * Captures through the whole of it: what comes out is what went in, whatever is switched on the way.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import { type OptionValue, OptionValues } from "../../core/options.ts";
import { Pump } from "../../core/pump.ts";
import type { Hypervisor } from "../../plugins/vdpa/hypervisor.ts";
import vdpa from "../../plugins/vdpa/mod.ts";
import { MODELS } from "../../plugins/vdpa/models.ts";
import { runBytes } from "../cli/pipe_harness.ts";
import { Random } from "../random.ts";

type Options = Record<string, OptionValue>;

const fixtures = new URL("../../fixtures/", import.meta.url);
const captures = [...Deno.readDirSync(fixtures)].map(({ name }) => name).filter((name) =>
  name.endsWith(".pcap")
);
const devices = Object.keys(MODELS);

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

for (const mode of ["passthrough", "shadow", "switch@0,1,2,5,17,40,41,100,250,333,500"]) {
  for (const device of devices) {
    Deno.test(`vdpa gives every capture back as it was with device=${device} mode=${mode}`, async () => {
      assert(captures.length > 5);
      for (const name of captures) {
        const bytes = await Deno.readFile(new URL(name, fixtures));
        const { result, output } = await runBytes(bytes, { plugin: vdpa, options: { device, mode } });
        assert(equal(output, bytes), name);
        assertEquals(result.packets.dropped, 0);
        const due = mode.startsWith("switch")
          ? mode.slice(7).split(",").filter((number) => Number(number) <= result.packets.in).length
          : 0;
        if (result.packets.in > 0) assertEquals(result.counters["switch.count"], due, name);
      }
    });
  }
}

const odd = new URL("captures/", fixtures);
const oddNames = [...Deno.readDirSync(odd)].map(({ name }) => name).filter((name) => /\.pcap/.test(name));

Deno.test("every queue has a receive buffer, however many queues share the bytes that are posted", async () => {
  const bytes = await Deno.readFile(new URL("dns.pcap", fixtures));
  for (const mergeable of [true, false]) {
    const options: Options = { "queues": 65, "rx-buffer": 1 << 20, "mrg-rxbuf": mergeable };
    const { result, output } = await runBytes(bytes, { plugin: vdpa, options });
    assertEquals([result.error, result.packets.dropped], [undefined, 0]);
    assert(equal(output, bytes));
  }
});

Deno.test("vdpa treats odd captures, pcapng and broken ones too, as a loopback does, whatever the device", async (t) => {
  const specimens = await Promise.all(oddNames.map(async (name) => {
    const bytes = await Deno.readFile(new URL(name, odd));
    return { name, bytes, expected: await runBytes(bytes) };
  }));
  assert(specimens.length > 50);
  for (const device of devices) {
    await t.step(device, async () => {
      let packets = 0;
      for (const { name, bytes, expected } of specimens) {
        for (const mode of ["passthrough", "shadow", "switch@0,1,2,3"]) {
          const options = { device, mode };
          const { result, output, drops } = await runBytes(bytes, { plugin: vdpa, options });
          assert(equal(output, expected.output), `${name} ${mode}`);
          assertEquals(drops, expected.drops, `${name} ${mode}`);
          assertEquals(result.packets, expected.result.packets, `${name} ${mode}`);
          assertEquals(String(result.error), String(expected.result.error), `${name} ${mode}`);
          packets += result.packets.out;
        }
      }
      assert(packets > 200, `${packets}`);
    });
  }
});

/** A classic capture of random packets. */
function randomCapture(random: Random, packets: number, longest: number): Uint8Array<ArrayBuffer> {
  const lengths = Array.from(
    { length: packets },
    () => random.chance(0.1) ? random.below(longest + 1) : random.below(Math.min(longest, 200) + 1),
  );
  const bytes = new Uint8Array(24 + lengths.reduce((sum, length) => sum + 16 + length, 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2c3d4, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, 262144, true);
  view.setUint32(20, 147, true);
  let at = 24;
  for (const length of lengths) {
    view.setUint32(at, random.u32() >>> 1, true);
    view.setUint32(at + 4, random.below(1000000), true);
    view.setUint32(at + 8, length, true);
    view.setUint32(at + 12, length, true);
    bytes.set(random.bytes(length), at + 16);
    at += 16 + length;
  }
  return bytes;
}

function ascending(random: Random, count: number, below: number): number[] {
  const numbers = new Set(Array.from({ length: count }, () => random.below(below)));
  return [...numbers].sort((a, b) => a - b);
}

function flag(random: Random): string {
  return random.chance(0.5) ? "on" : "off";
}

/** Options that a lossless run of frames up to 9000 bytes can have. */
function randomOptions(random: Random, device: string, switches: number, packets: number): Options {
  const mergeable = flag(random);
  const size = 2 ** random.between(mergeable === "on" ? 4 : 2, 9);
  return {
    device,
    mode: random.chance(0.8)
      ? `switch@${ascending(random, switches, packets).join(",")}`
      : random.pick(["shadow", "passthrough"]),
    "desc-group": flag(random),
    persist: flag(random),
    "batch-map": flag(random),
    "event-idx": flag(random),
    indirect: flag(random),
    "mrg-rxbuf": mergeable,
    "rx-buffer": mergeable === "on" ? random.between(1024, 4096) : 17 * 4096,
    "queue-size": size,
    batch: random.between(1, 100),
    "guest-memory": random.pick(["4G", "128G", "2T"]),
    "page-size": random.pick(["4K", "64K", "2M"]),
    ...device !== "plain" && random.chance(0.3) && { queues: 2 * random.between(2, 4) + 1 },
    ...device === "vduse" && { groups: random.between(2, 6), asids: random.between(2, 5) },
  };
}

Deno.test("vdpa gives random captures back as they were under random options and many switches", async () => {
  const random = new Random(2024);
  let switches = 0;
  for (let run = 0; run < 100; run++) {
    const packets = random.between(1, 400);
    const capture = randomCapture(random, packets, 9000);
    const options = randomOptions(random, random.pick(devices), 40, packets);
    const { result, output } = await runBytes(capture, { plugin: vdpa, options });
    assert(
      equal(output, capture),
      JSON.stringify({ run, options, drops: result.drops, error: String(result.error) }),
    );
    switches += result.counters["switch.count"]!;
  }
  assert(switches > 500);
});

for (const device of devices) {
  Deno.test(`vdpa loses nothing when device=${device} is switched at any moment, whatever is in flight`, () => {
    const random = new Random(77);
    let rewound = 0;
    let tables = 0;
    for (let run = 0; run < 12; run++) {
      const values = new OptionValues(vdpa.options, {
        ...randomOptions(random, device, 0, 1),
        queues: device === "plain" ? 2 : 3,
        mode: "passthrough",
      });
      const host = new LocalHost({ captureSize: 1 << 20, base: random.pick([0x1000_0000, 0x1_0000_0000]) });
      const link = vdpa.open(values, host);
      const hypervisor = link.device as Hypervisor;
      const sent: Uint8Array[] = [];
      let received = 0;
      let at = 0;
      let place = host.captureOffset;
      const pump = new Pump({ ...link, batch: random.between(1, 50) }, {
        piece(number, bytes, offset, length, more) {
          assertEquals(number, received);
          const frame = sent[number]!;
          assert(equal(bytes.subarray(offset, offset + length), frame.subarray(at, at + length)));
          at = more ? at + length : 0;
          if (!more) received++;
        },
        batch(number, frames) {
          for (let i = 0; i < frames.count; i++) {
            this.piece(number + i, frames.bytes, frames.offsets[i]!, frames.lengths[i]!, false);
          }
        },
        drop(number, reason) {
          throw new Error(`frame ${number} was dropped: ${reason}`);
        },
      });
      for (let number = 0; number < 400; number++) {
        // Where the device can read it, without headroom: the header goes into a buffer of its own.
        const frame = random.bytes(random.below(random.chance(0.1) ? 9000 : 200));
        sent.push(frame);
        if (place + frame.length > host.memory.size) place = host.captureOffset;
        host.memory.bytes.set(frame, place);
        pump.push(host.memory.bytes, place, frame.length, 0);
        place += frame.length;
        if (random.chance(0.1)) hypervisor.migration.toggle();
      }
      pump.drain();
      assertEquals(received, sent.length);
      rewound += link.device.counters()["shadow.rewound"]!;
      tables += link.driver.counters()["tx.indirect_tables"]!;
    }
    assert(rewound > 1000);
    assert(tables > 0);
  });
}
