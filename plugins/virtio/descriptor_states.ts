/**
 * What the device knows of each descriptor of a ring: whether a chain that it has takes it, and which must come next.
 *
 * @module
 */
import type { DeviceRing } from "./device_ring.ts";

/** Rounds are counted up to here, and then anew. */
const LAST_ROUND = 2 ** 16;
/** States of a descriptor that the device has. */
export const DESCRIPTOR_STATE = {
  /** It heads a chain. */
  head: LAST_ROUND + 1,
  /** The same, and the chain's further descriptors are marked. */
  linkedHead: LAST_ROUND + 2,
  /** It is one of those. */
  member: LAST_ROUND + 3,
} as const satisfies Readonly<Record<string, number>>;

const LINKED_HEAD = DESCRIPTOR_STATE.linkedHead;
const MEMBER = DESCRIPTOR_STATE.member;

/** See the module. */
export class DescriptorStates {
  /**
   * For each descriptor a {@linkcode DESCRIPTOR_STATE} while the device has it; else the round in which it was given
   * back. One of the present round does not show yet: the driver must not use it. So what is less than the present
   * round is free.
   */
  states: Int32Array = new Int32Array(0);
  /** The present round. It ends when what was given back in it is published. */
  round = 1;
  /** Whether chains must take the descriptors in their order: IN_ORDER, if strict. */
  ordered = false;
  /** Then the descriptor that the next chain must begin with; negative if any will do. */
  expected = -1;
  readonly #ring: DeviceRing;
  /** The head of each member's chain. */
  #owners: Uint16Array = new Uint16Array(0);
  /** The member behind each descriptor of a chain; the last one names itself. */
  #members: Uint16Array = this.#owners;

  /** Takes over a ring, not yet started. */
  constructor(ring: DeviceRing) {
    this.#ring = ring;
  }

  /** All descriptors are the driver's. The first chain begins with descriptor `expected`, if they are `ordered`. */
  start(ordered: boolean, expected: number): void {
    const { size, strict } = this.#ring;
    this.states = new Int32Array(size);
    this.round = 1;
    this.#owners = new Uint16Array(strict ? size : 0);
    this.#members = new Uint16Array(strict ? size : 0);
    this.ordered = ordered;
    this.expected = expected;
  }

  /** Whether a chain must not begin with this descriptor: it does not exist, or the device has it. */
  isBad(head: number): boolean {
    const state = this.states[head];
    return state === undefined || (this.#ring.strict && state >= this.round);
  }

  /**
   * Says what is wrong with such a head, which stands at index `at` of the available ring.
   *
   * @throws {RingFault} Always.
   */
  faultHead(at: number, head: number): never {
    const { size } = this.#ring;
    if (head >= size) this.#ring.fault("head-out-of-range", at, { head, size });
    this.#ring.fault(this.states[head] === MEMBER ? "descriptor-shared" : "head-available-twice", at, {
      head,
    });
  }

  /**
   * Notes that a descriptor of the ring belongs to a chain now walked, behind `previous`.
   *
   * @throws {RingFault} If it belongs to another chain that the device has.
   */
  mark(head: number, previous: number, member: number, at: number): void {
    const { states } = this;
    // A chain that runs in circles meets its own: it ends as too long. One that was put back does, too.
    if (member === head || (states[member] === MEMBER && this.#owners[member] === head)) return;
    if (states[member]! >= this.round) {
      this.#ring.fault("descriptor-shared", at, { head, descriptor: member });
    }
    states[member] = MEMBER;
    states[head] = LINKED_HEAD;
    this.#owners[member] = head;
    this.#members[previous] = this.#members[member] = member;
  }

  /** The further descriptors of a chain are the driver's again, as soon as it hears of it. */
  unmark(head: number): void {
    let member = head;
    do {
      member = this.#members[member]!;
      this.states[member] = this.round;
    } while (this.#members[member] !== member);
  }

  /** What was given back so far is published. */
  endRound(): void {
    if (++this.round < LAST_ROUND) return;
    const { states } = this;
    for (let i = 0; i < states.length; i++) if (states[i]! <= LAST_ROUND) states[i] = 0;
    this.round = 1;
  }
}
