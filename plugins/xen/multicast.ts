/**
 * The multicast addresses that a frontend lets in, by the extra infos MCAST_ADD and MCAST_DEL.
 *
 * @module
 */

/** Addresses that a backend keeps at most. `XEN_NETBK_MCAST_MAX` in Linux. */
export const MOST_MULTICAST_ADDRESSES: number = 64;

const ADDRESS_BYTES = 6;

/** The list of one interface. */
export class MulticastFilter {
  readonly #addresses = new Set<number>();

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
    let address = 0;
    for (let i = 0; i < ADDRESS_BYTES; i++) address = address * 256 + bytes[offset + i]!;
    if (!add) this.#addresses.delete(address);
    else if (this.#addresses.has(address)) return true;
    else if (this.#addresses.size === MOST_MULTICAST_ADDRESSES) return false;
    else this.#addresses.add(address);
    return true;
  }
}
