/**
 * The rules of a split virtqueue that a peer can break, by stable code.
 *
 * @module
 */

/** What differs between implementations when a chain is odd but may be legal: virtio leaves room here. */
export type Profile = "strict" | "linux" | "qemu" | "dpdk";

/** Codes of the faults that the device half raises, and what each means. */
export const DEVICE_FAULTS = {
  "avail-idx-jump": "avail.idx is more than the queue size ahead of what was consumed, or went backwards",
  "avail-flags": "avail.flags has unknown bits, or is not 0 with EVENT_IDX",
  "head-out-of-range": "An available ring entry names no descriptor",
  "head-available-twice": "A chain is made available again before it was used",
  "descriptor-shared": "A descriptor belongs to two chains that the device has",
  "not-in-order": "With IN_ORDER, a chain does not take the next descriptors of the table",
  "next-out-of-range": "next names no descriptor of its table",
  "chain-too-long": "A chain has more descriptors than the queue size: a loop, or an excess",
  "indirect-not-negotiated": "INDIRECT without the feature",
  "indirect-nested": "INDIRECT inside an indirect table",
  "indirect-length": "An indirect table's length is 0 or no multiple of 16",
  "indirect-and-next": "INDIRECT together with NEXT",
  "indirect-not-first": "Ordinary descriptors before an INDIRECT one (legal, but this profile refuses it)",
  "indirect-too-long": "An indirect table has more entries than allowed",
  "readable-after-writable": "A device-readable buffer behind a device-writable one",
  "zero-length": "A buffer of no bytes",
  "chain-too-large": "A chain holds more than 2^32 bytes",
  "descriptor-flags": "A descriptor has flags other than NEXT, WRITE and INDIRECT",
  "descriptor-changed": "A chain is changed while the device has it (looked for with snapshot=on)",
  "bad-address": "A buffer is not mapped, or not with the access it needs",
  "bad-ring-address": "A ring part is not mapped, or not contiguous in memory",
  "misaligned-ring": "A ring part is not aligned as it must be",
  "bad-queue-size": "The queue size is no power of two, or too large",
  "buffer-overlaps-ring": "A buffer overlaps a part of a ring of the device",
  "writable-on-transmit": "A transmit chain has a device-writable part",
  "readable-on-receive": "A receive chain has a device-readable part",
  "short-chain": "A chain is shorter than the net header",
  "header-not-negotiated": "A net header asks for an offload that was not negotiated",
  "control-without-ack": "A control command has no writable byte for the ack",
} as const satisfies Readonly<Record<string, string>>;

/** Codes of the faults that the driver half raises, and what each means. */
export const DRIVER_FAULTS = {
  "used-idx-jump": "used.idx is further ahead than chains are outstanding, or went backwards",
  "used-flags": "used.flags has unknown bits, or is not 0 with EVENT_IDX",
  "used-id-out-of-range": "A used element names no descriptor",
  "used-id-not-outstanding": "A used element names a chain that the device does not have",
  "used-out-of-order": "Chains come back in another order although IN_ORDER was negotiated",
  "used-length": "A used element says that more was written than the chain can hold",
  "used-short": "A received buffer is shorter than the net header",
  "num-buffers": "num_buffers is 0, or more buffers than were published together",
  "merged-not-full": "A merged buffer other than the last is not full",
  "frame-header": "A received net header asks for an offload that was not negotiated",
  "control-failed": "The device answered a control command with an error, or not at all",
  "bring-up": "The device does not behave as a virtio device must during initialisation",
} as const satisfies Readonly<Record<string, string>>;

/** Code of a fault of the device half. */
export type DeviceFaultCode = keyof typeof DEVICE_FAULTS;
/** Code of a fault of the driver half. */
export type DriverFaultCode = keyof typeof DRIVER_FAULTS;
