/**
 * Replays GQI transmit traces, with a page list or raw addressing.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Fifo } from "../../plugins/gve/gqi/fifo.ts";
import { GqiTxDriver } from "../../plugins/gve/gqi/tx_driver.ts";
import { FULL, OVERSIZE } from "../../core/plugin.ts";
import { swap32 } from "../../plugins/gve/registers.ts";
import type { Step, Trace } from "./replay.ts";
import { compare, requestOf } from "./replay_request.ts";
import { Surroundings } from "./replay_context.ts";

const PAGE = 4096;
const HEADER = 182;
const COUNTER = 0;
const RING = PAGE;

/** Replays a trace. */
export function replayGqiTransmit(trace: Trace): void {
  const size = trace.ring_entries;
  const pages = trace.qpl_pages;
  const fifoOffset = RING + Math.ceil(size * 16 / PAGE) * PAGE;
  const around = new Surroundings(fifoOffset + (pages + 1) * PAGE);
  const fifo = pages > 0 ? new Fifo(pages * PAGE) : undefined;
  const queue = new GqiTxDriver(
    around.context,
    { queue: 0, ring: RING, size, doorbell: 0 },
    // The traced functions were called without the look for 21 free descriptors that stands before them.
    { fifo, fifoOffset, counter: COUNTER, reserve: 0 },
  );
  const available = () => fifo?.available ?? 0;
  const pieces = new FifoPieces(size);
  let done = 0;
  const completeTo = (counter: number) => {
    around.memory.view.setUint32(COUNTER, counter);
    queue.clean();
  };
  trace.steps.forEach(({ in: input, out }, number) => {
    const step = `${trace.trace}, step ${number}`;
    if ("complete" in input) {
      done += Number(input["complete"]);
      completeTo(Math.max(done, queue.completed));
      compare(out, { done: () => Math.min(done, queue.completed), fifo_available: available }, step);
      return;
    }
    if ("dump_fifo" in input) {
      compare(out, { mem: () => around.hex(fifoOffset, pages * PAGE) }, step);
      return;
    }
    const request = requestOf(input);
    const header = request.segmentSize > 0
      ? request.checksumStart + request.tcpHeaderLength
      : Math.min(HEADER, request.length);
    const required = fifo?.bytesRequired(header, request.length) ?? 0;
    const first = queue.posted;
    let result = queue.transmit(request);
    if (result === FULL && fifo === undefined) {
      // Without that look packets overrun those that were never completed, too.
      completeTo(queue.posted);
      result = queue.transmit(request);
    }
    queue.flush();
    // The real driver knows no packet that will never fit: it is busy for good.
    const busy = result === FULL || result === OVERSIZE;
    assertEquals(busy, out["busy"] === true, `${step}: busy`);
    assert(busy || result === 0, `${step}: ${result}`);
    const count = queue.posted - first;
    compare(out, {
      busy: () => busy,
      first: () => first,
      count: () => count,
      descs: () => around.descriptors(RING, size, first, count),
      doorbell: () => swap32(around.doorbells.at(-1)!),
      fifo_head: () => fifo?.head ?? 0,
      fifo_available: available,
      bytes_required: () => required,
      "iov(offset:len:padding)": () => pieces.describe(first, queue.pieces, out),
    }, step);
  });
}

/** Pieces of packets in the FIFO. Those of the real driver belong to a slot of the ring, and unused ones go stale. */
class FifoPieces {
  readonly #size: number;
  readonly #offsets: number[];

  constructor(size: number) {
    this.#size = size;
    this.#offsets = new Array(4 * size).fill(0);
  }

  /** As the trace writes them. It may show an unused piece with the offset that stood there before, or with none. */
  describe(first: number, pieces: readonly number[], out: Step["out"]): string[] {
    const wanted = out["iov(offset:len:padding)"];
    return [0, 1, 2, 3].map((i) => {
      const [offset, length, padding] = pieces.slice(3 * i, 3 * i + 3);
      const at = (first % this.#size) * 4 + i;
      if (length! > 0) this.#offsets[at] = offset!;
      const stale = `${this.#offsets[at]}:0:0`;
      if (length === 0 && Array.isArray(wanted) && wanted[i] === stale) return stale;
      return `${offset}:${length}:${padding}`;
    });
  }
}
