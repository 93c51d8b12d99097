/**
 * The driver's receive side of one queue pair: posts buffers, takes frames out of them, posts them again.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import { BATCH_SIZE, FrameBatch } from "../../core/frame_batch.ts";
import { RingFault } from "../../core/fault.ts";
import { alignUp } from "../../core/index.ts";
import type { Memory } from "../../core/memory.ts";
import type { FrameSink } from "../../core/plugin.ts";
import type { DriverQueue } from "./driver_queue.ts";
import { virtio_net_hdr_v1, virtio_net_hdr_v1_hash } from "./layout.ts";

const HDR_FLAGS = virtio_net_hdr_v1.offsetOf("flags");
const HDR_GSO_TYPE = virtio_net_hdr_v1.offsetOf("gso_type");
const NUM_BUFFERS = virtio_net_hdr_v1.offsetOf("num_buffers");
const HASH_REPORT = virtio_net_hdr_v1_hash.offsetOf("hash_report");
/** Alignment of a receive buffer: a cache line. */
const BUFFER_ALIGN = 64;
/** A driver posts no more than this in all its queues, whatever the rings' sizes. */
const MOST_POSTED = 16 * 1024 * 1024;
/** Bytes per descriptor of a buffer that is a chain of pages. */
const PAGE = 4096;

/** How receive buffers are shaped. */
export interface ReceiveBuffers {
  /** Bytes of one buffer, net header included. */
  readonly bytes: number;
  /** Whether a frame may fill several of them. */
  readonly mergeable: boolean;
  /** Length of the net header. */
  readonly headerLength: number;
  /** Whether the header carries a hash. */
  readonly hashReport: boolean;
  /** How many queues share what the driver posts. */
  readonly queues: number;
}

/** Bytes of a receive buffer of at most `most`: a chain must not be longer than the ring, not even in a table (2.7.5.3.1). */
export function receiveBytes(
  most: number,
  mergeable: boolean,
  headerLength: number,
  queueSize: number,
): number {
  return Math.max(headerLength, mergeable || most <= PAGE ? most : Math.min(most, queueSize * PAGE));
}

/** Descriptors that one receive buffer takes: buffers of more than a page are chains of pages unless they merge. */
export function receiveChain(bytes: number, mergeable: boolean): number {
  return mergeable || bytes <= PAGE ? 1 : Math.ceil(bytes / PAGE);
}

/** See the module. */
export class ReceiveQueue {
  /** The ring. */
  readonly queue: DriverQueue;
  /** Frames received. */
  frames = 0;
  /** Buffers that they filled. */
  buffers = 0;
  /** Frames that came with a hash. */
  hashed = 0;
  /** Buffers posted: each is mapped for the device once. */
  readonly posted: number;
  readonly #memory: Memory;
  readonly #pair: number;
  readonly #shape: ReceiveBuffers;
  /** Frames of one buffer each, on their way to the sink, and the heads of their buffers. */
  readonly #batch: FrameBatch;
  readonly #heads = new Uint16Array(BATCH_SIZE);
  /** Offset in memory of the buffer of each head. */
  readonly #offsets: Int32Array;

  /** Allocates buffers and adds them to the ring; they show with {@linkcode ReceiveQueue.publish}. */
  constructor(queue: DriverQueue, pair: number, dma: DmaMemory, shape: ReceiveBuffers) {
    this.queue = queue;
    this.#memory = dma.memory;
    this.#pair = pair;
    this.#shape = shape;
    this.#batch = new FrameBatch(dma.memory);
    this.#offsets = new Int32Array(queue.size);
    const chain = receiveChain(shape.bytes, shape.mergeable);
    // A queue without a buffer would never receive anything.
    const most = Math.max(Math.floor(MOST_POSTED / (shape.bytes * shape.queues)), 1);
    this.posted = chain === 1 ? this.#post(dma, most) : this.#postChains(dma, chain, most);
  }

  /** Posts up to `most` buffers of one descriptor each. Returns how many. */
  #post(dma: DmaMemory, most: number): number {
    const { bytes } = this.#shape;
    const count = Math.min(this.queue.free, most);
    const stride = alignUp(bytes, BUFFER_ALIGN);
    const area = dma.allocate(stride * count, BUFFER_ALIGN);
    this.queue.addBuffers(area, bytes, stride, count, this.#offsets);
    return count;
  }

  /** The same, of chains of pages. */
  #postChains(dma: DmaMemory, chain: number, most: number): number {
    const { bytes } = this.#shape;
    const addresses: number[] = [];
    const lengths: number[] = [];
    let posted = 0;
    for (; this.queue.fits(chain) && posted < most; posted++) {
      const { offset, address } = dma.allocate(bytes, BUFFER_ALIGN);
      for (let i = 0; i < chain; i++) {
        addresses[i] = address + i * PAGE;
        lengths[i] = Math.min(PAGE, bytes - i * PAGE);
      }
      this.#offsets[this.queue.addChain(addresses, lengths, chain, 0)] = offset;
    }
    return posted;
  }

  /** Longest frame that the posted buffers can hold. */
  get longestFrame(): number {
    const { bytes, mergeable, headerLength } = this.#shape;
    return (mergeable ? this.posted * bytes : bytes) - headerLength;
  }

  /**
   * Hands received frames to `sink` and adds their buffers again.
   *
   * @returns How many buffers came back.
   * @throws {RingFault} If the device broke a rule.
   */
  receive(sink: FrameSink): number {
    const before = this.buffers;
    try {
      this.#gather(sink);
    } catch (error) {
      // What came before the broken rule is good.
      if (error instanceof RingFault) this.#deliverBatch(sink);
      throw error;
    }
    this.#deliverBatch(sink);
    if (this.buffers !== before) this.queue.enableInterrupts();
    return this.buffers - before;
  }

  /** Gathers frames, and hands over those that make a batch full or lie in several buffers. */
  #gather(sink: FrameSink): void {
    const { queue } = this;
    while (this.#shape.hashReport ? queue.nextUsed() : this.#takePlain(sink)) {
      const head = queue.usedHead;
      const buffers = this.#buffersOf(head, queue.usedLength);
      if (buffers !== 1) {
        this.#deliverBatch(sink);
        this.frames++;
        this.buffers += buffers;
        this.#merge(sink, head, queue.usedLength, buffers);
        continue;
      }
      const batch = this.#batch;
      const { headerLength } = this.#shape;
      this.#heads[batch.count] = head;
      batch.offsets[batch.count] = this.#offsets[head]! + headerLength;
      batch.lengths[batch.count] = queue.usedLength - headerLength;
      if (++batch.count === BATCH_SIZE) this.#deliverBatch(sink);
    }
  }

  /** Takes frames of one buffer whose header says nothing, many at once. Returns whether it met something else. */
  #takePlain(sink: FrameSink): boolean {
    const { queue } = this;
    const { headerLength, mergeable } = this.#shape;
    const batch = this.#batch;
    do {
      this.#deliverBatch(sink);
      queue.takeFrames(batch, this.#heads, this.#memory, this.#offsets, headerLength, mergeable);
      if (queue.usedHead >= 0) return true;
    } while (batch.count > 0);
    return false;
  }

  /** How many buffers the frame fills whose first one came back, after a look at its header. */
  #buffersOf(head: number, length: number): number {
    const { headerLength, mergeable, hashReport } = this.#shape;
    const at = this.#offsets[head]!;
    if (length < headerLength) this.queue.fault("used-short", { length, header: headerLength });
    const flags = this.#memory.bytes[at + HDR_FLAGS]!;
    const gso = this.#memory.bytes[at + HDR_GSO_TYPE]!;
    // No offload is ever accepted here (GUEST_CSUM, GUEST_TSO...), so the device must not use one.
    if ((flags | gso) !== 0) this.queue.fault("frame-header", { flags, gso_type: gso });
    if (hashReport && this.#memory.view.getUint16(at + HASH_REPORT, true) !== 0) this.hashed++;
    return mergeable ? this.#memory.view.getUint16(at + NUM_BUFFERS, true) : 1;
  }

  /** Hands over the frames gathered so far, and adds their buffers again. */
  #deliverBatch(sink: FrameSink): void {
    const batch = this.#batch;
    const { count, offsets, lengths } = batch;
    if (count === 0) return;
    this.frames += count;
    this.buffers += count;
    if (sink.batch !== undefined) {
      sink.batch(this.#pair, batch);
    } else {
      for (let i = 0; i < count; i++) {
        sink.piece(this.#pair, this.#memory.bytes, offsets[i]!, lengths[i]!, false);
      }
    }
    if (this.queue.inOrder) { for (let i = 0; i < count; i++) this.#repost(this.#heads[i]!); }
    else this.queue.repostAll(this.#heads, count);
    batch.count = 0;
  }

  /** Adds a buffer again: it belongs to the head that its chain now has. */
  #repost(head: number): void {
    const to = this.queue.repost(head);
    this.#offsets[to] = this.#offsets[head]!;
  }

  /** A frame that fills several buffers; all of them were published together (5.1.6.4). */
  #merge(sink: FrameSink, head: number, length: number, buffers: number): void {
    const { queue } = this;
    const { bytes, headerLength } = this.#shape;
    if (buffers === 0 || buffers - 1 > queue.pendingUsed) {
      queue.fault("num-buffers", { num_buffers: buffers, published: queue.pendingUsed + 1 });
    }
    for (let skip = headerLength, left = buffers - 1;; skip = 0, left--) {
      if (left > 0 && length < bytes) queue.fault("merged-not-full", { length, buffer: bytes });
      sink.piece(this.#pair, this.#memory.bytes, this.#offsets[head]! + skip, length - skip, left > 0);
      this.#repost(head);
      if (left === 0) return;
      queue.nextUsed();
      head = queue.usedHead;
      length = queue.usedLength;
    }
  }
}
