/**
 * For holding what moves frames in batches against what moves them one by one.
 *
 * @module
 */
import { concat } from "@std/bytes/concat";
import { RingFault } from "../../core/fault.ts";
import type { Frame } from "../../core/frame.ts";
import type { FrameBatch, PieceBatch } from "../../core/frame_batch.ts";
import type { FrameSink, Wire } from "../../core/plugin.ts";
import { joined } from "./raw_driver.ts";

/** What a fault says, or the result. */
export function outcome(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof RingFault)) throw error;
    return { code: error.code, index: error.index, values: error.values };
  }
}

/** A wire that takes frames until it is full, one by one or in batches as well. */
export function wireTo(frames: Uint8Array[], limit: () => number, batches: boolean): Wire {
  const transmit = (frame: Frame) => {
    if (frames.length >= limit()) return false;
    frames.push(joined(frame));
    return true;
  };
  const transmitBatch = ({ bytes, offsets, lengths, count }: FrameBatch) => {
    const taken = Math.min(count, limit() - frames.length);
    for (let i = 0; i < taken; i++) frames.push(bytes.slice(offsets[i]!, offsets[i]! + lengths[i]!));
    return taken;
  };
  const transmitPieces = ({ bytes, offsets, lengths, ends, count }: PieceBatch) => {
    const taken = Math.min(count, limit() - frames.length);
    for (let i = 0, piece = 0; i < taken; i++) {
      const parts = [];
      for (; piece < ends[i]!; piece++) {
        parts.push(bytes.slice(offsets[piece]!, offsets[piece]! + lengths[piece]!));
      }
      frames.push(concat(parts));
    }
    return taken;
  };
  return { transmit, drop: () => {}, ...batches && { transmitBatch, transmitPieces } };
}

/** A sink that takes frames in batches as well, for one that takes pieces. */
export function inBatches(sink: FrameSink): FrameSink {
  return {
    piece: sink.piece.bind(sink),
    batch(queue, { bytes, offsets, lengths, count }) {
      for (let i = 0; i < count; i++) sink.piece(queue, bytes, offsets[i]!, lengths[i]!, false);
    },
  };
}
