/**
 * The driver half of virtio-net: brings a device up through its transport, transmits and receives.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import type { Counters } from "../../core/counters.ts";
import type { DmaMemory } from "../../core/dma_memory.ts";
import { RingFault } from "../../core/fault.ts";
import { flowHash, FlowParser, hashTypeBit } from "../../core/flow.ts";
import { flowHashType, HASH_UDPV6_EX } from "../../core/flow.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { type DriverHalf, type FrameSink, OVERSIZE } from "../../core/plugin.ts";
import { MICROSOFT_RSS_KEY, ToeplitzKey } from "../../core/toeplitz.ts";
import { DriverControl } from "./driver_control.ts";
import { DriverQueue } from "./driver_queue.ts";
import { brokenDependency, dropDependents, featureNames, hasFeature, netHeaderLength } from "./features.ts";
import { virtio_net_config } from "./layout.ts";
import { receiveChain, ReceiveQueue } from "./receive_queue.ts";
import { ringFootprint } from "./ring_areas.ts";
import { TransmitQueue } from "./transmit_queue.ts";
import { STATUS, type VirtioTransport } from "./transport.ts";

/** Buffers of a transmit chain: net header and frame. */
const LONGEST_TRANSMIT_CHAIN = 2;
const LONGEST_CONTROL_CHAIN = 3;
const CONTROL_QUEUE_SIZE = 64;
/** What a frame is longer than the MTU says. */
const ETHERNET_HEADER = 14;

/** How the driver sets itself up. */
export interface VirtioNetDriverOptions {
  /** Its memory. */
  readonly dma: DmaMemory;
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
  readonly #longestFrame: number;
  readonly #flow = new FlowParser();
  readonly #key = new ToeplitzKey(MICROSOFT_RSS_KEY);

  /**
   * Brings the device up: virtio 1.4, 3.1.1.
   *
   * @throws {RingFault} If the device does not behave as it must.
   */
  constructor(transport: VirtioTransport, options: VirtioNetDriverOptions) {
    this.#transport = transport;
    transport.setStatus(0);
    transport.setStatus(STATUS.ACKNOWLEDGE);
    transport.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    this.features = this.#negotiate(options.features);
    const config = virtio_net_config.decode(transport.readConfig(virtio_net_config.size));
    this.mac = config.mac as number[];
    const most = hasFeature(this.features, "MQ") ? config.max_virtqueue_pairs as number : 1;
    const pairs = Math.min(options.queuePairs ?? 1, most);
    for (let pair = 0; pair < pairs; pair++) this.#startPair(pair, options);
    const control = hasFeature(this.features, "CTRL_VQ")
      ? new DriverControl(
        this.#startQueue("ctrl", 2 * most, CONTROL_QUEUE_SIZE, LONGEST_CONTROL_CHAIN, options.dma),
        options.dma,
        transport,
      )
      : undefined;
    const mtu = hasFeature(this.features, "MTU") ? config.mtu as number + ETHERNET_HEADER : Infinity;
    this.#longestFrame = Math.min(mtu, ...this.#rx.map((queue) => queue.longestFrame));
    transport.setStatus(transport.getStatus() | STATUS.DRIVER_OK);
    for (const { queue } of this.#rx) this.#kick(queue);
    if (hasFeature(this.features, "HASH_REPORT")) {
      control?.setHash(hashTypeBit(HASH_UDPV6_EX) * 2 - 1, MICROSOFT_RSS_KEY);
    }
    if (pairs > 1) control?.setPairs(pairs);
  }

  /** Reads what is offered, accepts what is wanted and possible, and hears whether the device agrees. */
  #negotiate(wanted: bigint): bigint {
    const transport = this.#transport;
    const offered = transport.getFeatures();
    const version1 = 1n << 32n;
    if (!transport.legacy && !(offered & version1)) this.#giveUp("VERSION_1 not offered", offered);
    const accepted = dropDependents(offered & (transport.legacy ? wanted & ~version1 : wanted | version1));
    transport.setFeatures(accepted);
    if (transport.legacy) return accepted;
    transport.setStatus(transport.getStatus() | STATUS.FEATURES_OK);
    if (!(transport.getStatus() & STATUS.FEATURES_OK)) {
      this.#giveUp(brokenDependency(accepted) ?? "FEATURES_OK refused", accepted);
    }
    return accepted;
  }

  #giveUp(reason: string, features: bigint): never {
    this.#transport.setStatus(this.#transport.getStatus() | STATUS.FAILED);
    throw new RingFault("driver", "features", "bring-up", 0, { reason, features });
  }

  #startPair(pair: number, options: VirtioNetDriverOptions): void {
    const { dma, space, rxBuffer } = options;
    const mergeable = hasFeature(this.features, "MRG_RXBUF");
    const headerLength = netHeaderLength(this.features);
    const rxSize = Math.min(options.rxQueueSize, this.#transport.maxQueueSize(2 * pair));
    // A chain must not be longer than the ring, not even in an indirect table (2.7.5.3.1).
    const bytes = Math.max(
      headerLength,
      mergeable || rxBuffer <= 4096 ? rxBuffer : Math.min(rxBuffer, rxSize * 4096),
    );
    const rx = this.#startQueue(`rx${pair}`, 2 * pair, rxSize, receiveChain(bytes, mergeable), dma);
    const hashReport = hasFeature(this.features, "HASH_REPORT");
    this.#rx.push(new ReceiveQueue(rx, pair, dma, { bytes, mergeable, headerLength, hashReport }));
    rx.enableInterrupts();
    const tx = this.#startQueue(`tx${pair}`, 2 * pair + 1, options.queueSize, LONGEST_TRANSMIT_CHAIN, dma);
    tx.disableInterrupts();
    this.#tx.push(new TransmitQueue(tx, pair, dma, space, headerLength));
  }

  #startQueue(
    name: string,
    index: number,
    wanted: number,
    longestChain: number,
    dma: DmaMemory,
  ): DriverQueue {
    const { legacy } = this.#transport;
    const most = this.#transport.maxQueueSize(index);
    if (most === 0) throw new RingFault("driver", name, "bring-up", index, { queue_size: 0 });
    const size = legacy ? most : Math.min(wanted, most);
    const chain = Math.min(longestChain, size);
    const queue = new DriverQueue(name, index, dma, {
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

  #queueOf(bytes: Uint8Array, offset: number, length: number): number {
    this.#flow.parse(bytes, offset, length);
    const type = flowHashType(this.#flow, hashTypeBit(HASH_UDPV6_EX) * 2 - 1);
    return flowHash(this.#key, this.#flow, type) % this.#tx.length;
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
    const result: Counters = { "driver.interrupts": this.interrupts };
    const add = (name: string, value: number) => result[name] = (result[name] ?? 0) + value;
    const addQueue = (direction: string, queue: DriverQueue) => {
      const { counters } = queue;
      const footprint = ringFootprint(queue.size);
      add(`${direction}.chains`, counters.chains);
      add(`${direction}.descriptors`, counters.descriptors);
      add(`${direction}.indirect_tables`, counters.indirectTables);
      add(`${direction}.kicks`, counters.kicks);
      add(`${direction}.kicks_suppressed`, counters.kicksSuppressed);
      add("ring.bytes", footprint.bytes);
      add("ring.padding.flexible", footprint.flexiblePadding);
      add("ring.padding.legacy", footprint.legacyPadding);
    };
    for (const tx of this.#tx) {
      addQueue("tx", tx.queue);
      add("tx.dma_maps", tx.maps);
      add("tx.bounce_bytes", tx.bounceBytes);
      add("tx.full", tx.stalls);
    }
    for (const rx of this.#rx) {
      addQueue("rx", rx.queue);
      add("rx.dma_maps", rx.posted);
      add("rx.frames", rx.frames);
      add("rx.buffers", rx.buffers);
      add("rx.hashed", rx.hashed);
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
