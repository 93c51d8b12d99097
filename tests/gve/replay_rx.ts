/**
 * Replays DQO receive traces: completions in, packets, re-posted buffers, doorbells and lists out.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { alignUp } from "../../core/index.ts";
import type { ValuesInput } from "../../core/layout.ts";
import { BufferStates } from "../../plugins/gve/dqo/buffer_states.ts";
import { DqoRxDriver } from "../../plugins/gve/dqo/rx_driver.ts";
import { gve_rx_compl_desc_dqo, gve_rx_desc_dqo } from "../../plugins/gve/layout.ts";
import { type PageHolder, PagePool, type PageSource } from "../../plugins/gve/pages.ts";
import type { Trace } from "./replay.ts";
import { addressOf, compare } from "./replay_request.ts";
import { Surroundings } from "./replay_context.ts";

const PAGE = 4096;
/** More pages than a trace takes. */
const PAGES = 8192;
/** A device that lies about a length makes the driver read on behind its page. */
const SLACK = 16 * PAGE;
/** As many fragments has a packet buffer of Linux; more are in another one, which has a number as well. */
const SKB_FRAGMENTS = 17;
/** After so many packets a poll of Linux ends, if it was given that budget. */
const POLL_WEIGHT = 64;
const DESC = gve_rx_desc_dqo.size;
const COMPLETION = gve_rx_compl_desc_dqo.size;
const COMPLETIONS = 0;

/** Pages whose address follows from their number, which counts on whatever comes back. */
class NumberedPages extends PagePool {
  protected override recycle(): void {}
}

interface Packet {
  readonly skb: number;
  readonly len: number;
  readonly copied: number;
  readonly "frags(addr:len)": readonly string[];
}

/** The stack of the traces: packets are numbered as they are begun, and freed by number. */
class NumberedStack implements PageHolder {
  readonly passes = false;
  readonly dropped: string[] = [];
  readonly #pool: PagePool;
  readonly #held = new Map<number, number[]>();
  #current: number[] = [];
  #number = -1;
  #next = 0;
  /** Number of the packet completed last, and whether it holds pages. */
  last = { number: -1, pages: 0 };

  constructor(pool: PagePool) {
    this.#pool = pool;
  }

  fragment(page: number): void {
    if (this.#number < 0) this.#number = this.#next++;
    else if (this.#current.length % SKB_FRAGMENTS === 0) this.#next++;
    this.#current.push(page);
  }

  complete(): void {
    const number = this.#number < 0 ? this.#next++ : this.#number;
    this.#held.set(number, this.#current);
    this.last = { number, pages: this.#current.length };
    this.#current = [];
    this.#number = -1;
  }

  abort(): void {
    if (this.#number >= 0) this.dropped.push(`skb${this.#number}`);
    this.#release(this.#current);
    this.#current = [];
    this.#number = -1;
  }

  free(number: number): void {
    const pages = this.#held.get(number);
    assert(pages, `skb ${number} is held`);
    this.#held.delete(number);
    this.#release(pages);
  }

  #release(pages: number[]): void {
    for (const page of pages) this.#pool.drop(page, 1);
  }
}

/** Addresses of pages by number: a list, or a rule. */
function pageAddresses(trace: Trace): (number: number) => number {
  const given = trace["page_dma"];
  if (Array.isArray(given)) {
    const list = given.map(addressOf);
    const stride = list[1]! - list[0]!;
    return (number) => list[number] ?? list.at(-1)! + (number - list.length + 1) * stride;
  }
  const rule = /^(0x[0-9a-f]+) \+ (0x[0-9a-f]+) \* page number, pages numbered in order of allocation/.exec(
    String(given),
  );
  assert(rule, `page_dma is known: ${given}`);
  return (number) => Number(rule[1]) + Number(rule[2]) * number;
}

/** Replays a trace. */
export function replayReceive(trace: Trace): void {
  const size = trace.ring_entries;
  const ring = COMPLETIONS + size * COMPLETION;
  const pagesAt = alignUp(ring + size * DESC, PAGE);
  const around = new Surroundings(pagesAt + PAGES * PAGE + SLACK);
  const addressOf = pageAddresses(trace);
  let allocated = 0;
  const source: PageSource = {
    memory: around.memory,
    free: Infinity,
    allocate: () => ({ offset: pagesAt + allocated * PAGE, address: addressOf(allocated++) }),
  };
  const pool = new NumberedPages(source, PAGE, PAGES);
  const bufferSize = Number(trace["buffer_size"]);
  const pageList = trace.qpl_pages > 0
    ? Array.from({ length: trace.qpl_pages }, () => pool.take())
    : undefined;
  const states = new BufferStates(pool, around.context.counters, {
    states: Number(trace["buf_states"]),
    bufferSize,
    pageList,
  });
  const stack = new NumberedStack(pool);
  const queue = new DqoRxDriver(
    around.context,
    { queue: 0, ring: COMPLETIONS, data: ring, size, doorbell: 0, bufferSize },
    {
      pool,
      states,
      stack,
      copybreak: Number(trace["copybreak"]),
      headers: undefined,
      packetTypes: new Uint8Array(2048),
    },
  );

  let pieces: { offset: number; length: number }[] = [];
  const frames: { offset: number; length: number }[][] = [];
  const delivered: Packet[] = [];
  const describe = ({ offset, length }: { offset: number; length: number }) => {
    const page = Math.floor((offset - pagesAt) / PAGE);
    const address = addressOf(page) + (offset - pagesAt) % PAGE;
    return `0x${address.toString(16)}:${length}`;
  };
  // The sink sees a packet before the stack is told that it is complete: numbers are filled in then.
  const complete = stack.complete.bind(stack);
  stack.complete = () => {
    complete();
    const parts = frames.shift()!;
    const len = parts.reduce((sum, part) => sum + part.length, 0);
    const held = stack.last.pages > 0;
    delivered.push({
      skb: stack.last.number,
      len,
      copied: held ? 0 : len,
      "frags(addr:len)": held ? parts.map(describe) : [],
    });
  };
  const sink = {
    piece(_queue: number, _bytes: Uint8Array, offset: number, length: number, more: boolean) {
      pieces.push({ offset, length });
      if (more) return;
      frames.push(pieces);
      pieces = [];
    },
  };

  const check = (out: Readonly<Record<string, unknown>>, tail: number, step: string) => {
    const posted: string[] = [];
    for (let slot = tail; slot !== queue.state.tail; slot = (slot + 1) % size) {
      const at = ring + slot * DESC;
      const values = gve_rx_desc_dqo.decode(around.memory.bytes, at, DESC);
      posted.push(`${slot}:${values["buf_id"]}:0x${values["buf_addr"]!.toString(16)}`);
      const { buf_id, buf_addr } = values;
      assertEquals(
        gve_rx_desc_dqo.encode({ buf_id: buf_id as number, buf_addr: buf_addr as bigint }).toHex(),
        around.hex(at, DESC),
        `${step}: nothing else is in the descriptor`,
      );
    }
    compare(out, {
      delivered: () => delivered.splice(0),
      log: () => around.log.splice(0).map((line) => `eth0: ${line}`),
      dropped_skbs: () => stack.dropped.splice(0),
      "posted(slot:buf_id:addr)": () => posted,
      doorbells: () => around.doorbells.splice(0),
      state: () => {
        const { head, freeSlots, used, recycledHead, usedHead } = queue.state;
        return {
          tail: queue.state.tail,
          head,
          free_slots: freeSlots,
          used,
          recycled_head: recycledHead,
          used_head: usedHead,
        };
      },
    }, step);
  };

  queue.post();
  assert(trace["initial"], "A receive trace says what is posted at first");
  check(trace["initial"] as Record<string, unknown>, 0, `${trace.trace}, initial`);
  let completed = 0;
  const waiting: Record<string, unknown>[] = [];
  const writeCompletions = (count: number) => {
    for (const { rogue: _, ...fields } of waiting.splice(0, count)) {
      const generation = Math.floor(completed / size) % 2 === 0 ? 1 : 0;
      const bytes = gve_rx_compl_desc_dqo.encode({ ...fields, generation } as ValuesInput);
      around.memory.bytes.set(bytes, COMPLETIONS + (completed++ % size) * COMPLETION);
    }
  };
  trace.steps.forEach(({ in: input, out }, number) => {
    const step = `${trace.trace}, step ${number}`;
    const [[kind, value] = []] = Object.entries(input);
    assertEquals(Object.keys(input).length, 1, `${step}: one thing at a time`);
    if (kind === "driver_polls") {
      const { tail, head } = queue.state;
      // A poll that ends early leaves the rest to the next one.
      const moved = (Number((out["state"] as Record<string, unknown>)["head"]) - head) & (size - 1);
      const { length } = out["delivered"] as unknown[];
      writeCompletions(length === POLL_WEIGHT ? moved : waiting.length);
      queue.receive(sink);
      return check(out, tail, step);
    }
    assertEquals(out, {}, `${step}: nothing comes out`);
    if (kind === "stack_frees_skb") return stack.free(Number(value));
    assertEquals(kind, "device_completion", step);
    waiting.push(value as Record<string, unknown>);
  });
}
