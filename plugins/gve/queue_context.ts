/**
 * What every queue of the driver half works with.
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import type { Memory } from "../../core/memory.ts";
import type { Registers } from "../../core/plugin.ts";
import type { BouncePool } from "./bounce_pool.ts";
import type { DriverCounters } from "./counters.ts";
import type { DmaMapper } from "./dma_mapper.ts";

/** Shared by the queues of one driver half. */
export interface DriverContext {
  /** The memory in which rings and pages lie. */
  readonly memory: Memory;
  /** Finds addresses for raw addressing. */
  readonly mapper: DmaMapper;
  /** Where packets go that the device cannot reach. */
  readonly bounce: BouncePool;
  /** The doorbells. */
  readonly bar2: Registers;
  /** Counted together. */
  readonly counters: DriverCounters;
  /** Whether the device is checked for everything, or as little as the traced Linux driver does. */
  readonly strict: boolean;
  /** Whether memory is synchronised rather than coherent. */
  readonly syncs: boolean;
  /** Whether the NIC's own limits apply. */
  readonly nicLimits: boolean;
  /** Time, for packets that take the device's slow path. */
  readonly clock: Clock;
  /** Notes what the traced driver would log. */
  readonly log: (message: string) => void;
}

/** A transmit queue's place. */
export interface TxQueuePlace {
  /** Number of the queue. */
  readonly queue: number;
  /** Offset of the descriptor ring in the driver's memory. */
  readonly ring: number;
  /** Entries of the ring. */
  readonly size: number;
  /** Byte offset of the doorbell in BAR2. */
  readonly doorbell: number;
}

/** A receive queue's place. */
export interface RxQueuePlace {
  /** Number of the queue. */
  readonly queue: number;
  /** Offset of the ring the device writes: descriptors or completions. */
  readonly ring: number;
  /** Offset of the ring the driver writes: data slots or buffers. */
  readonly data: number;
  /** Entries of each ring. */
  readonly size: number;
  /** Byte offset of the doorbell in BAR2. */
  readonly doorbell: number;
  /** Bytes per buffer. */
  readonly bufferSize: number;
}
