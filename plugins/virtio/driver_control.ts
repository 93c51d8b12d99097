/**
 * The driver's side of the control queue: one command at a time, waited for.
 *
 * Virtio 1.4, 5.1.6.5.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import type { DriverQueue } from "./driver_queue.ts";
import {
  CTRL_CLASS,
  CTRL_MQ,
  rssConfig,
  virtio_net_ctrl_hdr,
  virtio_net_ctrl_mq,
  virtio_net_hash_config,
  VIRTIO_NET_OK,
} from "./layout.ts";
import type { RssTable } from "./steering.ts";
import type { VirtioTransport } from "./transport.ts";

/** What the ack byte holds until the device has written it. */
const UNANSWERED = 0xff;
/** An RSS table of 128 entries, the longest command, takes 309. */
const COMMAND_SPACE = 512;
/** What the device reads, and the ack. */
const COMMAND_BUFFERS = 2;

/** See the module. */
export class DriverControl {
  readonly #queue: DriverQueue;
  readonly #dma: DmaMemory;
  readonly #transport: VirtioTransport;
  readonly #offset: number;
  readonly #address: number;

  /**
   * Allocates the command buffer.
   *
   * @throws {RingFault} If the device's queue is too small for a command.
   */
  constructor(queue: DriverQueue, dma: DmaMemory, transport: VirtioTransport) {
    if (!queue.fits(COMMAND_BUFFERS)) queue.fault("bring-up", { size: queue.size });
    this.#queue = queue;
    this.#dma = dma;
    this.#transport = transport;
    const { offset, address } = dma.allocate(COMMAND_SPACE, 16);
    this.#offset = offset;
    this.#address = address;
  }

  /** Sets the number of queue pairs in use. */
  setPairs(pairs: number): void {
    this.#command(CTRL_MQ.VQ_PAIRS_SET, virtio_net_ctrl_mq.encode({ virtqueue_pairs: pairs }));
  }

  /** Sets which hashes the device reports, and its key. */
  setHash(types: number, key: readonly number[]): void {
    const data = virtio_net_hash_config.encode({
      hash_types: types,
      hash_key_length: key.length,
      hash_key_data: key,
    });
    this.#command(CTRL_MQ.HASH_CONFIG, data);
  }

  /** Sets which receive queue the device puts a frame into, by which hashes, and its key. */
  setRss(table: RssTable, types: number, key: readonly number[]): void {
    const { queues, unclassified, pairs } = table;
    const data = rssConfig(queues.length).encode({
      hash_types: types,
      indirection_table_mask: queues.length - 1,
      unclassified_queue: unclassified,
      ...Object.fromEntries(queues.map((queue, i) => [`indirection_table[${i}]`, queue])),
      max_tx_vq: pairs,
      hash_key_length: key.length,
      hash_key_data: key,
    });
    this.#command(CTRL_MQ.RSS_CONFIG, data);
  }

  /** Sends a command of class MQ: what the device reads in one buffer, the ack that it writes in another. */
  #command(cmd: number, data: Uint8Array): void {
    const { bytes } = this.#dma.memory;
    const length = virtio_net_ctrl_hdr.size + data.length;
    bytes.set(virtio_net_ctrl_hdr.encode({ class: CTRL_CLASS.MQ, cmd }), this.#offset);
    bytes.set(data, this.#offset + virtio_net_ctrl_hdr.size);
    bytes[this.#offset + length] = UNANSWERED;
    this.#queue.addChain([this.#address, this.#address + length], [length, 1], COMMAND_BUFFERS, 1);
    if (this.#queue.publish()) this.#transport.kick(this.#queue.index, this.#queue.availIndex);
    const answered = this.#queue.nextUsed();
    const ack = bytes[this.#offset + length]!;
    if (!answered || ack !== VIRTIO_NET_OK) {
      this.#queue.fault("control-failed", { class: CTRL_CLASS.MQ, cmd, ack });
    }
    this.#queue.release(this.#queue.usedHead);
  }
}
