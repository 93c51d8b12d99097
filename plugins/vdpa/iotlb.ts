/**
 * The translation table of one address space: inclusive ranges of 64-bit addresses, kept as the kernel keeps them
 * (drivers/vhost/iotlb.c and vdpa.c).
 *
 * @module
 */

/** The last address there is: 2^64 - 1. */
export const LAST_ADDRESS: bigint = 2n ** 64n - 1n;

/** Most entries of one address space, as current kernels limit them by default. */
export const ENTRY_LIMIT: number = 2048;

/** One mapping. Ranges are inclusive, so that one may end at 2^64 - 1. */
export interface IotlbEntry {
  /** First address as the device sees it. */
  readonly start: bigint;
  /** Last address, itself included. */
  readonly last: bigint;
  /** Where the first byte is for the process that mapped it. */
  readonly addr: bigint;
  /** What the device may do: `VHOST_ACCESS`. */
  readonly perm: number;
}

/** Why a mapping was refused. */
export type IotlbRefusal = "EEXIST" | "EINVAL" | "ENOSPC";

/** Bytes of a range. */
export function rangeSize(start: bigint, last: bigint): bigint {
  return last - start + 1n;
}

/** Pages that a range touches. */
export function pagesOf(start: bigint, last: bigint, pageSize: number): number {
  const page = BigInt(pageSize);
  return Number(last / page - start / page + 1n);
}

/**
 * An interval map with the rules of vhost-vdpa: an overlap is refused, a removal takes whatever it touches, whole.
 */
export class Iotlb {
  /** Most entries; 0 for any number. */
  readonly limit: number;
  #entries: IotlbEntry[] = [];

  /** Makes an empty table. */
  constructor(limit: number = ENTRY_LIMIT) {
    this.limit = limit;
  }

  /** The entries in order of address. */
  get entries(): readonly IotlbEntry[] {
    return this.#entries;
  }

  /**
   * Adds a mapping. All of the 64-bit space at once becomes two entries, as its size does not fit 64 bits.
   *
   * @returns The reason if it was refused: `EINVAL` for an empty or too long range, `EEXIST` for an overlap, `ENOSPC` if
   *   the table is full. Then nothing has changed.
   */
  add(start: bigint, last: bigint, addr: bigint, perm: number): IotlbRefusal | undefined {
    if (start < 0n || last < start || last > LAST_ADDRESS) return "EINVAL";
    if (this.overlaps(start, last)) return "EEXIST";
    const whole = start === 0n && last === LAST_ADDRESS;
    const added: IotlbEntry[] = whole
      ? [
        { start, last: last / 2n, addr, perm },
        { start: last / 2n + 1n, last, addr: addr + last / 2n + 1n, perm },
      ]
      : [{ start, last, addr, perm }];
    if (this.limit > 0 && this.#entries.length + added.length > this.limit) return "ENOSPC";
    this.#entries.splice(this.#firstNotBefore(start), 0, ...added);
    return undefined;
  }

  /** Removes every entry that shares an address with the range, whole; none is split. Returns what was removed. */
  remove(start: bigint, last: bigint): IotlbEntry[] {
    const at = this.#firstNotBefore(start);
    let end = at;
    while (end < this.#entries.length && this.#entries[end]!.start <= last) end++;
    return this.#entries.splice(at, end - at);
  }

  /** Whether any entry shares an address with the range. */
  overlaps(start: bigint, last: bigint): boolean {
    const entry = this.#entries[this.#firstNotBefore(start)];
    return entry !== undefined && entry.start <= last;
  }

  /** The entry that holds an address. */
  find(address: bigint): IotlbEntry | undefined {
    const entry = this.#entries[this.#firstNotBefore(address)];
    return entry && entry.start <= address ? entry : undefined;
  }

  /** Removes all entries. */
  clear(): void {
    this.#entries = [];
  }

  /** Index of the first entry that ends at or behind `address`. */
  #firstNotBefore(address: bigint): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#entries[middle]!.last < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
