/**
 * Moves frames through a link whose device loops back: transmit, service, receive, with back-pressure.
 *
 * @module
 */
import type { Frame } from "./frame.ts";
import type { FrameBatch, PieceBatch } from "./frame_batch.ts";
import {
  type DeviceHalf,
  type DriverHalf,
  type FrameSink,
  FULL,
  type Link,
  NO_BUFFERS,
  REFUSALS,
} from "./plugin.ts";
import type { Wire } from "./plugin.ts";

/** A link whose rings move for so long without a frame coming out runs in circles. It is more than any ring holds. */
const MOST_IDLE_ROUNDS = 1_000_000;

/** Where a pump puts what came out. Frames are named by their number: the first pushed is 0. */
export interface PumpSink {
  /** The next piece of frame `number`; the bytes are valid during the call only. */
  piece(number: number, bytes: Uint8Array, offset: number, length: number, more: boolean): void;
  /** Frames `number` and those that follow it, each in one piece, as so many calls of `piece` would bring them. */
  batch(number: number, frames: FrameBatch): void;
  /** Frame `number` will not come. */
  drop(number: number, reason: string): void;
}

/** Work was pending and nothing moved in a full round, or no frame came out in very many; or one that nobody sent did. */
export class StallError extends Error {
  /** Always `"StallError"`. */
  override readonly name = "StallError";
}

/** Numbers in order of arrival; grows when full, else allocates nothing. */
class NumberQueue {
  #slots = new Float64Array(1024);
  #head = 0;
  #tail = 0;

  push(value: number): void {
    if (this.#tail - this.#head === this.#slots.length) this.#grow();
    this.#slots[this.#tail++ & (this.#slots.length - 1)] = value;
  }

  /** The oldest number, or -1 if there is none. */
  shift(): number {
    if (this.#head === this.#tail) return -1;
    return this.#slots[this.#head++ & (this.#slots.length - 1)]!;
  }

  /** The oldest number, or -1; it stays. */
  peek(): number {
    return this.#head === this.#tail ? -1 : this.#slots[this.#head & (this.#slots.length - 1)]!;
  }

  #grow(): void {
    const size = this.#slots.length;
    const slots = new Float64Array(size * 2);
    for (let i = this.#head; i < this.#tail; i++) slots[i - this.#head] = this.#slots[i & (size - 1)]!;
    this.#slots = slots;
    this.#tail -= this.#head;
    this.#head = 0;
  }
}

/** The numbers of a queue that a half has named for the first time. */
function newQueue(queue: number): NumberQueue {
  if (Number.isSafeInteger(queue)) return new NumberQueue();
  throw new TypeError(`Cannot follow a frame as a half gave ${queue} for its queue: expected a whole number`);
}

/**
 * The pipe's engine. Rings carry no frame numbers, so the pump follows each frame by its place: transmit queues
 * are first-in first-out, and the loopback sees which receive queue took what came from which transmit queue.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadBackend, LocalHost, openLink, OptionValues, Pump } from "@ringpipe/ringpipe";
 *
 * const plugin = await loadBackend("gve");
 * const link = openLink(plugin, new OptionValues(plugin.options, { queues: 4 }), new LocalHost());
 * const lengths: number[] = [];
 * const pump = new Pump(link, {
 *   piece: (number, _bytes, _offset, length) => lengths[number] = (lengths[number] ?? 0) + length,
 *   batch(number, frames) {
 *     for (let i = 0; i < frames.count; i++) lengths[number + i] = frames.lengths[i]!;
 *   },
 *   drop: (number, reason) => console.warn(`frame ${number} is left out: ${reason}`),
 * });
 * for (const length of [60, 1514, 9000]) pump.push(new Uint8Array(length), 0, length, 0);
 * pump.drain();
 * assertEquals(lengths, [60, 1514, 9000]);
 * ```
 */
export class Pump implements Wire, FrameSink {
  readonly #driver: DriverHalf;
  readonly #device: DeviceHalf;
  readonly #batch: number;
  readonly #sink: PumpSink;
  /**
   * Whether all frames so far went one way: one queue, none refused, none dropped. Then three counters say which frame
   * is where; else the queues of numbers below do.
   */
  #straight = true;
  /** Number of the next frame to leave the device, and of the next to reach the driver, while all is straight. */
  #looped = 0;
  #received = 0;
  /** Frame numbers on their way to the device, by transmit queue. */
  readonly #sent: NumberQueue[] = [];
  /** Frame numbers on their way to the driver, by receive queue. */
  readonly #returning: NumberQueue[] = [];
  #next = 0;
  #pending = 0;
  #unflushed = 0;
  /** How many frames had left after the last round in which any did, and how many rounds ago that was. */
  #left = 0;
  #idleRounds = 0;

  /**
   * Connects a link with itself.
   *
   * @param link The link.
   * @param sink Where frames come out.
   */
  constructor(link: Link, sink: PumpSink) {
    this.#driver = link.driver;
    this.#device = link.device;
    this.#batch = link.batch;
    this.#sink = sink;
  }

  /** How many frames have been pushed, refused ones included: the number of the next one. */
  get pushed(): number {
    return this.#next;
  }

  /** How many frames are inside the link. */
  get pending(): number {
    return this.#straight ? this.#next - this.#received : this.#pending;
  }

  /**
   * Sends a frame through. It may come out, or be dropped, before this returns or only with {@linkcode drain};
   * until then its bytes must stay.
   *
   * @param bytes The buffer it lies in.
   * @param offset Where it starts.
   * @param length Its length.
   * @param headroom How many bytes before it the driver may overwrite.
   * @throws {RingFault} If a half breaks the protocol.
   * @throws {StallError} If the link is stuck.
   */
  push(bytes: Uint8Array, offset: number, length: number, headroom: number): void {
    let queue = this.#driver.transmit(bytes, offset, length, headroom);
    while (queue === FULL) {
      this.#round();
      queue = this.#driver.transmit(bytes, offset, length, headroom);
    }
    if (queue !== 0 && this.#straight) this.#branch();
    const number = this.#next++;
    if (queue < 0) {
      this.#sink.drop(number, REFUSALS[queue] ?? "refused");
      return;
    }
    if (!this.#straight) {
      (this.#sent[queue] ??= newQueue(queue)).push(number);
      this.#pending++;
    }
    if (++this.#unflushed >= this.#batch) this.#round();
  }

  /**
   * Sends frames through, as so many calls of {@linkcode push} would.
   *
   * @param frames The frames.
   * @param headroom How many bytes before each of them the driver may overwrite.
   * @throws {RingFault} If a half breaks the protocol.
   * @throws {StallError} If the link is stuck.
   */
  pushBatch(frames: FrameBatch, headroom: number): void {
    const driver = this.#driver;
    for (let i = 0; i < frames.count;) {
      if (this.#straight && driver.transmitBatch !== undefined) {
        // No further than to the next doorbell.
        const { count } = frames;
        frames.count = Math.min(count, i + this.#batch - this.#unflushed);
        const end = driver.transmitBatch(frames, i, headroom);
        frames.count = count;
        this.#next += end - i;
        this.#unflushed += end - i;
        i = end;
        if (this.#unflushed >= this.#batch) {
          this.#round();
          continue;
        }
        if (i === frames.count) return;
      }
      this.push(frames.bytes, frames.offsets[i]!, frames.lengths[i]!, headroom);
      i++;
    }
  }

  /** From now on frames are followed one by one: notes where those inside the link are. */
  #branch(): void {
    const sent = this.#sent[0] = new NumberQueue();
    const returning = this.#returning[0] = new NumberQueue();
    for (let number = this.#received; number < this.#looped; number++) returning.push(number);
    for (let number = this.#looped; number < this.#next; number++) sent.push(number);
    this.#pending = this.#next - this.#received;
    this.#straight = false;
  }

  /** Runs the link until every frame has come out or was dropped. */
  drain(): void {
    while (this.pending > 0) this.#round();
  }

  /** One turn of both sides. */
  #round(): void {
    const before = this.#unflushed;
    this.#unflushed = 0;
    this.#driver.flush();
    const moved = this.#device.service(this) + this.#driver.receive(this);
    if (moved === 0 && before === 0) {
      throw new StallError(
        `the link is stuck: ${this.pending} frames inside, and nothing moved in a full round`,
      );
    }
    const left = this.#next - this.pending;
    if (left !== this.#left) {
      this.#left = left;
      this.#idleRounds = 0;
    } else if (++this.#idleRounds > MOST_IDLE_ROUNDS) {
      throw new StallError(
        `the link is stuck: ${this.pending} frames inside, and none came out in ${MOST_IDLE_ROUNDS} rounds`,
      );
    }
  }

  /** The loopback: what the device transmits goes back into its receive side. */
  transmit(frame: Frame, queue: number): boolean {
    const into = this.#device.deliver(frame);
    if (into === 0 && queue === 0 && this.#straight && this.#looped < this.#next) {
      this.#looped++;
      return true;
    }
    if (into === NO_BUFFERS) return false;
    if (this.#straight) this.#branch();
    if (into < 0) this.drop(queue, REFUSALS[into] ?? "refused");
    else (this.#returning[into] ??= newQueue(into)).push(this.#take(queue));
    return true;
  }

  /** The loopback for many frames. */
  transmitBatch(frames: FrameBatch, queue: number): number {
    const device = this.#device;
    if (!this.#straight || queue !== 0 || device.deliverBatch === undefined) return 0;
    return this.#loop(device.deliverBatch(frames, 0));
  }

  /** The loopback for many frames that may lie in several pieces. */
  transmitPieces(frames: PieceBatch, queue: number): number {
    const device = this.#device;
    if (!this.#straight || queue !== 0 || device.deliverPieces === undefined) return 0;
    return this.#loop(device.deliverPieces(frames));
  }

  /** So many frames went on, and straight. */
  #loop(taken: number): number {
    this.#looped += taken;
    if (this.#looped > this.#next) {
      throw new StallError("transmit queue 0 brought a frame that was never sent");
    }
    return taken;
  }

  /** Frames that the driver received. */
  batch(queue: number, frames: FrameBatch): void {
    const { count, offsets, lengths } = frames;
    if (this.#straight && queue === 0 && this.#received + count <= this.#looped) {
      const number = this.#received;
      this.#received += count;
      this.#sink.batch(number, frames);
      return;
    }
    for (let i = 0; i < count; i++) this.piece(queue, frames.bytes, offsets[i]!, lengths[i]!, false);
  }

  /** A frame that the device dropped. */
  drop(queue: number, reason: string): void {
    if (this.#straight) this.#branch();
    const number = this.#take(queue);
    this.#pending--;
    this.#sink.drop(number, reason);
  }

  /** The frame that leaves a transmit queue next. */
  #take(queue: number): number {
    const number = this.#sent[queue]?.shift() ?? -1;
    if (number < 0) throw new StallError(`transmit queue ${queue} brought a frame that was never sent`);
    return number;
  }

  /** A piece that the driver received. */
  piece(queue: number, bytes: Uint8Array, offset: number, length: number, more: boolean): void {
    if (this.#straight && queue === 0 && this.#received < this.#looped) {
      const number = this.#received;
      if (!more) this.#received++;
      this.#sink.piece(number, bytes, offset, length, more);
      return;
    }
    if (this.#straight) this.#branch();
    const numbers = this.#returning[queue];
    const number = numbers === undefined ? -1 : more ? numbers.peek() : numbers.shift();
    if (number < 0) throw new StallError(`receive queue ${queue} brought a frame that was never sent`);
    if (!more) this.#pending--;
    this.#sink.piece(number, bytes, offset, length, more);
  }
}
