import { assert, assertEquals } from "@std/assert";
import { sring_header } from "../../plugins/xen/mod.ts";
import { pairwise } from "../pairwise.ts";
import { Random } from "../random.ts";
import { openPair, type RingName, type TestPair } from "./pair.ts";

function word(pair: TestPair, ring: RingName, name: string): number {
  return pair.host.memory.view.getUint32(pair.ring(ring) + sring_header.offsetOf(name), true);
}

/** Responses never outrun requests, and never more than a ring of requests is open. */
function assertRingLaws(pair: TestPair, rings: readonly RingName[]): void {
  for (const ring of rings) {
    const open = (word(pair, ring, "req_prod") - word(pair, ring, "rsp_prod")) >>> 0;
    assert(open <= 256, `${ring} ring: ${open} requests open`);
  }
}

Deno.test("rings, grants and bytes balance whatever is sent and whenever either side runs", () => {
  const combinations = pairwise({
    "static-grants": ["on", "off"],
    "pool": ["fixed", "recycle", "copy"],
    "grants": ["512", "50"],
    "grant-policy": ["linux", "copy"],
    "tx-offset": ["0", "4000"],
    "gso": ["on", "off"],
  });
  const bytes = new Uint8Array(70_000).fill(3);
  bytes.set([0x08, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6], 12);
  bytes[46] = 0x50;
  for (const [seed, options] of combinations.entries()) {
    const label = JSON.stringify(options);
    const pair = openPair(options);
    const random = new Random(seed + 1);
    const rings: RingName[] = options["static-grants"] === "on" ? ["tx", "rx", "ctrl"] : ["tx", "rx"];
    const setup = pair.grants.mapped;
    const sent: number[] = [];
    const received: number[] = [];
    for (let step = 0; step < 400; step++) {
      switch (random.below(4)) {
        case 0:
          for (let i = random.below(20); i > 0; i--) {
            const length = random.chance(0.8) ? random.below(2000) : random.below(65536);
            if (pair.driver.transmit(bytes, 0, length, 0) === 0) sent.push(length);
          }
          break;
        case 1:
          pair.driver.flush();
          break;
        case 2:
          pair.wire.refuse = random.chance(0.2);
          pair.device.service(pair.wire);
          break;
        default:
          received.push(...pair.receive().map((frame) => frame.length));
      }
      assertRingLaws(pair, rings);
    }
    pair.wire.refuse = false;
    pair.driver.flush();
    while (pair.device.service(pair.wire) > 0) received.push(...pair.receive().map((frame) => frame.length));
    received.push(...pair.receive().map((frame) => frame.length));
    assertEquals(received, sent, label);
    // At rest every transmit and control request is answered, and the receive ring is full of posted pages.
    for (const ring of rings) {
      const open = (word(pair, ring, "req_prod") - word(pair, ring, "rsp_prod")) >>> 0;
      const posted = options["static-grants"] === "on" && options.pool === "fixed"
        ? Number(options.grants) / 2
        : 256;
      assertEquals(open, ring === "rx" ? posted : 0, `${label} ${ring}`);
    }
    assertEquals(pair.grants.mapped, setup, label);
    const { driver, device } = pair;
    const [front, back] = [driver.counters(), device.counters()];
    assertEquals(back["grant.tx.map"], back["grant.tx.unmap"], label);
    assertEquals(
      front["rx.slots"]! + front["rx.extras"]! + word(pair, "rx", "req_prod") - word(pair, "rx", "rsp_prod"),
      front["rx.posted"],
    );
    assertEquals(front["tx.extras"], front["rx.extras"], label);
    driver.disconnect();
    device.connect();
    assertEquals(pair.grants.mapped, 0, label);
  }
});
