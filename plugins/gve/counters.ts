/**
 * What the two halves count.
 *
 * @module
 */
import type { Counters, CounterSpec } from "../../core/counters.ts";
import { OPCODE } from "./constants.ts";

/** What the driver half counts; the meanings stand in {@linkcode driverCounterSpecs}. */
export class DriverCounters {
  /** `tx.packets` */
  txPackets = 0;
  /** `tx.bytes` */
  txBytes = 0;
  /** `tx.descriptors.packet` */
  txPacketDescriptors = 0;
  /** `tx.descriptors.segment` */
  txSegmentDescriptors = 0;
  /** `tx.descriptors.metadata` */
  txMetadataDescriptors = 0;
  /** `tx.descriptors.tso` */
  txTsoDescriptors = 0;
  /** `tx.doorbells` */
  txDoorbells = 0;
  /** `tx.wakes` */
  txWakes = 0;
  /** `tx.stops` */
  txStops = 0;
  /** `tx.bounce_bytes` */
  txBounceBytes = 0;
  /** `tx.unmapped_bytes` */
  txUnmappedBytes = 0;
  /** `tx.linearized` */
  txLinearized = 0;
  /** `tx.dma_maps` */
  txDmaMaps = 0;
  /** `tx.dma_syncs` */
  txDmaSyncs = 0;
  /** `tx.fifo_padding_bytes` */
  txPaddingBytes = 0;
  /** `tx.event_counter_reads` */
  txEventCounterReads = 0;
  /** `tx.completions.packet` */
  txPacketCompletions = 0;
  /** `tx.completions.descriptor` */
  txDescriptorCompletions = 0;
  /** `tx.completions.miss` */
  txMisses = 0;
  /** `tx.completions.reinjection` */
  txReinjections = 0;
  /** `tx.completions.ignored` */
  txIgnored = 0;
  /** `tx.reinjection_timeouts` */
  txTimeouts = 0;
  /** `tx.tags_reclaimed` */
  txTagsReclaimed = 0;
  /** `rx.packets` */
  rxPackets = 0;
  /** `rx.bytes` */
  rxBytes = 0;
  /** `rx.descriptors` */
  rxDescriptors = 0;
  /** `rx.doorbells` */
  rxDoorbells = 0;
  /** `rx.buffers_posted` */
  rxPosted = 0;
  /** `rx.buffers_recycled` */
  rxRecycled = 0;
  /** `rx.buffers_reused` */
  rxReused = 0;
  /** `rx.buffers_allocated` */
  rxAllocated = 0;
  /** `rx.pages_discarded` */
  rxDiscarded = 0;
  /** `rx.copybreak_frames` */
  rxCopybreak = 0;
  /** `rx.bounce_bytes` */
  rxBounceBytes = 0;
  /** `rx.on_demand_copies` */
  rxOnDemand = 0;
  /** `rx.header_splits` */
  rxHeaderSplits = 0;
  /** `rx.dma_maps` */
  rxDmaMaps = 0;
  /** `rx.dma_syncs` */
  rxDmaSyncs = 0;
  /** `rx.errors` */
  rxErrors = 0;
  /** `rx.dropped_fragments` */
  rxDroppedFragments = 0;
  /** `rx.resets_wanted` */
  rxResetsWanted = 0;
  /** `interrupts.handled` */
  interrupts = 0;
  /** `interrupts.doorbells` */
  interruptDoorbells = 0;
  /** `pages.registered` */
  pagesRegistered = 0;
  /** `admin.doorbells` */
  adminDoorbells = 0;
  /** `admin.options_skipped` */
  optionsSkipped = 0;
  /** `admin.commands.NAME`, by opcode. */
  readonly commands: Map<number, number> = new Map();

  /** Adds up an admin command. */
  command(opcode: number): void {
    this.commands.set(opcode, (this.commands.get(opcode) ?? 0) + 1);
  }
}

/** What the device half counts; the meanings stand in {@linkcode deviceCounterSpecs}. */
export class DeviceCounters {
  /** `device.tx.packets` */
  txPackets = 0;
  /** `device.tx.bytes` */
  txBytes = 0;
  /** `device.tx.descriptors` */
  txDescriptors = 0;
  /** `device.tx.segments` */
  txSegments = 0;
  /** `device.tx.checksums` */
  txChecksums = 0;
  /** `device.event_counter_writes` */
  eventCounterWrites = 0;
  /** `device.tx.completions` */
  txCompletions = 0;
  /** `device.tx.misses` */
  txMisses = 0;
  /** `device.tx.reinjections` */
  txReinjections = 0;
  /** `device.rx.packets` */
  rxPackets = 0;
  /** `device.rx.bytes` */
  rxBytes = 0;
  /** `device.rx.descriptors` */
  rxDescriptors = 0;
  /** `device.rx.no_buffers` */
  rxNoBuffers = 0;
  /** `device.rx.runts` */
  rxRunts = 0;
  /** `device.rx.oversize` */
  rxOversize = 0;
  /** `device.rx.header_splits` */
  rxHeaderSplits = 0;
  /** `device.interrupts` */
  interrupts = 0;
  /** `device.interrupts_suppressed` */
  interruptsSuppressed = 0;
  /** `device.faults` */
  faults = 0;
  /** `device.resets` */
  resets = 0;
  /** `device.admin.commands.NAME`, by opcode. */
  readonly commands: Map<number, number> = new Map();
  /** `device.admin.failed` */
  failed = 0;

  /** Adds up an admin command. */
  command(opcode: number): void {
    this.commands.set(opcode, (this.commands.get(opcode) ?? 0) + 1);
  }
}

type Row<C> = readonly [keyof C, string, string];

const DRIVER: readonly Row<DriverCounters>[] = [
  ["txPackets", "tx.packets", "Frames put on transmit rings"],
  ["txBytes", "tx.bytes", "Their bytes"],
  [
    "txPacketDescriptors",
    "tx.descriptors.packet",
    "GQI: packet descriptors (STD, TSO); DQO: data descriptors",
  ],
  ["txSegmentDescriptors", "tx.descriptors.segment", "GQI: segment descriptors"],
  ["txMetadataDescriptors", "tx.descriptors.metadata", "GQI: metadata descriptors; DQO: general contexts"],
  ["txTsoDescriptors", "tx.descriptors.tso", "DQO: TSO contexts"],
  ["txDoorbells", "tx.doorbells", "Writes to transmit doorbells"],
  ["txWakes", "tx.wakes", "Times a stopped transmit queue took a frame again"],
  ["txStops", "tx.stops", "Times a frame found a transmit queue full and stopped it"],
  ["txBounceBytes", "tx.bounce_bytes", "Frame bytes copied into pages of a page list"],
  [
    "txUnmappedBytes",
    "tx.unmapped_bytes",
    "Frame bytes copied since they lay outside what the device can reach",
  ],
  [
    "txLinearized",
    "tx.linearized",
    "Packets in more pieces than the NIC takes, made one piece first (limits=nic)",
  ],
  ["txDmaMaps", "tx.dma_maps", "Pieces of frames that descriptors point at where they lie"],
  ["txDmaSyncs", "tx.dma_syncs", "Page list pages synchronised for the device (driver=linux)"],
  ["txPaddingBytes", "tx.fifo_padding_bytes", "GQI-QPL: bytes of the FIFO passed over to align pieces"],
  ["txEventCounterReads", "tx.event_counter_reads", "GQI: readings of a queue's event counter"],
  [
    "txPacketCompletions",
    "tx.completions.packet",
    "GQI: packets covered by the event counter; DQO: PACKET completions",
  ],
  ["txDescriptorCompletions", "tx.completions.descriptor", "DQO: DESCRIPTOR completions"],
  ["txMisses", "tx.completions.miss", "DQO: MISS completions, either form"],
  ["txReinjections", "tx.completions.reinjection", "DQO: REINJECTION completions"],
  ["txIgnored", "tx.completions.ignored", "DQO: completions that fit no packet (profile=linux)"],
  ["txTimeouts", "tx.reinjection_timeouts", "DQO: packets given up a second after their MISS"],
  ["txTagsReclaimed", "tx.tags_reclaimed", "DQO: tags taken back a minute after that"],
  ["rxPackets", "rx.packets", "Frames handed over"],
  ["rxBytes", "rx.bytes", "Their bytes"],
  ["rxDescriptors", "rx.descriptors", "GQI: receive descriptors handled; DQO: receive completions handled"],
  ["rxDoorbells", "rx.doorbells", "Writes to receive doorbells"],
  ["rxPosted", "rx.buffers_posted", "Receive buffers posted"],
  ["rxRecycled", "rx.buffers_recycled", "Of these: free as soon as they were handled"],
  ["rxReused", "rx.buffers_reused", "Of these: from the used list, or found free at refill"],
  ["rxAllocated", "rx.buffers_allocated", "Of these: on a page new to the queue"],
  ["rxDiscarded", "rx.pages_discarded", "Pages given up since the stack still held them"],
  [
    "rxCopybreak",
    "rx.copybreak_frames",
    "Frames of at most copybreak bytes, copied so that their page stays",
  ],
  ["rxBounceBytes", "rx.bounce_bytes", "Bytes copied out of page list pages that could not be given away"],
  ["rxOnDemand", "rx.on_demand_copies", "DQO-QPL: fragments so copied since most buffers were in use"],
  ["rxHeaderSplits", "rx.header_splits", "Frames whose headers came in a header buffer"],
  ["rxDmaMaps", "rx.dma_maps", "Pages mapped for receiving"],
  ["rxDmaSyncs", "rx.dma_syncs", "Receive buffers synchronised for the processor (driver=linux)"],
  [
    "rxErrors",
    "rx.errors",
    "Frames dropped since the device marked them bad, or the completion was (profile=linux)",
  ],
  ["rxDroppedFragments", "rx.dropped_fragments", "Buffers whose frame was dropped"],
  ["rxResetsWanted", "rx.resets_wanted", "Times the driver would have reset the device (profile=linux)"],
  ["interrupts", "interrupts.handled", "Interrupts taken"],
  ["interruptDoorbells", "interrupts.doorbells", "Writes to interrupt doorbells"],
  ["pagesRegistered", "pages.registered", "4096-byte pages in registered page lists"],
  ["adminDoorbells", "admin.doorbells", "Writes to the admin doorbell"],
  ["optionsSkipped", "admin.options_skipped", "Device options unknown or not usable"],
];

const DEVICE: readonly Row<DeviceCounters>[] = [
  ["txPackets", "device.tx.packets", "Packets taken from transmit rings"],
  ["txBytes", "device.tx.bytes", "Their bytes"],
  ["txDescriptors", "device.tx.descriptors", "Transmit descriptors taken, of all kinds"],
  ["txSegments", "device.tx.segments", "Frames made from TSO packets"],
  ["txChecksums", "device.tx.checksums", "L4 checksums computed"],
  ["eventCounterWrites", "device.event_counter_writes", "GQI: writes of event counters"],
  ["txCompletions", "device.tx.completions", "DQO: transmit completions written, of all kinds"],
  ["txMisses", "device.tx.misses", "DQO: of these MISS, either form"],
  ["txReinjections", "device.tx.reinjections", "DQO: of these REINJECTION"],
  ["rxPackets", "device.rx.packets", "Frames put into receive buffers"],
  ["rxBytes", "device.rx.bytes", "Their bytes"],
  [
    "rxDescriptors",
    "device.rx.descriptors",
    "GQI: receive descriptors written; DQO: receive completions written",
  ],
  ["rxNoBuffers", "device.rx.no_buffers", "Times a frame had to wait for receive buffers"],
  ["rxRunts", "device.rx.runts", "Empty frames from the wire, which end in the device"],
  [
    "rxOversize",
    "device.rx.oversize",
    "Frames from the wire that are longer than the receive ring or the MTU allows, which end in the device",
  ],
  ["rxHeaderSplits", "device.rx.header_splits", "Frames whose headers went to a header buffer"],
  ["interrupts", "device.interrupts", "Interrupts raised"],
  [
    "interruptsSuppressed",
    "device.interrupts_suppressed",
    "Interrupts not raised since they were masked or not armed",
  ],
  ["faults", "device.faults", "Queues stopped for good since the driver broke a rule"],
  ["resets", "device.resets", "Resets by the driver"],
  ["failed", "device.admin.failed", "Admin commands that did not pass"],
];

function commandName(opcode: number): string {
  const known = Object.entries(OPCODE).find(([, value]) => value === opcode);
  return known ? known[0].toLowerCase() : `0x${opcode.toString(16)}`;
}

function commandSpecs(prefix: string, verb: string): CounterSpec[] {
  return Object.entries(OPCODE).map(([name]) => ({
    name: `${prefix}${name.toLowerCase()}`,
    meaning: `${name} commands ${verb}`,
  }));
}

/** The driver's counters. */
export const driverCounterSpecs: readonly CounterSpec[] = [
  ...DRIVER.map(([, name, meaning]) => ({ name, meaning })),
  ...commandSpecs("admin.commands.", "posted"),
];
/** The device's counters. */
export const deviceCounterSpecs: readonly CounterSpec[] = [
  ...DEVICE.map(([, name, meaning]) => ({ name, meaning })),
  ...commandSpecs("device.admin.commands.", "carried out or refused"),
];

function readings<C extends { readonly commands: Map<number, number> }>(
  counters: C,
  queues: readonly C[],
  rows: readonly Row<C>[],
  prefix: string,
): Counters {
  const result: Counters = {};
  for (const [field, name] of rows) {
    result[name] = queues.reduce((sum, queue) => sum + (queue[field] as number), counters[field] as number);
  }
  for (const [opcode, count] of counters.commands) result[`${prefix}${commandName(opcode)}`] = count;
  return result;
}

/** The driver's readings: what it counted itself, and what its queues counted. */
export function driverReadings(counters: DriverCounters, queues: readonly DriverCounters[]): Counters {
  return readings(counters, queues, DRIVER, "admin.commands.");
}

/** The device's readings: what it counted itself, and what its queues counted. */
export function deviceReadings(counters: DeviceCounters, queues: readonly DeviceCounters[]): Counters {
  return readings(counters, queues, DEVICE, "device.admin.commands.");
}
