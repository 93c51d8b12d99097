/**
 * A link opened in memory, for programs that use ringpipe as a library.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";
import type { Counters } from "./counters.ts";
import type { Frame } from "./frame.ts";
import { LocalHost, type LocalHostOptions } from "./host.ts";
import type { Struct, Values } from "./layout.ts";
import { type OptionValue, OptionValues } from "./options.ts";
import { FULL, type Link, NO_BUFFERS, openLink, type Plugin, REFUSALS, type Wire } from "./plugin.ts";

/**
 * A driver half and a device half over memory of their own, the device looping back. The steps are the caller's:
 * transmit, let the device work, receive, and look at the memory in between.
 */
export class RingPair {
  /** Memory, address space and clock of the link. */
  readonly host: LocalHost;
  /** The two halves. */
  readonly link: Link;
  /** The options as resolved. */
  readonly options: OptionValues;
  /** Reasons of the frames that the device dropped, in order. */
  readonly dropped: string[] = [];
  readonly #loopback: Wire = {
    transmit: (frame: Frame) => {
      const queue = this.link.device.deliver(frame);
      if (queue === NO_BUFFERS) return false;
      if (queue < 0) this.dropped.push(REFUSALS[queue] ?? "refused");
      return true;
    },
    drop: (_queue, reason) => {
      this.dropped.push(reason);
    },
  };

  /**
   * Opens a plugin.
   *
   * @param plugin The ring.
   * @param options Options by name, as typed on the command line or as values.
   * @param host Sizes and clock of the memory.
   * @throws {OptionError} If an option does not exist or does not fit.
   */
  constructor(
    plugin: Plugin,
    options: Readonly<Record<string, OptionValue>> = {},
    host: LocalHostOptions = {},
  ) {
    this.options = new OptionValues(plugin.options, options);
    this.host = new LocalHost(host);
    this.link = openLink(plugin, this.options, this.host);
  }

  /**
   * Puts a frame on the transmit ring and publishes it.
   *
   * @returns False if the ring is full.
   * @throws {RangeError} If the ring can never carry a frame of this length.
   * @throws {RingFault} If the device broke the protocol.
   */
  transmit(frame: Uint8Array): boolean {
    const { driver } = this.link;
    const queue = driver.transmit(frame, 0, frame.length, 0);
    if (queue === FULL) return false;
    if (queue < 0) throw new RangeError(`Cannot transmit ${frame.length} bytes: ${REFUSALS[queue]}`);
    driver.flush();
    return true;
  }

  /**
   * Lets the device work: transmitted frames come back into its receive ring.
   *
   * @returns How many ring entries moved.
   * @throws {RingFault} If the driver broke the protocol.
   */
  service(): number {
    return this.link.device.service(this.#loopback);
  }

  /**
   * Takes what has been received, each frame as a copy.
   *
   * @throws {RingFault} If the device broke the protocol.
   */
  receive(): Uint8Array[] {
    const frames: Uint8Array[] = [];
    let parts: Uint8Array[] = [];
    this.link.driver.receive({
      piece(_queue, bytes, offset, length, more) {
        parts.push(bytes.slice(offset, offset + length));
        if (more) return;
        frames.push(concat(parts));
        parts = [];
      },
    });
    return frames;
  }

  /**
   * Reads a structure as it lies in memory, at an address of the device's.
   *
   * @param layout The structure.
   * @param address Where it is.
   * @param length How long it is; matters only with an array that takes the rest.
   * @throws {RangeError} If the device cannot read all of it.
   */
  structAt(layout: Struct, address: number, length: number = layout.size): Values {
    const bytes = new Uint8Array(length);
    if (this.host.space.read(address, bytes)) return layout.decode(bytes);
    throw new RangeError(
      `Cannot read ${layout.name} as it is not all mapped: ${length} bytes at address ${address}`,
    );
  }

  /** Counters of both halves. */
  counters(): Counters {
    return { ...this.link.driver.counters(), ...this.link.device.counters() };
  }
}
