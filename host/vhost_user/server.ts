/**
 * Serves a virtio-net device to drivers in other processes: waits for front ends, moves frames, one after the other.
 *
 * ## Who sees what when
 *
 * Driver and device run on two processors and share the rings. The data of a ring entry is written and read plainly;
 * what orders it are the indices, which `DeviceQueue` accesses atomically (sequentially consistent) when it is `shared`:
 *
 * - `avail.idx` is loaded before the entries and descriptors it announces are read;
 * - `used.idx` is stored after the elements it announces were written;
 * - between storing `used.idx` and loading `used_event` or `avail.flags`, and between storing `avail_event` or
 *   `used.flags` and loading `avail.idx` again, a full barrier stands on both sides: else each could miss what the
 *   other has just said, and both would sleep.
 *
 * ## When kicks are wanted
 *
 * While there is work, the loop goes round without being kicked. When a while has passed without any, it asks for
 * kicks, looks once more, and sleeps in one poll over the connection and all kicks.
 *
 * @module
 */
import type { Counters } from "../../core/counters.ts";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import type { Wire } from "../../core/plugin.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import type { Profile } from "../../plugins/virtio/faults.ts";
import { EventFd } from "../event_fd.ts";
import { closeDescriptor, SystemError } from "../libc.ts";
import { MappedFile } from "../mapped_file.ts";
import { Poller } from "../poller.ts";
import { UnixListener, UnixSocket } from "../unix_socket.ts";
import { Backend } from "./backend.ts";
import { Connection } from "./connection.ts";
import { MemoryTable } from "./memory_table.ts";
import { ProtocolError } from "./message.ts";
import { OffloadPort } from "./offload_port.ts";
import type { Peripherals } from "./peripherals.ts";

/** What is beyond the device: takes the driver's frames, and brings some for it. */
export interface Port extends Wire {
  /**
   * Is asked in every round: may call the device's `deliver`.
   *
   * @returns How many frames were delivered.
   */
  feed(device: VirtioNetDevice): number;
  /** In how many milliseconds it has something to feed on its own account; `Infinity` if never. */
  due(): number;
  /** Whether it holds a frame for which there were no buffers. */
  readonly blocked: boolean;
  /** Whether what it has taken waits for an output that takes nothing: it is told to {@linkcode rest} until it is not. */
  readonly stalled?: boolean;
  /** Nothing moves, or there is no front end yet or any more: whatever was put off should be done now. */
  rest(): void;
  /** Whether no more frames are wanted: the server ends. */
  readonly done: boolean;
}

/** What a {@linkcode VhostUserServer} is made of. */
export interface VhostUserServerOptions {
  /** Path of the socket. */
  readonly path: string;
  /** Whether to connect to a listening front end instead of listening. */
  readonly connect?: boolean;
  /** Whether to end when the first front end has gone. */
  readonly once?: boolean;
  /** Features to offer, by virtio's bits. */
  readonly features: bigint;
  /** Queue pairs to offer; one if not given. */
  readonly queuePairs?: number;
  /** Largest queue to accept; 32768 if not given. */
  readonly maxQueueSize?: number;
  /** How odd chains are judged; as Linux does if not given. */
  readonly profile?: Profile;
  /** Whether frames larger than the network's are cut into segments; they are if not given. */
  readonly segment?: boolean;
  /** What is beyond the device. */
  readonly port: Port;
  /** Hears what a person should know, one line each. */
  log(line: string): void;
}

/** How long the loop goes round without work before it sleeps. */
const SPIN_MS = 0.1;
/** How often signals and timers get a chance while there is work. */
const YIELD_MS = 20;
/** Rounds between two looks at the connection while there is work. */
const LOOK_EVERY = 32;
/** Frames that are taken from the driver before what was used is shown to it. */
const BURST = 64;
/** How often a front end that does not listen yet is tried again. */
const RETRY_MS = 100;
/** How often rings without kicks are looked at when nothing moves. */
const POLLED_MS = 1;

const peripherals: Peripherals = {
  map: (fd, offset, size) => new MappedFile(fd, offset, size),
  event: (fd) => new EventFd(fd),
  close: closeDescriptor,
};

/** A virtio-net device behind a socket. */
export class VhostUserServer {
  /** The device. */
  readonly device: VirtioNetDevice;
  readonly #options: VhostUserServerOptions;
  readonly #port: Port;
  readonly #offload: OffloadPort;
  readonly #memory = new MemoryTable();
  readonly #poller = new Poller();
  #backend: Backend | undefined;
  #stopping = false;
  /** Whether it was told that a front end is waited for. */
  #waits = false;
  #frontEnds = 0;

  /** Makes a device that nobody is connected to. */
  constructor(options: VhostUserServerOptions) {
    const { queuePairs = 1, maxQueueSize = 32768, profile = "linux", features } = options;
    const { rings, buffers } = this.#memory;
    this.#options = options;
    this.#port = options.port;
    this.device = new VirtioNetDevice({
      features,
      rings,
      buffers,
      queuePairs,
      maxQueueSize,
      profile,
      shared: true,
    });
    this.device.polling = true;
    this.device.burst = BURST;
    this.device.interrupt = (queue) => this.#backend?.call(queue);
    this.device.onFault = (fault) => this.#broke(fault);
    this.#offload = new OffloadPort(this.device, options.port, options.segment ?? true);
  }

  /** How many front ends have been served, the present one included. */
  get frontEnds(): number {
    return this.#frontEnds;
  }

  /** What the device has done. */
  counters(): Counters {
    return this.device.counters();
  }

  /** Has the loop look at its port again: something has come to be sent. */
  wake(): void {
    this.#poller.wake();
  }

  /** Ends {@linkcode run} at the next occasion. */
  stop(): void {
    this.#stopping = true;
    this.#poller.wake();
  }

  /**
   * Serves one front end after the other, until {@linkcode stop}, or the port is done, or the first one is gone and
   * `once` was asked for.
   *
   * @throws {SystemError} If the socket cannot be made: the port has heard nothing then.
   */
  async run(): Promise<void> {
    const { path, connect = false, once = false } = this.#options;
    using _poller = this.#poller;
    using listener = connect ? undefined : new UnixListener(path);
    this.#port.rest();
    do {
      using socket = await this.#nextSocket(listener);
      if (!socket) return;
      this.#frontEnds++;
      await this.#serve(socket);
    } while (!this.#over && !once);
  }

  get #over(): boolean {
    return this.#stopping || this.#port.done;
  }

  async #nextSocket(listener: UnixListener | undefined): Promise<UnixSocket | undefined> {
    this.#poller.watch(listener ? [listener.fd] : []);
    while (!this.#over) {
      const socket = listener ? listener.accept() : UnixSocket.connect(this.#options.path);
      if (socket) return socket;
      if (!listener) this.#tellOfWaiting();
      if (this.#port.stalled) this.#port.rest();
      await this.#poller.wait(this.#port.stalled ? 0 : listener ? Infinity : RETRY_MS);
    }
    return undefined;
  }

  /** Says once why nothing happens: a mistake in the path looks the same as a front end that is late. */
  #tellOfWaiting(): void {
    if (!this.#waits) this.#options.log(`waiting until a front end listens at "${this.#options.path}"`);
    this.#waits = true;
  }

  async #serve(socket: UnixSocket): Promise<void> {
    const { features, queuePairs = 1, log } = this.#options;
    const { device } = this;
    const backend = new Backend({ device, features, queuePairs, memory: this.#memory, peripherals, log });
    const connection = new Connection(socket, backend, closeDescriptor);
    this.#backend = backend;
    try {
      await this.#loop(socket.fd, connection, backend);
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof SystemError || error instanceof RangeError)) {
        throw error;
      }
      log(`closed the connection: ${error.message}`);
    } finally {
      this.#backend = undefined;
      this.#offload.clear();
      connection.close();
      backend.close();
      device.reset();
      this.#port.rest();
    }
  }

  async #loop(fd: number, connection: Connection, backend: Backend): Promise<void> {
    const poller = this.#poller;
    let kicks = backend.kicks;
    let changes = -1;
    let idleSince = 0;
    let rounds = 0;
    let patience = Infinity;
    let lastYield = performance.now();
    while (!this.#over) {
      if (backend.changes !== changes) {
        changes = backend.changes;
        kicks = backend.kicks;
        poller.watch([fd, ...kicks.map((kick) => kick.fd)]);
        this.device.control.pairs = Math.max(1, backend.activePairs);
      }
      if (this.#round() > 0) {
        idleSince = 0;
        // With an output that takes nothing, a round is long.
        if (++rounds % LOOK_EVERY !== 0 && this.#port.stalled !== true) continue;
        if (performance.now() - lastYield < YIELD_MS) poller.look();
        else await poller.wait(0);
      } else {
        const now = performance.now();
        if (idleSince === 0) idleSince = now;
        if (now - idleSince < SPIN_MS) continue;
        const { stalled } = this.#port;
        if (!stalled && this.#wantKicks()) continue;
        this.#port.rest();
        const polled = backend.polled ? POLLED_MS : Infinity;
        // Before it sleeps, kicks have to be asked for, and all that was taken is to be out.
        const longest = stalled || this.#port.stalled ? 0 : this.#port.due();
        await poller.wait(Math.min(longest, polled, patience));
      }
      lastYield = performance.now();
      for (let i = 0; i < kicks.length; i++) if (poller.ready(i + 1)) kicks[i]!.clear();
      if (poller.ready(0) && !connection.receive()) return;
      patience = connection.patience(lastYield);
    }
  }

  /** Each queue once. Returns how much moved. */
  #round(): number {
    const { device } = this;
    let moved = 0;
    for (let index = 1; index < 2 * device.queuePairs; index += 2) device.notify(index);
    try {
      this.#offload.flush();
      moved += device.service(this.#wire);
      const fed = this.#port.feed(device);
      if (fed > 0) device.publish();
      moved += fed;
    } catch (error) {
      // The device has told of it already, and has stopped the ring.
      if (!(error instanceof RingFault)) throw error;
    }
    return moved;
  }

  /** Between the device and the offloads: throws away what a disabled ring sends. */
  readonly #wire: Wire = {
    transmit: (frame: Frame, pair: number): boolean => {
      if (!this.#backend!.discards(pair)) return this.#offload.transmit(frame, pair);
      this.#port.drop(pair, "ring-disabled");
      return true;
    },
    drop: (pair, reason) => this.#port.drop(pair, reason),
  };

  /**
   * Asks drivers to kick from now on: for what they send, or, while a frame waits for buffers, for those.
   *
   * @returns Whether one has done something meanwhile.
   */
  #wantKicks(): boolean {
    const { blocked } = this.#port;
    let more = false;
    for (const queue of this.device.queues) {
      const receives = queue.index % 2 === 0;
      if (!queue.running) continue;
      if (receives !== blocked) {
        queue.disableNotify();
        continue;
      }
      try {
        const before = queue.available;
        const available = queue.enableNotify();
        if (receives ? queue.available !== before : available) more = true;
      } catch (error) {
        if (!(error instanceof RingFault)) throw error;
        this.#broke(error);
      }
    }
    return more;
  }

  #broke(fault: RingFault): void {
    this.#options.log(fault.message);
    const queue = this.device.queues.find((queue) => queue.broken === fault);
    if (queue) this.#backend?.fail(queue.index);
  }
}
