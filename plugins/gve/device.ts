/**
 * The device half: a gVNIC behind two BARs and an address space. Nothing of a driver is known here, so that any can be
 * opposite: the one of this package, or a foreign one behind vfio-user.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import { type Clock, systemClock } from "../../core/clock.ts";
import type { Counters } from "../../core/counters.ts";
import type { Frame } from "../../core/frame.ts";
import type { FrameBatch, PieceBatch } from "../../core/frame_batch.ts";
import {
  type DeviceHalf,
  type Doorbell,
  NO_BUFFERS,
  OVERSIZE,
  type Registers,
  type Wire,
} from "../../core/plugin.ts";
import { AdminDevice } from "./admin_device.ts";
import { ClockGate } from "./clock_gate.ts";
import { DEVICE_STATUS } from "./constants.ts";
import { DeviceCounters, deviceReadings } from "./counters.ts";
import type { DeviceContext, NotifyBlock } from "./device_context.ts";
import type { DeviceSettings } from "./device_settings.ts";
import type { DqoRxDevice } from "./dqo/rx_device.ts";
import type { GqiRxDevice } from "./gqi/rx_device.ts";
import { gve_dqo_irq_doorbell } from "./layout_dqo.ts";
import { gve_gqi_irq_doorbell } from "./layout_gqi.ts";
import { Offload } from "./offload.ts";
import { doorbellWords, FIRST_IRQ_WORD, MAX_IRQS, type RxQueue } from "./queue_commands.ts";
import { DoorbellBar, RegisterFile, swap32 } from "./registers.ts";

const GQI_MASK = gve_gqi_irq_doorbell.maskOf("mask");
const DQO_ENABLE = gve_dqo_irq_doorbell.maskOf("enable");
const DQO_NO_INTERRUPTS = gve_dqo_irq_doorbell.maskOf("no_int_mode");

/** A gVNIC. */
export class GveDevice implements DeviceHalf {
  /** Registers. */
  readonly bar0: Registers;
  /** Doorbells. */
  readonly bar2: Registers;
  /** Bytes of BAR2. */
  readonly bar2Size: number;
  readonly #settings: DeviceSettings;
  readonly #counters = new DeviceCounters();
  readonly #context: DeviceContext;
  readonly #registers: RegisterFile;
  readonly #admin: AdminDevice;
  readonly #interrupt: Doorbell;
  /** Whether it may be time for statistics. */
  readonly #gate = new ClockGate();

  /**
   * A device in reset.
   *
   * @param space All memory that it can reach.
   * @param settings What it is.
   * @param interrupt Raises an interrupt: the number is its MSI-X vector.
   * @param clock Time.
   */
  constructor(
    space: AddressSpace,
    settings: DeviceSettings,
    interrupt: Doorbell,
    clock: Clock = systemClock,
  ) {
    this.#settings = settings;
    this.#interrupt = interrupt;
    const bar2 = new DoorbellBar(doorbellWords(settings), (word, value) => this.#doorbell(word, value));
    this.#context = {
      space,
      doorbells: bar2.words,
      counters: this.#counters,
      clock,
      strict: settings.strict,
      nicLimits: settings.nicLimits,
      offload: new Offload(),
    };
    this.#admin = new AdminDevice(this.#context, settings, {
      completed: (count) => {
        this.#registers.eventCounter = count;
      },
      reported: () => this.#registers.setStatus(DEVICE_STATUS.REPORT_STATS, false),
    });
    this.#registers = new RegisterFile(settings.revision, settings.maxTxQueues, settings.maxRxQueues, {
      attach: (address) => this.#admin.attach(address),
      doorbell: (count) => this.#admin.doorbell(count),
      reset: () => this.#reset(),
    });
    this.bar0 = this.#registers;
    this.bar2 = bar2;
    this.bar2Size = bar2.size;
  }

  /** Asks the driver to reset the device, as the host does before it is moved to another machine. */
  requestReset(): void {
    this.#registers.setStatus(DEVICE_STATUS.RESET_WANTED, true);
    this.#manage();
  }

  /** Tells the driver that the link went up or down. */
  setLink(up: boolean): void {
    this.#registers.setStatus(DEVICE_STATUS.LINK_UP, up);
    this.#manage();
  }

  /** Asks the driver to write its statistics now. The device's own follow as soon as it has. */
  requestStatistics(): void {
    this.#admin.askForStatistics();
    this.#registers.setStatus(DEVICE_STATUS.REPORT_STATS, true);
    this.#manage();
  }

  /** Works off the transmit queues. */
  service(wire: Wire): number {
    const { tx, rx } = this.#admin;
    let moved = 0;
    for (let i = 0; i < tx.length; i++) moved += tx[i]!.service(wire);
    if (this.#admin.dqo) {
      for (let i = 0; i < rx.length; i++) moved += (rx[i] as DqoRxDevice).flush();
    }
    this.#raise();
    if (this.#gate.opens(moved)) this.#admin.updateStatistics();
    return moved;
  }

  /** Puts a frame into a receive queue, which receive side scaling chooses if there are several. */
  deliver(frame: Frame): number {
    const { rx, steering } = this.#admin;
    let queue: RxQueue | undefined = rx[0];
    if (this.#admin.steers) queue = rx[steering.steer(frame)] ?? queue;
    if (queue === undefined) return NO_BUFFERS;
    if (frame.length > queue.largestFrame || this.#admin.overMtu(frame)) {
      this.#admin.rxCounters[queue.queue]!.rxOversize++;
      return OVERSIZE;
    }
    if (frame.length === 0) {
      // The hardware knows no empty buffers: such a frame ends here.
      this.#admin.rxCounters[queue.queue]!.rxRunts++;
      return queue.queue;
    }
    return queue.deliver(frame, steering) ? queue.queue : NO_BUFFERS;
  }

  /** Puts frames into receive buffers in one loop, as far as that is possible. */
  deliverBatch(frames: FrameBatch, from: number): number {
    const { rx, steers, longestPlain } = this.#admin;
    const [queue] = rx;
    if (steers || queue === undefined || queue.queue !== 0) return from;
    if (longestPlain === Infinity) return queue.deliverBatch(frames, from);
    const { count, lengths } = frames;
    let end = from;
    while (end < count && lengths[end]! <= longestPlain) end++;
    frames.count = end;
    const taken = queue.deliverBatch(frames, from);
    frames.count = count;
    return taken;
  }

  /** Puts frames of several pieces into receive buffers in one loop, as far as that is possible: a GQI queue's. */
  deliverPieces(frames: PieceBatch): number {
    const { rx, steers, longestPlain } = this.#admin;
    const [queue] = rx;
    if (steers || queue === undefined || queue.queue !== 0 || this.#admin.dqo) return 0;
    const { count, sizes } = frames;
    if (longestPlain !== Infinity) {
      let end = 0;
      while (end < count && sizes[end]! <= longestPlain) end++;
      frames.count = end;
    }
    const taken = (queue as GqiRxDevice).deliverPieces(frames);
    frames.count = count;
    return taken;
  }

  /** Readings. */
  counters(): Counters {
    return deviceReadings(this.#counters, this.#admin.rxCounters);
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    const admin = this.#admin;
    return {
      driver_version: this.#registers.version,
      format: admin.format,
      mtu: admin.mtu,
      admin_commands: admin.done,
      page_lists: [...admin.lists.values()].map(({ id, pages, pageSize, users }) => ({
        id,
        pages: pages.length,
        page_size: `0x${pageSize.toString(16)}`,
        users,
      })),
      tx: Object.fromEntries(admin.tx.map((queue) => [queue.queue, queue.inspect()])),
      rx: Object.fromEntries(admin.rx.map((queue) => [queue.queue, queue.inspect()])),
    };
  }

  #reset(): void {
    this.#counters.resets++;
    this.#admin.reset();
    this.#registers.clear();
  }

  #manage(): void {
    const { managementVector } = this.#admin;
    if (managementVector < 0) return;
    this.#counters.interrupts++;
    this.#interrupt(managementVector);
  }

  /** Raises what is pending. */
  #raise(): void {
    const { blocks } = this.#admin;
    for (let i = 0; i < blocks.length; i++) {
      const block = blocks[i]!;
      if (block.pending) this.#raiseBlock(block);
    }
  }

  #raiseBlock(block: NotifyBlock): void {
    if (!block.armed) {
      this.#counters.interruptsSuppressed++;
      return;
    }
    block.pending = false;
    if (this.#admin.dqo) {
      // Completions that were held back come with the interrupt.
      const { rx } = this.#admin;
      for (let i = 0; i < rx.length; i++) {
        if (rx[i]!.block === block) (rx[i] as DqoRxDevice).publish();
      }
      // DQO interrupts are one-shot; GQI drivers mask theirs in the handler.
      block.armed = false;
    }
    this.#counters.interrupts++;
    this.#interrupt(block.vector);
  }

  /** A word of BAR2 was written: queue doorbells wait for the next service, interrupt doorbells count at once. */
  #doorbell(word: number, value: number): void {
    const at = word - FIRST_IRQ_WORD;
    if (at < 0 || at >= MAX_IRQS) return;
    const block = this.#admin.blocks[at];
    if (block === undefined) return;
    if (this.#admin.dqo) block.armed = (value & (DQO_ENABLE | DQO_NO_INTERRUPTS)) !== 0;
    else block.armed = (swap32(value) & GQI_MASK) === 0;
    // What happened while interrupts were off is told now.
    if (block.armed && block.pending) this.#raiseBlock(block);
  }
}
