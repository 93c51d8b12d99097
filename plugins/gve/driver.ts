/**
 * The driver half: brings a gVNIC up through registers and admin queue, and moves frames through its rings.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import type { Clock } from "../../core/clock.ts";
import type { Counters } from "../../core/counters.ts";
import type { DmaMemory } from "../../core/dma_memory.ts";
import { flowHash, flowHashType, FlowParser } from "../../core/flow.ts";
import { type DriverHalf, type FrameSink, OVERSIZE } from "../../core/plugin.ts";
import { MICROSOFT_RSS_KEY, ToeplitzKey } from "../../core/toeplitz.ts";
import { Bringup } from "./driver_bring_up.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { BouncePool } from "./bounce_pool.ts";
import { ClockGate } from "./clock_gate.ts";
import { DriverCounters, driverReadings } from "./counters.ts";
import { isDqo, usesPageLists } from "./formats.ts";
import { DmaMapper } from "./dma_mapper.ts";
import type { DriverSettings } from "./driver_settings.ts";
import { GQI_NIC_DESCRIPTORS, LARGEST_FRAME, NIC_LIMITS, RSS_LUT_SIZE } from "./constants.ts";
import { gve_dqo_irq_doorbell } from "./layout_dqo.ts";
import { gve_gqi_irq_doorbell } from "./layout_gqi.ts";
import { longestFrame, longestUntagged } from "./mtu.ts";
import type { DriverContext } from "./queue_context.ts";
import { type Bus, swap32 } from "./registers.ts";
import { TransmitRequest, UNMAPPED } from "./transmit_request.ts";

const GQI_MASK = gve_gqi_irq_doorbell.maskOf("mask");
const GQI_REARM = (gve_gqi_irq_doorbell.maskOf("ack") | gve_gqi_irq_doorbell.maskOf("event")) >>> 0;
const DQO_ENABLE = gve_dqo_irq_doorbell.maskOf("enable");
const DQO_INTERVAL_SHIFT = gve_dqo_irq_doorbell.shiftOf("interval_2us");
/** Linux' intervals between two interrupts, in units of 2 us: 50 and 20 us. */
const TX_INTERVAL = 25;
const RX_INTERVAL = 10;
/** Arms without setting an interval. */
const DQO_REARM = DQO_ENABLE | gve_dqo_irq_doorbell.maskOf("itr_index");
/** All of the parser's hash types. */
const ALL_HASHES = 0x1ff;

/** A driver for gVNIC. */
export class GveDriver implements DriverHalf {
  readonly #settings: DriverSettings;
  readonly #counters = new DriverCounters();
  readonly #bus: Bus;
  readonly #context: DriverContext;
  readonly #up: Bringup;
  readonly #dqo: boolean;
  readonly #request = new TransmitRequest();
  readonly #flow = new FlowParser();
  readonly #toeplitz = new ToeplitzKey(MICROSOFT_RSS_KEY);
  readonly #largest: number;
  /** Longest frame that MTU and rings allow whatever is in it. */
  readonly #longestPlain: number;
  /** Most pieces of a packet, GQI's metadata among them, unless the device is to segment it. */
  readonly #mostPieces: number;
  /** Notify blocks whose interrupt was taken and not yet rearmed. */
  readonly #taken: Uint8Array;
  #anyTaken = false;
  /** Whether it may be time for statistics. */
  readonly #gate = new ClockGate();
  #open = true;

  /**
   * Brings the device up: reset, admin queue, resources, page lists, queues, first receive buffers.
   *
   * @param bus The device's BARs.
   * @param dma The driver's memory.
   * @param space What the device can reach: frames that lie there are pointed at (raw addressing).
   * @param clock Time.
   * @param settings What is wanted.
   * @throws {RingFault} If the device breaks a rule, or does not do what the driver cannot do without.
   */
  constructor(bus: Bus, dma: DmaMemory, space: AddressSpace, clock: Clock, settings: DriverSettings) {
    this.#settings = settings;
    this.#bus = bus;
    this.#context = {
      memory: dma.memory,
      mapper: new DmaMapper(space, dma.memory),
      bounce: new BouncePool(dma),
      bar2: bus.bar2,
      counters: this.#counters,
      strict: settings.strict,
      syncs: settings.kind === "linux",
      nicLimits: settings.nicLimits,
      clock,
      log: () => {},
    };
    this.#up = new Bringup(bus, dma, this.#context, settings);
    this.#dqo = isDqo(this.#up.format);
    this.#taken = new Uint8Array(this.#up.irqDoorbells.length);
    this.#largest = this.#up.largestFrame;
    this.#longestPlain = settings.mtu > 0
      ? Math.min(this.#largest, longestUntagged(settings.mtu))
      : this.#largest;
    this.#mostPieces = this.#limitOfPieces();
    this.flush();
    for (let block = 0; block < this.#taken.length; block++) {
      const interval = block < this.#up.tx.length ? TX_INTERVAL : RX_INTERVAL;
      if (settings.kind === "ipxe") this.#arm(block, this.#dqo ? DQO_REARM : GQI_MASK);
      else this.#arm(block, this.#dqo ? DQO_ENABLE | (interval << DQO_INTERVAL_SHIFT) : 0);
    }
  }

  /** The queue format in use. */
  get format(): number {
    return this.#up.format;
  }

  /** Largest frame that both directions carry whatever the state of the rings. */
  get largestFrame(): number {
    return this.#largest;
  }

  /** Whether the device asked for a reset. */
  get resetWanted(): boolean {
    return this.#up.resetWanted;
  }

  /** Puts a linear frame without requests on a transmit ring. */
  transmit(bytes: Uint8Array, offset: number, length: number, _headroom: number): number {
    if (length > this.#largest) return OVERSIZE;
    const { mtu } = this.#settings;
    if (mtu > 0 && length > longestFrame(mtu, bytes, offset, length)) return OVERSIZE;
    const request = this.#request;
    request.pieces = 1;
    request.length = length;
    request.bytes[0] = bytes;
    request.offsets[0] = offset;
    request.lengths[0] = length;
    request.addresses[0] = UNMAPPED;
    const { tx } = this.#up;
    return tx.length === 1
      ? tx[0]!.transmit(request)
      : tx[this.#choose(bytes, offset, length)]!.transmit(request);
  }

  /** Puts linear frames without requests on a transmit ring in one loop, as far as that is possible. */
  transmitBatch(frames: FrameBatch, from: number, _headroom: number): number {
    const { tx } = this.#up;
    return tx.length > 1 ? from : tx[0]!.transmitBatch(frames, from, this.#longestPlain);
  }

  /**
   * Puts a packet with fragments, hash, checksum and segmentation requests on a transmit ring.
   *
   * @param request The packet.
   * @param queue The transmit queue.
   * @returns As {@linkcode transmit}.
   */
  transmitRequest(request: TransmitRequest, queue = 0): number {
    const driver = this.#up.tx[queue];
    if (driver === undefined) throw new RangeError(`Cannot transmit as there is no queue ${queue}`);
    // The NIC takes no packet with a piece that needs two descriptors.
    const pieces = request.pieces + (request.l4Hash && !this.#dqo ? 1 : 0);
    if (pieces > this.#mostPieces && request.segmentSize === 0 && request.length <= LARGEST_FRAME) {
      // As Linux does. A packet that the device is to segment is refused: the stack segments it then.
      request.linearize();
      this.#counters.txLinearized++;
    }
    return driver.transmit(request);
  }

  /** Rings the doorbells of what is new. */
  flush(): void {
    const { tx } = this.#up;
    for (let i = 0; i < tx.length; i++) tx[i]!.flush();
  }

  /** Polls all queues and arms the interrupts that were taken. */
  receive(sink: FrameSink): number {
    const { tx, rx } = this.#up;
    let moved = 0;
    for (let i = 0; i < tx.length; i++) moved += tx[i]!.clean();
    for (let i = 0; i < rx.length; i++) moved += rx[i]!.receive(sink);
    if (this.#settings.kind === "ipxe") this.#rearmAll();
    else if (this.#anyTaken) this.#rearm();
    if (this.#gate.opens(moved)) this.#up.updateStatistics();
    return moved;
  }

  /** Takes an interrupt. What there is to do is done at the next {@linkcode receive}. */
  interrupt(vector: number): void {
    this.#counters.interrupts++;
    if (vector >= this.#taken.length) {
      this.#up.readStatus();
      return;
    }
    this.#taken[vector] = 1;
    this.#anyTaken = true;
    if (!this.#dqo) this.#arm(vector, GQI_MASK);
  }

  /** Closes the queues and gives the device back, in the order in which Linux does. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#up.tearDown();
  }

  /** Resets the device without closing anything: all it knew is gone. */
  reset(): void {
    this.#open = false;
    this.#up.reset();
  }

  /** Readings. */
  counters(): Counters {
    return driverReadings(this.#counters, this.#up.queueCounters);
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    const { tx, rx, format, features, skippedOptions, linkUp, linkSpeed } = this.#up;
    return {
      format,
      features,
      skipped_options: skippedOptions,
      link_up: linkUp,
      link_speed: Number(linkSpeed),
      largest_frame: this.#largest,
      tx: Object.fromEntries(tx.map((queue, i) => [i, queue.inspect()])),
      rx: Object.fromEntries(rx.map((queue, i) => [i, queue.inspect()])),
    };
  }

  /** The transmit queue of a frame's flow: the number of the receive queue that the device is told to choose for it. */
  #choose(bytes: Uint8Array, offset: number, length: number): number {
    const flow = this.#flow;
    flow.parse(bytes, offset, length);
    const hash = flowHash(this.#toeplitz, flow, flowHashType(flow, ALL_HASHES));
    // Of numbers above 2^31 the engine knows no quick remainder.
    return (hash & (RSS_LUT_SIZE - 1)) % this.#up.tx.length;
  }

  /** What the NIC allows, if its limits apply; what is copied is in as few pieces as can be. */
  #limitOfPieces(): number {
    const { nicLimits, kind } = this.#settings;
    if (!nicLimits || usesPageLists(this.format) || (kind === "ipxe" && !this.#dqo)) return Infinity;
    return this.#dqo ? NIC_LIMITS.descriptors : GQI_NIC_DESCRIPTORS;
  }

  /** iPXE polls. A DQO device writes completions when it may raise an interrupt: it may after every poll. */
  #rearmAll(): void {
    if (!this.#dqo) return;
    for (let block = 0; block < this.#taken.length; block++) this.#arm(block, DQO_REARM);
  }

  #rearm(): void {
    this.#anyTaken = false;
    for (let block = 0; block < this.#taken.length; block++) {
      if (this.#taken[block] === 0) continue;
      this.#taken[block] = 0;
      this.#arm(block, this.#dqo ? DQO_REARM : GQI_REARM);
    }
  }

  #arm(block: number, value: number): void {
    this.#counters.interruptDoorbells++;
    this.#bus.bar2.write(this.#up.irqDoorbells[block]!, 4, this.#dqo ? value : swap32(value));
  }
}
