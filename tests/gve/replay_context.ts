/**
 * A driver's surroundings for replays: memory, and doorbells that are noted.
 *
 * @module
 */
import { AddressSpace } from "../../core/address_space.ts";
import { ManualClock } from "../../core/clock.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { Memory } from "../../core/memory.ts";
import { BouncePool } from "../../plugins/gve/bounce_pool.ts";
import { DriverCounters } from "../../plugins/gve/counters.ts";
import { DmaMapper } from "../../plugins/gve/dma_mapper.ts";
import type { DriverContext } from "../../plugins/gve/queue_context.ts";

/** What a replayed driver works with. */
export class Surroundings {
  /** The memory. */
  readonly memory: Memory;
  /** Values written to doorbells, as the bus carried them. */
  readonly doorbells: number[] = [];
  /** What the driver would log. */
  readonly log: string[] = [];
  /** Time. */
  readonly clock = new ManualClock();
  /** For the queue. */
  readonly context: DriverContext;

  /** Memory of so many bytes; lenient as the traced driver unless `strict`. */
  constructor(size: number, strict = false) {
    this.memory = new Memory(size);
    const space = new AddressSpace();
    const dma = new DmaMemory(space, this.memory, 0, size, 0);
    this.context = {
      memory: this.memory,
      mapper: new DmaMapper(space, this.memory),
      bounce: new BouncePool(dma),
      bar2: { read: () => 0, write: (_offset, _width, value) => this.doorbells.push(value) },
      counters: new DriverCounters(),
      strict,
      syncs: true,
      nicLimits: false,
      clock: this.clock,
      log: (message) => this.log.push(message),
    };
  }

  /** Bytes as the traces write them. */
  hex(offset: number, length: number): string {
    return this.memory.bytes.subarray(offset, offset + length).toHex();
  }

  /** Descriptors of 16 bytes from ring index `first` on. */
  descriptors(ring: number, size: number, first: number, count: number): string[] {
    return Array.from({ length: count }, (_, i) => this.hex(ring + ((first + i) % size) * 16, 16));
  }
}
