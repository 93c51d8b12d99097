/**
 * The hypervisor's own memory for one shadow virtqueue.
 *
 * @module
 */
import { READ_WRITE } from "../../core/address_space.ts";
import { alignUp } from "../../core/index.ts";
import { Memory } from "../../core/memory.ts";
import { availBytes, descBytes, usedBytes } from "../virtio/ring_areas.ts";
import { VHOST_ACCESS } from "./layout.ts";
import type { ProcessMemory } from "./process_memory.ts";
import { ShadowRing } from "./shadow_ring.ts";

/** A piece of process memory that the device gets to see, always whole pages. */
export interface SharedPiece {
  /** Where the process has it. */
  readonly uaddr: number;
  /** Bytes. */
  readonly size: number;
  /** What the device may do. */
  readonly perm: number;
}

/** Where the hypervisor's own memory begins in its process. */
const OWN_BASE = 0x7f00_0000_0000;

/** Gives out pieces of the hypervisor's memory. */
export class OwnMemory {
  readonly #process: ProcessMemory;
  readonly #pageSize: number;
  #next = OWN_BASE;

  /** Takes pieces from the process's memory, in pages of this size. */
  constructor(process: ProcessMemory, pageSize: number) {
    this.#process = process;
    this.#pageSize = pageSize;
  }

  /** Bytes of a page. */
  get pageSize(): number {
    return this.#pageSize;
  }

  /** A new piece of whole pages, whose bytes are those of `memory` from `offset`. */
  share(memory: Memory, offset: number, bytes: number, perm: number): SharedPiece {
    const uaddr = this.#next;
    const size = alignUp(bytes, this.#pageSize);
    this.#next += size;
    this.#process.addSection(uaddr, size);
    this.#process.back(uaddr, memory, offset, Math.min(size, memory.size - offset), READ_WRITE);
    return { uaddr, size, perm };
  }
}

/**
 * Two pieces, as a shadow virtqueue needs them: the driver area (descriptor table and available ring), which the device
 * reads, and the device area (used ring), which it writes. They get addresses one behind the other.
 */
export class ShadowArea {
  /** Driver area and device area. */
  readonly pieces: readonly SharedPiece[];
  readonly #memory: Memory;
  readonly #size: number;
  /** Where the used ring begins. */
  readonly #used: number;

  /** Takes memory for a ring of `size` entries. */
  constructor(own: OwnMemory, size: number) {
    this.#size = size;
    const driver = this.#used = alignUp(descBytes(size) + availBytes(size), own.pageSize);
    this.#memory = new Memory(driver + usedBytes(size));
    this.pieces = [
      own.share(this.#memory, 0, driver, VHOST_ACCESS.RO),
      own.share(this.#memory, driver, usedBytes(size), VHOST_ACCESS.RW),
    ];
  }

  /** A fresh ring in this memory: the device finds the area at `iova`, and indices begin at 0. */
  ring(name: string, features: bigint, iova: number): ShadowRing {
    return new ShadowRing({
      name,
      size: this.#size,
      features,
      memory: this.#memory,
      used: this.#used,
      iova,
    });
  }
}
