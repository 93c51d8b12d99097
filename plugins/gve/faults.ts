/**
 * Codes of the faults that the two halves raise, each with the rule that was broken.
 *
 * @module
 */
import { type FaultValues, RingFault } from "../../core/fault.ts";

/** What the driver may do wrong, as the device sees it. */
export const DEVICE_FAULTS: Readonly<
  Record<
    | "admin-doorbell"
    | "admin-queue-address"
    | "memory-gone"
    | "doorbell-beyond-ring"
    | "descriptor-type"
    | "descriptor-count"
    | "descriptor-limit"
    | "segment-missing"
    | "reserved-bits"
    | "zero-length"
    | "length-mismatch"
    | "address"
    | "outside-page-list"
    | "packet-size"
    | "tso"
    | "checksum-offset"
    | "context-order"
    | "unfinished-packet"
    | "tag-mismatch"
    | "tag-range"
    | "tag-in-flight"
    | "report-event"
    | "buffer-id-posted"
    | "header-buffer",
    string
  >
> = {
  "admin-doorbell": "the admin doorbell moves by 1 to 64 commands at a time",
  "admin-queue-address": "the admin queue is one page of readable and writable memory",
  "memory-gone": "rings, counters and cells stay mapped while a queue exists",
  "doorbell-beyond-ring": "a doorbell announces no more than the ring holds",
  "descriptor-type": "a descriptor has a known type in a place where that type may stand",
  "descriptor-count": "desc_cnt is the number of the packet's descriptors",
  "descriptor-limit": "a packet has no more descriptors than the NIC takes",
  "segment-missing": "a TSO packet has at least one segment behind its headers",
  "reserved-bits": "reserved bits of descriptors are zero",
  "zero-length": "no segment or buffer is empty",
  "length-mismatch": "the segments of a packet add up to its length",
  "address": "buffers lie in memory that the device may reach",
  "outside-page-list": "offsets of a page list queue lie in its page list",
  "packet-size": "a packet is as long as the NIC takes",
  "tso": "mss, header and payload of a TSO packet fit the NIC and each other",
  "checksum-offset": "the checksum field lies in the packet",
  "context-order": "context descriptors stand before the data, TSO first, one of each",
  "unfinished-packet": "a doorbell announces whole packets",
  "tag-mismatch": "all descriptors of a packet carry its tag, or none but the last",
  "tag-range": "bit 15 of a tag is clear",
  "tag-in-flight": "a tag is not used again before its completion",
  "report-event": "report_event stands on last descriptors that are at least 32 apart",
  "buffer-id-posted": "a receive buffer id is not posted twice at the same time",
  "header-buffer": "with header split every buffer has a header buffer",
};

/** What the device may do wrong, as the driver sees it. */
export const DRIVER_FAULTS: Readonly<
  Record<
    | "admin-counter"
    | "admin-timeout"
    | "admin-status"
    | "descriptor"
    | "option"
    | "ring-size"
    | "doorbell-index"
    | "doorbell-shared"
    | "counter-index"
    | "event-counter"
    | "sequence"
    | "packet-length"
    | "partial-packet"
    | "frame-too-long"
    | "buffer-id"
    | "buffer-not-posted"
    | "header-length"
    | "header-position"
    | "completion-type"
    | "completion-queue"
    | "tag-range"
    | "tag-state"
    | "tx-head"
    | "segment-length"
    | "packet-type",
    string
  >
> = {
  "admin-counter": "adminq_event_counter moves forward and never passes the doorbell",
  "admin-timeout": "a command completes within 100 polls",
  "admin-status": "a command that the driver cannot do without passes",
  "descriptor": "the device descriptor's lengths and sizes are sensible",
  "option": "options lie inside the descriptor",
  "ring-size": "ring sizes are powers of two",
  "doorbell-index": "doorbell indices lie in BAR2",
  "doorbell-shared": "no two queues or interrupts share a doorbell",
  "counter-index": "event counter indices lie in the array",
  "event-counter": "the event counter moves forward and never passes what was posted",
  "sequence": "no more descriptors arrive than slots are posted",
  "packet-length": "a received length fits its buffer",
  "partial-packet": "a packet is published as a whole",
  "frame-too-long": "a frame ends at some time",
  "buffer-id": "a buffer id is one of the driver's",
  "buffer-not-posted": "a completion names a buffer that is posted",
  "header-length": "a header fits the header buffer",
  "header-position": "a split header stands in a packet's first completion",
  "completion-type": "a completion has a known type",
  "completion-queue": "a completion names the queue whose ring it is in",
  "tag-range": "a tag is one of the driver's",
  "tag-state": "a completion fits the state of its tag",
  "tx-head": "tx_head moves forward and never passes the tail",
  "segment-length": "a coalesced packet is TCP and says its segment length",
  "packet-type": "entries of the packet type map have known values",
};

/** Name of a device fault. */
export type DeviceFault = keyof typeof DEVICE_FAULTS;
/** Name of a driver fault. */
export type DriverFault = keyof typeof DRIVER_FAULTS;

/** The device's fault. */
export function deviceFault(ring: string, code: DeviceFault, index: number, values?: FaultValues): RingFault {
  return new RingFault("device", ring, code, index, values);
}

/** The driver's fault. */
export function driverFault(ring: string, code: DriverFault, index: number, values?: FaultValues): RingFault {
  return new RingFault("driver", ring, code, index, values);
}
