/**
 * The descriptor table as its driver fills it: which descriptors are free, which chains the device has, and what they
 * hold. All that the driver must rely on later stands in memory of its own.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import type { DriverRing } from "./driver_ring.ts";
import { vring_desc, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE } from "./layout.ts";
import { DESC_ALIGN, descBytes } from "./ring_areas.ts";

const DESC_SIZE = vring_desc.size;
const DESC_ADDR = vring_desc.offsetOf("addr");
const DESC_LEN = vring_desc.offsetOf("len");
const DESC_FLAGS = vring_desc.offsetOf("flags");
const DESC_NEXT = vring_desc.offsetOf("next");
const NEXT = VRING_DESC_F_NEXT;
const WRITE = VRING_DESC_F_WRITE;
const INDIRECT = VRING_DESC_F_INDIRECT;
const UPPER_HALF = 2 ** -32;
/** A used element can tell of no more, and a chain may hold one byte more than that. */
const MOST_WRITTEN = 2 ** 32 - 1;

/** What the device has of a chain, by its head; 0 if it does not have it. */
export const CHAIN_STATE = {
  /** One buffer that it only reads. */
  plain: 1,
  /** Any other. */
  other: 2,
} as const satisfies Readonly<Record<string, number>>;

const PLAIN = CHAIN_STATE.plain;
const OTHER = CHAIN_STATE.other;

/** See the module. */
export class DriverDescriptors {
  /** Descriptors not in use. */
  free: number;
  /** The first of them. */
  freeHead = 0;
  /** Descriptors written so far, those of indirect tables included. */
  written = 0;
  /** Indirect tables written. */
  tables = 0;
  /** The free list and the links of chains: the driver's own copy of `next`. */
  readonly links: Uint16Array;
  /** {@linkcode CHAIN_STATE} of the chain with this head. */
  readonly out: Uint8Array;
  /** Writable bytes of the chain with this head; 0 if it is free. */
  readonly writable: Uint32Array;
  readonly #ring: DriverRing;
  /** Descriptors of the chain with this head; 1 if it is free. */
  readonly #lengths: Uint16Array;
  /** Entries per indirect table; 0 without the feature. */
  readonly #tableEntries: number;
  /** Memory, offset and address of the first indirect table: one per descriptor. */
  readonly #tableView: DataView;
  readonly #tableOffset: number;
  readonly #tableAddress: number;

  /** All are free. Indirect tables of so many entries are allocated in `dma`; none if that is 0. */
  constructor(ring: DriverRing, dma: DmaMemory, tableEntries: number) {
    const { size, mask } = ring;
    this.#ring = ring;
    this.free = size;
    this.links = Uint16Array.from({ length: size }, (_, i) => (i + 1) & mask);
    this.out = new Uint8Array(size);
    this.writable = new Uint32Array(size);
    this.#lengths = new Uint16Array(size).fill(1);
    const tables = tableEntries > 0 ? dma.allocate(descBytes(tableEntries) * size, DESC_ALIGN) : undefined;
    this.#tableEntries = tableEntries;
    this.#tableView = dma.memory.view;
    this.#tableOffset = tables?.offset ?? 0;
    this.#tableAddress = tables?.address ?? 0;
  }

  /** Whether a chain of `length` buffers finds room. */
  fits(length: number): boolean {
    return this.free >= (this.#tableEntries >= length && length > 1 ? 1 : length);
  }

  /** Writes a chain of one buffer. Returns its head. */
  add(address: number, length: number, write: boolean): number {
    const head = this.freeHead;
    const next = this.links[head]!;
    const ring = this.#ring;
    this.#write(ring.view, ring.desc + head * DESC_SIZE, address, length, write ? WRITE : 0, next);
    this.freeHead = next;
    this.free--;
    this.writable[head] = write ? length : 0;
    this.out[head] = write ? OTHER : PLAIN;
    return head;
  }

  /**
   * Writes a chain of several buffers, as an indirect table if there are any.
   *
   * @param addresses Where the buffers are.
   * @param lengths How long they are.
   * @param count How many there are.
   * @param readable How many of them, the first ones, the device only reads.
   * @returns The head of the chain.
   */
  addChain(
    addresses: ArrayLike<number>,
    lengths: ArrayLike<number>,
    count: number,
    readable: number,
  ): number {
    const { view: ringView, desc } = this.#ring;
    const { links } = this;
    const head = this.freeHead;
    const indirect = this.#tableEntries >= count && count > 1;
    const table = head * this.#tableEntries * DESC_SIZE;
    let slot = head;
    let writable = 0;
    for (let i = 0; i < count; i++) {
      const flags = (i < readable ? 0 : WRITE) | (i < count - 1 ? NEXT : 0);
      const view = indirect ? this.#tableView : ringView;
      const at = indirect ? this.#tableOffset + table + i * DESC_SIZE : desc + slot * DESC_SIZE;
      this.#write(view, at, addresses[i]!, lengths[i]!, flags, indirect ? i + 1 : links[slot]!);
      if (i >= readable) writable += lengths[i]!;
      if (i < count - 1 && !indirect) slot = links[slot]!;
    }
    if (indirect) {
      const at = desc + head * DESC_SIZE;
      this.#write(ringView, at, this.#tableAddress + table, count * DESC_SIZE, INDIRECT, links[head]!);
      this.tables++;
    }
    this.#take(head, indirect ? 1 : count, writable);
    return head;
  }

  #write(view: DataView, at: number, address: number, length: number, flags: number, next: number): void {
    // A DataView keeps the low 32 bits of what it is given, and cuts off fractions.
    view.setUint32(at + DESC_ADDR, address, true);
    view.setUint32(at + DESC_ADDR + 4, address * UPPER_HALF, true);
    view.setUint32(at + DESC_LEN, length, true);
    view.setUint16(at + DESC_FLAGS, flags, true);
    view.setUint16(at + DESC_NEXT, next, true);
    this.written++;
  }

  /** Takes `descriptors` from the free list, beginning at `head`: they are a chain that the device has. */
  #take(head: number, descriptors: number, writable: number): void {
    let tail = head;
    for (let i = 1; i < descriptors; i++) tail = this.links[tail]!;
    this.freeHead = this.links[tail]!;
    this.free -= descriptors;
    this.#lengths[head] = descriptors;
    this.writable[head] = Math.min(writable, MOST_WRITTEN);
    this.out[head] = OTHER;
  }

  /**
   * The device gets a used chain again, as it is. With IN_ORDER it moves to the next free descriptors, as those must be
   * taken in the order of the table (virtio 1.4, 2.7.7).
   *
   * @returns The head of the chain: another one if it moved.
   */
  reuse(head: number): number {
    if (!this.#ring.inOrder) {
      this.out[head] = OTHER;
      return head;
    }
    const to = this.freeHead;
    const descriptors = this.#lengths[head]!;
    const writable = this.writable[head]!;
    if (to !== head) this.#copy(head, to, descriptors);
    this.#forget(head);
    this.#take(to, descriptors, writable);
    return to;
  }

  /** Copies the descriptors of a chain that goes from one after the other to where it goes so, too. */
  #copy(from: number, to: number, descriptors: number): void {
    const { view, desc, mask } = this.#ring;
    for (let i = 0; i < descriptors; i++) {
      const source = desc + (from + i & mask) * DESC_SIZE;
      const target = desc + (to + i & mask) * DESC_SIZE;
      for (let word = 0; word < DESC_NEXT; word += 2) {
        view.setUint16(target + word, view.getUint16(source + word, true), true);
      }
      view.setUint16(target + DESC_NEXT, to + i + 1 & mask, true);
    }
  }

  /** Frees the descriptors of a used chain. */
  release(head: number): void {
    const descriptors = this.#lengths[head]!;
    this.#forget(head);
    // In order, descriptors go round the table; else the one freed last is taken first, as its lines are warm.
    if (this.#ring.inOrder) return;
    let tail = head;
    for (let i = 1; i < descriptors; i++) tail = this.links[tail]!;
    this.links[tail] = this.freeHead;
    this.freeHead = head;
  }

  /** The descriptors of a chain are free. */
  #forget(head: number): void {
    this.free += this.#lengths[head]!;
    this.#lengths[head] = 1;
    this.writable[head] = 0;
  }
}
