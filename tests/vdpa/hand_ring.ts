/**
 * A virtqueue that a test writes byte by byte, to be a driver that keeps to no rule.
 *
 * @module
 */
import type { Memory } from "../../core/memory.ts";
import { availBytes, descBytes, type RingAddresses } from "../../plugins/virtio/ring_areas.ts";

export const NEXT = 1;
export const WRITE = 2;
export const INDIRECT = 4;

export class HandRing {
  readonly memory: Memory;
  readonly size: number;
  /** Offsets in the memory. */
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  #index = 0;

  /** The parts lie one behind the other in `memory` from `offset`, the used ring on a page of its own. */
  constructor(memory: Memory, offset: number, size: number) {
    this.memory = memory;
    this.size = size;
    this.desc = offset;
    this.avail = offset + descBytes(size);
    this.used = offset + Math.ceil((descBytes(size) + availBytes(size)) / 4096) * 4096;
  }

  /** Addresses of the parts, where the memory's byte 0 is at `base`. */
  areas(base: number): RingAddresses {
    return { desc: base + this.desc, driver: base + this.avail, device: base + this.used };
  }

  describe(at: number, address: number | bigint, length: number, flags = 0, next = 0): void {
    const { view } = this.memory;
    view.setBigUint64(at, BigInt(address), true);
    view.setUint32(at + 8, length, true);
    view.setUint16(at + 12, flags, true);
    view.setUint16(at + 14, next, true);
  }

  descriptor(index: number, address: number | bigint, length: number, flags = 0, next = 0): void {
    this.describe(this.desc + 16 * index, address, length, flags, next);
  }

  /** Makes a chain available. */
  offer(head: number): void {
    const { view } = this.memory;
    view.setUint16(this.avail + 4 + 2 * (this.#index % this.size), head, true);
    this.#index = (this.#index + 1) & 0xffff;
    view.setUint16(this.avail + 2, this.#index, true);
  }

  get usedIndex(): number {
    return this.memory.view.getUint16(this.used + 2, true);
  }

  usedElement(index: number): { id: number; length: number } {
    const at = this.used + 4 + 8 * (index % this.size);
    return { id: this.memory.view.getUint32(at, true), length: this.memory.view.getUint32(at + 4, true) };
  }
}
