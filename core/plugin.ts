/**
 * The contract between the core and a ring: what a plugin is, and what its two halves do.
 *
 * A plugin's driver half and device half share nothing but bytes in an {@linkcode AddressSpace} and numbers
 * (doorbells, interrupts, registers). The pipe puts the two halves opposite each other; other hosts take one half alone.
 *
 * @module
 */
import type { AddressSpace } from "./address_space.ts";
import type { Clock } from "./clock.ts";
import type { Counters, CounterSpec } from "./counters.ts";
import { type DmaMemory, DmaMemoryError } from "./dma_memory.ts";
import type { FaultSpec } from "./fault.ts";
import type { Frame } from "./frame.ts";
import type { FrameBatch, PieceBatch } from "./frame_batch.ts";
import type { Struct } from "./layout.ts";
import { formatSize, OptionError, type OptionSpec, type OptionValues } from "./options.ts";

/** `transmit`: the ring has no room now; let the device work, receive, and try again. */
export const FULL: number = -1;
/** `transmit`: the ring can never carry so long a frame. `deliver`: the receive buffers can never hold it. */
export const OVERSIZE: number = -2;
/** `transmit`: the ring cannot carry so short a frame. */
export const RUNT: number = -3;
/** `deliver`: the receive queue that the frame belongs on is being reset: the frame is to be dropped. */
export const IN_RESET: number = -4;
/** `deliver`: no receive buffers now; try again when the driver has posted more. */
export const NO_BUFFERS: number = -1;

/** Names of the reasons for which `transmit` or `deliver` refuses a frame for good, by its result. */
export const REFUSALS: Readonly<Record<number, string>> = {
  [OVERSIZE]: "oversize",
  [RUNT]: "runt",
  [IN_RESET]: "queue-reset",
};

/** Rings a bell on the other side: the number says which (a queue, a doorbell register, a vector). */
export type Doorbell = (value: number) => void;

/** Device registers, as a bus shows them: numbers at offsets. */
export interface Registers {
  /** Reads a register of 1, 2 or 4 bytes. */
  read(offset: number, width: number): number;
  /** Writes a register of 1, 2 or 4 bytes. */
  write(offset: number, width: number, value: number): void;
}

/** Where a driver half hands over received frames. */
export interface FrameSink {
  /**
   * Takes the next piece of the frame now arriving on a receive queue. The bytes are valid during the call only.
   * All pieces of a frame come one after the other, within one {@linkcode DriverHalf.receive}.
   * An empty frame is one piece of length 0.
   *
   * @param queue The receive queue.
   * @param bytes The buffer the piece lies in.
   * @param offset Where in it.
   * @param length How many bytes.
   * @param more Whether further pieces of the same frame follow.
   */
  piece(queue: number, bytes: Uint8Array, offset: number, length: number, more: boolean): void;
  /** Takes many frames, each in one piece, as so many calls of `piece` would. For drivers that receive in batches. */
  batch?(queue: number, frames: FrameBatch): void;
}

/** What is beyond the device: a network, a capture file, or its own receive side. */
export interface Wire {
  /** Takes a frame that the device read from transmit queue `queue`. False: not now, keep it and try later. */
  transmit(frame: Frame, queue: number): boolean;
  /**
   * Takes many frames, as so many calls of `transmit` would. For devices that transmit in batches.
   *
   * @returns How many it took: the first that it did not is to be passed to `transmit`, which may know more.
   */
  transmitBatch?(frames: FrameBatch, queue: number): number;
  /** As {@linkcode transmitBatch}, of frames that may lie in several pieces. */
  transmitPieces?(frames: PieceBatch, queue: number): number;
  /** Notes that the device dropped the next frame of transmit queue `queue`, and why. */
  drop(queue: number, reason: string): void;
}

/** The driver's side of a link. */
export interface DriverHalf {
  /**
   * Puts a frame on a transmit ring. Bytes that lie in memory the device can reach are pointed at, not copied,
   * and must stay as they are until the frame has left the device.
   *
   * @param bytes The buffer the frame lies in.
   * @param offset Where it starts.
   * @param length Its length in bytes.
   * @param headroom How many bytes before `offset` the driver may overwrite.
   * @returns The transmit queue that took it, or {@linkcode FULL}, {@linkcode OVERSIZE}, {@linkcode RUNT}.
   * @throws {RingFault} If the device has broken the protocol.
   */
  transmit(bytes: Uint8Array, offset: number, length: number, headroom: number): number;
  /**
   * Puts frames on a transmit ring in one loop, from the one at index `from` on, as so many calls of `transmit` would.
   * A driver has it if it has one transmit queue, number 0, and a faster way for frames that it can point at.
   *
   * @returns The index of the first frame that it did not take: `transmit` tells why.
   * @throws {RingFault} If the device has broken the protocol.
   */
  transmitBatch?(frames: FrameBatch, from: number, headroom: number): number;
  /** Publishes what was transmitted and rings the doorbell if the device wants it. */
  flush(): void;
  /**
   * Hands received frames to `sink`, reclaims transmit buffers, posts fresh receive buffers.
   *
   * @returns How many ring entries moved: 0 means that nothing had happened.
   * @throws {RingFault} If the device has broken the protocol.
   */
  receive(sink: FrameSink): number;
  /** What the driver has done so far. */
  counters(): Counters;
  /** The driver's state for a person to look at: plain data. */
  inspect(): Record<string, unknown>;
}

/** The device's side of a link. */
export interface DeviceHalf {
  /**
   * Works off what the driver has published: every transmitted frame goes to `wire`.
   *
   * @returns How many ring entries moved: 0 means that there was nothing to do.
   * @throws {RingFault} If the driver has broken the protocol.
   */
  service(wire: Wire): number;
  /**
   * Puts a frame from the wire into the driver's receive buffers.
   *
   * The driver sees it at the end of the {@linkcode DeviceHalf.service} call during or after which this was called.
   *
   * @returns The receive queue that took it, or {@linkcode NO_BUFFERS}; or why it is to be dropped:
   * {@linkcode OVERSIZE}, {@linkcode IN_RESET}.
   * @throws {RingFault} If the driver has broken the protocol.
   */
  deliver(frame: Frame): number;
  /**
   * Puts frames into receive buffers of queue 0 in one loop, from the one at index `from` on, as so many calls of
   * `deliver` would.
   *
   * @returns The index of the first frame that it did not take: `deliver` tells why.
   * @throws {RingFault} If the driver has broken the protocol.
   */
  deliverBatch?(frames: FrameBatch, from: number): number;
  /**
   * As {@linkcode deliverBatch}, of frames that may lie in several pieces, from the first one on.
   *
   * @returns How many it took.
   * @throws {RingFault} If the driver has broken the protocol.
   */
  deliverPieces?(frames: PieceBatch): number;
  /** What the device has done so far. */
  counters(): Counters;
  /** The device's state for a person to look at: plain data. */
  inspect(): Record<string, unknown>;
}

/** Two halves that were brought up opposite each other. */
export interface Link {
  /** The driver's side. */
  readonly driver: DriverHalf;
  /** The device's side. */
  readonly device: DeviceHalf;
  /** How many frames are transmitted before the doorbell is rung and the device works. */
  readonly batch: number;
}

/** What the host gives a link. */
export interface Host {
  /** Memory for the driver's rings and buffers, visible to the device in `space`. */
  readonly dma: DmaMemory;
  /** All that the device can reach: `dma` and whatever else the host shows it, such as its capture buffer. */
  readonly space: AddressSpace;
  /** Time. */
  readonly clock: Clock;
}

/** A ring that ringpipe can run: what a plugin module exports as its default. */
export interface Plugin {
  /** Version of this contract. */
  readonly api: 1;
  /** Short name, as in `-b NAME`. */
  readonly name: string;
  /** What it is, in one line. */
  readonly summary: string;
  /** Its options. */
  readonly options: readonly OptionSpec[];
  /** Its counters, driver's and device's. */
  readonly counters: readonly CounterSpec[];
  /** Its structures. */
  readonly structures: readonly Struct[];
  /** The faults that its halves raise. */
  readonly faults?: readonly FaultSpec[];
  /** Builds both halves over the host's memory and brings them up. */
  open(options: OptionValues, host: Host): Link;
}

/** What the halves of a link must be able to do. */
const METHODS: Readonly<Record<"driver" | "device", readonly string[]>> = {
  driver: ["transmit", "flush", "receive", "counters", "inspect"],
  device: ["service", "deliver", "counters", "inspect"],
};

/**
 * Opens a plugin, and checks what it has opened: modules are loaded without a look at their types.
 *
 * @param plugin The ring.
 * @param options Its options.
 * @param host Memory, address space and clock.
 * @throws {OptionError} If the options do not go together.
 * @throws {TypeError} If the link is not complete; the message says what is missing.
 */
export function openLink(plugin: Plugin, options: OptionValues, host: Host): Link {
  const link = plugin.open(options, host);
  for (const half of ["driver", "device"] as const) {
    const methods = link?.[half] as unknown as Record<string, unknown> | undefined;
    const missing = METHODS[half].find((name) => typeof methods?.[name] !== "function");
    if (missing) {
      throw new TypeError(`Plugin ${plugin.name} opened no whole link: ${half}.${missing} is missing`);
    }
  }
  if (Number.isInteger(link.batch) && link.batch > 0) return link;
  throw new TypeError(`Plugin ${plugin.name} opened no whole link: batch must be a whole number from 1`);
}

/**
 * Makes a driver half, which asks for all its memory while it comes up. More than there is is a mistake of the user's,
 * and told as one.
 *
 * @param dma The driver's memory.
 * @param options The user's options.
 * @param greedy Names of those options that memory goes by.
 * @param make Makes it.
 * @param who What the message calls it.
 * @throws {OptionError} If the memory is too little; the message names the options.
 */
export function withinMemory<T>(
  dma: DmaMemory,
  options: OptionValues,
  greedy: readonly string[],
  make: () => T,
  who = "the driver",
): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof DmaMemoryError)) throw error;
    const { start, end } = dma.region;
    const all = options.assignments();
    const chosen = greedy.flatMap((name) => all.filter((text) => text.startsWith(`${name}=`)));
    throw new OptionError(
      `${who} has ${formatSize(end - start)} of memory, too little for ${chosen.join(", ")}`,
    );
  }
}
