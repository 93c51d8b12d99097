/**
 * Random calls and random rings: whatever comes, there is an answer.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import { ERRNO, errnoName, VHOST } from "../../plugins/vdpa/ioctls.ts";
import { VDPA_FAULTS } from "../../plugins/vdpa/faults.ts";
import { vhost_msg_v2 } from "../../plugins/vdpa/layout.ts";
import { MODELS } from "../../plugins/vdpa/models.ts";
import { RingPair } from "../../core/ring_pair.ts";
import vdpa from "../../plugins/vdpa/mod.ts";
import type { Hypervisor } from "../../plugins/vdpa/hypervisor.ts";
import { Random } from "../random.ts";
import { Face, MEMORY } from "./face.ts";
import { Bench, SIZE } from "./hypervisor_bench.ts";

const kinds = Object.keys(MODELS) as (keyof typeof MODELS)[];
const faults = new Set(VDPA_FAULTS.map(({ half, code }) => `${half} ${code}`));

function small(random: Random): number {
  return random.chance(0.8) ? random.below(5) : random.u32();
}

/** A message or ioctl that is sometimes right. */
function call(random: Random, face: Face): number {
  if (random.chance(0.4)) {
    const message = vhost_msg_v2.encode({
      type: random.chance(0.9) ? 2 : random.below(4),
      asid: small(random),
      "iotlb.iova": random.chance(0.9)
        ? 0x1000 * random.below(16)
        : 2n ** 64n - BigInt(random.between(1, 0x3000)),
      "iotlb.size": 0x1000 * random.below(4) + (random.chance(0.1) ? random.below(0x1000) : 0),
      "iotlb.uaddr": random.chance(0.9) ? MEMORY + 0x1000 * random.below(16) : random.u32(),
      "iotlb.perm": random.below(4),
      "iotlb.type": random.between(0, 7),
    });
    return face.file.write(random.chance(0.95) ? message : message.subarray(0, random.below(72)));
  }
  const request = random.chance(0.97) ? random.pick(Object.values(VHOST)) : random.u32();
  const argument = new Uint8Array(random.chance(0.95) ? 48 : random.below(48));
  const view = new DataView(argument.buffer);
  if (argument.length >= 8) {
    view.setUint32(0, small(random), true);
    view.setUint32(4, random.chance(0.5) ? 2 ** random.below(10) : small(random), true);
    if (request === VHOST.VDPA_SET_STATUS) argument[0] = random.pick([0, 1, 3, 11, 15, 64, 255]);
    if (request === VHOST.SET_FEATURES) view.setBigUint64(0, face.device.get_device_features(), true);
  }
  return face.file.ioctl(request, argument);
}

Deno.test("VhostVdpa answers random calls with a result or an error number, and keeps its tables in order", () => {
  const random = new Random(5);
  const seen = new Set<string>();
  for (let run = 0; run < 60; run++) {
    const face = new Face({ kind: random.pick(kinds), tables: random.chance(0.5) });
    if (random.chance(0.9)) face.negotiate(random.chance(0.5));
    for (let step = 0; step < 400; step++) {
      const result = call(random, face);
      if (result < 0) {
        assert(Object.values<number>(ERRNO).includes(-result), String(result));
        seen.add(errnoName(result));
      }
      for (const asid of [0, 1]) {
        const entries = face.file.tables.table(asid)?.entries ?? [];
        for (let i = 1; i < entries.length; i++) assert(entries[i]!.start > entries[i - 1]!.last);
      }
      for (let group = 0; group < face.device.ngroups; group++) {
        assert(face.device.spaceOf(group).asid < face.device.nas);
      }
    }
    face.file.close();
    assertEquals(face.vhostMap(0) + face.vhostMap(1), "");
  }
  for (const name of ["EBUSY", "EINVAL", "EOPNOTSUPP", "ENOBUFS", "EFAULT", "ENOTTY"]) {
    assert(seen.has(name), name);
  }
});

Deno.test("a guest that scribbles on its rings gets a fault by name, or its frames", () => {
  const random = new Random(6);
  const seen = new Set<string>();
  for (let run = 0; run < 400; run++) {
    const device = random.pick(kinds);
    const pair = new RingPair(vdpa, {
      device,
      mode: random.pick(["passthrough", "shadow", "switch@1,3,5,7,9"]),
      "desc-group": random.chance(0.5) ? "on" : "off",
      indirect: random.chance(0.5) ? "on" : "off",
      "queue-size": 16,
    });
    const { bytes } = pair.host.memory;
    try {
      for (let step = 0; step < 12; step++) {
        if (!pair.transmit(random.bytes(random.below(300)))) break;
        // The rings are what is allocated first: two or three of 16 entries.
        for (let i = random.below(3); i > 0; i--) bytes[random.below(1400)] = random.u32();
        if (random.chance(0.1)) (pair.link.device as Hypervisor).migration.toggle();
        pair.service();
        pair.receive();
      }
    } catch (error) {
      assert(error instanceof RingFault, String(error));
      assert(faults.has(`${error.half} ${error.code}`), error.message);
      seen.add(error.code);
    }
  }
  assert(seen.size > 8, [...seen].join(" "));
});

Deno.test("a guest that scribbles on its rings can reset its device at any time, and goes on", () => {
  const random = new Random(99);
  const seen = new Set<string>();
  for (let run = 0; run < 200; run++) {
    const kind = random.pick(kinds);
    const queues = kind === "plain" ? 2 : 3;
    const given = { queues, descGroup: random.chance(0.5), persist: random.chance(0.5) };
    const bench = new Bench(MODELS[kind], given, random.chance(0.5));
    const { hypervisor, host, rings } = bench;
    const reset = () => {
      host.memory.bytes.fill(0, 0, 0x4000 * queues);
      bench.start();
      assertEquals(bench.send(2), 2);
    };
    for (let step = 0; step < 20; step++) {
      try {
        const index = random.below(queues);
        const what = random.below(8);
        if (what === 0) reset();
        else if (what === 1) hypervisor.migration.toggle();
        else if (what < 4) bench.send(random.between(1, SIZE));
        else {
          // Descriptors and available entries, seldom the index.
          const length = random.chance(0.1) ? 152 : 128;
          for (let i = 0; i < 4; i++) {
            host.memory.bytes[rings[index]!.desc + random.below(length)] = random.below(256);
          }
          rings[index]!.offer(random.below(SIZE));
          hypervisor.kick(index);
          hypervisor.service({ transmit: () => random.chance(0.5), drop: () => {} });
        }
      } catch (error) {
        assert(error instanceof RingFault, String(error));
        assert(faults.has(`${error.half} ${error.code}`), error.message);
        seen.add(error.code);
        reset();
      }
    }
  }
  assert(seen.size > 8, [...seen].join(" "));
});

Deno.test("a wire that never takes a frame keeps it in the ring", () => {
  const pair = new RingPair(vdpa, { mode: "switch@0" });
  assert(pair.transmit(new Uint8Array([1, 2, 3])));
  const refuse = { transmit: () => false, drop: () => {} };
  assertEquals(pair.link.device.service(refuse), 0);
  assertEquals(pair.link.device.counters()["switch.count"], 1);
  const taken: number[] = [];
  // Whoever refused a frame hears of it again when a kick comes.
  assert(pair.transmit(new Uint8Array([4, 5])));
  pair.link.device.service({
    transmit(frame: Frame) {
      taken.push(frame.length);
      return true;
    },
    drop: () => {},
  });
  assertEquals(taken, [3, 2]);
});
