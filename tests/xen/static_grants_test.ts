import { assert, assertEquals } from "@std/assert";
import { NETTXF, XEN_NETIF_CTRL_STATUS, XEN_NETIF_CTRL_TYPE } from "../../plugins/xen/mod.ts";
import { RawFrontend, type RawSettings } from "./raw_frontend.ts";

const { GET_GREF_MAPPING_SIZE: GET, ADD_GREF_MAPPING: ADD, DEL_GREF_MAPPING: DEL } = XEN_NETIF_CTRL_TYPE;
const { SUCCESS, NOT_SUPPORTED, INVALID_PARAMETER: INVALID } = XEN_NETIF_CTRL_STATUS;
const READONLY = 1;
const LIST = 10;
const REF = 20;

/** A connected frontend with 64 granted pages and a list page, each under the reference of its own number. */
function start(settings: RawSettings = {}): RawFrontend {
  const raw = new RawFrontend(settings).connect();
  raw.grant(LIST, LIST);
  for (let i = 0; i < 64; i++) {
    raw.grant(REF + i, REF + i);
    raw.page(REF + i).fill(i + 1);
  }
  return raw;
}

function add(raw: RawFrontend, entries: Parameters<RawFrontend["list"]>[1], queue = 0): number {
  raw.list(LIST, entries);
  const [status, data] = raw.ask(ADD, queue, LIST, entries.length);
  assertEquals(data, 0, "ADD returns no data");
  return status;
}

function del(raw: RawFrontend, entries: readonly number[], queue = 0): [number, number, number[]] {
  raw.list(LIST, entries);
  const [status, data] = raw.ask(DEL, queue, LIST, entries.length);
  const statuses = raw.listStatuses(LIST, entries.length);
  if (status === SUCCESS) {
    assert(statuses.every((one) => one === SUCCESS || one === INVALID));
    assertEquals(statuses.filter((one) => one === SUCCESS).length, data);
  }
  return [status, data, statuses];
}

/** What is mapped beside the three rings. */
function mapped(raw: RawFrontend): number {
  return raw.grants.mapped - 3;
}

Deno.test("GET_GREF_MAPPING_SIZE tells the capacity, whatever is mapped", () => {
  const raw = start({ staticCapacity: 40 });
  assertEquals(raw.ask(GET, 0), [SUCCESS, 40]);
  assertEquals(add(raw, [REF]), SUCCESS);
  assertEquals(raw.ask(GET, 0), [SUCCESS, 40]);
});

Deno.test("GET_GREF_MAPPING_SIZE refuses a queue that there is not", () => {
  assertEquals(start().ask(GET, 1), [INVALID, 0]);
  assertEquals(start().ask(GET, 0xffffffff), [INVALID, 0]);
});

Deno.test("a backend without static grants answers all three messages with NOT_SUPPORTED and no data", () => {
  const raw = start({ staticCapacity: 0 });
  for (const type of [GET, ADD, DEL]) assertEquals(raw.ask(type, 0, LIST, 1), [NOT_SUPPORTED, 0]);
});

Deno.test("ADD maps each reference once: readable and writable, or readable with the flag", () => {
  const raw = start();
  assertEquals(add(raw, [REF, [REF + 1, READONLY]]), SUCCESS);
  assertEquals(mapped(raw), 2);
  assertEquals([raw.flags(REF), raw.flags(REF + 1)], [1 | 8 | 16, 1 | 8]);
  assert(!raw.inUse(LIST), "the list page is let go");
});

Deno.test("ADD writes no status", () => {
  const raw = start();
  assertEquals(add(raw, [REF, REF + 1]), SUCCESS);
  assertEquals(raw.listStatuses(LIST, 2), [0xffff, 0xffff]);
  assertEquals(add(raw, [REF + 2, REF]), INVALID);
  assertEquals(raw.listStatuses(LIST, 2), [0xffff, 0xffff]);
});

for (
  const [what, entries, spoil] of [
    [
      "a reference that was never granted",
      [REF, REF + 1, REF + 2],
      (raw: RawFrontend) => raw.grant(REF + 2, 0, 0),
    ],
    ["a reference out of the table", [REF, REF + 1, 0xffffffff], () => {}],
    [
      "a grant for another domain",
      [REF, REF + 1, REF + 2],
      (raw: RawFrontend) => raw.grant(REF + 2, REF + 2, 1, 9),
    ],
    [
      "a writable mapping of a read-only grant",
      [REF, REF + 1, REF + 2],
      (raw: RawFrontend) => raw.grant(REF + 2, REF + 2, 5),
    ],
    ["an unknown flag", [REF, REF + 1, [REF + 2, 2]], () => {}],
    ["a reference twice in the list", [REF, REF + 1, REF], () => {}],
  ] as const
) {
  Deno.test(`ADD rolls back all of a list with ${what}`, () => {
    const raw = start();
    spoil(raw);
    assertEquals(add(raw, entries as Parameters<RawFrontend["list"]>[1]), INVALID);
    assertEquals(mapped(raw), 0);
    assert(!raw.inUse(REF) && !raw.inUse(REF + 1));
    const { "grant.setup.map": maps, "grant.setup.unmap": unmaps } = raw.device.counters();
    assertEquals(maps, unmaps);
    assertEquals(raw.device.statics[0]!.size, 0);
    assertEquals(add(raw, [REF, REF + 1]), SUCCESS, "the good ones can be added then");
  });
}

Deno.test("ADD rolls back a list with a reference that is already there, which stays", () => {
  const raw = start();
  assertEquals(add(raw, [REF]), SUCCESS);
  assertEquals(add(raw, [REF + 1, REF]), INVALID);
  assertEquals([raw.inUse(REF), raw.inUse(REF + 1)], [true, false]);
});

Deno.test("ADD beyond the capacity maps nothing", () => {
  const raw = start({ staticCapacity: 3 });
  assertEquals(add(raw, [REF, REF + 1, REF + 2, REF + 3]), INVALID);
  assertEquals(mapped(raw), 0);
  assertEquals(add(raw, [REF, REF + 1]), SUCCESS);
  assertEquals(add(raw, [REF + 2, REF + 3]), INVALID);
  assertEquals(add(raw, [REF + 2]), SUCCESS);
  assertEquals(mapped(raw), 3);
});

Deno.test("ADD takes a read-only mapping of a writable grant", () => {
  assertEquals(add(start(), [[REF, READONLY]]), SUCCESS);
});

for (const type of [ADD, DEL]) {
  Deno.test(`message ${type} refuses a bad queue, count or list page and touches no entry`, () => {
    const raw = start();
    raw.list(LIST, [REF]);
    raw.grant(11, 11, 0);
    raw.grant(12, 12, 5);
    raw.list(11, [REF]);
    raw.list(12, [REF]);
    for (
      const [queue, list, count] of [[1, LIST, 1], [0, LIST, 0], [0, LIST, 513], [0, 11, 1], [0, 12, 1], [
        0,
        0xffff,
        1,
      ]] as const
    ) {
      assertEquals(raw.ask(type, queue, list, count), [INVALID, 0], `${queue} ${list} ${count}`);
    }
    for (const page of [LIST, 11, 12]) assertEquals(raw.listStatuses(page, 1), [0xffff]);
    assertEquals(mapped(raw), 0);
  });
}

Deno.test("ADD judges a full list page of 512 entries to its end", () => {
  const raw = start();
  for (let ref = 4; ref < 512; ref++) raw.grant(ref, 5);
  raw.grant(LIST, LIST);
  const list = Array.from({ length: 512 }, (_, i) => i < 4 ? 500 + i : i);
  raw.list(LIST, list);
  assertEquals(raw.ask(ADD, 0, LIST, 512), [INVALID, 0], "500 to 503 come twice");
  assertEquals(mapped(raw), 0);
});

Deno.test("DEL answers SUCCESS with the number unmapped, and a status for every entry", () => {
  const raw = start();
  add(raw, [REF, REF + 1]);
  assertEquals(del(raw, [REF + 5, REF, REF + 6, REF + 1]), [SUCCESS, 2, [
    INVALID,
    SUCCESS,
    INVALID,
    SUCCESS,
  ]]);
  assertEquals(mapped(raw), 0);
  assert(!raw.inUse(REF));
});

Deno.test("DEL of nothing known answers SUCCESS with 0", () => {
  assertEquals(del(start(), [REF, REF + 1]), [SUCCESS, 0, [INVALID, INVALID]]);
});

Deno.test("DEL counts a reference once that is twice in the list", () => {
  const raw = start();
  add(raw, [REF]);
  assertEquals(del(raw, [REF, REF]), [SUCCESS, 1, [SUCCESS, INVALID]]);
});

Deno.test("DEL leaves a reference in use mapped, and takes it when the wire is done with it", () => {
  const raw = start();
  add(raw, [REF, REF + 1]);
  raw.tx({ gref: REF, id: 7, size: 100, flags: NETTXF.more_data });
  raw.tx({ gref: REF, id: 8, offset: 2048, size: 50 });
  raw.publish("tx");
  raw.takes = false;
  raw.service();
  assertEquals(del(raw, [REF, REF + 1]), [SUCCESS, 1, [INVALID, SUCCESS]]);
  assert(raw.inUse(REF));
  assertEquals(raw.statuses(), [], "nothing is answered while the wire has the bytes");
  raw.takes = true;
  raw.service();
  assertEquals(raw.statuses(), [0, 0]);
  assertEquals(del(raw, [REF]), [SUCCESS, 1, [SUCCESS]]);
});

Deno.test("the list page is read once: what the frontend changes later does not count (XSA-155)", () => {
  const raw = start();
  raw.list(LIST, [REF, REF + 1]);
  // The first mapping that judging the list makes lets the frontend strike.
  const map = raw.grants.map.bind(raw.grants);
  let maps = 0;
  raw.grants.map = (ref, flags) => {
    if (maps++ > 0) raw.list(LIST, [REF, [REF, 0xfffe]]);
    return map(ref, flags);
  };
  assertEquals(raw.ask(ADD, 0, LIST, 2), [SUCCESS, 0]);
  assertEquals(mapped(raw), 2);
  assert(raw.inUse(REF + 1));
});

Deno.test("DEL reads the list page once, too", () => {
  const raw = start();
  add(raw, [REF, REF + 1]);
  raw.list(LIST, [REF, REF + 1]);
  // The first unmapping lets the frontend strike.
  const unmap = raw.grants.unmap.bind(raw.grants);
  raw.grants.unmap = (...args) => {
    raw.list(LIST, [REF + 40, REF + 41]);
    return unmap(...args);
  };
  assertEquals(raw.ask(DEL, 0, LIST, 2), [SUCCESS, 2]);
  assertEquals(mapped(raw), 0);
  assert(!raw.inUse(REF) && !raw.inUse(REF + 1));
});

Deno.test("a hit before a slot whose grant is bad is given back: no panic on a failed copy, no use left over", () => {
  const raw = start();
  add(raw, [REF]);
  raw.tx({ gref: REF, id: 1, size: 300, flags: NETTXF.more_data });
  raw.tx({ gref: REF + 200, id: 2, size: 100 });
  raw.publish("tx");
  raw.service();
  assertEquals(raw.frames, []);
  assertEquals(raw.responses("tx").map(({ id, status }) => [id, status]), [[1, 0], [2, -1]]);
  assertEquals(del(raw, [REF]), [SUCCESS, 1, [SUCCESS]]);
});

Deno.test("a mapped page stays what it was when its entry is rewritten, and cannot be ended", () => {
  const raw = start();
  add(raw, [REF]);
  raw.grant(REF, REF + 9, raw.flags(REF));
  raw.tx({ gref: REF, id: 1, size: 100 });
  raw.publish("tx");
  raw.service();
  assertEquals(raw.frames[0]![0], 1);
  assert(raw.inUse(REF));
});

Deno.test("tables belong to queues: the same reference can be in two, and is deleted in one", () => {
  const raw = new RawFrontend({ queues: "2" });
  for (const queue of [0, 1]) {
    for (
      const [key, value] of [["tx-ring-ref", 1], ["rx-ring-ref", 2], ["event-channel-tx", 1], [
        "event-channel-rx",
        2,
      ]]
    ) {
      raw.store.write(`/local/domain/1/device/vif/0/queue-${queue}/${key}`, value!);
    }
  }
  raw.connect();
  raw.grant(LIST, LIST);
  raw.grant(REF, REF);
  const before = raw.grants.mapped;
  assertEquals(add(raw, [REF], 0), SUCCESS);
  assertEquals(add(raw, [REF], 1), SUCCESS);
  assertEquals(raw.grants.mapped - before, 2);
  assertEquals(del(raw, [REF], 1), [SUCCESS, 1, [SUCCESS]]);
  assert(raw.inUse(REF), "still mapped for the other queue");
  assertEquals(del(raw, [REF], 0)[1], 1);
  assert(!raw.inUse(REF));
});

Deno.test("a slot whose reference was not added goes the ordinary way, also within a packet", () => {
  const raw = start();
  add(raw, [[REF, READONLY], [REF + 2, READONLY]]);
  const sizes = [2000, 1000, 700, 300];
  sizes.forEach((size, i) => {
    raw.tx({ gref: REF + i, id: i, size: i === 0 ? 4000 : size, flags: i < 3 ? NETTXF.more_data : 0 });
  });
  raw.publish("tx");
  raw.service();
  const frame = raw.frames[0]!;
  assertEquals([frame[0], frame[1999], frame[2000], frame[3000], frame[3700], frame.length], [
    1,
    1,
    2,
    3,
    4,
    4000,
  ]);
  const counters = raw.device.counters();
  assertEquals(counters["static.hits"], 2);
  assertEquals(counters["static.misses"], 2);
  // The head lay in a hit, so nothing is copied; the two misses are mapped.
  assertEquals([counters["grant.tx.copy"], counters["grant.tx.map"], counters["grant.tx.unmap"]], [0, 2, 2]);
  // Without static grants: one copy, and four maps and unmaps.
  assertEquals(counters["grant.saved"], 9 - 4);
  assertEquals(raw.statuses(), [0, 0, 0, 0]);
});

Deno.test("a miss before a hit keeps its bytes (UEK paired them wrongly)", () => {
  const raw = start();
  add(raw, [REF + 1]);
  raw.tx({ gref: REF, id: 0, size: 3000, flags: NETTXF.more_data });
  raw.tx({ gref: REF + 1, id: 1, size: 1000, flags: NETTXF.more_data });
  raw.tx({ gref: REF + 2, id: 2, size: 1000 });
  raw.publish("tx");
  raw.service();
  const frame = raw.frames[0]!;
  assertEquals([frame[0], frame[999], frame[1000], frame[1999], frame[2000], frame[2999]], [
    1,
    1,
    2,
    2,
    3,
    3,
  ]);
});

Deno.test("a reference that was deleted is no hit any more", () => {
  const raw = start();
  add(raw, [REF]);
  del(raw, [REF]);
  raw.tx({ gref: REF, id: 0, size: 100 });
  raw.publish("tx");
  raw.service();
  const counters = raw.device.counters();
  assertEquals([counters["static.hits"], counters["grant.tx.copy"]], [0, 1]);
});

Deno.test("received bytes go into a writable hit by memcpy, into a read-only hit by a grant copy", () => {
  const raw = start();
  add(raw, [REF + 10, [REF + 11, READONLY]]);
  raw.post(REF + 10, 3);
  raw.tx({ gref: REF, id: 0, size: 9000, flags: NETTXF.more_data });
  raw.tx({ gref: REF + 1, id: 1, size: 4096, flags: NETTXF.more_data });
  raw.tx({ gref: REF + 2, id: 2, size: 4096 });
  raw.publish("tx");
  raw.device.service({ transmit: (frame) => raw.device.deliver(frame) >= 0, drop: () => {} });
  assertEquals(raw.responses("rx").map(({ id, status }) => [id, status]), [[0, 4096], [1, 4096], [2, 808]]);
  assertEquals([raw.page(REF + 10)[0], raw.page(REF + 10)[808], raw.page(REF + 12)[807]], [1, 2, 3]);
  const counters = raw.device.counters();
  assertEquals([counters["grant.rx.copy"], counters["memcpy.back.bytes"]], [2, 4096]);
  assertEquals(counters["static.hits"], 1);
});

Deno.test("a read-only static page cannot be received into, as its grant does not allow it either", () => {
  const raw = start();
  raw.grant(REF + 10, REF + 10, 5);
  add(raw, [[REF + 10, READONLY]]);
  raw.post(REF + 10, 1);
  raw.tx({ gref: REF, id: 0, size: 100 });
  raw.publish("tx");
  raw.device.service({ transmit: (frame) => raw.device.deliver(frame) >= 0, drop: () => {} });
  assertEquals(raw.responses("rx").map((response) => response.status), [-1]);
  assertEquals(raw.page(REF + 10)[0], 11, "nothing was written");
});

Deno.test("a disconnect unmaps everything, in use or not", () => {
  const raw = start();
  add(raw, [REF, REF + 1]);
  raw.tx({ gref: REF, id: 7, size: 100 });
  raw.publish("tx");
  raw.takes = false;
  raw.service();
  raw.store.write("/local/domain/1/device/vif/0/state", 5);
  raw.device.connect();
  assertEquals(raw.grants.mapped, 0);
  assertEquals(raw.device.counters()["grant.setup.unmap"], 2 + 1);
});
