/**
 * Where the rings of a device lie, and the rooms between them. No buffer may overlap a ring: a device that wrote a
 * frame into one would make up its own descriptors.
 *
 * So that this costs nothing per packet, {@linkcode Rooms.find} gives regions that end where a ring begins: whoever
 * sees that a buffer lies in such a region knows that it overlaps no ring.
 *
 * @module
 */
import { type AddressSpace, Region } from "../../core/address_space.ts";
import { availBytes, descBytes, type RingAddresses, usedBytes } from "./ring_areas.ts";

/** One part of a ring. */
interface RingPart {
  readonly ring: string;
  readonly space: AddressSpace;
  readonly start: number;
  readonly end: number;
}

/** The rings of all running queues of a device. */
export class RingMap {
  #parts: readonly RingPart[] = [];
  #generation = 0;

  /** Grows with every change. */
  get generation(): number {
    return this.#generation;
  }

  /** Notes where the ring of this name is. */
  add(ring: string, space: AddressSpace, size: number, { desc, driver, device }: RingAddresses): void {
    const part = (start: number, bytes: number) => ({ ring, space, start, end: start + bytes });
    this.#parts = [
      ...this.#parts,
      part(desc, descBytes(size)),
      part(driver, availBytes(size)),
      part(device, usedBytes(size)),
    ];
    this.#generation++;
  }

  /** The ring of this name is nowhere any more. */
  remove(ring: string): void {
    const rest = this.#parts.filter((part) => part.ring !== ring);
    if (rest.length === this.#parts.length) return;
    this.#parts = rest;
    this.#generation++;
  }

  /** The rooms that the rings leave in an address space now. */
  rooms(space: AddressSpace): Rooms {
    return new Rooms(space, this.#parts.filter((part) => part.space === space));
  }
}

/** Addresses between two rings. */
export class Room {
  /** The first. */
  readonly start: number;
  /** Behind the last: a room reaches over what is not mapped, and may have no end. */
  readonly end: number;

  /** See {@linkcode Rooms}. */
  constructor(start: number, end: number) {
    this.start = start;
    this.end = end;
  }
}

/** Holds no buffer. */
export const NO_ROOM: Room = new Room(0, 0);

/** What rings leave of an address space. Valid until the space or the {@linkcode RingMap} changes. */
export class Rooms {
  /** The space. */
  readonly space: AddressSpace;
  readonly #parts: readonly RingPart[];
  /** In order. */
  readonly #rooms: readonly Room[];
  /** Regions cut to a room. */
  readonly #cut: Region[] = [];

  /** Made by {@linkcode RingMap.rooms}. */
  constructor(space: AddressSpace, parts: readonly RingPart[]) {
    this.space = space;
    this.#parts = parts.toSorted((a, b) => a.start - b.start);
    const rooms: Room[] = [];
    let free = 0;
    for (const { start, end } of this.#parts) {
      if (start > free) rooms.push(new Room(free, start));
      free = Math.max(free, end);
    }
    rooms.push(new Room(free, Infinity));
    this.#rooms = rooms;
  }

  /** The room behind all rings. */
  get last(): Room {
    return this.#rooms[this.#rooms.length - 1]!;
  }

  /** The room in which all `length` bytes at `address` lie; none if they overlap a ring. */
  around(address: number, length: number): Room | undefined {
    const rooms = this.#rooms;
    let low = 0;
    let high = rooms.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (rooms[middle]!.start <= address) low = middle + 1;
      else high = middle;
    }
    const room = rooms[low - 1];
    return room !== undefined && address + length <= room.end ? room : undefined;
  }

  /** Name of a ring that the bytes overlap, which lie in no room. */
  overlapped(address: number, length: number): string {
    return this.#parts.find(({ start, end }) => address < end && address + length > start)!.ring;
  }

  /**
   * The region that holds the byte at `address` and grants `access`, as far as no ring lies in it: the same object each
   * time.
   */
  find(address: number, access: number): Region | undefined {
    const region = this.space.find(address, access);
    const room = this.around(address, 1);
    if (region === undefined || room === undefined) return undefined;
    const start = Math.max(region.start, room.start);
    const end = Math.min(region.end, room.end);
    if (start === region.start && end === region.end) return region;
    for (const known of this.#cut) if (known.start === start) return known;
    const cut = new Region(start, end - start, region.memory, region.offsetOf(start), region.access);
    this.#cut.push(cut);
    return cut;
  }
}
