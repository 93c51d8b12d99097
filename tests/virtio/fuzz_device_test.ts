import { assert } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { DEVICE_FAULTS, type Profile } from "../../plugins/virtio/faults.ts";
import type { Feature } from "../../plugins/virtio/features.ts";
import { Random } from "../random.ts";
import { BEHIND, BUFFERS, RAM, RAM_SIZE, RawNet, READ_ONLY, SMALL, WRITE_ONLY } from "./raw_net.ts";
import { type Desc, type RawRing, writeDesc } from "./raw_ring.ts";

const PROFILES: readonly Profile[] = ["strict", "linux", "qemu", "dpdk"];
const OPTIONAL: readonly Feature[] = [
  "EVENT_IDX",
  "INDIRECT_DESC",
  "IN_ORDER",
  "MRG_RXBUF",
  "HASH_REPORT",
  "CSUM",
];

/** An address that is mostly near something. */
function address(random: Random): number | bigint {
  switch (random.below(12)) {
    case 0:
      return BigInt(random.u32()) << 32n | BigInt(random.u32());
    case 1:
      return 0xffff_ffff_ffff_ffffn - BigInt(random.below(64));
    case 2:
      return READ_ONLY + random.below(SMALL);
    case 3:
      return WRITE_ONLY + random.below(SMALL);
    case 4:
      return BEHIND - random.below(64);
    case 5:
      return RAM + random.below(0x1_8000);
    default:
      return BUFFERS + random.below(RAM_SIZE - 0x2_0000);
  }
}

function desc(random: Random, size: number): Desc {
  return {
    addr: address(random),
    len: random.pick([0, 1, 11, 12, 13, 16, 32, 48, 60, 100, 1514, 2048, 0xffff_ffff, random.u32()]),
    flags: random.chance(0.9) ? random.below(8) : random.below(65536),
    next: random.chance(0.9) ? random.below(size) : random.below(65536),
  };
}

/** Writes garbage into a ring: wholly random bytes, or descriptors that nearly make sense. */
function soil(random: Random, net: RawNet, ring: RawRing): void {
  if (random.chance(0.1)) {
    const from = random.pick([ring.desc, ring.avail, ring.used]);
    net.memory.bytes.set(random.bytes(16 * ring.size), from);
  }
  for (let i = 0; i < ring.size; i++) if (random.chance(0.5)) ring.setDesc(i, desc(random, ring.size));
  for (let i = random.below(4); i > 0; i--) {
    writeDesc(net.memory.view, net.at(BUFFERS + 16 * random.below(64)), desc(random, 8));
  }
  if (random.chance(0.05)) ring.availFlags = random.below(65536);
  if (random.chance(0.3)) ring.usedEvent = random.below(65536);
  if (random.chance(0.05)) ring.availIdx = random.below(65536);
  else {for (let i = random.below(4); i > 0; i--) {
      ring.offer(random.below(random.chance(0.95) ? ring.size : 65536));
    }}
}

function fuzz(seed: number): Set<string> {
  const random = new Random(seed);
  const net = new RawNet({
    size: random.pick([1, 2, 8, 64]),
    profile: random.pick(PROFILES),
    features: OPTIONAL.filter(() => random.chance(0.5)),
    snapshot: random.chance(0.2),
    batches: random.chance(0.5),
  });
  const codes = new Set<string>();
  const rings = [net.rx, net.tx, net.ctrl];
  for (let step = 0; step < 12; step++) {
    for (const ring of rings) soil(random, net, ring);
    net.refusing = random.chance(0.2);
    // The driver goes on writing while the device works.
    net.onFrame = random.chance(0.3) ? () => soil(random, net, random.pick(rings)) : () => {};
    try {
      if (random.chance(0.4)) net.arrive(random.bytes(random.below(3000)));
      if (random.chance(0.2)) net.loop(random.bytes(random.below(3000)));
      net.kick(random.below(3));
    } catch (error) {
      assert(error instanceof RingFault, `seed ${seed}: ${(error as Error).stack}`);
      assert(error.half === "device" && error.code in DEVICE_FAULTS, `seed ${seed}: ${error.message}`);
      codes.add(error.code);
    }
    assert(net.guarded, `seed ${seed}: wrote outside its memory`);
  }
  // Bytes from outside the mapped regions would show as a run of guards.
  for (const frame of net.frames) {
    assert(!frame.toHex().includes("a5".repeat(16)), `seed ${seed}: showed what is not mapped`);
  }
  return codes;
}

Deno.test("random garbage in all rings: only documented faults, nothing from outside, always an end", () => {
  const codes = new Set<string>();
  const runs = Number(Deno.env.get("FUZZ_RUNS") ?? 4000);
  for (let seed = 1; seed <= runs; seed++) {
    for (const code of fuzz(seed)) codes.add(code);
  }
  // The garbage is varied enough to find its way to most rules that a running ring has.
  assert(codes.size >= 15, [...codes].join(" "));
});
