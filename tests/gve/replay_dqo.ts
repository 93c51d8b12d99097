/**
 * Replays DQO transmit traces, with a page list or raw addressing.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { DqoTxDriver } from "../../plugins/gve/dqo/tx_driver.ts";
import { gve_tx_compl_desc } from "../../plugins/gve/layout.ts";
import type { ValuesInput } from "../../core/layout.ts";
import { DQO_COMPLETION } from "../../plugins/gve/constants.ts";
import type { Trace } from "./replay.ts";
import { addressOf, compare, requestOf } from "./replay_request.ts";
import { Surroundings } from "./replay_context.ts";

const PAGE = 4096;
const RING = 0;
const COMPLETION = gve_tx_compl_desc.size;
/** Where the checksum is in a TCP header. */
const TCP_CHECKSUM = 16;

/** Replays a trace. */
export function replayDqoTransmit(trace: Trace): void {
  const size = trace.ring_entries;
  const completions = RING + size * 16;
  const pagesAt = Math.ceil((completions + size * COMPLETION) / PAGE) * PAGE;
  const count = trace.qpl_pages;
  const around = new Surroundings(pagesAt + (count + 1) * PAGE);
  const addresses = ((trace["page_dma"] ?? []) as string[]).map(addressOf);
  assertEquals(addresses.length, count, "page_dma has an address per page");
  const offsets = addresses.map((_, i) => pagesAt + i * PAGE);
  const queue = new DqoTxDriver(
    around.context,
    { queue: 0, ring: RING, size, doorbell: 0 },
    { completions, pages: count > 0 ? { offsets, addresses } : undefined },
  );
  let completed = 0;
  const complete = (values: ValuesInput) => {
    const generation = Math.floor(completed / size) % 2 === 0 ? 1 : 0;
    const bytes = gve_tx_compl_desc.encode({ ...values, generation });
    around.memory.bytes.set(bytes, completions + (completed++ % size) * COMPLETION);
    queue.clean();
  };
  trace.steps.forEach(({ in: input, out }, number) => {
    const step = `${trace.trace}, step ${number}`;
    if ("free_tag" in input) {
      const completion_tag = Number(input["free_tag"]);
      const before = queue.tagCounts.free;
      complete({ type: DQO_COMPLETION.PACKET, completion_tag });
      assertEquals(queue.tagCounts.free, before + 1, `${step}: the tag is free`);
      compare(out, { freed_tag: () => completion_tag }, step);
      return;
    }
    if ("dump_qpl" in input) {
      compare(out, { mem: () => around.hex(pagesAt, count * PAGE) }, step);
      return;
    }
    const request = requestOf(input);
    // The traced function is the one behind the look at the ring: whatever goes finds room there.
    if (out["rc"] === 0) complete({ type: DQO_COMPLETION.DESCRIPTOR, completion_tag: queue.tail });
    const first = queue.tail;
    const result = queue.transmit(request);
    queue.flush();
    const written = (queue.tail - first) & (size - 1);
    compare(out, {
      rc: () => result === 0 ? 0 : -1,
      first: () => first,
      count: () => written,
      descs: () => around.descriptors(RING, size, first, written),
      doorbell: () => around.doorbells.at(-1) ?? 0,
      last_re_idx: () => queue.lastReport,
      tcp_check_after_hex: () => {
        const at = request.transportOffset + TCP_CHECKSUM;
        return request.bytes[0]!.subarray(at, at + 2).toHex();
      },
    }, step);
  });
}
