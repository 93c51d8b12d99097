/**
 * A front end's memory under its two names: guest-physical addresses, which descriptors carry, and addresses of the
 * front end's own process, in which rings are announced.
 *
 * @module
 */
import { AddressSpace, READ_WRITE, type Region } from "../../core/address_space.ts";
import type { Memory } from "../../core/memory.ts";
import { ProtocolError, type RegionPlace, RequestError } from "./message.ts";

/** A file of the front end, mapped. */
export interface Mapping {
  /** The bytes. */
  readonly memory: Memory;
  /** Where the region's first byte stands in them. */
  readonly offset: number;
  /** Whether the file can no longer shrink. */
  readonly sealed: boolean;
  /** Takes the bytes away. */
  close(): void;
}

/** The largest alignment that a ring part needs: addresses and bytes must agree modulo this. */
const ALIGNMENT = 16;

/**
 * A region is mapped in pieces that end where guest addresses are multiples of this: a `Memory` has less than 2 GiB.
 * What crosses such a border is two pieces to the device; no guest allocates a ring across one.
 */
const PIECE = 2 ** 30;
/** Bytes of all regions together: more than guests have, and few enough for the kernel's limit of mappings. */
const MOST = 2 ** 42;

interface Entry {
  readonly place: RegionPlace;
  readonly mappings: readonly Mapping[];
  readonly regions: readonly (readonly [Region, Region])[];
  /** How often it was added. */
  times: number;
}

function same(a: RegionPlace, b: RegionPlace): boolean {
  return a.guest === b.guest && a.user === b.user && a.size === b.size;
}

/** The regions that are mapped at present. */
export class MemoryTable {
  /** Memory by guest-physical address: for buffers and indirect tables. */
  readonly buffers: AddressSpace = new AddressSpace();
  /** Memory by address of the front end's process: for ring parts. */
  readonly rings: AddressSpace = new AddressSpace();
  /** Whether a file was ever mapped that can shrink: of that is warned once. */
  unsealed = false;
  #entries: Entry[] = [];

  /** How many regions there are. */
  get size(): number {
    return this.#entries.length;
  }

  /**
   * Says what is wrong with a region, before its file is looked at.
   *
   * @throws {ProtocolError} If it cannot be mapped anywhere.
   */
  check(place: RegionPlace): void {
    const { guest, user, size, offset } = place;
    const total = this.#entries.reduce((sum, entry) => sum + entry.place.size, size);
    const whole = [guest + size, user + size, offset + size].every((end) => Number.isSafeInteger(end));
    if (size === 0 || total > MOST || !whole) {
      throw new ProtocolError("a memory region is empty or too large");
    }
    if ((guest - offset) % ALIGNMENT !== 0 || (user - offset) % ALIGNMENT !== 0) {
      throw new ProtocolError("a memory region is not aligned to its file");
    }
  }

  /** The pieces in which a region is mapped. */
  static pieces(place: RegionPlace): RegionPlace[] {
    const { guest, user, size, offset } = place;
    const pieces: RegionPlace[] = [];
    for (let done = 0; done < size;) {
      const length = Math.min(size - done, PIECE - (guest + done) % PIECE);
      pieces.push({ guest: guest + done, user: user + done, size: length, offset: offset + done });
      done += length;
    }
    return pieces;
  }

  /**
   * Adds a region once more if it is there already, as QEMU before 8 does for each queue pair: it then has to be
   * removed as often.
   *
   * @returns Whether it is there.
   */
  again(place: RegionPlace): boolean {
    const entry = this.#entries.find((entry) =>
      same(entry.place, place) && entry.place.offset === place.offset
    );
    if (entry) entry.times++;
    return entry !== undefined;
  }

  /**
   * Adds a region. The mappings, one for each of its {@linkcode pieces}, become the table's, unless this throws.
   *
   * @throws {ProtocolError} If it overlaps another one.
   */
  add(place: RegionPlace, mappings: readonly Mapping[]): void {
    const { guest, user, size } = place;
    const overlaps = this.#entries.some((entry) =>
      (guest < entry.place.guest + entry.place.size && entry.place.guest < guest + size) ||
      (user < entry.place.user + entry.place.size && entry.place.user < user + size)
    );
    if (overlaps) throw new ProtocolError("memory regions overlap");
    const regions = MemoryTable.pieces(place).map((piece, i): [Region, Region] => {
      const { memory, offset } = mappings[i]!;
      return [
        this.buffers.map(piece.guest, memory, offset, piece.size, READ_WRITE),
        this.rings.map(piece.user, memory, offset, piece.size, READ_WRITE),
      ];
    });
    this.#entries.push({ place, mappings, regions, times: 1 });
  }

  /**
   * Removes a region; its offset in the file does not matter.
   *
   * @throws {RequestError} If there is none like it.
   */
  remove(place: RegionPlace): void {
    const at = this.#entries.findIndex((entry) => same(entry.place, place));
    const entry = this.#entries[at];
    if (!entry) throw new RequestError("the memory region to remove is not there");
    if (--entry.times > 0) return;
    this.#entries.splice(at, 1);
    for (const [buffers, rings] of entry.regions) {
      this.buffers.unmap(buffers);
      this.rings.unmap(rings);
    }
    for (const mapping of entry.mappings) mapping.close();
  }

  /** Removes all regions. */
  clear(): void {
    this.buffers.clear();
    this.rings.clear();
    for (const { mappings } of this.#entries) for (const mapping of mappings) mapping.close();
    this.#entries = [];
  }
}
