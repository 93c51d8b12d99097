import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { concat } from "@std/bytes/concat";
import { LocalHost } from "../../core/host.ts";
import { OptionError, type OptionValue } from "../../core/options.ts";
import { RingPair } from "../../core/ring_pair.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { featureMask, hasFeature } from "../../plugins/virtio/features.ts";
import virtio from "../../plugins/virtio/mod.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { runBytes } from "../cli/pipe_harness.ts";
import { inRoot } from "../cli/program.ts";
import { ethernet, ipv4, tcp } from "../core/packets.ts";
import { ModernRegisters } from "./modern_registers.ts";
import { frameOf } from "./raw_net.ts";
import { RawRing, WRITE } from "./raw_ring.ts";

/** Microsoft, "Verifying the RSS Hash Calculation": TCP over IPv4. */
const FLOWS = [
  ["66.9.149.187", 2794, "161.142.100.80", 1766, 0x51ccc178],
  ["199.92.111.2", 14230, "65.69.140.83", 4739, 0xc626b0ea],
  ["24.19.198.95", 12898, "12.22.207.184", 38024, 0x5c2b394a],
  ["38.27.205.30", 48228, "209.142.163.6", 2217, 0xafc7327f],
  ["153.39.163.191", 44251, "202.188.127.2", 1303, 0x10e828a2],
] as const;

/** One frame of each flow. */
const FRAMES = FLOWS.map(([source, from, destination, to]) =>
  concat([ethernet(0x0800), ipv4(6, tcp(from, to), { source, destination })])
);

function open(given: Readonly<Record<string, OptionValue>>, dmaSize = 1 << 26): RingPair {
  return new RingPair(virtio, given, { dmaSize });
}

Deno.test("a frame takes the transmit and the receive queue that the published hash of its flow chooses", () => {
  for (const queues of [2, 3, 5, 8]) {
    const pair = open({ queues });
    for (const frame of FRAMES) assert(pair.transmit(frame));
    pair.service();
    const wanted = Array.from({ length: queues }, (_, i) => FLOWS.filter((flow) => flow[4] % queues === i));
    const device = pair.link.device as VirtioNetDevice;
    assertEquals(device.control.pairs, queues);
    for (const [i, flows] of wanted.entries()) {
      const [rx, tx] = device.queues.slice(2 * i);
      assertEquals(
        [rx!.counters.chains, tx!.counters.chains],
        [flows.length, flows.length],
        `${i}/${queues}`,
      );
    }
    const arrived = wanted.flatMap((flows) => flows.map((flow) => FRAMES[FLOWS.indexOf(flow)]!));
    assertEquals(pair.receive(), arrived);
  }
});

Deno.test("queues above 1 offer MQ and the control queue, behind all pairs; one offers neither", () => {
  for (const layout of ["flexible", "legacy"]) {
    const pair = open({ queues: 3, layout });
    const features = pair.options.mask("features");
    assert(hasFeature(features, "MQ") && hasFeature(features, "CTRL_VQ"));
    const { queues } = pair.link.device as VirtioNetDevice;
    assertEquals(queues.map(({ name }) => name), ["rx0", "tx0", "rx1", "tx1", "rx2", "tx2", "ctrl"]);
    assert(queues.every(({ running }) => running));
  }
  const one = open({});
  assert(!hasFeature(one.options.mask("features"), "MQ"));
  assertEquals((one.link.device as VirtioNetDevice).queues.length, 2);
});

Deno.test("MQ may be offered with one pair, too", () => {
  const pair = open({ features: featureMask("VERSION_1", "CTRL_VQ", "MQ") });
  assert(pair.transmit(FRAMES[0]!));
  pair.service();
  assertEquals(pair.receive(), FRAMES.slice(0, 1));
});

Deno.test("several queues without MQ among the features are refused", () => {
  const features = featureMask("VERSION_1", "CTRL_VQ");
  const error = assertThrows(() => open({ queues: 2, features }), OptionError);
  assertStringIncludes(error.message, "queues=2 needs MQ");
});

Deno.test("more rings and buffers than the driver has memory for are refused by the names of their options", () => {
  const given = { queues: 2, "queue-size": 1024, "rx-buffer": "32K" };
  const error = assertThrows(() => open(given, 1 << 20), OptionError);
  assertEquals(
    error.message,
    "the driver has 1M of memory, too little for queue-size=1024, rx-queue-size=1024, rx-buffer=32768, queues=2",
  );
});

Deno.test("a capture comes out as it went in, order and all, through any number of queues", async () => {
  const web = Deno.readFileSync(inRoot("fixtures/web.pcap"));
  for (const queues of [1, 2, 5, 8]) {
    for (const rest of [{}, { "hash-report": "on" }, { layout: "legacy", batch: 7 }, { "queue-size": 2 }]) {
      const { output, result } = await runBytes(web, { plugin: virtio, options: { queues, ...rest } });
      assertEquals([result.error, result.packets.dropped], [undefined, 0]);
      assertEquals(output, web);
    }
  }
});

Deno.test("VQ_PAIRS_SET takes 1 to the pairs there are; frames from the wire use no others", () => {
  const host = new LocalHost({ dmaSize: 1 << 17 });
  const features = featureMask("VERSION_1", "CTRL_VQ", "MQ");
  const device = new VirtioNetDevice({
    features,
    rings: host.space,
    buffers: host.space,
    queuePairs: 3,
    maxQueueSize: 8,
  });
  const pci = new ModernPciDevice(device);
  const registers = new ModernRegisters(pci.config.bytes, pci);
  assert(registers.negotiate(features));
  assertEquals([registers.get("num_queues"), pci.read(registers.device + 8, 2)], [7, 3]);
  const base = host.dma.region.start;
  /** Starts a queue whose parts follow each other, and returns it. */
  const start = (index: number) => {
    const at = index * 0x1000;
    assert(registers.startQueue(index, 8, base + at, base + at + 0x400, base + at + 0x800));
    return new RawRing(host.memory.view, 8, at, at + 0x400, at + 0x800);
  };
  const receive = [0, 2, 4].map(start);
  const control = start(6);
  registers.set("device_status", 15);
  for (const ring of receive) {
    for (let i = 0; i < 8; i++) ring.offer(ring.chain(i, { addr: base + 0x8000, len: 200, flags: WRITE }));
  }
  const command = (...bytes: number[]) => {
    host.memory.bytes.set([...bytes, 0xee], 0x9000);
    const ack = { addr: base + 0x9000 + bytes.length, len: 1, flags: WRITE };
    control.offer(control.chain(0, { addr: base + 0x9000, len: bytes.length }, ack));
    registers.ring(6);
    return host.memory.bytes[0x9000 + bytes.length];
  };
  const deliver = () => FRAMES.slice(0, 2).map((frame) => device.deliver(frameOf(frame)));
  assertEquals([device.control.pairs, deliver()], [1, [0, 0]]);
  for (const bad of [[0, 0], [4, 0], [3, 1], [0xff, 0xff], [2]]) {
    assertEquals(command(4, 0, ...bad), 1, `${bad}`);
  }
  assertEquals(device.control.pairs, 1);
  for (const pairs of [3, 2]) {
    assertEquals([command(4, 0, pairs, 0), device.control.pairs], [0, pairs]);
    assertEquals(deliver(), FLOWS.slice(0, 2).map((flow) => flow[4] % pairs));
  }
  registers.set("device_status", 0);
  assertEquals(device.control.pairs, 1);
});
