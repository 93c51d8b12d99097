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
  "head-out-of-range": "an available ring entry names no descriptor",
  "head-available-twice": "a chain is made available again before it was used",
  "descriptor-shared": "a descriptor belongs to two chains that the device has",
  "not-in-order": "with IN_ORDER, a chain does not take the next descriptors of the table",
  "next-out-of-range": "next names no descriptor of its table",
  "chain-too-long": "a chain has more descriptors than the queue size: a loop, or an excess",
  "indirect-not-negotiated": "INDIRECT without the feature",
  "indirect-nested": "INDIRECT inside an indirect table",
  "indirect-length": "an indirect table's length is 0 or no multiple of 16",
  "indirect-and-next": "INDIRECT together with NEXT",
  "indirect-not-first": "ordinary descriptors before an INDIRECT one (legal, but this profile refuses it)",
  "indirect-too-long": "an indirect table has more entries than allowed",
  "readable-after-writable": "a device-readable buffer behind a device-writable one",
  "zero-length": "a buffer of no bytes",
  "chain-too-large": "a chain holds more than 2^32 bytes",
  "descriptor-flags": "a descriptor has flags other than NEXT, WRITE and INDIRECT",
  "bad-address": "a buffer is not mapped, or not with the access it needs",
  "bad-ring-address": "a ring part is not mapped, or not contiguous in memory",
  "misaligned-ring": "a ring part is not aligned as it must be",
  "bad-queue-size": "the queue size is no power of two, or too large",
  "buffer-overlaps-ring": "a buffer overlaps a part of the ring",
  "writable-on-transmit": "a transmit chain has a device-writable part",
  "readable-on-receive": "a receive chain has a device-readable part",
  "short-chain": "a chain is shorter than the net header",
  "header-not-negotiated": "a net header asks for an offload that was not negotiated",
  "control-without-ack": "a control command has no writable byte for the ack",
} as const satisfies Readonly<Record<string, string>>;

/** Codes of the faults that the driver half raises, and what each means. */
export const DRIVER_FAULTS = {
  "used-idx-jump": "used.idx is further ahead than chains are outstanding, or went backwards",
  "used-flags": "used.flags has unknown bits, or is not 0 with EVENT_IDX",
  "used-id-out-of-range": "a used element names no descriptor",
  "used-id-not-outstanding": "a used element names a chain that the device does not have",
  "used-out-of-order": "chains come back in another order although IN_ORDER was negotiated",
  "used-length": "a used element says that more was written than the chain can hold",
  "used-short": "a received buffer is shorter than the net header",
  "num-buffers": "num_buffers is 0, or more buffers than were published together",
  "merged-not-full": "a merged buffer other than the last is not full",
  "frame-header": "a received net header asks for an offload that was not negotiated",
  "control-failed": "the device answered a control command with an error, or not at all",
  "bring-up": "the device does not behave as a virtio device must during initialisation",
} as const satisfies Readonly<Record<string, string>>;

/** Code of a fault of the device half. */
export type DeviceFaultCode = keyof typeof DEVICE_FAULTS;
/** Code of a fault of the driver half. */
export type DriverFaultCode = keyof typeof DRIVER_FAULTS;
