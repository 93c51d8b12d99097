import { assert, assertEquals, assertThrows } from "@std/assert";
import { Frame } from "../../core/frame.ts";
import { RingFault } from "../../core/fault.ts";
import { LocalHost } from "../../core/host.ts";
import { OptionError, OptionValues } from "../../core/options.ts";
import { FULL, openLink, OVERSIZE } from "../../core/plugin.ts";
import plugin, {
  BACKEND_PATH,
  eventChannels,
  FRONTEND_PATH,
  readState,
  XenbusState,
  XenStore,
} from "../../plugins/xen/mod.ts";
import { Random } from "../random.ts";
import { openPair } from "./pair.ts";
import { RawFrontend } from "./raw_frontend.ts";

Deno.test("both sides walk to Connected and leave the keys of one queue at the top", () => {
  const { store } = openPair();
  assertEquals(readState(store, FRONTEND_PATH), XenbusState.Connected);
  assertEquals(readState(store, BACKEND_PATH), XenbusState.Connected);
  const keys = (path: string) =>
    store.entries().filter(([key]) => key.startsWith(path)).map(([key]) => key.slice(path.length + 1));
  assertEquals(keys(FRONTEND_PATH), [
    ...[
      "backend",
      "backend-id",
      "ctrl-ring-ref",
      "event-channel-ctrl",
      "event-channel-rx",
      "event-channel-tx",
    ],
    ...["feature-gso-tcpv4", "feature-gso-tcpv6", "feature-rx-notify", "feature-sg", "handle", "mac"],
    ...["request-multicast-control", "request-rx-copy", "rx-ring-ref", "state", "tx-ring-ref"],
  ]);
  assertEquals(store.read(`${BACKEND_PATH}/feature-rx-copy`), "1");
  assertEquals(store.read(`${BACKEND_PATH}/feature-ctrl-ring`), "1");
  assertEquals(store.read(`${BACKEND_PATH}/feature-no-csum-offload`), undefined);
});

Deno.test("with several queues their keys stand under queue-N only", () => {
  const { store } = openPair({ queues: 3, "split-event-channels": "off" });
  assertEquals(store.read(`${FRONTEND_PATH}/multi-queue-num-queues`), "3");
  assertEquals(store.read(`${FRONTEND_PATH}/tx-ring-ref`), undefined);
  for (const queue of [0, 1, 2]) {
    for (const key of ["tx-ring-ref", "rx-ring-ref", "event-channel"]) {
      assert(/^\d+$/.test(store.read(`${FRONTEND_PATH}/queue-${queue}/${key}`)!), key);
    }
    assertEquals(store.read(`${FRONTEND_PATH}/queue-${queue}/event-channel-tx`), undefined);
  }
});

Deno.test("a frontend that needs no control ring has none", () => {
  const { store } = openPair({ "static-grants": "off" });
  assertEquals(store.read(`${FRONTEND_PATH}/ctrl-ring-ref`), undefined);
});

Deno.test("a disconnect leaves no grant in use, so that the frontend can end all of them", () => {
  const pair = openPair({ queues: 2 });
  pair.send(new Uint8Array(5000));
  pair.driver.disconnect();
  pair.device.service(pair.wire);
  assertEquals(readState(pair.store, BACKEND_PATH), XenbusState.Closing);
  assertEquals(pair.grants.mapped, 0);
  for (let ref = 8; ref < pair.driver.grants.entries; ref++) assert(pair.driver.grants.end(ref));
});

for (const first of ["driver", "device"] as const) {
  Deno.test(`both sides end Closed when the ${first} begins to close`, () => {
    const pair = openPair();
    pair.send(new Uint8Array(60));
    if (first === "driver") pair.driver.disconnect();
    else pair.device.close();
    for (let turn = 0; turn < 3; turn++) {
      pair.receive();
      pair.device.service(pair.wire);
    }
    assertEquals(readState(pair.store, FRONTEND_PATH), XenbusState.Closed);
    assertEquals(readState(pair.store, BACKEND_PATH), XenbusState.Closed);
    assertEquals(pair.grants.mapped, 0);
    assertEquals([pair.send(new Uint8Array(60)), pair.receive()], [FULL, []]);
  });
}

Deno.test("releasePool has every static grant unmapped while the interface stays up", () => {
  const pair = openPair({ queues: 2, grants: 100 });
  const before = pair.grants.mapped;
  const release = pair.driver.releasePool();
  let result = release.next();
  for (; !result.done; result = release.next()) pair.device.connect();
  assertEquals(result.value, 200);
  assertEquals(pair.grants.mapped, before - 200);
});

Deno.test("a frontend without scatter-gather gets no frame of more than a page", () => {
  const raw = new RawFrontend();
  raw.store.write(`${FRONTEND_PATH}/feature-sg`, "0");
  raw.connect();
  const frame = new Frame();
  frame.set(new Uint8Array(5000), 0, 4097);
  assertEquals(raw.device.deliver(frame), OVERSIZE);
});

Deno.test("a port that the frontend does not have is a fault, and what was bound before is let go of", () => {
  const pair = openPair();
  pair.store.write(`${FRONTEND_PATH}/state`, XenbusState.Closing);
  pair.device.connect();
  for (const state of [XenbusState.Closed, XenbusState.Initialising]) {
    pair.store.write(`${FRONTEND_PATH}/state`, state);
    pair.device.connect();
  }
  pair.store.write(`${FRONTEND_PATH}/event-channel-ctrl`, 77);
  pair.store.write(`${FRONTEND_PATH}/state`, XenbusState.Connected);
  const fault = assertThrows(() => pair.device.connect(), RingFault);
  assertEquals([fault.code, fault.values], ["xenbus-port", { port: 77 }]);
  pair.store.write(`${FRONTEND_PATH}/state`, XenbusState.Closing);
  pair.device.connect();
  assertEquals(pair.grants.mapped, 0);
});

Deno.test("no frontend gets a frame of more than 65535 bytes, however many pages it has posted", () => {
  const raw = new RawFrontend().connect();
  for (let i = 0; i < 64; i++) raw.grant(20 + i, 20 + i);
  raw.post(20, 64);
  const frame = new Frame();
  frame.set(new Uint8Array(70000), 0, 65536);
  assertEquals(raw.device.deliver(frame), OVERSIZE);
  frame.set(new Uint8Array(70000), 0, 65535);
  assertEquals(raw.device.deliver(frame), 0);
  assertEquals(raw.responses("rx").length, 16);
});

Deno.test("event channels: a send is seen once, sends merge, and a bind makes its own port pending", () => {
  const [front, back] = eventChannels();
  const port = front.allocate();
  front.send(port);
  const local = back.bind(port);
  assert(back.take(local));
  assert(!back.take(local));
  front.send(port);
  front.send(port);
  assert(back.take(local));
  assert(!back.take(local));
  back.send(local);
  assert(front.take(port));
  back.close(local);
  back.send(local);
  assert(!front.take(port));
});

Deno.test("XenStore removes a path with all below it, and nothing else", () => {
  const store = new XenStore();
  for (const path of ["/a", "/a/b", "/ab", "/a/b/c"]) store.write(path, 1);
  const { generation } = store;
  store.remove("/a");
  assertEquals(store.entries(), [["/ab", "1"]]);
  assert(store.generation > generation);
});

for (const split of ["on", "off"]) {
  Deno.test(`no wake-up is lost when both sides work only when they are notified, split-event-channels=${split}`, () => {
    const pair = openPair({ "split-event-channels": split, "static-grants": "off" });
    const random = new Random(5);
    const bytes = new Uint8Array(9000);
    let wanted = 0;
    let received = 0;
    let frontSent = pair.driver.counters()["events.front.sent"]!;
    let backSent = pair.device.counters()["events.back.sent"]!;
    for (let step = 0; step < 2000; step++) {
      for (let i = random.below(30); i > 0; i--) {
        if (pair.driver.transmit(bytes, 0, random.below(9000), 0) >= 0) wanted++;
      }
      pair.driver.flush();
      // Each side runs if, and only if, the other has sent an event since it last ran.
      for (let more = true; more;) {
        more = false;
        const front = pair.driver.counters()["events.front.sent"]!;
        if (front !== frontSent) {
          frontSent = front;
          while (pair.device.service(pair.wire) > 0);
          more = true;
        }
        const back = pair.device.counters()["events.back.sent"]!;
        if (back !== backSent) {
          backSent = back;
          received += pair.receive().length;
          more = true;
        }
      }
      assertEquals(received, wanted, `after step ${step}`);
    }
    assert(wanted > 10_000);
  });
}

Deno.test("more queues and pages than the frontend has memory for are refused by the names of their options", () => {
  const values = new OptionValues(plugin.options, { queues: 4, grants: 100 });
  assertThrows(
    () => openLink(plugin, values, new LocalHost({ dmaSize: 1 << 20 })),
    OptionError,
    "the frontend has 1M of memory, too little for queues=4, grants=100",
  );
});
