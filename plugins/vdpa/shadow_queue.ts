/**
 * A shadow virtqueue: between the guest's ring, of which the hypervisor is the device, and a ring of its own, of which it
 * is the driver.
 *
 * Buffers stay where they are; only descriptors are written anew. An indirect table of the guest becomes a plain chain,
 * as the shadow ring does without that feature.
 *
 * @module
 */
import { NO_REGION, type Region } from "../../core/address_space.ts";
import { RingFault } from "../../core/fault.ts";
import type { Doorbell } from "../../core/plugin.ts";
import type { DeviceQueue } from "../virtio/device_queue.ts";
import { VRING_DESC_F_WRITE } from "../virtio/layout.ts";
import type { VdpaGuestFaultCode } from "./faults.ts";
import type { ShadowRing } from "./shadow_ring.ts";
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

/** How a {@linkcode ShadowQueue} reaches both sides. */
export interface ShadowQueueOptions {
  /** The guest's ring; started. */
  readonly guest: DeviceQueue;
  /** The shadow ring. */
  readonly ring: ShadowRing;
  /** Guest addresses to device addresses, if they differ. */
  readonly translation: Translation | undefined;
  /** Rings the device's doorbell for a queue. */
  readonly kick: Doorbell;
  /** Interrupts the guest for a queue. */
  readonly interrupt: Doorbell;
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
  readonly #ring: ShadowRing;
  readonly #translation: Translation | undefined;
  readonly #kick: Doorbell;
  readonly #interrupt: Doorbell;
  /** Flags of the chains that {@linkcode DeviceQueue.plainAhead} is asked for. */
  #kind = 0;
  /** Where the chain lay that came last, and where that is for the device. */
  #region: Region = NO_REGION;
  #window: Region = NO_REGION;
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
        if (!this.#relay()) {
          guest.unpop(1);
          this.#parked = true;
          this.#parkings++;
          this.#publish();
          return;
        }
      }
    } while (guest.enableNotify());
    this.#publish();
  }

  /** Relays chains many at once, as long as they are one buffer each of the kind that came last, and there is room. */
  #relayPlain(): void {
    const guest = this.#guest;
    const ring = this.#ring;
    const kind = this.#kind;
    for (let count = 0; (count = Math.min(guest.plainAhead(kind), ring.free)) > 0;) {
      ring.addPlain(guest, count, this.#window, kind);
      guest.takePlain(count);
    }
  }

  #publish(): void {
    if (this.#ring.publish()) this.#kick(this.#guest.index);
  }

  /** Writes the chain just popped, whatever it looks like, into the shadow ring. Returns whether it had room now. */
  #relay(): boolean {
    const translation = this.#translation;
    const guest = this.#guest;
    const { addresses, lengths, count, readable, availIndex } = guest;
    this.#expectAlike(addresses[0]!, readable === 0 ? VRING_DESC_F_WRITE : 0);
    if (translation === undefined) return this.#add(guest);
    if (!translation.chain(addresses, lengths, count, readable)) {
      this.#fault("shadow-untranslatable", availIndex, { address: translation.failed });
    }
    return this.#add(translation);
  }

  /** Most likely the next chains are like this one: one buffer of this kind in the same region. */
  #expectAlike(address: number, kind: number): void {
    const guest = this.#guest;
    const region = guest.find(address, 0) ?? NO_REGION;
    this.#kind = kind;
    if (region !== this.#region) {
      this.#region = region;
      const window = this.#translation === undefined ? region : this.#translation.window(region);
      // Where upper halves of addresses differ, chains go one by one.
      this.#window = window === undefined || window.high < 0 ? NO_REGION : window;
    }
    guest.region = this.#window === NO_REGION ? NO_REGION : region;
  }

  #add({ addresses, lengths, count, readable }: Chain): boolean {
    const ring = this.#ring;
    const { size } = ring;
    if (count > size) {
      this.#fault("shadow-chain-too-long", this.#guest.availIndex, { buffers: count, size });
    }
    if (count > ring.free) return false;
    ring.addChain(addresses, lengths, count, readable, this.#guest.head);
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
    if (this.#guest.publish()) this.#interrupt(this.#guest.index);
    if (this.#parked) this.forward();
  }

  #drain(): number {
    const count = this.#ring.collect();
    this.#guest.pushAll(this.#ring.usedTags, this.#ring.usedLengths, count);
    return count;
  }

  /**
   * Takes the shadow queue out. The device is stopped already; what it has not used goes back into the guest's ring.
   *
   * @returns Where the next device goes on in the guest's available ring.
   * @throws {RingFault} If the device used buffers in an order in which the rest cannot be put back.
   */
  stop(): number {
    const guest = this.#guest;
    this.#drain();
    const rest = this.#ring.outstanding;
    const last = new Set<number>();
    for (let age = 1; age <= rest; age++) last.add(guest.heads[(guest.availIndex - age) & (guest.size - 1)]!);
    if (!this.#ring.tags.every((head) => last.has(head))) {
      this.#fault("shadow-out-of-order", guest.usedIndex, { rest });
    }
    guest.unpop(rest);
    this.#rewound += rest;
    if (guest.publish()) this.#interrupt(guest.index);
    return guest.stop();
  }

  /** What it has done. */
  get counters(): ShadowCounters {
    const { chains, descriptors } = this.#ring;
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
