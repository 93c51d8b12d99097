import { assert } from "@std/assert";
import { equals } from "@std/bytes/equals";
import { RingFault } from "../../core/fault.ts";
import type { Wire } from "../../core/plugin.ts";
import type { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import type { Profile } from "../../plugins/virtio/faults.ts";
import type { Feature } from "../../plugins/virtio/features.ts";
import { Random } from "../random.ts";
import { BEHIND, BUFFERS, RawNet } from "./raw_net.ts";
import { INDIRECT, NEXT, type RawRing, WRITE, writeDesc } from "./raw_ring.ts";

const PROFILES: readonly Profile[] = ["strict", "linux", "qemu", "dpdk"];
const OPTIONAL: readonly Feature[] = [
  "EVENT_IDX",
  "INDIRECT_DESC",
  "IN_ORDER",
  "MRG_RXBUF",
  "HASH_REPORT",
  "CTRL_RX",
  "CTRL_MAC_ADDR",
];
/** Room for an indirect table of each descriptor of each ring, 8 entries long; buffers lie behind. */
const TABLES = BUFFERS;
const TABLE_ENTRIES = 8;
const DATA = BUFFERS + 3 * 64 * TABLE_ENTRIES * 16;
const DATA_SIZE = BEHIND - DATA;
const HEADER = 20;

/** What a chain lets the device write: each buffer's address and length. */
type Ranges = (readonly [address: number, length: number])[];

/** A driver that keeps the rules mostly, and knows what it allows. */
class Driver {
  readonly net: RawNet;
  readonly random: Random;
  /** What each head of each ring allows, while the device has it. */
  readonly allowed: Map<number, Ranges>[] = [new Map(), new Map(), new Map()];
  readonly #taken = [0, 0, 0];

  constructor(net: RawNet, random: Random) {
    this.net = net;
    this.random = random;
  }

  get rings(): readonly RawRing[] {
    return [this.net.rx, this.net.tx, this.net.ctrl];
  }

  /** Takes used chains back: they allow nothing any more. With IN_ORDER one element stands for all before it. */
  reclaim(): void {
    this.rings.forEach((ring, q) => {
      const allowed = this.allowed[q]!;
      const count = (ring.usedIdx - this.#taken[q]!) & 0xffff;
      // The oldest chains first: a map keeps the order in which they were made available.
      for (const head of [...allowed.keys()].slice(0, count)) allowed.delete(head);
      this.#taken[q] = ring.usedIdx;
    });
  }

  /** Makes a chain of `descriptors` buffers available in ring `q`, from descriptor `head` on. */
  offer(q: number, head: number, descriptors: number, indirect: boolean): void {
    const { random, net } = this;
    const ring = this.rings[q]!;
    const ranges: Ranges = [];
    const table = TABLES + 16 * TABLE_ENTRIES * (64 * q + head);
    const writableFrom = q === 0 ? 0 : q === 1 ? descriptors : random.below(descriptors + 1);
    for (let i = 0; i < descriptors; i++) {
      const write = i >= writableFrom;
      const len = random.pick([1, 2, 5, 12, 20, 60, 100, 700]) + (i === 0 ? HEADER : 0);
      // Some lie across the border of two mappings.
      const addr = random.chance(0.1) ? BEHIND - random.below(len) : DATA + random.below(DATA_SIZE - len);
      if (!write && random.chance(0.9)) net.space.write(addr, new Uint8Array(Math.min(len, HEADER)));
      const inside = Math.min(len, BEHIND - addr);
      if (write) ranges.push([addr, inside], [BEHIND, len - inside]);
      const at = indirect ? i : (head + i) % ring.size;
      const next = indirect ? i + 1 : (at + 1) % ring.size;
      const desc = { addr, len, flags: (write ? WRITE : 0) | (i + 1 < descriptors ? NEXT : 0), next };
      if (indirect) writeDesc(net.memory.view, net.at(table) + 16 * i, desc);
      else ring.setDesc(at, desc);
    }
    if (indirect) ring.setDesc(head, { addr: table, len: 16 * descriptors, flags: INDIRECT });
    this.allowed[q]!.set(head, ranges);
    ring.offer(head);
  }
}

/** A wire that leads back to the device, for single frames and batches. */
function loop(device: VirtioNetDevice): Wire {
  return {
    transmit: (frame) => device.deliver(frame) >= 0,
    transmitBatch: (frames) => device.deliverBatch(frames, 0),
    drop: () => {},
  };
}

/** What a run has done: what of it was work. */
interface Work {
  readonly frames: number;
  readonly delivered: number;
  readonly looped: number;
  readonly used: number;
}

function fuzz(seed: number): Work {
  const random = new Random(seed);
  const size = random.pick([1, 2, 4, 16, 64]);
  const features = OPTIONAL.filter(() => random.chance(0.5));
  const net = new RawNet({
    size,
    profile: random.pick(PROFILES),
    features,
    snapshot: random.chance(0.2),
    batches: random.chance(0.5),
  });
  const driver = new Driver(net, random);
  const heads = [0, 0, 0];
  let delivered = 0;
  let looped = 0;
  for (let step = 0; step < 30; step++) {
    driver.reclaim();
    for (let q = 0; q < 3; q++) {
      const allowed = driver.allowed[q]!;
      while (random.chance(0.7)) {
        const indirect = features.includes("INDIRECT_DESC") && random.chance(0.5);
        const longest = Math.min(size, indirect ? TABLE_ENTRIES : size - 4 * allowed.size, 4);
        // A quarter of the ring for each chain, so that none shares a descriptor.
        if (longest < 1 || allowed.size >= Math.max(1, size >> 2)) break;
        const descriptors = 1 + random.below(longest);
        driver.offer(q, heads[q]!, descriptors, indirect);
        heads[q] = (heads[q]! + (features.includes("IN_ORDER") ? indirect ? 1 : descriptors : 4)) % size;
        if (allowed.has(heads[q]!)) break;
      }
    }
    const may: Ranges = [
      ...driver.rings.map((ring) => [ring.used, 6 + 8 * size] as const),
      ...driver.allowed.flatMap((allowed) => [...allowed.values()].flat()).map(([address, length]) =>
        [net.at(address), length] as const
      ),
    ];
    const { bytes } = net.memory;
    const before = bytes.slice();
    net.refusing = random.chance(0.2);
    try {
      for (let i = random.below(4); i > 0; i--) {
        if (net.arrive(random.bytes(random.below(900))) >= 0) delivered++;
      }
      const queue = random.below(3);
      if (random.chance(0.5)) {
        net.kick(queue);
      } else {
        net.device.notify(queue);
        looped += net.device.service(loop(net.device));
      }
    } catch (error) {
      assert(error instanceof RingFault, `seed ${seed}: ${(error as Error).stack}`);
    }
    for (const [at, length] of may) before.set(bytes.subarray(at, at + length), at);
    assert(equals(before, bytes), `seed ${seed}: the device wrote where nothing allowed it`);
  }
  return { frames: net.frames.length, delivered, looped, used: net.ctrl.usedIdx };
}

Deno.test("whatever chains there are, the device writes used rings and what writable descriptors point at, no more", () => {
  const sum = { frames: 0, delivered: 0, looped: 0, used: 0 };
  const runs = Number(Deno.env.get("FUZZ_RUNS") ?? 60);
  for (let seed = 1; seed <= runs; seed++) {
    const work = fuzz(seed);
    for (const name of ["frames", "delivered", "looped", "used"] as const) sum[name] += work[name];
  }
  // Most of it is work, not faults.
  assert(Object.values(sum).every((count) => count > runs), JSON.stringify(sum));
});
