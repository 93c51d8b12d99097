/**
 * A driver that writes raw bytes: for holding the device half against what a broken or hostile driver does.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { ManualClock } from "../../core/clock.ts";
import { Frame } from "../../core/frame.ts";
import { LocalHost } from "../../core/host.ts";
import type { Struct, ValuesInput } from "../../core/layout.ts";
import { type OptionValue, OptionValues } from "../../core/options.ts";
import gve, * as g from "../../plugins/gve/mod.ts";
import { read32, swap32, write32 } from "../../plugins/gve/registers.ts";

const PAGE = 4096;
const registers = g.gve_registers;

/** What was created. */
export interface RawQueue {
  /** Address of the ring that the driver writes: descriptors, slots or buffers. */
  readonly ring: number;
  /** Address of the ring that the device writes. */
  readonly completions: number;
  /** Byte offset of the doorbell. */
  readonly doorbell: number;
  /** Address of the event counter. */
  readonly counter: number;
}

/** A device half, and memory to write into. */
export class RawDriver {
  readonly clock = new ManualClock();
  readonly host = new LocalHost({ clock: this.clock });
  readonly device: g.GveDevice;
  /** Interrupts so far. */
  readonly interrupts: number[] = [];
  /** Frames that reached the wire. */
  readonly frames: Uint8Array[] = [];
  /** Whether the wire takes frames. */
  open = true;
  readonly dqo: boolean;
  readonly qpl: boolean;
  readonly #format: number;
  readonly #admin: number;
  #posted = 0;
  #counters = 0;
  /** Where the next frame's bytes go. */
  readonly buffer: number;

  constructor(options: Readonly<Record<string, OptionValue>>) {
    const settings = g.settingsFrom(new OptionValues(gve.options, options));
    this.#format = settings.format!;
    this.dqo = this.#format >= g.QUEUE_FORMAT.DQO_RDA;
    this.qpl = this.#format === g.QUEUE_FORMAT.GQI_QPL || this.#format === g.QUEUE_FORMAT.DQO_QPL;
    this.device = new g.GveDevice(
      this.host.space,
      settings.device,
      (vector) => this.interrupts.push(vector),
      this.clock,
    );
    this.#admin = this.page();
    this.buffer = this.pages(32);
    this.attach();
  }

  /** Fresh memory. */
  pages(count: number): number {
    return this.host.dma.allocate(count * PAGE, PAGE).address;
  }
  page(): number {
    return this.pages(1);
  }

  /** Attaches the admin queue by its page frame number. */
  attach(): void {
    this.#posted = 0;
    write32(this.device.bar0, registers.offsetOf("adminq_pfn"), this.#admin / PAGE);
  }

  /** Address of the admin queue. */
  get adminQueue(): number {
    return this.#admin;
  }

  /** Commands that the device says it completed. */
  get eventCounter(): number {
    return read32(this.device.bar0, registers.offsetOf("adminq_event_counter"));
  }

  /** Writes bytes at an address. */
  put(address: number, bytes: Uint8Array): void {
    this.host.memory.bytes.set(bytes, address + this.host.dma.region.delta);
  }

  /** Bytes at an address. */
  get(address: number, length: number): Uint8Array<ArrayBuffer> {
    const at = address + this.host.dma.region.delta;
    return this.host.memory.bytes.slice(at, at + length);
  }

  /** Writes a command into the next slot. Returns the slot's address. */
  post(opcode: number, command: Struct, values: ValuesInput): number {
    const slot = this.#admin + (this.#posted++ % 64) * 64;
    this.put(slot, command.encode({ ...values, opcode }));
    return slot;
  }

  /** Rings the admin doorbell. */
  ringAdmin(count = this.#posted): void {
    write32(this.device.bar0, registers.offsetOf("adminq_doorbell"), count);
  }

  /** Posts a command and returns its status. */
  command(opcode: number, command: Struct, values: ValuesInput = {}): number {
    const slot = this.post(opcode, command, values);
    this.ringAdmin();
    return Number(g.gve_adminq_command.decode(this.get(slot, 64))["status"]);
  }

  /** CONFIGURE_DEVICE_RESOURCES. */
  configure(values: ValuesInput = {}): number {
    this.#counters = this.page();
    return this.command(g.OPCODE.CONFIGURE_DEVICE_RESOURCES, g.configure_device_resources, {
      counter_array: this.#counters,
      irq_db_addr: this.page(),
      num_counters: 8,
      num_irq_dbs: 4,
      irq_db_stride: 64,
      queue_format: this.#format,
      ...values,
    });
  }

  /** REGISTER_PAGE_LIST of these pages. */
  register(id: number, pages: readonly (number | bigint)[], values: ValuesInput = {}): number {
    const list = this.page();
    pages.forEach((addr, i) => this.put(list + i * 8, g.gve_page_list_entry.encode({ addr })));
    return this.command(g.OPCODE.REGISTER_PAGE_LIST, g.register_page_list_24, {
      page_list_id: id,
      num_pages: pages.length,
      page_address_list_addr: list,
      ...values,
    });
  }

  /** CREATE_TX_QUEUE: the status and, if it passed, the queue. */
  createTx(size = 64, values: ValuesInput = {}): [number, RawQueue] {
    const resources = this.page();
    const ring = this.pages(4);
    const completions = this.pages(2);
    const status = this.command(g.OPCODE.CREATE_TX_QUEUE, g.create_tx_queue, {
      queue_resources_addr: resources,
      tx_ring_addr: ring,
      queue_page_list_id: this.qpl ? 1 : g.RAW_ADDRESSING,
      tx_comp_ring_addr: this.dqo ? completions : 0,
      tx_ring_size: size,
      tx_comp_ring_size: this.dqo ? size : 0,
      ...values,
    });
    return [status, this.#queue(resources, ring, completions)];
  }

  /** CREATE_RX_QUEUE: the status and, if it passed, the queue. */
  createRx(size = 64, values: ValuesInput = {}): [number, RawQueue] {
    const resources = this.page();
    const ring = this.pages(4);
    const completions = this.pages(8);
    const status = this.command(g.OPCODE.CREATE_RX_QUEUE, g.create_rx_queue, {
      queue_resources_addr: resources,
      rx_desc_ring_addr: completions,
      rx_data_ring_addr: ring,
      queue_page_list_id: this.qpl ? 1 : g.RAW_ADDRESSING,
      rx_ring_size: size,
      rx_buff_ring_size: this.dqo ? size : 0,
      packet_buffer_size: 2048,
      ntfy_id: 1,
      ...values,
    });
    return [status, this.#queue(resources, ring, completions)];
  }

  #queue(resources: number, ring: number, completions: number): RawQueue {
    const given = g.gve_queue_resources.decode(this.get(resources, 64));
    return {
      ring,
      completions,
      doorbell: Number(given["db_index"]) * 4,
      counter: this.#counters + Number(given["counter_index"]) * 4,
    };
  }

  /** Rings a queue's doorbell. */
  ring(queue: RawQueue, value: number): void {
    this.device.bar2.write(queue.doorbell, 4, this.dqo ? value : swap32(value));
  }

  /** Lets the device transmit. */
  service(): number {
    return this.device.service({
      transmit: (frame: Frame) => {
        if (this.open) this.frames.push(joined(frame));
        return this.open;
      },
      drop: () => {},
    });
  }

  /** Lets a frame arrive. */
  deliver(bytes: Uint8Array): number {
    const frame = new Frame();
    frame.push(bytes, 0, bytes.length);
    return this.device.deliver(frame);
  }
}

/** A frame's bytes. */
export function joined(frame: Frame): Uint8Array {
  const parts: number[] = [];
  for (let i = 0; i < frame.pieces; i++) {
    parts.push(...frame.bytes[i]!.subarray(frame.offsets[i]!, frame.offsets[i]! + frame.lengths[i]!));
  }
  return Uint8Array.from(parts);
}

/** A device with resources, a page list 1 if the format has them, and a transmit queue. */
export function transmitting(
  options: Readonly<Record<string, OptionValue>>,
  size = 64,
): { raw: RawDriver; queue: RawQueue; list: number[] } {
  const raw = new RawDriver(options);
  assertEquals(raw.configure(), g.STATUS.PASSED);
  const list = Array.from({ length: 4 }, () => raw.page()).reverse();
  if (raw.qpl) assertEquals(raw.register(1, list), g.STATUS.PASSED);
  const [status, queue] = raw.createTx(size);
  assertEquals(status, g.STATUS.PASSED);
  return { raw, queue, list };
}

/** The same with a receive queue. */
export function receiving(
  options: Readonly<Record<string, OptionValue>>,
  values: ValuesInput = {},
): { raw: RawDriver; queue: RawQueue; list: number[] } {
  const raw = new RawDriver(options);
  assertEquals(raw.configure(), g.STATUS.PASSED);
  const list = Array.from({ length: 4 }, () => raw.page()).reverse();
  if (raw.qpl) assertEquals(raw.register(1, list), g.STATUS.PASSED);
  const [status, queue] = raw.createRx(64, values);
  assertEquals(status, g.STATUS.PASSED);
  return { raw, queue, list };
}
