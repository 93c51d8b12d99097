/**
 * Counters tell what traffic costs a ring: descriptors, copies, doorbells, maps.
 *
 * @module
 */

/** One counter: its flat, dotted key and what exactly is counted, so that two people would count the same. */
export interface CounterSpec {
  /** Key in the statistics, for example `tx.kicks`. */
  readonly name: string;
  /** What one unit is, and when it is counted. */
  readonly meaning: string;
}

/** Readings by counter name. */
export type Counters = Record<string, number>;
