import { assertEquals, assertInstanceOf } from "@std/assert";
import { faultSpecs, RingFault } from "../../mod.ts";

Deno.test("RingFault says in one line who stopped which ring, where and why, and keeps the values", () => {
  const fault = new RingFault("device", "tx0", "avail-jump", 7, { idx: 300, limit: 256, addr: 2n ** 60n });
  assertInstanceOf(fault, Error);
  assertEquals(fault.name, "RingFault");
  assertEquals([fault.half, fault.ring, fault.code, fault.index], ["device", "tx0", "avail-jump", 7]);
  assertEquals(fault.values, { idx: 300, limit: 256, addr: 2n ** 60n });
  assertEquals(
    fault.message,
    "device stopped ring tx0 at index 7: avail-jump (idx=300 limit=256 addr=1152921504606846976)",
  );
});

Deno.test("RingFault has no brackets in its message when there are no values", () => {
  assertEquals(
    new RingFault("driver", "rx1", "used-twice", 0).message,
    "driver stopped ring rx1 at index 0: used-twice",
  );
});

Deno.test("faultSpecs lists the rules of one half", () => {
  assertEquals(faultSpecs({ "a-b": "A", c: "C" }, "driver"), [
    { code: "a-b", half: "driver", meaning: "A" },
    { code: "c", half: "driver", meaning: "C" },
  ]);
});
