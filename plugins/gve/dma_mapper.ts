/**
 * How the driver finds the device's address of bytes that it can point at where they lie.
 *
 * @module
 */
import { type AddressSpace, NO_REGION, READ, type Region } from "../../core/address_space.ts";
import type { Memory } from "../../core/memory.ts";

/** Maps parts of one memory as far as an address space shows them to the device. */
export class DmaMapper {
  readonly #space: AddressSpace;
  readonly #memory: Memory;
  #region = NO_REGION;
  #generation = -1;

  /** Looks up parts of `memory` in `space`. */
  constructor(space: AddressSpace, memory: Memory) {
    this.#space = space;
    this.#memory = memory;
  }

  /** The device's address of `length` bytes, or -1 if it cannot reach them in one piece. */
  map(bytes: Uint8Array, offset: number, length: number): number {
    if (bytes !== this.#memory.bytes) return -1;
    if (this.#generation !== this.#space.generation) {
      this.#region = NO_REGION;
      this.#generation = this.#space.generation;
    }
    const region = this.#region;
    const address = offset - region.delta;
    return region.holds(address, length) ? address : this.#find(offset, length);
  }

  /** The region in which the device finds `length` bytes, or one that holds nothing. */
  regionOf(bytes: Uint8Array, offset: number, length: number): Region {
    return this.map(bytes, offset, length) < 0 ? NO_REGION : this.#region;
  }

  #find(offset: number, length: number): number {
    for (const region of this.#space.regions) {
      const address = offset - region.delta;
      if (region.memory === this.#memory && region.access & READ && region.holds(address, length)) {
        this.#region = region;
        return address;
      }
    }
    return -1;
  }
}
