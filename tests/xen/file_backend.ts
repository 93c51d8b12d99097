/** Our backend in a mapped file, which a frontend in another process maps as well. */
import { assert } from "@std/assert";
import { AddressSpace, READ_WRITE } from "../../core/address_space.ts";
import { Memory } from "../../core/memory.ts";
import {
  BACKEND_PATH,
  createVif,
  FRONTEND_PATH,
  type FrontendKeys,
  GrantTable,
  writeFrontendKeys,
  writeState,
  XenbusState,
  XenDevice,
  XenStore,
} from "../../plugins/xen/mod.ts";

/** Where the other process has its grant table: numbers of pages. */
export interface TablePlace {
  readonly table: "v1" | "v2";
  readonly page: number;
  readonly statusPage: number;
  readonly entries: number;
}

/** The grants of a process whose frame numbers are page numbers of the file. */
export function grantsIn(memory: Memory, { table, page, statusPage, entries }: TablePlace): GrantTable {
  const space = new AddressSpace();
  space.map(0, memory, 0, memory.size, READ_WRITE);
  return new GrantTable({
    space,
    version: table === "v1" ? 1 : 2,
    address: page * 4096,
    entries,
    statusAddress: statusPage * 4096,
    domid: 0,
  });
}

/** A backend that is connected: the other process need not write keys itself. */
export function attachBackend(
  grants: GrantTable,
  keys: Pick<FrontendKeys, "queues" | "control">,
): XenDevice {
  const count = keys.queues.length;
  const store = new XenStore();
  createVif(store);
  const device = new XenDevice({
    grants,
    own: { memory: new Memory(XenDevice.ownSize(count)), offset: 0 },
    store,
    path: BACKEND_PATH,
    events: { allocate: () => 1, bind: (port) => port, send() {}, take: () => false, close() {} },
    options: {
      features: {
        maxQueues: count,
        sg: true,
        gso: false,
        splitEventChannels: true,
        controlRing: true,
        multicastControl: false,
      },
      staticCapacity: 512,
      policy: "linux",
      linux: false,
    },
  });
  device.connect();
  writeFrontendKeys(store, FRONTEND_PATH, { ...keys, sg: true, gso: false, multicastControl: false });
  writeState(store, FRONTEND_PATH, XenbusState.Connected);
  assert(device.connect());
  return device;
}
