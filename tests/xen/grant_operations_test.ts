import { assert, assertEquals } from "@std/assert";
import type { Counters } from "../../core/counters.ts";
import { Frame } from "../../core/frame.ts";
import { netif_extra_info_gso, netif_tx_request, NETTXF, sring_header } from "../../plugins/xen/mod.ts";
import { openPair, type TestPair } from "./pair.ts";
import { RawFrontend } from "./raw_frontend.ts";

const OPERATIONS = ["grant.tx.copy", "grant.tx.map", "grant.tx.unmap", "grant.rx.copy"] as const;

/** What one frame costs: sends it, checks it, and gives the growth of the counters. */
function cost(pair: TestPair, length: number): Counters {
  const { driver, device } = pair;
  const before = { ...driver.counters(), ...device.counters() };
  const frame = Uint8Array.from({ length }, (_, i) => i * 31);
  assertEquals(pair.send(frame), 0);
  device.service(pair.wire);
  assertEquals(pair.receive(), [frame]);
  const after = { ...driver.counters(), ...device.counters() };
  return Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - before[name]!]));
}

function operations(counters: Counters): number[] {
  return OPERATIONS.map((name) => counters[name]!);
}

/**
 * Section 2.9: bytes, slots, then copies, maps, unmaps on transmit and copies on receive under Linux's
 * rules.
 */
const LINUX = [
  [60, 1, 1, 0, 0, 1],
  [128, 1, 1, 0, 0, 1],
  [129, 1, 1, 1, 1, 1],
  [1514, 1, 1, 1, 1, 1],
  [4096, 1, 1, 1, 1, 1],
  [9014, 3, 1, 3, 3, 3],
  [65535, 16, 1, 16, 16, 16],
] as const;

for (const table of ["v1", "v2"]) {
  Deno.test(`a frame costs the grant operations that Linux spends on it, with a ${table} table`, () => {
    const pair = openPair({ "static-grants": "off", "grant-table": table });
    for (const [length, slots, ...wanted] of LINUX) {
      const counters = cost(pair, length);
      assertEquals(operations(counters), wanted, `${length} bytes`);
      assertEquals([counters["tx.slots"], counters["rx.slots"]], [slots, slots]);
      assertEquals([counters["grant.guest.grants"], counters["grant.guest.ends"]], [2 * slots, 2 * slots]);
      assertEquals([counters["tlb.flushes"], counters["hypercalls.unmap"]], length > 128 ? [1, 1] : [0, 0]);
    }
  });
}

Deno.test("a frame costs one copy per slot and nothing else under the copy policy", () => {
  const pair = openPair({ "static-grants": "off", "grant-policy": "copy" });
  for (const [length, slots] of LINUX) assertEquals(operations(cost(pair, length)), [slots, 0, 0, slots]);
});

for (const pool of ["fixed", "recycle", "copy"]) {
  Deno.test(`a frame costs no grant operation with static grants and pool=${pool}, and the saved ones are counted`, () => {
    const pair = openPair({ pool });
    const copied = openPair({ pool, "grant-policy": "copy" });
    for (const [length, slots, ...linux] of LINUX) {
      const counters = cost(pair, length);
      assertEquals(operations(counters), [0, 0, 0, 0]);
      assertEquals(counters["static.hits"], 2 * slots);
      assertEquals(counters["static.misses"], 0);
      assertEquals(counters["grant.saved"], linux.reduce<number>((sum, one) => sum + one, 0));
      assertEquals(cost(copied, length)["grant.saved"], 2 * slots);
      assertEquals([counters["grant.guest.grants"], counters["hypercalls.copy"]], [0, 0]);
      const front = { fixed: length, recycle: 0, copy: 2 * length }[pool];
      assertEquals(counters["memcpy.front.bytes"], front);
      assertEquals(counters["memcpy.back.bytes"], length);
    }
  });
}

Deno.test("an offset adds a slot, and a short first slot a copy", () => {
  const shifted = openPair({ "static-grants": "off", "tx-offset": 3000 });
  assertEquals(operations(cost(shifted, 1514)), [1, 2, 2, 1]);
  const short = openPair({ "static-grants": "off", "tx-offset": 4096 - 14 });
  assertEquals(operations(cost(short, 1514)), [2, 1, 1, 1]);
});

Deno.test("the whole first slot is copied when 17 slots follow it, and only its head when 16 do", () => {
  for (const [slots, maps] of [[17, 17], [18, 17]] as const) {
    const raw = new RawFrontend().connect();
    for (let i = 0; i < slots; i++) {
      raw.grant(20 + i, 20 + i);
      const size = i === 0 ? 1000 + 100 * (slots - 1) : 100;
      raw.tx({ gref: 20 + i, id: i, size, flags: i + 1 < slots ? NETTXF.more_data : 0 });
    }
    raw.publish("tx");
    raw.service();
    assertEquals(raw.frames.length, 1);
    assertEquals(operations(raw.device.counters()), [1, maps, maps, 0], `${slots} slots`);
  }
});

Deno.test("setup costs a map per page and a map and unmap for the list; static grants pay from 129 frames there and back on", () => {
  const pair = openPair({ grants: 256 });
  const setup = pair.device.counters();
  assertEquals([setup["grant.setup.map"], setup["grant.setup.unmap"]], [256 + 1, 1]);
  let frames = 0;
  const spent = () => {
    const counters = pair.device.counters();
    // Tear-down by disconnect will unmap what is mapped.
    return counters["grant.setup.map"]! + counters["grant.setup.unmap"]! + 256;
  };
  assertEquals(spent(), 514);
  for (; pair.device.counters()["grant.saved"]! < spent(); frames++) cost(pair, 1514);
  // Three operations saved on transmit and one on receive for each frame.
  assertEquals(frames, Math.ceil(514 / 4));
  pair.driver.disconnect();
  pair.device.connect();
  const end = pair.device.counters();
  assertEquals(end["grant.setup.map"]! + end["grant.setup.unmap"]!, 514);
  assertEquals(pair.grants.mapped, 0);
});

Deno.test("static grants pay from 172 full-sized frames sent on, or from 514 received", () => {
  const frames = { sent: 0, received: 0 };
  for (const way of ["sent", "received"] as const) {
    const raw = new RawFrontend().connect();
    const refs = Array.from({ length: 256 }, (_, i) => 200 + i);
    for (const ref of refs) raw.grant(ref, 20 + ref % 64);
    raw.grant(10, 10);
    raw.list(10, refs);
    assertEquals(raw.ask(9, 0, 10, refs.length), [0, 0]);
    const spent = () => {
      const counters = raw.device.counters();
      return counters["grant.setup.map"]! + counters["grant.setup.unmap"]! + 256;
    };
    const frame = new Frame();
    frame.set(new Uint8Array(1514), 0, 1514);
    for (; raw.device.counters()["grant.saved"]! < spent(); frames[way]++) {
      if (way === "sent") {
        raw.tx({ gref: 200 + frames.sent % 256, id: 1, size: 1514 });
        raw.publish("tx");
        raw.service();
      } else {
        raw.post(200 + frames.received % 256, 1);
        assertEquals(raw.device.deliver(frame), 0);
      }
    }
  }
  assertEquals(frames, { sent: 172, received: 514 });
});

Deno.test("hits and misses mix in one frame when the pool is short of pages", () => {
  const pair = openPair({ pool: "recycle", grants: 8 });
  const counters = cost(pair, 7 * 4096);
  assertEquals(counters["static.hits"], 4 + 4);
  assertEquals(counters["static.misses"], 3 + 3);
  assertEquals(operations(counters), [0, 3, 3, 3]);
});

Deno.test("frames longer than copybreak are granted instead of copied", () => {
  const pair = openPair({ pool: "copy", copybreak: 1000, grants: 300 });
  assertEquals(cost(pair, 1000)["memcpy.front.bytes"], 2000);
  const long = cost(pair, 1001);
  assertEquals([long["memcpy.front.bytes"], long["tx.layout.bytes"]], [1001, 1001]);
  assertEquals(operations(long), [1, 1, 1, 0]);
});

Deno.test("hypercalls and TLB flushes are counted per batch, not per frame", () => {
  const pair = openPair({ "static-grants": "off" });
  const frame = new Uint8Array(1514);
  for (let i = 0; i < 64; i++) pair.driver.transmit(frame, 0, 1514, 0);
  pair.driver.flush();
  pair.device.service(pair.wire);
  const counters = pair.device.counters();
  assertEquals(counters["grant.tx.map"], 64);
  assertEquals([counters["hypercalls.map"], counters["hypercalls.unmap"], counters["tlb.flushes"]], [
    1,
    1,
    1,
  ]);
  // One for the heads, one for the 64 receive copies.
  assertEquals(counters["hypercalls.copy"], 2);
  assertEquals(pair.receive().length, 64);
});

Deno.test("with gso a large TCP frame carries a GSO extra info both ways and its bytes stay as they are", () => {
  const pair = openPair({ gso: "on" });
  const frame = new Uint8Array(5014).fill(7);
  frame.set([0x08, 0, 0x45, 0, 5000 >> 8, 5000 & 0xff, 0, 0, 0, 0, 64, 6], 12);
  frame[46] = 0x80;
  assertEquals(pair.send(frame), 0);
  const ring = pair.ringBytes("tx");
  const first = netif_tx_request.decode(ring, sring_header.size);
  assertEquals(first.flags, NETTXF.more_data | NETTXF.extra_info);
  const wanted = { type: 1, flags: 0, size: 1500 - 20 - 32, gso_type: 1, pad: 0, features: 0 };
  assertEquals(netif_extra_info_gso.decode(ring, sring_header.size + netif_tx_request.size), wanted);
  pair.device.service(pair.wire);
  assertEquals(netif_extra_info_gso.decode(pair.ringBytes("rx"), sring_header.size + 8), wanted);
  assertEquals(pair.receive(), [frame]);
  const counters = pair.driver.counters();
  assertEquals([counters["tx.extras"], counters["rx.extras"]], [1, 1]);
  assert(cost(pair, 5014)["tx.extras"] === 0, "no TCP, no extra info");
});

Deno.test("with gso a frame whose headers leave no room for payload in a segment goes without an extra info", () => {
  for (const [options, gsoSize] of [[1432, 8], [1440, 0], [1448, 0], [2048, 0]] as const) {
    const pair = openPair({ gso: "on" });
    // IPv6 with destination options of that many bytes, then TCP.
    const frame = new Uint8Array(3000);
    frame.set([0x86, 0xdd, 0x60, 0, 0, 0, 2946 >> 8, 2946 & 0xff, 60, 64], 12);
    frame.set([6, options / 8 - 1], 54);
    frame[54 + options + 12] = 0x50;
    assertEquals(pair.send(frame), 0);
    const ring = pair.ringBytes("tx");
    const { flags } = netif_tx_request.decode(ring, sring_header.size);
    assertEquals(flags, gsoSize > 0 ? NETTXF.extra_info : 0);
    if (gsoSize > 0) {
      const extra = netif_extra_info_gso.decode(ring, sring_header.size + netif_tx_request.size);
      assertEquals(extra.size, gsoSize);
    }
    pair.device.service(pair.wire);
    assertEquals(pair.receive(), [frame]);
  }
});

Deno.test("an empty frame takes one slot each way, with status 0", () => {
  for (const statics of ["on", "off"]) {
    const pair = openPair({ "static-grants": statics });
    const counters = cost(pair, 0);
    assertEquals([counters["tx.slots"], counters["rx.slots"]], [1, 1]);
    assertEquals(operations(counters), [0, 0, 0, 0]);
    assertEquals(counters["grant.saved"], 0);
  }
});
