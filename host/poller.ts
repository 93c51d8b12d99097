/**
 * Waits for descriptors: one poll for everything.
 *
 * @module
 */
import { EventFd } from "./event_fd.ts";
import { libc } from "./libc.ts";

const POLLFD_SIZE = 8;
const POLLFD_EVENTS = 4;
const POLLFD_REVENTS = 6;
const POLLIN = 1;
const POLLOUT = 4;
const POLLERR = 8;
const POLLHUP = 16;
const POLLNVAL = 32;

const single = new Uint8Array(POLLFD_SIZE);
const singleView = new DataView(single.buffer);

/**
 * Whether a descriptor takes a few bytes without waiting (a pipe: a page of them), or fails at once.
 *
 * @param fd The descriptor.
 * @param milliseconds How long to wait until it does; nothing else happens meanwhile.
 */
export function isWritable(fd: number, milliseconds: number): boolean {
  singleView.setInt32(0, fd, true);
  singleView.setInt16(POLLFD_EVENTS, POLLOUT, true);
  return libc.poll(single, 1n, milliseconds) > 0;
}

/**
 * A set of descriptors to wait for, and one of its own by which a wait is cut short. A wait occupies one thread of
 * Deno's pool, so a program has one of these and not many.
 */
export class Poller implements Disposable {
  readonly #wake = new EventFd();
  #fds: number[] = [];
  #table = new Uint8Array(POLLFD_SIZE);
  #view = new DataView(this.#table.buffer);
  #waiting = false;

  /** An empty set. */
  constructor() {
    this.watch([]);
  }

  /** Says which descriptors are waited for from now on, to become readable. May not be called during a wait. */
  watch(fds: readonly number[]): void {
    if (this.#waiting) throw new TypeError("Cannot change what is waited for during a wait");
    this.#fds = [this.#wake.fd, ...fds];
    this.#table = new Uint8Array(this.#fds.length * POLLFD_SIZE);
    this.#view = new DataView(this.#table.buffer);
    for (let i = 0; i < this.#fds.length; i++) {
      this.#view.setInt32(i * POLLFD_SIZE, this.#fds[i]!, true);
      this.#view.setInt16(i * POLLFD_SIZE + POLLFD_EVENTS, POLLIN, true);
    }
  }

  /** Looks without waiting. */
  look(): void {
    libc.poll(this.#table, BigInt(this.#fds.length), 0);
    this.#forgetWake();
  }

  /**
   * Waits until something is ready, the time is over or {@linkcode wake} is called, and lets the rest of the program
   * (signals, timers) run in between.
   *
   * @param milliseconds How long at most; `Infinity` waits for ever, 0 only lets the others run.
   */
  async wait(milliseconds: number): Promise<void> {
    const timeout = milliseconds === Infinity ? -1 : Math.min(Math.ceil(milliseconds), 0x7fffffff);
    this.#waiting = true;
    try {
      await libc.poll_blocking(this.#table, BigInt(this.#fds.length), timeout);
    } finally {
      this.#waiting = false;
    }
    this.#forgetWake();
  }

  /** Ends a wait, or keeps the next from starting. */
  wake(): void {
    this.#wake.signal();
  }

  /** Whether the last look or wait found that the descriptor at this place of the list has something to read. */
  ready(place: number): boolean {
    const revents = this.#view.getInt16((place + 1) * POLLFD_SIZE + POLLFD_REVENTS, true);
    return (revents & (POLLIN | POLLERR | POLLHUP | POLLNVAL)) !== 0;
  }

  /** Gives up the poller's own descriptor. */
  close(): void {
    this.#wake.close();
  }

  /** Gives it up at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.close();
  }

  #forgetWake(): void {
    if (this.#view.getInt16(POLLFD_REVENTS, true) & POLLIN) this.#wake.clear();
  }
}
