/**
 * What every queue of the device half works with.
 *
 * @module
 */
import type { AddressSpace } from "../../core/address_space.ts";
import type { Clock } from "../../core/clock.ts";
import type { DeviceCounters } from "./counters.ts";
import type { Offload } from "./offload.ts";

/** An interrupt of the device: a notify block. */
export interface NotifyBlock {
  /** Its vector. */
  readonly vector: number;
  /** Its doorbell: index of a word in BAR2. */
  readonly word: number;
  /** Whether it may be raised. */
  armed: boolean;
  /** Whether there is something to tell. */
  pending: boolean;
}

/** Shared by the queues of one device half. */
export interface DeviceContext {
  /** All that the device can reach. */
  readonly space: AddressSpace;
  /** BAR2, as the bus carried it. */
  readonly doorbells: Uint32Array;
  /** Counted together. */
  readonly counters: DeviceCounters;
  /** Time, for what is done at intervals. */
  readonly clock: Clock;
  /** Whether the driver is checked for what real devices do not check, as far as is known. */
  readonly strict: boolean;
  /** Whether the NIC's own limits apply. */
  readonly nicLimits: boolean;
  /** Checksums and segments. */
  readonly offload: Offload;
}

/** What a transmit queue of the device offers. */
export interface TxQueueDevice {
  /** Number of the queue. */
  readonly queue: number;
  /** Page list it uses, or -1. */
  readonly pageList: number;
  /** Its notify block. */
  readonly block: NotifyBlock;
  /** Its doorbell: index of a word in BAR2. */
  readonly word: number;
  /** Whether the driver broke a rule: the queue does nothing any more. */
  stopped: boolean;
  /** State for a person to look at. */
  inspect(): Record<string, unknown>;
}
