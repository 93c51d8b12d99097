/**
 * The device's side of the admin queue: takes commands in order, carries them out and answers with a status.
 *
 * @module
 */
import { READ, READ_WRITE, WRITE } from "../../core/address_space.ts";
import { distance32, isPowerOfTwo } from "../../core/index.ts";
import type { Struct, Values } from "../../core/layout.ts";
import { ADMIN_SLOTS, CAPABILITY, OPCODE, PAGE, QUEUE_FORMAT, RAW_ADDRESSING, STATUS } from "./constants.ts";
import type { DeviceContext, NotifyBlock } from "./device_context.ts";
import type { DeviceSettings } from "./device_settings.ts";
import { FORMAT_OPTIONS, isDqo, usesPageLists } from "./formats.ts";
import { describe, statisticsRecords } from "./device_records.ts";
import { DqoRxDevice } from "./dqo/rx_device.ts";
import { DqoTxDevice } from "./dqo/tx_device.ts";
import { deviceFault } from "./faults.ts";
import { GqiRxDevice } from "./gqi/rx_device.ts";
import { GqiTxDevice } from "./gqi/tx_device.ts";
import * as layout from "./layout_admin.ts";
import {
  gve_driver_info,
  gve_event_counter,
  gve_irq_db_index,
  gve_link_speed,
  gve_page_list_entry,
  gve_queue_resources,
  gve_stats_report,
} from "./layout_records.ts";
import { gve_rx_data_slot, gve_rx_desc, gve_tx_pkt_desc } from "./layout_gqi.ts";
import {
  gve_rx_compl_desc_dqo,
  gve_rx_desc_dqo,
  gve_tx_compl_desc,
  gve_tx_pkt_desc_dqo,
} from "./layout_dqo.ts";
import { PageList } from "./page_list.ts";
import { FlowSteering, packetTypeMap } from "./rss.ts";
import { RssCommands } from "./rss_commands.ts";

const SLOT = layout.gve_adminq_command.size;
const STATUS_AT = layout.gve_adminq_command.offsetOf("status");
/** BAR2 words: some unused, then those of interrupts, transmit queues, receive queues. */
const FIRST_IRQ_WORD = 16;
/** Most interrupts. */
const MAX_IRQS = 2048;
/** Smallest MTU that drivers accept. */
const MIN_MTU = 68;
const MTU_PARAMETER = 1;

/** A transmit queue of either kind. */
export type TxQueue = GqiTxDevice | DqoTxDevice;
/** A receive queue of either kind. */
export type RxQueue = GqiRxDevice | DqoRxDevice;

/** Words of BAR2. */
export function doorbellWords(settings: DeviceSettings): number {
  return FIRST_IRQ_WORD + MAX_IRQS + settings.maxTxQueues + settings.maxRxQueues;
}

interface Resources {
  readonly counterArray: number;
  readonly counters: number;
  readonly format: number;
  readonly blocks: readonly NotifyBlock[];
  readonly managementVector: number;
}

type Handler = (values: Values) => number;

/** The admin queue and all that its commands make. */
export class AdminDevice {
  /** Transmit queues in order of creation. */
  readonly tx: TxQueue[] = [];
  /** Receive queues in order of creation. */
  readonly rx: RxQueue[] = [];
  /** Whether the device has to look into frames before it delivers them. */
  steers = false;
  /** Page lists by id. */
  readonly lists: Map<number, PageList> = new Map();
  /** Receive side scaling. */
  readonly steering: FlowSteering = new FlowSteering();
  /** Told of each command: its opcode, its status, and the count of commands completed. */
  readonly #completed: (count: number) => void;
  readonly #context: DeviceContext;
  readonly #settings: DeviceSettings;
  readonly #rss: RssCommands;
  readonly #handlers: ReadonlyMap<number, readonly [Struct, Handler]>;
  /** Address of the queue, or -1. */
  #address = -1;
  #done = 0;
  #resources: Resources | undefined;
  #capabilities = 0n;
  #mtu: number;
  #stats:
    | { readonly address: number; readonly length: number; readonly interval: number; due: number }
    | undefined;
  /** What a queue without interrupts has. */
  readonly #silent: NotifyBlock = { vector: -1, word: 0, armed: false, pending: false };

  /** Starts without a queue. */
  constructor(context: DeviceContext, settings: DeviceSettings, completed: (count: number) => void) {
    this.#context = context;
    this.#settings = settings;
    this.#completed = completed;
    this.#mtu = settings.mtu;
    this.#rss = new RssCommands(context.space, this.steering, settings.maxRxQueues);
    const handlers: readonly (readonly [number, Struct, Handler])[] = [
      [OPCODE.DESCRIBE_DEVICE, layout.describe_device, (v) => this.#describe(v)],
      [OPCODE.CONFIGURE_DEVICE_RESOURCES, layout.configure_device_resources, (v) => this.#configure(v)],
      [OPCODE.REGISTER_PAGE_LIST, layout.register_page_list_24, (v) => this.#register(v)],
      [OPCODE.UNREGISTER_PAGE_LIST, layout.unregister_page_list, (v) => this.#unregister(v)],
      [OPCODE.CREATE_TX_QUEUE, layout.create_tx_queue, (v) => this.#createTx(v)],
      [OPCODE.CREATE_RX_QUEUE, layout.create_rx_queue, (v) => this.#createRx(v)],
      [OPCODE.DESTROY_TX_QUEUE, layout.destroy_tx_queue, (v) => this.#destroy(this.tx, v)],
      [OPCODE.DESTROY_RX_QUEUE, layout.destroy_rx_queue, (v) => this.#destroy(this.rx, v)],
      [OPCODE.DECONFIGURE_DEVICE_RESOURCES, layout.deconfigure_device_resources, () => this.#deconfigure()],
      [OPCODE.CONFIGURE_RSS, layout.configure_rss, (v) => this.#rss.configure(v)],
      [OPCODE.SET_DRIVER_PARAMETER, layout.set_driver_parameter, (v) => this.#setParameter(v)],
      [OPCODE.REPORT_STATS, layout.report_stats, (v) => this.#reportStats(v)],
      [OPCODE.REPORT_LINK_SPEED, layout.report_link_speed, (v) => this.#reportLinkSpeed(v)],
      [OPCODE.GET_PTYPE_MAP, layout.get_ptype_map, (v) => this.#ptypeMap(v)],
      [OPCODE.VERIFY_DRIVER_COMPATIBILITY, layout.verify_driver_compatibility, (v) => this.#verify(v)],
      [OPCODE.QUERY_RSS, layout.query_rss, (v) => this.#rss.query(v)],
    ];
    this.#handlers = new Map(handlers.map(([opcode, struct, handler]) => [opcode, [struct, handler]]));
  }

  /** Chosen queue format, or unspecified. */
  get format(): number {
    return this.#resources?.format ?? QUEUE_FORMAT.UNSPECIFIED;
  }

  /** The notify blocks. */
  get blocks(): readonly NotifyBlock[] {
    return this.#resources?.blocks ?? [];
  }

  /** Vector for what concerns the device as a whole, or -1. */
  get managementVector(): number {
    return this.#resources?.managementVector ?? -1;
  }

  /** Pages in all lists. */
  get registeredPages(): number {
    let pages = 0;
    for (const list of this.lists.values()) pages += list.pages.length;
    return pages;
  }

  /** MTU as the driver set it. */
  get mtu(): number {
    return this.#mtu;
  }

  /** Commands completed since the queue was attached. */
  get done(): number {
    return this.#done;
  }

  /** A queue is there. */
  attach(address: number): void {
    if (!this.#context.space.contiguous(address, PAGE, READ_WRITE)) {
      this.#address = -1;
      throw deviceFault("adminq", "admin-queue-address", 0, { address });
    }
    this.#address = address;
    this.#done = 0;
  }

  /** Everything is undone. */
  reset(): void {
    this.#address = -1;
    this.#done = 0;
    this.#resources = undefined;
    this.#stats = undefined;
    this.#capabilities = 0n;
    this.#mtu = this.#settings.mtu;
    this.tx.length = 0;
    this.steers = false;
    this.rx.length = 0;
    this.lists.clear();
    this.steering.reset(1);
    this.#context.doorbells.fill(0);
  }

  /**
   * Commands up to `count` are posted: carries them out.
   *
   * @throws {RingFault} If the count jumps, or the queue is no longer in memory.
   */
  doorbell(count: number): void {
    if (this.#address < 0) return;
    const pending = distance32(count, this.#done);
    if (pending > ADMIN_SLOTS) {
      this.#address = -1;
      throw deviceFault("adminq", "admin-doorbell", this.#done, { doorbell: count, slots: ADMIN_SLOTS });
    }
    const slot = new Uint8Array(SLOT);
    for (let i = 0; i < pending; i++) {
      const address = this.#address + (this.#done % ADMIN_SLOTS) * SLOT;
      if (!this.#context.space.read(address, slot)) {
        throw deviceFault("adminq", "admin-queue-address", this.#done, { address });
      }
      const status = this.#execute(slot);
      const answer = new Uint8Array(4);
      new DataView(answer.buffer).setUint32(0, status);
      if (!this.#context.space.write(address + STATUS_AT, answer)) {
        throw deviceFault("adminq", "admin-queue-address", this.#done, { address });
      }
      this.#done = (this.#done + 1) >>> 0;
      this.#completed(this.#done);
    }
  }

  /** Writes the device's part of the statistics block, if there is one and its time has come. */
  updateStatistics(noBuffers: number): void {
    if (this.#stats === undefined) return;
    const now = this.#context.clock.now();
    if (now < this.#stats.due) return;
    const { address, length, interval } = this.#stats;
    this.#stats.due = now + interval;
    const records = statisticsRecords(this.rx.map((queue) => queue.queue), noBuffers);
    const at = gve_stats_report.size + gve_stats_report.stride * (this.tx.length * 6 + this.rx.length * 2);
    if (at + records.length <= length) this.#context.space.write(address + at, records);
  }

  #execute(slot: Uint8Array): number {
    const opcode = Number(layout.gve_adminq_command.decode(slot)["opcode"]);
    const { counters } = this.#context;
    counters.command(opcode);
    const known = this.#handlers.get(opcode);
    const status = known ? this.#run(known[0].decode(slot), known[1]) : STATUS.UNIMPLEMENTED;
    if (status !== STATUS.PASSED) counters.failed++;
    return status;
  }

  #run(values: Values, handler: Handler): number {
    if (this.#context.strict) {
      for (const [name, value] of Object.entries(values)) {
        if (!/^(reserved|padding|unused)/.test(name)) continue;
        if (typeof value === "object" ? value.some((byte) => byte !== 0) : Number(value) !== 0) {
          return STATUS.INVALID_ARGUMENT;
        }
      }
    }
    return handler(values);
  }

  #verify(values: Values): number {
    const info = new Uint8Array(gve_driver_info.size);
    if (Number(values["driver_info_len"]) < info.length) return STATUS.INVALID_ARGUMENT;
    if (!this.#context.space.read(Number(values["driver_info_addr"]), info)) return STATUS.INVALID_ARGUMENT;
    this.#capabilities = BigInt(gve_driver_info.decode(info)["capability_flags0"] as bigint);
    return STATUS.PASSED;
  }

  #describe(values: Values): number {
    if (values["device_descriptor_version"] !== 1) return STATUS.INVALID_ARGUMENT;
    const bytes = describe(this.#settings);
    if (bytes.length > Number(values["available_length"])) return STATUS.OUT_OF_RANGE;
    return this.#answer(values["device_descriptor_addr"], bytes);
  }

  #configure(values: Values): number {
    if (this.#resources) return STATUS.ALREADY_EXISTS;
    const { space } = this.#context;
    const format = Number(values["queue_format"]);
    const offered = this.#settings.offer.map(({ id }) => FORMAT_OPTIONS.get(id));
    // Older drivers send no format: they know GQI only.
    const wanted = format === QUEUE_FORMAT.UNSPECIFIED ? QUEUE_FORMAT.GQI_QPL : format;
    if (!offered.includes(wanted)) return STATUS.INVALID_ARGUMENT;
    const counters = Number(values["num_counters"]);
    const cells = Number(values["num_irq_dbs"]);
    const stride = Number(values["irq_db_stride"]);
    const cellAddress = Number(values["irq_db_addr"]);
    const counterArray = Number(values["counter_array"]);
    if (cells > MAX_IRQS || counters > 0xffff) return STATUS.OUT_OF_RANGE;
    if (cells > 0 && stride < gve_irq_db_index.size) return STATUS.INVALID_ARGUMENT;
    if (counters > 0 && !space.contiguous(counterArray, counters * gve_event_counter.size, WRITE)) {
      return STATUS.INVALID_ARGUMENT;
    }
    const base = Number(values["ntfy_blk_msix_base_idx"]);
    const blocks: NotifyBlock[] = [];
    for (let i = 0; i < cells; i++) {
      const word = FIRST_IRQ_WORD + i;
      const cell = gve_irq_db_index.encode({ bar2_word_index: word });
      if (!space.write(cellAddress + i * stride, cell)) return STATUS.INVALID_ARGUMENT;
      blocks.push({ vector: base + i, word, armed: false, pending: false });
    }
    this.#resources = { counterArray, counters, format: wanted, blocks, managementVector: base + cells };
    this.steering.reset(this.#settings.maxRxQueues);
    return STATUS.PASSED;
  }

  #deconfigure(): number {
    if (!this.#resources || this.tx.length + this.rx.length > 0) return STATUS.FAILED_PRECONDITION;
    this.#resources = undefined;
    return STATUS.PASSED;
  }

  #register(values: Values): number {
    const id = Number(values["page_list_id"]);
    const count = Number(values["num_pages"]);
    if (id === RAW_ADDRESSING || count === 0) return STATUS.INVALID_ARGUMENT;
    if (this.lists.has(id)) return STATUS.ALREADY_EXISTS;
    if (count + this.registeredPages > this.#settings.maxPages) return STATUS.RESOURCE_EXHAUSTED;
    const entries = new Uint8Array(count * gve_page_list_entry.size);
    if (!this.#context.space.read(Number(values["page_address_list_addr"]), entries)) {
      return STATUS.INVALID_ARGUMENT;
    }
    const view = new DataView(entries.buffer);
    const pages = Float64Array.from(
      { length: count },
      (_, i) => Number(view.getBigUint64(i * gve_page_list_entry.size)),
    );
    if (pages.some((address) => address % PAGE !== 0)) return STATUS.INVALID_ARGUMENT;
    this.lists.set(id, new PageList(id, pages, BigInt(values["page_size"] as bigint)));
    return STATUS.PASSED;
  }

  #unregister(values: Values): number {
    const id = Number(values["page_list_id"]);
    const list = this.lists.get(id);
    if (!list) return STATUS.NOT_FOUND;
    if (list.users > 0) return STATUS.FAILED_PRECONDITION;
    this.lists.delete(id);
    return STATUS.PASSED;
  }

  /** What is common to the creation of queues: a status, or where the list is. */
  #check(
    queues: readonly (TxQueue | RxQueue)[],
    most: number,
    values: Values,
  ): number | PageList | undefined {
    const resources = this.#resources;
    if (!resources) return STATUS.FAILED_PRECONDITION;
    const id = Number(values["queue_id"]);
    if (id >= most) return STATUS.OUT_OF_RANGE;
    if (queues.some(({ queue }) => queue === id)) return STATUS.ALREADY_EXISTS;
    const interrupt = Number(values["ntfy_id"]);
    if (resources.blocks.length === 0) {
      // Seen on the real device: without interrupt cells there can be one queue only.
      if (this.tx.length + this.rx.length > 0) return STATUS.RESOURCE_EXHAUSTED;
    } else if (interrupt >= resources.blocks.length) return STATUS.OUT_OF_RANGE;
    if (!this.#writable(values["queue_resources_addr"], gve_queue_resources.size)) {
      return STATUS.INVALID_ARGUMENT;
    }
    const listId = Number(values["queue_page_list_id"]);
    if (listId === RAW_ADDRESSING) {
      // FreeBSD creates DQO_QPL queues without naming the list it registered.
      return resources.format === QUEUE_FORMAT.GQI_QPL ? STATUS.INVALID_ARGUMENT : undefined;
    }
    if (!usesPageLists(resources.format)) return STATUS.INVALID_ARGUMENT;
    return this.lists.get(listId) ?? STATUS.NOT_FOUND;
  }

  #createTx(values: Values): number {
    const { maxTxQueues, txRing, seed, missRate, outOfOrder } = this.#settings;
    const list = this.#check(this.tx, maxTxQueues, values);
    if (typeof list === "number") return list;
    const { counterArray, counters, format } = this.#resources!;
    const queue = Number(values["queue_id"]);
    const ring = Number(values["tx_ring_addr"]);
    const word = FIRST_IRQ_WORD + MAX_IRQS + queue;
    const block = this.#block(values);
    if (isDqo(format)) {
      const size = Number(values["tx_ring_size"]);
      const completionSize = Number(values["tx_comp_ring_size"]);
      const completions = Number(values["tx_comp_ring_addr"]);
      const bad = sizeStatus(size, txRing) ?? sizeStatus(completionSize, txRing) ??
        this.#mapped(ring, size * gve_tx_pkt_desc_dqo.size, READ) ??
        this.#mapped(completions, completionSize * gve_tx_compl_desc.size, WRITE);
      if (bad !== undefined) return bad;
      const alternateMiss = (this.#capabilities & BigInt(CAPABILITY.ALT_MISS_COMPL)) !== 0n;
      const play = { missRate, outOfOrder, alternateMiss, seed };
      const options = { queue, ring, size, completions, completionSize, word, block, list, play };
      this.#context.doorbells[word] = 0;
      this.tx.push(new DqoTxDevice(this.#context, options));
    } else {
      const size = Number(values["tx_ring_size"]) || txRing.entries;
      const bad = sizeStatus(size, txRing) ?? this.#mapped(ring, size * gve_tx_pkt_desc.size, READ);
      if (bad !== undefined) return bad;
      if (queue >= counters) return STATUS.RESOURCE_EXHAUSTED;
      const counter = counterArray + queue * gve_event_counter.size;
      this.#context.doorbells[word] = 0;
      this.tx.push(new GqiTxDevice(this.#context, { queue, ring, size, counter, word, block, list }));
    }
    return this.#give(values, word, queue, list);
  }

  #createRx(values: Values): number {
    const { maxTxQueues, maxRxQueues, rxRing, seed, outOfOrder, completionBatch } = this.#settings;
    const list = this.#check(this.rx, maxRxQueues, values);
    if (typeof list === "number") return list;
    const { format } = this.#resources!;
    const queue = Number(values["queue_id"]);
    const ring = Number(values["rx_desc_ring_addr"]);
    const data = Number(values["rx_data_ring_addr"]);
    const bufferSize = Number(values["packet_buffer_size"]);
    const word = FIRST_IRQ_WORD + MAX_IRQS + maxTxQueues + queue;
    const block = this.#block(values);
    if (bufferSize < 64) return STATUS.INVALID_ARGUMENT;
    if (isDqo(format)) {
      const completionSize = Number(values["rx_ring_size"]);
      const size = Number(values["rx_buff_ring_size"]);
      const headerSize = Number(values["header_buffer_size"]);
      // The length field of a completion has 14 bits, that of headers 10.
      if (bufferSize > 0x3fff || headerSize > 0x3ff) return STATUS.OUT_OF_RANGE;
      const bad = sizeStatus(size, rxRing) ?? sizeStatus(completionSize, rxRing) ??
        (completionSize < size ? STATUS.INVALID_ARGUMENT : undefined) ??
        this.#mapped(ring, completionSize * gve_rx_compl_desc_dqo.size, WRITE) ??
        this.#mapped(data, size * gve_rx_desc_dqo.size, READ);
      if (bad !== undefined) return bad;
      this.#context.doorbells[word] = 0;
      this.rx.push(
        new DqoRxDevice(this.#context, {
          queue,
          completions: ring,
          completionSize,
          ring: data,
          size,
          bufferSize,
          headerSize,
          word,
          block,
          list,
          batch: completionBatch,
          outOfOrder,
          seed,
        }),
      );
    } else {
      const size = Number(values["rx_ring_size"]) || rxRing.entries;
      const bad = sizeStatus(size, rxRing) ?? this.#mapped(ring, size * gve_rx_desc.size, WRITE) ??
        this.#mapped(data, size * gve_rx_data_slot.size, READ);
      if (bad !== undefined) return bad;
      this.#context.doorbells[word] = 0;
      this.rx.push(
        new GqiRxDevice(this.#context, { queue, ring, slots: data, size, bufferSize, word, block, list }),
      );
    }
    this.rx.sort((a, b) => a.queue - b.queue);
    this.steers = this.rx.length > 1 ||
      this.rx.some((queue) => queue instanceof DqoRxDevice && queue.splitsHeaders);
    return this.#give(values, word, maxTxQueues + queue, list);
  }

  /** Tells the driver what its queue got. */
  #give(values: Values, word: number, counter: number, list: PageList | undefined): number {
    if (list) list.users++;
    const resources = gve_queue_resources.encode({ db_index: word, counter_index: counter });
    return this.#answer(values["queue_resources_addr"], resources);
  }

  #destroy(queues: (TxQueue | RxQueue)[], values: Values): number {
    const at = queues.findIndex(({ queue }) => queue === values["queue_id"]);
    const queue = queues[at];
    if (!queue) return STATUS.NOT_FOUND;
    // A queue that was stopped for the driver's fault is wedged until the next reset.
    if (queue.stopped) return STATUS.FAILED_PRECONDITION;
    const list = this.lists.get(queue.pageList);
    if (list) list.users--;
    queues.splice(at, 1);
    return STATUS.PASSED;
  }

  #setParameter(values: Values): number {
    if (values["parameter_type"] !== MTU_PARAMETER) return STATUS.INVALID_ARGUMENT;
    const mtu = Number(values["parameter_value"]);
    if (mtu < MIN_MTU || mtu > this.#settings.maxMtu) return STATUS.OUT_OF_RANGE;
    this.#mtu = mtu;
    return STATUS.PASSED;
  }

  #reportStats(values: Values): number {
    const length = Number(values["stats_report_len"]);
    const address = Number(values["stats_report_addr"]);
    if (length === 0 && address === 0) {
      this.#stats = undefined;
      return STATUS.PASSED;
    }
    if (length < gve_stats_report.size || !this.#writable(address, length)) return STATUS.INVALID_ARGUMENT;
    const interval = Number(values["interval"]);
    this.#stats = { address, length, interval, due: this.#context.clock.now() + interval };
    return STATUS.PASSED;
  }

  #reportLinkSpeed(values: Values): number {
    const bytes = gve_link_speed.encode({ bits_per_second: this.#settings.linkSpeed });
    return this.#answer(values["link_speed_address"], bytes);
  }

  #ptypeMap(values: Values): number {
    if (!isDqo(this.format)) return STATUS.FAILED_PRECONDITION;
    const map = packetTypeMap();
    if (Number(values["ptype_map_len"]) < map.length) return STATUS.OUT_OF_RANGE;
    return this.#answer(values["ptype_map_addr"], map);
  }

  #block(values: Values): NotifyBlock {
    return this.#resources!.blocks[Number(values["ntfy_id"])] ?? this.#silent;
  }

  #answer(address: unknown, bytes: Uint8Array): number {
    return this.#context.space.write(Number(address), bytes) ? STATUS.PASSED : STATUS.INVALID_ARGUMENT;
  }

  #writable(address: unknown, length: number): boolean {
    return this.#context.space.contiguous(Number(address), length, WRITE) !== undefined;
  }

  /** A status if a ring does not lie in memory as it must. */
  #mapped(address: number, length: number, access: number): number | undefined {
    return this.#context.space.contiguous(address, length, access) ? undefined : STATUS.INVALID_ARGUMENT;
  }
}

/** A status if a ring size is none, or out of bounds. */
function sizeStatus(size: number, bounds: { min: number; max: number }): number | undefined {
  if (!isPowerOfTwo(size)) return STATUS.INVALID_ARGUMENT;
  return size < bounds.min || size > bounds.max ? STATUS.OUT_OF_RANGE : undefined;
}
