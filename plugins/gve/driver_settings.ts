/**
 * What a driver half is and what it wants.
 *
 * @module
 */

/** Which driver's ways with memory and bring-up are taken. */
export type DriverKind = "linux" | "ipxe";

/** A driver half's settings. */
export interface DriverSettings {
  /** Whose ways: Linux maps and synchronises; iPXE has coherent memory, fills rings its own way, and asks for less. */
  readonly kind: DriverKind;
  /** PCI revision of the device. */
  readonly revision: number;
  /** Queues of each direction. */
  readonly queues: number;
  /** Wanted entries of a transmit ring, as far as the device allows. */
  readonly txRing: number;
  /** Wanted entries of a receive ring, as far as the device allows. */
  readonly rxRing: number;
  /** Bytes per receive buffer. */
  readonly bufferSize: number;
  /** Bytes per header buffer, or 0 for no header split (DQO). */
  readonly headerSize: number;
  /** Bytes per page of the driver. */
  readonly pageSize: number;
  /** 4096-byte pages of a transmit page list. */
  readonly txPages: number;
  /** 4096-byte pages of a DQO receive page list. */
  readonly rxPages: number;
  /** Frames of at most so many bytes are copied. */
  readonly copybreak: number;
  /** Frames that the stack holds for a while. */
  readonly hold: number;
  /** MTU to set and to police, or 0. */
  readonly mtu: number;
  /** Seed of whatever is random. */
  readonly seed: number;
  /** Whether the device is checked for everything. */
  readonly strict: boolean;
  /** Whether the NIC's own limits apply. */
  readonly nicLimits: boolean;
}
