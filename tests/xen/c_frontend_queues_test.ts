import { assert, assertEquals } from "@std/assert";
import type { Wire } from "../../core/plugin.ts";
import { needPeers } from "../peers.ts";
import { Random } from "../random.ts";
import { buildPeer, Peer } from "./c_peer.ts";
import { attachBackend, grantsIn } from "./file_backend.ts";
import { MappedFile } from "./mapped_file.ts";

const PACKETS = 3000;
const QUEUES = 2;
const PAGES = 2048;
const SEED = 0x2029;
/** Pages of the file. Those of the second queue follow those of the first. */
const PLACE = { table: 1, rings: 16, ctrl: 20, lists: 21, status: 24, packets: 32 };
const ENTRIES = { v1: 4096, v2: 2048 };
/** References of the rings, the packet pages, the control ring, the list pages. */
const REF = { rings: 8, packets: 12, ctrl: 12 + 512 * QUEUES, lists: 13 + 512 * QUEUES };

/** What the process for one queue is told. */
function argumentsFor(queue: number, file: MappedFile, isStatic: boolean, table: "v1" | "v2") {
  const pages = PLACE.packets + 512 * queue;
  const refs = REF.packets + 512 * queue;
  return [
    ...["front", file.path, SEED, table === "v1" ? 0 : PLACE.status, PLACE.table],
    ...[PLACE.rings + 2 * queue, PLACE.rings + 2 * queue + 1, PLACE.ctrl],
    ...[pages, pages + 256, PLACE.lists + queue, refs, refs + 256, REF.lists + queue],
    ...[Number(isStatic), queue, QUEUES],
  ];
}

async function run(program: string, isStatic: boolean, table: "v1" | "v2"): Promise<void> {
  const file = new MappedFile(PAGES * 4096);
  try {
    const peers: Peer[] = [];
    for (let queue = 0; queue < QUEUES; queue++) {
      const peer = new Peer(program, argumentsFor(queue, file, isStatic, table));
      assertEquals(await peer.read(), ["ready"]);
      peers.push(peer);
    }
    const place = { table, page: PLACE.table, statusPage: PLACE.status, entries: ENTRIES[table] };
    const device = attachBackend(grantsIn(file.memory, place), {
      queues: peers.map((_, queue) => ({
        txRing: REF.rings + 2 * queue,
        rxRing: REF.rings + 2 * queue + 1,
        txPort: 2 * queue + 1,
        rxPort: 2 * queue + 2,
      })),
      control: { ring: REF.ctrl, port: 2 * QUEUES + 1 },
    });
    for (const peer of peers) {
      await peer.write("go");
      let answer = await peer.read();
      for (; answer[0] === "control"; answer = await peer.read()) {
        device.connect();
        await peer.write("done");
      }
      assertEquals(answer, ["256", "1"]);
    }

    const wire: Wire = {
      transmit: (frame) => device.deliver(frame) >= 0,
      drop: (_queue, reason) => assert(false, reason),
    };
    const random = new Random(3);
    const sent = [0, 0];
    const received = [0, 0];
    while (received.some((count) => count < PACKETS)) {
      for (const [queue, peer] of peers.entries()) {
        const [count] = await peer.ask(`s ${Math.min(random.between(0, 40), PACKETS - sent[queue]!)}`);
        sent[queue]! += count!;
      }
      device.service(wire);
      for (const [queue, peer] of peers.entries()) received[queue]! += (await peer.ask("r"))[0]!;
    }
    assertEquals(received, sent);
    assertEquals(device.counters()["static.hits"]! > QUEUES * PACKETS, isStatic);
    for (const peer of peers) await peer.close();
  } finally {
    file.close();
  }
}

Deno.test({
  ...needPeers("gcc", "/usr/include/xen/io/netif.h"),
  name: "XenDevice steers packets to the queues of a frontend in C, which finds the hashes as its own",
  async fn(t) {
    const program = await buildPeer();
    for (const table of ["v1", "v2"] as const) {
      for (const isStatic of [false, true]) {
        const name = `${isStatic ? "static" : "plain"} grants, ${table}`;
        await t.step(name, () => run(program, isStatic, table));
      }
    }
    await Deno.remove(program);
  },
});
