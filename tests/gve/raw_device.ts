/**
 * Driver queues whose rings a test writes as a device would.
 *
 * @module
 */
import type { ValuesInput } from "../../core/layout.ts";
import { BufferStates } from "../../plugins/gve/dqo/buffer_states.ts";
import { DqoRxDriver } from "../../plugins/gve/dqo/rx_driver.ts";
import { DqoTxDriver } from "../../plugins/gve/dqo/tx_driver.ts";
import { Fifo } from "../../plugins/gve/gqi/fifo.ts";
import { GqiRxDriver } from "../../plugins/gve/gqi/rx_driver.ts";
import { GqiTxDriver } from "../../plugins/gve/gqi/tx_driver.ts";
import {
  gve_rx_compl_desc_dqo,
  gve_rx_desc,
  gve_rx_desc_dqo,
  gve_rx_flags_seq,
  gve_tx_compl_desc,
  TransmitRequest,
} from "../../plugins/gve/mod.ts";
import { HoldingStack, PagePool } from "../../plugins/gve/pages.ts";
import { Surroundings } from "./replay_context.ts";

const PAGE = 4096;
const SIZE = 64;
/** Where things are: the ring that the device writes, the ring that the driver writes, other memory, pages. */
const RING = 0;
const DATA = 2 * PAGE;
const OTHER = 4 * PAGE;
const PAGES = 16 * PAGE;

/** What arrived: the bytes of each frame. */
export class Arrived {
  readonly frames: Uint8Array[] = [];
  #parts: number[] = [];
  piece(_queue: number, bytes: Uint8Array, offset: number, length: number, more: boolean): void {
    this.#parts.push(...bytes.subarray(offset, offset + length));
    if (more) return;
    this.frames.push(Uint8Array.from(this.#parts));
    this.#parts = [];
  }
}

/** A linear packet at an address. */
export function packet(length: number): TransmitRequest {
  const request = new TransmitRequest();
  request.push(new Uint8Array(length).fill(length), 0, length, 0x1000000);
  return request;
}

function pool(around: Surroundings, limit = 4096): PagePool {
  let next = PAGES;
  return new PagePool(
    {
      memory: around.memory,
      get free() {
        return around.memory.size - next;
      },
      allocate: (size) => {
        next += size;
        return { offset: next - size, address: 0x10000000 + next - size };
      },
    },
    PAGE,
    limit,
  );
}

function rxPlace(bufferSize: number) {
  return { queue: 0, ring: RING, data: DATA, size: SIZE, doorbell: 0, bufferSize };
}

/** A GQI transmit queue with a page list, or with raw addressing; its event counter is the test's. */
export function gqiTx(strict: boolean, pages: Fifo | null = new Fifo(4 * PAGE)) {
  const fifo = pages ?? undefined;
  const around = new Surroundings(64 * PAGE, strict);
  const queue = new GqiTxDriver(around.context, { queue: 0, ring: RING, size: SIZE, doorbell: 0 }, {
    fifo,
    fifoOffset: PAGES,
    counter: OTHER,
    reserve: 21,
  });
  return { around, queue, fifo, count: (value: number) => around.memory.view.setUint32(OTHER, value) };
}

/** A GQI receive queue; its descriptors are the test's. */
export function gqiRx(strict: boolean, { qpl = true, hold = 0, copybreak = 0, limit = 4096 } = {}) {
  const around = new Surroundings(1024 * PAGE, strict);
  const pages = pool(around, limit);
  const stack = new HoldingStack(pages, hold, 1);
  const pageList = qpl ? Array.from({ length: SIZE }, () => pages.take()) : undefined;
  const queue = new GqiRxDriver(around.context, rxPlace(2048), { pool: pages, pageList, stack, copybreak });
  let index = 0;
  const describe = (len: number, seq: number, flags: ValuesInput = {}) => {
    const flags_seq = gve_rx_flags_seq.decode(gve_rx_flags_seq.encode({ seq, ...flags }));
    const word = gve_rx_flags_seq.encode(flags_seq as ValuesInput);
    const bytes = gve_rx_desc.encode({ len });
    bytes.set(word, gve_rx_desc.offsetOf("flags_seq"));
    around.memory.bytes.set(bytes, RING + (index++ % SIZE) * gve_rx_desc.size);
  };
  const slot = (i: number) => Number(around.memory.view.getBigUint64(DATA + i * 8));
  return { around, queue, pool: pages, stack, describe, slot, sink: new Arrived() };
}

/** A DQO transmit queue; its completions are the test's. */
export function dqoTx(strict: boolean, queueNumber = 0) {
  const around = new Surroundings(64 * PAGE, strict);
  const queue = new DqoTxDriver(around.context, { queue: queueNumber, ring: RING, size: SIZE, doorbell: 0 }, {
    completions: DATA,
    pages: undefined,
  });
  let index = 0;
  const complete = (type: number, completion_tag: number, values: ValuesInput = {}) => {
    const generation = Math.floor(index / SIZE) % 2 === 0 ? 1 : 0;
    const bytes = gve_tx_compl_desc.encode({ id: queueNumber, type, completion_tag, generation, ...values });
    around.memory.bytes.set(bytes, DATA + (index++ % SIZE) * gve_tx_compl_desc.size);
  };
  return { around, queue, complete };
}

/** A DQO receive queue; its completions are the test's. */
export function dqoRx(
  strict: boolean,
  {
    bufferSize = 2048,
    headerSize = 0,
    hold = 0,
    copybreak = 0,
    qpl = false,
    packetTypes = new Uint8Array(2048),
  } = {},
) {
  const around = new Surroundings(4096 * PAGE, strict);
  const pages = pool(around);
  const stack = new HoldingStack(pages, hold, 1);
  const states = new BufferStates(pages, around.context.counters, {
    states: 256,
    bufferSize,
    pageList: qpl ? Array.from({ length: 256 }, () => pages.take()) : undefined,
  });
  const headers = headerSize > 0
    ? { offset: OTHER, address: 0x20000000, size: headerSize, scratch: OTHER + 256 * headerSize }
    : undefined;
  const queue = new DqoRxDriver(around.context, rxPlace(bufferSize), {
    pool: pages,
    states,
    stack,
    copybreak,
    headers,
    packetTypes,
  });
  queue.post();
  let index = 0;
  const complete = (buf_id: number, packet_len: number, values: ValuesInput = {}) => {
    const generation = Math.floor(index / SIZE) % 2 === 0 ? 1 : 0;
    const bytes = gve_rx_compl_desc_dqo.encode({
      buf_id,
      packet_len,
      end_of_packet: 1,
      generation,
      ...values,
    });
    around.memory.bytes.set(bytes, RING + (index++ % SIZE) * gve_rx_compl_desc_dqo.size);
  };
  /** Id of the buffer posted in a ring slot. */
  const posted = (slot: number) =>
    around.memory.view.getUint16(DATA + (slot % SIZE) * gve_rx_desc_dqo.size, true);
  return { around, queue, pool: pages, states, stack, complete, posted, sink: new Arrived() };
}
