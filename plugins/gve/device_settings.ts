/**
 * What a device half is: its size, what it offers, and how it plays.
 *
 * @module
 */
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
  /** Whether DQO receive doorbells may be counts of buffers that go on beyond the ring, as iPXE's are. */
  readonly countedBuffers: boolean;
  /** Seed of whatever is random. */
  readonly seed: number;
}
