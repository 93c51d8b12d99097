import { assertEquals, assertThrows } from "@std/assert";
import { Frame } from "../../core/frame.ts";
import {
  FRONTEND_PATH,
  netif_extra_info_mcast_add,
  NETIF_RSP,
  NETTXF,
  XEN_NETIF_EXTRA_TYPE,
} from "../../plugins/xen/mod.ts";
import { openPair } from "./pair.ts";
import { FEATURES, RawFrontend } from "./raw_frontend.ts";

Deno.test("multicast messages end their packet, and 64 addresses fit", () => {
  const raw = new RawFrontend().connect();
  const change = (type: number, last: number) => {
    raw.tx({ gref: 400, id: last, size: 60, flags: NETTXF.extra_info });
    raw.slot("tx", netif_extra_info_mcast_add.encode({ type, addr: [0x33, 0x33, 0, 0, 0, last] }));
    raw.publish("tx");
    raw.service();
    return raw.statuses().slice(-2);
  };
  for (let i = 0; i < 64; i++) assertEquals(change(2, i), [NETIF_RSP.OKAY, NETIF_RSP.NULL]);
  assertEquals(change(2, 64), [NETIF_RSP.ERROR, NETIF_RSP.NULL]);
  assertEquals(change(2, 3), [NETIF_RSP.OKAY, NETIF_RSP.NULL], "already there");
  assertEquals(change(3, 3), [NETIF_RSP.OKAY, NETIF_RSP.NULL]);
  assertEquals(change(2, 64), [NETIF_RSP.OKAY, NETIF_RSP.NULL]);
  assertEquals([raw.frames, raw.drops, raw.device.multicast.size], [[], [], 64]);
});

Deno.test("multicast frames are kept away by the list only while the frontend asks for it", () => {
  const raw = new RawFrontend().connect();
  const added = [0x33, 0x33, 0, 0, 0, 1];
  const ask = (value: number) => {
    raw.store.write(`${FRONTEND_PATH}/request-multicast-control`, value);
    raw.device.connect();
  };
  raw.tx({ gref: 400, id: 1, size: 60, flags: NETTXF.extra_info });
  raw.slot("tx", netif_extra_info_mcast_add.encode({ type: XEN_NETIF_EXTRA_TYPE.MCAST_ADD, addr: added }));
  raw.publish("tx");
  raw.service();
  for (let ref = 100; ref < 120; ref++) raw.grant(ref, ref);
  raw.post(100, 20);

  /** Delivers a frame in pieces of the given lengths: whether the frontend got it. */
  const deliver = (destination: readonly number[], ...lengths: number[]) => {
    const bytes = new Uint8Array(60);
    bytes.set(destination);
    const frame = new Frame();
    let offset = 0;
    for (const length of lengths) {
      frame.push(bytes, offset, length);
      offset += length;
    }
    const before = raw.word("rx", "rsp_prod");
    assertEquals(raw.device.deliver(frame), 0);
    return raw.word("rx", "rsp_prod") - before === 1;
  };
  const other = [0x33, 0x33, 0, 0, 0, 2];
  const broadcast = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
  const unicast = [0x32, 0x33, 0, 0, 0, 2];
  const wanted: [number, boolean][] = [[0, true], [1, false], [0, true]];
  for (const [value, othersPass] of wanted) {
    ask(value);
    assertEquals(deliver(added, 60), true);
    assertEquals(deliver(added, 2, 1, 57), true, "in pieces");
    assertEquals(deliver(other, 60), othersPass);
    assertEquals(deliver(other, 5, 55), othersPass, "in pieces");
    assertEquals([deliver(broadcast, 60), deliver(unicast, 60), deliver(other, 5)], [true, true, true]);
  }
  assertEquals(raw.device.counters()["drops.multicast"], 2);
});

Deno.test("the multicast list is applied from the start if the frontend asked before it connected", () => {
  for (const offered of [true, false]) {
    const raw = new RawFrontend({ features: { ...FEATURES, multicastControl: offered } });
    raw.store.write(`${FRONTEND_PATH}/request-multicast-control`, 1);
    raw.connect();
    raw.grant(100, 100);
    raw.post(100, 1);
    const frame = new Frame();
    frame.set(new Uint8Array(60).fill(0x33), 0, 60);
    assertEquals(raw.device.deliver(frame), 0);
    assertEquals(raw.word("rx", "rsp_prod"), offered ? 0 : 1, `offered: ${offered}`);
  }
});

Deno.test("XenDriver has multicast frames kept away, lets addresses in and out, and loses no other frame", () => {
  const pair = openPair();
  const added = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
  const change = (add: boolean, address = added) => {
    assertEquals(pair.driver.changeMulticast(address, add), true);
    pair.driver.flush();
    pair.device.service(pair.wire);
    pair.receive();
  };
  /** Which of two multicast frames and one other come back. */
  const passing = () => {
    for (const last of [1, 2, 3]) {
      const frame = new Uint8Array(60);
      frame.set([last === 3 ? 0x32 : 0x33, 0x33, 0, 0, 0, last]);
      assertEquals(pair.send(frame), 0);
    }
    pair.device.service(pair.wire);
    return pair.receive().map((frame) => frame[5]);
  };
  change(true);
  assertEquals(passing(), [1, 2, 3]);
  assertEquals(pair.driver.filterMulticast(true), true);
  pair.device.connect();
  assertEquals(passing(), [1, 3]);
  change(false);
  assertEquals(passing(), [3]);
  assertEquals(pair.driver.filterMulticast(false), true);
  pair.device.connect();
  assertEquals(passing(), [1, 2, 3]);

  for (let i = 0; i < 65; i++) change(true, Uint8Array.of(1, 0, 0, 0, 0, i));
  assertEquals(pair.device.multicast.size, 64);
  const { "tx.errors": errors, "tx.extras": extras, "tx.frames": frames } = pair.driver.counters();
  assertEquals([errors, extras, frames], [1, 67, 12]);
  assertEquals(pair.device.counters()["drops.multicast"], 3);
  assertEquals(passing(), [1, 2, 3]);
  assertThrows(() => pair.driver.changeMulticast(Uint8Array.of(2, 0, 0, 0, 0, 0), true), RangeError);
  assertThrows(() => pair.driver.changeMulticast(Uint8Array.of(1, 0), true), RangeError);
});
