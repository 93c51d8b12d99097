/**
 * What a device half is: its size, what it offers, and how it plays.
 *
 * @module
 */
import { OPTION, QUEUE_FORMAT } from "./constants.ts";

/** An option that the device offers. */
export interface OfferedOption {
  /** Its id. */
  readonly id: number;
  /** What follows the header. */
  readonly body: Uint8Array;
}

/** A device half's settings. */
export interface DeviceSettings {
  /** PCI revision: 0 has the page frame number register only. */
  readonly revision: number;
  /** Options in order. */
  readonly offer: readonly OfferedOption[];
  /** Most transmit queues. */
  readonly maxTxQueues: number;
  /** Most receive queues. */
  readonly maxRxQueues: number;
  /** Entries of transmit rings: suggestion and bounds. */
  readonly txRing: { readonly entries: number; readonly min: number; readonly max: number };
  /** Entries of receive rings: suggestion and bounds. */
  readonly rxRing: { readonly entries: number; readonly min: number; readonly max: number };
  /** Suggested pages of a transmit page list. */
  readonly txPages: number;
  /** Suggested pages of a receive page list. */
  readonly rxPages: number;
  /** Most pages over all lists. */
  readonly maxPages: number;
  /** MTU without the jumbo option. */
  readonly mtu: number;
  /** Largest MTU. */
  readonly maxMtu: number;
  /** MAC address. */
  readonly mac: readonly number[];
  /** Bits per second. */
  readonly linkSpeed: number;
  /** Whether the driver is checked for what real devices let pass, as far as is known. */
  readonly strict: boolean;
  /** Whether the NIC's own limits apply. */
  readonly nicLimits: boolean;
  /** Of 100 DQO packets so many take the slow path. */
  readonly missRate: number;
  /** Whether DQO completions come out of order. */
  readonly outOfOrder: boolean;
  /** DQO receive completions written at a time. */
  readonly completionBatch: number;
  /** Seed of whatever is random. */
  readonly seed: number;
}

/** The formats by the id of their option. */
export const FORMAT_OPTIONS: ReadonlyMap<number, number> = new Map([
  [OPTION.GQI_RAW_ADDRESSING, QUEUE_FORMAT.GQI_RDA],
  [OPTION.GQI_RDA, QUEUE_FORMAT.GQI_RDA],
  [OPTION.GQI_QPL, QUEUE_FORMAT.GQI_QPL],
  [OPTION.DQO_RDA, QUEUE_FORMAT.DQO_RDA],
  [OPTION.DQO_QPL, QUEUE_FORMAT.DQO_QPL],
]);

/** Whether queues of a format have a page list. */
export function usesPageLists(format: number): boolean {
  return format === QUEUE_FORMAT.GQI_QPL || format === QUEUE_FORMAT.DQO_QPL;
}

/** Whether a format is DQO. */
export function isDqo(format: number): boolean {
  return format === QUEUE_FORMAT.DQO_RDA || format === QUEUE_FORMAT.DQO_QPL;
}
