import { assert, assertEquals } from "@std/assert";
import { needPeers } from "../peers.ts";
import { Random } from "../random.ts";
import { buildPeer, PacketSource, Peer, sendAsBatch } from "./c_peer.ts";
import { FileFrontend } from "./file_frontend.ts";
import { MappedFile } from "./mapped_file.ts";
import { openPair, type RingName } from "./pair.ts";

const PACKETS = 20_000;
const SIZE = 16 * 1024 * 1024;
const SEED = 0x2027;

interface Sent {
  readonly length: number;
  readonly offset: number;
}

/** Checks received frames against those sent. */
class Checker {
  received = 0;
  #position = 0;
  readonly #source: PacketSource;
  readonly #sent: readonly Sent[];

  constructor(source: PacketSource, sent: readonly Sent[]) {
    this.#source = source;
    this.#sent = sent;
  }

  piece(_queue: number, bytes: Uint8Array, offset: number, length: number, more: boolean): void {
    const wanted = this.#sent[this.received]!;
    const matches = this.#source.matches(bytes, offset, length, wanted.offset + this.#position);
    assert(matches, `bytes of packet ${this.received}`);
    this.#position += length;
    if (more) return;
    assertEquals(this.#position, wanted.length);
    this.#position = 0;
    this.received++;
  }
}

async function lockstep(program: string, isStatic: boolean, table: "v1" | "v2"): Promise<void> {
  // The C backend copies whole packets and answers in order, as ours does with this policy.
  const options = { "static-grants": isStatic, "grant-policy": "copy", "grant-table": table };
  const pair = openPair(options);
  const rings: RingName[] = isStatic ? ["tx", "rx", "ctrl"] : ["tx", "rx"];
  const file = new MappedFile(SIZE);
  try {
    const front = new FileFrontend(file, SIZE, options, { maxQueues: 1, controlRing: isStatic });
    const { driver } = front;
    const same = (step: string) => {
      for (const name of rings) {
        const place = front.page(`${name}-ring-ref`) * 4096;
        const theirs = file.memory.bytes.subarray(place, place + 4096);
        assertEquals(theirs, pair.ringBytes(name), `${name} ring after ${step}`);
      }
    };
    const peer = new Peer(program, ["back", file.path, SEED, ...front.places("", true)]);
    await front.connect(() => peer.ask("w"));
    same("bring-up");

    const source = new PacketSource(SEED);
    const random = new Random(8);
    const sent: Sent[] = [];
    const [ours, own] = [new Checker(source, sent), new Checker(source, sent)];
    let waiting = false;
    let hits = 0;
    for (let step = 0; ours.received < PACKETS; step++) {
      for (let batch = Math.min(random.between(0, 40), PACKETS - sent.length); batch > 0; batch--) {
        if (!waiting) source.advance();
        waiting = !sendAsBatch(driver, source);
        assertEquals(pair.driver.transmit(source.block, source.offset, source.length, 0) < 0, waiting);
        if (waiting) break;
        sent.push({ length: source.length, offset: source.offset });
      }
      driver.flush();
      pair.driver.flush();
      same(`send ${step}`);
      const [, notified, found] = await peer.ask("w");
      hits = found!;
      const before = pair.device.counters()["events.back.sent"]!;
      pair.device.service(pair.wire);
      assertEquals(pair.device.counters()["events.back.sent"]! - before, notified, `step ${step}`);
      same(`service ${step}`);
      assertEquals(driver.receive(ours), pair.driver.receive(own));
      assertEquals(ours.received, own.received);
      same(`receive ${step}`);
    }
    assertEquals(driver.counters(), pair.driver.counters());
    assertEquals(front.events, driver.counters()["events.front.sent"]);
    assertEquals(hits > PACKETS, isStatic);
    if (isStatic) {
      const release = driver.releasePool();
      let result = release.next();
      for (; !result.done; result = release.next()) await peer.ask("w");
      assertEquals(result.value, 512);
    }
    await peer.close();
  } finally {
    file.close();
  }
}

Deno.test({
  ...needPeers("gcc", "/usr/include/xen/io/netif.h"),
  name: "XenDriver works with a backend in C, whose ring pages equal our own backend's at every step",
  async fn(t) {
    const program = await buildPeer();
    for (const table of ["v1", "v2"] as const) {
      for (const isStatic of [false, true]) {
        const name = `${isStatic ? "static" : "plain"} grants, ${table}`;
        await t.step(name, () => lockstep(program, isStatic, table));
      }
    }
    await Deno.remove(program);
  },
});
