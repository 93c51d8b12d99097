/**
 * Replays GQI transmit traces, with a page list or raw addressing.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Fifo } from "../../plugins/gve/gqi/fifo.ts";
import { GqiTxDriver } from "../../plugins/gve/gqi/tx_driver.ts";
import { FULL } from "../../core/plugin.ts";
import { swap32 } from "../../plugins/gve/registers.ts";
import type { Trace } from "./replay.ts";
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
    // The traced functions were called without the check for 21 free descriptors that stands before them.
    { fifo, fifoOffset, counter: COUNTER, reserve: 0 },
  );
  const available = () => fifo?.available ?? 0;
  trace.steps.forEach(({ in: input, out }, number) => {
    const step = `${trace.trace}, step ${number}`;
    if ("complete" in input) {
      const counter = (queue.completed + Number(input["complete"])) >>> 0;
      around.memory.view.setUint32(COUNTER, counter);
      queue.clean();
      compare(out, { done: () => queue.completed, fifo_available: available }, step);
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
    const result = queue.transmit(request);
    queue.flush();
    assertEquals(result, out["busy"] ? FULL : 0, `${step}: result`);
    const count = queue.posted - first;
    compare(out, {
      busy: () => result === FULL,
      first: () => first,
      count: () => count,
      descs: () => around.descriptors(RING, size, first, count),
      doorbell: () => swap32(around.doorbells.at(-1)!),
      fifo_head: () => fifo?.head ?? 0,
      fifo_available: available,
      bytes_required: () => required,
      "iov(offset:len:padding)": () => {
        const pieces = queue.pieces;
        return [0, 3, 6, 9].map((at) => pieces.slice(at, at + 3).join(":"));
      },
    }, step);
  });
}
