/**
 * What tests say about faults.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import type { DeviceFault, DriverFault } from "../../plugins/gve/mod.ts";

/** Runs something at which the device must raise this fault. */
export function assertDeviceFault(run: () => unknown, code: DeviceFault): RingFault {
  return assertFault(run, "device", code);
}

/** Runs something at which the driver must raise this fault. */
export function assertDriverFault(run: () => unknown, code: DriverFault): RingFault {
  return assertFault(run, "driver", code);
}

function assertFault(run: () => unknown, half: "driver" | "device", code: string): RingFault {
  const fault = assertThrows(run, RingFault);
  assertEquals([fault.half, fault.code], [half, code], fault.message);
  return fault;
}
