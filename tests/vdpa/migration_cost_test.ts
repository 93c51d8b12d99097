/**
 * What a switch costs: the pages it touches, in every combination of what makes it cheap.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Counters } from "../../core/counters.ts";
import { OptionError, type OptionValue } from "../../core/options.ts";
import { RingPair } from "../../core/ring_pair.ts";
import vdpa from "../../plugins/vdpa/mod.ts";

const GUEST_PAGES = 2 ** 37 / 4096;
/** Descriptor table and available ring of 256 entries take two pages (4096 + 518 bytes), the used ring one (2054). */
const RING_PAGES = 3;

function counted(options: Record<string, OptionValue>): Counters {
  const pair = new RingPair(vdpa, { "guest-memory": "128G", ...options });
  for (let i = 0; i < 4; i++) {
    assert(pair.transmit(new Uint8Array([i])));
    pair.service();
    assertEquals(pair.receive().map((frame) => frame[0]), [i]);
  }
  return pair.counters();
}

function work(options: Record<string, OptionValue>): number[] {
  const counters = counted(options);
  return ["switch.regions", "switch.pages.mapped", "switch.pages.unmapped"].map((name) => counters[name]!);
}

Deno.test("a switch with a descriptor group and persistent mappings touches two regions per data queue", () => {
  assertEquals(work({ mode: "switch@2" }), [2 * 2, 2 * RING_PAGES, 0]);
  assertEquals(work({ mode: "switch@1,3" }), [2 * 2 * 2, 2 * RING_PAGES, 2 * RING_PAGES]);
  assertEquals(work({ mode: "switch@2", queues: 9 }), [8 * 2, 8 * RING_PAGES, 0]);
});

Deno.test("a switch without a descriptor group maps all of the guest's memory anew", () => {
  // In: two sections of guest memory go and come, two regions per queue come, the control queue's four move.
  const control = RING_PAGES - 1 + 2;
  const regions = 2 + 2 + 2 * 2 + 4 + 4;
  assertEquals(work({ mode: "switch@2", "desc-group": "off" }), [
    regions,
    GUEST_PAGES + 2 * RING_PAGES + control,
    GUEST_PAGES + control,
  ]);
});

Deno.test("a switch with a descriptor group but without persistence maps all of the guest's memory anew", () => {
  const control = RING_PAGES - 1 + 2;
  assertEquals(work({ mode: "switch@2", persist: "off" }), [
    2 + 4 + 2 + 4 + 4,
    GUEST_PAGES + 2 * RING_PAGES + control,
    GUEST_PAGES + control,
  ]);
});

Deno.test("the statistics say what the same switches take without a descriptor group, as that run does", () => {
  for (const persist of ["on", "off"]) {
    for (const mode of ["switch@2", "switch@1,2,3"]) {
      const here = counted({ mode, persist });
      const there = counted({ mode, persist, "desc-group": "off" });
      for (const name of ["regions", "pages.mapped", "pages.unmapped"]) {
        assertEquals(here[`switch.no_desc_group.${name}`], there[`switch.${name}`], name);
      }
    }
  }
});

Deno.test("nothing is counted for a switch that never came", () => {
  assertEquals(work({ mode: "switch@5" }), [0, 0, 0]);
  assertEquals(work({ mode: "shadow" }), [0, 0, 0]);
});

Deno.test("pages are counted in the size that is asked for", () => {
  assertEquals(work({ mode: "switch@2", "page-size": "2M" }), [4, 4, 0]);
  assertEquals(counted({ "page-size": "1G" })["as0.pages.mapped"], 128);
  const [, mapped] = work({ mode: "switch@2", "page-size": "2M", "desc-group": "off" });
  assertEquals(mapped, 2 ** 16 + 4 + 4);
});

Deno.test("only a shadow queue in the guest's own space translates addresses in software", () => {
  assertEquals(counted({ mode: "shadow" })["shadow.translations"], 0);
  const counters = counted({ mode: "shadow", "desc-group": "off" });
  assert(counters["shadow.descriptors"]! > 250);
  assertEquals(counters["shadow.translations"], counters["shadow.descriptors"]);
});

Deno.test("a switch resets the device once, and batches hand each space over once", () => {
  const before = counted({});
  const after = counted({ mode: "switch@2" });
  assertEquals(after["status.resets"]! - before["status.resets"]!, 1);
  assertEquals(after["iotlb.set_map"]! - before["iotlb.set_map"]!, 1);
  const single = counted({ mode: "switch@2", "batch-map": "off" });
  assertEquals(single["iotlb.batches"], 0);
  assertEquals(single["iotlb.set_map"], single["iotlb.messages"]);
});

Deno.test("a guest is as large as is asked for", () => {
  for (
    const [size, bytes] of [["512M", 2 ** 29], ["1G", 2 ** 30], ["3G", 3 * 2 ** 30], [
      "16T",
      2 ** 44,
    ]] as const
  ) {
    const counters = counted({ "guest-memory": size });
    assertEquals(counters["as0.bytes.mapped"], bytes);
    assertEquals(counters["as0.pages.mapped"], bytes / 4096);
  }
});

Deno.test("maps and unmaps are counted by space", () => {
  const counters = counted({ mode: "switch@1,3" });
  assertEquals(counters["as0.maps"], 2);
  assertEquals(counters["as0.unmaps"], 0);
  assertEquals(counters["as0.bytes.mapped"], 2 ** 37);
  assertEquals(counters["as1.maps"], 4 + 4);
  assertEquals(counters["as1.unmaps"], 4);
});

Deno.test("options that a device cannot have are refused", () => {
  const refused = (options: Record<string, OptionValue>, message: string) =>
    assertThrows(() => new RingPair(vdpa, options), OptionError, message);
  refused({ device: "mlx5", queues: 2 }, "at least 3 queues");
  refused({ queues: 4 }, "control queue");
  refused({ groups: 4 }, "has 3 groups");
  refused({ device: "plain", asids: 2 }, "has 1 address spaces");
  refused({ mode: "switch@3,2" }, "ascending");
  refused({ mode: "switch@" }, "option mode takes");
  refused({ mode: "shadows" }, "option mode takes");
  refused({ "page-size": 5000 }, "power of two");
  refused({ "guest-memory": "200M" }, "guest-memory is too small");
  refused({ "guest-memory": 2 ** 32 + 100 }, "guest-memory takes whole pages of 4096 bytes: got 4294967396");
  assertThrows(
    () => new RingPair(vdpa, { "queue-size": 1024, queues: 5 }, { dmaSize: 2 ** 16 }),
    OptionError,
    "driver has 64K of memory, too little for queue-size=1024, rx-queue-size=1024, rx-buffer=2048, queues=5",
  );
});

Deno.test("a switch is blocked where the control queue's state would be lost", () => {
  for (const options of [{ device: "plain", queues: 3 }, { asids: 1 }, { device: "vduse", groups: 1 }]) {
    const blocked = () => new RingPair(vdpa, { ...options, mode: "switch@1" });
    assertThrows(blocked, OptionError, "mode=switch is blocked");
    new RingPair(vdpa, { ...options, mode: "shadow" });
    new RingPair(vdpa, { ...options, mode: "passthrough" });
  }
});

Deno.test("the table in the documentation is what the counters say", async () => {
  const text = await Deno.readTextFile(new URL("../../docs/vdpa.md", import.meta.url));
  const rows = text.split("\n").filter((line) => /^\| (on|off) /.test(line))
    .map((line) => line.split("|").map((cell) => cell.trim()).slice(1, -1));
  assertEquals(rows.length, 8);
  for (const [group, persist, direction, ...numbers] of rows) {
    const options = { queues: 5, "desc-group": group!, persist: persist! };
    const into = work({ ...options, mode: "switch@1" });
    const both = work({ ...options, mode: "switch@1,2" });
    const expected = direction === "in" ? into : both.map((value, i) => value - into[i]!);
    assertEquals(numbers.map((number) => Number(number.replaceAll(",", ""))), expected);
  }
});
