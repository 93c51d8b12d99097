import { assert, assertEquals } from "@std/assert";
import { PAYLOAD } from "./attack.ts";
import { assertFault } from "./faults.ts";
import { BASE, openModern } from "./modern_device.ts";
import { BUFFERS, RawNet } from "./raw_net.ts";
import { RawRing } from "./raw_ring.ts";

Deno.test("service takes no more than a burst, batch by batch or one by one, and goes on without a kick", () => {
  for (const batches of [false, true]) {
    for (const apart of [false, true]) {
      const net = new RawNet({ batches });
      net.device.burst = 3;
      for (let i = 0; i < 4; i++) {
        const addr = BUFFERS + 64 * i;
        const whole = net.packet(addr, PAYLOAD);
        const parts = [{ addr, len: 12 }, { addr: addr + 12, len: PAYLOAD.length }];
        net.tx.offer(net.tx.chain(2 * i, ...apart ? parts : [whole]));
      }
      assertEquals([net.kick(1), net.tx.usedIdx], [3, 3]);
      assertEquals([net.device.service(net.wire), net.tx.usedIdx], [1, 4]);
      assertEquals(net.device.service(net.wire), 0);
      assertEquals(net.frames, Array(4).fill(PAYLOAD));
    }
  }
});

Deno.test("a fault of the control queue is raised by the next service, but not after a reset", () => {
  const { registers, host, device, startTransmit, service, frames } = openModern();
  const begin = () => {
    assert(registers.negotiate(device.offered));
    const ring = startTransmit();
    assert(registers.startQueue(2, 8, BASE + 0x4000, BASE + 0x5000, BASE + 0x6000));
    registers.set("device_status", 15);
    return ring;
  };
  const breakControl = () => {
    const control = new RawRing(host.memory.view, 8, 0x4000, 0x5000, 0x6000);
    // A command without a byte for the ack.
    control.offer(control.chain(0, { addr: BASE + 0x8000, len: 2 }));
    registers.ring(2);
    assertEquals(registers.get("device_status") & 64, 64);
  };
  begin();
  breakControl();
  assertFault(service, "device", "control-without-ack");
  assertEquals(service(), 0);

  host.memory.bytes.fill(0, 0, 0x7000);
  begin();
  breakControl();
  host.memory.bytes.fill(0, 0, 0x7000);
  const ring = begin();
  ring.offer(ring.chain(0, { addr: BASE + 0x8000, len: 40 }));
  registers.ring(1);
  assertEquals([service(), frames], [1, [28]]);
});

Deno.test("with IN_ORDER, a packet that asks for something is in order behind those of a batch", () => {
  for (const batches of [false, true]) {
    const net = new RawNet({ batches, features: ["IN_ORDER", "CSUM"] });
    for (let i = 0; i < 4; i++) {
      const packet = net.packet(BUFFERS + 64 * i, [i]);
      // The second and the third want a checksum: NEEDS_CSUM.
      if (i === 1 || i === 2) net.put(BUFFERS + 64 * i, [1]);
      net.tx.offer(net.tx.chain(i, packet));
    }
    assertEquals([net.kick(1), net.frames], [4, [0, 1, 2, 3].map((i) => Uint8Array.of(i))]);
  }
});
