import { assertEquals } from "@std/assert";
import {
  add16,
  add32,
  alignUp,
  distance16,
  distance32,
  isPowerOfTwo,
  needEvent16,
  needEvent32,
} from "../../mod.ts";
import { vectors } from "../vectors.ts";

Deno.test("needEvent16 agrees with vring_need_event()", () => {
  for (const { fields } of vectors("virtio_behaviour.json", "vring_need_event()")) {
    const event = needEvent16(Number(fields.event_idx), Number(fields.new_idx), Number(fields.old));
    assertEquals(event, Number(fields.result) === 1, JSON.stringify(fields));
  }
});

Deno.test("needEvent16 is true exactly if stepping from old to now passes the event", () => {
  // All small distances, around the wrap: walk the entries one by one.
  for (let start = 0xfff8; start < 0x10008; start++) {
    const old = start & 0xffff;
    for (let step = 0; step < 20; step++) {
      for (let ahead = -4; ahead < 24; ahead++) {
        const event = add16(old, ahead);
        let passed = false;
        for (let i = 0; i < step; i++) passed ||= add16(old, i) === event;
        assertEquals(needEvent16(event, add16(old, step), old), passed);
      }
    }
  }
});

Deno.test("needEvent32 agrees with RING_PUSH_REQUESTS_AND_CHECK_NOTIFY and RING_PUSH_RESPONSES_AND_CHECK_NOTIFY", () => {
  for (const [side, event] of [["REQUESTS", "req_event"], ["RESPONSES", "rsp_event"]] as const) {
    for (const { fields } of vectors("xen_behaviour.json", `RING_PUSH_${side}_AND_CHECK_NOTIFY`)) {
      const notify = needEvent32(Number(fields[event]), Number(fields.new_prod), Number(fields.old_prod));
      assertEquals(notify, fields.notify === 1, JSON.stringify(fields));
    }
  }
});

Deno.test("distance32 gives what XEN_RING_NR_UNCONSUMED_REQUESTS and RING_FREE_REQUESTS count", () => {
  for (const { fields } of vectors("xen_behaviour.json", "RING_FREE_REQUESTS")) {
    const used = distance32(Number(fields.req_prod_pvt), Number(fields.rsp_cons));
    assertEquals((256 - used) >>> 0, fields.free, JSON.stringify(fields));
  }
  for (const { fields } of vectors("xen_behaviour.json", "XEN_RING_NR_UNCONSUMED_REQUESTS")) {
    const waiting = distance32(Number(fields.req_prod), Number(fields.req_cons));
    const room = (256 - distance32(Number(fields.req_cons), Number(fields.rsp_prod_pvt))) >>> 0;
    assertEquals(Math.min(waiting, room), fields.result, JSON.stringify(fields));
  }
});

Deno.test("add16, add32, distance16 and distance32 wrap", () => {
  assertEquals(add16(0xffff, 1), 0);
  assertEquals(add16(0, -1), 0xffff);
  assertEquals(add32(0xffffffff, 2), 1);
  assertEquals(add32(0, -1), 0xffffffff);
  assertEquals(distance16(1, 0xffff), 2);
  assertEquals(distance16(0xffff, 1), 0xfffe);
  assertEquals(distance32(1, 0xffffffff), 2);
  assertEquals(distance32(0, 1), 0xffffffff);
});

Deno.test("isPowerOfTwo is true for the 32 powers and nothing between or beside them", () => {
  for (let bit = 0; bit < 32; bit++) {
    assertEquals(isPowerOfTwo(2 ** bit), true);
    if (bit > 1) assertEquals([isPowerOfTwo(2 ** bit + 1), isPowerOfTwo(2 ** bit - 1)], [false, false]);
  }
  for (const value of [0, -1, -2, 0.5, 1.5, 2 ** 32, 2 ** 40, NaN, Infinity]) {
    assertEquals(isPowerOfTwo(value), false);
  }
});

Deno.test("alignUp goes to the next multiple, also above 2^32 and for sizes that are no power of two", () => {
  assertEquals([0, 1, 63, 64, 65].map((value) => alignUp(value, 64)), [0, 64, 64, 64, 128]);
  assertEquals(alignUp(2 ** 40 + 1, 4096), 2 ** 40 + 4096);
  assertEquals(alignUp(7, 6), 12);
});
