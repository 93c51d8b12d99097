/**
 * DQO transmit completions, the device's side: which come when, and in which order.
 *
 * @module
 */
import type { DeviceCounters } from "../counters.ts";
import { DQO_ALT_MISS, DQO_COMPLETION } from "../constants.ts";
import { gve_tx_compl_desc } from "../layout_dqo.ts";

const COMPLETION = gve_tx_compl_desc.size;
const ID = gve_tx_compl_desc.offsetOf("id");
const TYPE_SHIFT = gve_tx_compl_desc.shiftOf("type");
const GENERATION_SHIFT = gve_tx_compl_desc.shiftOf("generation");
const GENERATION = gve_tx_compl_desc.maskOf("generation") | 0;
const TAG_SHIFT = (gve_tx_compl_desc.offsetOf("completion_tag") - ID) * 8;

const { MISS, PACKET, REINJECTION, DESCRIPTOR } = DQO_COMPLETION;
/** What tells the word of one completion from that of the other. */
const REPORT_INSTEAD = (PACKET ^ DESCRIPTOR) << TYPE_SHIFT;

/** How a device plays with completions. */
export interface CompletionPlay {
  /** Of 100 packets so many take the slow path: MISS, and REINJECTION later. */
  readonly missRate: number;
  /** Whether completions of one round come in another order than the packets. */
  readonly outOfOrder: boolean;
  /** Whether the driver knows a MISS that is a PACKET completion with bit 15 of its tag set. */
  readonly alternateMiss: boolean;
  /** Random numbers. */
  readonly seed: number;
}

/** The completion ring of one queue. */
export class CompletionWriter {
  /** Whether each completion is written at once. */
  readonly immediate: boolean;
  readonly #queue: number;
  readonly #mask: number;
  readonly #play: CompletionPlay;
  readonly #counters: DeviceCounters;
  /** Packets whose completion waits for the end of the round. */
  readonly #round: number[] = [];
  /** Packets on the slow path. */
  #missed: number[] = [];
  #view: DataView;
  #ring: number;
  #index = 0;
  #generation = 1;
  #random: number;

  /** Starts with an empty ring of `size` entries. */
  constructor(
    queue: number,
    size: number,
    view: DataView,
    ring: number,
    play: CompletionPlay,
    counters: DeviceCounters,
  ) {
    this.#queue = queue;
    this.#mask = size - 1;
    this.#view = view;
    this.#ring = ring;
    this.#play = play;
    this.immediate = !play.outOfOrder && play.missRate === 0;
    this.#counters = counters;
    this.#random = (play.seed ^ Math.imul(queue + 1, 0x9e3779b9)) | 1;
  }

  /** Packets on the slow path. */
  get missed(): number {
    return this.#missed.length;
  }

  /** The ring has moved in memory. */
  attach(view: DataView, ring: number): void {
    this.#view = view;
    this.#ring = ring;
  }

  /** Descriptors before `head` were fetched. */
  descriptors(head: number): void {
    this.#write(DESCRIPTOR, head);
  }

  /**
   * The packets of a batch are done; only if completions are {@linkcode CompletionWriter.immediate}.
   *
   * @param entries Tag of each packet, and anything above its 16 bits.
   * @param count How many there are.
   * @param reports Those before whose completion the descriptors are reported, and then something that is none.
   * @param heads For each of these: the descriptor behind the last that was fetched.
   * @returns How many of the reports were made.
   */
  packets(entries: Int32Array, count: number, reports: Int32Array, heads: Int32Array): number {
    const view = this.#view;
    const ring = this.#ring | 0;
    const mask = this.#mask | 0;
    let index = this.#index | 0;
    let id = this.#queue | (PACKET << TYPE_SHIFT) | (this.#generation << GENERATION_SHIFT);
    let reported = 0;
    let next = reports[0]!;
    for (let i = 0; i < count;) {
      let word = id;
      if (i === next) {
        word = (word ^ REPORT_INSTEAD) | (heads[reported]! << TAG_SHIFT);
        reported = (reported + 1) | 0;
        next = reports[reported]!;
      } else {
        word |= entries[i]! << TAG_SHIFT;
        i = (i + 1) | 0;
      }
      view.setInt32((ring + index * COMPLETION + ID) | 0, word, true);
      index = (index + 1) & mask;
      if (index === 0) id ^= GENERATION;
    }
    this.#index = index;
    this.#generation = (id >>> GENERATION_SHIFT) & 1;
    this.#counters.txCompletions += count + reported;
    return reported;
  }

  /** A packet is done. Returns whether its completion was written, so that its tag is the driver's again. */
  packet(tag: number): boolean {
    if (this.immediate) {
      this.#write(PACKET, tag);
      return true;
    }
    this.#round.push(tag);
    return false;
  }

  /**
   * Ends a round: the slow path of the last round is done, and this round's packets complete.
   *
   * @param done Told of each tag that is the driver's again.
   * @returns How many completions were written.
   */
  endRound(done: (tag: number) => void): number {
    const reinjected = this.#missed;
    this.#missed = [];
    for (const tag of reinjected) {
      this.#write(REINJECTION, tag);
      this.#counters.txReinjections++;
      done(tag);
    }
    const round = this.#round;
    for (let left = round.length; left > 0; left--) {
      const at = this.#play.outOfOrder ? this.#next() % left : 0;
      const tag = round[at]!;
      round.copyWithin(at, at + 1, left);
      if (this.#next() % 100 < this.#play.missRate) {
        const alternate = this.#play.alternateMiss && (this.#next() & 1) === 1;
        if (alternate) this.#write(PACKET, tag | DQO_ALT_MISS);
        else this.#write(MISS, tag);
        this.#counters.txMisses++;
        this.#missed.push(tag);
      } else {
        this.#write(PACKET, tag);
        done(tag);
      }
    }
    const written = reinjected.length + round.length;
    round.length = 0;
    return written;
  }

  #write(type: number, value: number): void {
    const at = this.#ring + this.#index * COMPLETION;
    // One store makes it valid; what is reserved behind it is zero since the driver cleared the ring.
    const id = this.#queue | (type << TYPE_SHIFT) | (this.#generation << GENERATION_SHIFT);
    this.#view.setUint32(at + ID, id | (value << TAG_SHIFT), true);
    this.#index = (this.#index + 1) & this.#mask;
    if (this.#index === 0) this.#generation ^= 1;
    this.#counters.txCompletions++;
  }

  #next(): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return this.#random >>> 0;
  }
}
