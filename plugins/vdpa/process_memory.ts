/**
 * The memory of the process that has the vDPA device open: what the `uaddr` of an IOTLB message names.
 *
 * Most of it may be modelled only: it has addresses and can be mapped, but no bytes, so that a guest of a terabyte costs
 * nothing. What is really used lies in {@linkcode Memory} and is shown at its address.
 *
 * @module
 */
import type { Access } from "../../core/address_space.ts";
import type { Memory } from "../../core/memory.ts";
import { Iotlb, type IotlbEntry } from "./iotlb.ts";

/** What a device may do with bytes that are nobody's: everything that its mapping grants. */
const MODELLED = 3;

/**
 * Bytes at an address of the process. It is no `Region`: process addresses are too large for the engine's integers, and
 * regions that share a class with those that queues use would slow these down.
 */
export interface Backing {
  /** First address. */
  readonly start: number;
  /** First address behind it. */
  readonly end: number;
  /** Where the bytes are. */
  readonly memory: Memory;
  /** Where they start in `memory`. */
  readonly offset: number;
  /** What a device may do with them at most. */
  readonly access: Access;
}

/**
 * Sections of process memory. Each is physically contiguous, two are never: where a mapping crosses from one into the
 * next, the kernel makes two entries of it.
 */
export class ProcessMemory {
  /** Where there are bytes. */
  readonly backings: Backing[] = [];
  readonly #sections: Iotlb = new Iotlb(0);

  /**
   * Adds a section that has addresses only.
   *
   * @throws {RangeError} If it overlaps another one.
   */
  addSection(address: number, size: number): void {
    const start = BigInt(address);
    const refused = this.#sections.add(start, start + BigInt(size) - 1n, start, MODELLED);
    if (refused) throw new RangeError(`Cannot add ${size} bytes at 0x${address.toString(16)}: ${refused}`);
  }

  /**
   * Puts bytes under a part of a section.
   *
   * @throws {RangeError} If the range leaves the memory or overlaps other bytes.
   */
  back(address: number, memory: Memory, offset: number, size: number, access: Access): void {
    const end = address + size;
    const taken = this.backings.some((other) => other.start < end && other.end > address);
    if (taken || offset < 0 || offset + size > memory.size) {
      throw new RangeError(`Cannot put ${size} bytes at 0x${address.toString(16)}`);
    }
    this.backings.push({ start: address, end, memory, offset, access });
  }

  /** The bytes that hold the one at `address`, if it has any. */
  backing(address: number): Backing | undefined {
    return this.backings.find(({ start, end }) => address >= start && address < end);
  }

  /**
   * The physically contiguous pieces of a range, as pinning its pages finds them: inclusive address ranges. Undefined if
   * a byte of it belongs to no section.
   */
  pin(address: bigint, size: bigint): readonly Pick<IotlbEntry, "start" | "last">[] | undefined {
    const pieces: Pick<IotlbEntry, "start" | "last">[] = [];
    const end = address + size - 1n;
    for (let at = address; at <= end;) {
      const section = this.#sections.find(at);
      if (!section) return undefined;
      const last = section.last < end ? section.last : end;
      pieces.push({ start: at, last });
      at = last + 1n;
    }
    return pieces;
  }
}
