/**
 * The driver half of virtio-net: brings a device up through its transport, transmits and receives.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import type { Counters } from "../../core/counters.ts";
import type { DmaMemory } from "../../core/dma_memory.ts";
import { RingFault } from "../../core/fault.ts";
import { flowHash, flowHashType, FlowParser } from "../../core/flow.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { type DriverHalf, type FrameSink, OVERSIZE } from "../../core/plugin.ts";
import { MICROSOFT_RSS_KEY, ToeplitzKey } from "../../core/toeplitz.ts";
import { DriverControl } from "./driver_control.ts";
import { negotiate, type NetConfig, readNetConfig } from "./driver_negotiation.ts";
import { DriverQueue } from "./driver_queue.ts";
import { featureNames, hasFeature, netHeaderLength } from "./features.ts";
import { receiveBytes, receiveChain, ReceiveQueue } from "./receive_queue.ts";
import { ringFootprint } from "./ring_areas.ts";
import { TransmitQueue } from "./transmit_queue.ts";
import { RSS_TABLE_LENGTH } from "./steering.ts";
import { STATUS, type VirtioTransport } from "./transport.ts";

/** Buffers of a transmit chain: net header and frame. */
const LONGEST_TRANSMIT_CHAIN = 2;
const LONGEST_CONTROL_CHAIN = 3;
const CONTROL_QUEUE_SIZE = 64;

/** How the driver sets itself up. */
export interface VirtioNetDriverOptions {
  /** Its memory for buffers and indirect tables. */
  readonly dma: DmaMemory;
  /** Its memory for rings, which the device may see in another address space; `dma` if not given. */
  readonly ringDma?: DmaMemory;
  /** Where the device finds the frames that are transmitted. */
  readonly space: AddressSpace;
  /** Features it accepts when offered; VERSION_1 always is. */
  readonly features: bigint;
  /** Size of transmit queues, or smaller if the device's largest is. */
  readonly queueSize: number;
  /** Size of receive queues, likewise. */
  readonly rxQueueSize: number;
  /** Bytes of one receive buffer. */
  readonly rxBuffer: number;
  /** Queue pairs it wants. */
  readonly queuePairs?: number;
}

/** The queues of a pair that were started, and the size of the receive buffers that are to be posted. */
interface PairRings {
  readonly rx: DriverQueue;
  readonly tx: DriverQueue;
  readonly bytes: number;
}

/** A virtio-net driver. See the module. */
export class VirtioNetDriver implements DriverHalf {
  /** Feature bits that were negotiated. */
  readonly features: bigint;
  /** Hardware address as the device told it. */
  readonly mac: readonly number[];
  /** Interrupts taken. */
  interrupts = 0;
  readonly #transport: VirtioTransport;
  readonly #tx: TransmitQueue[] = [];
  readonly #rx: ReceiveQueue[] = [];
  readonly #options: VirtioNetDriverOptions;
  readonly #config: NetConfig;
  readonly #pairs: number;
  readonly #headerLength: number;
  readonly #mergeable: boolean;
  /** Whether the device chooses receive queues by a table of the driver's: RSS. */
  readonly #scales: boolean;
  #longestFrame = 0;
  /** What queues did that are no more. */
  readonly #past: Counters = {};
  readonly #flow = new FlowParser();
  readonly #key = new ToeplitzKey(MICROSOFT_RSS_KEY);

  /**
   * Brings the device up: virtio 1.4, 3.1.1.
   *
   * @throws {RingFault} If the device does not behave as it must.
   */
  constructor(transport: VirtioTransport, options: VirtioNetDriverOptions) {
    this.#transport = transport;
    this.#options = options;
    transport.setStatus(0);
    transport.setStatus(STATUS.ACKNOWLEDGE);
    transport.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    this.features = negotiate(transport, options.features);
    this.#config = readNetConfig(transport, this.features);
    this.#scales = hasFeature(this.features, "RSS");
    const { mac, pairs: most } = this.#config;
    this.mac = mac;
    const pairs = this.#pairs = Math.min(options.queuePairs ?? 1, most);
    this.#headerLength = netHeaderLength(this.features);
    this.#mergeable = hasFeature(this.features, "MRG_RXBUF");
    // Rings first, then buffers, as drivers do: so rings lie together, and a device that minds them has less to look at.
    const rings = Array.from(
      { length: pairs },
      (_, pair) => this.#startPair(pair, options.queueSize, options.rxQueueSize),
    );
    const control = hasFeature(this.features, "CTRL_VQ")
      ? new DriverControl(
        this.#startQueue("ctrl", 2 * most, CONTROL_QUEUE_SIZE, LONGEST_CONTROL_CHAIN),
        options.dma,
        transport,
      )
      : undefined;
    rings.forEach((each, pair) => this.#equipPair(pair, each));
    this.#measure();
    transport.setStatus(transport.getStatus() | STATUS.DRIVER_OK);
    for (const { queue } of this.#rx) this.#kick(queue);
    this.#configure(control);
  }

  /** Tells the device by which hashes it is to choose a receive queue, or which to report, and how many pairs there are. */
  #configure(control: DriverControl | undefined): void {
    const pairs = this.#pairs;
    if (this.#scales) {
      const queues = Array.from({ length: RSS_TABLE_LENGTH }, (_, i) => i % pairs);
      control?.setRss({ queues, unclassified: 0, pairs }, this.#config.hashTypes, MICROSOFT_RSS_KEY);
      return;
    }
    if (hasFeature(this.features, "HASH_REPORT")) {
      control?.setHash(this.#config.hashTypes, MICROSOFT_RSS_KEY);
    }
    if (pairs > 1) control?.setPairs(pairs);
  }

  /**
   * Gives the two queues of a pair other sizes while the device runs: takes them back from it (RING_RESET, virtio 1.4,
   * 2.6.1) and starts them anew. Rings and receive buffers are allocated afresh, the old ones are not used again.
   *
   * @param pair The pair.
   * @param queueSize Size of the transmit queue, or smaller if the device's largest is.
   * @param rxQueueSize Size of the receive queue, likewise.
   * @param sink Takes what the device had delivered.
   * @throws {RangeError} If RING_RESET was not negotiated, or transmitted frames are still with the device.
   * @throws {RingFault} If the device does not behave as it must.
   */
  resize(pair: number, queueSize: number, rxQueueSize: number, sink: FrameSink): void {
    const tx = this.#tx[pair]!;
    const rx = this.#rx[pair]!;
    if (!hasFeature(this.features, "RING_RESET")) {
      throw new RangeError("Cannot resize queues as RING_RESET was not negotiated");
    }
    tx.reclaim();
    if (tx.queue.outstanding > 0) {
      throw new RangeError(`Cannot resize queues as the device has ${tx.queue.outstanding} frames`);
    }
    for (const { index } of [rx.queue, tx.queue]) this.#transport.resetQueue(index);
    // Until the reset the device may have delivered.
    rx.receive(sink);
    for (const [name, value] of Object.entries(flowCounters(tx, rx))) {
      this.#past[name] = (this.#past[name] ?? 0) + value;
    }
    this.#equipPair(pair, this.#startPair(pair, queueSize, rxQueueSize));
    this.#measure();
    this.#kick(this.#rx[pair]!.queue);
  }

  /** Finds out how long frames may be now. */
  #measure(): void {
    this.#longestFrame = Math.min(this.#config.longestFrame, ...this.#rx.map((queue) => queue.longestFrame));
  }

  /** Starts the two queues of a pair: their rings, with nothing in them. */
  #startPair(pair: number, queueSize: number, rxQueueSize: number): PairRings {
    const rxSize = Math.min(rxQueueSize, this.#transport.maxQueueSize(2 * pair));
    const bytes = receiveBytes(this.#options.rxBuffer, this.#mergeable, this.#headerLength, rxSize);
    const rx = this.#startQueue(`rx${pair}`, 2 * pair, rxSize, receiveChain(bytes, this.#mergeable));
    const tx = this.#startQueue(`tx${pair}`, 2 * pair + 1, queueSize, LONGEST_TRANSMIT_CHAIN);
    return { rx, tx, bytes };
  }

  /** Gives the two queues of a pair their buffers. */
  #equipPair(pair: number, { rx, tx, bytes }: PairRings): void {
    const { dma, space } = this.#options;
    this.#rx[pair] = new ReceiveQueue(rx, pair, dma, {
      bytes,
      mergeable: this.#mergeable,
      headerLength: this.#headerLength,
      hashReport: hasFeature(this.features, "HASH_REPORT"),
      queues: this.#pairs,
    });
    rx.enableInterrupts();
    tx.disableInterrupts();
    this.#tx[pair] = new TransmitQueue(tx, pair, dma, space, this.#headerLength);
  }

  #startQueue(
    name: string,
    index: number,
    wanted: number,
    longestChain: number,
  ): DriverQueue {
    const { legacy } = this.#transport;
    const { dma, ringDma = dma } = this.#options;
    const most = this.#transport.maxQueueSize(index);
    if (most === 0) throw new RingFault("driver", name, "bring-up", index, { queue_size: 0 });
    const size = legacy ? most : Math.min(wanted, most);
    const chain = Math.min(longestChain, size);
    const queue = new DriverQueue(name, index, ringDma, {
      tables: dma,
      size,
      legacy,
      features: this.features,
      longestChain: chain,
    });
    this.#transport.startQueue(index, size, queue.areas);
    return queue;
  }

  /** Longest frame that both directions can carry, in bytes. */
  get longestFrame(): number {
    return this.#longestFrame;
  }

  /** An interrupt of queue `index`: the host calls `receive` when it comes to it. */
  interrupt(_index: number): void {
    this.interrupts++;
  }

  /** Puts a frame on the transmit queue of its flow. */
  transmit(bytes: Uint8Array, offset: number, length: number, headroom: number): number {
    if (length > this.#longestFrame) return OVERSIZE;
    const pair = this.#tx.length === 1 ? 0 : this.#queueOf(bytes, offset, length);
    return this.#tx[pair]!.transmit(bytes, offset, length, headroom);
  }

  /** Puts frames on the one transmit queue, as far as their headers find room before them. */
  transmitBatch(frames: FrameBatch, from: number, headroom: number): number {
    const tx = this.#tx[0]!;
    if (this.#tx.length > 1 || headroom < tx.headerLength) return from;
    return tx.transmitBatch(frames, from, this.#longestFrame);
  }

  /** The pair by the flow's hash, as the device will choose it for what it receives of the flow. */
  #queueOf(bytes: Uint8Array, offset: number, length: number): number {
    this.#flow.parse(bytes, offset, length);
    const type = flowHashType(this.#flow, this.#config.hashTypes);
    const hash = flowHash(this.#key, this.#flow, type);
    return (this.#scales ? hash & (RSS_TABLE_LENGTH - 1) : hash) % this.#tx.length;
  }

  /** Publishes what was transmitted. */
  flush(): void {
    for (let i = 0; i < this.#tx.length; i++) this.#kick(this.#tx[i]!.queue);
  }

  #kick(queue: DriverQueue): void {
    if (queue.publish()) this.#transport.kick(queue.index, queue.availIndex);
  }

  /** Takes received frames and transmitted buffers back. */
  receive(sink: FrameSink): number {
    let moved = 0;
    for (let i = 0; i < this.#tx.length; i++) {
      const rx = this.#rx[i]!;
      moved += this.#tx[i]!.reclaim() + rx.receive(sink);
      this.#kick(rx.queue);
    }
    return moved;
  }

  /** Counters, documented in `counters.ts`. */
  counters(): Counters {
    const result: Counters = { "driver.interrupts": this.interrupts, ...this.#past };
    const add = (name: string, value: number) => result[name] = (result[name] ?? 0) + value;
    for (const [pair, tx] of this.#tx.entries()) {
      const rx = this.#rx[pair]!;
      for (const [name, value] of Object.entries(flowCounters(tx, rx))) add(name, value);
      for (const { size } of [tx.queue, rx.queue]) {
        const footprint = ringFootprint(size);
        add("ring.bytes", footprint.bytes);
        add("ring.padding.flexible", footprint.flexiblePadding);
        add("ring.padding.legacy", footprint.legacyPadding);
      }
    }
    return result;
  }

  /** The negotiated features and the rings. */
  inspect(): Record<string, unknown> {
    const queues = this.#rx.flatMap((rx, i) => [rx.queue, this.#tx[i]!.queue]);
    return {
      features: featureNames(this.features),
      mac: this.mac.map((byte) => byte.toString(16).padStart(2, "0")).join(":"),
      longest_frame: this.#longestFrame,
      queues: queues.map(({ name, size, areas, free, outstanding }) => ({
        name,
        size,
        areas,
        free,
        outstanding,
      })),
    };
  }
}

/** What went through the queues of a pair. */
function flowCounters(tx: TransmitQueue, rx: ReceiveQueue): Counters {
  const queue = (direction: string, { counters }: DriverQueue): Counters => ({
    [`${direction}.chains`]: counters.chains,
    [`${direction}.descriptors`]: counters.descriptors,
    [`${direction}.indirect_tables`]: counters.indirectTables,
    [`${direction}.kicks`]: counters.kicks,
    [`${direction}.kicks_suppressed`]: counters.kicksSuppressed,
  });
  return {
    ...queue("tx", tx.queue),
    "tx.dma_maps": tx.maps,
    "tx.bounce_bytes": tx.bounceBytes,
    "tx.full": tx.stalls,
    ...queue("rx", rx.queue),
    "rx.dma_maps": rx.posted,
    "rx.frames": rx.frames,
    "rx.buffers": rx.buffers,
    "rx.hashed": rx.hashed,
  };
}
