import { assert, assertEquals } from "@std/assert";
import { onesSum } from "../../core/checksum.ts";
import { Frame } from "../../core/frame.ts";
import { Memory } from "../../core/memory.ts";
import type { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { needPeers } from "../peers.ts";
import { KeepingPort, Served } from "./served.ts";
import { Testpmd } from "./testpmd.ts";

const FRAMES = 1_000_000;
/** Fewer than a transmit ring of testpmd holds, so that it never has to drop. */
const UNDER_WAY = 192;
const PATTERNS = 509;
const COUNTER = 42;

const ALL = ["INDIRECT_DESC", "EVENT_IDX", "IN_ORDER", "MRG_RXBUF"] as const;

/** A UDP frame whose ports differ from pattern to pattern, so that they spread over queues. */
function pattern(number: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(60 + (number * 37) % (number % 8 === 0 ? 1455 : 200));
  for (let i = 0; i < bytes.length; i++) bytes[i] = (number * 31 + i * 7) & 0xff;
  bytes.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0], 0);
  const view = new DataView(bytes.buffer);
  view.setUint16(16, bytes.length - 14);
  view.setUint16(20, 0);
  bytes.set([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 22);
  view.setUint16(34, 1000 + number);
  return bytes;
}

/** Sends numbered frames and compares every byte of what comes back. */
class LoopPort extends KeepingPort {
  /** Frames are sent from here on only: a driver may set its rings up twice, and forget what was in them. */
  started = false;
  sent = 0;
  back = 0;
  wrong = "";
  readonly #wanted: number;
  readonly #patterns = Array.from({ length: PATTERNS }, (_, i) => new Memory(pattern(i).buffer));
  readonly #frame = new Frame();
  readonly #seen: Uint8Array;
  readonly #last: number[] = [];
  readonly #copy = new Memory(2048);

  constructor(frames: number) {
    super();
    this.#wanted = frames;
    this.#seen = new Uint8Array(frames);
  }

  override transmit(frame: Frame, pair = 0): boolean {
    frame.copyTo(this.#copy, 0, 0, frame.length);
    const number = this.#copy.view.getUint32(COUNTER);
    const { bytes } = this.#patterns[number % PATTERNS]!;
    if (frame.length !== bytes.length || number >= this.sent || this.#seen[number]) {
      this.wrong ||= `frame ${number} of ${frame.length} bytes`;
      return true;
    }
    for (let i = 0; i < frame.length; i++) {
      if (this.#copy.bytes[i] !== bytes[i] && (i < COUNTER || i >= COUNTER + 4)) {
        this.wrong ||= `frame ${number} at byte ${i}`;
      }
    }
    if (number <= (this.#last[pair] ?? -1)) this.wrong ||= `frame ${number} came after ${this.#last[pair]}`;
    this.#last[pair] = number;
    this.#seen[number] = 1;
    this.back++;
    return true;
  }

  override feed(device?: VirtioNetDevice): number {
    let fed = 0;
    if (!this.started) return 0;
    while (fed < 64 && this.sent < this.#wanted && this.sent - this.back < UNDER_WAY) {
      const memory = this.#patterns[this.sent % PATTERNS]!;
      memory.view.setUint32(COUNTER, this.sent);
      this.#frame.clear();
      this.#frame.push(memory.bytes, 0, memory.size);
      this.blocked = device!.deliver(this.#frame) < 0;
      if (this.blocked) break;
      this.sent++;
      fed++;
    }
    return fed;
  }

  get usedPairs(): number {
    return this.#last.length;
  }
}

/** Waits in wall time: a driver in another process sets the pace. */
async function within(seconds: number, condition: () => boolean, what: () => string): Promise<void> {
  const limit = performance.now() + seconds * 1000;
  while (!condition()) {
    if (performance.now() > limit) throw new Error(`Waited in vain: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function offer(features: readonly Feature[], queuePairs: number): bigint {
  return featureMask("VERSION_1", ...queuePairs > 1 ? ["MQ" as const] : [], ...features);
}

const variants: [string, readonly Feature[], number][] = [
  ["all features", ALL, 1],
  ["all features, 2 queue pairs", ALL, 2],
  ["no features", [], 1],
  ["no features, 2 queue pairs", [], 2],
  ...ALL.map((left): [string, Feature[], number] => [
    `all features but ${left}`,
    ALL.filter((feature) => feature !== left),
    1,
  ]),
];

for (const [name, features, queues] of variants) {
  Deno.test({
    ...needPeers("dpdk-testpmd"),
    name: `DPDK sends back a million frames byte for byte with ${name}`,
    async fn() {
      const port = new LoopPort(FRAMES);
      await using served = new Served({ features: offer(features, queues), queuePairs: queues, port });
      await using testpmd = new Testpmd({ socket: served.path, mode: "io", queues });
      await testpmd.start();
      port.started = true;
      served.server.wake();
      await within(60, () => port.back === FRAMES || port.wrong !== "", () => `${port.back} of ${port.sent}`);
      assertEquals(port.wrong, "");
      assertEquals(port.usedPairs, queues);
      // DPDK's virtio-user knows no EVENT_IDX; Linux guests do.
      const taken = features.filter((feature) => feature !== "EVENT_IDX");
      assertEquals(served.server.device.features, offer(taken, queues));
      assertEquals(await testpmd.counter("RX-errors"), 0);
      assertEquals(await testpmd.counter("RX-packets"), FRAMES);
      assertEquals(await testpmd.counter("TX-packets"), FRAMES);
      const { broken } = served.server.device.queues[0]!;
      assertEquals([broken, served.port.drops], [undefined, []]);
      await testpmd.stop();
    },
  });
}

/**
 * Counts frames, and compares all bytes with those of the first, but for what the program varies: its own hardware address,
 * the destination and its checksum. Of frames in several buffers it fills the first bytes alone.
 */
class TemplatePort extends KeepingPort {
  count = 0;
  wrong = "";
  readonly #template = new Memory(2048);
  readonly #copy = new Memory(2048);
  #length = 0;
  readonly #filled: number;

  constructor(filled = Infinity) {
    super();
    this.#filled = filled;
  }

  override transmit(frame: Frame): boolean {
    const copy = this.count === 0 ? this.#template : this.#copy;
    frame.copyTo(copy, 0, 0, frame.length);
    if (this.count === 0) this.#length = frame.length;
    const { bytes } = copy;
    for (let i = 0; i < Math.min(frame.length, this.#filled); i++) {
      const varies = (i >= 6 && i < 12) || i === 24 || i === 25 || (i >= 30 && i < 34);
      if (!varies && bytes[i] !== this.#template.bytes[i]) this.wrong ||= `frame ${this.count} at byte ${i}`;
    }
    if (frame.length !== this.#length) this.wrong ||= `frame ${this.count} has ${frame.length} bytes`;
    if (onesSum(bytes, 14, 20) !== 0xffff) this.wrong ||= `frame ${this.count} has a bad checksum`;
    this.count++;
    return true;
  }
}

for (
  const [mode, args, filled] of [
    ["txonly", ["--txpkts=64"], 64],
    ["txonly", ["--txpkts=500,500,514"], 42],
    ["flowgen", [], 60],
  ] as const
) {
  Deno.test({
    ...needPeers("dpdk-testpmd"),
    name: `DPDK's ${mode} ${args} arrives whole, a million frames and more`,
    async fn() {
      const port = new TemplatePort(filled);
      // In order, DPDK uses no indirect tables.
      const features = ALL.filter((feature) => feature !== "IN_ORDER");
      await using served = new Served({ features: offer(features, 1), port });
      await using testpmd = new Testpmd({ socket: served.path, mode, args });
      await testpmd.start();
      await within(60, () => port.count >= FRAMES || port.wrong !== "", () => `${port.count} frames`);
      await testpmd.stop();
      assertEquals(port.wrong, "");
      const sent = await testpmd.counter("TX-packets");
      await within(5, () => port.count >= sent, () => `${port.count} of ${sent}`);
      assertEquals(port.count, sent);
      const indirect = served.server.counters()["device.tx.indirect_tables"]! > 0;
      assertEquals(indirect, filled === 42, "tables are for frames in several buffers");
    },
  });
}

/** Sends a number of frames and takes none. */
class SourcePort extends LoopPort {
  override transmit(): boolean {
    return true;
  }

  override feed(device?: VirtioNetDevice): number {
    this.back = this.sent;
    return super.feed(device);
  }
}

Deno.test({
  ...needPeers("dpdk-testpmd"),
  name: "DPDK's rxonly receives a million frames without an error",
  async fn() {
    const port = new SourcePort(FRAMES);
    await using served = new Served({ features: offer(ALL, 1), port });
    await using testpmd = new Testpmd({ socket: served.path, mode: "rxonly" });
    await testpmd.start();
    port.started = true;
    served.server.wake();
    await within(60, () => port.sent === FRAMES, () => `${port.sent} sent`);
    for (let tries = 0; await testpmd.counter("RX-packets") < FRAMES && tries < 50; tries++);
    assertEquals(await testpmd.counter("RX-packets"), FRAMES);
    assertEquals(await testpmd.counter("RX-errors"), 0);
    await testpmd.stop();
  },
});

Deno.test({
  ...needPeers("dpdk-testpmd"),
  name: "DPDK killed in the middle of traffic is followed by the next",
  async fn() {
    const port = new TemplatePort();
    await using served = new Served({ features: offer(ALL, 1), port });
    for (let i = 0; i < 2; i++) {
      await using testpmd = new Testpmd({ socket: served.path, mode: "txonly" });
      await testpmd.start();
      const goal = port.count + 100_000;
      await within(20, () => port.count >= goal, () => `${port.count} of ${goal}`);
      await testpmd.kill();
    }
    assertEquals([served.server.frontEnds, port.wrong], [2, ""]);
  },
});

Deno.test({
  ...needPeers("dpdk-testpmd"),
  name: "DPDK goes on with the next back end when ours ends in the middle of traffic",
  async fn() {
    const directory = Deno.makeTempDirSync();
    const path = `${directory}/socket`;
    await using testpmd = new Testpmd({ socket: path, mode: "txonly", device: ",server=1" });
    for (let i = 0; i < 3; i++) {
      const port = new TemplatePort();
      await using _served = new Served({ features: offer(ALL, 1), port, path, connect: true });
      if (i === 0) await testpmd.start();
      await within(20, () => port.count >= 100_000, () => `${port.count} frames at turn ${i}`);
      assertEquals(port.wrong, "");
    }
    assert(testpmd.running, testpmd.log);
    await testpmd.kill();
    Deno.removeSync(directory, { recursive: true });
  },
});
