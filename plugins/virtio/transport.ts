/**
 * What a virtio driver needs of the bus between it and its device.
 *
 * @module
 */
import type { RingAddresses } from "./ring_areas.ts";

/** Device status bits: virtio 1.4, 2.1. */
export const STATUS = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  NEEDS_RESET: 64,
  FAILED: 128,
} as const satisfies Readonly<Record<string, number>>;

/** The driver's view of a virtio bus. */
export interface VirtioTransport {
  /** Whether this is the legacy interface: contiguous rings, fixed queue sizes, feature bits below 32, no FEATURES_OK. */
  readonly legacy: boolean;
  /** Reads the device status. */
  getStatus(): number;
  /** Writes the device status; 0 resets. */
  setStatus(status: number): void;
  /** Reads the offered feature bits. */
  getFeatures(): bigint;
  /** Writes the accepted feature bits. */
  setFeatures(features: bigint): void;
  /** Reads bytes of the device configuration, consistently. */
  readConfig(length: number): Uint8Array;
  /** Largest size of a queue; 0 if there is no such queue. */
  maxQueueSize(index: number): number;
  /** Sets a queue up and starts it. */
  startQueue(index: number, size: number, areas: RingAddresses): void;
  /** Takes a queue back from the device (RING_RESET): it can be started anew. */
  resetQueue(index: number): void;
  /** Rings a queue's doorbell; `availIndex` goes along with NOTIFICATION_DATA. */
  kick(index: number, availIndex: number): void;
}
