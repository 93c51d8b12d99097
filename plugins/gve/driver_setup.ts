/**
 * The first part of the driver's bring-up: admin queue, description, resources, and what a driver can do without.
 *
 * @module
 */
import type { Allocation, DmaMemory } from "../../core/dma_memory.ts";
import { MICROSOFT_RSS_KEY } from "../../core/toeplitz.ts";
import { AdminQueue } from "./admin_queue.ts";
import {
  CAPABILITY,
  FEATURE,
  MTU_PARAMETER,
  OPCODE,
  PACKET_TYPES,
  PAGE,
  RSS_ALGORITHM,
  RSS_LUT_SIZE,
  STATUS,
} from "./constants.ts";
import type { DriverSettings } from "./driver_settings.ts";
import { DriverStatistics, statisticsLength } from "./driver_statistics.ts";
import { driverFault } from "./faults.ts";
import { isDqo, usesPageLists } from "./formats.ts";
import * as layout from "./layout_admin.ts";
import {
  gve_driver_info,
  gve_event_counter,
  gve_irq_db_index,
  gve_link_speed,
  gve_ptype_entry,
  gve_rss_lut_entry,
} from "./layout_records.ts";
import { negotiate, type Negotiated } from "./negotiation.ts";
import type { DriverContext } from "./queue_context.ts";
import { type Bus, read32 } from "./registers.ts";

const VERSION = "GVE-ringpipe\n";
const OS_LINUX = gve_driver_info.field("os_type").values!["LINUX"]!;
/** Milliseconds between two reports of statistics. */
const STATS_INTERVAL = 20000;
const PTYPE = gve_ptype_entry.size;
const L3_TYPE = gve_ptype_entry.offsetOf("l3_type");
const L4_TYPE = gve_ptype_entry.offsetOf("l4_type");
const LARGEST_L3 = 3;
const LARGEST_L4 = 5;

/** Cells of memory that driver and device share, and records in them, start at a multiple of this. */
export const CELL = 64;

/** A device that is ready to be given queues. */
export class DriverSetup {
  /** Queue format. */
  readonly format: number;
  /** Whether it is DQO. */
  readonly dqo: boolean;
  /** Whether its queues have page lists. */
  readonly pageLists: boolean;
  /** What the device told of itself. */
  readonly device: Negotiated;
  /** Entries of transmit rings. */
  readonly txRing: number;
  /** Entries of receive rings. */
  readonly rxRing: number;
  /** Queues of each direction: as many as are wanted, as far as the device has them. */
  readonly queues: number;
  /** Bits per second, or 0 if the device did not say. */
  readonly linkSpeed: bigint;
  /** The event counters. */
  readonly counterArray: Allocation;
  /** Byte offsets in BAR2 of the notify blocks' doorbells. */
  readonly irqDoorbells: readonly number[];
  /** Packet type map, empty where there is none. */
  readonly packetTypes: Uint8Array;
  /** The statistics block, if the device takes one. */
  readonly statistics: DriverStatistics | undefined;
  /** The admin queue. */
  readonly admin: AdminQueue;
  /** The driver's memory. */
  readonly dma: DmaMemory;
  readonly #bus: Bus;
  readonly #context: DriverContext;
  readonly #settings: DriverSettings;
  readonly #doorbells = new Set<number>();

  /** Carries it all out. */
  constructor(bus: Bus, dma: DmaMemory, context: DriverContext, settings: DriverSettings) {
    this.#bus = bus;
    this.dma = dma;
    this.#context = context;
    this.#settings = settings;
    for (let i = 0; i < VERSION.length; i++) {
      bus.bar0.write(layout.gve_registers.offsetOf("driver_version"), 1, VERSION.charCodeAt(i));
    }
    const { bar0 } = bus;
    const txQueues = read32(bar0, layout.gve_registers.offsetOf("max_tx_queues"));
    const rxQueues = read32(bar0, layout.gve_registers.offsetOf("max_rx_queues"));
    this.queues = Math.max(1, Math.min(settings.queues, txQueues, rxQueues));
    this.admin = new AdminQueue(bar0, dma, settings, context.counters);
    this.admin.attach();
    if (settings.kind === "linux") this.#verify();
    const device = this.device = this.#describe();
    this.format = device.format;
    context.counters.optionsSkipped = device.skipped.length;
    this.dqo = isDqo(device.format);
    this.pageLists = usesPageLists(device.format);
    this.txRing = this.#ringSize(device.txRing, settings.txRing);
    this.rxRing = this.#ringSize(device.rxRing, settings.rxRing);
    this.counterArray = this.allocate(Math.max(device.counters, 1) * gve_event_counter.size, PAGE);
    this.irqDoorbells = this.#configure();
    this.packetTypes = this.dqo && settings.kind === "linux" ? this.#fetchPacketTypes() : new Uint8Array(0);
    // iPXE does without these.
    const linux = settings.kind === "linux";
    this.statistics = linux ? this.#reportStatistics() : undefined;
    this.linkSpeed = linux ? this.#askLinkSpeed() : 0n;
    if (settings.mtu > 0) this.#setMtu(settings.mtu);
    if (this.queues > 1 && device.features & FEATURE.RSS_CONFIG) this.#configureRss(this.queues);
  }

  /** Byte offset of a doorbell, which must lie in BAR2 and belong to nobody else. */
  doorbell(index: number, owner: string): number {
    if (index * 4 + 4 > this.#bus.bar2Size) {
      throw driverFault(owner, "doorbell-index", 0, { db_index: index, words: this.#bus.bar2Size / 4 });
    }
    if (this.#settings.strict && this.#doorbells.has(index)) {
      throw driverFault(owner, "doorbell-shared", 0, { db_index: index });
    }
    this.#doorbells.add(index);
    return index * 4;
  }

  /** Memory of the driver's, never given out before. */
  allocate(size: number, alignment: number): Allocation {
    return this.dma.allocate(size, alignment);
  }

  /** A copy: what the device shows is read once. */
  get(place: Allocation): Uint8Array {
    return this.dma.memory.bytes.slice(place.offset, place.offset + place.size);
  }

  #verify(): void {
    const info = this.allocate(gve_driver_info.size, CELL);
    const capabilities = CAPABILITY.GQI_QPL | CAPABILITY.GQI_RDA | CAPABILITY.DQO_RDA | CAPABILITY.DQO_QPL |
      CAPABILITY.ALT_MISS_COMPL | CAPABILITY.FLEXIBLE_BUFFER_SIZE | CAPABILITY.FLEXIBLE_RSS_SIZE;
    this.#put(
      info,
      gve_driver_info.encode({ os_type: OS_LINUX, driver_major: 1, capability_flags0: capabilities }),
    );
    const status = this.admin.execute(
      OPCODE.VERIFY_DRIVER_COMPATIBILITY,
      layout.verify_driver_compatibility,
      { driver_info_len: gve_driver_info.size, driver_info_addr: info.address },
    );
    // Older devices do not know the command.
    if (status !== STATUS.UNIMPLEMENTED) this.admin.require(status, "verify_driver_compatibility");
  }

  #describe(): Negotiated {
    const page = this.allocate(PAGE, PAGE);
    const status = this.admin.execute(OPCODE.DESCRIBE_DEVICE, layout.describe_device, {
      device_descriptor_addr: page.address,
      device_descriptor_version: 1,
      available_length: PAGE,
    });
    this.admin.require(status, "describe_device");
    return negotiate(this.get(page), this.#settings.kind, this.#settings.strict);
  }

  #ringSize(bounds: { entries: number; min: number; max: number }, wanted: number): number {
    if ((this.device.features & FEATURE.MODIFY_RING) === 0) return bounds.entries;
    return Math.max(bounds.min, Math.min(bounds.max, wanted));
  }

  /** Gives the device counters and interrupt cells: a block for each queue. Returns the blocks' doorbells. */
  #configure(): number[] {
    const blocks = 2 * this.queues;
    const cells = this.allocate(blocks * CELL, PAGE);
    const status = this.admin.execute(
      OPCODE.CONFIGURE_DEVICE_RESOURCES,
      layout.configure_device_resources,
      {
        counter_array: this.counterArray.address,
        irq_db_addr: cells.address,
        num_counters: this.device.counters,
        num_irq_dbs: blocks,
        irq_db_stride: CELL,
        ntfy_blk_msix_base_idx: 0,
        queue_format: this.format,
      },
    );
    this.admin.require(status, "configure_device_resources");
    const bytes = this.get(cells);
    return Array.from({ length: blocks }, (_, i) => {
      const { bar2_word_index } = gve_irq_db_index.decode(bytes, i * CELL, gve_irq_db_index.size);
      return this.doorbell(Number(bar2_word_index), `interrupt${i}`);
    });
  }

  #fetchPacketTypes(): Uint8Array {
    const length = PACKET_TYPES * PTYPE;
    const map = this.allocate(length, PAGE);
    const status = this.admin.execute(OPCODE.GET_PTYPE_MAP, layout.get_ptype_map, {
      ptype_map_len: length,
      ptype_map_addr: map.address,
    });
    this.admin.require(status, "get_ptype_map");
    const bytes = this.get(map);
    if (!this.#settings.strict) return bytes;
    for (let at = 0; at < length; at += PTYPE) {
      const l3_type = bytes[at + L3_TYPE]!;
      const l4_type = bytes[at + L4_TYPE]!;
      if (l3_type > LARGEST_L3 || l4_type > LARGEST_L4) {
        throw driverFault("adminq", "packet-type", at / PTYPE, { l3_type, l4_type });
      }
    }
    return bytes;
  }

  #reportStatistics(): DriverStatistics | undefined {
    const report = this.allocate(statisticsLength(this.queues), PAGE);
    const status = this.admin.execute(OPCODE.REPORT_STATS, layout.report_stats, {
      stats_report_len: report.size,
      stats_report_addr: report.address,
      interval: STATS_INTERVAL,
    });
    if (status !== STATUS.PASSED) return undefined;
    return new DriverStatistics(this.#context.clock, this.#context.memory, report, STATS_INTERVAL);
  }

  #askLinkSpeed(): bigint {
    const speed = this.allocate(gve_link_speed.size, CELL);
    const status = this.admin.execute(OPCODE.REPORT_LINK_SPEED, layout.report_link_speed, {
      link_speed_address: speed.address,
    });
    if (status !== STATUS.PASSED) return 0n;
    return gve_link_speed.decode(this.get(speed))["bits_per_second"] as bigint;
  }

  #setMtu(mtu: number): void {
    const status = this.admin.execute(OPCODE.SET_DRIVER_PARAMETER, layout.set_driver_parameter, {
      parameter_type: MTU_PARAMETER,
      parameter_value: mtu,
    });
    this.admin.require(status, "set_driver_parameter");
  }

  #configureRss(queues: number): void {
    const key = this.allocate(MICROSOFT_RSS_KEY.length, CELL);
    this.#put(key, Uint8Array.from(MICROSOFT_RSS_KEY));
    const table = this.allocate(RSS_LUT_SIZE * gve_rss_lut_entry.size, CELL);
    for (let i = 0; i < RSS_LUT_SIZE; i++) {
      const entry = gve_rss_lut_entry.encode({ queue: i % queues });
      this.dma.memory.bytes.set(entry, table.offset + i * entry.length);
    }
    const status = this.admin.execute(OPCODE.CONFIGURE_RSS, layout.configure_rss, {
      hash_alg: RSS_ALGORITHM.TOEPLITZ,
      hash_key_size: MICROSOFT_RSS_KEY.length,
      hash_lut_size: RSS_LUT_SIZE,
      hash_key_addr: key.address,
      hash_lut_addr: table.address,
    });
    this.admin.require(status, "configure_rss");
  }

  #put(place: Allocation, bytes: Uint8Array): void {
    this.dma.memory.bytes.set(bytes, place.offset);
  }
}
