/**
 * The device's side of the commands that create and destroy queues.
 *
 * @module
 */
import { READ, WRITE } from "../../core/address_space.ts";
import { isPowerOfTwo } from "../../core/index.ts";
import type { Values } from "../../core/layout.ts";
import { CAPABILITY, QUEUE_FORMAT, RAW_ADDRESSING, STATUS } from "./constants.ts";
import { DeviceCounters } from "./counters.ts";
import type { DeviceContext, NotifyBlock } from "./device_context.ts";
import type { DeviceSettings } from "./device_settings.ts";
import { DqoRxDevice } from "./dqo/rx_device.ts";
import { DqoTxDevice } from "./dqo/tx_device.ts";
import { isDqo, usesPageLists } from "./formats.ts";
import { GqiRxDevice } from "./gqi/rx_device.ts";
import { GqiTxDevice } from "./gqi/tx_device.ts";
import {
  gve_rx_compl_desc_dqo,
  gve_rx_desc_dqo,
  gve_tx_compl_desc,
  gve_tx_pkt_desc_dqo,
} from "./layout_dqo.ts";
import { gve_rx_data_slot, gve_rx_desc, gve_tx_pkt_desc } from "./layout_gqi.ts";
import { gve_event_counter, gve_queue_resources } from "./layout_records.ts";
import type { PageList } from "./page_list.ts";

/** BAR2 words: some unused, then those of interrupts, transmit queues, receive queues. */
export const FIRST_IRQ_WORD = 16;
/** Most interrupts. */
export const MAX_IRQS = 2048;

/** A transmit queue of either kind. */
export type TxQueue = GqiTxDevice | DqoTxDevice;
/** A receive queue of either kind. */
export type RxQueue = GqiRxDevice | DqoRxDevice;

/** Words of BAR2. */
export function doorbellWords(settings: DeviceSettings): number {
  return FIRST_IRQ_WORD + MAX_IRQS + settings.maxTxQueues + settings.maxRxQueues;
}

/** What CONFIGURE_DEVICE_RESOURCES gave the device. */
export interface Resources {
  /** Address of the event counters. */
  readonly counterArray: number;
  /** How many there are. */
  readonly counters: number;
  /** Queue format. */
  readonly format: number;
  /** Interrupts. */
  readonly blocks: readonly NotifyBlock[];
  /** Vector for what concerns the device as a whole. */
  readonly managementVector: number;
}

/** Carries out the commands. Each answers with a status. */
export class QueueCommands {
  /** Transmit queues in order of creation. */
  readonly tx: TxQueue[] = [];
  /** Receive queues in order of their numbers. */
  readonly rx: RxQueue[] = [];
  /** What each receive queue has counted, by its number, whether it exists now or not. */
  readonly rxCounters: readonly DeviceCounters[];
  /** What queues are made of, once there is anything. */
  resources: Resources | undefined;
  /** What the driver said that it can do. */
  capabilities = 0n;
  readonly #context: DeviceContext;
  readonly #settings: DeviceSettings;
  readonly #lists: ReadonlyMap<number, PageList>;
  /** What a queue without interrupts has. */
  readonly #silent: NotifyBlock = { vector: -1, word: 0, armed: false, pending: false };

  /** Starts without queues; those of a page list format find theirs in `lists`. */
  constructor(context: DeviceContext, settings: DeviceSettings, lists: ReadonlyMap<number, PageList>) {
    this.#context = context;
    this.#settings = settings;
    this.#lists = lists;
    this.rxCounters = Array.from({ length: settings.maxRxQueues }, () => new DeviceCounters());
  }

  /** Whether a queue has to be chosen for each frame, or its headers found. */
  get looks(): boolean {
    return this.rx.length > 1 || this.rx.some((queue) => queue instanceof DqoRxDevice && queue.splitsHeaders);
  }

  /** All queues are gone. */
  reset(): void {
    this.resources = undefined;
    this.capabilities = 0n;
    this.tx.length = 0;
    this.rx.length = 0;
  }

  /** CREATE_TX_QUEUE. */
  createTx(values: Values): number {
    const { maxTxQueues, txRing, seed, missRate, outOfOrder } = this.#settings;
    const list = this.#check(this.tx, maxTxQueues, values);
    if (typeof list === "number") return list;
    const { counterArray, counters, format } = this.resources!;
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
      const alternateMiss = (this.capabilities & BigInt(CAPABILITY.ALT_MISS_COMPL)) !== 0n;
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

  /** CREATE_RX_QUEUE. */
  createRx(values: Values): number {
    const { maxTxQueues, maxRxQueues, rxRing, seed, outOfOrder, completionBatch, countedBuffers } =
      this.#settings;
    const list = this.#check(this.rx, maxRxQueues, values);
    if (typeof list === "number") return list;
    const { format } = this.resources!;
    const queue = Number(values["queue_id"]);
    const ring = Number(values["rx_desc_ring_addr"]);
    const data = Number(values["rx_data_ring_addr"]);
    const bufferSize = Number(values["packet_buffer_size"]);
    const word = FIRST_IRQ_WORD + MAX_IRQS + maxTxQueues + queue;
    const block = this.#block(values);
    const context = { ...this.#context, counters: this.rxCounters[queue]! };
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
        new DqoRxDevice(context, {
          queue,
          completions: ring,
          completionSize,
          ring: data,
          size,
          bufferSize,
          headerSize,
          word,
          counted: countedBuffers,
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
        new GqiRxDevice(context, { queue, ring, slots: data, size, bufferSize, word, block, list }),
      );
    }
    this.rx.sort((a, b) => a.queue - b.queue);
    return this.#give(values, word, maxTxQueues + queue, list);
  }

  /** DESTROY_TX_QUEUE. */
  destroyTx(values: Values): number {
    return this.#destroy(this.tx, values);
  }

  /** DESTROY_RX_QUEUE. */
  destroyRx(values: Values): number {
    return this.#destroy(this.rx, values);
  }

  /** What is common to the creation of queues: a status, or where the list is. */
  #check(
    queues: readonly (TxQueue | RxQueue)[],
    most: number,
    values: Values,
  ): number | PageList | undefined {
    const resources = this.resources;
    if (!resources) return STATUS.FAILED_PRECONDITION;
    const id = Number(values["queue_id"]);
    if (id >= most) return STATUS.OUT_OF_RANGE;
    if (queues.some(({ queue }) => queue === id)) return STATUS.ALREADY_EXISTS;
    const interrupt = Number(values["ntfy_id"]);
    if (resources.blocks.length === 0) {
      // Seen on the real device: without interrupt cells there can be one queue only.
      if (this.tx.length + this.rx.length > 0) return STATUS.RESOURCE_EXHAUSTED;
    } else if (interrupt >= resources.blocks.length) return STATUS.OUT_OF_RANGE;
    const bad = this.#mapped(Number(values["queue_resources_addr"]), gve_queue_resources.size, WRITE);
    if (bad !== undefined) return bad;
    const listId = Number(values["queue_page_list_id"]);
    if (listId === RAW_ADDRESSING) {
      // FreeBSD creates DQO_QPL queues without naming the list it registered.
      return resources.format === QUEUE_FORMAT.GQI_QPL ? STATUS.INVALID_ARGUMENT : undefined;
    }
    if (!usesPageLists(resources.format)) return STATUS.INVALID_ARGUMENT;
    return this.#lists.get(listId) ?? STATUS.NOT_FOUND;
  }

  /** Tells the driver what its queue got. */
  #give(values: Values, word: number, counter: number, list: PageList | undefined): number {
    if (list) list.users++;
    const resources = gve_queue_resources.encode({ db_index: word, counter_index: counter });
    const written = this.#context.space.write(Number(values["queue_resources_addr"]), resources);
    return written ? STATUS.PASSED : STATUS.INVALID_ARGUMENT;
  }

  #destroy(queues: (TxQueue | RxQueue)[], values: Values): number {
    const at = queues.findIndex(({ queue }) => queue === values["queue_id"]);
    const queue = queues[at];
    if (!queue) return STATUS.NOT_FOUND;
    // A queue that was stopped for the driver's fault is wedged until the next reset.
    if (queue.stopped) return STATUS.FAILED_PRECONDITION;
    const list = this.#lists.get(queue.pageList);
    if (list) list.users--;
    queues.splice(at, 1);
    return STATUS.PASSED;
  }

  #block(values: Values): NotifyBlock {
    return this.resources!.blocks[Number(values["ntfy_id"])] ?? this.#silent;
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
