/**
 * How the driver creates its receive queues.
 *
 * @module
 */
import type { Allocation } from "../../core/dma_memory.ts";
import { alignUp } from "../../core/index.ts";
import { IPXE_RX_BUFFERS, OPCODE, PAGE, RAW_ADDRESSING } from "./constants.ts";
import type { DriverPageLists } from "./driver_page_lists.ts";
import type { DriverSettings } from "./driver_settings.ts";
import { CELL, type DriverSetup } from "./driver_setup.ts";
import { BufferStates } from "./dqo/buffer_states.ts";
import { IpxeDqoRxDriver } from "./dqo/ipxe_rx_driver.ts";
import { ipxeBuffers } from "./dqo/ipxe_tx_driver.ts";
import { DqoRxDriver } from "./dqo/rx_driver.ts";
import type { HeaderBuffers } from "./dqo/rx_rings.ts";
import { IpxeRxDriver } from "./gqi/ipxe_rx_driver.ts";
import { GqiRxDriver } from "./gqi/rx_driver.ts";
import * as layout from "./layout_admin.ts";
import { gve_rx_compl_desc_dqo, gve_rx_desc_dqo } from "./layout_dqo.ts";
import { gve_rx_data_slot, gve_rx_desc } from "./layout_gqi.ts";
import { gve_queue_resources } from "./layout_records.ts";
import { HoldingStack, PagePool } from "./pages.ts";
import type { DriverContext, RxQueuePlace } from "./queue_context.ts";

/** Number of iPXE's receive page list. */
const IPXE_LIST = 0x18ae5258;

/** A receive queue of any kind. */
export type RxDriver = GqiRxDriver | IpxeRxDriver | DqoRxDriver | IpxeDqoRxDriver;

/** Memory of a receive queue. */
interface Rings {
  readonly ring: Allocation;
  readonly data: Allocation;
  readonly resources: Allocation;
  readonly headers: HeaderBuffers | undefined;
  /** iPXE's buffers. */
  readonly buffers: Allocation | undefined;
}

/** A page list of a receive queue: its number, and the driver's pages in it. */
interface List {
  readonly id: number;
  readonly pages: readonly number[];
}

/** The receive queues, one per context. */
export class ReceiveQueues {
  /** Buffers that a queue has posted at some time, whatever happens, as far as its pages go. */
  readonly buffers: number;
  readonly #setup: DriverSetup;
  readonly #pageLists: DriverPageLists;
  readonly #contexts: readonly DriverContext[];
  readonly #settings: DriverSettings;
  readonly #rings: readonly Rings[];
  readonly #pool: PagePool;
  readonly #stacks: readonly HoldingStack[];
  readonly #lists: readonly (List | undefined)[];

  /**
   * Takes memory for the rings, and for pages all that is left then; registers page lists.
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
    this.#pageLists = pageLists;
    this.#contexts = contexts;
    this.#settings = settings;
    this.#rings = contexts.map(() => this.#takeRings());
    const { dma } = setup;
    const { pageSize, hold, seed } = settings;
    const pool = this.#pool = new PagePool(dma, pageSize, Math.floor(dma.free / pageSize));
    const stacks = this.#stacks = contexts.map((_, queue) => new HoldingStack(pool, hold, seed + queue));
    pool.onPressure = () => stacks.map((stack) => stack.shrink()).includes(true);
    this.buffers = this.#posted(Math.floor(dma.free / pageSize / contexts.length));
    this.#lists = contexts.map((_, queue) => this.#registerList(queue));
  }

  /**
   * Creates the queues, and posts buffers.
   *
   * @throws {RingFault} If the device refuses, or gives what cannot be.
   */
  create(): RxDriver[] {
    const { admin, dqo, rxRing, pageLists } = this.#setup;
    const { bufferSize, headerSize } = this.#settings;
    this.#rings.forEach(({ ring, data, resources }, queue) => {
      admin.post(OPCODE.CREATE_RX_QUEUE, layout.create_rx_queue, {
        queue_id: queue,
        index: dqo ? 0 : queue,
        ntfy_id: this.#contexts.length + queue,
        queue_resources_addr: resources.address,
        rx_desc_ring_addr: ring.address,
        rx_data_ring_addr: data.address,
        queue_page_list_id: pageLists ? this.#lists[queue]!.id : RAW_ADDRESSING,
        rx_ring_size: rxRing,
        packet_buffer_size: bufferSize,
        rx_buff_ring_size: dqo ? rxRing : 0,
        header_buffer_size: dqo ? headerSize : 0,
      });
    });
    admin.require(admin.flush(), "create_rx_queue");
    return this.#rings.map((rings, queue) => {
      const given = gve_queue_resources.decode(this.#setup.get(rings.resources));
      const doorbell = this.#setup.doorbell(Number(given["db_index"]), `rx${queue}`);
      const place = {
        queue,
        ring: rings.ring.offset,
        data: rings.data.offset,
        size: rxRing,
        doorbell,
        bufferSize,
      };
      const pages = pageLists ? this.#lists[queue]!.pages : undefined;
      if (rings.buffers) return this.#ipxeQueue(place, rings.buffers);
      return dqo ? this.#dqo(place, pages, rings.headers) : this.#gqi(place, pages);
    });
  }

  /** Buffers posted at some time whatever happens, if so many pages were free for each queue. */
  #posted(free: number): number {
    const { dqo, pageLists, rxRing } = this.#setup;
    if (this.#settings.kind === "ipxe") return this.#ipxeBuffers;
    if (dqo) return pageLists ? this.#states : Math.min(4 * rxRing, free);
    // With raw addressing slots are posted again once half of them are gone.
    return pageLists ? rxRing : rxRing / 2 + 1;
  }

  /** Takes memory for rings, before pages take the rest. */
  #takeRings(): Rings {
    const { dqo, rxRing } = this.#setup;
    const { headerSize, bufferSize } = this.#settings;
    const size = dqo ? gve_rx_compl_desc_dqo.size : gve_rx_desc.size;
    const dataSize = dqo ? gve_rx_desc_dqo.size : gve_rx_data_slot.size;
    const ring = this.#setup.allocate(rxRing * size, PAGE);
    const data = this.#setup.allocate(rxRing * dataSize, PAGE);
    const resources = this.#setup.allocate(gve_queue_resources.size, CELL);
    const headers = dqo && headerSize > 0 ? this.#headerBuffers(headerSize) : undefined;
    const buffers = this.#settings.kind === "ipxe"
      ? this.#setup.allocate(alignUp(this.#ipxeBuffers * bufferSize, PAGE), PAGE)
      : undefined;
    return { ring, data, resources, headers, buffers };
  }

  #headerBuffers(size: number): HeaderBuffers {
    const states = this.#states;
    const { offset, address } = this.#setup.allocate((states + 1) * size, PAGE);
    return { offset, address, size, scratch: offset + states * size };
  }

  /** Buffer states of a DQO receive queue. */
  get #states(): number {
    const { rxPages, pageSize } = this.#settings;
    return this.#setup.pageLists ? Math.floor(rxPages * PAGE / pageSize) : 4 * this.#setup.rxRing;
  }

  /** Buffers of an iPXE receive queue. */
  get #ipxeBuffers(): number {
    const { dqo, rxRing } = this.#setup;
    return dqo ? ipxeBuffers(IPXE_RX_BUFFERS, rxRing) : Math.min(IPXE_RX_BUFFERS, rxRing);
  }

  /** Registers a queue's pages, if there are to be lists. */
  #registerList(queue: number): List | undefined {
    const { kind, pageSize } = this.#settings;
    const { dqo, pageLists, rxRing } = this.#setup;
    if (!pageLists) return undefined;
    const id = kind === "ipxe" ? IPXE_LIST + queue * PAGE : this.#contexts.length + queue;
    const { buffers } = this.#rings[queue]!;
    if (buffers !== undefined) {
      this.#pageLists.registerRun(id, buffers.address, buffers.size / PAGE);
      return { id, pages: [] };
    }
    const count = dqo ? this.#states : rxRing;
    const pages = Array.from({ length: count }, () => this.#pool.take());
    if (pages.includes(-1)) {
      throw new RangeError(`Cannot make a page list of ${count} pages as memory is used up`);
    }
    const addresses: number[] = [];
    for (const page of pages) {
      const start = this.#pool.addressOf(page);
      for (let at = 0; at < pageSize; at += PAGE) addresses.push(start + at);
    }
    this.#pageLists.register(id, addresses);
    return { id, pages };
  }

  #gqi(place: RxQueuePlace, pageList: readonly number[] | undefined): GqiRxDriver {
    const { copybreak } = this.#settings;
    const options = { pool: this.#pool, pageList, stack: this.#stacks[place.queue]!, copybreak };
    const queue = new GqiRxDriver(this.#contexts[place.queue]!, place, options);
    queue.flush();
    return queue;
  }

  #ipxeQueue(place: RxQueuePlace, { offset, address }: Allocation): IpxeRxDriver | IpxeDqoRxDriver {
    if (this.#setup.dqo) {
      const options = { buffers: offset, address, count: this.#ipxeBuffers };
      const queue = new IpxeDqoRxDriver(this.#contexts[place.queue]!, place, options);
      queue.post();
      return queue;
    }
    const options = {
      buffers: offset,
      start: this.#setup.pageLists ? 0 : address,
      count: this.#ipxeBuffers,
    };
    const queue = new IpxeRxDriver(this.#contexts[place.queue]!, place, options);
    queue.flush();
    return queue;
  }

  #dqo(
    place: RxQueuePlace,
    pageList: readonly number[] | undefined,
    headers: HeaderBuffers | undefined,
  ): DqoRxDriver {
    const context = this.#contexts[place.queue]!;
    const states = new BufferStates(this.#pool, context.counters, {
      // With raw addressing no more than its share: the first queues would leave the last ones without a page.
      states: this.buffers,
      bufferSize: place.bufferSize,
      pageList,
    });
    const queue = new DqoRxDriver(context, place, {
      pool: this.#pool,
      states,
      stack: this.#stacks[place.queue]!,
      copybreak: this.#settings.copybreak,
      headers,
      packetTypes: this.#setup.packetTypes,
    });
    queue.post();
    return queue;
  }
}
