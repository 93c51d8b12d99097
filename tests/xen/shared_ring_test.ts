import { assertEquals } from "@std/assert";
import { needEvent32 } from "../../core/index.ts";
import { Memory } from "../../core/memory.ts";
import {
  netif_rx_request,
  netif_tx_request,
  sring_header,
  xen_netif_ctrl_request,
} from "../../plugins/xen/layout.ts";
import { BackRing, FrontRing, initSharedRing, ringSize } from "../../plugins/xen/shared_ring.ts";
import { type Vector, vectors } from "../vectors.ts";

const TX = netif_tx_request.size;
const at = (name: string): number => sring_header.offsetOf(name);

function behaviours(name: string): Vector[] {
  return vectors("xen_behaviour.json", name);
}

function page(fields: Vector["fields"]): Memory {
  const memory = new Memory(4096);
  initSharedRing(memory, 0);
  const stores = [["req_prod", "req_prod"], ["rsp_prod", "rsp_prod"], ["req_event", "req_event"], [
    "rsp_event",
    "rsp_event",
  ]];
  stores.push(["req_event_before", "req_event"], ["rsp_event_before", "rsp_event"]);
  for (const [field, place] of stores) {
    if (fields[field!] !== undefined) memory.view.setUint32(at(place!), fields[field!] as number, true);
  }
  return memory;
}

Deno.test("ringSize rounds what fits into a page down to a power of two", () => {
  assertEquals(ringSize(TX), 256);
  assertEquals(ringSize(netif_rx_request.size), 256);
  assertEquals(ringSize(xen_netif_ctrl_request.size), 128);
});

Deno.test("initSharedRing clears the header and sets both event indices to 1", () => {
  const [vector] = behaviours("sring_header");
  const memory = new Memory(4096);
  memory.bytes.fill(0xee);
  initSharedRing(memory, 0);
  assertEquals(memory.bytes.slice(0, sring_header.size), vector!.bytes);
  assertEquals(memory.bytes[sring_header.size], 0xee);
});

Deno.test("FrontRing push publishes and notifies as RING_PUSH_REQUESTS_AND_CHECK_NOTIFY", () => {
  for (const { fields, bytes } of behaviours("RING_PUSH_REQUESTS_AND_CHECK_NOTIFY")) {
    const ring = new FrontRing(page(fields), 0, TX, fields.old_prod as number);
    ring.reqProd = fields.new_prod as number;
    assertEquals(ring.push(), fields.notify === 1, JSON.stringify(fields));
    assertEquals(ring.memory.bytes.slice(0, 8), bytes.slice(0, 8));
  }
});

Deno.test("BackRing push publishes and notifies as RING_PUSH_RESPONSES_AND_CHECK_NOTIFY", () => {
  for (const { fields, bytes } of behaviours("RING_PUSH_RESPONSES_AND_CHECK_NOTIFY")) {
    const ring = new BackRing(page(fields), 0, TX, fields.old_prod as number);
    ring.rspProd = fields.new_prod as number;
    assertEquals(ring.push(), fields.notify === 1, JSON.stringify(fields));
    assertEquals(ring.memory.bytes.slice(8, 16), bytes.slice(8, 16));
  }
});

Deno.test("needEvent32 agrees with the reference's table", () => {
  const rows = [[0, 1, 1, 1], [0, 3, 3, 1], [0, 3, 4, 0], [5, 6, 5, 0], [0xffffffff, 1, 0, 1], [
    100,
    101,
    50,
    0,
  ]];
  for (const [old, now, event, notify] of rows) assertEquals(needEvent32(event!, now!, old!), notify === 1);
});

Deno.test("BackRing finalCheck asks for an event only when it saw no request", () => {
  for (const { fields } of behaviours("RING_FINAL_CHECK_FOR_REQUESTS")) {
    const ring = new BackRing(page(fields), 0, TX, fields.rsp_prod_pvt as number);
    ring.reqCons = fields.req_cons as number;
    assertEquals(ring.finalCheck(), fields.work_to_do === 1);
    assertEquals(ring.memory.view.getUint32(at("req_event"), true), fields.req_event_after);
  }
});

Deno.test("FrontRing finalCheck asks for an event only when it saw no response", () => {
  for (const { fields } of behaviours("RING_FINAL_CHECK_FOR_RESPONSES")) {
    const ring = new FrontRing(page(fields), 0, TX, fields.rsp_cons as number);
    assertEquals(ring.finalCheck(), fields.work_to_do === 1);
    assertEquals(ring.memory.view.getUint32(at("rsp_event"), true), fields.rsp_event_after);
  }
});

Deno.test("BackRing unconsumed and overflows agree with the macros", () => {
  for (const { fields } of behaviours("XEN_RING_NR_UNCONSUMED_REQUESTS")) {
    const ring = new BackRing(page(fields), 0, TX, fields.rsp_prod_pvt as number);
    ring.reqCons = fields.req_cons as number;
    const producer = ring.readProducer();
    assertEquals(ring.unconsumed(producer), fields.result, JSON.stringify(fields));
    assertEquals(ring.overflows(producer), fields.prod_overflow === 1, JSON.stringify(fields));
    assertEquals(ring.consumerOverflows, fields.cons_overflow === 1, JSON.stringify(fields));
  }
});

Deno.test("FrontRing free agrees with RING_FREE_REQUESTS, overflows is at least as strict as the macro", () => {
  for (const { fields } of behaviours("RING_FREE_REQUESTS")) {
    const ring = new FrontRing(page(fields), 0, TX, fields.rsp_cons as number);
    ring.reqProd = fields.req_prod_pvt as number;
    ring.push();
    assertEquals(ring.free, fields.free, JSON.stringify(fields));
    assertEquals(ring.free === 0, fields.full === 1);
    const producer = ring.readProducer();
    assertEquals((producer - ring.rspCons) >>> 0, fields.unconsumed_responses);
    if (fields.rsp_prod_overflow === 1) assertEquals(ring.overflows(producer), true);
  }
});

Deno.test("FrontRing overflows when there are more responses than requests, though they would fit", () => {
  const ring = new FrontRing(page({ rsp_prod: 3 }), 0, TX);
  ring.reqProd = 2;
  ring.push();
  assertEquals(ring.overflows(ring.readProducer()), true);
  ring.reqProd = 3;
  ring.push();
  assertEquals(ring.overflows(ring.readProducer()), false);
});
