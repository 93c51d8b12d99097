/**
 * Structures of the store's protocol, `xen/io/xs_wire.h`: what a dump of the ring shows by which the two ends of a
 * network interface told each other of their rings.
 *
 * @module
 */
import { bytes, type Member, type Struct, struct, u32 } from "../../core/layout.ts";

/** Bytes of each of the two rings of a {@linkcode xenstore_domain_interface}. */
export const XENSTORE_RING_SIZE: number = 1024;

/** Message types, in the header `XS_*`. 20 was RESTRICT; those from 23 are newer than Xen 4.17. */
const XS: Readonly<Record<string, number>> = {
  CONTROL: 0,
  DIRECTORY: 1,
  READ: 2,
  GET_PERMS: 3,
  WATCH: 4,
  UNWATCH: 5,
  TRANSACTION_START: 6,
  TRANSACTION_END: 7,
  INTRODUCE: 8,
  RELEASE: 9,
  GET_DOMAIN_PATH: 10,
  WRITE: 11,
  MKDIR: 12,
  RM: 13,
  SET_PERMS: 14,
  WATCH_EVENT: 15,
  ERROR: 16,
  IS_DOMAIN_INTRODUCED: 17,
  RESUME: 18,
  SET_TARGET: 19,
  RESET_WATCHES: 21,
  DIRECTORY_PART: 22,
  GET_FEATURE: 23,
  SET_FEATURE: 24,
  GET_QUOTA: 25,
  SET_QUOTA: 26,
  INVALID: 0xffff,
};

const WIRE = "xen/io/xs_wire.h";

function wire(name: string, summary: string, size: number, fields: readonly Member[]): Struct {
  return struct(name, { summary, source: WIRE, size, fields });
}

/** `xsd_sockmsg`. */
export const xsd_sockmsg: Struct = wire("xsd_sockmsg", "Head of a message to or from the store", 16, [
  u32("type", "XS_*", { values: XS }),
  u32("req_id", "Echoed in the reply"),
  u32("tx_id", "Transaction; 0 if it belongs to none"),
  u32("len", "Bytes behind this head, 4096 at most: mostly texts, each ended by a zero byte"),
]);

/** `xenstore_domain_interface`. */
export const xenstore_domain_interface: Struct = wire(
  "xenstore_domain_interface",
  "Page shared between a domain and the store",
  2076,
  [
    bytes("req", XENSTORE_RING_SIZE, "Messages to the store; byte n of the stream is at n modulo 1024"),
    bytes("rsp", XENSTORE_RING_SIZE, "Replies and watch events, likewise"),
    u32("req_cons", "Bytes that the store has taken from req"),
    u32("req_prod", "Bytes that the domain has put into req"),
    u32("rsp_cons", "Bytes that the domain has taken from rsp"),
    u32("rsp_prod", "Bytes that the store has put into rsp"),
    u32("server_features", "XENSTORE_SERVER_FEATURE_*", {
      flags: { RECONNECTION: 1 << 0, ERROR: 1 << 1, WATCHDEPTH: 1 << 2 },
    }),
    u32("connection", "XENSTORE_CONNECTED or XENSTORE_RECONNECT", { values: { CONNECTED: 0, RECONNECT: 1 } }),
    u32("error", "XENSTORE_ERROR_*, if server_features has ERROR", {
      values: { NONE: 0, COMM: 1, RINGIDX: 2, PROTO: 3 },
    }),
  ],
);

/** All structures of this file. */
export const xenstoreStructures: readonly Struct[] = [xsd_sockmsg, xenstore_domain_interface];
