/**
 * How the driver creates its transmit queues.
 *
 * @module
 */
import type { Allocation } from "../../core/dma_memory.ts";
import { IPXE_BUFFER, OPCODE, PAGE, RAW_ADDRESSING } from "./constants.ts";
import type { DriverPageLists } from "./driver_page_lists.ts";
import type { DriverSettings } from "./driver_settings.ts";
import { CELL, type DriverSetup } from "./driver_setup.ts";
import { ipxeBuffers, IpxeDqoTxDriver } from "./dqo/ipxe_tx_driver.ts";
import { DqoTxDriver } from "./dqo/tx_driver.ts";
import { driverFault } from "./faults.ts";
import { Fifo } from "./gqi/fifo.ts";
import { IpxeTxDriver } from "./gqi/ipxe_tx_driver.ts";
import { GqiTxDriver } from "./gqi/tx_driver.ts";
import * as layout from "./layout_admin.ts";
import { gve_tx_compl_desc, gve_tx_pkt_desc_dqo } from "./layout_dqo.ts";
import { gve_tx_pkt_desc } from "./layout_gqi.ts";
import { gve_event_counter, gve_queue_resources } from "./layout_records.ts";
import type { DriverContext, TxQueuePlace } from "./queue_context.ts";

/** Number of iPXE's transmit page list. */
const IPXE_LIST = 0x18ae5458;
/** Free descriptors that Linux wants to see before it takes a packet: the most fragments and four more. */
const LINUX_RESERVE = 21;

/** A transmit queue of any kind. */
export type TxDriver = GqiTxDriver | IpxeTxDriver | DqoTxDriver | IpxeDqoTxDriver;

/** A page list of a transmit queue. */
interface List {
  readonly pages: Allocation;
  readonly id: number;
}

/** Memory of a transmit queue. */
interface Rings {
  readonly ring: Allocation;
  readonly completions: Allocation | undefined;
  readonly resources: Allocation;
}

/** The transmit queues, one per context. */
export class TransmitQueues {
  readonly #setup: DriverSetup;
  readonly #contexts: readonly DriverContext[];
  readonly #settings: DriverSettings;
  readonly #lists: readonly (List | undefined)[];
  readonly #rings: readonly Rings[];

  /**
   * Takes memory and registers page lists.
   *
   * @throws {RingFault} If the device refuses.
   * @throws {RangeError} If memory is used up.
   */
  constructor(
    setup: DriverSetup,
    pageLists: DriverPageLists,
    contexts: readonly DriverContext[],
    settings: DriverSettings,
  ) {
    this.#setup = setup;
    this.#contexts = contexts;
    this.#settings = settings;
    const { dqo, txRing } = setup;
    this.#rings = contexts.map(() => ({
      ring: setup.allocate(txRing * (dqo ? gve_tx_pkt_desc_dqo.size : gve_tx_pkt_desc.size), PAGE),
      completions: dqo ? setup.allocate(txRing * gve_tx_compl_desc.size, PAGE) : undefined,
      resources: setup.allocate(gve_queue_resources.size, CELL),
    }));
    this.#lists = contexts.map((_, queue) => takeList(setup, pageLists, settings, queue));
  }

  /**
   * Creates the queues.
   *
   * @throws {RingFault} If the device refuses, or gives what cannot be.
   */
  create(): TxDriver[] {
    const { admin, txRing, pageLists } = this.#setup;
    this.#rings.forEach(({ ring, completions, resources }, queue) => {
      admin.post(OPCODE.CREATE_TX_QUEUE, layout.create_tx_queue, {
        queue_id: queue,
        queue_resources_addr: resources.address,
        tx_ring_addr: ring.address,
        queue_page_list_id: pageLists ? this.#lists[queue]!.id : RAW_ADDRESSING,
        ntfy_id: queue,
        tx_comp_ring_addr: completions?.address ?? 0,
        tx_ring_size: txRing,
        tx_comp_ring_size: completions ? txRing : 0,
      });
    });
    admin.require(admin.flush(), "create_tx_queue");
    return this.#rings.map((rings, queue) => this.#driver(rings, queue));
  }

  #driver({ ring, completions, resources }: Rings, queue: number): TxDriver {
    const setup = this.#setup;
    const given = gve_queue_resources.decode(setup.get(resources));
    const doorbell = setup.doorbell(Number(given["db_index"]), `tx${queue}`);
    const place = { queue, ring: ring.offset, size: setup.txRing, doorbell };
    const context = this.#contexts[queue]!;
    const list = this.#lists[queue];
    if (completions !== undefined) {
      return this.#settings.kind === "ipxe"
        ? ipxeDqoQueue(context, place, completions, list!)
        : dqoQueue(context, place, completions, list);
    }
    const index = Number(given["counter_index"]);
    const { counters } = setup.device;
    if (index >= counters) {
      throw driverFault(`tx${queue}`, "counter-index", 0, { counter_index: index, counters });
    }
    const counter = setup.counterArray.offset + index * gve_event_counter.size;
    return this.#settings.kind === "ipxe"
      ? ipxeQueue(context, place, counter, list!, setup.pageLists)
      : gqiQueue(context, place, counter, list);
  }
}

/** A queue's pages: iPXE has some in every format. They are registered if there are to be lists. */
function takeList(
  setup: DriverSetup,
  pageLists: DriverPageLists,
  { kind, txPages }: DriverSettings,
  queue: number,
): List | undefined {
  if (!setup.pageLists && kind === "linux") return undefined;
  const pages = setup.allocate(txPages * PAGE, PAGE);
  const id = kind === "ipxe" ? IPXE_LIST + queue * PAGE : queue;
  if (setup.pageLists) pageLists.registerRun(id, pages.address, txPages);
  return { pages, id };
}

function dqoQueue(
  context: DriverContext,
  place: TxQueuePlace,
  completions: Allocation,
  list: List | undefined,
): DqoTxDriver {
  const numbers = Array.from({ length: (list?.pages.size ?? 0) / PAGE }, (_, i) => i * PAGE);
  const pages = list && {
    offsets: numbers.map((offset) => list.pages.offset + offset),
    addresses: numbers.map((offset) => list.pages.address + offset),
  };
  return new DqoTxDriver(context, place, { completions: completions.offset, pages });
}

function gqiQueue(
  context: DriverContext,
  place: TxQueuePlace,
  counter: number,
  list: List | undefined,
): GqiTxDriver {
  return new GqiTxDriver(context, place, {
    fifo: list && new Fifo(list.pages.size),
    fifoOffset: list?.pages.offset ?? 0,
    counter,
    reserve: LINUX_RESERVE,
  });
}

/** A queue with as many buffers as its page list holds, rounded down to a power of two. */
function ipxeQueue(
  context: DriverContext,
  place: TxQueuePlace,
  counter: number,
  { pages }: List,
  offsets: boolean,
): IpxeTxDriver {
  return new IpxeTxDriver(context, place, {
    buffers: pages.offset,
    start: offsets ? 0 : pages.address,
    count: Math.min(2 ** Math.floor(Math.log2(pages.size / IPXE_BUFFER)), place.size),
    counter,
  });
}

/** A queue that copies to its page list whatever the format: descriptors carry addresses. */
function ipxeDqoQueue(
  context: DriverContext,
  place: TxQueuePlace,
  completions: Allocation,
  { pages }: List,
): IpxeDqoTxDriver {
  const count = ipxeBuffers(pages.size / IPXE_BUFFER, place.size);
  return new IpxeDqoTxDriver(context, place, count, {
    completions: completions.offset,
    buffers: pages.offset,
    address: pages.address,
  });
}
