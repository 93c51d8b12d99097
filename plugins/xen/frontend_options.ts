/**
 * How a frontend is to work, and how many pages that takes.
 *
 * @module
 */
import { netif_rx_request, netif_tx_request } from "./layout.ts";
import { ringSize } from "./shared_ring.ts";

const TX_SLOTS = ringSize(netif_tx_request.size);
const RX_SLOTS = ringSize(netif_rx_request.size);

/** What a frontend does with its pool. */
export type PoolUse = "fixed" | "recycle" | "copy";

/** How a frontend is to work. */
export interface FrontendOptions {
  /** Queues wanted. */
  readonly queues: number;
  /** Version of the grant table. */
  readonly grantVersion: 1 | 2;
  /** Pages per queue to be granted once; 0 for none. Half of them are for each direction. */
  readonly pool: number;
  /** What the pool is used for. */
  readonly poolUse: PoolUse;
  /** Longest frame that is copied into the pool, with `copy`. */
  readonly copybreak: number;
  /** Where in its first page a frame starts. */
  readonly txOffset: number;
  /** Whether packets may have several slots. */
  readonly sg: boolean;
  /** Whether large TCP frames are marked as such. */
  readonly gso: boolean;
  /** Whether the two rings of a queue have a port each. */
  readonly splitEventChannels: boolean;
  /** Whether it does what Linux does where the header leaves a choice. */
  readonly linux: boolean;
}

/** How many pages of which kind a queue has. */
export interface PacketPages {
  /** Transmit pages granted once. */
  readonly txPool: number;
  /** Transmit pages granted for each use. */
  readonly txOrdinary: number;
  /** Receive pages granted once. */
  readonly rxPool: number;
  /** Receive pages granted for each use. */
  readonly rxOrdinary: number;
}

/**
 * The pages of a queue: a pool serves receive first, and each direction has no more than its ring has slots.
 */
export function packetPages(options: FrontendOptions): PacketPages {
  const rxPool = Math.min(Math.ceil(options.pool / 2), RX_SLOTS);
  const txPool = Math.min(options.pool - rxPool, TX_SLOTS);
  if (options.poolUse === "fixed" && options.pool > 0) {
    return { txPool, rxPool, txOrdinary: 0, rxOrdinary: 0 };
  }
  return { txPool, rxPool, txOrdinary: TX_SLOTS, rxOrdinary: RX_SLOTS - rxPool };
}
