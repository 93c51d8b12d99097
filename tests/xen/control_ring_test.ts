import { assert, assertEquals } from "@std/assert";
import { NETRXF, XEN_NETIF_CTRL_STATUS, XEN_NETIF_CTRL_TYPE } from "../../plugins/xen/mod.ts";
import { netif_extra_info_hash, netif_tx_sring } from "../../plugins/xen/mod.ts";
import { FRONTEND_PATH, sring_header } from "../../plugins/xen/mod.ts";
import { RawFrontend, type RawSettings } from "./raw_frontend.ts";
import { vectors } from "../vectors.ts";

const TYPE = XEN_NETIF_CTRL_TYPE;
const { SUCCESS, NOT_SUPPORTED, INVALID_PARAMETER: INVALID, BUFFER_OVERFLOW } = XEN_NETIF_CTRL_STATUS;
const PAGE = 10;

/** Two queues over the same ring pages' kind: only the control ring and receive are looked at. */
function start(settings: RawSettings = {}): RawFrontend {
  const raw = new RawFrontend(settings);
  raw.connect();
  raw.grant(PAGE, PAGE, 5);
  return raw;
}

function toeplitz(raw: RawFrontend, key: Uint8Array, types: number): void {
  raw.page(PAGE).set(key);
  assertEquals(raw.ask(TYPE.SET_HASH_ALGORITHM, 1), [SUCCESS, 0]);
  assertEquals(raw.ask(TYPE.SET_HASH_KEY, PAGE, key.length), [SUCCESS, 0]);
  assertEquals(raw.ask(TYPE.SET_HASH_FLAGS, types), [SUCCESS, 0]);
}

/** An Ethernet frame with the tuple of a Toeplitz vector: 8, 12, 32 or 36 bytes. */
function frameOf(tuple: Uint8Array): Uint8Array {
  const v6 = tuple.length >= 32;
  const addresses = v6 ? 32 : 8;
  const header = v6 ? 40 : 20;
  const tcp = tuple.length > addresses;
  const frame = new Uint8Array(14 + header + 20);
  frame.set(v6 ? [0x86, 0xdd, 0x60] : [0x08, 0x00, 0x45], 12);
  if (v6) frame.set([0, 20, tcp ? 6 : 59, 64], 18);
  else {
    frame.set([0, 40], 16);
    frame.set([64, tcp ? 6 : 253], 22);
  }
  frame.set(tuple.subarray(0, addresses), 14 + (v6 ? 8 : 12));
  if (tcp) {
    frame.set(tuple.subarray(addresses), 14 + header);
    frame[14 + header + 12] = 0x50;
  }
  return frame;
}

/** Sends a frame from page 20 around into posted pages 40 and on, and returns the receive slots. */
function loop(raw: RawFrontend, frame: Uint8Array): void {
  raw.grant(20, 20);
  raw.page(20).set(frame);
  raw.tx({ gref: 20, id: 0, size: frame.length });
  raw.publish("tx");
  for (let i = 0; i < 8; i++) raw.grant(40 + i, 40 + i);
  raw.post(40, 8);
  raw.device.service({
    transmit: (taken) => raw.device.deliver(taken) >= 0,
    drop: () => assert(false, "dropped"),
  });
}

Deno.test("an unknown control message is NOT_SUPPORTED, with the request's id and type and no data", () => {
  const raw = start();
  for (const type of [0, 11, 0xffff]) assertEquals(raw.ask(type, 1, 2, 3), [NOT_SUPPORTED, 0]);
});

Deno.test("hash flags need an algorithm", () => {
  const raw = start();
  assertEquals(raw.ask(TYPE.GET_HASH_FLAGS), [NOT_SUPPORTED, 0]);
  assertEquals(raw.ask(TYPE.SET_HASH_FLAGS, 1), [INVALID, 0]);
  assertEquals(raw.ask(TYPE.SET_HASH_ALGORITHM, 2), [INVALID, 0]);
  assertEquals(raw.ask(TYPE.SET_HASH_ALGORITHM, 1), [SUCCESS, 0]);
  assertEquals(raw.ask(TYPE.GET_HASH_FLAGS), [SUCCESS, 15]);
  assertEquals(raw.ask(TYPE.SET_HASH_FLAGS, 16), [INVALID, 0]);
  assertEquals(raw.ask(TYPE.SET_HASH_FLAGS, 15), [SUCCESS, 0]);
});

Deno.test("a key longer than 40 bytes is BUFFER_OVERFLOW, and INVALID_PARAMETER as Linux has it", () => {
  for (const linux of [false, true]) {
    const raw = start({ linux });
    assertEquals(raw.ask(TYPE.SET_HASH_KEY, PAGE, 41), [linux ? INVALID : BUFFER_OVERFLOW, 0]);
    assertEquals(raw.ask(TYPE.SET_HASH_KEY, PAGE, 40), [SUCCESS, 0]);
    assertEquals(raw.ask(TYPE.SET_HASH_KEY, 11, 40), [INVALID, 0], "a page that is not granted");
    assertEquals(raw.device.counters()["grant.setup.copy"], 2);
  }
});

Deno.test("the mapping table has 128 entries at most, each the number of a queue", () => {
  const raw = start();
  assertEquals(raw.ask(TYPE.GET_HASH_MAPPING_SIZE), [SUCCESS, 128]);
  assertEquals(raw.ask(TYPE.SET_HASH_MAPPING_SIZE, 129), [INVALID, 0]);
  assertEquals(raw.ask(TYPE.SET_HASH_MAPPING, PAGE, 1, 0), [INVALID, 0], "no table yet");
  assertEquals(raw.ask(TYPE.SET_HASH_MAPPING_SIZE, 4), [SUCCESS, 0]);
  assertEquals(raw.ask(TYPE.SET_HASH_MAPPING, PAGE, 4, 0), [SUCCESS, 0]);
  for (const [entries, first] of [[5, 0], [1, 4], [4, 1], [0xffffffff, 1], [1, 0xffffffff]] as const) {
    const [status] = raw.ask(TYPE.SET_HASH_MAPPING, PAGE, entries, first);
    assert(status === INVALID || status === BUFFER_OVERFLOW, `${entries} from ${first}`);
  }
  raw.page(PAGE).set([1, 0, 0, 0]);
  assertEquals(raw.ask(TYPE.SET_HASH_MAPPING, PAGE, 1, 0), [INVALID, 0], "queue 1 of 1");
});

Deno.test("frames are hashed as the shared Toeplitz vectors say, and the hash goes with them", () => {
  const types: Record<number, number> = { 8: 0, 12: 1, 32: 2, 36: 3 };
  for (const { fields } of vectors("xen_behaviour.json", "toeplitz")) {
    const raw = start();
    const tuple = Uint8Array.fromHex(fields.input as string);
    toeplitz(raw, Uint8Array.fromHex(fields.key as string), 15);
    loop(raw, frameOf(tuple));
    const [data] = raw.responses("rx");
    assertEquals(data!.flags, NETRXF.extra_info, fields.name as string);
    const extra = netif_extra_info_hash.decode(raw.page(3), sring_header.size + 8);
    const wanted = {
      type: 4,
      flags: 0,
      hash_type: types[tuple.length]!,
      algorithm: 1,
      value: fields.hash as number,
    };
    assertEquals(extra, wanted, fields.name as string);
  }
});

Deno.test("the richest enabled type counts; a frame without one gets no hash", () => {
  const tuple = Uint8Array.fromHex("420995bba18e64500aea06e6");
  const key = new Uint8Array(40).fill(0x5a);
  for (const [types, wanted] of [[15, 1], [1, 0], [12, undefined]] as const) {
    const raw = start();
    toeplitz(raw, key, types);
    loop(raw, frameOf(tuple));
    const flags = raw.responses("rx")[0]!.flags;
    assertEquals(flags, wanted === undefined ? 0 : NETRXF.extra_info);
    if (wanted !== undefined) {
      assertEquals(netif_extra_info_hash.decode(raw.page(3), sring_header.size + 8).hash_type, wanted);
    }
  }
});

/** Both queues share their ring pages: which one answers is all that can be told. */
function startTwoQueues(): RawFrontend {
  const raw = new RawFrontend({ queues: "2" });
  const keys = { "tx-ring-ref": 1, "rx-ring-ref": 2, "event-channel-tx": 1, "event-channel-rx": 2 };
  for (const queue of [0, 1]) {
    for (const [key, value] of Object.entries(keys)) {
      raw.store.write(`${FRONTEND_PATH}/queue-${queue}/${key}`, value);
    }
  }
  raw.connect();
  raw.grant(PAGE, PAGE);
  return raw;
}

Deno.test("a part of the mapping is written without the rest", () => {
  const raw = startTwoQueues();
  const write = (entries: readonly number[], first: number) => {
    raw.page(PAGE).set(new Uint8Array(Uint32Array.from(entries).buffer));
    assertEquals(raw.ask(TYPE.SET_HASH_MAPPING, PAGE, entries.length, first), [SUCCESS, 0]);
    return (raw.device.inspect().hash as { mapping: number[] }).mapping;
  };
  raw.ask(TYPE.SET_HASH_MAPPING_SIZE, 5);
  assertEquals(write([1, 1, 0, 1, 1], 0), [1, 1, 0, 1, 1]);
  assertEquals(write([0, 0], 2), [1, 1, 0, 0, 1]);
  assertEquals(write([], 5), [1, 1, 0, 0, 1]);
});

Deno.test("the mapping steers frames to queues by hash modulo its size", () => {
  const raw = startTwoQueues();
  const vector = vectors("xen_behaviour.json", "toeplitz").find(({ fields }) => fields.hash === 1372373368)!;
  toeplitz(raw, Uint8Array.fromHex(vector.fields.key as string), 15);
  raw.ask(TYPE.SET_HASH_MAPPING_SIZE, 5);
  for (const queue of [0, 1]) {
    const table = new Uint32Array(5);
    table[1372373368 % 5] = queue;
    raw.page(PAGE).set(new Uint8Array(table.buffer));
    assertEquals(raw.ask(TYPE.SET_HASH_MAPPING, PAGE, 5, 0), [SUCCESS, 0]);
    // Both queues share their ring pages here, so only which one answers is looked at.
    raw.grant(40, 40);
    raw.grant(41, 41);
    raw.post(40, 2);
    const frame = frameOf(Uint8Array.fromHex(vector.fields.input as string));
    let into = -2;
    raw.grant(20, 20);
    raw.page(20).set(frame);
    raw.tx({ gref: 20, id: 0, size: frame.length });
    raw.publish("tx");
    raw.device.service({
      transmit: (taken) => {
        into = Math.max(into, raw.device.deliver(taken));
        return true;
      },
      drop: () => {},
    });
    assertEquals(into, queue);
  }
});

Deno.test("extra infos are answered by NULL right behind the first slot's response, over stale bytes", () => {
  const raw = start({ policy: "copy" });
  const [sent] = vectors("xen_behaviour.json", "netif_tx_sring.page_prefix").filter(({ fields }) =>
    String(fields.step).startsWith("1 frontend pushed GSO")
  );
  for (const ref of [100, 101, 102]) raw.grant(ref, 50);
  for (let i = 0; i < 4; i++) raw.slot("tx", sent!.bytes.subarray(64 + i * 12, 76 + i * 12));
  raw.publish("tx");
  raw.service();
  assertEquals(raw.frames.map((frame) => frame.length), [5692]);
  const [answered] = vectors("xen_behaviour.json", "netif_tx_sring.page_prefix").filter(({ fields }) =>
    String(fields.step).startsWith("2 backend answered")
  );
  // The first two responses as the C macros wrote them; ours answers the other two in order.
  assertEquals(raw.page(2).slice(64, 88), answered!.bytes.slice(64, 88));
  assertEquals(raw.responses("tx").map(({ id, status }) => [id, status]).slice(2), [[1, 0], [2, 0]]);
});

Deno.test("the ring structures decode the pages that the C macros wrote", () => {
  for (
    const { struct, fields, bytes } of vectors("xen_behaviour.json", "netif_tx_sring.page_prefix")
  ) {
    const values = netif_tx_sring.decode(bytes);
    for (const name of ["req_prod", "req_event", "rsp_prod", "rsp_event"]) {
      assertEquals(values[name], Number(fields[name]), struct);
    }
    assertEquals(netif_tx_sring.encode(values), bytes);
  }
});
