/**
 * The device's transmit side: makes frames of chains and passes them to the wire.
 *
 * @module
 */
import { READ } from "../../core/address_space.ts";
import { Frame } from "../../core/frame.ts";
import { BATCH_SIZE, FrameBatch } from "../../core/frame_batch.ts";
import { Memory } from "../../core/memory.ts";
import type { Wire } from "../../core/plugin.ts";
import type { DeviceQueue } from "./device_queue.ts";
import { type Feature, hasFeature, netHeaderLength } from "./features.ts";
import { virtio_net_hdr_v1, virtio_net_hdr_v1_hash } from "./layout.ts";

const HDR_FLAGS = virtio_net_hdr_v1.offsetOf("flags");
const HDR_GSO_TYPE = virtio_net_hdr_v1.offsetOf("gso_type");
/** Both of them, which are neighbours: a header that asks for nothing has zeros there. */
const HDR_WISHES = HDR_FLAGS;
const LONGEST_HEADER = virtio_net_hdr_v1_hash.size;
const GSO = virtio_net_hdr_v1.field("gso_type").values!;
/** The feature that each kind of segmentation needs: virtio 1.4, 5.1.6.2.1. */
const SEGMENTATIONS: readonly (readonly [gso: number, feature: Feature])[] = [
  [GSO.TCPV4!, "HOST_TSO4"],
  [GSO.TCPV6!, "HOST_TSO6"],
  [GSO.UDP!, "HOST_UFO"],
  [GSO.UDP_L4!, "HOST_USO"],
];

/** The values of `gso_type` that a driver may write with these features. */
function gsoTypes(features: bigint): ReadonlySet<number> {
  const types = SEGMENTATIONS.filter(([, feature]) => hasFeature(features, feature)).map(([gso]) => gso);
  const congested = types.filter((gso) => gso === GSO.TCPV4 || gso === GSO.TCPV6).map((gso) =>
    gso | GSO.ECN!
  );
  return new Set([GSO.NONE!, ...types, ...hasFeature(features, "HOST_ECN") ? congested : []]);
}

/** See the module. */
export class DeviceTransmit {
  /** The net header of the frame now going to the wire; zero but for offloads that were negotiated. */
  readonly header: Memory = new Memory(LONGEST_HEADER);
  /** See {@linkcode VirtioNetDevice.polling}. */
  polling = false;
  /** See {@linkcode VirtioNetDevice.burst}. */
  burst: number = Infinity;
  /** Whether {@linkcode DeviceTransmit.transmit} left something behind: the queue is to be served again, kick or not. */
  unfinished = false;
  #headerLength = 12;
  #csum = false;
  #gsoTypes: ReadonlySet<number> = gsoTypes(0n);
  /** Whether the wire takes batches now. */
  #batches = false;
  readonly #frame = new Frame();
  #batch = new FrameBatch();

  /** Takes over the negotiated features. */
  negotiated(features: bigint): void {
    this.header.bytes.fill(0);
    this.#headerLength = netHeaderLength(features);
    this.#csum = hasFeature(features, "CSUM");
    this.#gsoTypes = gsoTypes(features);
  }

  /**
   * Passes what `queue` holds to the wire, until it is empty, the wire refuses, or a burst is over; in the latter cases
   * `unfinished` says so.
   *
   * @returns How many chains went.
   * @throws {RingFault} If the driver broke a rule.
   */
  transmit(queue: DeviceQueue, wire: Wire): number {
    const pair = queue.index >> 1;
    let moved = 0;
    this.unfinished = false;
    queue.disableNotify();
    this.#batches = wire.transmitBatch !== undefined;
    const { burst } = this;
    do {
      while (moved < burst) {
        if (this.#batches === true) moved += this.#transmitPlain(queue, wire, burst - moved);
        if (moved >= burst || !queue.pop()) break;
        this.#collect(queue);
        if (!wire.transmit(this.#frame, pair)) {
          // Whoever refused it is asked again at the next service, kick or not.
          queue.unpop(1);
          this.unfinished = true;
          return moved;
        }
        queue.push(queue.head, 0);
        moved++;
      }
      if (moved >= burst) {
        this.unfinished = true;
        return moved;
      }
    } while (!this.polling && queue.enableNotify());
    return moved;
  }

  /** Passes chains that are one buffer each to the wire in one go, as far as that is possible: at most `most`. */
  #transmitPlain(queue: DeviceQueue, wire: Wire, most: number): number {
    let moved = 0;
    for (;;) {
      const first = queue.availIndex;
      const count = this.#gather(queue, Math.min(most - moved, BATCH_SIZE) | 0);
      if (count === 0) return moved;
      const taken = wire.transmitBatch!(this.#batch, queue.index >> 1);
      queue.pushBack(first, taken);
      moved += taken;
      if (taken < count) {
        // A wire that takes nothing of a batch wants frames one by one: it is not asked again with each of them.
        if (taken === 0) this.#batches = false;
        queue.unpop(count - taken);
        return moved;
      }
    }
  }

  /** Takes chains of one buffer with a whole header that asks for nothing: up to `room` of them. Returns how many. */
  #gather(queue: DeviceQueue, room: number): number {
    const headerLength = this.#headerLength;
    const most = Math.min(queue.plainAhead(0), room);
    const { offsets, sizes } = queue;
    const { memory } = queue.region;
    const { view } = memory;
    if (this.#batch.bytes !== memory.bytes) this.#batch = new FrameBatch(memory);
    const batch = this.#batch;
    const { offsets: starts, lengths } = batch;
    const mask = queue.size - 1;
    const next = queue.availIndex;
    let count = 0;
    for (; count < most; count++) {
      const slot = (next + count) & mask;
      const offset = offsets[slot]!;
      const size = sizes[slot]!;
      if (size < headerLength || view.getUint16((offset + HDR_WISHES) | 0, true) !== 0) break;
      starts[count] = (offset + headerLength) | 0;
      lengths[count] = (size - headerLength) | 0;
    }
    batch.count = count;
    queue.takePlain(count);
    return count;
  }

  /** Makes a frame of the chain just popped: its buffers, less the net header. */
  #collect(queue: DeviceQueue): void {
    const frame = this.#frame;
    const length = this.#headerLength;
    if (queue.writableBytes > 0) queue.fault("writable-on-transmit", queue.availIndex);
    if (queue.readableBytes < length) {
      queue.fault("short-chain", queue.availIndex, { bytes: queue.readableBytes });
    }
    const { count, addresses, lengths } = queue;
    if (count === 2 && lengths[0] === length && this.#collectPair(queue)) return;
    frame.clear();
    for (let i = 0; i < count; i++) this.#append(queue, frame, addresses[i]!, lengths[i]!);
    const first = frame.lengths[0]!;
    if (first >= length) {
      this.#checkHeader(queue, frame.bytes[0]!, frame.offsets[0]!);
      if (first === length && frame.pieces > 1) frame.shift();
      else frame.skip(length);
    } else {
      frame.copyTo(this.header, 0, 0, length);
      this.#checkHeader(queue, this.header.bytes, 0);
      frame.skip(length);
    }
  }

  /** The usual chain of two: a header, and a frame in one piece. Returns whether each lies in one region. */
  #collectPair(queue: DeviceQueue): boolean {
    const headerAddress = queue.addresses[0]!;
    const address = queue.addresses[1]!;
    const length = queue.lengths[1]!;
    if (!queue.recall(headerAddress, this.#headerLength)) return false;
    const headers = queue.region;
    if (!queue.recall(address, length)) return false;
    const { region } = queue;
    this.#checkHeader(queue, headers.memory.bytes, headers.offsetOf(headerAddress));
    this.#frame.set(region.memory.bytes, region.offsetOf(address), length);
    return true;
  }

  #append(queue: DeviceQueue, frame: Frame, address: number, length: number): void {
    while (!queue.recall(address, length)) {
      queue.previousRegion = queue.region;
      queue.region = queue.find(address, READ) ??
        queue.fault("bad-address", queue.availIndex, { address, length });
      const { region } = queue;
      const part = region.end - address;
      if (length <= part) break;
      frame.push(region.memory.bytes, region.offsetOf(address), part);
      address += part;
      length -= part;
    }
    const { region } = queue;
    frame.push(region.memory.bytes, region.offsetOf(address), length);
  }

  /**
   * A transmitted frame asks for nothing that was not negotiated. With CSUM the header is kept for whoever finishes the
   * frame.
   */
  #checkHeader(queue: DeviceQueue, bytes: Uint8Array, at: number): void {
    const flags = bytes[at + HDR_FLAGS]!;
    const gso = bytes[at + HDR_GSO_TYPE]!;
    const asked = this.#csum ? gso !== 0 && !this.#gsoTypes.has(gso) : (flags | gso) !== 0;
    if (asked) queue.fault("header-not-negotiated", queue.availIndex, { flags, gso_type: gso });
    if (this.#csum && bytes !== this.header.bytes) this.header.copyFrom(0, bytes, at, this.#headerLength);
  }
}
