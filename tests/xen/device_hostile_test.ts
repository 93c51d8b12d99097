import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import {
  BACKEND_PATH,
  DEVICE_FAULTS,
  FRONTEND_PATH,
  GTF,
  netif_extra_info_gso,
  netif_extra_info_hash,
  NETTXF,
  readState,
  XenbusState,
} from "../../plugins/xen/mod.ts";
import { GNTST } from "../../plugins/xen/grant_layout.ts";
import { RawFrontend, type RawSettings } from "./raw_frontend.ts";

const MORE = NETTXF.more_data;
const EXTRA = NETTXF.extra_info;
/** First packet page and its reference. */
const REF = 20;

/** A connected frontend whose references from 20 on grant 64 pages, filled with their numbers. */
function start(settings: RawSettings = {}): RawFrontend {
  const raw = new RawFrontend(settings).connect();
  for (let i = 0; i < 64; i++) {
    raw.grant(REF + i, REF + i);
    raw.page(REF + i).fill(i + 1);
  }
  return raw;
}

function assertFault(code: string, work: () => unknown): void {
  const fault = assertThrows(work, RingFault);
  assertEquals(fault.code, code);
  assertEquals(fault.half, "device");
  assert(Object.hasOwn(DEVICE_FAULTS, code));
}

/** Publishes, lets the device work, expects a fault, and that the interface stays off. */
function assertFatal(raw: RawFrontend, code: string): void {
  raw.publish("tx");
  assertFault(code, () => raw.service());
  assertFault(code, () => raw.service());
}

/** A packet of `count` data slots of `size` bytes each. */
function packet(raw: RawFrontend, count: number, size: number): void {
  for (let i = 0; i < count; i++) {
    const flags = i + 1 < count ? MORE : 0;
    raw.tx({ gref: REF + i, id: i, size: i === 0 ? size * count & 0xffff : size, flags });
  }
  raw.publish("tx");
}

Deno.test("XenDevice stops when req_prod is further ahead than the ring is long", () => {
  const raw = start();
  raw.publish("tx", 257);
  assertFault("tx-request-overrun", () => raw.service());
});

Deno.test("XenDevice stops when req_prod moves backwards", () => {
  const raw = start();
  packet(raw, 1, 60);
  raw.service();
  raw.publish("tx", 0);
  assertFault("tx-request-overrun", () => raw.service());
});

Deno.test("XenDevice stops when the last published slot announces another", () => {
  const raw = start();
  raw.tx({ gref: REF, id: 1, size: 100, flags: MORE });
  assertFatal(raw, "tx-missing-slots");
});

Deno.test("XenDevice stops when an announced extra info is missing", () => {
  const raw = start();
  raw.tx({ gref: REF, id: 1, size: 100, flags: EXTRA });
  assertFatal(raw, "tx-missing-extra");
});

Deno.test("XenDevice stops when an extra info announces another that is missing", () => {
  const raw = start();
  raw.tx({ gref: REF, id: 1, size: 100, flags: EXTRA });
  raw.slot("tx", netif_extra_info_gso.encode({ type: 1, flags: 1, size: 1448, gso_type: 1 }));
  assertFatal(raw, "tx-missing-extra");
});

for (const type of [0, 5, 255]) {
  Deno.test(`XenDevice stops at an extra info of type ${type}`, () => {
    const raw = start();
    raw.tx({ gref: REF, id: 1, size: 100, flags: EXTRA });
    raw.slot("tx", Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0));
    assertFatal(raw, "tx-extra-type");
  });
}

for (const [size, gso_type] of [[0, 1], [1448, 0], [1448, 3]] as const) {
  Deno.test(`XenDevice stops at segmentation type ${gso_type} with size ${size}`, () => {
    const raw = start();
    raw.tx({ gref: REF, id: 1, size: 100, flags: EXTRA });
    raw.slot("tx", netif_extra_info_gso.encode({ type: 1, size, gso_type }));
    assertFatal(raw, "tx-gso");
  });
}

for (
  const [what, extras] of [
    ["alone", [netif_extra_info_hash.encode({ type: 4, hash_type: 1, algorithm: 1, value: 0x51ccc178 })]],
    ["behind GSO", [
      netif_extra_info_gso.encode({ type: 1, flags: 1, size: 1448, gso_type: 1 }),
      netif_extra_info_hash.encode({ type: 4, hash_type: 1, algorithm: 1, value: 0x51ccc178 }),
    ]],
    ["with fields that mean nothing", [Uint8Array.of(4, 0, 255, 255, 255, 255, 255, 255)]],
  ] as const
) {
  Deno.test(`XenDevice takes a HASH extra info ${what}, and answers every extra info with a NULL`, () => {
    const raw = start();
    raw.tx({ gref: REF, id: 0x101, size: 3000, flags: EXTRA | MORE });
    for (const extra of extras) raw.slot("tx", extra);
    raw.tx({ gref: REF + 1, id: 0x102, size: 1000 });
    raw.publish("tx");
    raw.service();
    assertEquals(raw.frames.map((frame) => [frame.length, frame[1999], frame[2000]]), [[3000, 1, 2]]);
    assertEquals(raw.statuses(), [0, ...extras.map(() => 1), 0]);
    // A NULL leaves the id as it stands in its slot: there the type and flags of the extra info.
    const ids = extras.map(([type, flags]) => type! | flags! << 8);
    assertEquals(raw.responses("tx").map(({ id }) => id), [0x101, ...ids, 0x102]);
  });
}

Deno.test("XenDevice takes 19 data slots, drops 20 and 21, and stops at 22", () => {
  for (const slots of [18, 19]) {
    const raw = start();
    packet(raw, slots, 100);
    raw.service();
    assertEquals(raw.frames.map((frame) => frame.length), [slots * 100]);
    assertEquals(raw.statuses(), new Array(slots).fill(0));
  }
  for (const slots of [20, 21]) {
    const raw = start();
    packet(raw, slots, 100);
    raw.service();
    assertEquals([raw.frames, raw.drops], [[], ["slots"]]);
    assertEquals(raw.statuses(), new Array(slots).fill(-1));
    packet(raw, 1, 60);
    raw.service();
    assertEquals(raw.frames.length, 1, "the next packet passes");
  }
  const raw = start();
  packet(raw, 22, 100);
  assertFatal(raw, "tx-too-many-slots");
});

Deno.test("XenDevice drops a packet whose 16-bit total has wrapped", () => {
  const raw = start();
  packet(raw, 17, 4096);
  raw.service();
  assertEquals([raw.frames, raw.drops], [[], ["size"]]);
  assertEquals(raw.statuses(), new Array(17).fill(-1));
});

for (const [offset, size] of [[4000, 97], [4096, 1], [65535, 65535]] as const) {
  Deno.test(`XenDevice stops at a first slot of ${size} bytes at ${offset}`, () => {
    const raw = start();
    raw.tx({ gref: REF, id: 1, offset, size });
    assertFatal(raw, "tx-cross-page");
  });
  Deno.test(`XenDevice stops at a later slot of ${size} bytes at ${offset}`, () => {
    const raw = start();
    raw.tx({ gref: REF, id: 1, size: 65535, flags: MORE });
    raw.tx({ gref: REF, id: 2, offset, size });
    assertFatal(raw, "tx-cross-page");
  });
}

Deno.test("XenDevice judges the first slot by its own bytes, not by the packet's", () => {
  const raw = start();
  raw.tx({ gref: REF, id: 1, offset: 4000, size: 4096 + 96, flags: MORE });
  raw.tx({ gref: REF + 1, id: 2, size: 4096 });
  raw.publish("tx");
  raw.service();
  assertEquals(raw.frames[0]!.length, 4192);
  assertEquals([raw.frames[0]![95], raw.frames[0]![96]], [1, 2]);
});

Deno.test("XenDevice drops what Linux drops only with that profile", () => {
  for (const linux of [false, true]) {
    const raw = start({ linux });
    raw.tx({ gref: REF, id: 1, size: 13 });
    raw.tx({ gref: REF, id: 2, size: 113, flags: MORE });
    raw.tx({ gref: REF + 1, id: 3, size: 100 });
    raw.tx({ gref: REF, id: 4, size: 14 });
    raw.publish("tx");
    raw.service();
    assertEquals(raw.frames.map((frame) => frame.length), linux ? [14] : [13, 113, 14]);
    assertEquals(raw.drops, linux ? ["runt", "first-slot"] : []);
    assertEquals(raw.statuses(), linux ? [-1, -1, -1, 0] : [0, 0, 0, 0]);
  }
});

for (
  const [what, spoil] of [
    ["was never given", (raw: RawFrontend) => raw.grant(REF + 1, REF + 1, 0)],
    ["is for another domain", (raw: RawFrontend) => raw.grant(REF + 1, REF + 1, 1, 7)],
    ["names no memory", (raw: RawFrontend) => raw.grant(REF + 1, 0x7fffffff)],
    ["is for a transfer", (raw: RawFrontend) => raw.grant(REF + 1, REF + 1, 2)],
  ] as const
) {
  Deno.test(`XenDevice drops a packet with a grant that ${what}, and answers only that slot with an error`, () => {
    const raw = start();
    spoil(raw);
    packet(raw, 3, 1000);
    raw.service();
    assertEquals([raw.frames, raw.drops], [[], ["bad-grant"]]);
    const answers = raw.responses("tx").map(({ id, status }) => [id, status]);
    assertEquals(answers.sort(), [[0, 0], [1, -1], [2, 0]]);
    for (const ref of [REF, REF + 1, REF + 2]) assert(!raw.inUse(ref));
  });
}

for (
  const [what, slots, spoil, statuses] of [
    ["too many slots", 20, () => {}, new Array(20).fill(-1)],
    ["a bad first grant", 3, (raw: RawFrontend) => raw.grant(REF, REF, 0), [-1, 0, 0]],
    ["a bad last grant", 3, (raw: RawFrontend) => raw.grant(REF + 2, REF + 2, 0), [0, 0, -1]],
  ] as const
) {
  Deno.test(`XenDevice answers the extra infos of a packet with ${what} right behind its first slot`, () => {
    const raw = start({ policy: "copy" });
    spoil(raw);
    for (let i = 0; i < slots; i++) {
      const flags = (i === 0 ? EXTRA : 0) | (i + 1 < slots ? MORE : 0);
      raw.tx({ gref: REF + i, id: i, size: i === 0 ? 100 * slots : 100, flags });
      if (i > 0) continue;
      raw.slot("tx", netif_extra_info_gso.encode({ type: 1, flags: 1, size: 1448, gso_type: 1 }));
      raw.slot("tx", netif_extra_info_hash.encode({ type: 4, hash_type: 1, algorithm: 1 }));
    }
    raw.publish("tx");
    raw.service();
    assertEquals([raw.frames.length, raw.drops.length], [0, 1]);
    assertEquals(raw.statuses(), [statuses[0], 1, 1, ...statuses.slice(1)]);
  });
}

Deno.test("XenDevice drops a packet whose reference is out of the table", () => {
  const raw = start();
  raw.tx({ gref: 0xffffffff, id: 9, size: 60 });
  raw.publish("tx");
  raw.service();
  assertEquals([raw.drops, raw.statuses()], [["bad-grant"], [-1]]);
});

Deno.test("XenDevice does not fetch a slot a second time (XSA-155)", () => {
  const raw = start();
  packet(raw, 2, 1000);
  raw.takes = false;
  raw.service();
  // The frontend rewrites what was already read, while the frame waits for the wire.
  raw.page(2).fill(0xff, 64, 64 + 24);
  raw.takes = true;
  raw.service();
  assertEquals(raw.frames[0]!.length, 2000);
  assertEquals(raw.responses("tx").map((response) => response.id), [0, 1]);
});

Deno.test("XenDevice takes any id, also twice", () => {
  const raw = start();
  for (const id of [256, 0xffff, 256]) raw.tx({ gref: REF, id, size: 60 });
  raw.publish("tx");
  raw.service();
  assertEquals(raw.responses("tx").map((response) => response.id), [256, 0xffff, 256]);
});

Deno.test("XenDevice stops when the receive ring claims more requests than it has slots", () => {
  const raw = start();
  raw.publish("rx", 300);
  packet(raw, 1, 60);
  const wire = {
    ...raw.wire,
    transmit: (frame: Frame) => raw.device.deliver(frame) >= 0,
  };
  assertFault("rx-request-overrun", () => raw.device.service(wire));
  assertFault("rx-request-overrun", () => raw.device.service(wire));
});

Deno.test("XenDevice stops when the control ring claims more requests than it has slots", () => {
  const raw = start();
  raw.publish("ctrl", 129);
  assertFault("ctrl-request-overrun", () => raw.device.connect());
});

for (const queues of ["0", "5", "-1", "x", "4294967296"]) {
  Deno.test(`XenDevice refuses ${queues} queues`, () => {
    const raw = new RawFrontend({ queues });
    const code = queues === "0" || queues === "5" ? "xenbus-queues" : "xenbus-key";
    assertFault(code, () => raw.connect());
  });
}

Deno.test("XenDevice refuses a frontend without rx-copy, without a ring, or with a ring it cannot map", () => {
  for (
    const [key, value, code] of [
      ["request-rx-copy", "0", "xenbus-rx-copy"],
      ["tx-ring-ref", "", "xenbus-key"],
      ["event-channel-rx", "12x", "xenbus-key"],
      ["rx-ring-ref", "400", "ring-grant"],
    ] as const
  ) {
    const raw = new RawFrontend();
    raw.store.write(`${FRONTEND_PATH}/${key}`, value);
    assertFault(code, () => raw.connect());
  }
});

Deno.test("XenDevice refuses a ring that already claims more requests than it has slots", () => {
  const raw = new RawFrontend();
  raw.publish("tx", 257);
  assertFault("ring-attach", () => raw.connect());
});

Deno.test("XenDevice attaches where the responses of an earlier backend ended", () => {
  const raw = new RawFrontend();
  for (const name of ["req_prod", "rsp_prod"]) {
    raw.memory.view.setUint32(2 * 4096 + (name === "req_prod" ? 0 : 8), 0xffffffff, true);
  }
  raw.connect();
  assertEquals(raw.service(), 0);
  assertEquals(raw.word("tx", "req_event"), 0);
});

Deno.test("XenDevice goes through Closing and Closed and comes back, as Windows wants it before connecting", () => {
  const raw = start();
  packet(raw, 1, 1000);
  raw.takes = false;
  raw.service();
  assert(raw.inUse(REF));
  assertEquals(raw.ports, new Set([1, 2, 3]));
  for (const state of [XenbusState.Closing, XenbusState.Closed]) {
    raw.store.write(`${FRONTEND_PATH}/state`, state);
    raw.device.connect();
    assertEquals(readState(raw.store, BACKEND_PATH), state);
    assert(!raw.inUse(REF) && !raw.inUse(1), "nothing is left mapped");
    assertEquals([raw.grants.mapped, raw.ports.size], [0, 0]);
  }
  raw.store.write(`${FRONTEND_PATH}/state`, XenbusState.Initialising);
  raw.device.connect();
  assertEquals(readState(raw.store, BACKEND_PATH), XenbusState.InitWait);
  raw.store.write(`${FRONTEND_PATH}/state`, XenbusState.Connected);
  assert(raw.device.connect());
  assertEquals(raw.flags(1) & GTF.writing, GTF.writing);
});

Deno.test("XenDevice answers what it copied at once and what it mapped after the unmap, so out of order", () => {
  const raw = start();
  raw.tx({ gref: REF, id: 1, size: 1514 });
  raw.tx({ gref: REF + 1, id: 2, size: 60 });
  raw.tx({ gref: REF + 2, id: 3, size: 129 });
  raw.tx({ gref: REF + 3, id: 4, size: 128 });
  raw.publish("tx");
  raw.service();
  assertEquals(raw.frames.map((frame) => frame.length), [1514, 60, 129, 128]);
  assertEquals(raw.responses("tx").map((response) => response.id), [2, 4, 1, 3]);
});

Deno.test("XenDevice answers later slots of no bytes without any grant operation, whatever they name", () => {
  const raw = start();
  raw.tx({ gref: REF, id: 1, size: 100, flags: MORE });
  raw.tx({ gref: 0xffffffff, id: 2, size: 0, flags: MORE });
  raw.tx({ gref: REF + 1, id: 3, size: 40 });
  raw.publish("tx");
  raw.service();
  assertEquals(raw.frames.map((frame) => frame.length), [100]);
  assertEquals([raw.frames[0]![59], raw.frames[0]![60]], [1, 2]);
  assertEquals(raw.statuses(), [0, 0, 0]);
  assertEquals(raw.device.counters()["grant.tx.copy"], 2);
});

Deno.test("XenDevice reads a static page on though its grant was ended by force, and lets go of it", () => {
  const raw = start();
  raw.list(10, [REF]);
  raw.grant(10, 10);
  assertEquals(raw.ask(9, 0, 10, 1), [0, 0]);
  raw.grant(REF, REF, 0);
  raw.tx({ gref: REF, id: 1, size: 100 });
  raw.publish("tx");
  raw.service();
  assertEquals(raw.frames[0]![99], 1);
  assertEquals(raw.ask(10, 0, 10, 1), [0, 1]);
  raw.tx({ gref: REF, id: 2, size: 100 });
  raw.publish("tx");
  raw.service();
  assertEquals([raw.drops, raw.statuses()], [["bad-grant"], [0, -1]]);
});

Deno.test("XenDevice sets req_event only when it has seen no further request", () => {
  const raw = start();
  packet(raw, 3, 100);
  raw.service();
  assertEquals(raw.word("tx", "req_event"), 4);
  raw.takes = false;
  packet(raw, 1, 100);
  raw.service();
  assertEquals(raw.word("tx", "req_event"), 4, "it will come back by itself for the frame it keeps");
  raw.takes = true;
  raw.service();
  assertEquals(raw.word("tx", "req_event"), 5);
});

Deno.test("XenDevice asks for one more receive page when there are too few", () => {
  const raw = start();
  raw.post(REF, 2);
  packet(raw, 3, 4096);
  const frames: number[] = [];
  const wire = {
    transmit: (frame: Frame) => raw.device.deliver(frame) >= 0 && frames.push(frame.length) > 0,
    drop: () => {},
  };
  raw.device.service(wire);
  assertEquals([frames, raw.word("rx", "req_event"), raw.statuses()], [[], 3, []]);
  raw.post(REF, 1);
  raw.device.service(wire);
  assertEquals([frames, raw.responses("rx").map((one) => one.flags)], [[12288], [4, 4, 0]]);
});

Deno.test("a posted page that is not granted is answered with the raw status of the copy, as Linux does", () => {
  const raw = new RawFrontend().connect();
  raw.grant(REF, REF);
  raw.post(REF + 500, 1);
  raw.tx({ gref: REF, id: 1, size: 60 });
  raw.publish("tx");
  raw.device.service({ transmit: (frame) => raw.device.deliver(frame) >= 0, drop: () => {} });
  assertEquals(raw.responses("rx").map(({ id, status }) => [id, status]), [[0, GNTST.bad_gntref]]);
  assertEquals(raw.device.counters()["rx.failures"], 1);
});
