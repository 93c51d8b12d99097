/**
 * Adds up what a backend counts.
 *
 * @module
 */
import type { Counters } from "../../core/counters.ts";
import type { ControlServer } from "./control_server.ts";
import type { RxBack } from "./device_rx.ts";
import type { TxBack } from "./device_tx.ts";
import type { StaticGrants } from "./static_grants.ts";

/** What a backend counted while it was connected. */
export interface DeviceTally {
  /** Its queues. */
  readonly queues: readonly { readonly tx: TxBack; readonly rx: RxBack; readonly statics: StaticGrants }[];
  /** Its end of the control ring. */
  readonly control: ControlServer | undefined;
}

/** The counters of a backend's queues and control ring. */
export function deviceCounters({ queues, control }: DeviceTally): Counters {
  const tx = (of: (side: TxBack) => number) => queues.reduce((sum, queue) => sum + of(queue.tx), 0);
  const rx = (of: (side: RxBack) => number) => queues.reduce((sum, queue) => sum + of(queue.rx), 0);
  const statics = (of: (table: StaticGrants) => number) =>
    queues.reduce((sum, queue) => sum + of(queue.statics), 0);
  return {
    "grant.tx.copy": tx((side) => side.copies),
    "grant.tx.map": tx((side) => side.maps),
    "grant.tx.unmap": tx((side) => side.unmaps),
    "grant.rx.copy": rx((side) => side.copies),
    "grant.setup.map": statics((table) => table.maps) + (control?.maps ?? 0),
    "grant.setup.unmap": statics((table) => table.unmaps) + (control?.unmaps ?? 0),
    "grant.setup.copy": control?.copies ?? 0,
    "grant.saved": tx((side) => side.saved) + rx((side) => side.saved),
    "static.hits": tx((side) => side.hits) + rx((side) => side.hits),
    "static.misses": tx((side) => side.misses) + rx((side) => side.misses),
    "hypercalls.copy": tx((side) => side.copyCalls) + rx((side) => side.copyCalls),
    "hypercalls.map": tx((side) => side.mapCalls),
    "hypercalls.unmap": tx((side) => side.unmapCalls),
    "tlb.flushes": tx((side) => side.unmapCalls),
    "memcpy.back.bytes": rx((side) => side.memcpyBytes),
    "rx.failures": rx((side) => side.failures),
  };
}

/** Adds up counters by name. */
export function addCounters(a: Counters, b: Counters): Counters {
  const sum: Counters = { ...a };
  for (const [name, value] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + value;
  return sum;
}
