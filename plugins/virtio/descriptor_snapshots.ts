/**
 * What the descriptors of the device's chains were when it was given them, so that a driver that changes one under way
 * is told. A fingerprint of each chain is kept, not its bytes.
 *
 * @module
 */
import { type AddressSpace, READ } from "../../core/address_space.ts";
import type { DeviceRing } from "./device_ring.ts";
import { vring_desc, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT } from "./layout.ts";

const DESC_SIZE = vring_desc.size;
const DESC_ADDR = vring_desc.offsetOf("addr");
const DESC_LEN = vring_desc.offsetOf("len");
const DESC_FLAGS = vring_desc.offsetOf("flags");
const DESC_NEXT = vring_desc.offsetOf("next");
const NEXT = VRING_DESC_F_NEXT;
const INDIRECT = VRING_DESC_F_INDIRECT;
const HIGH = 2 ** 32;
/** Longest indirect table that any profile reads, in bytes. */
const LONGEST_TABLE = 65536 * DESC_SIZE;
/** What FNV-1a starts with and multiplies by. */
const START = 0x811c9dc5;
const PRIME = 0x01000193;

/** See the module. */
export class DescriptorSnapshots {
  readonly #ring: DeviceRing;
  #buffers: AddressSpace | undefined;
  /** Fingerprint of the chain with this head. */
  #prints: Int32Array = new Int32Array(0);
  /** Descriptors of the ring that it covers; 0 if the device does not have the chain. */
  #covered: Int32Array = this.#prints;
  /** How many descriptors all chains together cover: no more than there are, whatever the driver writes. */
  #total = 0;
  #print = START;

  /** Takes over a ring, not yet started. */
  constructor(ring: DeviceRing) {
    this.#ring = ring;
  }

  /** The device has no chains. */
  start(): void {
    this.#prints = new Int32Array(this.#ring.size);
    this.#covered = new Int32Array(this.#ring.size);
    this.#total = 0;
  }

  /** Indirect tables are looked up here from now on. */
  remap(buffers: AddressSpace): void {
    this.#buffers = buffers;
  }

  /** The device is given the chain with this head. */
  take(head: number): void {
    this.#forget(head);
    const covered = this.#walk(head, this.#ring.size - this.#total);
    this.#covered[head] = covered;
    this.#total += covered;
    this.#prints[head] = this.#print;
  }

  /**
   * Looks whether a chain is what it was.
   *
   * @param at Index of the chain that a fault is to name.
   * @throws {RingFault} If it is not.
   */
  check(head: number, at: number): void {
    const covered = this.#covered[head]!;
    if (covered === 0) return;
    if (this.#walk(head, covered) !== covered || this.#print !== this.#prints[head]) {
      this.#ring.fault("descriptor-changed", at, { head });
    }
  }

  /** The chain goes back to the driver, who may change it again. See {@linkcode DescriptorSnapshots.check}. */
  release(head: number, at: number): void {
    this.check(head, at);
    this.#forget(head);
  }

  #forget(head: number): void {
    this.#total -= this.#covered[head]!;
    this.#covered[head] = 0;
  }

  /** Makes the fingerprint of a chain, of at most `most` descriptors of the ring. Returns of how many. */
  #walk(head: number, most: number): number {
    const { descView: view, desc: table, size } = this.#ring;
    this.#print = START;
    let i = head;
    let covered = 0;
    while (covered < most && i < size) {
      const at = table + i * DESC_SIZE;
      const flags = view.getUint16(at + DESC_FLAGS, true);
      covered++;
      this.#mix(view, at, DESC_FLAGS);
      // Without NEXT, `next` means nothing, and may be written.
      i = flags & NEXT ? view.getUint16(at + DESC_NEXT, true) : size;
      this.#add(flags);
      this.#add(i);
      if (flags & INDIRECT) this.#mixTable(view, at);
    }
    return covered;
  }

  /** Adds what the table holds that the descriptor at `at` points at. */
  #mixTable(view: DataView, at: number): void {
    const address = view.getUint32(at + DESC_ADDR + 4, true) * HIGH + view.getUint32(at + DESC_ADDR, true);
    const length = view.getUint32(at + DESC_LEN, true);
    if (length > LONGEST_TABLE) return;
    const region = this.#buffers?.contiguous(address, length, READ);
    if (region !== undefined) {
      this.#mix(region.memory.view, region.offsetOf(address), length);
      return;
    }
    const copy = new Uint8Array(length);
    if (this.#buffers?.read(address, copy)) this.#mix(new DataView(copy.buffer), 0, length);
  }

  #mix(view: DataView, at: number, length: number): void {
    for (let i = 0; i + 4 <= length; i += 4) this.#add(view.getUint32(at + i, true));
  }

  #add(word: number): void {
    this.#print = Math.imul(this.#print ^ word, PRIME);
    this.#print ^= this.#print >>> 15;
  }
}
