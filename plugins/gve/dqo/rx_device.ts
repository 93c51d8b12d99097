/**
 * DQO receive queue, the device's side.
 *
 * @module
 */
import { READ, WRITE } from "../../../core/address_space.ts";
import type { Frame } from "../../../core/frame.ts";
import { BATCH_SIZE, type FrameBatch } from "../../../core/frame_batch.ts";
import type { Memory } from "../../../core/memory.ts";
import type { DeviceContext, NotifyBlock } from "../device_context.ts";
import { type DeviceFault, deviceFault } from "../faults.ts";
import { gve_rx_compl_desc_dqo, gve_rx_desc_dqo } from "../layout_dqo.ts";
import type { PageList } from "../page_list.ts";
import type { FlowSteering } from "../rss.ts";
import { writer } from "../space_access.ts";
import { BufferWindow } from "./buffer_window.ts";
import { RxCompletionWriter } from "./rx_completion_writer.ts";

const DESC = gve_rx_desc_dqo.size;
const DESC_BUF_ID = gve_rx_desc_dqo.offsetOf("buf_id");
const DESC_RESERVED0 = gve_rx_desc_dqo.offsetOf("reserved0");
const DESC_ADDR = gve_rx_desc_dqo.offsetOf("buf_addr");
const DESC_HEADER = gve_rx_desc_dqo.offsetOf("header_buf_addr");
const COMPLETION = gve_rx_compl_desc_dqo.size;
/** Room for so many buffer ids at first, a power of two; drivers count them from 0. */
const FEW_IDS = 1024;
/** What a doorbell holds at most if it is a count. */
const MOST_COUNTED = 0xffffffff;
/** How many buffers the device fetches ahead when it mixes their order. */
const LOOK_AHEAD = 8;
/** Numbers that are kept of each: id, address, header address. */
const FETCHED = 3;

/** Where a DQO receive queue lies. */
export interface DqoRxDeviceOptions {
  /** Number of the queue. */
  readonly queue: number;
  /** Address of the completion ring. */
  readonly completions: number;
  /** Its entries. */
  readonly completionSize: number;
  /** Address of the buffer ring. */
  readonly ring: number;
  /** Its entries. */
  readonly size: number;
  /** Bytes per buffer. */
  readonly bufferSize: number;
  /** Bytes per header buffer, or 0 for no header split. */
  readonly headerSize: number;
  /** Index of the doorbell word. */
  readonly word: number;
  /** Whether that may hold a count that goes on beyond the ring, and not an index. */
  readonly counted: boolean;
  /** Its interrupt. */
  readonly block: NotifyBlock;
  /** Registered list in which buffers must lie, if the queue has one. */
  readonly list: PageList | undefined;
  /** How many completions are written at a time, unless an interrupt can be raised. */
  readonly batch: number;
  /** Whether buffers are used in another order than posted. */
  readonly outOfOrder: boolean;
  /** Random numbers. */
  readonly seed: number;
}

/** The queue. The ring index is masked; positions count on, to tell what was announced before what. */
export class DqoRxDevice {
  /** Number of the queue. */
  readonly queue: number;
  /** Its interrupt. */
  readonly block: NotifyBlock;
  /** Index of its doorbell word. */
  readonly word: number;
  /** Whether the driver broke a rule: the queue does nothing any more. */
  stopped = false;
  readonly #context: DeviceContext;
  readonly #options: DqoRxDeviceOptions;
  readonly #mask: number;
  /** Highest value of the doorbell. */
  readonly #last: number;
  readonly #writer;
  readonly #completions: RxCompletionWriter;
  readonly #window: BufferWindow;
  /** Per buffer id: what was announced up to this position must have another id. */
  #ids = new Float64Array(FEW_IDS);
  #bufferView!: DataView;
  #ring = 0;
  /** Next buffer to fetch. */
  #head = 0;
  #position = 0;
  #announced = 0;
  /** Fetched buffers that wait to be used, when their order is mixed: id, address, header address of each. */
  readonly #fetched: number[] = [];
  #random: number;
  /** Where the frames of a batch go, and the ids of their buffers. */
  readonly #targets: Int32Array;
  readonly #batchIds = new Int32Array(BATCH_SIZE);
  /** The buffer taken last. */
  #id = 0;
  #address = 0;
  #headerAddress = 0;

  /** Starts at index 0, generation 1. */
  constructor(context: DeviceContext, options: DqoRxDeviceOptions) {
    this.#context = context;
    this.#options = options;
    this.queue = options.queue;
    this.block = options.block;
    this.word = options.word;
    this.#mask = options.size - 1;
    this.#last = options.counted ? MOST_COUNTED : this.#mask;
    this.#writer = writer(context.space);
    this.#completions = new RxCompletionWriter(options.completionSize);
    this.#window = new BufferWindow(this.#writer, context.strict ? options.list : undefined);
    this.#random = (options.seed ^ Math.imul(options.queue + 1, 0x85ebca6b)) | 1;
    this.#targets = this.#attach().words(BATCH_SIZE);
  }

  /** Id of the page list, or -1. */
  get pageList(): number {
    return this.#options.list?.id ?? -1;
  }

  /** Whether headers go to buffers of their own. */
  get splitsHeaders(): boolean {
    return this.#options.headerSize > 0;
  }

  /** Longest frame that a full ring holds. */
  get largestFrame(): number {
    return this.#mask * this.#options.bufferSize;
  }

  /**
   * Puts a frame into as many buffers as it takes.
   *
   * @returns False if there are too few.
   * @throws {RingFault} If the driver broke a rule.
   */
  deliver(frame: Frame, steering: FlowSteering): boolean {
    if (this.stopped) return false;
    this.#refresh();
    const { bufferSize, headerSize, batch } = this.#options;
    const { counters, doorbells } = this.#context;
    const tail = doorbells[this.word]!;
    if (tail > this.#last) {
      throw this.#fault("doorbell-beyond-ring", { doorbell: tail, ring: this.#mask + 1 });
    }
    const available = (tail - this.#head) & this.#mask;
    this.#announced = this.#position + available;
    const { length } = frame;
    let header = headerSize > 0 ? steering.headerLength : 0;
    const overflow = header > headerSize;
    if (overflow || header >= length) header = 0;
    const payload = length - header;
    const needed = payload <= bufferSize ? 1 : Math.ceil(payload / bufferSize);
    if (needed > available + this.#fetched.length / FETCHED) {
      counters.rxNoBuffers++;
      return false;
    }
    for (let position = header; position < length; position += bufferSize) {
      const part = Math.min(bufferSize, length - position);
      this.#take();
      const first = position === header;
      if (header > 0 && first && !this.#writer.scatter(frame, 0, this.#headerAddress, header)) {
        throw this.#fault("address", { address: this.#headerAddress, length: header });
      }
      if (!this.#writer.scatter(frame, position, this.#address, part)) {
        throw this.#fault("address", { address: this.#address, length: part });
      }
      const last = position + part === length;
      this.#completions.hold(this.#id, part, first ? header : 0, last, first && overflow, steering);
      this.#ids[this.#id] = this.#announced;
    }
    if (header > 0) counters.rxHeaderSplits++;
    counters.rxPackets++;
    counters.rxBytes += length;
    counters.rxDescriptors += needed;
    this.block.pending = true;
    if (this.#completions.held >= batch) this.publish();
    return true;
  }

  /**
   * Puts frames into one buffer each in one loop, from index `from` on.
   *
   * @returns The index of the first frame that it did not take: {@linkcode deliver} may know more.
   */
  deliverBatch(frames: FrameBatch, from: number): number {
    const { headerSize, batch, outOfOrder } = this.#options;
    if (this.stopped || headerSize > 0 || batch > 1 || outOfOrder) return from;
    this.#refresh();
    const { counters, doorbells } = this.#context;
    const tail = doorbells[this.word]!;
    if (tail > this.#last) return from;
    const { bytes, offsets, lengths } = frames;
    let next = from;
    while (next < frames.count) {
      const count = this.#fetchEach(lengths, next, frames.count, tail);
      if (count > 0) {
        this.#window.memory.copyEach(this.#targets, bytes, offsets, lengths, next, count);
        counters.rxBytes += this.#completions.write(this.#batchIds, lengths, next, count);
        counters.rxPackets += count;
        counters.rxDescriptors += count;
        this.block.pending = true;
        next += count;
      }
      if (next === frames.count || !this.#lookAhead(tail)) break;
    }
    return next;
  }

  /**
   * Reads buffer descriptors for frames of these lengths, from index `from` to `frames`, as far as they lie in the present
   * window and break no rule. Returns for how many.
   */
  #fetchEach(lengths: Int32Array, from: number, frames: number, tail: number): number {
    const buffers = this.#bufferView;
    const ring = this.#ring | 0;
    const mask = this.#mask | 0;
    const ids = this.#ids;
    const known = ids.length - 1;
    const batchIds = this.#batchIds;
    const targets = this.#targets;
    const window = this.#window;
    const high = window.high | 0;
    const shift = window.shift | 0;
    const first = window.first | 0;
    const bufferSize = this.#options.bufferSize | 0;
    const last = (window.last - bufferSize) | 0;
    const available = (tail - this.#head) & mask;
    const announced = this.#announced = this.#position + available;
    const end = Math.min(available, frames - from) | 0;
    let position = this.#position;
    let head = this.#head | 0;
    let count = 0;
    for (; count < end; count = (count + 1) | 0) {
      const length = lengths[(from + count) | 0]!;
      const at = (ring + head * DESC) | 0;
      // Reserved bits are above the id's; those of ids that there is no room for are below.
      const id = buffers.getInt32((at + DESC_BUF_ID) | 0, true);
      if (length > bufferSize || length === 0 || (id & known) !== id || position < ids[id]!) break;
      const target = (buffers.getInt32((at + DESC_ADDR) | 0, true) + shift) | 0;
      if (buffers.getInt32((at + DESC_ADDR + 4) | 0, true) !== high || target < first || target > last) break;
      targets[count] = target;
      batchIds[count] = id;
      ids[id] = announced;
      head = (head + 1) & mask;
      position++;
    }
    this.#head = head;
    this.#position = position;
    return count;
  }

  /** Moves the window to where the next buffer lies. Returns whether it is another place than before. */
  #lookAhead(tail: number): boolean {
    if (this.#head === tail) return false;
    const window = this.#window;
    const at = this.#ring + this.#head * DESC;
    const low = this.#bufferView.getInt32(at + DESC_ADDR, true);
    const high = this.#bufferView.getInt32(at + DESC_ADDR + 4, true);
    return !window.holds(high, low, this.#options.bufferSize) && window.moveTo(high, low) &&
      window.holds(high, low, this.#options.bufferSize);
  }

  /** Makes the completions that are held back valid. */
  publish(): void {
    this.#completions.publish();
  }

  /** Makes them valid if an interrupt can be raised for them. Returns how many. */
  flush(): number {
    const { held } = this.#completions;
    if (held === 0 || !this.block.armed) return 0;
    this.publish();
    return held;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      head: this.#head,
      doorbell: this.#context.doorbells[this.word]!,
      completion: this.#completions.index,
      generation: this.#completions.generation,
      held: this.#completions.held,
      stopped: this.stopped,
    };
  }

  /** Looks at the map, if that has changed. */
  #refresh(): void {
    if (!this.#writer.refresh()) return;
    this.#window.close();
    this.#attach();
  }

  /** Finds the rings in memory. Returns the memory in which the driver has its ring of completions. */
  #attach(): Memory {
    const { space } = this.#context;
    const { ring, size, completions, completionSize } = this.#options;
    const buffers = space.contiguous(ring, size * DESC, READ);
    const written = space.contiguous(completions, completionSize * COMPLETION, WRITE);
    if (!buffers || !written) throw this.#fault("memory-gone", { ring, completions });
    this.#bufferView = buffers.memory.view;
    this.#ring = buffers.offsetOf(ring);
    this.#completions.attach(written.memory.view, written.offsetOf(completions));
    return written.memory;
  }

  /** Takes the next buffer, or one of the next. */
  #take(): void {
    if (!this.#options.outOfOrder) return this.#fetch();
    const fetched = this.#fetched;
    while (fetched.length < LOOK_AHEAD * FETCHED && this.#position < this.#announced) {
      this.#fetch();
      fetched.push(this.#id, this.#address, this.#headerAddress);
    }
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    const at = (this.#random >>> 0) % (fetched.length / FETCHED) * FETCHED;
    [this.#id, this.#address, this.#headerAddress] = fetched.splice(at, FETCHED) as [number, number, number];
  }

  /** Reads the next buffer descriptor. */
  #fetch(): void {
    const view = this.#bufferView;
    const { strict } = this.#context;
    const { headerSize, list, bufferSize } = this.#options;
    const at = this.#ring + this.#head * DESC;
    const id = view.getUint16(at + DESC_BUF_ID, true);
    if (id >= this.#ids.length) this.#makeRoom(id);
    this.#id = id;
    this.#address = view.getUint32(at + DESC_ADDR + 4, true) * 4294967296 +
      view.getUint32(at + DESC_ADDR, true);
    if (strict) {
      if (view.getUint16(at + DESC_RESERVED0, true) !== 0) throw this.#fault("reserved-bits", { buf_id: id });
      if (this.#position < this.#ids[id]!) throw this.#fault("buffer-id-posted", { buf_id: id });
      if (list !== undefined && !list.holds(this.#address, bufferSize)) {
        throw this.#fault("outside-page-list", { address: this.#address, length: bufferSize });
      }
      // Until the completion is out, whatever else has this id is a second posting.
      this.#ids[id] = Infinity;
    }
    if (headerSize > 0) {
      const low = view.getUint32(at + DESC_HEADER, true);
      this.#headerAddress = view.getUint32(at + DESC_HEADER + 4, true) * 4294967296 + low;
      if (this.#headerAddress === 0) throw this.#fault("header-buffer", { buf_id: id });
    }
    this.#head = (this.#head + 1) & this.#mask;
    this.#position++;
  }

  /** Makes room for a buffer id. */
  #makeRoom(id: number): void {
    const ids = this.#ids;
    this.#ids = new Float64Array(2 ** (32 - Math.clz32(id)));
    this.#ids.set(ids);
  }

  #fault(code: DeviceFault, values: Record<string, number>): Error {
    this.stopped = true;
    this.#context.counters.faults++;
    return deviceFault(`rx${this.queue}`, code, this.#head, values);
  }
}
