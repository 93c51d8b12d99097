/**
 * The Xen network interface: shared rings, grants, control ring and static grants, frontend and backend.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { RingPair } from "@ringpipe/ringpipe";
 * import xen from "@ringpipe/ringpipe/plugins/xen";
 *
 * const pair = new RingPair(xen, { "static-grants": false });
 * pair.transmit(new Uint8Array(60).fill(7));
 * pair.service();
 * assertEquals(pair.receive(), [new Uint8Array(60).fill(7)]);
 * assertEquals(pair.counters()["hypercalls.copy"], 2); // one for each way
 * ```
 *
 * @module
 */
import "./modules.ts";
import type { DmaMemory } from "../../core/dma_memory.ts";
import { faultSpecs } from "../../core/fault.ts";
import type { OptionSpec, OptionValues } from "../../core/options.ts";
import { type Host, type Link, type Plugin, withinMemory } from "../../core/plugin.ts";
import { counterSpecs } from "./counters.ts";
import { XenDevice } from "./device.ts";
import { XenDriver } from "./driver.ts";
import { eventChannels } from "./event_channel.ts";
import type { FrontendOptions, PoolUse } from "./frontend_options.ts";
import { GrantTable } from "./grant_table.ts";
import { DEVICE_FAULTS, DRIVER_FAULTS } from "./faults.ts";
import { PAGE_SIZE, structures } from "./layout.ts";
import {
  BACKEND_DOMID,
  BACKEND_PATH,
  type BackendFeatures,
  createVif,
  FRONTEND_PATH,
  XenStore,
} from "./xenbus.ts";

export * from "./control_ring.ts";
export * from "./control_server.ts";
export * from "./counters.ts";
export * from "./device_counters.ts";
export * from "./driver_counters.ts";
export * from "./device.ts";
export * from "./device_rx.ts";
export * from "./device_tx.ts";
export * from "./device_tx_batch.ts";
export * from "./domain_layout.ts";
export * from "./driver.ts";
export * from "./driver_queue.ts";
export * from "./driver_rx.ts";
export * from "./driver_tx.ts";
export * from "./event_channel.ts";
export * from "./event_layout.ts";
export * from "./faults.ts";
export * from "./frontend_options.ts";
export * from "./grant_entries.ts";
export * from "./grant_layout.ts";
export * from "./grant_operations_layout.ts";
export * from "./grant_table.ts";
export * from "./hash.ts";
export * from "./layout.ts";
export * from "./multicast.ts";
export * from "./page_pool.ts";
export * from "./shared_ring.ts";
export * from "./static_grants.ts";
export * from "./static_pool.ts";
export * from "./xenbus.ts";
export * from "./xenstore_layout.ts";

/** Queues at most. */
const MOST_QUEUES = 16;
/** Smallest pool: with both extra infos, two of its four receive pages are left for data. */
const FEWEST_GRANTS = 8;
/** Static grants that the backend of the pipe keeps for each queue: both rings. */
const STATIC_CAPACITY = 512;
/** Frames transmitted before the backend works: half of what a transmit ring holds. */
const BATCH = 128;

/** What the backend of the pipe offers. */
const FEATURES: BackendFeatures = {
  maxQueues: MOST_QUEUES,
  sg: true,
  gso: true,
  splitEventChannels: true,
  controlRing: true,
  multicastControl: true,
};

const options: readonly OptionSpec[] = [
  {
    name: "static-grants",
    type: "flag",
    default: true,
    meaning: "have the backend keep a pool of pages mapped, by the control messages 8 to 10",
  },
  {
    name: "grants",
    type: "integer",
    default: 512,
    min: FEWEST_GRANTS,
    max: STATIC_CAPACITY,
    meaning: "pages in the pool of each queue, half of them for each ring",
  },
  {
    name: "pool",
    type: "choice",
    default: "fixed",
    choices: ["fixed", "recycle", "copy"],
    meaning:
      "fixed: nothing but the pool is used; recycle: the guest's own pages are the pool, others are granted " +
      "when it is empty; copy: frames are copied into the pool, and granted when it is empty or they are long",
  },
  {
    name: "grant-table",
    type: "choice",
    default: "v1",
    choices: ["v1", "v2"],
    meaning: "version of the grant table's entries",
  },
  {
    name: "grant-policy",
    type: "choice",
    default: "linux",
    choices: ["linux", "copy"],
    meaning:
      "linux: copy the first 128 bytes of a frame and map the rest; copy: copy all, as FreeBSD and Mirage",
  },
  {
    name: "profile",
    type: "choice",
    default: "spec",
    choices: ["spec", "linux"],
    meaning: "spec: carry whatever the slots can express; linux: also drop what Linux drops",
  },
  { name: "queues", type: "integer", default: 1, min: 1, max: MOST_QUEUES, meaning: "queue pairs" },
  {
    name: "split-event-channels",
    type: "flag",
    default: true,
    meaning: "one event channel for each ring instead of one for both",
  },
  { name: "sg", type: "flag", default: true, meaning: "frames may take several slots" },
  {
    name: "gso",
    type: "flag",
    default: false,
    meaning: "mark TCP frames over 1514 bytes with a GSO extra info; their bytes stay as they are",
  },
  {
    name: "copybreak",
    type: "integer",
    default: 65535,
    min: 0,
    max: 65535,
    meaning: "with pool=copy: longest frame that is copied into the pool",
  },
  {
    name: "tx-offset",
    type: "integer",
    default: 0,
    min: 0,
    max: PAGE_SIZE - 1,
    meaning: "where in its first page a frame starts",
  },
];

/** The options of a frontend, as the plugin's options say. */
export function frontendOptions(values: OptionValues): FrontendOptions {
  return {
    queues: values.integer("queues"),
    grantVersion: values.text("grant-table") === "v1" ? 1 : 2,
    pool: values.flag("static-grants") ? values.integer("grants") : 0,
    poolUse: values.text("pool") as PoolUse,
    copybreak: values.integer("copybreak"),
    txOffset: values.integer("tx-offset"),
    sg: values.flag("sg"),
    gso: values.flag("gso"),
    splitEventChannels: values.flag("split-event-channels"),
    linux: values.text("profile") === "linux",
  };
}

/**
 * Where the backend of the pipe keeps its own pages: in the same buffer as everything else, so that its
 * copies stay inside one buffer. The frontend does not know them.
 */
function ownPages(dma: DmaMemory, queues: number) {
  const { offset } = dma.allocate(XenDevice.ownSize(queues), PAGE_SIZE);
  return { memory: dma.memory, offset };
}

/** Both halves of an interface, and what stands between them. */
export interface XenPair {
  /** The frontend. */
  readonly driver: XenDriver;
  /** The backend. */
  readonly device: XenDevice;
  /** Xenstore. */
  readonly store: XenStore;
  /** The hypervisor's view of the frontend's grant table. */
  readonly grants: GrantTable;
}

/**
 * Builds frontend and backend over a host's memory, and brings them up.
 *
 * @param values Options of this plugin.
 * @param host Memory and time.
 */
export function openXenPair(values: OptionValues, host: Host): XenPair {
  const front = frontendOptions(values);
  const store = new XenStore();
  createVif(store);
  const [frontEvents, backEvents] = eventChannels();
  const driver = new XenDriver({
    dma: host.dma,
    store,
    path: FRONTEND_PATH,
    events: frontEvents,
    clock: host.clock,
    options: front,
  });
  const { version, address, entries, statusAddress } = driver.grants;
  const grants = new GrantTable({
    space: host.space,
    version,
    address,
    entries,
    statusAddress,
    domid: BACKEND_DOMID,
  });
  const device = new XenDevice({
    grants,
    own: ownPages(host.dma, front.queues),
    store,
    path: BACKEND_PATH,
    events: backEvents,
    options: {
      features: FEATURES,
      staticCapacity: STATIC_CAPACITY,
      policy: values.text("grant-policy") === "copy" ? "copy" : "linux",
      linux: front.linux,
    },
  });
  device.connect();
  while (!driver.connect()) device.connect();
  return { driver, device, store, grants };
}

/** Both halves. They ask for all their memory while they come up. */
function open(values: OptionValues, host: Host): Link {
  const make = () => openXenPair(values, host);
  const { driver, device } = withinMemory(host.dma, values, ["queues", "grants"], make, "the frontend");
  return { driver, device, batch: BATCH };
}

/** The Xen network interface as a plugin. */
const plugin: Plugin = {
  api: 1,
  name: "xen",
  summary: "Xen network interface: shared rings, grants, static grants",
  options,
  counters: counterSpecs,
  structures,
  faults: [...faultSpecs(DRIVER_FAULTS, "driver"), ...faultSpecs(DEVICE_FAULTS, "device")],
  open,
};
export default plugin;
