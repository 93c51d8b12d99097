/**
 * Event channels: numbered ports in pairs, one pending bit each.
 *
 * @module
 */
import type { Clock } from "../../core/clock.ts";

/**
 * What a half uses of event channels. Sends that meet a pending bit merge, so there can be fewer events than
 * sends.
 */
export interface EventPorts {
  /** Makes a port to which the other domain may bind. `EVTCHNOP_alloc_unbound`. */
  allocate(): number;
  /**
   * Binds to a port of the other domain, and makes the own port pending once. `EVTCHNOP_bind_interdomain`.
   *
   * @throws {RangeError} If the other domain has no such port.
   */
  bind(remote: number): number;
  /** Notifies the other end of an own port. `EVTCHNOP_send`. */
  send(port: number): void;
  /** Whether an own port is pending; it no longer is then. */
  take(port: number): boolean;
  /** Closes an own port. `EVTCHNOP_close`. */
  close(port: number): void;
}

/** One end of a channel. */
interface Port {
  peer: Port | undefined;
  pending: boolean;
}

/** The ports of one domain. */
class DomainPorts implements EventPorts {
  readonly #ports: Map<number, Port>;
  readonly #others: Map<number, Port>;
  #next: number;

  constructor(ports: Map<number, Port>, others: Map<number, Port>, first: number) {
    this.#ports = ports;
    this.#others = others;
    this.#next = first;
  }

  allocate(): number {
    const port = this.#next++;
    this.#ports.set(port, { peer: undefined, pending: false });
    return port;
  }

  bind(remote: number): number {
    const end = this.#others.get(remote);
    if (!end) throw new RangeError(`Cannot bind to event channel port ${remote}: there is none`);
    const local = this.allocate();
    const own = this.#ports.get(local)!;
    own.peer = end;
    own.pending = true;
    end.peer = own;
    return local;
  }

  send(port: number): void {
    const peer = this.#ports.get(port)?.peer;
    if (peer) peer.pending = true;
  }

  take(port: number): boolean {
    const end = this.#ports.get(port);
    if (!end?.pending) return false;
    end.pending = false;
    return true;
  }

  close(port: number): void {
    const peer = this.#ports.get(port)?.peer;
    if (peer) peer.peer = undefined;
    this.#ports.delete(port);
  }
}

/** Event channels between two domains of one machine: the ports of the first and those of the second. */
export function eventChannels(): readonly [EventPorts, EventPorts] {
  const first = new Map<number, Port>();
  const second = new Map<number, Port>();
  return [new DomainPorts(first, second, 1), new DomainPorts(second, first, 101)];
}

/** Notifies the other domain where it wants that, and counts both. */
export class Notifier {
  /** Notifications sent so far. */
  sent = 0;
  /** Times that the other end did not want one. */
  saved = 0;
  readonly #events: EventPorts;

  /** Sends through the given ports. */
  constructor(events: EventPorts) {
    this.#events = events;
  }

  /** What follows a push: the ring says whether the other end of the port is to be notified. */
  notify(port: number, wanted: boolean): void {
    if (!wanted) {
      this.saved++;
      return;
    }
    this.sent++;
    this.#events.send(port);
  }
}

/** After this many events in a row that brought no work, a frontend begins to ignore events for a while. */
const PATIENCE = 1;
/** The shortest such while, in milliseconds; each further event doubles it. */
const SHORTEST_WAIT = 4;
/** The longest, in milliseconds. */
const LONGEST_WAIT = 1000;

/**
 * Keeps a backend that sends events without work from holding up a frontend (XSA-391), as Linux's late EOI
 * does.
 */
export class EventThrottle {
  readonly #clock: Clock;
  #idle = 0;
  #until = 0;

  /** Takes the time from the given clock. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether events are ignored now. */
  waits(): boolean {
    return this.#until > 0 && this.#clock.now() < this.#until;
  }

  /** Notes what came of an event. */
  note(worked: boolean): void {
    this.#idle = worked ? 0 : this.#idle + 1;
    const excess = this.#idle - PATIENCE;
    this.#until = excess <= 0
      ? 0
      : this.#clock.now() + Math.min(SHORTEST_WAIT * 2 ** (excess - 1), LONGEST_WAIT);
  }
}
