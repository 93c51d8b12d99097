/**
 * Takes the output out of memory, writing one window while the next one is filled.
 *
 * @module
 */
import type { Memory } from "../core/memory.ts";
import type { ByteSink } from "../pcap/byte_source.ts";
import { LONGEST_BLOCK } from "../pcap/scanner.ts";
import { USUAL_INTAKE } from "./pipe_intake.ts";

/** A record of another format, and the file header that may come with it, is less than this longer. */
const SLACK = 4096;
/** Size of a window that holds all that comes of a usual intake: records grow to at most twice their size. */
const WINDOW_SIZE = 2 * USUAL_INTAKE + SLACK;
/** Size of the window for all that comes of the largest intake. */
const LARGE_SIZE = LONGEST_BLOCK + WINDOW_SIZE;

/** How many bytes an outlet takes up in its memory. */
export const OUTLET_SIZE: number = WINDOW_SIZE + LARGE_SIZE;

/** The whole records at the start of a window. */
export interface WindowPart {
  /** Where they end. */
  readonly end: number;
  /** How many packets they hold. */
  readonly packets: number;
  /** Captured bytes of them. */
  readonly bytes: number;
}

/** The output was not waited for any longer. */
export class AbandonedError extends Error {
  /** Always `"AbandonedError"`. */
  override readonly name = "AbandonedError";
}

/** Two windows of memory, each written while the other is filled. */
export class Outlet {
  /** Packets of all windows that are written. */
  packets = 0;
  /** Captured bytes of them. */
  bytes = 0;
  readonly #sink: ByteSink;
  readonly #memory: Memory;
  readonly #windows: readonly [number, number];
  #turn: 0 | 1 = 0;
  /** Where the window that is being written starts. */
  #start = 0;
  /** How far it is written. */
  #place = 0;
  /** Whether the sink refused to take it. */
  #failed = false;
  #writing: Promise<void> = Promise.resolve();
  #abandoned = false;
  #giveUp: () => void = () => {};

  /** Writes to `sink` out of the part of `memory` that starts at `offset`. */
  constructor(sink: ByteSink, memory: Memory, offset: number) {
    this.#sink = sink;
    this.#memory = memory;
    this.#windows = [offset, offset + WINDOW_SIZE];
  }

  /** Where a window starts that is free and holds what comes of so many bytes. */
  async window(intake: number): Promise<number> {
    if (intake > USUAL_INTAKE && this.#turn === 0) {
      await this.finish();
      this.#turn = 1;
    }
    return this.#windows[this.#turn];
  }

  /**
   * Writes a window. Done when it is being written and all before it is.
   *
   * @param start Where it starts.
   * @param end Where it ends.
   * @param packets How many packets there are up to its end, all windows before it included.
   * @param bytes How many captured bytes they have.
   * @throws {AbandonedError} If the output is no longer waited for.
   */
  async write(start: number, end: number, packets: number, bytes: number): Promise<void> {
    await this.finish();
    if (start === end) return;
    this.#writing = this.#writeAll(start, end).then(() => {
      this.packets = packets;
      this.bytes = bytes;
    });
    // Whoever waits for it hears of an error, then.
    this.#writing.catch(() => {});
    this.#turn = this.#turn === 0 ? 1 : 0;
  }

  async #writeAll(start: number, end: number): Promise<void> {
    this.#start = this.#place = start;
    try {
      while (this.#place < end) {
        this.#place += await this.#sink.write(this.#memory.bytes.subarray(this.#place, end));
      }
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  /**
   * Takes back what is written of a record that could not be written to its end.
   *
   * @param whole Tells what is whole of the window that starts at the first place and is written up to the second one.
   */
  async mend(whole: (start: number, end: number) => WindowPart): Promise<void> {
    if (!this.#failed || !this.#sink.cut) return;
    const part = whole(this.#start, this.#place);
    await this.#sink.cut(this.#place - part.end);
    this.packets += part.packets;
    this.bytes += part.bytes;
  }

  /**
   * Waits until all is written.
   *
   * @throws {AbandonedError} If the output is no longer waited for.
   */
  finish(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#giveUp = () => reject(new AbandonedError("the output takes nothing"));
      if (this.#abandoned) this.#giveUp();
      this.#writing.then(resolve, reject);
    });
  }

  /** Ends a wait for the output, now and from now on. */
  abandon(): void {
    this.#abandoned = true;
    this.#giveUp();
  }
}
