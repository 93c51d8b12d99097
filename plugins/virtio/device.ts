/**
 * The device half of virtio-net: reads transmit chains, fills receive chains, obeys the control queue.
 *
 * It knows queues, features and frames, not how the driver sets them up: a transport (virtio-pci in the pipe,
 * vhost-user, vDPA) starts its queues and passes doorbells on. Queue 2n receives, 2n+1 transmits, the last is the control queue.
 *
 * The data path, top down: {@linkcode VirtioNetDevice.service} works off the transmit queues that were kicked; each
 * chain becomes a {@linkcode Frame} of pieces that lie in the driver's own buffers; the wire takes it, or not, and
 * then the chain stays for later; {@linkcode VirtioNetDevice.deliver} copies a frame into receive chains.
 *
 * @module
 */
import { type AddressSpace, READ, WRITE } from "../../core/address_space.ts";
import type { Counters } from "../../core/counters.ts";
import { RingFault } from "../../core/fault.ts";
import { Frame } from "../../core/frame.ts";
import { BATCH_SIZE, FrameBatch } from "../../core/frame_batch.ts";
import { Memory } from "../../core/memory.ts";
import { type DeviceHalf, type Doorbell, NO_BUFFERS, OVERSIZE, type Wire } from "../../core/plugin.ts";
import { ControlQueue } from "./control_queue.ts";
import { DeviceQueue } from "./device_queue.ts";
import type { Profile } from "./faults.ts";
import { featureNames, hasFeature, netHeaderLength } from "./features.ts";
import { virtio_net_hdr_v1, virtio_net_hdr_v1_hash, VRING_DESC_F_WRITE } from "./layout.ts";
import { ReceiveHash } from "./receive_hash.ts";

const HDR_FLAGS = virtio_net_hdr_v1.offsetOf("flags");
const HDR_GSO_TYPE = virtio_net_hdr_v1.offsetOf("gso_type");
const NUM_BUFFERS = virtio_net_hdr_v1.offsetOf("num_buffers");
const HASH_VALUE = virtio_net_hdr_v1_hash.offsetOf("hash_value");
const HASH_REPORT = virtio_net_hdr_v1_hash.offsetOf("hash_report");
/** The last four bytes of a header of 12 that says one buffer. */
const ONE_BUFFER = 1 << (8 * (NUM_BUFFERS - 8));
const LONGEST_HEADER = virtio_net_hdr_v1_hash.size;
/** The control queue holds commands of several buffers, however small the other queues are. */
const CONTROL_QUEUE_SIZE = 64;

/** What a {@linkcode VirtioNetDevice} is built with. */
export interface VirtioNetDeviceOptions {
  /** Feature bits that it offers. */
  readonly features: bigint;
  /** Where rings are looked up. */
  readonly rings: AddressSpace;
  /** Where buffers and indirect tables are looked up: the same space, unless someone separates them. */
  readonly buffers: AddressSpace;
  /** Receive and transmit pairs; one if not given. */
  readonly queuePairs?: number;
  /** Largest size of a transmit queue; and of the control queue, if it is more than 64. */
  readonly maxQueueSize: number;
  /** Largest size of a receive queue; `maxQueueSize` if not given. */
  readonly maxRxQueueSize?: number;
  /** Hardware address, 6 bytes. */
  readonly mac?: readonly number[];
  /** How odd chains are judged; strict if not given. */
  readonly profile?: Profile;
  /** Whether rings are shared with another thread or process. */
  readonly shared?: boolean;
  /** See {@linkcode DeviceQueueOptions.coalesce}; on if not given. */
  readonly coalesce?: boolean;
}

/** A virtio-net device. See the module. */
export class VirtioNetDevice implements DeviceHalf {
  /** Feature bits that it offers. */
  readonly offered: bigint;
  /** All queues, by index. */
  readonly queues: readonly DeviceQueue[];
  /** Receive and transmit pairs that there are. */
  readonly queuePairs: number;
  /** The control queue's device side, with what the driver set through it. */
  readonly control: ControlQueue;
  /** Rings the driver's bell for a queue. */
  interrupt: Doorbell = ignore;
  /** Tells the transport that a queue broke, so that it can ask for a reset. */
  onFault: (fault: RingFault) => void = ignore;
  /** The net header of the frame now going to the wire; zero but for offloads that were negotiated. */
  readonly header: Memory = new Memory(LONGEST_HEADER);
  /**
   * Whether the host looks at the transmit queues again and again without being kicked: then `service` does not ask for
   * kicks when it has emptied one. Before the host sleeps, it asks for them itself, with `enableNotify` of the queue.
   */
  polling = false;
  /** How many chains of a transmit queue one `service` takes at most, so that a polling host shows used chains early. */
  burst: number = Infinity;
  /** Hash of the frame delivered last, with HASH_REPORT or several pairs. */
  readonly hash: ReceiveHash = new ReceiveHash();

  #features = 0n;
  #headerLength = 12;
  #mergeable = false;
  #hashReport = false;
  #csum = false;
  readonly #kicked: Uint8Array;
  readonly #frame = new Frame();
  readonly #outgoing = new Frame();
  readonly #batch = new FrameBatch();
  /** Where the frames of a batch go. */
  readonly #targets = new Int32Array(BATCH_SIZE);
  /** Whether `service` runs: then all queues have looked at the map. */
  #serving = false;
  #controlFault: RingFault | undefined;
  #bytesCopied = 0;
  /** Chains now being filled: their heads, their buffers one behind the other, and how many each has. */
  readonly #heads: number[] = [];
  readonly #chainEnds: number[] = [];
  readonly #addresses: number[] = [];
  readonly #lengths: number[] = [];

  /** Makes a device whose queues are all stopped. */
  constructor(options: VirtioNetDeviceOptions) {
    const { queuePairs = 1, maxQueueSize, maxRxQueueSize = maxQueueSize, rings, buffers } = options;
    this.offered = options.features;
    this.queuePairs = queuePairs;
    const behaviour = {
      profile: options.profile ?? "strict",
      shared: options.shared ?? false,
    };
    // Only of transmit chains nothing is ever written: one used element can stand for a batch of them.
    const transmitting = { ...behaviour, coalesce: options.coalesce ?? true };
    const queues: DeviceQueue[] = [];
    for (let pair = 0; pair < queuePairs; pair++) {
      queues.push(new DeviceQueue(`rx${pair}`, 2 * pair, maxRxQueueSize, rings, buffers, behaviour));
      queues.push(new DeviceQueue(`tx${pair}`, 2 * pair + 1, maxQueueSize, rings, buffers, transmitting));
    }
    const controlSize = Math.max(maxQueueSize, CONTROL_QUEUE_SIZE);
    const control = new DeviceQueue("ctrl", 2 * queuePairs, controlSize, rings, buffers, behaviour);
    if (hasFeature(this.offered, "CTRL_VQ")) queues.push(control);
    this.queues = queues;
    this.control = new ControlQueue(control, this.hash, queuePairs, options.mac ?? [0x02, 0, 0, 0, 0, 1]);
    this.#kicked = new Uint8Array(queues.length);
  }

  /** Feature bits that were negotiated. */
  get features(): bigint {
    return this.#features;
  }

  /** Takes over the negotiated features. To be called before queues are started. */
  setFeatures(features: bigint): void {
    this.#features = features;
    this.header.bytes.fill(0);
    this.#headerLength = netHeaderLength(features);
    this.#mergeable = hasFeature(features, "MRG_RXBUF");
    this.#hashReport = hasFeature(features, "HASH_REPORT");
    this.#csum = hasFeature(features, "CSUM");
    this.control.negotiated(features);
  }

  /** Stops all queues and forgets what was negotiated. */
  reset(): void {
    for (const queue of this.queues) queue.stop();
    this.setFeatures(0n);
    this.#kicked.fill(0);
  }

  /** A doorbell: the driver has put something into queue `index`. Control commands are carried out at once. */
  notify(index: number): void {
    const queue = this.queues[index];
    if (!queue?.running) return;
    if (index === 2 * this.queuePairs) {
      try {
        if (this.control.service()) this.interrupt(index);
      } catch (error) {
        if (!(error instanceof RingFault)) throw error;
        // It is not the driver, who rang, that must hear of it: the next service call raises it.
        this.#controlFault = error;
        this.onFault(error);
      }
    } else if ((index & 1) === 0) {
      // Fresh receive buffers: whoever waited for them goes on. Kicks are wanted again when they run out.
      queue.disableNotify();
      for (let pair = 0; pair < this.queuePairs; pair++) this.#kicked[2 * pair + 1] = 1;
    } else {
      this.#kicked[index] = 1;
    }
  }

  /** Works off the transmit queues that were kicked, and shows the driver what was delivered. */
  service(wire: Wire): number {
    let moved = 0;
    const fault = this.#controlFault;
    this.#controlFault = undefined;
    if (fault) throw fault;
    try {
      this.#begin();
      for (let index = 1; index < 2 * this.queuePairs; index += 2) {
        if (this.#kicked[index] === 0) continue;
        this.#kicked[index] = 0;
        const queue = this.queues[index]!;
        if (queue.running) moved += this.#transmit(queue, wire);
      }
    } catch (error) {
      this.#tell(error);
    } finally {
      this.#serving = false;
      this.publish();
    }
    return moved;
  }

  /** From now on queues need not look at the map again. */
  #begin(): void {
    this.#serving = true;
    for (const queue of this.queues) if (queue.running) queue.refresh();
  }

  /** Lets the transport know of a fault on its way to the caller. */
  #tell(error: unknown): never {
    if (error instanceof RingFault) this.onFault(error);
    throw error;
  }

  /** Shows the driver what was used since, and interrupts where it wants that. `service` does so at its end. */
  publish(): void {
    try {
      for (const queue of this.queues) {
        // What a queue did before it broke is still the driver's.
        if ((queue.running || queue.broken) && queue.publish()) this.interrupt(queue.index);
      }
    } catch (error) {
      this.#tell(error);
    }
  }

  /** Passes what `queue` holds to the wire, until it is empty or the wire refuses. */
  #transmit(queue: DeviceQueue, wire: Wire): number {
    const pair = queue.index >> 1;
    let moved = 0;
    queue.disableNotify();
    do {
      for (;;) {
        if (wire.transmitBatch !== undefined) moved += this.#transmitPlain(queue, wire);
        if (!queue.pop()) break;
        this.#collect(queue);
        if (!wire.transmit(this.#frame, pair)) {
          // Whoever refused it is asked again at the next service, kick or not.
          queue.unpop(1);
          this.#kicked[queue.index] = 1;
          return moved;
        }
        queue.push(queue.head, 0);
        if (++moved >= this.burst) {
          this.#kicked[queue.index] = 1;
          return moved;
        }
      }
    } while (!this.polling && queue.enableNotify());
    return moved;
  }

  /** Passes chains that are one buffer each to the wire in one go, as far as that is possible. */
  #transmitPlain(queue: DeviceQueue, wire: Wire): number {
    const batch = this.#batch;
    let moved = 0;
    for (;;) {
      const length = this.#headerLength;
      const first = queue.availIndex;
      let count = 0;
      const { offsets: starts, lengths } = batch;
      for (let ahead = 0; count < BATCH_SIZE && (ahead = queue.plainAhead(0)) > 0;) {
        ahead = Math.min(ahead, BATCH_SIZE - count);
        const { offsets, sizes } = queue;
        const mask = queue.size - 1;
        const next = queue.availIndex;
        for (let i = 0; i < ahead; i++, count++) {
          const slot = (next + i) & mask;
          starts[count] = (offsets[slot]! + length) | 0;
          lengths[count] = (sizes[slot]! - length) | 0;
        }
        queue.takePlain(ahead);
      }
      // Headers that want something, or are not whole, are looked at one by one.
      batch.bytes = queue.region.memory.bytes;
      batch.count = this.#countPlainHeaders(batch, count);
      const taken = batch.count === 0 ? 0 : wire.transmitBatch!(batch, queue.index >> 1);
      queue.unpop(count - taken);
      queue.pushBack(first, taken);
      moved += taken;
      if (count === 0 || taken < count) return moved;
    }
  }

  /** How many frames of a batch, from the first on, have a whole header that asks for nothing. */
  #countPlainHeaders(batch: FrameBatch, count: number): number {
    const { bytes, offsets, lengths } = batch;
    const length = this.#headerLength;
    for (let i = 0; i < count; i++) {
      const at = (offsets[i]! - length) | 0;
      if (lengths[i]! < 0 || (bytes[at + HDR_FLAGS]! | bytes[at + HDR_GSO_TYPE]!) !== 0) return i;
    }
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
    if (queue.count === 2 && queue.lengths[0] === length && this.#collectPair(queue)) return;
    frame.clear();
    for (let i = 0; i < queue.count; i++) this.#append(queue, frame, queue.addresses[i]!, queue.lengths[i]!);
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
      queue.region = queue.buffers.find(address, READ) ??
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

  /** Without CSUM a transmitted frame asks for nothing; with it, the header is kept for whoever finishes the frame. */
  #checkHeader(queue: DeviceQueue, bytes: Uint8Array, at: number): void {
    const flags = bytes[at + HDR_FLAGS]!;
    const gso = bytes[at + HDR_GSO_TYPE]!;
    if (this.#csum) {
      if (bytes !== this.header.bytes) this.header.copyFrom(0, bytes, at, this.#headerLength);
    } else if ((flags | gso) !== 0) {
      queue.fault("header-not-negotiated", queue.availIndex, { flags, gso_type: gso });
    }
  }

  /** Puts a frame from the wire into receive buffers. */
  deliver(frame: Frame): number {
    if (!this.#serving) return this.#deliverAlone(frame);
    const pairs = this.control.pairs;
    if (this.#hashReport || pairs > 1) this.hash.update(frame);
    const pair = pairs > 1 ? this.hash.value % pairs : 0;
    const queue = this.queues[2 * pair]!;
    if (!queue.running) return NO_BUFFERS;
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
    this.#bytesCopied += total;
    queue.push(queue.heads[slot]!, total);
    return pair;
  }

  /** Delivers a frame that no `service` call brought. */
  #deliverAlone(frame: Frame): number {
    try {
      this.#begin();
      return this.deliver(frame);
    } catch (error) {
      this.#tell(error);
    } finally {
      this.#serving = false;
    }
  }

  /** Puts frames into receive buffers of the one queue, as long as each finds a buffer that holds it. */
  deliverBatch(frames: FrameBatch, from: number): number {
    const queue = this.queues[0]!;
    // Frames that no `service` call brought go one by one.
    if (!this.#serving || this.#hashReport || this.control.pairs > 1 || !queue.running) return from;
    const headerLength = this.#headerLength;
    const { bytes, offsets, lengths, count } = frames;
    const targets = this.#targets;
    let copied = 0;
    let i = from;
    for (let ahead = 1, fit = 1; i < count && ahead === fit; i += fit) {
      ahead = Math.min(queue.plainAhead(VRING_DESC_F_WRITE), count - i);
      if (ahead === 0) break;
      const { memory } = queue.region;
      const { view } = memory;
      const { offsets: buffers, sizes } = queue;
      const mask = queue.size - 1;
      const next = queue.availIndex;
      for (fit = 0; fit < ahead; fit++) {
        const slot = (next + fit) & mask;
        const total = (headerLength + lengths[i + fit]!) | 0;
        if (sizes[slot]! < total) break;
        const at = buffers[slot]!;
        // The header of writeHeader, for one buffer and without a hash.
        view.setInt32(at, 0, true);
        view.setInt32((at + 4) | 0, 0, true);
        if (headerLength > NUM_BUFFERS) view.setInt32((at + 8) | 0, ONE_BUFFER, true);
        else view.setInt16((at + 8) | 0, 0, true);
        targets[fit] = (at + headerLength) | 0;
        copied = (copied + total) | 0;
      }
      memory.copyEach(targets, bytes, offsets, lengths, i, fit);
      queue.giveBack(fit, lengths, i, headerLength);
    }
    this.#bytesCopied += copied;
    return i;
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
      if (queue.writableBytes < this.#headerLength) {
        queue.fault("short-chain", queue.availIndex, { bytes: queue.writableBytes });
      }
      for (let i = 0; i < queue.count; i++) {
        this.#addresses[buffers] = queue.addresses[i]!;
        this.#lengths[buffers++] = queue.lengths[i]!;
      }
      this.#heads[chains] = queue.head;
      this.#chainEnds[chains++] = buffers;
      capacity += queue.writableBytes;
      if (capacity >= total) break;
      if (!this.#mergeable || (!queue.pop() && !this.#waitForBuffers(queue))) {
        queue.unpop(chains);
        return false;
      }
    }
    this.#writeHeader(this.header.view, 0, chains);
    const outgoing = this.#outgoing;
    outgoing.clear();
    outgoing.push(this.header.bytes, 0, this.#headerLength);
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
    this.#bytesCopied += total;
    return true;
  }

  /** Copies part of a frame to an address, over region borders. */
  #fill(queue: DeviceQueue, address: number, frame: Frame, position: number, length: number): void {
    while (length > 0) {
      let region = queue.region;
      if (!region.holds(address, 1)) {
        region = queue.region = queue.buffers.find(address, WRITE) ??
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
      view.setUint32(at + HASH_VALUE, this.hash.value, true);
      view.setUint32(at + HASH_REPORT, this.hash.report, true);
    }
  }

  /** Counters, documented in `counters.ts`. */
  counters(): Counters {
    const result: Counters = { "device.bytes_copied": this.#bytesCopied };
    for (const [direction, first] of [["rx", 0], ["tx", 1]] as const) {
      const sum = { chains: 0, descriptors: 0, indirect_tables: 0, interrupts: 0, interrupts_suppressed: 0 };
      for (let index = first; index < 2 * this.queuePairs; index += 2) {
        const { counters } = this.queues[index]!;
        sum.chains += counters.chains;
        sum.descriptors += counters.descriptors;
        sum.indirect_tables += counters.indirectTables;
        sum.interrupts += counters.interrupts;
        sum.interrupts_suppressed += counters.interruptsSuppressed;
      }
      for (const [name, value] of Object.entries(sum)) result[`device.${direction}.${name}`] = value;
    }
    return result;
  }

  /** The state of all queues. */
  inspect(): Record<string, unknown> {
    return {
      features: featureNames(this.#features),
      queues: this.queues.map((queue) => ({
        name: queue.name,
        running: queue.running,
        size: queue.size,
        areas: queue.areas,
        avail_index: queue.availIndex,
        used_index: queue.usedIndex,
        ...queue.broken && { broken: queue.broken.message },
      })),
    };
  }
}

function ignore(): void {}
