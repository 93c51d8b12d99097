import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { FrameBatch } from "../../core/frame_batch.ts";
import { Memory } from "../../core/memory.ts";
import {
  DRIVER_FAULTS,
  grant_entry_v1,
  GTF,
  GTF_TYPE,
  netif_extra_info_gso,
  netif_rx_response,
  netif_tx_request,
  netif_tx_response,
  NETRXF,
  xen_netif_ctrl_response,
  XEN_NETIF_CTRL_TYPE,
} from "../../plugins/xen/mod.ts";
import { RawBackend } from "./raw_backend.ts";

const PLAIN = { "static-grants": false };
const MORE = NETRXF.more_data;
const EXTRA = NETRXF.extra_info;

function assertFault(code: string, work: () => unknown): void {
  const fault = assertThrows(work, RingFault);
  assertEquals(fault.code, code);
  assertEquals(fault.half, "driver");
  assert(Object.hasOwn(DRIVER_FAULTS, code));
}

/** Expects that the driver stops, and stays so. */
function assertFatal(raw: RawBackend, code: string): void {
  assertFault(code, () => raw.receive());
  assertFault(code, () => raw.receive());
  assertFault(code, () => raw.send(60));
}

function answer(raw: RawBackend, index: number, id: number, status = 0): void {
  raw.write("tx", index, netif_tx_response.encode({ id, status }));
  raw.publish("tx", index + 1);
}

/** Receive responses from index 0 on. */
function respond(
  raw: RawBackend,
  ...responses: { id?: number; offset?: number; flags?: number; status: number }[]
) {
  responses.forEach((response, i) => raw.write("rx", i, netif_rx_response.encode({ id: i, ...response })));
  raw.publish("rx", responses.length);
}

Deno.test("XenDriver takes transmit responses in any order and gives ids out last freed first", () => {
  const raw = new RawBackend(PLAIN);
  for (let i = 0; i < 3; i++) raw.send(60);
  answer(raw, 0, 2);
  answer(raw, 1, 0);
  answer(raw, 2, 1);
  raw.receive();
  raw.send(60);
  const id = raw.memory.view.getUint16(raw.slot("tx", 3) + 8, true);
  assertEquals(id, 1);
});

Deno.test("XenDriver stops when there are more transmit responses than requests, though the ring is longer", () => {
  const raw = new RawBackend(PLAIN);
  raw.send(60);
  raw.publish("tx", 2);
  assertFatal(raw, "tx-response-overrun");
});

Deno.test("XenDriver stops when the transmit response index moves backwards", () => {
  const raw = new RawBackend(PLAIN);
  raw.publish("tx", 0xffffffff);
  assertFatal(raw, "tx-response-overrun");
});

for (const id of [1, 255, 256, 0xffff]) {
  Deno.test(`XenDriver stops at a response for id ${id} that is not pending`, () => {
    const raw = new RawBackend(PLAIN);
    raw.send(60);
    answer(raw, 0, id);
    assertFatal(raw, "tx-id");
  });
}

Deno.test("XenDriver stops when an id is completed twice", () => {
  const raw = new RawBackend(PLAIN);
  raw.send(60);
  raw.send(60);
  answer(raw, 0, 0);
  answer(raw, 1, 0);
  assertFatal(raw, "tx-id");
});

Deno.test("XenDriver stops at NULL where no extra info was sent, and at an unknown status", () => {
  for (const [status, code] of [[1, "tx-null"], [-3, "tx-status"], [2, "tx-status"]] as const) {
    const raw = new RawBackend(PLAIN);
    raw.send(60);
    answer(raw, 0, 0, status);
    assertFatal(raw, code);
  }
});

Deno.test("XenDriver counts a slot answered with an error and goes on", () => {
  const raw = new RawBackend(PLAIN);
  raw.send(60);
  answer(raw, 0, 0, -1);
  assertEquals(raw.receive(), 1);
  assertEquals(raw.driver.counters()["tx.errors"], 1);
  assertEquals(raw.send(60), 0);
});

Deno.test("XenDriver stops when a page is still in use though its request was answered", () => {
  const raw = new RawBackend(PLAIN);
  raw.send(60);
  raw.mark(raw.memory.view.getUint32(raw.slot("tx", 0), true), GTF.reading);
  answer(raw, 0, 0);
  assertFatal(raw, "tx-grant-in-use");
});

Deno.test("XenDriver stops when a received page is still in use", () => {
  const raw = new RawBackend(PLAIN);
  raw.mark(raw.memory.view.getUint32(raw.slot("rx", 0) + 4, true), GTF.writing | GTF.reading);
  respond(raw, { status: 60 });
  assertFatal(raw, "rx-grant-in-use");
});

Deno.test("XenDriver stops when there are more receive responses than buffers posted", () => {
  const raw = new RawBackend(PLAIN);
  raw.publish("rx", 257);
  assertFatal(raw, "rx-response-overrun");
});

Deno.test("XenDriver stops at a receive response of another id, which Linux ignores", () => {
  for (const id of [5, 2, 0x100, 0x8000]) {
    const strict = new RawBackend(PLAIN);
    respond(strict, { id, status: 60 });
    assertFatal(strict, "rx-id");
  }
  const linux = new RawBackend({ ...PLAIN, profile: "linux" });
  linux.posted(0)[0] = 77;
  respond(linux, { id: 5, status: 60 });
  linux.receive();
  assertEquals(linux.frames[0]![0], 77);
});

for (
  const [what, responses, reason] of [
    ["a slot with an error", [{ status: -1 }], "status"],
    ["the raw status of a failed copy", [{ status: -3 }], "status"],
    ["a slot over its page's end", [{ offset: 4000, status: 97 }], "bounds"],
    ["a huge offset", [{ offset: 0xffff, status: 32767 }], "bounds"],
    ["a second slot with an error", [{ flags: MORE, status: 4096 }, { status: -1 }], "status"],
    [
      "a second slot over its page's end",
      [{ flags: MORE, status: 4096 }, { offset: 1, status: 4096 }],
      "bounds",
    ],
    ["more data announced and not there", [{ flags: MORE, status: 4096 }], "incomplete"],
    ["an extra info announced and not there", [{ flags: EXTRA, status: 4096 }], "incomplete"],
  ] as const
) {
  Deno.test(`XenDriver drops a packet with ${what}, posts its pages again and goes on`, () => {
    const raw = new RawBackend(PLAIN);
    respond(raw, ...responses);
    assertEquals(raw.receive(), responses.length);
    assertEquals(raw.frames, []);
    assertEquals(raw.driver.counters()[`drops.rx.${reason}`], 1);
    assertEquals(raw.word("rx", "req_prod"), 256 + responses.length);
    raw.write("rx", responses.length, netif_rx_response.encode({ id: responses.length, status: 60 }));
    raw.publish("rx", responses.length + 1);
    raw.receive();
    assertEquals(raw.frames.length, 1);
  });
}

for (
  const [what, extra, reason] of [
    ["of type 0", { type: 0 }, "extra"],
    ["of type 5", { type: 5 }, "extra"],
    ["with segment size 0", { type: 1, size: 0, gso_type: 1 }, "gso"],
    ["with an unknown segmentation type", { type: 1, size: 1448, gso_type: 3 }, "gso"],
  ] as const
) {
  Deno.test(`XenDriver drops a packet with an extra info ${what}`, () => {
    const raw = new RawBackend(PLAIN);
    respond(raw, { flags: EXTRA, status: 2000 }, { status: 0 });
    raw.write("rx", 1, netif_extra_info_gso.encode(extra));
    raw.receive();
    assertEquals(raw.frames, []);
    assertEquals(raw.driver.counters()[`drops.rx.${reason}`], 1);
  });
}

Deno.test("XenDriver takes 18 slots, 19 if the first is small, and drops longer packets", () => {
  for (
    const [slots, first, passes] of [[18, 4096, true], [19, 4096, false], [19, 256, true], [19, 257, false], [
      20,
      256,
      false,
    ]] as const
  ) {
    const raw = new RawBackend(PLAIN);
    respond(
      raw,
      ...Array.from(
        { length: slots },
        (_, i) => ({ status: i === 0 ? first : 100, flags: i + 1 < slots ? MORE : 0 }),
      ),
    );
    raw.receive();
    assertEquals(raw.frames.map((frame) => frame.length), passes ? [first + (slots - 1) * 100] : []);
    assertEquals(raw.driver.counters()["drops.rx.slots"], passes ? 0 : 1);
  }
});

Deno.test("XenDriver honours the offset of a receive response and drops runts only as Linux does", () => {
  const raw = new RawBackend(PLAIN);
  raw.posted(0).set([9, 8, 7], 100);
  respond(raw, { offset: 100, status: 3 });
  raw.receive();
  assertEquals(raw.frames, [Uint8Array.of(9, 8, 7)]);
  const linux = new RawBackend({ ...PLAIN, profile: "linux" });
  respond(linux, { status: 13 });
  linux.receive();
  assertEquals(linux.driver.counters()["drops.rx.runt"], 1);
});

Deno.test("XenDriver posts the page of an extra info again without touching its grant", () => {
  const raw = new RawBackend(PLAIN);
  const before = raw.driver.counters();
  const ref = raw.memory.view.getUint32(raw.slot("rx", 1) + 4, true);
  respond(raw, { flags: EXTRA, status: 2000 }, { status: 0 });
  raw.write("rx", 1, netif_extra_info_gso.encode({ type: 1, size: 1448, gso_type: 1 }));
  raw.receive();
  assertEquals(raw.frames.length, 1);
  assertEquals(raw.memory.view.getUint32(raw.slot("rx", 257) + 4, true), ref);
  const after = raw.driver.counters();
  assertEquals(after["grant.guest.ends"]! - before["grant.guest.ends"]!, 1);
});

Deno.test("XenDriver stops at control responses that are too many or not for its request", () => {
  for (
    const [fields, index, code] of [
      [{ id: 1, type: XEN_NETIF_CTRL_TYPE.GET_GREF_MAPPING_SIZE }, 2, "ctrl-response-overrun"],
      [{ id: 2, type: XEN_NETIF_CTRL_TYPE.GET_GREF_MAPPING_SIZE }, 1, "ctrl-response-mismatch"],
      [{ id: 1, type: XEN_NETIF_CTRL_TYPE.ADD_GREF_MAPPING }, 1, "ctrl-response-mismatch"],
    ] as const
  ) {
    const raw = new RawBackend();
    raw.write("ctrl", 0, xen_netif_ctrl_response.encode(fields));
    raw.publish("ctrl", index);
    assertFault(code, () => raw.driver.connect());
  }
});

Deno.test("XenDriver asks once for static grants and goes on without them when they are not supported", () => {
  const raw = new RawBackend();
  raw.write("ctrl", 0, xen_netif_ctrl_response.encode({ id: 1, type: 8, status: 1 }));
  raw.publish("ctrl", 1);
  assert(raw.driver.connect());
  const before = raw.driver.counters();
  assertEquals(before["ctrl.messages"], 1);
  assertEquals(raw.send(5000), 0);
  assertEquals(raw.driver.counters()["grant.guest.grants"]! - before["grant.guest.grants"]!, 2);
});

Deno.test("XenDriver keeps as many static pages as the backend has room for", () => {
  const raw = new RawBackend();
  raw.write("ctrl", 0, xen_netif_ctrl_response.encode({ id: 1, type: 8, data: 100 }));
  raw.publish("ctrl", 1);
  raw.driver.connect();
  assertEquals(raw.memory.view.getUint32(raw.slot("ctrl", 1) + 12, true), 100);
  raw.write("ctrl", 1, xen_netif_ctrl_response.encode({ id: 2, type: 9 }));
  raw.publish("ctrl", 2);
  assert(raw.driver.connect());
  const [queue] = raw.driver.inspect().queues as {
    tx: { staticPages: number };
    rx: { staticPages: number };
  }[];
  assertEquals([queue!.tx.staticPages, queue!.rx.staticPages], [50, 50]);
});

Deno.test("XenDriver grants those pages of a batch that the backend does not keep mapped", () => {
  for (
    const [options, capacity, kept] of [
      [{}, 0, 0],
      [{}, 100, 50],
      [{}, 512, 256],
      [{ pool: "recycle", grants: 256 }, 40, 20],
      [PLAIN, 0, 0],
      [{ ...PLAIN, "tx-offset": 200 }, 0, 0],
    ] as const
  ) {
    const raw = new RawBackend(options);
    if (capacity > 0) {
      raw.write("ctrl", 0, xen_netif_ctrl_response.encode({ id: 1, type: 8, data: capacity }));
      raw.publish("ctrl", 1);
      raw.driver.connect();
      raw.write("ctrl", 1, xen_netif_ctrl_response.encode({ id: 2, type: 9 }));
      raw.publish("ctrl", 2);
    } else if (!("static-grants" in options)) {
      raw.write("ctrl", 0, xen_netif_ctrl_response.encode({ id: 1, type: 8, status: 1 }));
      raw.publish("ctrl", 1);
    }
    raw.driver.connect();
    const [queue] = raw.driver.inspect().queues as { tx: { staticPages: number } }[];
    assertEquals(queue!.tx.staticPages, kept);
    const memory = new Memory(64 * 64);
    for (let i = 0; i < 64; i++) memory.bytes.fill(i + 1, i * 64, (i + 1) * 64);
    const frames = new FrameBatch(memory);
    frames.count = 64;
    for (let i = 0; i < 64; i++) [frames.offsets[i], frames.lengths[i]] = [i * 64, 64];
    const before = raw.driver.counters()["grant.guest.grants"]!;
    assertEquals(raw.driver.transmitBatch(frames, 0, 0), 64);

    const { memory: { bytes }, driver: { grants: { address } } } = raw;
    const refs: number[] = [];
    for (let i = 0; i < 64; i++) {
      const { gref, offset } = netif_tx_request.decode(bytes, raw.slot("tx", i), netif_tx_request.size);
      const entry = grant_entry_v1.decode(bytes, address + (gref as number) * grant_entry_v1.size, 8);
      assertEquals(entry.flags, GTF_TYPE.permit_access | GTF.readonly);
      const start = (entry.frame as number) * 4096 + (offset as number);
      assertEquals(bytes.subarray(start, start + 64), new Uint8Array(64).fill(i + 1));
      refs.push(gref as number);
    }
    assertEquals(new Set(refs).size, 64);
    assertEquals(raw.driver.counters()["grant.guest.grants"]! - before, 64 - Math.min(64, kept));
  }
});

Deno.test("XenDriver goes on without static grants when ADD fails", () => {
  const raw = new RawBackend();
  raw.write("ctrl", 0, xen_netif_ctrl_response.encode({ id: 1, type: 8, data: 512 }));
  raw.publish("ctrl", 1);
  raw.driver.connect();
  raw.write("ctrl", 1, xen_netif_ctrl_response.encode({ id: 2, type: 9, status: 2 }));
  raw.publish("ctrl", 2);
  assert(raw.driver.connect());
  const before = raw.driver.counters()["grant.guest.grants"]!;
  raw.send(60);
  assertEquals(raw.driver.counters()["grant.guest.grants"], before + 1);
});

Deno.test("XenDriver stops when DEL counts entries that it only processed, or writes no status", () => {
  for (
    const [data, status, passes] of [[512, 0, true], [512, 2, false], [0, 2, true], [511, 0, false], [
      512,
      7,
      false,
    ]] as const
  ) {
    const raw = new RawBackend();
    raw.write("ctrl", 0, xen_netif_ctrl_response.encode({ id: 1, type: 8, data: 512 }));
    raw.publish("ctrl", 1);
    raw.driver.connect();
    raw.write("ctrl", 1, xen_netif_ctrl_response.encode({ id: 2, type: 9 }));
    raw.publish("ctrl", 2);
    raw.driver.connect();
    const release = raw.driver.releasePool();
    release.next();
    const request = raw.slot("ctrl", 2);
    const ref = raw.memory.view.getUint32(request + 8, true);
    const list = raw.memory.view.getUint32(raw.driver.grants.address + ref * 8 + 4, true) * 4096;
    for (let i = 0; i < 512; i++) raw.memory.view.setUint16(list + i * 8 + 6, status, true);
    raw.write("ctrl", 2, xen_netif_ctrl_response.encode({ id: 3, type: 10, data }));
    raw.publish("ctrl", 3);
    if (passes) {
      assertEquals(release.next().value, data);
    } else {
      assertFault("ctrl-del-status", () => release.next());
      assertFault("ctrl-del-status", () => raw.driver.transmit(new Uint8Array(60), 0, 60, 0));
      assertFault("ctrl-del-status", () => raw.driver.releasePool().next());
    }
  }
});

Deno.test("XenDriver has nothing to release while it is not up", () => {
  const raw = new RawBackend();
  assertEquals(raw.driver.releasePool().next(), { done: true, value: 0 });
});

Deno.test("XenDriver ignores events for a while when they bring no work (XSA-391)", () => {
  const raw = new RawBackend(PLAIN);
  const storm = () => {
    raw.pending.add(1);
    return raw.receive();
  };
  raw.send(60);
  for (let i = 0; i < 2; i++) assertEquals(storm(), 0);
  answer(raw, 0, 0);
  assertEquals(storm(), 0, "there is work, but the backend must wait for it");
  raw.clock.advance(4);
  assertEquals(storm(), 1);
  assertEquals(raw.driver.counters()["events.front.spurious"], 2);
  raw.send(60);
  answer(raw, 1, 0);
  assertEquals(storm(), 1, "work brings patience back");
});
