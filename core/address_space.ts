/**
 * Memory as a device sees it: regions of bytes at addresses, with permissions and holes.
 *
 * @module
 */
import { Memory } from "./memory.ts";

/** What a peer may do with a region: a bit mask of {@linkcode READ} and {@linkcode WRITE}. */
export type Access = number;
/** The peer may read the region. */
export const READ: Access = 1;
/** The peer may write the region. */
export const WRITE: Access = 2;
/** The peer may read and write the region. */
export const READ_WRITE: Access = 3;

const UPPER_HALF = 2 ** 32;

/**
 * Bytes at an address. A translated byte stands in `memory` at `address + delta`.
 * Regions are immutable: whoever remaps makes a new one.
 */
export class Region {
  /** First address. */
  readonly start: number;
  /** First address behind the region. */
  readonly end: number;
  /** Where the bytes are. */
  readonly memory: Memory;
  /** What turns an address of this region into an offset in `memory`. */
  readonly delta: number;
  /** What the peer may do with it. */
  readonly access: Access;
  /** Offset of the first byte in `memory`. */
  readonly first: number;
  /** Offset behind the last byte in `memory`. */
  readonly last: number;
  /**
   * Upper 32 bits of all its addresses; -1 if they differ, as the region crosses a multiple of 4 GiB. Addresses as whole
   * numbers are floats for the engine: hot loops work with their halves, and leave what these cannot tell to others.
   */
  readonly high: number;
  /** What turns the lower 32 bits of an address into an offset, modulo 2^32: `(low + shift) | 0`. */
  readonly shift: number;

  /** Made by {@linkcode AddressSpace.map}. */
  constructor(start: number, size: number, memory: Memory, offset: number, access: Access) {
    this.start = start;
    this.end = start + size;
    this.memory = memory;
    this.delta = offset - start;
    this.access = access;
    this.first = offset;
    this.last = offset + size;
    const high = Math.floor(start / UPPER_HALF);
    this.high = high === Math.floor((this.end - 1) / UPPER_HALF) ? high : -1;
    this.shift = (offset - start % UPPER_HALF) | 0;
  }

  /**
   * Where the byte at `address` stands in `memory`. The result is a small integer for the engine too: an offset that
   * stayed the float that addresses are would slow every access down that it is used in.
   */
  offsetOf(address: number): number {
    return (address + this.delta) | 0;
  }

  /** The address of the byte at `offset` in `memory`. */
  addressOf(offset: number): number {
    return offset - this.delta;
  }

  /** Whether all `length` bytes at `address` lie in this region. */
  holds(address: number, length: number): boolean {
    return address >= this.start && length <= this.end - address;
  }
}

/** A region that holds no address: what a half's cached region is before its first look-up. */
export const NO_REGION: Region = new Region(0, 0, new Memory(0), 0, 0);

/**
 * Regions at addresses (bus addresses, IOVAs, guest physical addresses). Addresses are numbers below 2^53;
 * whatever lies above is not mapped. Look-ups never throw: what is not mapped, or not with the access asked for,
 * is `undefined`, and the half that asked raises its own fault.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { AddressSpace, Memory, READ, WRITE } from "@ringpipe/ringpipe";
 *
 * const memory = new Memory(0x2000);
 * const space = new AddressSpace();
 * space.map(0x8000_0000, memory, 0x1000, 0x800, READ);
 *
 * const region = space.find(0x8000_0010, READ)!;
 * assertEquals(region.offsetOf(0x8000_0010), 0x1010);
 * assertEquals(region.holds(0x8000_0010, 0x800), false); // only 0x7f0 bytes are left there
 * assertEquals(space.find(0x8000_0010, WRITE), undefined); // not granted
 * assertEquals(space.find(0x8000_0800, READ), undefined); // a hole
 * ```
 */
export class AddressSpace {
  #regions: Region[] = [];
  #generation = 0;

  /** Grows with every change of the map. A half that caches regions drops them when it moves. */
  get generation(): number {
    return this.#generation;
  }

  /** The regions in order of address. */
  get regions(): readonly Region[] {
    return this.#regions;
  }

  /**
   * Shows bytes of a memory at an address. The same bytes may be shown at several.
   *
   * @param start The first address.
   * @param memory Where the bytes are.
   * @param offset Where they start in it.
   * @param size How many there are.
   * @param access What the peer may do with them.
   * @throws {RangeError} If the range is empty, leaves the memory or the address range, or overlaps a region.
   */
  map(start: number, memory: Memory, offset: number, size: number, access: Access): Region {
    if (!(size > 0 && start >= 0 && Number.isSafeInteger(start) && Number.isSafeInteger(start + size))) {
      throw new RangeError(`Cannot map ${size} bytes at address ${start}`);
    }
    if (!(Number.isSafeInteger(offset) && offset >= 0 && offset + size <= memory.size)) {
      throw new RangeError(
        `Cannot map as the memory is too small: wanted ${offset}+${size}, has ${memory.size}`,
      );
    }
    const at = this.#lowerBound(start);
    const next = this.#regions[at];
    const previous = this.#regions[at - 1];
    if ((next && next.start < start + size) || (previous && previous.end > start)) {
      throw new RangeError(`Cannot map as the range overlaps a region: 0x${start.toString(16)}+${size}`);
    }
    const region = new Region(start, size, memory, offset, access);
    this.#regions.splice(at, 0, region);
    this.#generation++;
    return region;
  }

  /** Removes a region. Nothing happens if it is not mapped. */
  unmap(region: Region): void {
    const at = this.#regions.indexOf(region);
    if (at < 0) return;
    this.#regions.splice(at, 1);
    this.#generation++;
  }

  /** Removes all regions. */
  clear(): void {
    this.#regions = [];
    this.#generation++;
  }

  /**
   * The region that holds the byte at `address` and grants `access`; how far it reaches says `end`.
   *
   * @param address Any number: what is no address is not mapped.
   * @param access What the region must grant; more does no harm.
   */
  find(address: number, access: Access): Region | undefined {
    const region = this.#regions[this.#lowerBound(address + 1) - 1];
    if (!region || address >= region.end || (region.access & access) !== access) return undefined;
    return region;
  }

  /**
   * The region for `length` bytes that must be contiguous in memory (a ring area). Neighbouring
   * regions that continue each other in memory count as one.
   *
   * @param address Where the bytes start.
   * @param length How many there are.
   * @param access What all of them must grant.
   */
  contiguous(address: number, length: number, access: Access): Region | undefined {
    let region = this.find(address, access);
    while (region && !region.holds(address, length)) {
      const next = this.find(region.end, access);
      if (next?.memory !== region.memory || next.delta !== region.delta) return undefined;
      region = new Region(
        region.start,
        next.end - region.start,
        region.memory,
        region.start + region.delta,
        access,
      );
    }
    return region;
  }

  /**
   * Copies bytes out of the space, over region borders. False if any byte is not mapped readable; what lies before
   * it has been copied.
   */
  read(address: number, target: Uint8Array): boolean {
    return this.#copy(address, target, READ);
  }

  /**
   * Copies bytes into the space, over region borders. False if any byte is not mapped writable; what lies before
   * it has been copied.
   */
  write(address: number, source: Uint8Array): boolean {
    return this.#copy(address, source, WRITE);
  }

  #copy(address: number, bytes: Uint8Array, access: Access): boolean {
    for (let done = 0; done < bytes.length;) {
      const region = this.find(address + done, access);
      if (!region) return false;
      const length = Math.min(bytes.length - done, region.end - address - done);
      const offset = address + done + region.delta;
      if (access === READ) bytes.set(region.memory.bytes.subarray(offset, offset + length), done);
      else region.memory.bytes.set(bytes.subarray(done, done + length), offset);
      done += length;
    }
    return true;
  }

  /** Index of the first region that starts at or behind `address`. */
  #lowerBound(address: number): number {
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#regions[middle]!.start < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
