/**
 * How the driver brings a gVNIC up: registers, admin queue, resources, page lists, queues, and back.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import {
  DEVICE_STATUS,
  DQO_ON_DEMAND,
  DQO_POST_STEP,
  GQI_RX_PAD,
  LARGEST_FRAME,
  OPCODE,
} from "./constants.ts";
import { DriverCounters } from "./counters.ts";
import { DriverPageLists } from "./driver_page_lists.ts";
import { ReceiveQueues, type RxDriver } from "./driver_rx_queues.ts";
import type { DriverSettings } from "./driver_settings.ts";
import { DriverSetup } from "./driver_setup.ts";
import { TransmitQueues, type TxDriver } from "./driver_tx_queues.ts";
import * as layout from "./layout_admin.ts";
import type { DriverContext } from "./queue_context.ts";
import { type Bus, read32 } from "./registers.ts";

/** A device that is up. */
export class Bringup {
  /** Transmit queues. */
  readonly tx: readonly TxDriver[];
  /** Receive queues. */
  readonly rx: readonly RxDriver[];
  /** Byte offsets in BAR2 of the notify blocks' doorbells. */
  readonly irqDoorbells: readonly number[];
  /** What each pair of queues counted. */
  readonly queueCounters: readonly DriverCounters[];
  /** Largest frame that the receive rings hold at all times: a longer one could wait for ever. */
  readonly largestFrame: number;
  /** Whether the link was up when the device last told. */
  linkUp = false;
  /** Whether the device wanted to be reset then. */
  resetWanted = false;
  readonly #bus: Bus;
  readonly #ipxe: boolean;
  readonly #setup: DriverSetup;
  readonly #pageLists: DriverPageLists;

  /** Brings the device up. */
  constructor(bus: Bus, dma: DmaMemory, context: DriverContext, settings: DriverSettings) {
    this.#bus = bus;
    this.#ipxe = settings.kind === "ipxe";
    const setup = this.#setup = new DriverSetup(bus, dma, context, settings);
    this.queueCounters = Array.from({ length: setup.queues }, () => new DriverCounters());
    const contexts = this.queueCounters.map((counters) => ({ ...context, counters }));
    const pageLists = this.#pageLists = new DriverPageLists(setup, context.counters);
    this.irqDoorbells = setup.irqDoorbells;
    const transmit = new TransmitQueues(setup, pageLists, contexts, settings);
    const receive = new ReceiveQueues(setup, pageLists, contexts, settings);
    this.tx = transmit.create();
    this.rx = receive.create();
    this.largestFrame = largestFrame(setup, receive.buffers, settings);
    this.readStatus();
  }

  /** Queue format. */
  get format(): number {
    return this.#setup.format;
  }

  /** Features in use. */
  get features(): number {
    return this.#setup.device.features;
  }

  /** Options passed over. */
  get skippedOptions(): readonly number[] {
    return this.#setup.device.skipped;
  }

  /** Bits per second, or 0 if the device did not say. */
  get linkSpeed(): bigint {
    return this.#setup.linkSpeed;
  }

  /** Brings the statistics block up to date, once per interval and when the device asks for it. */
  updateStatistics(): void {
    this.#setup.statistics?.update(() =>
      this.queueCounters.map((counters, queue) => {
        const { sequence } = this.rx[queue]!;
        return { counters, completed: this.tx[queue]!.completed, sequence };
      })
    );
  }

  /** Looks what the device has to tell. Statistics that it wants are written by {@linkcode updateStatistics}. */
  readStatus(): void {
    const status = read32(this.#bus.bar0, layout.gve_registers.offsetOf("device_status"));
    if ((status & DEVICE_STATUS.REPORT_STATS) !== 0) this.#setup.statistics?.ask();
    this.linkUp = (status & DEVICE_STATUS.LINK_UP) !== 0;
    this.resetWanted = (status & DEVICE_STATUS.RESET_WANTED) !== 0;
  }

  /** Resets the device. */
  reset(): void {
    this.#setup.admin.release();
  }

  /** Closes queues, gives pages and resources back, releases the admin queue. */
  tearDown(): void {
    const { admin } = this.#setup;
    // iPXE closes what it opened last first.
    if (this.#ipxe) this.#closeRx();
    this.#closeTx();
    if (!this.#ipxe) this.#closeRx();
    this.#pageLists.unregister();
    if (this.#setup.statistics !== undefined) admin.execute(OPCODE.REPORT_STATS, layout.report_stats, {});
    const status = admin.execute(
      OPCODE.DECONFIGURE_DEVICE_RESOURCES,
      layout.deconfigure_device_resources,
      {},
    );
    admin.require(status, "deconfigure_device_resources");
    admin.release();
  }

  #closeTx(): void {
    const { admin } = this.#setup;
    for (let queue_id = 0; queue_id < this.tx.length; queue_id++) {
      admin.post(OPCODE.DESTROY_TX_QUEUE, layout.destroy_tx_queue, { queue_id });
    }
    admin.require(admin.flush(), "destroy_tx_queue");
  }

  #closeRx(): void {
    const { admin } = this.#setup;
    for (let queue_id = 0; queue_id < this.rx.length; queue_id++) {
      admin.post(OPCODE.DESTROY_RX_QUEUE, layout.destroy_rx_queue, { queue_id });
    }
    admin.require(admin.flush(), "destroy_rx_queue");
  }
}

/** What receive rings hold that have so many buffers. */
function largestFrame(setup: DriverSetup, buffers: number, { kind, bufferSize }: DriverSettings): number {
  if (!setup.dqo) return Math.min(LARGEST_FRAME, buffers * bufferSize - GQI_RX_PAD);
  if (kind === "ipxe") return Math.min(LARGEST_FRAME, buffers * bufferSize);
  // Buffers are announced in steps of 32: up to 31 posted ones are unknown to the device.
  // With a page list all but 96 of them may be waiting for the stack.
  const posted = setup.pageLists ? Math.min(buffers, DQO_ON_DEMAND) : buffers;
  const announced = Math.min(setup.rxRing - 1, posted) - (DQO_POST_STEP - 1);
  return Math.max(0, Math.min(LARGEST_FRAME, announced * bufferSize));
}
