/**
 * The multicast addresses that a frontend lets in, by the extra infos MCAST_ADD and MCAST_DEL.
 *
 * The list may be changed at any time, but keeps frames away only while the frontend asks for it by
 * `request-multicast-control`: without that all multicast frames are let in.
 *
 * @module
 */
import type { Frame } from "../../core/frame.ts";
import { Memory } from "../../core/memory.ts";

/** Addresses that a backend keeps at most. `XEN_NETBK_MCAST_MAX` in Linux. */
export const MOST_MULTICAST_ADDRESSES: number = 64;

const ADDRESS_BYTES = 6;
/** In the first byte of an address: it is one of a group. */
const GROUP_BIT = 1;
const BROADCAST = 2 ** (8 * ADDRESS_BYTES) - 1;

/** An address as one number, first byte highest. */
function addressAt(bytes: Uint8Array, offset: number): number {
  let address = 0;
  for (let i = 0; i < ADDRESS_BYTES; i++) address = address * 256 + bytes[offset + i]!;
  return address;
}

/** The list of one interface. */
export class MulticastFilter {
  /** Whether the list is applied: the last sampled value of `request-multicast-control`. */
  applied = false;
  readonly #addresses = new Set<number>();
  /** Destination of a frame whose first piece is too short for it. */
  readonly #scratch = new Memory(ADDRESS_BYTES);

  /** The addresses, each as one number, first byte highest. */
  get addresses(): ReadonlySet<number> {
    return this.#addresses;
  }

  /**
   * Carries out a message.
   *
   * @param bytes Where the address stands.
   * @param offset Where in them.
   * @param add Whether to add the address or to delete it.
   * @returns False if there is no room for another.
   */
  change(bytes: Uint8Array, offset: number, add: boolean): boolean {
    const address = addressAt(bytes, offset);
    if (!add) this.#addresses.delete(address);
    else if (this.#addresses.has(address)) return true;
    else if (this.#addresses.size === MOST_MULTICAST_ADDRESSES) return false;
    else this.#addresses.add(address);
    return true;
  }

  /** Whether a frame is to be kept away. Broadcasts are let in, and frames too short to have a destination. */
  rejects(frame: Frame): boolean {
    if (!this.applied || frame.length < ADDRESS_BYTES) return false;
    let bytes = frame.bytes[0]!;
    let offset = frame.offsets[0]!;
    if (frame.lengths[0]! < ADDRESS_BYTES) {
      frame.copyTo(this.#scratch, 0, 0, ADDRESS_BYTES);
      bytes = this.#scratch.bytes;
      offset = 0;
    }
    if ((bytes[offset]! & GROUP_BIT) === 0) return false;
    const address = addressAt(bytes, offset);
    return address !== BROADCAST && !this.#addresses.has(address);
  }
}
