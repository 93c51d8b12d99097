import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import mailbox, { mailbox_slot } from "../examples/mailbox.ts";
import { RingFault, RingPair, validatePlugin } from "../mod.ts";
import { Random } from "./random.ts";

Deno.test("the example is a plugin, and carries frames of any length", () => {
  assertStrictEquals(validatePlugin(mailbox), mailbox);
  const random = new Random(41);
  const ring = new RingPair(mailbox, { slots: 3 });
  for (let round = 0; round < 50; round++) {
    const frames = Array.from({ length: random.below(4) }, () => random.bytes(random.below(3000)));
    for (const frame of frames) assertEquals(ring.transmit(frame), true);
    ring.service();
    assertEquals(ring.receive(), frames);
  }
  assertEquals(ring.transmit(new Uint8Array(262144)), true);
  assertThrows(() => ring.transmit(new Uint8Array(262145)), RangeError, "oversize");
});

Deno.test("the example's halves stop for good when the other one lies", () => {
  const lies: readonly (readonly [slot: number, values: Record<string, number | string>, code: string])[] = [
    [0, { address: "0xffffffffffffffff", length: 60, owner: 1 }, "bad-address"],
    [0, { address: 0, length: 60, owner: 1 }, "bad-address"],
    [0, { address: 0x10000000, length: "0xffffffff", owner: 1 }, "bad-address"],
    [1, { address: 0, length: 262145, owner: 0 }, "bad-length"],
  ];
  for (const [slot, values, code] of lies) {
    const ring = new RingPair(mailbox, { slots: 1 });
    const { space, dma } = ring.host;
    const at = dma.region.start + slot * mailbox_slot.size;
    const step = () => slot === 0 ? ring.service() : ring.receive();
    space.write(at, mailbox_slot.encode(values));
    const fault = assertThrows(step, RingFault);
    assertEquals([fault.code, fault.index], [code, slot]);
    space.write(
      at,
      mailbox_slot.encode({ address: dma.region.start, length: 60, owner: slot === 0 ? 1 : 0 }),
    );
    assertStrictEquals(assertThrows(step, RingFault), fault);
  }
});
