/**
 * Completions of a DQO transmit queue, the driver's side.
 *
 * @module
 */
import { DQO_ALT_MISS, DQO_COMPLETION } from "../constants.ts";
import { driverFault } from "../faults.ts";
import { gve_tx_compl_desc } from "../layout_dqo.ts";
import type { DriverContext } from "../queue_context.ts";
import type { TxBuffers } from "./tx_buffers.ts";
import { PENDING, type TxTags } from "./tx_tags.ts";

const COMPLETION = gve_tx_compl_desc.size;
const ID = gve_tx_compl_desc.offsetOf("id");
/** The tag stands in the same word as the fields before it. */
const TAG_SHIFT = (gve_tx_compl_desc.offsetOf("completion_tag") - ID) * 8;
const FIELDS = (1 << TAG_SHIFT) - 1;
const ID_MASK = gve_tx_compl_desc.maskOf("id");
const TYPE_MASK = gve_tx_compl_desc.maskOf("type");
const TYPE_SHIFT = gve_tx_compl_desc.shiftOf("type");
const GENERATION = gve_tx_compl_desc.maskOf("generation") | 0;

// Bindings of this module, unlike imported ones, are constants for the engine.
const COMPLETED = DQO_COMPLETION.PACKET;
const FETCHED = DQO_COMPLETION.DESCRIPTOR;
const MISSED = DQO_COMPLETION.MISS;
const REINJECTED = DQO_COMPLETION.REINJECTION;
const ALT_MISS = DQO_ALT_MISS;
const WITH_DEVICE = PENDING;
/** What tells the word of one completion from that of the other. */
const FETCHED_INSTEAD = (COMPLETED ^ FETCHED) << TYPE_SHIFT;

/** The completion ring, which has as many entries as the descriptor ring. */
export class TxCompletions {
  /** Descriptors before this were fetched. */
  head = 0;
  /** Index behind the last completion handled. */
  index = 0;
  readonly #context: DriverContext;
  readonly #queue: number;
  readonly #ring: number;
  readonly #mask: number;
  readonly #tags: TxTags;
  readonly #buffers: TxBuffers;
  /** Tags of packets that have completed and may have buffers. */
  readonly #done: Int32Array;
  /** Generation bit of the present lap. */
  #generation = GENERATION;

  /** Starts at index 0, generation 1. The ring is at offset `ring` of the driver's memory. */
  constructor(
    context: DriverContext,
    queue: number,
    ring: number,
    size: number,
    tags: TxTags,
    buffers: TxBuffers,
  ) {
    this.#context = context;
    this.#queue = queue;
    this.#ring = ring;
    this.#mask = size - 1;
    this.#tags = tags;
    this.#buffers = buffers;
    this.#done = new Int32Array(size);
  }

  /** Generation of the present lap. */
  get generation(): number {
    return this.#generation === 0 ? 0 : 1;
  }

  /**
   * Handles completions and the packets whose time has run out.
   *
   * @param tail Ring index behind the last descriptor.
   * @returns How many completions.
   * @throws {RingFault} If a completion breaks a rule (strict).
   */
  clean(tail: number): number {
    // One lap per call is as much as can be outstanding.
    const most = this.#mask + 1;
    let moved = 0;
    for (;;) {
      moved += this.#cleanUsual(most - moved, tail);
      if (moved === most || !this.#cleanOther(tail)) break;
      moved++;
    }
    this.#tags.expire();
    return moved;
  }

  /**
   * Handles the usual completions, at most so many: those of packets that are with the device, and of descriptors that
   * may have been fetched. Returns how many.
   */
  #cleanUsual(most: number, tail: number): number {
    const { view } = this.#context.memory;
    const ring = this.#ring | 0;
    const mask = this.#mask | 0;
    const tags = this.#tags;
    const { links } = tags;
    const size = tags.size | 0;
    const done = this.#done;
    const { used } = this.#buffers;
    let usual = this.#queue | (COMPLETED << TYPE_SHIFT) | this.#generation;
    let index = this.index | 0;
    let head = this.head | 0;
    let returned = tags.returned | 0;
    let packets = 0;
    let count = 0;
    for (; count < most; count = (count + 1) | 0) {
      const word = view.getInt32((ring + index * COMPLETION) | 0, true);
      const value = word >>> TAG_SHIFT;
      const unusual = (word & FIELDS) ^ usual;
      if (unusual === 0) {
        if (value >= size || links[value] !== WITH_DEVICE) break;
        if (used === true) done[packets] = value;
        links[value] = returned;
        returned = value;
        packets = (packets + 1) | 0;
      } else {
        if (unusual !== FETCHED_INSTEAD || value > mask) break;
        if (((value - head) & mask) > ((tail - head) & mask)) break;
        head = value;
      }
      index = (index + 1) & mask;
      if (index === 0) usual ^= GENERATION;
    }
    tags.returned = returned;
    tags.free += packets;
    this.index = index;
    this.head = head;
    this.#generation = usual & GENERATION;
    if (used) this.#buffers.releaseEach(done, packets);
    const { counters } = this.#context;
    counters.txPacketCompletions += packets;
    counters.txDescriptorCompletions += count - packets;
    return count;
  }

  /** Handles one completion of any kind. Returns whether there was one. */
  #cleanOther(tail: number): boolean {
    const word = this.#context.memory.view.getInt32((this.#ring + this.index * COMPLETION) | 0, true);
    if ((word & GENERATION) !== this.#generation) return false;
    this.#handle(word, tail);
    this.index = (this.index + 1) & this.#mask;
    if (this.index === 0) this.#generation ^= GENERATION;
    return true;
  }

  #handle(word: number, tail: number): void {
    const { counters, strict } = this.#context;
    const value = word >>> TAG_SHIFT;
    if (strict && (word & ID_MASK) !== this.#queue) {
      throw this.#fault("completion-queue", { id: word & ID_MASK });
    }
    const type = (word & TYPE_MASK) >>> TYPE_SHIFT;
    const tags = this.#tags;
    if (type === COMPLETED && (value & ALT_MISS) === 0) {
      if (value < tags.size && tags.links[value] === WITH_DEVICE) {
        this.#buffers.release(value);
        tags.give(value);
        counters.txPacketCompletions++;
      } else this.#ignore(value, "PACKET");
    } else if (type === COMPLETED || type === MISSED) {
      const tag = type === COMPLETED ? value & ~ALT_MISS : value;
      if (!tags.miss(tag)) this.#ignore(tag, "MISS");
    } else if (type === FETCHED) this.#fetched(value, tail);
    else if (type === REINJECTED) {
      if (!tags.reinjected(value)) this.#ignore(value, "REINJECTION");
    } else if (strict) throw this.#fault("completion-type", { type });
    else counters.txIgnored++;
  }

  #fetched(head: number, tail: number): void {
    const { counters, strict } = this.#context;
    counters.txDescriptorCompletions++;
    if (strict) {
      const moved = (head - this.head) & this.#mask;
      if (head > this.#mask || moved > ((tail - this.head) & this.#mask)) {
        throw this.#fault("tx-head", { tx_head: head, head: this.head, tail });
      }
    }
    this.head = head & this.#mask;
  }

  /** A completion that does not fit: the fault of the device, which Linux logs and ignores. */
  #ignore(tag: number, type: string): void {
    const { counters, strict } = this.#context;
    if (strict) {
      const code = tag < this.#tags.size ? "tag-state" : "tag-range";
      throw this.#fault(code, { tag, type, ...this.#tags.describe(tag) });
    }
    counters.txIgnored++;
  }

  #fault(code: Parameters<typeof driverFault>[1], values: Record<string, number | string>): Error {
    return driverFault(`tx${this.#queue}`, code, this.index, values);
  }
}
