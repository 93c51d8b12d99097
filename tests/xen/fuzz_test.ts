import { assert, assertEquals } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { FrameBatch } from "../../core/frame_batch.ts";
import {
  DEVICE_FAULTS,
  DRIVER_FAULTS,
  FRONTEND_PATH,
  xen_netif_ctrl_request,
  XenbusState,
} from "../../plugins/xen/mod.ts";
import { Random } from "../random.ts";
import { openPair, type RingName } from "./pair.ts";
import { RawFrontend } from "./raw_frontend.ts";

/** Runs something that may stop with one of the known faults, and with nothing else. */
function survives(work: () => unknown, codes: Readonly<Record<string, string>>): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (!(error instanceof RingFault) || !Object.hasOwn(codes, error.code)) throw error;
    return error.code;
  }
}

/** Numbers as a hostile peer likes them: small ones, limits, anything. */
function hostile(random: Random, bits: number): number {
  const limit = 2 ** bits;
  return random.pick([
    random.below(64),
    random.below(8192) % limit,
    limit - 1 - random.below(4),
    random.u32() % limit,
  ]);
}

Deno.test("XenDevice survives a frontend that writes whatever it likes", () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 1500; seed++) {
    const random = new Random(seed);
    const raw = new RawFrontend({ linux: random.chance(0.3), policy: random.pick(["linux", "copy"]) })
      .connect();
    for (let ref = 4; ref < 64; ref++) {
      if (random.chance(0.9)) raw.grant(ref, ref, random.pick([1, 1, 1, 5, 2, 0x1f]));
    }
    const wire = {
      transmit: (frame: Parameters<typeof raw.wire.transmit>[0]) =>
        random.chance(0.9) && raw.device.deliver(frame) >= 0,
      drop: () => {},
    };
    let fault: string | undefined;
    for (let step = 0; step < 6 && fault === undefined; step++) {
      for (let i = random.below(12); i > 0; i--) {
        const careful = random.chance(0.8);
        raw.tx({
          gref: careful ? random.between(4, 63) : hostile(random, 32),
          offset: careful ? random.below(2048) : hostile(random, 16),
          flags: careful ? random.pick([0, 0, 4]) : hostile(random, 16),
          id: hostile(random, 16),
          size: careful ? random.below(2048) : hostile(random, 16),
        });
      }
      raw.publish("tx");
      if (random.chance(0.7)) raw.post(random.between(4, 60), random.below(30));
      if (random.chance(0.1)) raw.publish(random.pick(["tx", "rx", "ctrl"]), hostile(random, 32));
      for (let i = random.below(3); i > 0; i--) {
        const data = {
          "data[0]": random.below(2),
          "data[1]": hostile(random, 32),
          "data[2]": hostile(random, 10),
        };
        raw.slot("ctrl", xen_netif_ctrl_request.encode({ id: i, type: random.below(12), ...data }));
      }
      raw.publish("ctrl");
      fault = survives(() => raw.device.service(wire), DEVICE_FAULTS);
    }
    if (fault !== undefined) seen.add(fault);
    raw.store.write("/local/domain/1/device/vif/0/state", 5);
    raw.device.connect();
    assertEquals(raw.grants.mapped, 0, `seed ${seed} after ${fault}`);
  }
  assert(seen.size >= 6, [...seen].join(" "));
});

Deno.test("XenDriver survives a backend that writes whatever it likes", () => {
  const seen = new Set<string>();
  for (let seed = 1; seed <= 600; seed++) {
    const random = new Random(seed);
    const pair = openPair({ "static-grants": random.chance(0.5), profile: random.pick(["spec", "linux"]) });
    const frame = new Uint8Array(9000);
    let fault: string | undefined;
    for (let step = 0; step < 12 && fault === undefined; step++) {
      const { view } = pair.host.memory;
      for (let i = random.below(6); i > 0; i--) pair.driver.transmit(frame, 0, random.below(9001), 0);
      pair.driver.flush();
      // A driver that was told nonsense may pass some of it on to the device, which then stops by itself.
      if (survives(() => pair.device.service(pair.wire), DEVICE_FAULTS) !== undefined) break;
      for (let i = random.below(4); i > 0; i--) {
        const ring = pair.ring(random.pick<RingName>(["tx", "rx"]));
        const at = random.chance(0.2) ? 8 : 64 + 2 * random.below(200);
        view.setUint16(ring + at, hostile(random, 16), true);
      }
      fault = survives(() => pair.receive(), DRIVER_FAULTS);
    }
    if (fault !== undefined) seen.add(fault);
  }
  assert(seen.size >= 4, [...seen].join(" "));
});

Deno.test("both halves survive memory that anyone scribbles on, frame by frame and in batches", () => {
  const seen = new Set<string>();
  const codes = { ...DEVICE_FAULTS, ...DRIVER_FAULTS };
  let received = 0;
  for (let seed = 1; seed <= 300; seed++) {
    const random = new Random(seed);
    const pair = openPair({
      "static-grants": random.chance(0.5),
      pool: random.pick(["fixed", "recycle", "copy"]),
      grants: random.pick([512, 100, 8]),
      "grant-table": random.pick(["v1", "v2"]),
      "grant-policy": random.pick(["linux", "copy"]),
      profile: random.pick(["spec", "linux"]),
      gso: random.chance(0.5),
    });
    const { driver, device, host, grants } = pair;
    const { view } = host.memory;
    const offsetOf = (address: number) => host.dma.region.offsetOf(address);
    const pages = [
      pair.ring("tx"),
      pair.ring("rx"),
      offsetOf(driver.grants.address),
      offsetOf(driver.grants.statusAddress),
    ];
    const scribble = () => {
      for (let i = random.below(random.pick([1, 3, 20])); i > 0; i--) {
        const at = random.chance(0.1) ? 4 * random.below(4) : 64 + 2 * random.below(1500);
        view.setUint16(random.pick(pages) + at, hostile(random, 16), true);
      }
    };
    const frames = new FrameBatch(host.memory);
    const sink = {
      piece: () => void received++,
      batch: (_queue: number, { count }: FrameBatch) => void (received += count),
    };
    let fault: string | undefined;
    for (let step = 0; step < 12 && fault === undefined; step++) {
      frames.count = random.below(130);
      for (let i = 0; i < frames.count; i++) {
        frames.offsets[i] = host.captureOffset;
        frames.lengths[i] = random.pick([14, 60, 576, 1500, 4096, random.below(65536)]);
      }
      fault = survives(() => {
        for (let i = driver.transmitBatch(frames, 0, 0); i < frames.count; i++) {
          if (driver.transmit(frames.bytes, frames.offsets[i]!, frames.lengths[i]!, 0) < 0) break;
        }
        driver.flush();
        scribble();
        device.service(pair.wire);
        scribble();
        driver.receive(sink);
      }, codes);
    }
    if (fault !== undefined) seen.add(fault);
    pair.store.write(`${FRONTEND_PATH}/state`, XenbusState.Closing);
    device.connect();
    assertEquals(grants.mapped, 0, `seed ${seed} after ${fault}`);
  }
  assert(seen.size >= 10 && received > 10_000, `${[...seen].join(" ")} ${received}`);
});
