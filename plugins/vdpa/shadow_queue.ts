/**
 * A shadow virtqueue: between the guest's ring, of which the hypervisor is the device, and a ring of its own, of which it
 * is the driver.
 *
 * Buffers stay where they are; only descriptors are written anew. An indirect table of the guest becomes a plain chain,
 * as the shadow ring does without that feature.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import type { DeviceQueue } from "../virtio/device_queue.ts";
import type { DriverQueue } from "../virtio/driver_queue.ts";
import type { VdpaGuestFaultCode } from "./faults.ts";
import type { Translation } from "./translation.ts";

/** What shadow queues have done; one for all queues of a device. */
export class ShadowCounters {
  /** Descriptors written into shadow rings for descriptors of the guest. */
  descriptors = 0;
  /** Chains relayed to the device. */
  chains = 0;
  /** Used elements relayed to the guest. */
  used = 0;
  /** Addresses translated in software. */
  translations = 0;
  /** Chains that had to wait as the shadow ring was full. */
  parked = 0;
  /** Chains put back into the guest's ring as the device had not used them when the shadow queue was taken out. */
  rewound = 0;
}

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
  /** Where the work is counted. */
  readonly counters: ShadowCounters;
}

/** See the module. */
export class ShadowQueue {
  readonly #guest: DeviceQueue;
  readonly #ring: DriverQueue;
  readonly #translation: Translation | undefined;
  readonly #kick: () => void;
  readonly #interrupt: () => void;
  readonly #counters: ShadowCounters;
  /** Guest's head of the chain with this head in the shadow ring. */
  readonly #guestHeads: Uint16Array;
  /** Number of the chain with this head, in the order in which the guest made them available; -1 if there is none. */
  readonly #numbers: Float64Array;
  #number = 0;
  #parked = false;

  /** Connects two rings. */
  constructor(options: ShadowQueueOptions) {
    this.#guest = options.guest;
    this.#ring = options.ring;
    this.#translation = options.translation;
    this.#kick = options.kick;
    this.#interrupt = options.interrupt;
    this.#counters = options.counters;
    this.#guestHeads = new Uint16Array(options.ring.size);
    this.#numbers = new Float64Array(options.ring.size).fill(-1);
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
      while (guest.pop()) {
        if (!this.#relay()) {
          guest.unpop(1);
          this.#parked = true;
          this.#counters.parked++;
          this.#publish();
          return;
        }
      }
    } while (guest.enableNotify());
    this.#publish();
  }

  #publish(): void {
    if (this.#ring.publish()) this.#kick();
  }

  /** Writes the chain just popped into the shadow ring. False if it has no room now. */
  #relay(): boolean {
    const guest = this.#guest;
    const ring = this.#ring;
    let { addresses, lengths, count, readable } = guest as {
      addresses: ArrayLike<number>;
      lengths: ArrayLike<number>;
      count: number;
      readable: number;
    };
    const translation = this.#translation;
    if (translation !== undefined) {
      if (!translation.chain(addresses, lengths, count, readable)) {
        this.#fault("shadow-untranslatable", guest.availIndex, { address: translation.failed });
      }
      this.#counters.translations += count;
      ({ addresses, lengths, count, readable } = translation);
    }
    if (count > ring.size) {
      this.#fault("shadow-chain-too-long", guest.availIndex, { buffers: count, size: ring.size });
    }
    if (!ring.fits(count)) return false;
    const head = count === 1
      ? ring.add(addresses[0]!, lengths[0]!, readable === 0)
      : ring.addChain(addresses, lengths, count, readable);
    this.#guestHeads[head] = guest.head;
    this.#numbers[head] = this.#number++;
    this.#counters.chains++;
    this.#counters.descriptors += count;
    return true;
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
      this.#numbers[head] = -1;
      guest.push(this.#guestHeads[head]!, ring.usedLength);
      ring.release(head);
      used++;
    }
    this.#counters.used += used;
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
    const oldest = this.#number - rest;
    for (const number of this.#numbers) {
      if (number >= 0 && number < oldest) this.#fault("shadow-out-of-order", this.#guest.usedIndex, { rest });
    }
    this.#guest.unpop(rest);
    this.#counters.rewound += rest;
    if (this.#guest.publish()) this.#interrupt();
    return this.#guest.stop();
  }

  /** Chains that the device has. */
  get outstanding(): number {
    return this.#ring.outstanding;
  }

  #fault(code: VdpaGuestFaultCode, index: number, values: Record<string, number>): never {
    this.#guest.stop();
    throw new RingFault("device", this.#guest.name, code, index, values);
  }
}
