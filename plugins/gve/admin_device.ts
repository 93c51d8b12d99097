/**
 * The device's side of the admin queue: takes commands in order, carries them out and answers with a status.
 *
 * @module
 */
import { READ_WRITE, WRITE } from "../../core/address_space.ts";
import type { Frame } from "../../core/frame.ts";
import { distance32 } from "../../core/index.ts";
import type { Struct, Values } from "../../core/layout.ts";
import { Memory } from "../../core/memory.ts";
import { ADMIN_SLOTS, MTU_PARAMETER, OPCODE, PAGE, QUEUE_FORMAT, STATUS } from "./constants.ts";
import type { DeviceCounters } from "./counters.ts";
import type { DeviceContext, NotifyBlock } from "./device_context.ts";
import { describe } from "./device_records.ts";
import type { DeviceSettings } from "./device_settings.ts";
import { DeviceStatistics } from "./device_statistics.ts";
import { deviceFault } from "./faults.ts";
import { FORMAT_OPTIONS, isDqo } from "./formats.ts";
import * as layout from "./layout_admin.ts";
import { gve_driver_info, gve_event_counter, gve_irq_db_index, gve_link_speed } from "./layout_records.ts";
import { longestFrame, longestUntagged, MTU_HEADERS } from "./mtu.ts";
import { type PageList, PageListCommands } from "./page_list.ts";
import {
  FIRST_IRQ_WORD,
  MAX_IRQS,
  QueueCommands,
  type Resources,
  type RxQueue,
  type TxQueue,
} from "./queue_commands.ts";
import { FlowSteering, packetTypeMap, RssCommands } from "./rss.ts";

const SLOT = layout.gve_adminq_command.size;
const OPCODE_AT = layout.gve_adminq_command.offsetOf("opcode");
const STATUS_AT = layout.gve_adminq_command.offsetOf("status");
const CAPABILITIES = gve_driver_info.offsetOf("capability_flags0");
/** Smallest MTU that drivers accept. */
const MIN_MTU = 68;
/** What names of fields begin with that must be zero. */
const RESERVED: readonly string[] = ["reserved", "padding", "unused"];

/** What the device is told. */
export interface AdminEvents {
  /** So many commands have been completed. */
  completed(count: number): void;
  /** The driver has written the statistics that it was asked for. */
  reported(): void;
}

type Handler = (values: Values) => number;

/** The admin queue and all that its commands make. */
export class AdminDevice {
  /** Transmit queues in order of creation. */
  readonly tx: readonly TxQueue[];
  /** Receive queues in order of their numbers. */
  readonly rx: readonly RxQueue[];
  /** What each receive queue has counted, by its number. */
  readonly rxCounters: readonly DeviceCounters[];
  /** Chosen queue format, or unspecified. */
  format: number = QUEUE_FORMAT.UNSPECIFIED;
  /** Whether it is DQO. */
  dqo = false;
  /** The notify blocks. */
  blocks: readonly NotifyBlock[] = [];
  /** Whether the device has to look into frames before it delivers them. */
  steers = false;
  /** Longest frame that the MTU allows whatever is in it. The driver has to set an MTU for there to be one. */
  longestPlain = Infinity;
  /** Page lists by id. */
  readonly lists: ReadonlyMap<number, PageList>;
  /** Receive side scaling. */
  readonly steering: FlowSteering = new FlowSteering();
  readonly #events: AdminEvents;
  readonly #context: DeviceContext;
  readonly #settings: DeviceSettings;
  readonly #pageLists: PageListCommands;
  readonly #queues: QueueCommands;
  readonly #rss: RssCommands;
  readonly #statistics: DeviceStatistics;
  readonly #handlers: ReadonlyMap<number, readonly [Struct, Handler]>;
  /** Address of the queue, or -1. */
  #address = -1;
  #done = 0;
  #mtu: number;
  readonly #head = new Memory(MTU_HEADERS);

  /** Starts without a queue. */
  constructor(context: DeviceContext, settings: DeviceSettings, events: AdminEvents) {
    this.#context = context;
    this.#settings = settings;
    this.#events = events;
    this.#mtu = settings.mtu;
    const pageLists = this.#pageLists = new PageListCommands(context.space, settings.maxPages);
    const queues = this.#queues = new QueueCommands(context, settings, pageLists.lists);
    const statistics = new DeviceStatistics(context.space, context.clock, () => events.reported());
    this.#statistics = statistics;
    this.lists = pageLists.lists;
    this.tx = queues.tx;
    this.rx = queues.rx;
    this.rxCounters = queues.rxCounters;
    this.#rss = new RssCommands(context.space, this.steering, settings.maxRxQueues);
    const handlers: readonly (readonly [number, Struct, Handler])[] = [
      [OPCODE.DESCRIBE_DEVICE, layout.describe_device, (v) => this.#describe(v)],
      [OPCODE.CONFIGURE_DEVICE_RESOURCES, layout.configure_device_resources, (v) => this.#configure(v)],
      [OPCODE.REGISTER_PAGE_LIST, layout.register_page_list_24, (v) => pageLists.register(v)],
      [OPCODE.UNREGISTER_PAGE_LIST, layout.unregister_page_list, (v) => pageLists.unregister(v)],
      [OPCODE.CREATE_TX_QUEUE, layout.create_tx_queue, (v) => queues.createTx(v)],
      [OPCODE.CREATE_RX_QUEUE, layout.create_rx_queue, (v) => queues.createRx(v)],
      [OPCODE.DESTROY_TX_QUEUE, layout.destroy_tx_queue, (v) => queues.destroyTx(v)],
      [OPCODE.DESTROY_RX_QUEUE, layout.destroy_rx_queue, (v) => queues.destroyRx(v)],
      [OPCODE.DECONFIGURE_DEVICE_RESOURCES, layout.deconfigure_device_resources, () => this.#deconfigure()],
      [OPCODE.CONFIGURE_RSS, layout.configure_rss, (v) => this.#rss.configure(v)],
      [OPCODE.SET_DRIVER_PARAMETER, layout.set_driver_parameter, (v) => this.#setParameter(v)],
      [OPCODE.REPORT_STATS, layout.report_stats, (v) => statistics.attach(v)],
      [OPCODE.REPORT_LINK_SPEED, layout.report_link_speed, (v) => this.#reportLinkSpeed(v)],
      [OPCODE.GET_PTYPE_MAP, layout.get_ptype_map, (v) => this.#ptypeMap(v)],
      [OPCODE.VERIFY_DRIVER_COMPATIBILITY, layout.verify_driver_compatibility, (v) => this.#verify(v)],
      [OPCODE.QUERY_RSS, layout.query_rss, (v) => this.#rss.query(v)],
    ];
    this.#handlers = new Map(handlers.map(([opcode, struct, handler]) => [opcode, [struct, handler]]));
  }

  /** Vector for what concerns the device as a whole, or -1. */
  get managementVector(): number {
    return this.#queues.resources?.managementVector ?? -1;
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
    this.#statistics.detach();
    this.#mtu = this.#settings.mtu;
    this.longestPlain = Infinity;
    this.steers = false;
    this.#queues.reset();
    this.#give(undefined);
    this.#pageLists.lists.clear();
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
      this.#events.completed(this.#done);
    }
  }

  /** Asks the driver, through `device_status`, to write its statistics; the device's own follow. */
  askForStatistics(): void {
    this.#statistics.ask();
  }

  /** Writes the device's part of the statistics block, if there is one and its time has come. */
  updateStatistics(): void {
    if (!this.#statistics.attached) return;
    this.#statistics.update(this.tx.length, this.rx.map(({ queue }) => queue), this.rxCounters);
  }

  /** Whether a frame is longer than the MTU allows that the driver has set. If it has set none, no frame is. */
  overMtu(frame: Frame): boolean {
    if (frame.length <= this.longestPlain) return false;
    const looked = Math.min(frame.length, MTU_HEADERS);
    frame.copyTo(this.#head, 0, 0, looked);
    return frame.length > longestFrame(this.#mtu, this.#head.bytes, 0, looked);
  }

  #execute(slot: Uint8Array): number {
    const opcode = new DataView(slot.buffer).getUint32(OPCODE_AT);
    const { counters } = this.#context;
    counters.command(opcode);
    const known = this.#handlers.get(opcode);
    const status = known ? this.#run(known[0].decode(slot), known[1]) : STATUS.UNIMPLEMENTED;
    this.steers = this.#queues.looks;
    if (status !== STATUS.PASSED) counters.failed++;
    return status;
  }

  #run(values: Values, handler: Handler): number {
    if (this.#context.strict) {
      for (const [name, value] of Object.entries(values)) {
        if (!RESERVED.some((prefix) => name.startsWith(prefix))) continue;
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
    this.#queues.capabilities = new DataView(info.buffer).getBigUint64(CAPABILITIES);
    return STATUS.PASSED;
  }

  #describe(values: Values): number {
    if (values["device_descriptor_version"] !== 1) return STATUS.INVALID_ARGUMENT;
    const bytes = describe(this.#settings);
    if (bytes.length > Number(values["available_length"])) return STATUS.OUT_OF_RANGE;
    return this.#answer(values["device_descriptor_addr"], bytes);
  }

  #configure(values: Values): number {
    if (this.#queues.resources) return STATUS.ALREADY_EXISTS;
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
    this.#give({ counterArray, counters, format: wanted, blocks, managementVector: base + cells });
    this.steering.reset(this.#settings.maxRxQueues);
    return STATUS.PASSED;
  }

  #deconfigure(): number {
    if (!this.#queues.resources || this.tx.length + this.rx.length > 0) return STATUS.FAILED_PRECONDITION;
    this.#give(undefined);
    return STATUS.PASSED;
  }

  /** Queues are made of this from now on, if of anything. */
  #give(resources: Resources | undefined): void {
    this.#queues.resources = resources;
    this.format = resources?.format ?? QUEUE_FORMAT.UNSPECIFIED;
    this.dqo = isDqo(this.format);
    this.blocks = resources?.blocks ?? [];
  }

  #setParameter(values: Values): number {
    if (values["parameter_type"] !== MTU_PARAMETER) return STATUS.INVALID_ARGUMENT;
    const mtu = Number(values["parameter_value"]);
    if (mtu < MIN_MTU || mtu > this.#settings.maxMtu) return STATUS.OUT_OF_RANGE;
    this.#mtu = mtu;
    this.longestPlain = longestUntagged(mtu);
    return STATUS.PASSED;
  }

  #reportLinkSpeed(values: Values): number {
    const bytes = gve_link_speed.encode({ bits_per_second: this.#settings.linkSpeed });
    return this.#answer(values["link_speed_address"], bytes);
  }

  #ptypeMap(values: Values): number {
    if (!this.dqo) return STATUS.FAILED_PRECONDITION;
    const map = packetTypeMap();
    if (Number(values["ptype_map_len"]) < map.length) return STATUS.OUT_OF_RANGE;
    return this.#answer(values["ptype_map_addr"], map);
  }

  #answer(address: unknown, bytes: Uint8Array): number {
    return this.#context.space.write(Number(address), bytes) ? STATUS.PASSED : STATUS.INVALID_ARGUMENT;
  }
}
