/**
 * A network device opposite a driver of which there is only memory: tests write what a hostile driver would.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { AddressSpace, READ, READ_WRITE, WRITE } from "../../core/address_space.ts";
import { Frame } from "../../core/frame.ts";
import type { FrameBatch } from "../../core/frame_batch.ts";
import { Memory } from "../../core/memory.ts";
import type { Wire } from "../../core/plugin.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import type { Profile } from "../../plugins/virtio/faults.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { type Desc, RawRing, WRITE as DESC_WRITE } from "./raw_ring.ts";

/** Address of the driver's memory. */
export const RAM = 0x10_0000;
/** Its size. */
export const RAM_SIZE = 0x10_0000;
/** Address of memory that the device may only read. */
export const READ_ONLY = 0x30_0000;
/** Address of memory that the device may only write. */
export const WRITE_ONLY = 0x31_0000;
/** Address of a region right behind the driver's memory, but elsewhere in memory. */
export const BEHIND = RAM + RAM_SIZE;
/** Size of each of the three. */
export const SMALL = 0x1000;
/** Nothing is mapped here. */
export const NOWHERE = 0x7000_0000;
/** Buffers start here; rings lie below. */
export const BUFFERS = RAM + 0x2_0000;
/** Where frames lie that come back. */
const LOOPED = BUFFERS + 0xc000;
/** Bytes of memory around the regions that the device must never touch or show. */
const GUARD = 0x1000;
const GUARD_BYTE = 0xa5;
const RING_STRIDE = 0x8000;

/** What differs between tests. */
export interface RawNetOptions {
  /** Entries of every queue. */
  readonly size?: number;
  /** Negotiated beside VERSION_1. */
  readonly features?: readonly Feature[];
  /** How odd chains are judged. */
  readonly profile?: Profile;
  /** Whether the device watches descriptors. */
  readonly snapshot?: boolean;
  /** Whether the wire takes frames in batches, and the device looks for such. */
  readonly batches?: boolean;
}

/** See the module. */
export class RawNet {
  readonly memory: Memory = new Memory(RAM_SIZE + 3 * SMALL + 5 * GUARD);
  readonly space: AddressSpace = new AddressSpace();
  readonly device: VirtioNetDevice;
  readonly profile: Profile;
  readonly rx: RawRing;
  readonly tx: RawRing;
  readonly ctrl: RawRing;
  /** Frames that reached the wire, as copies. */
  readonly frames: Uint8Array[] = [];
  /** Queues interrupted for. */
  readonly interrupts: number[] = [];
  /** Whether the wire refuses frames for now. */
  refusing = false;
  /** Called with each frame before it is copied. */
  onFrame: () => void = () => {};
  readonly wire: Wire;

  /** Maps the memory and starts all queues. */
  constructor(
    { size = 8, features = [], profile = "strict", snapshot = false, batches = false }: RawNetOptions = {},
  ) {
    this.profile = profile;
    this.wire = {
      transmit: (frame) => this.#transmit(frame),
      ...batches && { transmitBatch: (frames) => this.#transmitBatch(frames) },
      drop: () => {},
    };
    this.memory.bytes.fill(GUARD_BYTE);
    let offset = GUARD;
    for (
      const [address, length, access] of [
        [RAM, RAM_SIZE, READ_WRITE],
        [READ_ONLY, SMALL, READ],
        [WRITE_ONLY, SMALL, WRITE],
        [BEHIND, SMALL, READ_WRITE],
      ] as const
    ) {
      this.space.map(address, this.memory, offset, length, access);
      this.memory.bytes.fill(0, offset, offset + length);
      offset += length + GUARD;
    }
    const mask = featureMask("VERSION_1", "CTRL_VQ", ...features);
    this.device = new VirtioNetDevice({
      features: mask,
      rings: this.space,
      buffers: this.space,
      maxQueueSize: size,
      profile,
      snapshot,
    });
    this.device.interrupt = (queue) => void this.interrupts.push(queue);
    this.device.setFeatures(mask);
    const rings = [0, 1, 2].map((index) => {
      const at = index * RING_STRIDE;
      const areas = { desc: RAM + at, driver: RAM + at + 0x4000, device: RAM + at + 0x6000 };
      this.device.queues[index]!.start(size, areas, mask);
      return new RawRing(
        this.memory.view,
        size,
        this.at(areas.desc),
        this.at(areas.driver),
        this.at(areas.device),
      );
    });
    [this.rx, this.tx, this.ctrl] = rings as [RawRing, RawRing, RawRing];
    // As if it had found a buffer there before: only then it looks for chains that are alike.
    if (batches) {
      for (const queue of this.device.queues) {
        queue.refresh();
        queue.region = queue.find(BUFFERS, 0)!;
      }
    }
  }

  #transmit(frame: Frame): boolean {
    if (this.refusing) return false;
    this.onFrame();
    this.frames.push(copyOf(frame));
    return true;
  }

  #transmitBatch({ bytes, offsets, lengths, count }: FrameBatch): number {
    if (this.refusing) return 0;
    this.onFrame();
    for (let i = 0; i < count; i++) this.frames.push(bytes.slice(offsets[i], offsets[i]! + lengths[i]!));
    return count;
  }

  /** Offset in memory of an address. */
  at(address: number): number {
    return this.space.find(address, 0)!.offsetOf(address);
  }

  /** Puts bytes at an address of the driver's memory. */
  put(address: number, bytes: ArrayLike<number>): void {
    this.memory.bytes.set(Array.from(bytes), this.at(address));
  }

  /** A copy of the bytes at an address. */
  get(address: number, length: number): Uint8Array {
    return this.memory.bytes.slice(this.at(address), this.at(address) + length);
  }

  /** Puts a net header of zeros and a payload at an address: one readable buffer. */
  packet(address: number, payload: ArrayLike<number>): Desc {
    this.put(address, [...new Uint8Array(12), ...Array.from(payload)]);
    return { addr: address, len: 12 + payload.length };
  }

  /** Rings the bell of a queue and lets the device work. */
  kick(index: number): number {
    this.device.notify(index);
    return this.device.service(this.wire);
  }

  /** Sends a control command, cut into readable buffers after so many bytes, and returns its ack. */
  command(bytes: ArrayLike<number>, cut = Infinity): number {
    const ack = BUFFERS + 0x8000;
    this.put(BUFFERS, bytes);
    this.put(ack, [0xee]);
    const buffers: Desc[] = [];
    for (let at = 0; at < bytes.length; at += cut) {
      buffers.push({ addr: BUFFERS + at, len: Math.min(cut, bytes.length - at) });
    }
    const slot = this.ctrl.usedIdx % this.ctrl.size;
    this.ctrl.offer(this.ctrl.chain(0, ...buffers, { addr: ack, len: 1, flags: DESC_WRITE }));
    this.kick(2);
    assertEquals(this.ctrl.usedElem(slot), [0, 1]);
    return this.get(ack, 1)[0]!;
  }

  /** Lets a frame arrive from the wire. */
  arrive(payload: Uint8Array): number {
    const result = this.device.deliver(frameOf(payload));
    this.device.publish();
    return result;
  }

  /** Lets a frame that the driver sends come back, in a batch. Returns how many chains the device took. */
  loop(payload: ArrayLike<number>): number {
    const { device } = this;
    this.tx.offer(this.tx.chain(0, this.packet(LOOPED, payload)));
    device.notify(1);
    return device.service({
      transmit: (frame) => device.deliver(frame) >= 0,
      transmitBatch: (frames) => device.deliverBatch(frames, 0),
      drop: () => {},
    });
  }

  /** Whether every byte that is not mapped is as it was. */
  get guarded(): boolean {
    const { bytes } = this.memory;
    const mapped = this.space.regions.map((region) =>
      [region.offsetOf(region.start), region.offsetOf(region.end)] as const
    ).sort(([a], [b]) => a - b);
    let from = 0;
    for (const [start, end] of [...mapped, [bytes.length, bytes.length] as const]) {
      for (; from < start; from++) if (bytes[from] !== GUARD_BYTE) return false;
      from = end;
    }
    return true;
  }
}

/** A frame as one copy. */
export function copyOf(frame: Frame): Uint8Array {
  const memory = new Memory(frame.length);
  frame.copyTo(memory, 0, 0, frame.length);
  return memory.bytes;
}

/** One piece that is a frame. */
export function frameOf(payload: Uint8Array): Frame {
  const frame = new Frame();
  frame.push(payload, 0, payload.length);
  return frame;
}
