/**
 * One address space of a vDPA device: the table it was given, and the bytes it reaches through it.
 *
 * @module
 */
import { AddressSpace } from "../../core/address_space.ts";
import { Iotlb, type IotlbEntry } from "./iotlb.ts";
import type { ProcessMemory } from "./process_memory.ts";

/** Addresses from here on are mapped, but nothing is ever read or written there. */
export const REACH: bigint = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * What a device translates through. The queues use `space`, in which only those mapped addresses stand that have bytes
 * behind them; `table` has all of them.
 */
export class DeviceSpace {
  /** Address space number. */
  readonly asid: number;
  /** All mappings. */
  readonly table: Iotlb = new Iotlb(0);
  /** The bytes. */
  readonly space: AddressSpace = new AddressSpace();
  readonly #process: ProcessMemory;

  /** Makes an empty space. */
  constructor(asid: number, process: ProcessMemory) {
    this.asid = asid;
    this.#process = process;
  }

  /** Adds one mapping to those that are there. */
  map(entry: IotlbEntry): void {
    this.table.add(entry.start, entry.last, entry.addr, entry.perm);
    this.#show(entry);
  }

  /** Removes what overlaps a range. */
  unmap(start: bigint, last: bigint): void {
    for (const entry of this.table.remove(start, last)) {
      for (const region of [...this.space.regions]) {
        if (BigInt(region.start) >= entry.start && BigInt(region.start) <= entry.last) {
          this.space.unmap(region);
        }
      }
    }
  }

  /** Takes over a whole table in place of what was there. */
  replace(entries: readonly IotlbEntry[]): void {
    this.clear();
    for (const entry of entries) this.map(entry);
  }

  /** Removes everything. */
  clear(): void {
    this.table.clear();
    this.space.clear();
  }

  /** Shows the bytes of a mapping, as far as there are any. */
  #show({ start, last, addr, perm }: IotlbEntry): void {
    for (const backing of this.#process.backings) {
      // An address of the process plus this is an address of the device.
      const shift = start - addr;
      const first = BigInt(backing.start) + shift;
      const end = BigInt(backing.end) + shift;
      const low = first > start ? first : start;
      const high = end - 1n < last ? end : last + 1n;
      const access = backing.access & perm;
      if (low >= high || high > REACH || access === 0) continue;
      // Not computed from addresses: as floats, offsets would slow the queues down.
      const offset = backing.offset + Number(low - first);
      this.space.map(Number(low), backing.memory, offset, Number(high - low), access);
    }
  }
}
