/**
 * How the device reaches buffers: the last region is kept, look-ups are rare.
 *
 * @module
 */
import {
  type Access,
  type AddressSpace,
  NO_REGION,
  READ,
  type Region,
  WRITE,
} from "../../core/address_space.ts";
import type { Frame } from "../../core/frame.ts";

/** Reads buffers as pieces of frames, and writes frames into buffers. One per queue and direction. */
export class SpaceAccess {
  readonly #space: AddressSpace;
  readonly #access: Access;
  #region: Region = NO_REGION;
  #generation = -1;

  /** Reaches what `space` grants for `access`. */
  constructor(space: AddressSpace, access: Access) {
    this.#space = space;
    this.#access = access;
  }

  /** Forgets the region if the map has changed. Returns whether it has. */
  refresh(): boolean {
    if (this.#generation === this.#space.generation) return false;
    this.#generation = this.#space.generation;
    this.#region = NO_REGION;
    return true;
  }

  /** The region that holds an address, or one that holds nothing. */
  regionAt(address: number): Region {
    if (!this.#region.holds(address, 1)) {
      const found = this.#space.find(address, this.#access);
      if (found === undefined) return NO_REGION;
      this.#region = found;
    }
    return this.#region;
  }

  /** Adds a buffer to a frame, in as many pieces as regions. False if the device cannot reach all of it. */
  gather(frame: Frame, address: number, length: number): boolean {
    let region = this.#region;
    if (region.holds(address, length)) {
      frame.push(region.memory.bytes, region.offsetOf(address), length);
      return true;
    }
    while (length > 0) {
      if (!region.holds(address, 1)) {
        const found = this.#space.find(address, this.#access);
        if (found === undefined) return false;
        this.#region = region = found;
      }
      const part = Math.min(length, region.end - address);
      frame.push(region.memory.bytes, region.offsetOf(address), part);
      address += part;
      length -= part;
    }
    return true;
  }

  /** Copies part of a frame into a buffer. False if the device cannot reach all of it. */
  scatter(frame: Frame, position: number, address: number, length: number): boolean {
    let region = this.#region;
    if (region.holds(address, length)) {
      const target = region.offsetOf(address);
      // Most frames are in one piece.
      if (frame.pieces === 1) {
        region.memory.copyFrom(target, frame.bytes[0]!, frame.offsets[0]! + position, length);
      } else frame.copyTo(region.memory, target, position, length);
      return true;
    }
    while (length > 0) {
      if (!region.holds(address, 1)) {
        const found = this.#space.find(address, this.#access);
        if (found === undefined) return false;
        this.#region = region = found;
      }
      const part = Math.min(length, region.end - address);
      frame.copyTo(region.memory, region.offsetOf(address), position, part);
      position += part;
      address += part;
      length -= part;
    }
    return true;
  }
}

/** For transmit buffers. */
export function reader(space: AddressSpace): SpaceAccess {
  return new SpaceAccess(space, READ);
}

/** For receive buffers. */
export function writer(space: AddressSpace): SpaceAccess {
  return new SpaceAccess(space, WRITE);
}
