/**
 * One chain as the device takes it: its descriptors, in the ring's table or an indirect one, and all that must hold
 * for them.
 *
 * @module
 */
import { AddressSpace, NO_REGION, READ, type Region } from "../../core/address_space.ts";
import { Memory } from "../../core/memory.ts";
import type { DescriptorStates } from "./descriptor_states.ts";
import type { DeviceRing } from "./device_ring.ts";
import type { Profile } from "./faults.ts";
import { vring_desc, VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE } from "./layout.ts";
import { NO_ROOM, type Room, Rooms } from "./ring_map.ts";

const DESC_SIZE = vring_desc.size;
const DESC_ADDR = vring_desc.offsetOf("addr");
const DESC_LEN = vring_desc.offsetOf("len");
const DESC_FLAGS = vring_desc.offsetOf("flags");
const DESC_NEXT = vring_desc.offsetOf("next");
const NEXT = VRING_DESC_F_NEXT;
const WRITE = VRING_DESC_F_WRITE;
const INDIRECT = VRING_DESC_F_INDIRECT;
const HIGH = 2 ** 32;

/** How many entries an indirect table may have, by profile; strict and DPDK allow the queue size. */
const INDIRECT_LIMIT: Readonly<Record<Profile, number>> = { strict: 0, linux: 65536, qemu: 1024, dpdk: 0 };

/** See the module. */
export class DeviceChain {
  /** Its head. */
  head = 0;
  /** Its buffers. */
  count = 0;
  /** How many of them are device-readable; the writable ones follow. */
  readable = 0;
  /** Bytes in the readable ones. */
  readableBytes = 0;
  /** Bytes in the writable ones. */
  writableBytes = 0;
  /** Address of each buffer. */
  readonly addresses: number[] = [0];
  /** Length of each buffer. */
  readonly lengths: number[] = [0];
  /** Buffers of all chains so far beyond the first of each. */
  extraBuffers = 0;
  /** Indirect tables followed. */
  tables = 0;
  readonly #ring: DeviceRing;
  readonly #states: DescriptorStates;
  /** Index of the chain in the available ring. */
  #at = 0;
  #indirect = false;
  #indirectLimit = 0;
  /** Where buffers and indirect tables are. */
  #rooms = new Rooms(new AddressSpace(), []);
  /** Behind all rings: what lies here overlaps none. It is nearly all, as drivers allocate rings first. */
  #ringsEnd = 0;
  /** The room before that in which a buffer lay last. */
  #room: Room = NO_ROOM;
  /** Where indirect tables were found last. */
  #tableRegion: Region = NO_REGION;
  /** Where those are put together that lie across mappings. */
  #scratch = new Memory(0);

  /** Takes over a ring, not yet started, and what is known of its descriptors. */
  constructor(ring: DeviceRing, states: DescriptorStates) {
    this.#ring = ring;
    this.#states = states;
  }

  /** Begins anew; `indirect` says whether indirect tables were negotiated. */
  start(indirect: boolean): void {
    this.#indirect = indirect;
    this.#indirectLimit = INDIRECT_LIMIT[this.#ring.profile] || this.#ring.size;
  }

  /** Buffers must lie in these rooms from now on, and indirect tables in their address space. */
  remap(rooms: Rooms): void {
    this.#rooms = rooms;
    this.#ringsEnd = rooms.last.start;
    this.#room = NO_ROOM;
    this.#tableRegion = NO_REGION;
  }

  /**
   * Reads a chain.
   *
   * @param head Its head.
   * @param at Its index in the available ring.
   * @param counts Whether it counts: not if it was read before.
   * @throws {RingFault} If the driver broke a rule.
   */
  read(head: number, at: number, counts: boolean): void {
    const ring = this.#ring;
    const view = ring.descView;
    const desc = ring.desc + head * DESC_SIZE;
    const flags = view.getUint16(desc + DESC_FLAGS, true);
    const length = view.getUint32(desc + DESC_LEN, true);
    let address = view.getUint32(desc + DESC_ADDR, true);
    const high = view.getUint32(desc + DESC_ADDR + 4, true);
    // Addresses below 4 GiB stay integers for the engine.
    if (high !== 0) address += high * HIGH;
    this.head = head;
    this.#at = at;
    if ((flags & ~WRITE) !== 0 || this.#states.ordered) {
      this.#walk(address, length, flags, view.getUint16(desc + DESC_NEXT, true), counts);
      return;
    }
    if (length === 0 || address < this.#ringsEnd) this.#checkBuffer(address, length);
    this.addresses[0] = address;
    this.lengths[0] = length;
    this.count = 1;
    if (flags === 0) {
      this.readable = 1;
      this.readableBytes = length;
      this.writableBytes = 0;
    } else {
      this.readable = this.readableBytes = 0;
      this.writableBytes = length;
    }
  }

  /**
   * Walks a chain of more than one plain buffer, from its first descriptor on. Nothing that the driver writes makes
   * it run longer than its limit.
   */
  #walk(address: number, length: number, flags: number, next: number, counts: boolean): void {
    const ring = this.#ring;
    const states = this.#states;
    const { head } = this;
    const { size, mask, strict, profile } = ring;
    const { ordered } = states;
    const at = this.#at;
    let view = ring.descView;
    let base = ring.desc;
    let entries = size;
    let left = size;
    let nested = false;
    let last = head;
    this.count = this.readable = 0;
    this.readableBytes = this.writableBytes = 0;
    if (ordered && states.expected >= 0 && head !== states.expected) {
      ring.fault("not-in-order", at, { head, expected: states.expected });
    }
    for (let i = head;;) {
      if (left-- === 0) ring.fault("chain-too-long", at, { head, size });
      if (strict && (flags & ~(NEXT | WRITE | INDIRECT)) !== 0) {
        ring.fault("descriptor-flags", at, { descriptor: i, flags });
      }
      if (flags & INDIRECT && !(nested && (profile === "qemu" || profile === "dpdk"))) {
        this.#checkIndirect(nested, flags, length);
        entries = left = Math.floor(length / DESC_SIZE);
        if (!this.#tableRegion.holds(address, length)) {
          this.#tableRegion = this.#rooms.space.contiguous(address, length, READ) ?? NO_REGION;
        }
        const region = this.#tableRegion;
        const whole = region.holds(address, length);
        view = whole ? region.memory.view : this.#gather(address, length);
        base = whole ? region.offsetOf(address) : 0;
        nested = true;
        i = 0;
        if (counts) this.tables++;
      } else {
        this.#add(address, length, flags);
        if (strict && this.readableBytes + this.writableBytes > HIGH) {
          ring.fault("chain-too-large", at, { bytes: this.readableBytes + this.writableBytes });
        }
        if (!(flags & NEXT)) {
          if (counts) this.extraBuffers += this.count - 1;
          states.expected = (last + 1) & mask;
          return;
        }
        if (ordered && next !== (nested ? i + 1 : (i + 1) & mask)) {
          ring.fault("not-in-order", at, { descriptor: i, next });
        }
        // vhost reads the entries of an indirect table one after the other, whatever `next` says.
        i = nested && profile === "linux" ? i + 1 : next;
        if (i >= entries) ring.fault("next-out-of-range", at, { next: i, entries });
        if (!nested) {
          if (strict) states.mark(head, last, i, at);
          last = i;
        }
      }
      const desc = base + i * DESC_SIZE;
      address = view.getUint32(desc + DESC_ADDR, true);
      const high = view.getUint32(desc + DESC_ADDR + 4, true);
      if (high !== 0) address += high * HIGH;
      length = view.getUint32(desc + DESC_LEN, true);
      flags = view.getUint16(desc + DESC_FLAGS, true);
      next = view.getUint16(desc + DESC_NEXT, true);
    }
  }

  /** Adds a buffer to the chain. */
  #add(address: number, length: number, flags: number): void {
    const i = this.count++;
    if (length === 0 || address < this.#ringsEnd) this.#checkBuffer(address, length);
    if (flags & WRITE) {
      this.writableBytes += length;
    } else {
      if (this.readable !== i && this.#ring.profile !== "dpdk") {
        this.#ring.fault("readable-after-writable", this.#at, { at: i });
      }
      this.readable = i + 1;
      this.readableBytes += length;
    }
    this.addresses[i] = address;
    this.lengths[i] = length;
  }

  #checkBuffer(address: number, length: number): void {
    const ring = this.#ring;
    if (length === 0 && (ring.strict || ring.profile === "qemu")) ring.fault("zero-length", this.#at);
    if (address >= this.#room.start && address + length <= this.#room.end) return;
    this.#room = this.#rooms.around(address, length) ?? this.#faultOverlap(address, length);
  }

  #faultOverlap(address: number, length: number): never {
    const overlapped = this.#rooms.overlapped(address, length);
    this.#ring.fault("buffer-overlaps-ring", this.#at, { address, length, overlapped });
  }

  #checkIndirect(nested: boolean, flags: number, length: number): void {
    const ring = this.#ring;
    const at = this.#at;
    const { strict, profile } = ring;
    if (nested) ring.fault("indirect-nested", at);
    if (!this.#indirect && strict) ring.fault("indirect-not-negotiated", at);
    if (flags & NEXT && strict) ring.fault("indirect-and-next", at);
    if (this.count > 0 && (profile === "qemu" || profile === "dpdk")) ring.fault("indirect-not-first", at);
    // DPDK leaves the bytes behind the last whole entry alone.
    if (length < DESC_SIZE || (length % DESC_SIZE !== 0 && profile !== "dpdk")) {
      ring.fault("indirect-length", at, { length });
    }
    const entries = length / DESC_SIZE;
    const limit = this.#indirectLimit;
    if (entries > limit) ring.fault("indirect-too-long", at, { entries, limit });
  }

  /** Copies an indirect table that lies across mappings, so that it can be read like any other. */
  #gather(address: number, length: number): DataView {
    if (this.#scratch.size < length) this.#scratch = new Memory(length);
    if (!this.#rooms.space.read(address, this.#scratch.bytes.subarray(0, length))) {
      this.#ring.fault("bad-address", this.#at, { address, length });
    }
    return this.#scratch.view;
  }
}
