/**
 * Codes of the faults that the two halves raise, each with what the other side did.
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
  "admin-doorbell": "The admin doorbell moved by no commands, or by more than 64 at a time",
  "admin-queue-address": "The admin queue is not one page of readable and writable memory",
  "memory-gone": "Rings, counters or cells were unmapped while a queue used them",
  "doorbell-beyond-ring": "A doorbell announces more than the ring holds",
  "descriptor-type": "A descriptor has an unknown type, or one that may not stand there",
  "descriptor-count": "desc_cnt is not the number of the packet's descriptors",
  "descriptor-limit": "A packet has more descriptors than the NIC takes",
  "segment-missing": "A TSO packet has no segment behind its headers",
  "reserved-bits": "Reserved bits of a descriptor are not zero",
  "zero-length": "A segment or buffer is empty",
  "length-mismatch": "The segments of a packet do not add up to its length",
  "address": "A buffer lies in memory that the device may not reach",
  "outside-page-list": "An offset of a page list queue lies outside its page list",
  "packet-size": "A packet is shorter or longer than the NIC takes",
  "tso": "mss, header and payload of a TSO packet do not fit the NIC or each other",
  "checksum-offset": "The checksum field lies outside the packet",
  "context-order": "Context descriptors stand behind the data, TSO not first, or twice",
  "unfinished-packet": "A doorbell announces part of a packet",
  "tag-mismatch": "Descriptors of a packet carry different tags, or not all of them one",
  "tag-range": "Bit 15 of a tag is set",
  "tag-in-flight": "A tag is used again before its completion",
  "report-event": "report_event stands before a packet's last descriptor, or less than 32 apart",
  "buffer-id-posted": "A receive buffer id is posted twice at the same time",
  "header-buffer": "A buffer has no header buffer, with header split",
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
  "admin-counter": "adminq_event_counter went backwards, or passed the doorbell",
  "admin-timeout": "A command did not complete within 100 polls",
  "admin-status": "A command that the driver cannot do without did not pass",
  "descriptor": "The device descriptor's lengths or sizes make no sense",
  "option": "An option reaches beyond the descriptor",
  "ring-size": "A ring size is no power of two",
  "doorbell-index": "A doorbell index lies outside BAR2",
  "doorbell-shared": "Two queues or interrupts share a doorbell",
  "counter-index": "An event counter index lies outside the array",
  "event-counter": "The event counter went backwards, or passed what was posted",
  "sequence": "More descriptors arrived than slots were posted",
  "packet-length": "A received length does not fit its buffer",
  "partial-packet": "Part of a packet was published",
  "frame-too-long": "A frame does not end",
  "buffer-id": "A buffer id is none of the driver's",
  "buffer-not-posted": "A completion names a buffer that is not posted",
  "header-length": "A header does not fit the header buffer",
  "header-position": "A split header does not stand in a packet's first completion",
  "completion-type": "A completion has an unknown type",
  "completion-queue": "A completion names another queue than the one whose ring it is in",
  "tag-range": "A tag is none of the driver's",
  "tag-state": "A completion does not fit the state of its tag",
  "tx-head": "tx_head went backwards, or passed the tail",
  "segment-length": "A coalesced packet is not TCP, or does not say its segment length",
  "packet-type": "An entry of the packet type map has an unknown value",
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
