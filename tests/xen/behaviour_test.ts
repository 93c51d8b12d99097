import { assert, assertEquals } from "@std/assert";
import type { Struct } from "../../core/layout.ts";
import * as xen from "../../plugins/xen/mod.ts";
import { XEN_NETIF_CTRL_TYPE } from "../../plugins/xen/mod.ts";
import { RawFrontend } from "./raw_frontend.ts";
import { vectors } from "../vectors.ts";

const FILE = "xen_behaviour.json";
const HEADER = 64;
const CTRL_PAGE = 4;
const REQ_EVENT = 4;
const RSP_EVENT = 12;

/** What a response overlays, and the fields of the vectors that have another name there. */
const OVERLAYS: readonly (readonly [string, Struct, Struct])[] = [
  ["netif_tx_sring_entry.rsp_over_req", xen.netif_tx_request, xen.netif_tx_response],
  ["netif_rx_sring_entry.rsp_over_req", xen.netif_rx_request, xen.netif_rx_response],
  ["xen_netif_ctrl_sring_entry.rsp_over_req", xen.xen_netif_ctrl_request, xen.xen_netif_ctrl_response],
];

function withPrefix(fields: Readonly<Record<string, unknown>>, prefix: string): Record<string, number> {
  const named = Object.entries(fields).filter(([name]) => name.startsWith(prefix));
  // The vectors number the parameters of a control message.
  return Object.fromEntries(
    named.map((
      [name, value],
    ) => [name.slice(prefix.length).replace(/^data(\d)$/, "data[$1]"), Number(value)]),
  );
}

for (const [name, request, response] of OVERLAYS) {
  Deno.test(`a response lies over its request as the C macros leave it: ${name}`, () => {
    const found = vectors(FILE, name);
    assert(found.length > 0);
    for (const { fields, bytes } of found) {
      const asked = withPrefix(fields, "req_");
      const slot = request.encode(asked);
      const kept = request === xen.netif_tx_request
        ? {}
        : request === xen.netif_rx_request
        ? { id: asked["id"]! }
        : { id: asked["id"]!, type: asked["type"]! };
      slot.set(response.encode({ ...kept, ...withPrefix(fields, "rsp_") }));
      assertEquals(slot, bytes);
    }
  });
}

Deno.test("extra info leaves the last four bytes of a transmit slot alone", () => {
  const found = vectors(FILE, "netif_tx_sring_entry.extra_over_0xee");
  assert(found.length > 0);
  for (const { fields, bytes } of found) {
    const slot = new Uint8Array(12).fill(0xee);
    slot.set(xen.netif_extra_info_gso.encode(withPrefix(fields, "")));
    assertEquals(slot, bytes);
  }
});

Deno.test("lists of static grants have the bytes of the C structure", () => {
  const lists: Readonly<Record<string, readonly (readonly number[])[]>> = {
    DEL: [[100, 0, 0xffff], [101, 1, 0xffff], [102, 0, 0xffff]],
    ADD: [[100, 0, 0], [101, 1, 0]],
  };
  const found = vectors(FILE, "xen_netif_gref_list");
  assertEquals(found.length, Object.keys(lists).length);
  for (const { fields, bytes } of found) {
    const list = lists[String(fields.step).slice(0, 3)]!;
    const encoded = list.flatMap(([ref, flags, status]) =>
      Array.from(xen.xen_netif_gref.encode({ ref: ref!, flags: flags!, status: status! }))
    );
    assertEquals(Uint8Array.from(encoded), bytes);
  }
});

Deno.test("a receive ring page with posted buffers is what the C macros wrote", () => {
  const found = vectors(FILE, "netif_rx_sring.page_prefix");
  assertEquals(found.length, 1);
  const { fields, bytes } = found[0]!;
  const values = xen.netif_rx_sring.decode(bytes);
  for (const name of ["req_prod", "req_event", "rsp_prod", "rsp_event"]) {
    assertEquals(values[name], Number(fields[name]), name);
  }
  for (let i = 0; i < 4; i++) {
    const slot = xen.netif_rx_request.encode({ id: i, pad: 0, gref: 200 + i });
    assertEquals(bytes.slice(HEADER + 8 * i, HEADER + 8 * (i + 1)), slot);
  }
});

Deno.test("a control ring page goes through the states that the C macros wrote", () => {
  const raw = new RawFrontend({ staticCapacity: 1024 });
  raw.connect();
  const page = raw.page(CTRL_PAGE);
  // Ids are the frontend's choice: the vectors have those of the C program.
  const state = (step: number) => {
    const { bytes } = vectors(FILE, "xen_netif_ctrl_sring.page_prefix")
      .find(({ fields }) => String(fields.step).startsWith(`${step} `))!;
    const own = bytes.slice();
    for (const slot of [HEADER, HEADER + 16]) own.set(page.subarray(slot, slot + 2), slot);
    return own;
  };
  assertEquals(vectors(FILE, "xen_netif_ctrl_sring.page_prefix").length, 3);
  const [, capacity] = raw.ask(XEN_NETIF_CTRL_TYPE.GET_GREF_MAPPING_SIZE, 0);
  assertEquals(capacity, 1024);
  // The answer of step 2 stands in the first slot of step 3.
  assertEquals(page.slice(HEADER, HEADER + 16), state(3).slice(HEADER, HEADER + 16));
  page[RSP_EVENT] = 2;
  raw.ask(XEN_NETIF_CTRL_TYPE.ADD_GREF_MAPPING, 0, 300, 512);
  const wanted = state(4);
  // The vector was taken before the backend's final check, which asks to hear of the next request.
  wanted[REQ_EVENT] = 3;
  assertEquals(page.slice(0, wanted.length), wanted);
});

Deno.test("ring headers hold what the C macros wrote", () => {
  const found = vectors(FILE, "sring_header");
  assert(found.length > 1);
  for (const { fields, bytes } of found) {
    const values = xen.sring_header.decode(bytes);
    for (const name of ["req_prod", "req_event", "rsp_prod", "rsp_event"]) {
      assertEquals(values[name], Number(fields[name]), name);
    }
    assertEquals(xen.sring_header.encode(values), bytes);
  }
});
