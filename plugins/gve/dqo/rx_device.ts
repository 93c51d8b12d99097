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

const DESC = gve_rx_desc_dqo.size;
const DESC_BUF_ID = gve_rx_desc_dqo.offsetOf("buf_id");
const BUF_ID_MASK = gve_rx_desc_dqo.maskOf("buf_id");
const DESC_RESERVED0 = gve_rx_desc_dqo.offsetOf("reserved0");
const DESC_ADDR = gve_rx_desc_dqo.offsetOf("buf_addr");
const DESC_HEADER = gve_rx_desc_dqo.offsetOf("header_buf_addr");
const COMPLETION = gve_rx_compl_desc_dqo.size;
const RXDID = gve_rx_compl_desc_dqo.offsetOf("rxdid");
const TYPE_SHIFT = (gve_rx_compl_desc_dqo.offsetOf("packet_type") - RXDID) * 8;
const LENGTH = gve_rx_compl_desc_dqo.offsetOf("packet_len");
const GENERATION = gve_rx_compl_desc_dqo.maskOf("generation") | 0;
const HEADER_SHIFT = (gve_rx_compl_desc_dqo.offsetOf("header_len") - LENGTH) * 8;
const SPLIT_HEADER = gve_rx_compl_desc_dqo.maskOf("split_header");
const STATUS = gve_rx_compl_desc_dqo.offsetOf("descriptor_done");
const DONE = gve_rx_compl_desc_dqo.maskOf("descriptor_done");
const END_OF_PACKET = gve_rx_compl_desc_dqo.maskOf("end_of_packet");
const OVERFLOW = gve_rx_compl_desc_dqo.maskOf("header_buffer_overflow");
const BUF_ID = gve_rx_compl_desc_dqo.offsetOf("buf_id");
const HASH = gve_rx_compl_desc_dqo.offsetOf("hash");
/** Status of a frame in one buffer. */
const WHOLE = DONE | END_OF_PACKET;
/** The one kind of receive descriptor. */
const RXDID_VALUE = 1;
/** Room for every buffer id. */
const BUFFER_IDS = 0x10000;
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
  readonly #completionMask: number;
  readonly #writer;
  readonly #window: BufferWindow;
  /** Per buffer id: what was announced up to this position must have another id. */
  readonly #ids = new Float64Array(BUFFER_IDS);
  #bufferView!: DataView;
  #ring = 0;
  #view!: DataView;
  #completions = 0;
  /** Next buffer to fetch. */
  #head = 0;
  #position = 0;
  #announced = 0;
  /** Fetched buffers that wait to be used, when their order is mixed: id, address, header address of each. */
  readonly #fetched: number[] = [];
  /** Next completion to write. */
  #index = 0;
  /** Generation bit of the present lap. */
  #generation = GENERATION;
  /** Completions written but for their length and generation, which make them valid. */
  #held = 0;
  /** What those words will be, by completion. */
  readonly #words: Int32Array;
  #random: number;
  /** Where the frames of a batch go. */
  readonly #targets: Int32Array;
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
    this.#completionMask = options.completionSize - 1;
    this.#words = new Int32Array(options.completionSize);
    this.#writer = writer(context.space);
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
    if (tail > this.#mask) {
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
      let status = DONE;
      if (position + part === length) status |= END_OF_PACKET;
      if (first && overflow) status |= OVERFLOW;
      this.#complete(part, first ? header : 0, status, steering);
    }
    if (header > 0) counters.rxHeaderSplits++;
    counters.rxPackets++;
    counters.rxBytes += length;
    counters.rxDescriptors += needed;
    this.block.pending = true;
    if (this.#held >= batch) this.publish();
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
    const tail = this.#context.doorbells[this.word]!;
    if (tail > this.#mask) return from;
    let next = from;
    while (next < frames.count) {
      const window = this.#window;
      const count = this.#fill(frames, next, tail);
      if (count > 0) {
        window.memory.copyEach(this.#targets, frames.bytes, frames.offsets, frames.lengths, next, count);
        this.#completePlain(frames.lengths, next, count);
        next += count;
      }
      if (next === frames.count || !this.#lookAhead(tail)) break;
    }
    return next;
  }

  /**
   * Finds places for frames in the present window, from index `from` on, and writes their completions but for the words
   * that make them valid. Returns for how many.
   */
  #fill(frames: FrameBatch, from: number, tail: number): number {
    const buffers = this.#bufferView;
    const view = this.#view;
    const ring = this.#ring | 0;
    const completions = this.#completions | 0;
    const mask = this.#mask | 0;
    const completionMask = this.#completionMask | 0;
    const ids = this.#ids;
    const targets = this.#targets;
    const { lengths } = frames;
    const window = this.#window;
    const high = window.high | 0;
    const shift = window.shift | 0;
    const first = window.first | 0;
    const bufferSize = this.#options.bufferSize | 0;
    const last = (window.last - bufferSize) | 0;
    const available = (tail - this.#head) & mask;
    const announced = this.#announced = this.#position + available;
    const end = Math.min(available, frames.count - from) | 0;
    let position = this.#position;
    let head = this.#head | 0;
    let index = this.#index | 0;
    let count = 0;
    for (; count < end; count = (count + 1) | 0) {
      const length = lengths[(from + count) | 0]!;
      const at = (ring + head * DESC) | 0;
      // Reserved bits are above the id's.
      const id = buffers.getInt32((at + DESC_BUF_ID) | 0, true);
      if (length > bufferSize || length === 0 || (id & BUF_ID_MASK) !== id || position < ids[id]!) break;
      const target = (buffers.getInt32((at + DESC_ADDR) | 0, true) + shift) | 0;
      if (buffers.getInt32((at + DESC_ADDR + 4) | 0, true) !== high || target < first || target > last) break;
      targets[count] = target;
      ids[id] = announced;
      const completion = (completions + index * COMPLETION) | 0;
      view.setInt32((completion + RXDID) | 0, RXDID_VALUE, true);
      view.setInt32((completion + STATUS) | 0, WHOLE, true);
      view.setInt32((completion + BUF_ID) | 0, id, true);
      view.setInt32((completion + HASH) | 0, 0, true);
      index = (index + 1) & completionMask;
      head = (head + 1) & mask;
      position++;
    }
    this.#head = head;
    this.#position = position;
    return count;
  }

  /** Makes completions of {@linkcode #fill} valid. */
  #completePlain(lengths: Int32Array, from: number, count: number): void {
    const { counters } = this.#context;
    const view = this.#view;
    const completions = this.#completions | 0;
    const mask = this.#completionMask | 0;
    let index = this.#index | 0;
    let generation = this.#generation | 0;
    let sum = 0;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const length = lengths[(from + i) | 0]!;
      view.setInt32((completions + index * COMPLETION + LENGTH) | 0, length | generation, true);
      sum = (sum + length) | 0;
      index = (index + 1) & mask;
      if (index === 0) generation ^= GENERATION;
    }
    this.#index = index;
    this.#generation = generation;
    this.block.pending = true;
    counters.rxPackets += count;
    counters.rxBytes += sum;
    counters.rxDescriptors += count;
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

  /** Makes the completions written so far valid, the first one last: a frame appears as a whole. */
  publish(): void {
    const view = this.#view;
    for (let back = 1; back <= this.#held; back++) {
      const at = (this.#index - back) & this.#completionMask;
      view.setUint32(this.#completions + at * COMPLETION + LENGTH, this.#words[at]!, true);
    }
    this.#held = 0;
  }

  /** Makes them valid if an interrupt can be raised for them. Returns how many. */
  flush(): number {
    const { block } = this;
    if (this.#held === 0 || !block.armed) return 0;
    const held = this.#held;
    this.publish();
    return held;
  }

  /** State for a person to look at. */
  inspect(): Record<string, unknown> {
    return {
      head: this.#head,
      doorbell: this.#context.doorbells[this.word]!,
      completion: this.#index,
      generation: this.#generation === 0 ? 0 : 1,
      held: this.#held,
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
    this.#view = written.memory.view;
    this.#completions = written.offsetOf(completions);
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

  /** Writes a completion but for the word that makes it valid. */
  #complete(length: number, header: number, status: number, steering: FlowSteering): void {
    const view = this.#view;
    const index = this.#index;
    const at = this.#completions + index * COMPLETION;
    // What is reserved is zero since the driver cleared the ring.
    view.setUint32(at + RXDID, RXDID_VALUE | (steering.packetType << TYPE_SHIFT), true);
    view.setUint32(at + STATUS, status, true);
    view.setUint32(at + BUF_ID, this.#id, true);
    view.setUint32(at + HASH, steering.hash, true);
    const headerWord = header > 0 ? header | SPLIT_HEADER : 0;
    this.#words[index] = length | this.#generation | (headerWord << HEADER_SHIFT);
    this.#ids[this.#id] = this.#announced;
    this.#index = (index + 1) & this.#completionMask;
    if (this.#index === 0) this.#generation ^= GENERATION;
    this.#held++;
  }

  #fault(code: DeviceFault, values: Record<string, number>): Error {
    this.stopped = true;
    this.#context.counters.faults++;
    return deviceFault(`rx${this.queue}`, code, this.#head, values);
  }
}
