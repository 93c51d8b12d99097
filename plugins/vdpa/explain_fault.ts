/**
 * Says of an address that a queue could not use what is wrong with it.
 *
 * @module
 */
import { type Access, READ_WRITE } from "../../core/address_space.ts";
import { RingFault } from "../../core/fault.ts";
import { type DeviceSpace, REACH } from "./device_space.ts";
import type { VdpaDeviceFaultCode } from "./faults.ts";
import type { ProcessMemory } from "./process_memory.ts";

/** The access that went wrong. */
export interface FailedAccess {
  /** The group that it went through. */
  readonly group: number;
  /** The space that this group is bound to. */
  readonly space: DeviceSpace;
  /** For a ring part: the access that it needs. */
  readonly needed: Access | undefined;
}

/** What is wrong with the first bad byte of a range, and where that is. */
function diagnose(
  address: bigint,
  length: bigint,
  { space, needed }: FailedAccess,
  spaces: readonly DeviceSpace[],
  process: ProcessMemory,
): [VdpaDeviceFaultCode, bigint] {
  let access = READ_WRITE;
  for (let at = address; at < address + length;) {
    const entry = space.table.find(at);
    if (!entry) {
      const other = spaces.some(({ table }) => table.find(at) !== undefined);
      return [other ? "iova-other-space" : "iova-unmapped", at];
    }
    const region = space.space.find(Number(at), 0);
    if (!region) {
      const home = at <= REACH && process.backing(Number(entry.addr + at - entry.start));
      return [home ? "iova-permission" : "iova-unbacked", at];
    }
    access &= region.access;
    at = BigInt(region.end);
  }
  const granted = needed !== undefined && (access & needed) === needed;
  return [granted ? "ring-not-contiguous" : "iova-permission", address];
}

/**
 * A fault about a bad address in the words of address spaces; any other fault as it is.
 *
 * @param fault What the queue raised.
 * @param access What it was about.
 * @param spaces All spaces of the device.
 * @param process What mappings lead to.
 */
export function explainFault(
  fault: RingFault,
  access: FailedAccess,
  spaces: readonly DeviceSpace[],
  process: ProcessMemory,
): RingFault {
  if (fault.code !== "bad-ring-address" && fault.code !== "bad-address") return fault;
  const address = BigInt(fault.values.address!);
  const length = BigInt(fault.values.length!);
  const [code, at] = diagnose(address, length, access, spaces, process);
  const values = { ...fault.values, at, group: access.group, asid: access.space.asid };
  return new RingFault(fault.half, fault.ring, code, fault.index, values);
}
