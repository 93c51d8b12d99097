/**
 * Which receive queue a frame goes to: virtio 1.4, 5.1.6.5.5 to 5.1.6.5.7.
 *
 * At first the first queue takes all. Then the driver's last command counts: VQ_PAIRS_SET spreads flows over so many
 * pairs as the device sees fit (automatic receive steering); RSS_CONFIG brings a table that says it.
 *
 * @module
 */
import { HASH_NONE } from "../../core/flow.ts";
import { isPowerOfTwo } from "../../core/index.ts";
import type { ReceiveHash } from "./receive_hash.ts";

/** Most entries of a table: rss_max_indirection_table_length, of which 128 is the least that a device may have. */
export const RSS_TABLE_LENGTH: number = 128;

/** What RSS_CONFIG says of steering. Receive queues are numbered by their pairs. */
export interface RssTable {
  /** Queue by the low bits of the hash: a power of two of them. */
  readonly queues: readonly number[];
  /** Queue for what is not hashed. */
  readonly unclassified: number;
  /** Transmit queues that the driver may use. */
  readonly pairs: number;
}

/** See the module. */
export class Steering {
  /** Pairs in use. */
  pairs = 1;
  /** Whether the hash of a frame matters: if not, the first queue takes it. */
  spreads = false;
  /** The table, if the driver has set one. */
  table: RssTable | undefined;
  readonly #maxPairs: number;

  /** Steers to the first of `maxPairs` queues. */
  constructor(maxPairs: number) {
    this.#maxPairs = maxPairs;
  }

  /** Begins afresh. */
  reset(): void {
    this.setPairs(1);
  }

  /** Lets automatic steering use so many pairs. Returns whether there are as many. */
  setPairs(pairs: number): boolean {
    if (pairs < 1 || pairs > this.#maxPairs) return false;
    this.pairs = pairs;
    this.spreads = pairs > 1;
    this.table = undefined;
    return true;
  }

  /** Lets a table steer. Returns whether it is one, and names only queues that there are. */
  setTable(table: RssTable): boolean {
    const { queues, unclassified, pairs } = table;
    const exists = (queue: number) => queue < this.#maxPairs;
    if (!isPowerOfTwo(queues.length) || queues.length > RSS_TABLE_LENGTH) return false;
    if (pairs < 1 || pairs > this.#maxPairs || ![unclassified, ...queues].every(exists)) return false;
    this.pairs = pairs;
    this.spreads = true;
    this.table = table;
    return true;
  }

  /** The receive queue for a frame with this hash. */
  queueOf(hash: ReceiveHash): number {
    const { table } = this;
    if (table === undefined) return hash.value % this.pairs;
    if (hash.report === HASH_NONE) return table.unclassified;
    return table.queues[hash.value & (table.queues.length - 1)]!;
  }
}
