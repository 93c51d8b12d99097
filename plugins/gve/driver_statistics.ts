/**
 * The driver's part of the statistics block.
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";
import type { Allocation } from "../../core/dma_memory.ts";
import type { Memory } from "../../core/memory.ts";
import { DEVICE_STATS, DRIVER_STATS, STAT } from "./constants.ts";
import type { DriverCounters } from "./counters.ts";
import { gve_stats_report, stats } from "./layout_records.ts";

const WRITTEN_COUNT = gve_stats_report.offsetOf("written_count");

/** What the block says of a pair of queues. */
export interface QueueFigures {
  /** What they counted. */
  readonly counters: DriverCounters;
  /** Where the transmit queue's completions have come to. */
  readonly completed: number;
  /** Sequence number of the receive queue's next descriptor; 0 where there are none (DQO). */
  readonly sequence: number;
}

/** Bytes of the block for so many pairs of queues. */
export function statisticsLength(queues: number): number {
  return gve_stats_report.size + queues * stats.size * (DRIVER_STATS.TX + DRIVER_STATS.RX + DEVICE_STATS);
}

/** Writes the records once per interval: those of all transmit queues, then those of all receive queues. */
export class DriverStatistics {
  readonly #clock: Clock;
  readonly #memory: Memory;
  readonly #block: Allocation;
  readonly #interval: number;
  #due: number;
  #written = 0n;
  #asked = false;

  /** Writes first when `interval` milliseconds have passed. */
  constructor(clock: Clock, memory: Memory, block: Allocation, interval: number) {
    this.#clock = clock;
    this.#memory = memory;
    this.#block = block;
    this.#interval = interval;
    this.#due = clock.now() + interval;
  }

  /** The device wants to have the records at once: the next {@linkcode update} writes them. The interval goes on. */
  ask(): void {
    this.#asked = true;
  }

  /** Writes what `figures` gives if it is time, or was asked for. */
  update(figures: () => readonly QueueFigures[]): void {
    const now = this.#clock.now();
    if (now >= this.#due) this.#due = now + this.#interval;
    else if (!this.#asked) return;
    this.#asked = false;
    this.#memory.view.setBigUint64(this.#block.offset + WRITTEN_COUNT, ++this.#written);
    const queues = figures();
    let at = this.#block.offset + gve_stats_report.size;
    const put = (stat_name: number, queue_id: number, value: number) => {
      this.#memory.bytes.set(stats.encode({ stat_name, queue_id, value }), at);
      at += stats.size;
    };
    queues.forEach(({ counters, completed }, queue) => {
      put(STAT.TX_WAKES, queue, counters.txWakes);
      put(STAT.TX_STOPS, queue, counters.txStops);
      put(STAT.TX_FRAMES, queue, counters.txPackets);
      put(STAT.TX_BYTES, queue, counters.txBytes);
      put(STAT.TX_LAST_COMPLETION, queue, completed);
      // No queue is ever found stuck: whoever waits for one does so for good reason.
      put(STAT.TX_TIMEOUTS, queue, 0);
    });
    queues.forEach(({ counters, sequence }, queue) => {
      put(STAT.RX_NEXT_SEQUENCE, queue, sequence);
      put(STAT.RX_BUFFERS_POSTED, queue, counters.rxPosted);
    });
  }
}
