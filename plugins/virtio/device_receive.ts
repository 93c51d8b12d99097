/**
 * The device's receive side: puts frames into the buffers that the driver has posted.
 *
 * @module
 */
import { WRITE } from "../../core/address_space.ts";
import { Frame } from "../../core/frame.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { Memory } from "../../core/memory.ts";
import { IN_RESET, NO_BUFFERS, OVERSIZE } from "../../core/plugin.ts";
import type { DeviceQueue } from "./device_queue.ts";
import { hasFeature, netHeaderLength } from "./features.ts";
import { virtio_net_hdr_v1, virtio_net_hdr_v1_hash, VRING_DESC_F_WRITE } from "./layout.ts";
import type { ReceiveHash } from "./receive_hash.ts";
import type { Steering } from "./steering.ts";

const NUM_BUFFERS = virtio_net_hdr_v1.offsetOf("num_buffers");
const HASH_VALUE = virtio_net_hdr_v1_hash.offsetOf("hash_value");
const HASH_REPORT = virtio_net_hdr_v1_hash.offsetOf("hash_report");
/** A header of one buffer and without a hash; of a shorter header the last bytes are not there. */
const PLAIN_HEADER = new Int32Array(3);
new DataView(PLAIN_HEADER.buffer).setUint16(NUM_BUFFERS, 1, true);
const LONGEST_HEADER = virtio_net_hdr_v1_hash.size;
/** What the device says with MTU, as much as the field holds: the longest packet behind an Ethernet header. */
export const DEVICE_MTU: number = 65535;
const ETHERNET_HEADER = 14;
/** More than any frame has. */
const UNLIMITED = 2 ** 30;

/** See the module. */
export class DeviceReceive {
  /** Bytes written into receive buffers, net headers included. */
  bytesCopied = 0;
  readonly #queues: readonly DeviceQueue[];
  readonly #steering: Steering;
  readonly #hash: ReceiveHash;
  #headerLength = 12;
  #mergeable = false;
  #hashReport = false;
  /** Longest frame that the driver may be given: with MTU there is a limit. */
  #longest: number = UNLIMITED;
  /** The header of a frame that is spread over several buffers, and the frame behind it. */
  readonly #header = new Memory(LONGEST_HEADER);
  readonly #outgoing = new Frame();
  /** Chains now being filled: their heads, their buffers one behind the other, and how many each has. */
  readonly #heads: number[] = [];
  readonly #chainEnds: number[] = [];
  readonly #addresses: number[] = [];
  readonly #lengths: number[] = [];

  /** Takes over the device's receive queues, one for each pair. */
  constructor(queues: readonly DeviceQueue[], steering: Steering, hash: ReceiveHash) {
    this.#queues = queues;
    this.#steering = steering;
    this.#hash = hash;
  }

  /** Takes over the negotiated features. */
  negotiated(features: bigint): void {
    this.#headerLength = netHeaderLength(features);
    this.#mergeable = hasFeature(features, "MRG_RXBUF");
    this.#hashReport = hasFeature(features, "HASH_REPORT");
    this.#longest = hasFeature(features, "MTU") ? DEVICE_MTU + ETHERNET_HEADER : UNLIMITED;
  }

  /** See {@linkcode DeviceHalf.deliver}. Queues have looked at the map. */
  deliver(frame: Frame): number {
    const { spreads } = this.#steering;
    if (frame.length > this.#longest) return OVERSIZE;
    if (this.#hashReport || spreads) this.#hash.update(frame);
    const pair = spreads ? this.#choose() : 0;
    const queue = this.#queues[pair]!;
    if (!queue.running) return queue.inReset ? IN_RESET : NO_BUFFERS;
    const headerLength = this.#headerLength;
    const total = headerLength + frame.length;
    const slot = queue.popPlain(VRING_DESC_F_WRITE);
    if (slot < 0 || queue.sizes[slot]! < total) {
      if (slot >= 0) queue.unpop(1);
      return this.#deliverAnyhow(queue, frame, total) ?? pair;
    }
    const { memory } = queue.region;
    const at = queue.offsets[slot]!;
    this.#writeHeader(memory.view, at, 1);
    frame.copyTo(memory, at + headerLength, 0, frame.length);
    this.bytesCopied += total;
    queue.push(queue.heads[slot]!, total);
    return pair;
  }

  /** See {@linkcode DeviceHalf.deliverBatch}. Queues have looked at the map. */
  deliverBatch(frames: FrameBatch, from: number): number {
    const queue = this.#queues[0]!;
    if (this.#hashReport || this.#steering.spreads || !queue.running) return from;
    if (this.#longest !== UNLIMITED && this.#tooLong(frames, from)) return from;
    const end = queue.fillFrames(frames, from, PLAIN_HEADER, this.#headerLength);
    this.bytesCopied += queue.filledBytes;
    return end;
  }

  /** Whether there is a frame among these that the driver must not be given. */
  #tooLong({ lengths, count }: FrameBatch, from: number): boolean {
    for (let i = from; i < count; i++) if (lengths[i]! > this.#longest) return true;
    return false;
  }

  /** The pair that takes the frame just hashed. Where its queue is being reset, automatic steering takes another one. */
  #choose(): number {
    const { pairs, table } = this.#steering;
    const first = this.#steering.queueOf(this.#hash);
    if (table !== undefined) return first;
    for (let i = 0; i < pairs; i++) {
      const pair = (first + i) % pairs;
      if (this.#queues[pair]!.running) return pair;
    }
    return first;
  }

  /** Puts a frame into whatever chains there are. Returns what `deliver` has to answer if that does not succeed. */
  #deliverAnyhow(queue: DeviceQueue, frame: Frame, total: number): number | undefined {
    if (!queue.pop() && !this.#waitForBuffers(queue)) return NO_BUFFERS;
    return this.#scatter(queue, frame, total) ? undefined : this.#refuse(queue);
  }

  /** Asks for a kick when buffers come. Returns whether some came just now, and the first is popped. */
  #waitForBuffers(queue: DeviceQueue): boolean {
    return queue.enableNotify() && queue.pop();
  }

  /** What to answer when the chains that are there do not hold the frame: wait, or never. */
  #refuse(queue: DeviceQueue): number {
    if (!this.#mergeable || queue.available === queue.size) return OVERSIZE;
    return NO_BUFFERS;
  }

  /** Spreads a frame over the chain just popped and, if buffers merge, as many more as it takes. */
  #scatter(queue: DeviceQueue, frame: Frame, total: number): boolean {
    let chains = 0;
    let buffers = 0;
    let capacity = 0;
    for (;;) {
      if (queue.readable > 0) {
        queue.fault("readable-on-receive", queue.availIndex, { readable: queue.readable });
      }
      const { count, addresses, lengths, writableBytes } = queue;
      if (writableBytes < this.#headerLength) {
        queue.fault("short-chain", queue.availIndex, { bytes: writableBytes });
      }
      for (let i = 0; i < count; i++) {
        this.#addresses[buffers] = addresses[i]!;
        this.#lengths[buffers++] = lengths[i]!;
      }
      this.#heads[chains] = queue.head;
      this.#chainEnds[chains++] = buffers;
      capacity += writableBytes;
      if (capacity >= total) break;
      if (!this.#mergeable || (!queue.pop() && !this.#waitForBuffers(queue))) {
        queue.unpop(chains);
        return false;
      }
    }
    this.#writeHeader(this.#header.view, 0, chains);
    const outgoing = this.#outgoing;
    outgoing.clear();
    outgoing.push(this.#header.bytes, 0, this.#headerLength);
    outgoing.append(frame);
    let position = 0;
    for (let chain = 0, buffer = 0; chain < chains; chain++) {
      const start = position;
      for (; buffer < this.#chainEnds[chain]!; buffer++) {
        const length = Math.min(this.#lengths[buffer]!, total - position);
        this.#fill(queue, this.#addresses[buffer]!, outgoing, position, length);
        position += length;
      }
      queue.push(this.#heads[chain]!, position - start);
    }
    this.bytesCopied += total;
    return true;
  }

  /** Copies part of a frame to an address, over region borders. */
  #fill(queue: DeviceQueue, address: number, frame: Frame, position: number, length: number): void {
    while (length > 0) {
      let region = queue.region;
      if (!region.holds(address, 1)) {
        region = queue.region = queue.find(address, WRITE) ??
          queue.fault("bad-address", queue.availIndex, { address, length });
      }
      const part = Math.min(length, region.end - address);
      frame.copyTo(region.memory, region.offsetOf(address), position, part);
      address += part;
      position += part;
      length -= part;
    }
  }

  /** The header of a received frame: zero but for the number of buffers and the hash. */
  #writeHeader(view: DataView, at: number, buffers: number): void {
    view.setUint32(at, 0, true);
    view.setUint32(at + 4, 0, true);
    view.setUint16(at + 8, 0, true);
    if (this.#headerLength > NUM_BUFFERS) view.setUint16(at + NUM_BUFFERS, buffers, true);
    if (this.#hashReport) {
      view.setUint32(at + HASH_VALUE, this.#hash.value, true);
      view.setUint32(at + HASH_REPORT, this.#hash.report, true);
    }
  }
}
