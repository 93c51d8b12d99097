import { assert, assertEquals } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { DEVICE_FAULTS, DRIVER_FAULTS, xen_netif_ctrl_request } from "../../plugins/xen/mod.ts";
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
