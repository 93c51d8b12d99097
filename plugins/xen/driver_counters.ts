/**
 * Adds up what a frontend counts.
 *
 * @module
 */
import type { Counters } from "../../core/counters.ts";
import type { RxFront } from "./driver_rx.ts";
import type { TxFront } from "./driver_tx.ts";
import type { GrantEntries } from "./grant_entries.ts";

/** What a frontend counted. */
export interface DriverTally {
  /** Its queues. */
  readonly queues: readonly { readonly tx: TxFront; readonly rx: RxFront }[];
  /** Its grant table. */
  readonly grants: GrantEntries;
  /** Control messages. */
  readonly messages: number;
  /** Notifications sent. */
  readonly eventsSent: number;
  /** Notifications not sent. */
  readonly eventsSaved: number;
  /** Events without work. */
  readonly eventsSpurious: number;
}

/** A frontend's counters. */
export function driverCounters(tally: DriverTally): Counters {
  const { queues, grants } = tally;
  const tx = (of: (side: TxFront) => number) => queues.reduce((sum, queue) => sum + of(queue.tx), 0);
  const rx = (of: (side: RxFront) => number) => queues.reduce((sum, queue) => sum + of(queue.rx), 0);
  return {
    "grant.refs": grants.taken,
    "grant.guest.grants": grants.grants,
    "grant.guest.ends": grants.ends,
    "memcpy.front.bytes": tx((side) => side.memcpyBytes) + rx((side) => side.memcpyBytes),
    "ctrl.messages": tally.messages,
    "events.front.sent": tally.eventsSent,
    "events.front.saved": tally.eventsSaved,
    "events.front.spurious": tally.eventsSpurious,
    "tx.frames": tx((side) => side.frames),
    "tx.slots": tx((side) => side.slots),
    "tx.extras": tx((side) => side.extras),
    "tx.full": tx((side) => side.full),
    "tx.errors": tx((side) => side.errors),
    "tx.layout.bytes": tx((side) => side.layoutBytes),
    "rx.posted": rx((side) => side.posted),
    "rx.frames": rx((side) => side.frames),
    "rx.slots": rx((side) => side.slots),
    "rx.extras": rx((side) => side.extras),
    "drops.rx.status": rx((side) => side.drops.status),
    "drops.rx.bounds": rx((side) => side.drops.bounds),
    "drops.rx.incomplete": rx((side) => side.drops.incomplete),
    "drops.rx.extra": rx((side) => side.drops.extra),
    "drops.rx.slots": rx((side) => side.drops.slots),
    "drops.rx.gso": rx((side) => side.drops.gso),
    "drops.rx.runt": rx((side) => side.drops.runt),
  };
}
