/**
 * What the vhost-user protocol needs of the kernel: descriptors become memory and events. The protocol itself makes no
 * system call, so its tests need no kernel.
 *
 * @module
 */
import type { Mapping } from "./memory_table.ts";

/** A descriptor by which one side tells the other of an event. */
export interface EventHandle {
  /** The descriptor. */
  readonly fd: number;
  /** Tells the other side. */
  signal(): void;
  /** Forgets what it was told. Whether it had been told anything. */
  clear(): boolean;
  /** Closes the descriptor. */
  close(): void;
}

/** What the protocol needs of the kernel. */
export interface Peripherals {
  /**
   * Maps a part of a file. The descriptor stays the caller's.
   *
   * @throws {Error} If it cannot be mapped; the message says why.
   */
  map(fd: number, offset: number, size: number): Mapping;
  /**
   * Takes an event descriptor over.
   *
   * @throws {Error} If it is none; then it stays the caller's.
   */
  event(fd: number): EventHandle;
  /** Closes a descriptor. */
  close(fd: number): void;
}
