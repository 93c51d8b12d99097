/**
 * The used ring as its device writes it.
 *
 * @module
 */
import { add16, needEvent16 } from "../../core/index.ts";
import { DESCRIPTOR_STATE, type DescriptorStates } from "./descriptor_states.ts";
import type { DeviceRing } from "./device_ring.ts";
import { vring_used, vring_used_elem } from "./layout.ts";

const USED_ID = vring_used.offsetOf("ring[].id");
const USED_LEN = vring_used.offsetOf("ring[].len");
const USED_STRIDE = vring_used_elem.size;
const LINKED_HEAD = DESCRIPTOR_STATE.linkedHead;

/** See the module. */
export class DeviceUsed {
  /** Index of the next element to write. */
  index = 0;
  /** Times that the driver wanted an interrupt. */
  interrupts = 0;
  /** Times that it wanted none. */
  interruptsSuppressed = 0;
  readonly #ring: DeviceRing;
  readonly #states: DescriptorStates;
  #coalesce = false;
  /** Where the element is that stands for all chains given back last, one after the other; or -1. */
  #run = -1;
  #published = 0;
  #signalled = 0;
  #signalledValid = false;

  /** Takes over a ring, not yet started, and what is known of its descriptors. */
  constructor(ring: DeviceRing, states: DescriptorStates) {
    this.#ring = ring;
    this.#states = states;
  }

  /** Begins at this index; `coalesce` says whether one element may stand for a whole batch. */
  start(index: number, coalesce: boolean): void {
    this.#coalesce = coalesce;
    this.#run = -1;
    this.index = this.#published = this.#signalled = index;
    this.#signalledValid = false;
  }

  /** Gives a chain back, with the number of bytes written into it. It shows with {@linkcode publish}. */
  push(head: number, length: number): void {
    const states = this.#states;
    const ring = this.#ring;
    if (states.states[head] === LINKED_HEAD) states.unmark(head);
    states.states[head] = states.round;
    const { index } = this;
    this.index = add16(index, 1);
    let element = ring.used + (index & ring.mask) * USED_STRIDE;
    if (this.#coalesce) {
      // One element for a run of chains of which nothing was written: at its first slot, with its last head.
      if (length !== 0) this.#run = -1;
      else if (this.#run < 0) this.#run = element;
      else element = this.#run;
    }
    ring.usedView.setUint32(element + USED_ID, head, true);
    ring.usedView.setUint32(element + USED_LEN, length, true);
  }

  /** Gives `count` chains back, by their heads, with the number of bytes written into each. */
  pushAll(heads: Uint16Array, lengths: Uint32Array, count: number): void {
    if (this.#coalesce) {
      for (let i = 0; i < count; i++) this.push(heads[i]!, lengths[i]!);
      return;
    }
    const { states, round } = this.#states;
    const { mask, usedView: view, used: ring } = this.#ring;
    let { index } = this;
    for (let i = 0; i < count; i++) {
      const head = heads[i]!;
      if (states[head] === LINKED_HEAD) this.#states.unmark(head);
      states[head] = round;
      const element = (ring + (index & mask) * USED_STRIDE) | 0;
      view.setInt32((element + USED_ID) | 0, head, true);
      view.setUint32((element + USED_LEN) | 0, lengths[i]!, true);
      index = (index + 1) & 0xffff;
    }
    this.index = index;
  }

  /** Gives `count` chains of one buffer back, of which nothing was written: those at index `first` of `heads` and on. */
  pushUnwritten(heads: Uint16Array, first: number, count: number): void {
    if (count === 0) return;
    const { mask, usedView: view, used: ring } = this.#ring;
    const { states, round } = this.#states;
    if (this.#coalesce) {
      let head = heads[first & mask]!;
      this.push(head, 0);
      for (let i = 1; i < count; i++) {
        head = heads[(first + i) & mask]!;
        states[head] = round;
      }
      view.setInt32(this.#run + USED_ID, head, true);
      this.index = add16(this.index, count - 1);
      return;
    }
    const { index } = this;
    for (let i = 0; i < count; i++) {
      const head = heads[(first + i) & mask]!;
      states[head] = round;
      const element = (ring + ((index + i) & mask) * USED_STRIDE) | 0;
      view.setInt32((element + USED_ID) | 0, head, true);
      view.setInt32((element + USED_LEN) | 0, 0, true);
    }
    this.index = add16(index, count);
  }

  /** Elements up to this index have been written by someone else, one for each chain. */
  pushed(index: number): void {
    this.index = index;
    this.#run = -1;
  }

  /** Whether there is anything that the driver has not been shown. */
  get unshown(): boolean {
    return this.index !== this.#published;
  }

  /**
   * Shows the driver what was given back: there is something.
   *
   * @param at Index of the chain that a fault is to name.
   * @returns Whether it wants an interrupt.
   * @throws {RingFault} If the driver's flags are bad.
   */
  publish(at: number): boolean {
    const idx = this.index;
    const ring = this.#ring;
    this.#published = idx;
    this.#run = -1;
    this.#states.endRound();
    ring.storeUsedIdx(idx);
    const old = this.#signalled;
    const valid = this.#signalledValid;
    this.#signalled = idx;
    this.#signalledValid = true;
    const wanted = ring.eventIdx
      ? needEvent16(ring.loadUsedEvent(at), idx, old) || !valid
      : ring.wantsInterrupts(at);
    if (wanted) this.interrupts++;
    else this.interruptsSuppressed++;
    return wanted;
  }
}
