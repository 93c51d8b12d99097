/**
 * One queue of a frontend: how it is made, and what the backend is told of it by control messages.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import { MICROSOFT_RSS_KEY } from "../../core/toeplitz.ts";
import type { ControlClient } from "./control_ring.ts";
import type { FrontendSetup } from "./driver.ts";
import { RxFront } from "./driver_rx.ts";
import { TxFront } from "./driver_tx.ts";
import { packetPages } from "./frontend_options.ts";
import type { GrantEntries } from "./grant_entries.ts";
import { HASH_FLAGS, HASH_MAPPING_SIZE } from "./hash.ts";
import {
  ETHERNET_HEADER,
  PAGE_SIZE,
  XEN_NETIF_CTRL_HASH_ALGORITHM,
  XEN_NETIF_CTRL_STATUS,
  XEN_NETIF_CTRL_TYPE,
  XEN_NETIF_MAX_TX_SIZE,
} from "./layout.ts";
import { initSharedRing } from "./shared_ring.ts";
import { addPools, ask, type MessagePage } from "./static_pool.ts";
import type { QueueKeys } from "./xenbus.ts";

const MAPPING_ENTRY = 4;

/** Both sides of a queue, and the keys by which the backend finds it. */
export interface FrontQueue extends QueueKeys {
  /** Its transmit side. */
  readonly tx: TxFront;
  /** Its receive side. */
  readonly rx: RxFront;
}

/** Makes a ring page, initialised: where it starts in the driver's memory. */
export function newRing(dma: DmaMemory): number {
  const { offset } = dma.allocate(PAGE_SIZE, PAGE_SIZE);
  initSharedRing(dma.memory, offset);
  return offset;
}

/**
 * Makes a queue: its rings, pages and event channels.
 *
 * @param setup What the frontend has around it.
 * @param grants Its grant table.
 * @param number The queue's number.
 * @param split Whether each ring has an event channel of its own.
 */
export function makeQueue(
  setup: FrontendSetup,
  grants: GrantEntries,
  number: number,
  split: boolean,
): FrontQueue {
  const { dma, events, options } = setup;
  const { txPool, txOrdinary, rxPool, rxOrdinary } = packetPages(options);
  const txPage = newRing(dma);
  const rxPage = newRing(dma);
  const txRing = grants.allocate(1);
  const rxRing = grants.allocate(1);
  grants.grant(txRing, txPage, false);
  grants.grant(rxRing, rxPage, false);
  const cramped = options.linux && PAGE_SIZE - options.txOffset < ETHERNET_HEADER;
  const tx = new TxFront(`tx${number}`, dma, txPage, grants, {
    poolPages: txPool,
    ordinaryPages: txOrdinary,
    copybreak: options.poolUse === "copy" ? options.copybreak : XEN_NETIF_MAX_TX_SIZE,
    recycle: options.poolUse === "recycle",
    ownPages: options.poolUse === "copy" && txPool > 0,
    // Linux's backend drops a packet whose first slot is shorter than an Ethernet header, so netfront moves it.
    txOffset: cramped ? 0 : options.txOffset,
  });
  const rx = new RxFront(`rx${number}`, dma, rxPage, grants, {
    poolPages: rxPool,
    ordinaryPages: rxOrdinary,
    copyOut: options.poolUse === "copy",
    linux: options.linux,
  });
  const txPort = events.allocate();
  const rxPort = split ? events.allocate() : txPort;
  return { tx, rx, txRing, rxRing, txPort, rxPort };
}

/**
 * Sends the control messages of a bring-up: static grants for each queue, and with several queues how to
 * spread over them. Yields while an answer is to be waited for.
 *
 * @param client The control ring.
 * @param page A page for what messages name.
 * @param queues The queues.
 * @param pooled Whether they have pools.
 */
export function* configureQueues(
  client: ControlClient,
  page: MessagePage,
  queues: readonly FrontQueue[],
  pooled: boolean,
): Generator<void> {
  let supported = pooled;
  for (const [number, { tx, rx }] of queues.entries()) {
    const pools = [tx.pages, rx.pages];
    if (supported) supported = yield* addPools(client, page, number, pools);
    else pools.forEach((pool) => pool.limit(0));
  }
  if (queues.length > 1) yield* configureHash(client, page, queues.length);
}

function* configureHash(client: ControlClient, page: MessagePage, queues: number): Generator<void> {
  const algorithm = XEN_NETIF_CTRL_HASH_ALGORITHM.TOEPLITZ;
  const set = yield* ask(client, XEN_NETIF_CTRL_TYPE.SET_HASH_ALGORITHM, [algorithm, 0, 0]);
  if (set.status !== XEN_NETIF_CTRL_STATUS.SUCCESS) return;
  yield* ask(client, XEN_NETIF_CTRL_TYPE.SET_HASH_FLAGS, [HASH_FLAGS, 0, 0]);
  MICROSOFT_RSS_KEY.forEach((byte, i) => page.view.setUint8(page.offset + i, byte));
  const length = MICROSOFT_RSS_KEY.length;
  yield* page.ask(client, XEN_NETIF_CTRL_TYPE.SET_HASH_KEY, [page.ref, length, 0], true);
  const room = yield* ask(client, XEN_NETIF_CTRL_TYPE.GET_HASH_MAPPING_SIZE, [0, 0, 0]);
  const entries = Math.min(room.data, HASH_MAPPING_SIZE);
  yield* ask(client, XEN_NETIF_CTRL_TYPE.SET_HASH_MAPPING_SIZE, [entries, 0, 0]);
  for (let i = 0; i < entries; i++) {
    page.view.setUint32(page.offset + MAPPING_ENTRY * i, i % queues, true);
  }
  yield* page.ask(client, XEN_NETIF_CTRL_TYPE.SET_HASH_MAPPING, [page.ref, entries, 0], true);
}
