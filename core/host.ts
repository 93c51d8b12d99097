/**
 * The host that the pipe and the library give a link: one buffer, of which the device sees what it should.
 *
 * @module
 */
import { AddressSpace, READ } from "./address_space.ts";
import { type Clock, systemClock } from "./clock.ts";
import { DmaMemory } from "./dma_memory.ts";
import { Memory } from "./memory.ts";
import type { Host } from "./plugin.ts";

/** Address of the first byte of the driver's memory, if not said: not 0, so that an offset taken for one shows. */
const BASE = 0x1000_0000;
/** Size of the driver's memory if not said. Untouched pages cost nothing. */
const DMA_SIZE = 256 * 1024 * 1024;

/** What {@linkcode LocalHost} takes. */
export interface LocalHostOptions {
  /** Device address of the first byte of the driver's memory: 0x10000000 if not given. */
  readonly base?: number;
  /** Bytes of the driver's memory, for its rings and buffers; 256 MiB if not given. */
  readonly dmaSize?: number;
  /** Bytes behind the driver's memory that the device may read: a place for frames to be sent from. */
  readonly captureSize?: number;
  /** Bytes behind those that the device cannot see. */
  readonly privateSize?: number;
  /** Time; the machine's own clock if not given. */
  readonly clock?: Clock;
}

/**
 * One buffer in three parts: the driver's memory, which the device reads and writes; the capture part, which it
 * reads; and a private part, which it cannot see. Copies between the parts stay inside one buffer.
 */
export class LocalHost implements Host {
  /** The buffer. */
  readonly memory: Memory;
  /** What the device can reach. */
  readonly space: AddressSpace;
  /** The driver's part. */
  readonly dma: DmaMemory;
  /** Time. */
  readonly clock: Clock;
  /** Offset in `memory` of the capture part. */
  readonly captureOffset: number;
  /** Offset in `memory` of the private part. */
  readonly privateOffset: number;

  /** Makes the buffer and maps its parts. */
  constructor(options: LocalHostOptions = {}) {
    const { base = BASE, dmaSize = DMA_SIZE, captureSize = 0, privateSize = 0, clock = systemClock } =
      options;
    this.captureOffset = dmaSize;
    this.privateOffset = dmaSize + captureSize;
    this.memory = new Memory(this.privateOffset + privateSize);
    this.space = new AddressSpace();
    this.dma = new DmaMemory(this.space, this.memory, 0, dmaSize, base);
    this.clock = clock;
    if (captureSize > 0) this.space.map(base + dmaSize, this.memory, this.captureOffset, captureSize, READ);
  }
}
