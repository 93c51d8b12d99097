/**
 * The guest's memory: where its sections are for the guest and for the hypervisor's process.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import { alignUp } from "../../core/index.ts";
import type { ProcessMemory } from "./process_memory.ts";

const GIB = 2 ** 30;
/** Most memory below 4 GiB: what a q35 machine leaves there, and gives its devices the rest. */
const BELOW_4G = 2 * GIB;
const HIGH_START = 4 * GIB;
/** Where the guest's address 0 is for the process. */
const PROCESS_BASE = 2 ** 44;

/** Largest guest. */
export const LARGEST_GUEST: number = 64 * 1024 * GIB;

/**
 * Size of a guest that nothing is said about: 4 GiB, or as many as reach as far as the space that it uses, if a guest
 * can be so large.
 */
export function defaultGuestSize(space: AddressSpace): number {
  const used = Math.max(HIGH_START, ...space.regions.map(({ end }) => end));
  return Math.min(alignUp(used, GIB), LARGEST_GUEST);
}

/** A contiguous piece of guest memory. */
export interface GuestSection {
  /** Guest physical address. */
  readonly gpa: number;
  /** Bytes. */
  readonly size: number;
  /** Where the process has it. */
  readonly uaddr: number;
}

/**
 * Memory of a guest of a given size. All of it has addresses and can be mapped; bytes are only where the space that the
 * guest really uses has them.
 */
export class GuestMemory {
  /** The sections, lowest first. */
  readonly sections: readonly GuestSection[];
  /** What the guest really uses: the hypervisor reads and writes the guest's rings there. */
  readonly space: AddressSpace;

  /**
   * Adds the guest to the process's memory: up to 2 GiB below 4 GiB and the rest above, or all in one piece for a guest
   * that uses what lies between.
   *
   * @throws {RangeError} If it uses memory that it does not have.
   */
  constructor(size: number, space: AddressSpace, process: ProcessMemory) {
    this.space = space;
    const split = !space.regions.some(({ start, end }) => start < HIGH_START && end > BELOW_4G);
    const low = split ? Math.min(BELOW_4G, size) : size;
    this.sections = [
      { gpa: 0, size: low, uaddr: PROCESS_BASE },
      { gpa: HIGH_START, size: size - low, uaddr: PROCESS_BASE + HIGH_START },
    ].filter((section) => section.size > 0);
    for (const section of this.sections) process.addSection(section.uaddr, section.size);
    for (const region of space.regions) {
      const section = this.sections.find(({ gpa, size }) => region.start >= gpa && region.end <= gpa + size);
      if (!section) {
        const [start, end] = [region.start.toString(16), region.end.toString(16)];
        throw new RangeError(`the guest uses 0x${start}..0x${end}, where it has none`);
      }
      const uaddr = section.uaddr + region.start - section.gpa;
      const length = region.end - region.start;
      process.back(uaddr, region.memory, region.offsetOf(region.start), length, region.access);
    }
  }
}
