import { assert, assertEquals } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { DEVICE_FAULTS } from "../../plugins/virtio/faults.ts";
import { PASSES, PAYLOAD, PROFILES } from "./attack.ts";
import { AVAILABLE_ATTACKS } from "./attacks_available.ts";
import { BUFFER_ATTACKS } from "./attacks_buffer.ts";
import { CHAIN_ATTACKS } from "./attacks_chain.ts";
import { INDIRECT_ATTACKS } from "./attacks_indirect.ts";
import { NET_ATTACKS } from "./attacks_net.ts";
import { STARTS } from "./attacks_start.ts";
import { RawNet } from "./raw_net.ts";

const ATTACKS = [
  ...AVAILABLE_ATTACKS,
  ...CHAIN_ATTACKS,
  ...INDIRECT_ATTACKS,
  ...BUFFER_ATTACKS,
  ...NET_ATTACKS,
];

/** Lets the device meet the attack; in batches, which go other ways through it, or one by one. */
function play(net: RawNet, queue: number, batches: boolean): void {
  if (queue !== 0) net.kick(queue);
  else if (batches) assertEquals(net.loop(PAYLOAD), 1);
  else assertEquals(net.arrive(PAYLOAD), 0);
}

for (const { name, verdict, size, features = [], attack, queue = 1, frame } of ATTACKS) {
  Deno.test(`device half: ${name}`, async (t) => {
    for (
      const [profile, batches] of PROFILES.flatMap((profile) => [[profile, false], [profile, true]] as const)
    ) {
      const wanted = typeof verdict === "string" ? verdict : verdict[profile];
      await t.step(`${profile}${batches ? ", in batches" : ""}: ${wanted}`, () => {
        const net = new RawNet({ features, profile, batches, ...size && { size } });
        attack(net);
        if (wanted === PASSES) {
          play(net, queue, batches);
          if (frame) assertEquals(net.frames[0], Uint8Array.from(frame));
          assertEquals(net.device.queues[queue]!.running, true);
          return;
        }
        let fault: unknown;
        try {
          play(net, queue, batches);
        } catch (error) {
          fault = error;
        }
        assert(fault instanceof RingFault, `${fault ?? "no fault"}`);
        assertEquals([fault.half, fault.ring, fault.code], [
          "device",
          ["rx0", "tx0", "ctrl"][queue]!,
          wanted,
        ]);
        const { running, broken } = net.device.queues[queue]!;
        assertEquals([running, broken], [false, fault]);
        // The queue serves nothing more, until it is started again.
        const used = [net.rx, net.tx, net.ctrl][queue]!.usedIdx;
        net.device.notify(queue);
        assertEquals(net.device.service(net.wire), 0);
        assertEquals([net.rx, net.tx, net.ctrl][queue]!.usedIdx, used);
        assert(net.guarded);
      });
    }
  });
}

for (const [name, code, size, [desc, driver, device]] of STARTS) {
  Deno.test(`device half: ${name}`, () => {
    for (const profile of PROFILES) {
      const net = new RawNet({ profile });
      const queue = net.device.queues[1]!;
      queue.stop();
      let fault: unknown;
      try {
        queue.start(size, { desc, driver, device }, 1n << 32n);
      } catch (error) {
        fault = error;
      }
      assert(fault instanceof RingFault, `${fault ?? "no fault"}`);
      assertEquals([fault.half, fault.code, queue.running], ["device", code, false]);
    }
  });
}

Deno.test("DEVICE_FAULTS lists what the attacks provoke, and nothing else", () => {
  // The one that needs snapshots is provoked where those are tested.
  const provoked = new Set(["descriptor-changed", ...STARTS.map(([, code]) => code)]);
  for (const { verdict } of ATTACKS) {
    for (const code of typeof verdict === "string" ? [verdict] : Object.values(verdict)) provoked.add(code);
  }
  provoked.delete(PASSES);
  assertEquals([...provoked].sort(), Object.keys(DEVICE_FAULTS).sort());
});
