/**
 * BAR0 and BAR2 as the device shows them, and big-endian access for whoever is on the other side of the bus.
 *
 * A bus carries little-endian words: the number in {@linkcode Registers} is what a little-endian load of the bytes
 * gives, so both sides swap what is defined big endian (all of BAR0, the GQI doorbells).
 *
 * @module
 */
import { Memory } from "../../core/memory.ts";
import type { Registers } from "../../core/plugin.ts";
import { DEVICE_STATUS, DRIVER_STATUS, PAGE } from "./constants.ts";
import { gve_registers } from "./layout_admin.ts";

const DEVICE_STATUS_AT = gve_registers.offsetOf("device_status");
const DRIVER_STATUS_AT = gve_registers.offsetOf("driver_status");
const PFN = gve_registers.offsetOf("adminq_pfn");
const DOORBELL = gve_registers.offsetOf("adminq_doorbell");
const EVENT_COUNTER = gve_registers.offsetOf("adminq_event_counter");
const VERSION = gve_registers.offsetOf("driver_version");
const BASE_HI = gve_registers.offsetOf("adminq_base_address_hi");
const BASE_LO = gve_registers.offsetOf("adminq_base_address_lo");
const LENGTH = gve_registers.offsetOf("adminq_length");

/** Bytes of BAR0. */
export const BAR0_SIZE = 4096;
/** The version string is logged up to this length. */
const VERSION_LIMIT = 128;

/** A 32-bit value with its bytes swapped. */
export function swap32(value: number): number {
  return (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}

/** A 16-bit value with its bytes swapped. */
export function swap16(value: number): number {
  return ((value & 0xff) << 8) | ((value >>> 8) & 0xff);
}

/** Reads a big-endian 32-bit register over the bus. */
export function read32(registers: Registers, offset: number): number {
  return swap32(registers.read(offset, 4));
}

/** Writes a big-endian 32-bit register over the bus. */
export function write32(registers: Registers, offset: number, value: number): void {
  registers.write(offset, 4, swap32(value));
}

/** The bus between the halves: registers, doorbells and how large the latter are. */
export interface Bus {
  /** Registers. */
  readonly bar0: Registers;
  /** Doorbells. */
  readonly bar2: Registers;
  /** Bytes of BAR2. */
  readonly bar2Size: number;
}

/** What register writes set off in the device. */
export interface RegisterActions {
  /** The admin queue is at this address from now on; its counters start at 0. */
  attach(address: number): void;
  /** The driver has posted this many commands. */
  doorbell(count: number): void;
  /** The driver wants everything undone. */
  reset(): void;
}

/** BAR0 of the device. */
export class RegisterFile implements Registers {
  readonly #memory = new Memory(BAR0_SIZE);
  readonly #actions: RegisterActions;
  readonly #revision: number;
  #version = "";

  /** Starts in reset, link up. Revision 0 knows the page frame number only, 1 the 64-bit address as well. */
  constructor(revision: number, txQueues: number, rxQueues: number, actions: RegisterActions) {
    this.#actions = actions;
    this.#revision = revision;
    this.#set(gve_registers.offsetOf("max_tx_queues"), txQueues);
    this.#set(gve_registers.offsetOf("max_rx_queues"), rxQueues);
    this.#set(DEVICE_STATUS_AT, DEVICE_STATUS.LINK_UP | this.#resetBit());
  }

  /** What the driver has written into the version FIFO. */
  get version(): string {
    return this.#version;
  }

  /** Big-endian value of a 32-bit register. */
  get(offset: number): number {
    return this.#memory.view.getUint32(offset);
  }

  /** Commands completed so far. */
  set eventCounter(count: number) {
    this.#set(EVENT_COUNTER, count);
  }

  /** Sets or clears bits of `device_status`. */
  setStatus(bits: number, on: boolean): void {
    const old = this.get(DEVICE_STATUS_AT);
    this.#set(DEVICE_STATUS_AT, on ? old | bits : old & ~bits);
  }

  /** What the reset itself leaves behind: no admin queue, counters at 0. */
  clear(): void {
    this.#set(PFN, 0);
    this.#set(EVENT_COUNTER, 0);
    this.#set(DOORBELL, 0);
    this.#set(DRIVER_STATUS_AT, 0);
    this.setStatus(this.#resetBit(), true);
    this.setStatus(DEVICE_STATUS.RESET_WANTED | DEVICE_STATUS.REPORT_STATS, false);
  }

  /** Reads 1, 2 or 4 bytes; nothing is behind the end of BAR0. */
  read(offset: number, width: number): number {
    if (offset < 0 || offset + width > BAR0_SIZE) return 0;
    const { view } = this.#memory;
    return width === 4
      ? view.getUint32(offset, true)
      : width === 2
      ? view.getUint16(offset, true)
      : view.getUint8(offset);
  }

  /** Writes 1, 2 or 4 bytes. Registers that belong to the device ignore it, and so does an access of another width. */
  write(offset: number, width: number, value: number): void {
    if (offset === VERSION && width === 1) {
      if (this.#version.length < VERSION_LIMIT) this.#version += String.fromCharCode(value & 0xff);
      return;
    }
    if (this.#revision > 0 && offset === LENGTH && width === 2) {
      this.#memory.view.setUint16(LENGTH, swap16(value));
      return;
    }
    if (width === 4) this.#write32(offset, swap32(value));
  }

  #write32(offset: number, value: number): void {
    if (offset === DOORBELL) {
      this.#set(DOORBELL, value);
      this.#actions.doorbell(value);
    } else if (offset === PFN) {
      if (value === 0) return this.#actions.reset();
      this.#set(PFN, value);
      this.#attach(value * PAGE);
    } else if (this.#revision > 0 && (offset === BASE_HI || offset === BASE_LO)) {
      this.#set(offset, value);
    } else if (this.#revision > 0 && offset === DRIVER_STATUS_AT) {
      if (value & DRIVER_STATUS.RESET) return this.#actions.reset();
      const running = this.get(DRIVER_STATUS_AT) & DRIVER_STATUS.RUN;
      this.#set(DRIVER_STATUS_AT, value);
      if (value & DRIVER_STATUS.RUN && !running) {
        this.#attach(this.get(BASE_HI) * 4294967296 + this.get(BASE_LO));
      }
    }
  }

  #attach(address: number): void {
    this.#set(EVENT_COUNTER, 0);
    this.#set(DOORBELL, 0);
    this.setStatus(this.#resetBit(), false);
    this.#actions.attach(address);
  }

  #resetBit(): number {
    return this.#revision > 0 ? DEVICE_STATUS.IN_RESET : 0;
  }

  #set(offset: number, value: number): void {
    this.#memory.view.setUint32(offset, value);
  }
}

/** BAR2 of the device: 32-bit words, the meaning of each known to the device alone. */
export class DoorbellBar implements Registers {
  /** The words as the bus carried them. */
  readonly words: Uint32Array;
  /** Called after a word was written. */
  readonly #written: (word: number, value: number) => void;

  /** Makes so many words, all 0. */
  constructor(words: number, written: (word: number, value: number) => void) {
    this.words = new Uint32Array(words);
    this.#written = written;
  }

  /** Bytes of the BAR. */
  get size(): number {
    return this.words.length * 4;
  }

  /** Reads a word; other widths and places read 0. */
  read(offset: number, width: number): number {
    return width === 4 ? this.words[offset / 4] ?? 0 : 0;
  }

  /** Writes a word; other widths and places are ignored. */
  write(offset: number, width: number, value: number): void {
    const word = offset / 4;
    if (width !== 4 || !Number.isInteger(word) || word < 0 || word >= this.words.length) return;
    this.words[word] = value;
    this.#written(word, value >>> 0);
  }
}
