import { assert, assertEquals } from "@std/assert";
import type { Memory } from "../../core/memory.ts";
import type { Wire } from "../../core/plugin.ts";
import { needPeers } from "../peers.ts";
import { Random } from "../random.ts";
import { buildPeer, PacketSource, Peer, sendAsBatch } from "./c_peer.ts";
import { attachBackend, grantsIn } from "./file_backend.ts";
import { MappedFile } from "./mapped_file.ts";
import { openPair, type RingName, ringRef, type TestPair } from "./pair.ts";

const PACKETS = 20_000;
const PAGES = 1024;
const SEED = 0x2026;
/** Pages of the file: grant table (8 pages), rings, list, status words of a version 2 table, packets. */
const PLACE = { table: 1, tx: 16, rx: 17, ctrl: 18, list: 19, status: 20, txPages: 32, rxPages: 288 };
/** References in the grant table. */
const ENTRIES = { v1: 4096, v2: 2048 };

/** What a run is about. */
interface Kind {
  readonly isStatic: boolean;
  readonly table: "v1" | "v2";
}

/** Our backend over the C program's memory. */
function attachDevice(memory: Memory, pair: TestPair, { isStatic, table }: Kind) {
  const grants = grantsIn(memory, {
    table,
    page: PLACE.table,
    statusPage: PLACE.status,
    entries: ENTRIES[table],
  });
  const device = attachBackend(grants, {
    queues: [{ txRing: 8, rxRing: 9, txPort: 1, rxPort: 2 }],
    ...isStatic && { control: { ring: ringRef(pair.store, "ctrl"), port: 3 } },
  });
  return { device, grants };
}

async function lockstep(program: string, kind: Kind): Promise<void> {
  const { isStatic } = kind;
  const pair = openPair({ "static-grants": isStatic, "grant-table": kind.table });
  const file = new MappedFile(PAGES * 4096);
  const rings: RingName[] = isStatic ? ["tx", "rx", "ctrl"] : ["tx", "rx"];
  const same = (step: string) => {
    for (const name of rings) {
      const theirs = file.memory.bytes.subarray(PLACE[name] * 4096, PLACE[name] * 4096 + 4096);
      assertEquals(theirs, pair.ringBytes(name), `${name} ring after ${step}`);
    }
  };
  const txRef = 10;
  const listRef = txRef + 512 + 1;
  const { table, tx, rx, ctrl, list, txPages, rxPages } = PLACE;
  const places = [table, tx, rx, ctrl, txPages, rxPages, list];
  const peer = new Peer(program, [
    "front",
    file.path,
    SEED,
    kind.table === "v1" ? 0 : PLACE.status,
    ...places,
    txRef,
    txRef + 256,
    listRef,
    Number(isStatic),
  ]);
  const source = new PacketSource(SEED);
  const random = new Random(7);
  try {
    assertEquals(await peer.read(), ["ready"]);
    const { device, grants } = attachDevice(file.memory, pair, kind);
    const wire: Wire = {
      transmit: (frame) => device.deliver(frame) >= 0,
      drop: () => assert(false, "dropped"),
    };
    await peer.write("go");
    let answer = await peer.read();
    while (answer[0] === "control") {
      assertEquals(answer[1], "1");
      device.connect();
      await peer.write("done");
      answer = await peer.read();
    }
    assertEquals(answer, ["256", "1"]);
    same("bring-up");

    const queue: { length: number; offset: number }[] = [];
    let sent = 0;
    let received = 0;
    let waiting = false;
    let position = 0;
    const sink = {
      piece(_queue: number, bytes: Uint8Array, offset: number, length: number, more: boolean) {
        const wanted = queue[received]!;
        assert(
          source.matches(bytes, offset, length, wanted.offset + position),
          `bytes of packet ${received}`,
        );
        position += length;
        if (more) return;
        assertEquals(position, wanted.length);
        position = 0;
        received++;
      },
    };
    for (let step = 0; received < PACKETS; step++) {
      const batch = Math.min(random.between(0, 40), PACKETS - sent);
      let count = 0;
      for (; count < batch; count++) {
        if (!waiting) source.advance();
        waiting = !sendAsBatch(pair.driver, source);
        if (waiting) break;
        queue.push({ length: source.length, offset: source.offset });
      }
      const events = pair.driver.counters()["events.front.sent"]!;
      pair.driver.flush();
      sent += count;
      const notified = pair.driver.counters()["events.front.sent"]! - events;
      assertEquals(await peer.ask(`s ${batch}`), [count, notified], `step ${step}`);
      same(`send ${step}`);

      assertEquals(device.service(wire), pair.device.service(pair.wire), `step ${step}`);
      same(`service ${step}`);

      const before = received;
      const posts = pair.driver.counters()["events.front.sent"]!;
      pair.driver.receive(sink);
      const posted = pair.driver.counters()["events.front.sent"]! - posts;
      assertEquals(await peer.ask("r"), [received - before, posted], `step ${step}`);
      same(`receive ${step}`);
    }
    const own = pair.device.counters();
    const theirs = device.counters();
    assertEquals(theirs, own);
    assertEquals(own["static.misses"], 0);
    assertEquals(own["static.hits"]! > PACKETS, isStatic);
    assertEquals(grants.mapped, pair.grants.mapped);
    await peer.close();
  } finally {
    file.close();
  }
}

Deno.test({
  ...needPeers("gcc", "/usr/include/xen/io/netif.h"),
  name: "XenDevice serves a frontend in C, whose ring pages equal our own frontend's at every step",
  async fn(t) {
    const program = await buildPeer();
    for (const table of ["v1", "v2"] as const) {
      for (const isStatic of [false, true]) {
        const name = `${isStatic ? "static" : "plain"} grants, ${table}`;
        await t.step(name, () => lockstep(program, { isStatic, table }));
      }
    }
    await Deno.remove(program);
  },
});
