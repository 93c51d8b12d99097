/**
 * The memory a driver half owns: it hands out aligned pieces and knows the address of each byte.
 *
 * @module
 */
import { type AddressSpace, READ_WRITE, type Region } from "./address_space.ts";
import { isPowerOfTwo } from "./index.ts";
import type { Memory } from "./memory.ts";

/** A piece handed out: where it is for the driver (`offset`) and for the device (`address`). */
export interface Allocation {
  /** Offset in the memory's bytes. */
  readonly offset: number;
  /** Address in the device's address space. */
  readonly address: number;
  /** Size in bytes. */
  readonly size: number;
}

/** A driver asked for more memory than there is. */
export class DmaMemoryError extends RangeError {
  /** Always `"DmaMemoryError"`. */
  override readonly name = "DmaMemoryError";
}

/**
 * Driver memory that a device can reach: one region of an address space, given out piece by piece.
 * Pieces live as long as the memory: a driver sets its rings up once.
 */
export class DmaMemory {
  /** The bytes. */
  readonly memory: Memory;
  /** The region that shows them to the device. */
  readonly region: Region;
  #next: number;

  /**
   * Shows a part of `memory` to the device.
   *
   * @param space The address space in which the device finds the memory.
   * @param memory The bytes.
   * @param offset Where the driver's part of `memory` starts.
   * @param size How long it is, in bytes.
   * @param address The device's address of its first byte.
   */
  constructor(space: AddressSpace, memory: Memory, offset: number, size: number, address: number) {
    this.memory = memory;
    this.region = space.map(address, memory, offset, size, READ_WRITE);
    this.#next = offset;
  }

  /** Bytes not yet given out. */
  get free(): number {
    return this.region.offsetOf(this.region.end) - this.#next;
  }

  /**
   * Gives out bytes that were never given out before; they are zero unless somebody has written them.
   *
   * @param size How many.
   * @param alignment What their address is a multiple of: a power of two.
   * @throws {DmaMemoryError} If the memory is used up.
   * @throws {RangeError} If size or alignment are none.
   */
  allocate(size: number, alignment: number): Allocation {
    if (!(Number.isSafeInteger(size) && size >= 0 && isPowerOfTwo(alignment))) {
      throw new RangeError(`Cannot allocate ${size} bytes aligned to ${alignment}`);
    }
    const address = Math.ceil(this.region.addressOf(this.#next) / alignment) * alignment;
    const offset = this.region.offsetOf(address);
    if (size > this.region.end - address) {
      throw new DmaMemoryError(
        `Cannot allocate ${size} bytes as only ${this.free} of the driver's memory are free`,
      );
    }
    this.#next = offset + size;
    return { offset, address, size };
  }
}
