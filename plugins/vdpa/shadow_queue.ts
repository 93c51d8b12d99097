/**
 * A shadow virtqueue: between the guest's ring, of which the hypervisor is the device, and a ring of its own, of which it
 * is the driver.
 *
 * Buffers stay where they are; only descriptors are written anew. An indirect table of the guest becomes a plain chain,
 * as the shadow ring does without that feature.
 *
 * @module
 */
import { NO_REGION } from "../../core/address_space.ts";
import { RingFault } from "../../core/fault.ts";
import type { DeviceQueue } from "../virtio/device_queue.ts";
import type { DriverQueue } from "../virtio/driver_queue.ts";
import { VRING_DESC_F_WRITE } from "../virtio/layout.ts";
import type { VdpaGuestFaultCode } from "./faults.ts";
import type { Translation } from "./translation.ts";

/** What shadow queues have done. */
export interface ShadowCounters {
  /** Chains relayed to the device. */
  chains: number;
  /** Descriptors written into shadow rings for them. */
  descriptors: number;
  /** Used elements relayed to the guest. */
  used: number;
  /** Addresses translated in software. */
  translations: number;
  /** Times that a chain had to wait as the shadow ring was full. */
  parked: number;
  /** Chains put back into the guest's ring as the device had not used them when the shadow queue was taken out. */
  rewound: number;
}

/** The sum of what several shadow queues have done. */
export function sumCounters(all: readonly ShadowCounters[]): ShadowCounters {
  const sum = { chains: 0, descriptors: 0, used: 0, translations: 0, parked: 0, rewound: 0 };
  for (const counters of all) {
    for (const name of Object.keys(sum) as (keyof ShadowCounters)[]) sum[name] += counters[name];
  }
  return sum;
}

/** Chain numbers count up to here and begin again: far more than can be outstanding. */
const NUMBER_MASK = 0x3fffffff;
const NONE = -1;

/** How a {@linkcode ShadowQueue} reaches both sides. */
export interface ShadowQueueOptions {
  /** The guest's ring; started. */
  readonly guest: DeviceQueue;
  /** The shadow ring. */
  readonly ring: DriverQueue;
  /** Guest addresses to device addresses, if they differ. */
  readonly translation: Translation | undefined;
  /** Rings the device's doorbell for this queue. */
  readonly kick: () => void;
  /** Interrupts the guest for this queue. */
  readonly interrupt: () => void;
}

/** Buffers of a chain, the readable ones first. */
interface Chain {
  readonly addresses: ArrayLike<number>;
  readonly lengths: ArrayLike<number>;
  readonly count: number;
  readonly readable: number;
}

/** See the module. */
export class ShadowQueue {
  readonly #guest: DeviceQueue;
  readonly #ring: DriverQueue;
  readonly #translation: Translation | undefined;
  readonly #kick: () => void;
  readonly #interrupt: () => void;
  /** Guest's head of the chain with this head in the shadow ring. */
  readonly #guestHeads: Uint16Array;
  /** Number of the chain with this head, in the order in which the guest made them available. */
  readonly #numbers: Int32Array;
  #number = 0;
  /** Flags of the chains that {@linkcode DeviceQueue.popPlain} is asked for. */
  #kind = 0;
  /** What makes a device address of one of theirs. */
  #shift = 0;
  #parked = false;
  #parkings = 0;
  #rewound = 0;

  /** Connects two rings. */
  constructor(options: ShadowQueueOptions) {
    this.#guest = options.guest;
    this.#ring = options.ring;
    this.#translation = options.translation;
    this.#kick = options.kick;
    this.#interrupt = options.interrupt;
    this.#guestHeads = new Uint16Array(options.ring.size);
    this.#numbers = new Int32Array(options.ring.size).fill(NONE);
  }

  /**
   * Relays what the guest made available, as far as the shadow ring has room.
   *
   * @throws {RingFault} If the guest broke a rule, or the device did.
   */
  forward(): void {
    const guest = this.#guest;
    guest.refresh();
    guest.disableNotify();
    this.#parked = false;
    do {
      for (;;) {
        this.#relayPlain();
        if (!guest.pop()) break;
        const head = this.#relay();
        if (head < 0) {
          guest.unpop(1);
          this.#parked = true;
          this.#parkings++;
          this.#publish();
          return;
        }
        this.#note(head, guest.head);
      }
    } while (guest.enableNotify());
    this.#publish();
  }

  /** Relays chains in one loop, as long as they are one buffer each of the kind that came last, and there is room. */
  #relayPlain(): void {
    const guest = this.#guest;
    const ring = this.#ring;
    const { region, heads, offsets, sizes } = guest;
    const kind = this.#kind;
    const shift = this.#shift - region.delta;
    const write = kind !== 0;
    while (ring.free > 0) {
      const slot = guest.popPlain(kind);
      if (slot < 0) return;
      this.#note(ring.add(offsets[slot]! + shift, sizes[slot]!, write), heads[slot]!);
    }
  }

  /** Remembers which chain of the guest the one with this head in the shadow ring stands for. */
  #note(head: number, guestHead: number): void {
    this.#guestHeads[head] = guestHead;
    this.#numbers[head] = this.#number;
    this.#number = (this.#number + 1) & NUMBER_MASK;
  }

  #publish(): void {
    if (this.#ring.publish()) this.#kick();
  }

  /** Writes the chain just popped, whatever it looks like, into the shadow ring. Negative if it has no room now. */
  #relay(): number {
    const translation = this.#translation;
    const guest = this.#guest;
    const { addresses, lengths, count, readable, availIndex } = guest;
    // Most likely the next ones are like this one.
    const region = guest.buffers.find(addresses[0]!, 0) ?? NO_REGION;
    const shift = translation === undefined ? 0 : translation.shiftOf(region);
    guest.region = shift === undefined ? NO_REGION : region;
    this.#kind = readable === 0 ? VRING_DESC_F_WRITE : 0;
    this.#shift = shift ?? 0;
    if (translation === undefined) return this.#add(guest);
    if (!translation.chain(addresses, lengths, count, readable)) {
      this.#fault("shadow-untranslatable", availIndex, { address: translation.failed });
    }
    return this.#add(translation);
  }

  #add({ addresses, lengths, count, readable }: Chain): number {
    const ring = this.#ring;
    if (!this.#fits(count)) return NONE;
    if (count === 1) return ring.add(addresses[0]!, lengths[0]!, readable === 0);
    return ring.addChain(addresses, lengths, count, readable);
  }

  #fits(count: number): boolean {
    if (this.#ring.fits(count)) return true;
    const { size } = this.#ring;
    if (count > size) {
      this.#fault("shadow-chain-too-long", this.#guest.availIndex, { buffers: count, size });
    }
    return false;
  }

  /**
   * Relays what the device used, and then whatever waited for room.
   *
   * @throws {RingFault} If the device broke a rule.
   */
  reclaim(): void {
    do {
      this.#drain();
      this.#ring.enableInterrupts();
    } while (this.#drain() > 0);
    if (this.#guest.publish()) this.#interrupt();
    if (this.#parked) this.forward();
  }

  #drain(): number {
    const ring = this.#ring;
    const guest = this.#guest;
    let used = 0;
    while (ring.nextUsed()) {
      const head = ring.usedHead;
      this.#numbers[head] = NONE;
      guest.push(this.#guestHeads[head]!, ring.usedLength);
      ring.release(head);
      used++;
    }
    return used;
  }

  /**
   * Takes the shadow queue out. The device is stopped already; what it has not used goes back into the guest's ring.
   *
   * @returns Where the next device goes on in the guest's available ring.
   * @throws {RingFault} If the device used buffers in an order in which the rest cannot be put back.
   */
  stop(): number {
    this.#drain();
    const rest = this.#ring.outstanding;
    for (const number of this.#numbers) {
      const age = (this.#number - number) & NUMBER_MASK;
      if (number !== NONE && age > rest) this.#fault("shadow-out-of-order", this.#guest.usedIndex, { rest });
    }
    this.#guest.unpop(rest);
    this.#rewound += rest;
    if (this.#guest.publish()) this.#interrupt();
    return this.#guest.stop();
  }

  /** What it has done. */
  get counters(): ShadowCounters {
    const { chains, descriptors } = this.#ring.counters;
    return {
      chains,
      descriptors,
      used: chains - this.#ring.outstanding,
      translations: this.#translation ? this.#guest.counters.descriptors : 0,
      parked: this.#parkings,
      rewound: this.#rewound,
    };
  }

  #fault(code: VdpaGuestFaultCode, index: number, values: Record<string, number>): never {
    this.#guest.stop();
    throw new RingFault("device", this.#guest.name, code, index, values);
  }
}
