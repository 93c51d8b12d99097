/**
 * What is beyond a served device: a capture that grows, frames to be sent, or an echo.
 *
 * @module
 */
import { Frame } from "../core/frame.ts";
import { NO_BUFFERS, REFUSALS } from "../core/plugin.ts";
import type { Port } from "../host/vhost_user/server.ts";
import type { LiveWriter } from "../pcap/live_writer.ts";
import type { VirtioNetDevice } from "../plugins/virtio/device.ts";
import type { Replay } from "./replay.ts";

/** The time of day as frames are stamped with it. */
export interface TimeOfDay {
  /** Takes a reading. */
  read(): void;
  /** Seconds since 1970. */
  readonly seconds: number;
  /** Nanoseconds on top of them. */
  readonly nanoseconds: number;
}

/** When the frames of a capture are sent: with their own gaps, at once, or so many per second. */
export type Pace = "original" | "asap" | number;

/** What a {@linkcode ServePort} is made of. */
export interface ServePortOptions {
  /** Where the driver's frames are written to. */
  readonly writer?: LiveWriter;
  /** What stamps them. */
  readonly clock: TimeOfDay;
  /** Where frames for the driver come from. */
  readonly replay?: Replay;
  /** When they are sent. */
  readonly pace: Pace;
  /** Whether the driver's frames go back to it. */
  readonly echo: boolean;
  /** How many frames are written before the end. */
  readonly count: number;
}

/** Most frames delivered in one round. */
const BURST = 64;

/** Takes and gives frames. */
export class ServePort implements Port {
  /** Frames and bytes that came from the driver. */
  received: { frames: number; bytes: number } = { frames: 0, bytes: 0 };
  /** Frames and bytes that went to the driver. */
  delivered: { frames: number; bytes: number } = { frames: 0, bytes: 0 };
  /** Frames that were left out, by reason. */
  readonly drops: Map<string, number> = new Map();
  /** Whether a frame waits for a receive buffer. */
  blocked = false;
  readonly #options: ServePortOptions;
  #device: VirtioNetDevice | undefined;
  #stamped = false;
  /** Frames that were given to the writer. */
  #added = 0;
  readonly #frame = new Frame();
  /** Whether the replay's present frame is still to be sent. */
  #pending = false;
  /** When it is, on the clock of `performance.now()`. */
  #dueAt = 0;
  #sent = 0;
  #wasReady = false;
  /** What turns a frame's time into one of that clock. */
  #shift = 0;

  /** Has taken and given nothing yet. */
  constructor(options: ServePortOptions) {
    this.#options = options;
  }

  /** Whether as many frames were written, or soon are, as were wanted. */
  get done(): boolean {
    return this.#added >= this.#options.count;
  }

  /** Whether the output did not take all that it should have. */
  get stalled(): boolean {
    return this.#options.writer?.stalled ?? false;
  }

  /** Frames and bytes that were written. */
  get written(): { readonly frames: number; readonly bytes: number } {
    return this.#options.writer ?? { frames: 0, bytes: 0 };
  }

  /** Takes a frame of the driver's. */
  transmit(frame: Frame, _pair: number): boolean {
    const { writer, clock, echo } = this.#options;
    if (this.done || (writer && !writer.hasRoom(frame.length))) return false;
    if (echo && !this.#deliver(this.#device!, frame)) return false;
    this.received.frames++;
    this.received.bytes += frame.length;
    if (!writer) return true;
    if (!this.#stamped) clock.read();
    this.#stamped = true;
    if (!writer.add(frame, clock.seconds, clock.nanoseconds)) {
      this.#count("oversize");
      return true;
    }
    this.#added++;
    return true;
  }

  /** Counts a frame that the device threw away. */
  drop(_pair: number, reason: string): void {
    this.received.frames++;
    this.#count(reason);
  }

  /** Sends what is due. */
  feed(device: VirtioNetDevice): number {
    this.#device = device;
    this.#stamped = false;
    const { replay } = this.#options;
    if (!replay) return 0;
    const ready = device.queues[0]!.running;
    if (ready !== this.#wasReady) {
      this.#wasReady = ready;
      this.#shift = NaN;
    }
    if (!ready) return 0;
    // What was delivered before it has been shown to the driver: that is done after each round.
    if (replay.error && !this.#pending) throw replay.error;
    let fed = 0;
    const now = performance.now();
    while (fed < BURST && this.#advance(replay, now) && this.#dueAt <= now) {
      this.#frame.clear();
      this.#frame.push(replay.bytes, replay.offset, replay.length);
      if (!this.#deliver(device, this.#frame)) break;
      this.#pending = false;
      this.#sent++;
      fed++;
    }
    return fed;
  }

  /** Milliseconds until the next frame is to be sent. */
  due(): number {
    if (!this.#pending || this.blocked || !this.#wasReady) return Infinity;
    return Math.max(0, this.#dueAt - performance.now());
  }

  /** Writes what was collected, so that a live reader sees it. */
  rest(): void {
    this.#options.writer?.flush();
  }

  /** Makes sure that a frame is at hand, and knows when it is due. */
  #advance(replay: Replay, now: number): boolean {
    if (!this.#pending) {
      if (!replay.next()) return false;
      this.#pending = true;
    } else if (!Number.isNaN(this.#shift)) return true;
    const { pace } = this.#options;
    const time = pace === "original" ? replay.time : pace === "asap" ? 0 : this.#sent * 1000 / pace;
    // The schedule starts anew with each front end, at the frame that is next.
    if (Number.isNaN(this.#shift)) this.#shift = now - time;
    this.#dueAt = pace === "asap" ? now : time + this.#shift;
    return true;
  }

  /** Returns false if the frame must wait. */
  #deliver(device: VirtioNetDevice, frame: Frame): boolean {
    const queue = device.deliver(frame);
    this.blocked = queue === NO_BUFFERS;
    if (this.blocked) return false;
    if (queue < 0) {
      this.#count(REFUSALS[queue] ?? "refused");
      return true;
    }
    this.delivered.frames++;
    this.delivered.bytes += frame.length;
    return true;
  }

  #count(reason: string): void {
    this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1);
  }
}
