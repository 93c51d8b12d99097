/**
 * How the driver brings a gVNIC up: registers, admin queue, resources, page lists, queues, and back.
 *
 * @module
 */
import type { Allocation, DmaMemory } from "../../core/dma_memory.ts";
import { AdminQueue } from "./admin_queue.ts";
import { CAPABILITY, DEVICE_STATUS, FEATURE, OPCODE, PAGE, RAW_ADDRESSING, STATUS } from "./constants.ts";
import { DriverCounters } from "./counters.ts";
import { isDqo, usesPageLists } from "./formats.ts";
import type { DriverSettings } from "./driver_settings.ts";
import { DriverStatistics, type QueueFigures, statisticsLength } from "./driver_statistics.ts";
import { BufferStates } from "./dqo/buffer_states.ts";
import { DqoRxDriver, type HeaderBuffers } from "./dqo/rx_driver.ts";
import { DqoTxDriver } from "./dqo/tx_driver.ts";
import { driverFault } from "./faults.ts";
import { Fifo } from "./gqi/fifo.ts";
import { GqiRxDriver } from "./gqi/rx_driver.ts";
import { GqiTxDriver } from "./gqi/tx_driver.ts";
import * as layout from "./layout_admin.ts";
import {
  gve_driver_info,
  gve_event_counter,
  gve_irq_db_index,
  gve_link_speed,
  gve_page_list_entry,
  gve_ptype_entry,
  gve_queue_resources,
  gve_rss_lut_entry,
} from "./layout_records.ts";
import { gve_rx_data_slot, gve_rx_desc, gve_tx_pkt_desc } from "./layout_gqi.ts";
import {
  gve_rx_compl_desc_dqo,
  gve_rx_desc_dqo,
  gve_tx_compl_desc,
  gve_tx_pkt_desc_dqo,
} from "./layout_dqo.ts";
import { negotiate, type Negotiated } from "./negotiation.ts";
import { HoldingStack, PagePool } from "./pages.ts";
import type { DriverContext } from "./queue_context.ts";
import { type Bus, read32 } from "./registers.ts";
import { MICROSOFT_RSS_KEY } from "../../core/toeplitz.ts";

const VERSION = "GVE-ringpipe\n";
const OS_LINUX = gve_driver_info.field("os_type").values!["LINUX"]!;
const CELL = 64;
const PTYPES = 1024;
/** Milliseconds between two reports of statistics. */
const STATS_INTERVAL = 20000;
const MTU_PARAMETER = 1;
/** Page list numbers of iPXE. */
const IPXE_TX_LIST = 0x18ae5458;
const IPXE_RX_LIST = 0x18ae5258;
/** Free descriptors that Linux wants to see before it takes a packet: the most fragments and four more. */
const LINUX_RESERVE = 21;
const RSS_LUT_SIZE = 128;
const LARGEST_PTYPE = { l3_type: 3, l4_type: 5 };

/** A transmit queue of either kind. */
export type TxDriver = GqiTxDriver | DqoTxDriver;
/** A receive queue of either kind. */
export type RxDriver = GqiRxDriver | DqoRxDriver;

/** Memory of a receive queue. */
interface ReceiveRings {
  readonly ring: Allocation;
  readonly data: Allocation;
  readonly resources: Allocation;
  readonly headers: HeaderBuffers | undefined;
}

/** A device that is up. */
export interface Bringup {
  /** Queue format. */
  readonly format: number;
  /** Features in use. */
  readonly features: number;
  /** Options passed over. */
  readonly skippedOptions: readonly number[];
  /** Bits per second, or 0 if the device did not say. */
  readonly linkSpeed: bigint;
  /** Entries of transmit rings. */
  readonly txRing: number;
  /** Entries of receive rings. */
  readonly rxRing: number;
  /** Receive buffers that can be posted as far as pages go. */
  readonly rxBuffers: number;
  /** Bytes per receive buffer. */
  readonly bufferSize: number;
  /** Transmit queues. */
  readonly tx: readonly TxDriver[];
  /** Receive queues. */
  readonly rx: readonly RxDriver[];
  /** Pages for receiving. */
  readonly pool: PagePool;
  /** Who holds received pages. */
  readonly stacks: readonly HoldingStack[];
  /** Byte offsets in BAR2 of the notify blocks' doorbells. */
  readonly irqDoorbells: readonly number[];
  /** What each pair of queues counted. */
  readonly queueCounters: readonly DriverCounters[];
  /** Brings the statistics block up to date once per interval. */
  updateStatistics(): void;
  /** Whether the device asks for a reset. */
  resetRequested(): boolean;
  /** Closes queues, gives pages and resources back, releases the admin queue. */
  tearDown(): void;
  /** Resets the device. */
  reset(): void;
}

/** Brings the device up. */
export function bringUp(bus: Bus, dma: DmaMemory, context: DriverContext, settings: DriverSettings): Bringup {
  return new BringUp(bus, dma, context, settings);
}

class BringUp implements Bringup {
  readonly format: number;
  readonly features: number;
  readonly skippedOptions: readonly number[];
  linkSpeed = 0n;
  readonly txRing: number;
  readonly rxRing: number;
  readonly rxBuffers: number;
  readonly bufferSize: number;
  readonly tx: TxDriver[] = [];
  readonly rx: RxDriver[] = [];
  readonly pool: PagePool;
  readonly stacks: HoldingStack[] = [];
  readonly irqDoorbells: readonly number[];
  readonly queueCounters: readonly DriverCounters[];
  readonly #bus: Bus;
  readonly #dma: DmaMemory;
  readonly #context: DriverContext;
  /** Per pair of queues: the same with counters of their own. */
  readonly #contexts: readonly DriverContext[];
  readonly #settings: DriverSettings;
  readonly #admin: AdminQueue;
  readonly #device: Negotiated;
  readonly #dqo: boolean;
  readonly #qpl: boolean;
  readonly #counterArray: Allocation;
  readonly #counterCount: number;
  readonly #packetTypes: Uint8Array;
  /** Registered page lists. */
  readonly #lists: number[] = [];
  readonly #doorbells = new Set<number>();
  #pagesRegistered = 0;
  #statistics: DriverStatistics | undefined;

  constructor(bus: Bus, dma: DmaMemory, context: DriverContext, settings: DriverSettings) {
    this.#bus = bus;
    this.#dma = dma;
    this.#context = context;
    this.queueCounters = Array.from({ length: settings.queues }, () => new DriverCounters());
    this.#contexts = this.queueCounters.map((counters) => ({ ...context, counters }));
    this.#settings = settings;
    for (let i = 0; i < VERSION.length; i++) {
      bus.bar0.write(layout.gve_registers.offsetOf("driver_version"), 1, VERSION.charCodeAt(i));
    }
    this.#admin = new AdminQueue(bus.bar0, dma, settings, context.counters);
    this.#admin.attach();
    if (settings.kind === "linux") this.#verify();
    this.#device = this.#describe();
    const { format, features, skipped, counters } = this.#device;
    this.format = format;
    this.features = features;
    this.skippedOptions = skipped;
    context.counters.optionsSkipped = skipped.length;
    this.#dqo = isDqo(format);
    this.#qpl = usesPageLists(format);
    this.txRing = this.#ringSize(this.#device.txRing, settings.txRing);
    this.rxRing = this.#ringSize(this.#device.rxRing, settings.rxRing);
    this.bufferSize = settings.bufferSize;
    this.#counterCount = counters;
    this.#counterArray = this.#allocate(Math.max(counters, 1) * gve_event_counter.size, PAGE);
    this.irqDoorbells = this.#configure();
    this.#packetTypes = this.#dqo && settings.kind === "linux" ? this.#fetchPacketTypes() : new Uint8Array(0);
    this.#optional();
    const { pageSize, hold } = settings;
    this.#transmitQueues();
    const rings = this.#receiveRings();
    this.pool = new PagePool(dma, pageSize, Math.floor(dma.free / pageSize));
    this.pool.onPressure = () => this.stacks.forEach((stack) => stack.shrink());
    this.rxBuffers = this.#qpl
      ? Math.floor(settings.rxPages * PAGE / pageSize)
      : Math.min(4 * this.rxRing, Math.floor(dma.free / pageSize / settings.queues));
    for (let queue = 0; queue < settings.queues; queue++) {
      this.stacks.push(new HoldingStack(this.pool, hold, settings.seed + queue));
    }
    this.#receiveQueues(rings);
  }

  updateStatistics(): void {
    this.#statistics?.update(() =>
      this.queueCounters.map((counters, queue): QueueFigures => {
        const rx = this.rx[queue]!;
        const sequence = rx instanceof GqiRxDriver ? rx.sequence : 0;
        return { counters, completed: this.tx[queue]!.completed, sequence };
      })
    );
  }

  resetRequested(): boolean {
    const status = read32(this.#bus.bar0, layout.gve_registers.offsetOf("device_status"));
    return (status & DEVICE_STATUS.RESET_WANTED) !== 0;
  }

  reset(): void {
    this.#admin.release();
  }

  tearDown(): void {
    const admin = this.#admin;
    for (let queue_id = 0; queue_id < this.tx.length; queue_id++) {
      admin.post(OPCODE.DESTROY_TX_QUEUE, layout.destroy_tx_queue, { queue_id });
    }
    admin.require(admin.flush(), "destroy_tx_queue");
    for (let queue_id = 0; queue_id < this.rx.length; queue_id++) {
      admin.post(OPCODE.DESTROY_RX_QUEUE, layout.destroy_rx_queue, { queue_id });
    }
    admin.require(admin.flush(), "destroy_rx_queue");
    for (const page_list_id of this.#lists) {
      const status = admin.execute(OPCODE.UNREGISTER_PAGE_LIST, layout.unregister_page_list, {
        page_list_id,
      });
      admin.require(status, "unregister_page_list");
    }
    admin.execute(OPCODE.REPORT_STATS, layout.report_stats, {});
    const status = admin.execute(
      OPCODE.DECONFIGURE_DEVICE_RESOURCES,
      layout.deconfigure_device_resources,
      {},
    );
    admin.require(status, "deconfigure_device_resources");
    admin.release();
  }

  #verify(): void {
    const info = this.#allocate(gve_driver_info.size, CELL);
    const capabilities = CAPABILITY.GQI_QPL | CAPABILITY.GQI_RDA | CAPABILITY.DQO_RDA | CAPABILITY.DQO_QPL |
      CAPABILITY.ALT_MISS_COMPL | CAPABILITY.FLEXIBLE_BUFFER_SIZE | CAPABILITY.FLEXIBLE_RSS_SIZE;
    this.#put(
      info,
      gve_driver_info.encode({ os_type: OS_LINUX, driver_major: 1, capability_flags0: capabilities }),
    );
    const status = this.#admin.execute(
      OPCODE.VERIFY_DRIVER_COMPATIBILITY,
      layout.verify_driver_compatibility,
      { driver_info_len: gve_driver_info.size, driver_info_addr: info.address },
    );
    // Older devices do not know the command.
    if (status !== STATUS.UNIMPLEMENTED) this.#admin.require(status, "verify_driver_compatibility");
  }

  #describe(): Negotiated {
    const page = this.#allocate(PAGE, PAGE);
    const status = this.#admin.execute(OPCODE.DESCRIBE_DEVICE, layout.describe_device, {
      device_descriptor_addr: page.address,
      device_descriptor_version: 1,
      available_length: PAGE,
    });
    this.#admin.require(status, "describe_device");
    return negotiate(this.#get(page), this.#settings.kind, this.#settings.strict);
  }

  #ringSize(bounds: { entries: number; min: number; max: number }, wanted: number): number {
    if ((this.#device.features & FEATURE.MODIFY_RING) === 0) return bounds.entries;
    return Math.max(bounds.min, Math.min(bounds.max, wanted));
  }

  /** Gives the device counters and interrupt cells: a block for each queue. Returns the blocks' doorbells. */
  #configure(): number[] {
    const { queues } = this.#settings;
    const blocks = 2 * queues;
    const cells = this.#allocate(blocks * CELL, PAGE);
    const status = this.#admin.execute(
      OPCODE.CONFIGURE_DEVICE_RESOURCES,
      layout.configure_device_resources,
      {
        counter_array: this.#counterArray.address,
        irq_db_addr: cells.address,
        num_counters: this.#counterCount,
        num_irq_dbs: blocks,
        irq_db_stride: CELL,
        ntfy_blk_msix_base_idx: 0,
        queue_format: this.format,
      },
    );
    this.#admin.require(status, "configure_device_resources");
    const bytes = this.#get(cells);
    return Array.from({ length: blocks }, (_, i) => {
      const { bar2_word_index } = gve_irq_db_index.decode(bytes, i * CELL, gve_irq_db_index.size);
      return this.#doorbell(Number(bar2_word_index), `interrupt${i}`);
    });
  }

  /** Byte offset of a doorbell, which must lie in BAR2 and belong to nobody else. */
  #doorbell(index: number, owner: string): number {
    if (index * 4 + 4 > this.#bus.bar2Size) {
      throw driverFault(owner, "doorbell-index", 0, { db_index: index, words: this.#bus.bar2Size / 4 });
    }
    if (this.#settings.strict && this.#doorbells.has(index)) {
      throw driverFault(owner, "doorbell-shared", 0, { db_index: index });
    }
    this.#doorbells.add(index);
    return index * 4;
  }

  #fetchPacketTypes(): Uint8Array {
    const length = PTYPES * gve_ptype_entry.size;
    const map = this.#allocate(length, PAGE);
    const status = this.#admin.execute(OPCODE.GET_PTYPE_MAP, layout.get_ptype_map, {
      ptype_map_len: length,
      ptype_map_addr: map.address,
    });
    this.#admin.require(status, "get_ptype_map");
    const bytes = this.#get(map);
    if (!this.#settings.strict) return bytes;
    const { l3_type, l4_type } = LARGEST_PTYPE;
    for (let i = 0; i < PTYPES; i++) {
      const l3 = bytes[i * gve_ptype_entry.size + gve_ptype_entry.offsetOf("l3_type")]!;
      const l4 = bytes[i * gve_ptype_entry.size + gve_ptype_entry.offsetOf("l4_type")]!;
      if (l3 > l3_type || l4 > l4_type) {
        throw driverFault("adminq", "packet-type", i, { l3_type: l3, l4_type: l4 });
      }
    }
    return bytes;
  }

  /** What a driver can do without: statistics, link speed, MTU, receive side scaling. */
  #optional(): void {
    const { queues, mtu } = this.#settings;
    const report = this.#allocate(statisticsLength(queues), PAGE);
    const taken = this.#admin.execute(OPCODE.REPORT_STATS, layout.report_stats, {
      stats_report_len: report.size,
      stats_report_addr: report.address,
      interval: STATS_INTERVAL,
    });
    if (taken === STATUS.PASSED) {
      const { clock, memory } = this.#context;
      this.#statistics = new DriverStatistics(clock, memory, report, STATS_INTERVAL);
    }
    const speed = this.#allocate(gve_link_speed.size, CELL);
    const status = this.#admin.execute(OPCODE.REPORT_LINK_SPEED, layout.report_link_speed, {
      link_speed_address: speed.address,
    });
    if (status === STATUS.PASSED) {
      this.linkSpeed = gve_link_speed.decode(this.#get(speed))["bits_per_second"] as bigint;
    }
    if (mtu > 0) {
      const answer = this.#admin.execute(OPCODE.SET_DRIVER_PARAMETER, layout.set_driver_parameter, {
        parameter_type: MTU_PARAMETER,
        parameter_value: mtu,
      });
      this.#admin.require(answer, "set_driver_parameter");
    }
    if (queues > 1 && this.features & FEATURE.RSS_CONFIG) this.#configureRss(queues);
  }

  #configureRss(queues: number): void {
    const key = this.#allocate(MICROSOFT_RSS_KEY.length, CELL);
    this.#put(key, Uint8Array.from(MICROSOFT_RSS_KEY));
    const table = this.#allocate(RSS_LUT_SIZE * gve_rss_lut_entry.size, CELL);
    for (let i = 0; i < RSS_LUT_SIZE; i++) {
      const entry = gve_rss_lut_entry.encode({ queue: i % queues });
      this.#dma.memory.bytes.set(entry, table.offset + i * entry.length);
    }
    const status = this.#admin.execute(OPCODE.CONFIGURE_RSS, layout.configure_rss, {
      hash_alg: 1,
      hash_key_size: MICROSOFT_RSS_KEY.length,
      hash_lut_size: RSS_LUT_SIZE,
      hash_key_addr: key.address,
      hash_lut_addr: table.address,
    });
    this.#admin.require(status, "configure_rss");
  }

  /** Registers 4096-byte pages under a number. */
  #register(id: number, addresses: readonly number[]): void {
    const { counters } = this.#context;
    this.#pagesRegistered += addresses.length;
    if (this.#pagesRegistered > this.#device.maxPages) {
      throw driverFault("adminq", "admin-status", 0, {
        command: "register_page_list",
        pages: this.#pagesRegistered,
        max_registered_pages: this.#device.maxPages,
      });
    }
    const list = this.#allocate(addresses.length * gve_page_list_entry.size, PAGE);
    for (let i = 0; i < addresses.length; i++) {
      const entry = gve_page_list_entry.encode({ addr: addresses[i]! });
      this.#dma.memory.bytes.set(entry, list.offset + i * entry.length);
    }
    const status = this.#admin.execute(OPCODE.REGISTER_PAGE_LIST, layout.register_page_list_24, {
      page_list_id: id,
      num_pages: addresses.length,
      page_address_list_addr: list.address,
      page_size: PAGE,
    });
    this.#admin.require(status, "register_page_list");
    this.#lists.push(id);
    counters.pagesRegistered += addresses.length;
  }

  #transmitQueues(): void {
    const { queues, txPages, kind } = this.#settings;
    const lists: { pages: Allocation; id: number }[] = [];
    for (let queue = 0; queue < queues; queue++) {
      // iPXE registers its lists in every format.
      if (!this.#qpl && kind === "linux") continue;
      const pages = this.#allocate(txPages * PAGE, PAGE);
      const id = kind === "ipxe" ? IPXE_TX_LIST + queue * PAGE : queue;
      this.#register(id, Array.from({ length: txPages }, (_, i) => pages.address + i * PAGE));
      lists.push({ pages, id });
    }
    const rings = Array.from({ length: queues }, (_, queue) => {
      const size = this.#dqo ? gve_tx_pkt_desc_dqo.size : gve_tx_pkt_desc.size;
      const ring = this.#allocate(this.txRing * size, PAGE);
      const completions = this.#dqo ? this.#allocate(this.txRing * gve_tx_compl_desc.size, PAGE) : undefined;
      const resources = this.#allocate(gve_queue_resources.size, CELL);
      this.#admin.post(OPCODE.CREATE_TX_QUEUE, layout.create_tx_queue, {
        queue_id: queue,
        queue_resources_addr: resources.address,
        tx_ring_addr: ring.address,
        queue_page_list_id: this.#qpl ? lists[queue]!.id : RAW_ADDRESSING,
        ntfy_id: queue,
        tx_comp_ring_addr: completions?.address ?? 0,
        tx_ring_size: this.txRing,
        tx_comp_ring_size: completions ? this.txRing : 0,
      });
      return { ring, completions, resources };
    });
    this.#admin.require(this.#admin.flush(), "create_tx_queue");
    rings.forEach(({ ring, completions, resources }, queue) => {
      const given = gve_queue_resources.decode(this.#get(resources));
      const doorbell = this.#doorbell(Number(given["db_index"]), `tx${queue}`);
      const place = { queue, ring: ring.offset, size: this.txRing, doorbell };
      const list = this.#qpl ? lists[queue]!.pages : undefined;
      if (completions) {
        const pages = list && {
          offsets: Array.from({ length: txPages }, (_, i) => list.offset + i * PAGE),
          addresses: Array.from({ length: txPages }, (_, i) => list.address + i * PAGE),
        };
        this.tx.push(
          new DqoTxDriver(this.#contexts[queue]!, place, { completions: completions.offset, pages }),
        );
        return;
      }
      const index = Number(given["counter_index"]);
      if (index >= this.#counterCount) {
        throw driverFault(`tx${queue}`, "counter-index", 0, {
          counter_index: index,
          counters: this.#counterCount,
        });
      }
      this.tx.push(
        new GqiTxDriver(this.#contexts[queue]!, place, {
          fifo: list && new Fifo(txPages * PAGE),
          fifoOffset: list?.offset ?? 0,
          counter: this.#counterArray.offset + index * gve_event_counter.size,
          reserve: LINUX_RESERVE,
        }),
      );
    });
  }

  /** Takes memory for the receive rings, before pages take the rest. */
  #receiveRings(): ReceiveRings[] {
    const { queues, headerSize } = this.#settings;
    return Array.from({ length: queues }, () => {
      const size = this.#dqo ? gve_rx_compl_desc_dqo.size : gve_rx_desc.size;
      const dataSize = this.#dqo ? gve_rx_desc_dqo.size : gve_rx_data_slot.size;
      const ring = this.#allocate(this.rxRing * size, PAGE);
      const data = this.#allocate(this.rxRing * dataSize, PAGE);
      const resources = this.#allocate(gve_queue_resources.size, CELL);
      const states = this.#states();
      const buffers = this.#dqo && headerSize > 0
        ? this.#allocate((states + 1) * headerSize, PAGE)
        : undefined;
      const headers = buffers && {
        offset: buffers.offset,
        address: buffers.address,
        size: headerSize,
        scratch: buffers.offset + states * headerSize,
      };
      return { ring, data, resources, headers };
    });
  }

  /** Buffer states of a DQO receive queue. */
  #states(): number {
    const { rxPages, pageSize } = this.#settings;
    return this.#qpl ? Math.floor(rxPages * PAGE / pageSize) : 4 * this.rxRing;
  }

  #receiveQueues(rings: readonly ReceiveRings[]): void {
    const { queues, pageSize, kind, bufferSize, headerSize } = this.#settings;
    const lists = rings.map((_, queue) => {
      if (!this.#qpl && kind === "linux") return undefined;
      const count = this.#dqo ? this.#states() : this.rxRing;
      const pages = Array.from({ length: count }, () => this.pool.take());
      if (pages.includes(-1)) {
        throw new RangeError(`Cannot make a page list of ${count} pages as memory is used up`);
      }
      const id = kind === "ipxe" ? IPXE_RX_LIST + queue * PAGE : queues + queue;
      const addresses = pages.flatMap((page) =>
        Array.from({ length: pageSize / PAGE }, (_, i) => this.pool.addresses[page]! + i * PAGE)
      );
      this.#register(id, addresses);
      return { id, pages };
    });
    rings.forEach(({ ring, data, resources }, queue) => {
      this.#admin.post(OPCODE.CREATE_RX_QUEUE, layout.create_rx_queue, {
        queue_id: queue,
        index: this.#dqo ? 0 : queue,
        ntfy_id: queues + queue,
        queue_resources_addr: resources.address,
        rx_desc_ring_addr: ring.address,
        rx_data_ring_addr: data.address,
        queue_page_list_id: this.#qpl ? lists[queue]!.id : RAW_ADDRESSING,
        rx_ring_size: this.rxRing,
        packet_buffer_size: bufferSize,
        rx_buff_ring_size: this.#dqo ? this.rxRing : 0,
        header_buffer_size: this.#dqo ? headerSize : 0,
      });
    });
    this.#admin.require(this.#admin.flush(), "create_rx_queue");
    rings.forEach(({ ring, data, resources, headers }, queue) => {
      const given = gve_queue_resources.decode(this.#get(resources));
      const doorbell = this.#doorbell(Number(given["db_index"]), `rx${queue}`);
      const place = {
        queue,
        ring: ring.offset,
        data: data.offset,
        size: this.rxRing,
        doorbell,
        bufferSize,
      };
      const pageList = this.#qpl ? lists[queue]!.pages : undefined;
      this.rx.push(this.#dqo ? this.#dqoRx(place, pageList, headers) : this.#gqiRx(place, pageList));
    });
  }

  #gqiRx(
    place: ConstructorParameters<typeof GqiRxDriver>[1],
    pageList: readonly number[] | undefined,
  ): GqiRxDriver {
    const { copybreak } = this.#settings;
    const options = { pool: this.pool, pageList, stack: this.stacks[place.queue]!, copybreak };
    const queue = new GqiRxDriver(this.#contexts[place.queue]!, place, options);
    queue.flush();
    return queue;
  }

  #dqoRx(
    place: ConstructorParameters<typeof DqoRxDriver>[1],
    pageList: readonly number[] | undefined,
    headers: HeaderBuffers | undefined,
  ): DqoRxDriver {
    const { copybreak } = this.#settings;
    const states = new BufferStates(this.pool, this.queueCounters[place.queue]!, {
      states: this.#states(),
      bufferSize: place.bufferSize,
      pageList,
    });
    const queue = new DqoRxDriver(this.#contexts[place.queue]!, place, {
      pool: this.pool,
      states,
      stack: this.stacks[place.queue]!,
      copybreak,
      headers,
      packetTypes: this.#packetTypes,
    });
    queue.post();
    return queue;
  }

  /** Memory of the driver's, never given out before. */
  #allocate(size: number, alignment: number): Allocation {
    return this.#dma.allocate(size, alignment);
  }

  #put(place: Allocation, bytes: Uint8Array): void {
    this.#dma.memory.bytes.set(bytes, place.offset);
  }

  /** A copy: what the device shows is read once. */
  #get(place: Allocation): Uint8Array {
    return this.#dma.memory.bytes.slice(place.offset, place.offset + place.size);
  }
}
