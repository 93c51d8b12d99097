/**
 * DQO receive completions, the device's side.
 *
 * @module
 */
import { gve_rx_compl_desc_dqo } from "../layout_dqo.ts";
import type { FlowSteering } from "../rss.ts";

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

/** The completion ring of one queue. What is reserved in it is zero since the driver cleared it. */
export class RxCompletionWriter {
  /** Where the next completion goes. */
  index = 0;
  /** Completions written but for their length and generation, which make them valid. */
  held = 0;
  readonly #mask: number;
  /** What those words will be, by completion. */
  readonly #words: Int32Array;
  #view!: DataView;
  #ring = 0;
  /** Generation bit of the present lap. */
  #generation = GENERATION;

  /** Starts at index 0, generation 1, with `size` entries; {@linkcode attach} says where they are. */
  constructor(size: number) {
    this.#mask = size - 1;
    this.#words = new Int32Array(size);
  }

  /** Generation of the present lap. */
  get generation(): number {
    return this.#generation === 0 ? 0 : 1;
  }

  /** The ring is here. */
  attach(view: DataView, ring: number): void {
    this.#view = view;
    this.#ring = ring;
  }

  /**
   * Writes a completion but for the word that makes it valid.
   *
   * @param id The buffer.
   * @param length Bytes in it.
   * @param header Bytes in its header buffer, or 0.
   * @param last Whether it is the last of its frame.
   * @param overflow Whether there was a header that its buffer does not hold.
   * @param steering What is known of the frame.
   */
  hold(
    id: number,
    length: number,
    header: number,
    last: boolean,
    overflow: boolean,
    steering: FlowSteering,
  ): void {
    const view = this.#view;
    const { index } = this;
    const at = this.#ring + index * COMPLETION;
    view.setUint32(at + RXDID, RXDID_VALUE | (steering.packetType << TYPE_SHIFT), true);
    view.setUint32(at + STATUS, DONE | (last ? END_OF_PACKET : 0) | (overflow ? OVERFLOW : 0), true);
    view.setUint32(at + BUF_ID, id, true);
    view.setUint32(at + HASH, steering.hash, true);
    const headerWord = header > 0 ? header | SPLIT_HEADER : 0;
    this.#words[index] = length | this.#generation | (headerWord << HEADER_SHIFT);
    this.index = (index + 1) & this.#mask;
    if (this.index === 0) this.#generation ^= GENERATION;
    this.held++;
  }

  /** Makes what is held valid, the first one last: a frame appears as a whole. */
  publish(): void {
    const view = this.#view;
    for (let back = 1; back <= this.held; back++) {
      const at = (this.index - back) & this.#mask;
      view.setUint32(this.#ring + at * COMPLETION + LENGTH, this.#words[at]!, true);
    }
    this.held = 0;
  }

  /**
   * Writes completions of frames in one buffer each, of which nothing is to be said. Nothing may be held.
   *
   * @param ids The buffers, from index 0 on.
   * @param lengths Bytes in them, from index `from` on.
   * @param from Index of the first length.
   * @param count How many there are.
   * @returns Bytes in all.
   */
  write(ids: Int32Array, lengths: Int32Array, from: number, count: number): number {
    const view = this.#view;
    const ring = this.#ring | 0;
    const mask = this.#mask | 0;
    let index = this.index | 0;
    let generation = this.#generation | 0;
    let sum = 0;
    for (let i = 0; i < count; i = (i + 1) | 0) {
      const length = lengths[(from + i) | 0]!;
      const at = (ring + index * COMPLETION) | 0;
      view.setInt32((at + RXDID) | 0, RXDID_VALUE, true);
      view.setInt32((at + STATUS) | 0, WHOLE, true);
      view.setInt32((at + BUF_ID) | 0, ids[i]!, true);
      view.setInt32((at + HASH) | 0, 0, true);
      // This makes it valid.
      view.setInt32((at + LENGTH) | 0, length | generation, true);
      sum = (sum + length) | 0;
      index = (index + 1) & mask;
      if (index === 0) generation ^= GENERATION;
    }
    this.index = index;
    this.#generation = generation;
    return sum;
  }
}
