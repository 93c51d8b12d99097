import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { OptionError, type OptionValue } from "../../core/options.ts";
import { RingPair } from "../../core/ring_pair.ts";
import { type Feature, featureMask, hasFeature } from "../../plugins/virtio/features.ts";
import virtio from "../../plugins/virtio/mod.ts";

function open(given: Readonly<Record<string, OptionValue>>): RingPair {
  return new RingPair(virtio, given, { dmaSize: 1 << 25 });
}

Deno.test("options choose the features that are offered and negotiated", () => {
  const off = { indirect: "off", "event-idx": "off", "mrg-rxbuf": "off" };
  const cases: [Record<string, string>, Feature[]][] = [
    [off, []],
    [{ ...off, indirect: "on" }, ["INDIRECT_DESC"]],
    [{ ...off, "event-idx": "on" }, ["EVENT_IDX"]],
    [{ ...off, "mrg-rxbuf": "on" }, ["MRG_RXBUF"]],
    [{ ...off, "in-order": "on" }, ["IN_ORDER"]],
    [{ ...off, "hash-report": "on" }, ["HASH_REPORT", "CTRL_VQ"]],
    [{}, ["INDIRECT_DESC", "EVENT_IDX", "MRG_RXBUF"]],
  ];
  for (const [given, wanted] of cases) {
    const pair = open(given);
    assertEquals(
      pair.options.mask("features"),
      featureMask("VERSION_1", "MAC", "STATUS", "RING_RESET", ...wanted),
    );
    const inspected = pair.link.driver.inspect().features as string[];
    for (const name of wanted) assertEquals(inspected.includes(name), true, name);
  }
});

Deno.test("RING_PACKED is never offered", () => {
  for (const given of [{}, { layout: "legacy" }, { "hash-report": "on", "in-order": "on" }]) {
    assertEquals(hasFeature(open(given).options.mask("features"), "RING_PACKED"), false);
  }
});

for (
  const [what, given, message] of [
    ["a feature whose prerequisite is missing", ["VERSION_1", "HASH_REPORT"], "HASH_REPORT needs CTRL_VQ"],
    ["packed rings", ["VERSION_1", "RING_PACKED"], "RING_PACKED"],
    ["what the device does not do", ["VERSION_1", "CSUM"], "CSUM"],
    ["a modern device without VERSION_1", ["MAC"], "VERSION_1 is missing"],
  ] as [string, Feature[], string][]
) {
  Deno.test(`option features refuses ${what}`, () => {
    const error = assertThrows(() => open({ features: featureMask(...given) }), OptionError);
    assertStringIncludes(error.message, message);
  });
}

Deno.test("a receive buffer that holds the net header alone is refused", () => {
  // 64 bytes is the least that the option takes: more than the longest header.
  assertThrows(() => open({ "rx-buffer": "63" }), OptionError);
  const pair = open({ "rx-buffer": "64", "rx-queue-size": "1", "hash-report": "on" });
  assertEquals(pair.transmit(new Uint8Array(44)), true);
  assertThrows(() => pair.transmit(new Uint8Array(45)), RangeError);
});

Deno.test("the statistics show what was derived", () => {
  const values = (given: Record<string, string>) => {
    const json = open(given).options.toJSON();
    return [json["rx-buffer"], json["rx-queue-size"]];
  };
  assertEquals(values({ "queue-size": "8" }), [2048, 8]);
  assertEquals(values({ "mrg-rxbuf": "off", "rx-queue-size": "4" }), [69632, 4]);
});

Deno.test("a mask of features goes before the switches of single features, and the statistics show what is", () => {
  const features = featureMask("VERSION_1", "INDIRECT_DESC");
  const switches = ["indirect", "event-idx", "in-order", "mrg-rxbuf", "hash-report"];
  for (const given of [{}, { indirect: "off", "hash-report": "on" }]) {
    const json = open({ features, ...given }).options.toJSON();
    assertEquals(switches.map((name) => json[name]), [true, false, false, false, false]);
    assertEquals(json["rx-buffer"], 69632);
  }
});

Deno.test("frames of an all-zero header: nothing but num_buffers is ever written before a frame", () => {
  const pair = open({ "queue-size": "4", "rx-buffer": "100" });
  pair.transmit(new Uint8Array(150).fill(0xff));
  pair.service();
  const queues = pair.link.driver.inspect().queues as { name: string; areas: { desc: number } }[];
  const { memory, space } = pair.host;
  const desc = space.find(queues[0]!.areas.desc, 0)!.offsetOf(queues[0]!.areas.desc);
  const buffer = Number(memory.view.getBigUint64(desc, true));
  const at = space.find(buffer, 0)!.offsetOf(buffer);
  assertEquals(memory.bytes.slice(at, at + 12), Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]));
  assertEquals(pair.receive(), [new Uint8Array(150).fill(0xff)]);
});
