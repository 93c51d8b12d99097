/**
 * What tests say about faults.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { RingFault } from "../../core/fault.ts";

/** Runs something that must raise this fault, and returns the fault. */
export function assertFault(run: () => unknown, half: "driver" | "device", code: string): RingFault {
  const fault = assertThrows(run, RingFault);
  assertEquals([fault.half, fault.code], [half, code], fault.message);
  return fault;
}
