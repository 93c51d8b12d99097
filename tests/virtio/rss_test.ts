import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { OptionError, type OptionValue } from "../../core/options.ts";
import { RingPair } from "../../core/ring_pair.ts";
import type { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { type Feature, featureMask, hasFeature } from "../../plugins/virtio/features.ts";
import virtio from "../../plugins/virtio/mod.ts";
import { runBytes } from "../cli/pipe_harness.ts";
import { inRoot } from "../cli/program.ts";
import { RawPeer } from "./raw_peer.ts";
import { ARP, ERR, FLOWS, FRAMES, OK, openRss, PAIRS, rssConfig } from "./rss_peer.ts";

Deno.test("RSS: the configuration says pairs, keys of 40 bytes, 128 entries and nine hash types", () => {
  const { pci, registers } = openRss("RSS");
  const read = (at: number, width: number) => pci.read(registers.device + at, width);
  assertEquals([read(8, 2), read(17, 1), read(18, 2), read(20, 4)], [PAIRS, 40, 128, 0x1ff]);
  // What counts for hash reports alone, and for neither.
  const hashed = openRss("HASH_REPORT");
  assertEquals([17, 18, 20].map((at) => hashed.pci.read(hashed.registers.device + at, 1)), [40, 0, 0xff]);
  const plain = openRss("MQ");
  assertEquals([17, 18, 20].map((at) => plain.pci.read(plain.registers.device + at, 1)), [0, 0, 0]);
});

Deno.test("RSS_CONFIG: the low bits of the published hash choose the entry, and its queue takes the frame", () => {
  const { command, deliver } = openRss("RSS");
  assertEquals(deliver(...FRAMES, ARP), [0, 0, 0, 0, 0, 0]);
  for (const table of [[2], [2, 1], [2, 0, 1, 0], [0, 1, 2, 0, 1, 2, 0, 1], Array(128).fill(1)]) {
    assertEquals(command(rssConfig({ table, unclassified: 2 })), OK);
    assertEquals(deliver(...FRAMES), FLOWS.map((flow) => table[flow[4] % table.length]));
    assertEquals(deliver(ARP), [2]);
  }
});

Deno.test("RSS_CONFIG: only enabled types are hashed; what is none of them is not classified", () => {
  const { command, deliver } = openRss("RSS");
  const table = [0, 1, 2, 0, 1, 2, 1, 2];
  // Bit 0: addresses of IPv4. Bit 4: TCP over IPv6, which these are not.
  assertEquals(command(rssConfig({ types: 1, table })), OK);
  assertEquals(deliver(...FRAMES), FLOWS.map((flow) => table[flow[5] % 8]));
  assertEquals(command(rssConfig({ types: 0x10, table, unclassified: 1 })), OK);
  assertEquals(deliver(...FRAMES), FLOWS.map(() => 1));
  assertEquals(command(rssConfig({ types: 0, table, unclassified: 2, key: [] })), OK);
  assertEquals(deliver(...FRAMES), FLOWS.map(() => 2));
});

Deno.test("RSS_CONFIG that breaks a rule is refused and changes nothing", () => {
  const { command, deliver } = openRss("RSS");
  assertEquals(command(rssConfig({ table: [1] })), OK);
  const good = rssConfig({ table: [2, 2] });
  const refused = [
    // No power of two; more entries than the device has.
    rssConfig({ table: [2, 2, 2] }),
    rssConfig({ table: Array(256).fill(2) }),
    rssConfig({ mask: 0xffff }),
    // A queue that there is not, in the table or for the rest; bit 15 of an entry is reserved.
    rssConfig({ table: [2, PAIRS] }),
    rssConfig({ unclassified: PAIRS }),
    rssConfig({ table: [0x8002] }),
    rssConfig({ pairs: 0 }),
    rssConfig({ pairs: PAIRS + 1 }),
    // Types that do not exist, no key for some, a key too long, or not all there.
    rssConfig({ types: 0x200 }),
    rssConfig({ types: 0x8000_0001 }),
    rssConfig({ key: [] }),
    rssConfig({ key: Array(41).fill(7) }),
    rssConfig({ keyLength: 41 }),
    ...Array.from({ length: good.length - 2 }, (_, i) => good.slice(0, i + 2)),
  ];
  for (const bytes of refused) assertEquals(command(bytes), ERR, `${bytes}`);
  assertEquals(deliver(...FRAMES), FLOWS.map(() => 1));
  assertEquals(command(good), OK);
  assertEquals(deliver(...FRAMES), FLOWS.map(() => 2));
});

Deno.test("RSS_CONFIG needs RSS, VQ_PAIRS_SET needs MQ; with both, the last command counts", () => {
  assertEquals(openRss("MQ").command(rssConfig({})), ERR);
  assertEquals(openRss("RSS").command([4, 0, 2, 0]), ERR);
  const { device, command, deliver, registers } = openRss("MQ", "RSS");
  const automatic = FLOWS.map((flow) => flow[4] % 2);
  assertEquals(command([4, 0, 2, 0]), OK);
  assertEquals(deliver(...FRAMES), automatic);
  assertEquals(command(rssConfig({ types: 1, table: [2], pairs: 1 })), OK);
  assertEquals([device.control.pairs, deliver(...FRAMES)], [1, FLOWS.map(() => 2)]);
  assertEquals(command([4, 0, 2, 0]), OK);
  assertEquals(deliver(...FRAMES), automatic);
  assertEquals(command(rssConfig({ table: [1] })), OK);
  registers.set("device_status", 0);
  assertEquals([device.control.pairs, device.control.steering.spreads], [1, false]);
});

Deno.test("with RSS, HASH_REPORT reports by what RSS_CONFIG set", () => {
  const { host, command, deliver } = openRss("RSS", "HASH_REPORT");
  assertEquals(command(rssConfig({ types: 3, table: [0, 1, 2, 0] })), OK);
  for (const [i, frame] of FRAMES.entries()) {
    assertEquals(deliver(frame), [[0, 1, 2, 0][FLOWS[i]![4] % 4]]);
    const { view } = host.memory;
    // TCPv4 is report 2; the hash stands at 12, the report at 16.
    assertEquals([view.getUint32(0x1000c, true), view.getUint16(0x10010, true)], [FLOWS[i]![4], 2]);
  }
});

/** The command that the driver sends while it comes up, by its bytes. */
function sentCommand(names: readonly Feature[], change: (config: Uint8Array) => void = () => {}): number[] {
  let sent: number[] = [];
  const features: Feature[] = ["CTRL_VQ", ...names];
  new RawPeer({
    features,
    config: change,
    onControl: (peer) => {
      const ring = peer.ring(2);
      const command = ring.getDesc(0);
      const offset = (address: number) => peer.host.dma.region.offsetOf(address);
      const at = offset(command.addr);
      sent = Array.from(peer.host.memory.bytes.subarray(at, at + command.len));
      peer.host.memory.bytes[offset(ring.getDesc(command.next).addr)] = OK;
      ring.use(0, 1);
    },
  });
  return sent;
}

Deno.test("the driver's RSS_CONFIG: 128 entries, its key, and no type that the device does not have", () => {
  const wanted = { table: Array(128).fill(0), pairs: 1 };
  assertEquals(sentCommand(["RSS"]), rssConfig(wanted));
  assertEquals(sentCommand(["RSS", "HASH_REPORT"]), rssConfig(wanted));
  const few = (config: Uint8Array) => config.set([0x12, 0, 0, 0], 20);
  assertEquals(sentCommand(["RSS"], few), rssConfig({ ...wanted, types: 0x12 }));
  const unknown = (config: Uint8Array) => config.set([0xff, 0xff, 0xff, 0xff], 20);
  assertEquals(sentCommand(["RSS"], unknown), rssConfig(wanted));
  assertEquals(sentCommand(["HASH_REPORT"], few).slice(0, 6), [4, 2, 0x12, 0, 0, 0]);
});

function pipe(given: Readonly<Record<string, OptionValue>>): RingPair {
  return new RingPair(virtio, given, { dmaSize: 1 << 26 });
}

Deno.test("rss=on: a frame takes the pair that its hash's low seven bits say, in both directions", () => {
  for (const queues of [1, 2, 3, 8]) {
    const pair = pipe({ queues, rss: "on" });
    for (const frame of FRAMES) assert(pair.transmit(frame));
    pair.service();
    const wanted = Array.from(
      { length: queues },
      (_, i) => FLOWS.filter((flow) => flow[4] % 128 % queues === i),
    );
    const device = pair.link.device as VirtioNetDevice;
    assertEquals([device.control.pairs, device.control.steering.spreads], [queues, true]);
    for (const [i, flows] of wanted.entries()) {
      const chains = device.queues.slice(2 * i, 2 * i + 2).map((queue) => queue.counters.chains);
      assertEquals(chains, [flows.length, flows.length], `${i} of ${queues}`);
    }
    assertEquals(pair.receive().length, FRAMES.length);
  }
});

Deno.test("rx.hashed counts the frames that have a flow, and none without hash-report", () => {
  for (
    const [given, hashed] of [[{ "hash-report": "on" }, 5], [{ "hash-report": "on", rss: "on" }, 5], [
      {},
      0,
    ]] as const
  ) {
    const pair = pipe(given);
    for (const frame of [...FRAMES, ARP]) assert(pair.transmit(frame));
    pair.service();
    assertEquals(pair.receive().length, 6);
    assertEquals(pair.counters()["rx.hashed"], hashed);
  }
});

Deno.test("rss=on: a capture comes out as it went in", async () => {
  const web = Deno.readFileSync(inRoot("fixtures/web.pcap"));
  for (const queues of [1, 3, 8]) {
    for (const rest of [{}, { "hash-report": "on" }, { "queue-size": 2, "in-order": "on" }]) {
      const { output, result } = await runBytes(web, {
        plugin: virtio,
        options: { queues, rss: "on", ...rest },
      });
      assertEquals([result.error, result.packets.dropped], [undefined, 0]);
      assertEquals(output, web);
    }
  }
});

Deno.test("option rss offers RSS and the control queue; several pairs need MQ or RSS; legacy has neither bit", () => {
  const features = pipe({ rss: "on" }).options.mask("features");
  assertEquals([hasFeature(features, "RSS"), hasFeature(features, "CTRL_VQ")], [true, true]);
  assert(!hasFeature(pipe({}).options.mask("features"), "RSS"));
  assertEquals(
    pipe({ queues: 2, features: featureMask("VERSION_1", "CTRL_VQ", "RSS") }).options.flag("rss"),
    true,
  );
  const error = assertThrows(() => pipe({ layout: "legacy", rss: "on" }), OptionError);
  assertStringIncludes(error.message, "drop RSS");
});
