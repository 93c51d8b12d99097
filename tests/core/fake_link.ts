/**
 * A link without rings: queues of frames, to see what a pump does with well-behaved and with strange halves.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";
import {
  type DeviceHalf,
  type DriverHalf,
  Frame,
  FrameBatch,
  type FrameSink,
  FULL,
  type Link,
  NO_BUFFERS,
  OVERSIZE,
  PieceBatch,
  RUNT,
  type Wire,
} from "../../mod.ts";

/** How a fake link behaves. */
export interface FakeOptions {
  readonly batch?: number;
  /** Frames that each transmit queue holds. */
  readonly capacity?: number;
  /** Frames that each receive queue holds. */
  readonly buffers?: number;
  /** Chooses the transmit queue. */
  readonly transmitQueue?: (frame: Uint8Array) => number;
  /** Chooses the receive queue. */
  readonly receiveQueue?: (frame: Uint8Array) => number;
  /** Says why the device drops a frame, if it does. */
  readonly drops?: (frame: Uint8Array) => string | undefined;
  /** The result with which the driver or the device refuses a frame for good, if it does. */
  readonly refuses?: (frame: Uint8Array) => number | undefined;
  readonly holds?: (frame: Uint8Array) => boolean;
  /** How many frames at most the device looks at in one call. */
  readonly budget?: number;
  /** Into how many pieces received frames are cut. */
  readonly pieces?: number;
  /** Whether both halves move frames in batches where they can. */
  readonly batches?: boolean;
  /** Whether the device's batches are of frames in two pieces each. */
  readonly halved?: boolean;
}

/** What happened, call by call. */
export interface FakeLink extends Link {
  readonly log: string[];
}

/** Makes a link. */
export function fakeLink(options: FakeOptions = {}): FakeLink {
  const { batch = 1, capacity = 4, buffers = 4, budget = Infinity, pieces = 1 } = options;
  const log: string[] = [];
  const staged: Uint8Array[][] = [];
  const published: Uint8Array[][] = [];
  const received: Uint8Array[][] = [];
  const at = (queues: Uint8Array[][], queue: number) => queues[queue] ??= [];
  const transmitBatch: DriverHalf["transmitBatch"] = (frames, from) => {
    let i = from;
    while (
      i < frames.count && driver.transmit(frames.bytes, frames.offsets[i]!, frames.lengths[i]!, 0) === 0
    ) i++;
    return i;
  };
  const deliverBatch: DeviceHalf["deliverBatch"] = (frames, from) => {
    const gather = new Frame();
    let i = from;
    for (; i < frames.count; i++) {
      const start = frames.offsets[i]!;
      const bytes = frames.bytes.slice(start, start + frames.lengths[i]!);
      if ((options.receiveQueue?.(bytes) ?? 0) !== 0) break;
      gather.set(bytes, 0, bytes.length);
      if (device.deliver(gather) !== 0) break;
    }
    return i;
  };
  const deliverPieces: DeviceHalf["deliverPieces"] = ({ bytes, offsets, lengths, ends, count }) => {
    for (let i = 0, piece = 0; i < count; i++) {
      const parts = [];
      for (; piece < ends[i]!; piece++) {
        parts.push(bytes.subarray(offsets[piece]!, offsets[piece]! + lengths[piece]!));
      }
      const whole = concat(parts);
      if ((options.receiveQueue?.(whole) ?? 0) !== 0) return i;
      const gather = new Frame();
      gather.set(whole, 0, whole.length);
      if (device.deliver(gather) !== 0) return i;
    }
    return count;
  };
  const driver: DriverHalf = {
    ...options.batches && options.transmitQueue === undefined && { transmitBatch },
    transmit(bytes, offset, length) {
      const frame = bytes.slice(offset, offset + length);
      if (length < 1) return RUNT;
      const refusal = options.refuses?.(frame);
      if (refusal !== undefined) return refusal;
      const queue = options.transmitQueue?.(frame) ?? 0;
      if (at(staged, queue).length + at(published, queue).length >= capacity) {
        log.push("full");
        return FULL;
      }
      at(staged, queue).push(frame);
      return queue;
    },
    flush() {
      log.push(`flush ${staged.reduce((sum, queue) => sum + queue.length, 0)}`);
      staged.forEach((frames, queue) => at(published, queue).push(...frames.splice(0)));
    },
    receive(sink: FrameSink) {
      let moved = 0;
      received.forEach((frames, queue) => {
        if (options.batches && sink.batch !== undefined && pieces === 1) {
          const batch = gathered(frames);
          sink.batch(queue, batch);
          moved += batch.count;
          frames.splice(0, batch.count);
        }
        for (const frame of frames.splice(0)) {
          const part = Math.ceil(frame.length / pieces);
          for (let start = 0; start < frame.length; start += part) {
            const length = Math.min(part, frame.length - start);
            sink.piece(queue, frame, start, length, start + length < frame.length);
          }
          moved++;
        }
      });
      return moved;
    },
    counters: () => ({ "tx.frames": 1 }),
    inspect: () => ({}),
  };
  const device: DeviceHalf = {
    ...options.batches && { deliverBatch, deliverPieces },
    service(wire: Wire) {
      let moved = 0;
      const gather = new Frame();
      published.forEach((frames, queue) => {
        if (options.batches && wire.transmitBatch !== undefined) {
          const end = frames.findIndex((frame) => options.drops?.(frame) !== undefined);
          const batch = gathered(frames.slice(0, Math.min(end < 0 ? Infinity : end, budget)));
          const taken = options.halved
            ? wire.transmitPieces!(halved(batch), queue)
            : wire.transmitBatch(batch, queue);
          frames.splice(0, taken);
          moved += taken;
        }
        while (frames.length > 0 && moved < budget) {
          const frame = frames[0]!;
          const reason = options.drops?.(frame);
          if (reason !== undefined) wire.drop(queue, reason);
          else {
            gather.clear();
            gather.push(frame, 0, frame.length);
            if (!wire.transmit(gather, queue)) {
              log.push("kept");
              break;
            }
          }
          frames.shift();
          moved++;
        }
      });
      return moved;
    },
    deliver(frame) {
      const bytes = frame.bytes[0]!;
      if (options.holds?.(bytes) === false) return OVERSIZE;
      const queue = options.receiveQueue?.(bytes) ?? 0;
      if (at(received, queue).length >= buffers) return NO_BUFFERS;
      at(received, queue).push(bytes);
      return queue;
    },
    counters: () => ({ "rx.frames": 2 }),
    inspect: () => ({}),
  };
  return { driver, device, batch, log };
}

/** The first frames, as many as fit, in one buffer. */
function gathered(frames: readonly Uint8Array[]): FrameBatch {
  const batch = new FrameBatch();
  const some = frames.slice(0, batch.offsets.length);
  batch.bytes = concat(some);
  let offset = 0;
  for (const { length } of some) {
    batch.offsets[batch.count] = offset;
    batch.lengths[batch.count++] = length;
    offset += length;
  }
  return batch;
}

/** The same frames, each in two pieces if it has two bytes. */
function halved({ bytes, offsets, lengths, count }: FrameBatch): PieceBatch {
  const batch = new PieceBatch();
  batch.bytes = bytes;
  let piece = 0;
  for (; batch.count < count; batch.count++) {
    const length = batch.sizes[batch.count] = lengths[batch.count]!;
    const start = offsets[batch.count]!;
    const first = Math.ceil(length / 2);
    for (const [at, size] of [[start, first], [start + first, length - first]] as const) {
      if (size === 0) continue;
      batch.offsets[piece] = at;
      batch.lengths[piece++] = size;
    }
    batch.ends[batch.count] = piece;
  }
  return batch;
}
