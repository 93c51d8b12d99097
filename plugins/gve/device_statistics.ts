/**
 * The device's part of the statistics block.
 *
 * @module
 */
import { type AddressSpace, WRITE } from "../../core/address_space.ts";
import type { Clock } from "../../core/clock.ts";
import type { Values } from "../../core/layout.ts";
import { DRIVER_STATS, STAT, STATUS } from "./constants.ts";
import type { DeviceCounters } from "./counters.ts";
import { gve_stats_report, stats } from "./layout_records.ts";

/** Where the driver put the block. */
interface Block {
  readonly address: number;
  readonly length: number;
  readonly interval: number;
  due: number;
}

/** Writes the records of all receive queues, behind those of the driver. */
export class DeviceStatistics {
  readonly #space: AddressSpace;
  readonly #clock: Clock;
  readonly #answered: () => void;
  #block: Block | undefined;
  /** What `written_count` was when the driver was asked to write its records, or -1. */
  #asked = -1n;

  /** Starts without a block. `answered` is called once the driver has written what it was asked for. */
  constructor(space: AddressSpace, clock: Clock, answered: () => void) {
    this.#space = space;
    this.#clock = clock;
    this.#answered = answered;
  }

  /** REPORT_STATS: answers with a status. */
  attach(values: Values): number {
    const length = Number(values["stats_report_len"]);
    const address = Number(values["stats_report_addr"]);
    if (length === 0 && address === 0) {
      this.detach();
      return STATUS.PASSED;
    }
    if (length < gve_stats_report.size || !this.#space.contiguous(address, length, WRITE)) {
      return STATUS.INVALID_ARGUMENT;
    }
    const interval = Number(values["interval"]);
    this.#block = { address, length, interval, due: this.#clock.now() + interval };
    return STATUS.PASSED;
  }

  /** Forgets the block. */
  detach(): void {
    this.#block = undefined;
    this.#asked = -1n;
  }

  /** The driver is asked to write its records now: the device's follow at the next {@linkcode update}. */
  ask(): void {
    if (this.#block !== undefined) this.#asked = this.#written(this.#block);
  }

  /** Whether {@linkcode update} has anything to do at some time. */
  get attached(): boolean {
    return this.#block !== undefined;
  }

  /**
   * Writes the records if their time has come, or if the driver has written its own as it was asked to.
   *
   * @param transmitQueues How many transmit queues have records.
   * @param receiveQueues Numbers of the receive queues, in order.
   * @param counters What each of these has counted, by its number.
   */
  update(
    transmitQueues: number,
    receiveQueues: readonly number[],
    counters: readonly DeviceCounters[],
  ): void {
    const block = this.#block;
    if (block === undefined) return;
    const answered = this.#asked >= 0n && this.#written(block) !== this.#asked;
    const now = this.#clock.now();
    if (!answered && now < block.due) return;
    if (now >= block.due) block.due = now + block.interval;
    const driverRecords = transmitQueues * DRIVER_STATS.TX + receiveQueues.length * DRIVER_STATS.RX;
    const at = gve_stats_report.size + stats.size * driverRecords;
    const records = receiveQueues.flatMap((queue) => recordsOf(queue, counters[queue]!));
    if (at + records.length * stats.size <= block.length) {
      records.forEach((record, i) => this.#space.write(block.address + at + i * stats.size, record));
    }
    if (!answered) return;
    this.#asked = -1n;
    this.#answered();
  }

  #written({ address }: Block): bigint {
    const bytes = new Uint8Array(gve_stats_report.size);
    this.#space.read(address, bytes);
    return BigInt(gve_stats_report.decode(bytes)["written_count"] as bigint);
  }
}

/** A receive queue's records. Nothing is ever dropped for its checksum. */
function recordsOf(queue_id: number, counters: DeviceCounters): Uint8Array[] {
  return [
    stats.encode({ stat_name: STAT.RX_QUEUE_DROPS, queue_id, value: counters.rxRunts }),
    stats.encode({ stat_name: STAT.RX_NO_BUFFERS_POSTED, queue_id, value: counters.rxNoBuffers }),
    stats.encode({ stat_name: STAT.RX_DROPS_OVER_MRU, queue_id, value: counters.rxOversize }),
    stats.encode({ stat_name: STAT.RX_DROPS_BAD_CHECKSUM, queue_id }),
  ];
}
