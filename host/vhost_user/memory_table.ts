/**
 * A front end's memory under its two names: guest-physical addresses, which descriptors carry, and addresses of the
 * front end's own process, in which rings are announced.
 *
 * @module
 */
import { type Access, AddressSpace, READ_WRITE, type Region } from "../../core/address_space.ts";
import type { Memory } from "../../core/memory.ts";
import { ProtocolError, type RegionPlace, RequestError } from "./message.ts";

/** A part of a front end's file as bytes. */
export interface MappingPart {
  /** Where the bytes are. */
  readonly memory: Memory;
  /** Where the first of them stands in it. */
  readonly offset: number;
}

/** A part of a front end's file, mapped. */
export interface Mapping {
  /** Whether the file can no longer shrink. */
  readonly sealed: boolean;
  /** Looks at some of the bytes: `offset` counts from the first that is mapped. */
  part(offset: number, size: number): MappingPart;
  /** Takes the bytes away. */
  close(): void;
}

/** The largest alignment that a ring part needs: addresses and bytes must agree modulo this. */
const ALIGNMENT = 16;

/**
 * A region is looked at in pieces that end where guest addresses are multiples of this: a `Memory` has less than 2 GiB.
 * What crosses such a border is two pieces to the device; no guest allocates a ring across one.
 */
const PIECE = 2 ** 30;
/** Bytes of all regions together: more than guests have. */
const MOST = 2 ** 42;

/** By which of its addresses a region is looked at. */
type Name = "guest" | "user";

interface Entry {
  readonly place: RegionPlace;
  readonly mapping: Mapping;
  /** The pieces that were looked at by either address, by their number. */
  readonly parts: Map<number, MappingPart>;
  readonly regions: Record<Name, Map<number, Region>>;
  /** How often it was added. */
  times: number;
}

/**
 * Addresses that are known to be mapped, of which most are never looked at: a look at each gigabyte takes milliseconds,
 * and a front end may have thousands.
 */
class GrowingSpace extends AddressSpace {
  readonly #grow: (address: number) => boolean;

  /** Where nothing is mapped, `grow` is asked to map something there, and says whether it has. */
  constructor(grow: (address: number) => boolean) {
    super();
    this.#grow = grow;
  }

  override find(address: number, access: Access): Region | undefined {
    const region = super.find(address, access);
    return region === undefined && this.#grow(address) ? super.find(address, access) : region;
  }
}

function same(a: RegionPlace, b: RegionPlace): boolean {
  return a.guest === b.guest && a.user === b.user && a.size === b.size;
}

/** The regions that are mapped at present. They cost something only where they are looked at. */
export class MemoryTable {
  /** Memory by guest-physical address: for buffers and indirect tables. */
  readonly buffers: AddressSpace = new GrowingSpace((address) => this.#look("guest", this.buffers, address));
  /** Memory by address of the front end's process: for ring parts. */
  readonly rings: AddressSpace = new GrowingSpace((address) => this.#look("user", this.rings, address));
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
   * Adds a region. Its mapping becomes the table's, unless this throws.
   *
   * @throws {ProtocolError} If it overlaps another one.
   */
  add(place: RegionPlace, mapping: Mapping): void {
    const { guest, user, size } = place;
    const overlaps = this.#entries.some((entry) =>
      (guest < entry.place.guest + entry.place.size && entry.place.guest < guest + size) ||
      (user < entry.place.user + entry.place.size && entry.place.user < user + size)
    );
    if (overlaps) throw new ProtocolError("memory regions overlap");
    const regions = { guest: new Map(), user: new Map() };
    this.#entries.push({ place, mapping, parts: new Map(), regions, times: 1 });
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
    for (const region of entry.regions.guest.values()) this.buffers.unmap(region);
    for (const region of entry.regions.user.values()) this.rings.unmap(region);
    entry.mapping.close();
  }

  /** Removes all regions. */
  clear(): void {
    this.buffers.clear();
    this.rings.clear();
    for (const { mapping } of this.#entries) mapping.close();
    this.#entries = [];
  }

  /** Maps the piece that holds an address. Returns false if there is none, or if it is mapped already. */
  #look(name: Name, space: AddressSpace, address: number): boolean {
    const entry = this.#entries.find(({ place }) =>
      address >= place[name] && address - place[name] < place.size
    );
    if (!entry) return false;
    const { place: { guest, size }, mapping, parts, regions } = entry;
    const number = Math.floor((guest + address - entry.place[name]) / PIECE);
    if (regions[name].has(number)) return false;
    const first = Math.max(0, number * PIECE - guest);
    const length = Math.min(size, (number + 1) * PIECE - guest) - first;
    const part = parts.get(number) ?? mapping.part(first, length);
    parts.set(number, part);
    const start = entry.place[name] + first;
    regions[name].set(number, space.map(start, part.memory, part.offset, length, READ_WRITE));
    return true;
  }
}
