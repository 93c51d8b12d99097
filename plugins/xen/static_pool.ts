/**
 * The frontend's part of static grants: it asks how many there can be, and lists the pages of its pools.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import { RingFault } from "../../core/fault.ts";
import type { ControlAnswer, ControlClient } from "./control_ring.ts";
import type { GrantEntries } from "./grant_entries.ts";
import {
  PAGE_SIZE,
  XEN_NETIF_CTRL_STATUS,
  XEN_NETIF_CTRL_TYPE,
  XEN_NETIF_CTRLF_GREF_readonly,
  xen_netif_gref,
} from "./layout.ts";
import type { PagePool } from "./page_pool.ts";

const REF = xen_netif_gref.offsetOf("ref");
const FLAGS = xen_netif_gref.offsetOf("flags");
const STATUS = xen_netif_gref.offsetOf("status");
const ENTRY = xen_netif_gref.size;
const { SUCCESS, NOT_SUPPORTED, INVALID_PARAMETER } = XEN_NETIF_CTRL_STATUS;

/** A page that is granted for the time of one control message: a list, a key, a table. */
export class MessagePage {
  /** Its reference. */
  readonly ref: number;
  /** Where it starts in the driver's memory. */
  readonly offset: number;
  /** The driver's memory, as a `DataView`. */
  readonly view: DataView;
  readonly #grants: GrantEntries;

  /** Takes a page and a reference. */
  constructor(dma: DmaMemory, grants: GrantEntries) {
    this.offset = dma.allocate(PAGE_SIZE, PAGE_SIZE).offset;
    this.ref = grants.allocate(1);
    this.view = dma.memory.view;
    this.#grants = grants;
  }

  /** Grants the page, sends a message and yields until the answer has come. */
  *ask(
    client: ControlClient,
    type: number,
    data: readonly [number, number, number],
    readonly: boolean,
  ): Generator<void, ControlAnswer> {
    this.#grants.grant(this.ref, this.offset, readonly);
    const answer = yield* ask(client, type, data);
    this.#grants.end(this.ref);
    return answer;
  }
}

/** Sends a control message and yields until the answer has come. */
export function* ask(
  client: ControlClient,
  type: number,
  data: readonly [number, number, number],
): Generator<void, ControlAnswer> {
  client.send(type, data[0], data[1], data[2]);
  for (;;) {
    const answer = client.poll();
    if (answer) return answer;
    yield;
  }
}

/**
 * Has the pools of one queue kept mapped, as far as the backend has room.
 *
 * @param client The control ring.
 * @param page A page for lists.
 * @param queue The queue's number.
 * @param pools Its pools. Those pages that the backend does not keep are granted for each use from then on.
 * @returns False if the backend knows no static grants: it need not be asked again.
 */
export function* addPools(
  client: ControlClient,
  page: MessagePage,
  queue: number,
  pools: readonly PagePool[],
): Generator<void, boolean> {
  const room = yield* ask(client, XEN_NETIF_CTRL_TYPE.GET_GREF_MAPPING_SIZE, [queue, 0, 0]);
  const wanted = pools.reduce((sum, pool) => sum + pool.granted, 0);
  const capacity = room.status === SUCCESS ? room.data : 0;
  if (wanted > capacity) {
    for (const pool of pools) pool.limit(Math.floor(pool.granted * capacity / wanted));
  }
  const entries = writeList(page, pools);
  if (entries > 0) {
    const type = XEN_NETIF_CTRL_TYPE.ADD_GREF_MAPPING;
    const answer = yield* page.ask(client, type, [queue, page.ref, entries], false);
    if (answer.status !== SUCCESS) pools.forEach((pool) => pool.limit(0));
  }
  return room.status !== NOT_SUPPORTED;
}

/**
 * Has the pools of one queue unmapped.
 *
 * @returns How many entries were.
 * @throws {RingFault} `ctrl-del-status` if an entry's status is neither SUCCESS nor INVALID_PARAMETER, or
 * their count contradicts the answer.
 */
export function* deletePools(
  client: ControlClient,
  page: MessagePage,
  queue: number,
  pools: readonly PagePool[],
): Generator<void, number> {
  const entries = writeList(page, pools);
  if (entries === 0) return 0;
  const type = XEN_NETIF_CTRL_TYPE.DEL_GREF_MAPPING;
  const answer = yield* page.ask(client, type, [queue, page.ref, entries], false);
  if (answer.status !== SUCCESS) return 0;
  let removed = 0;
  for (let i = 0; i < entries; i++) {
    const status = page.view.getUint16(page.offset + i * ENTRY + STATUS, true);
    if (status === SUCCESS) removed++;
    else if (status !== INVALID_PARAMETER) fault(i, { status });
  }
  if (removed !== answer.data) fault(entries, { removed, data: answer.data });
  return removed;
}

function fault(index: number, values: Record<string, number>): never {
  throw new RingFault("driver", "ctrl", "ctrl-del-status", index, values);
}

/**
 * Lists the pages of the pools, which one list page can hold, with no status yet. How many entries that
 * makes.
 */
function writeList(page: MessagePage, pools: readonly PagePool[]): number {
  let at = page.offset;
  for (const pool of pools) {
    for (let i = 0; i < pool.granted; i++, at += ENTRY) {
      page.view.setUint32(at + REF, pool.firstRef + i, true);
      page.view.setUint16(at + FLAGS, pool.readonly ? XEN_NETIF_CTRLF_GREF_readonly : 0, true);
      page.view.setUint16(at + STATUS, 0, true);
    }
  }
  return (at - page.offset) / ENTRY;
}
