/**
 * Every structure and constant of the Xen network interface: `xen/io/ring.h` and `xen/io/netif.h`. What lies below
 * them is in `grant_layout.ts`, `grant_operations_layout.ts`, `event_layout.ts`, `domain_layout.ts` and
 * `xenstore_layout.ts`.
 *
 * @module
 */
import {
  array,
  bytes,
  group,
  i16,
  type Member,
  nested,
  type Struct,
  struct,
  type StructOptions,
  u16,
  u32,
  u64,
  u8,
  union,
} from "../../core/layout.ts";
import { domainStructures } from "./domain_layout.ts";
import { eventStructures } from "./event_layout.ts";
import { grantStructures } from "./grant_layout.ts";
import { grantOperationStructures } from "./grant_operations_layout.ts";
import { xenstoreStructures } from "./xenstore_layout.ts";

/** Bytes in a page: rings, packet pages, list pages and grant table frames are each one such page. */
export const PAGE_SIZE: number = 4096;
/** Bytes of an Ethernet header: Linux drops frames that are shorter, and packets whose first slot is. */
export const ETHERNET_HEADER: number = 14;
/** A frame number is an address shifted right by this. */
export const PAGE_SHIFT: number = 12;

/** Largest packet of a transmit request: its size field has 16 bits. `XEN_NETIF_MAX_TX_SIZE`. */
export const XEN_NETIF_MAX_TX_SIZE: number = 65535;
/** Slots per packet that every backend must accept. */
export const XEN_NETIF_NR_SLOTS_MIN: number = 18;

/** `netif_tx_request.flags`, in the header `NETTXF_*`. Receive flags are others: see {@linkcode NETRXF}. */
export const NETTXF: Readonly<Record<"csum_blank" | "data_validated" | "more_data" | "extra_info", number>> =
  {
    csum_blank: 1 << 0,
    data_validated: 1 << 1,
    more_data: 1 << 2,
    extra_info: 1 << 3,
  };

/**
 * `netif_rx_response.flags`, in the header `NETRXF_*`: the two checksum bits are the other way round than in
 * transmit.
 */
export const NETRXF: Readonly<
  Record<"data_validated" | "csum_blank" | "more_data" | "extra_info" | "gso_prefix", number>
> = {
  data_validated: 1 << 0,
  csum_blank: 1 << 1,
  more_data: 1 << 2,
  extra_info: 1 << 3,
  gso_prefix: 1 << 4,
};

/**
 * Status of a response, in the header `NETIF_RSP_*`. A receive response holds a byte count instead if it is
 * not negative.
 */
export const NETIF_RSP: Readonly<Record<"DROPPED" | "ERROR" | "OKAY" | "NULL", number>> = {
  DROPPED: -2,
  ERROR: -1,
  OKAY: 0,
  NULL: 1,
};

/**
 * `netif_extra_info.type`, in the header `XEN_NETIF_EXTRA_TYPE_*`. XDP is only in Linux's copy of the header.
 */
export const XEN_NETIF_EXTRA_TYPE: Readonly<
  Record<"NONE" | "GSO" | "MCAST_ADD" | "MCAST_DEL" | "HASH" | "XDP", number>
> = { NONE: 0, GSO: 1, MCAST_ADD: 2, MCAST_DEL: 3, HASH: 4, XDP: 5 };
/** First extra type that is not valid in the Xen header. */
export const XEN_NETIF_EXTRA_TYPE_MAX: number = 5;
/** `netif_extra_info.flags`: another extra info follows. */
export const XEN_NETIF_EXTRA_FLAG_MORE: number = 1;

/** Segmentation types, in the header `XEN_NETIF_GSO_TYPE_*`. */
export const XEN_NETIF_GSO_TYPE: Readonly<Record<"NONE" | "TCPV4" | "TCPV6", number>> = {
  NONE: 0,
  TCPV4: 1,
  TCPV6: 2,
};

/** Hash algorithms, in the header `XEN_NETIF_CTRL_HASH_ALGORITHM_*`. */
export const XEN_NETIF_CTRL_HASH_ALGORITHM: Readonly<Record<"NONE" | "TOEPLITZ", number>> = {
  NONE: 0,
  TOEPLITZ: 1,
};

/**
 * Hash types as bit numbers, as the HASH extra info carries them. Control messages take the masks `1 << n`.
 */
export const XEN_NETIF_CTRL_HASH_TYPE: Readonly<Record<"IPV4" | "IPV4_TCP" | "IPV6" | "IPV6_TCP", number>> = {
  IPV4: 0,
  IPV4_TCP: 1,
  IPV6: 2,
  IPV6_TCP: 3,
};

/** Control message types, in the header `XEN_NETIF_CTRL_TYPE_*`. The last three are the static grants. */
export const XEN_NETIF_CTRL_TYPE: Readonly<
  Record<
    | "INVALID"
    | "GET_HASH_FLAGS"
    | "SET_HASH_FLAGS"
    | "SET_HASH_KEY"
    | "GET_HASH_MAPPING_SIZE"
    | "SET_HASH_MAPPING_SIZE"
    | "SET_HASH_MAPPING"
    | "SET_HASH_ALGORITHM"
    | "GET_GREF_MAPPING_SIZE"
    | "ADD_GREF_MAPPING"
    | "DEL_GREF_MAPPING",
    number
  >
> = {
  INVALID: 0,
  GET_HASH_FLAGS: 1,
  SET_HASH_FLAGS: 2,
  SET_HASH_KEY: 3,
  GET_HASH_MAPPING_SIZE: 4,
  SET_HASH_MAPPING_SIZE: 5,
  SET_HASH_MAPPING: 6,
  SET_HASH_ALGORITHM: 7,
  GET_GREF_MAPPING_SIZE: 8,
  ADD_GREF_MAPPING: 9,
  DEL_GREF_MAPPING: 10,
};

/**
 * Control status, in the header `XEN_NETIF_CTRL_STATUS_*`: 32 bits in a response, 16 in a `xen_netif_gref`.
 */
export const XEN_NETIF_CTRL_STATUS: Readonly<
  Record<"SUCCESS" | "NOT_SUPPORTED" | "INVALID_PARAMETER" | "BUFFER_OVERFLOW", number>
> = { SUCCESS: 0, NOT_SUPPORTED: 1, INVALID_PARAMETER: 2, BUFFER_OVERFLOW: 3 };

/** `xen_netif_gref.flags`: the backend is to map the page for reading only. */
export const XEN_NETIF_CTRLF_GREF_readonly: number = 1;

const NETIF = "xen/io/netif.h";

/** A network structure: all are described in the same header. */
function netif(name: string, summary: string, size: number, fields: readonly Member[]): Struct {
  const options: StructOptions = { summary, source: NETIF, size, fields };
  return struct(name, options);
}

/** `netif_tx_request`. */
export const netif_tx_request: Struct = netif("netif_tx_request", "Offers bytes to send", 12, [
  u32("gref", "Grant reference of the page"),
  u16("offset", "First byte in the page"),
  u16("flags", "NETTXF_*", { flags: NETTXF }),
  u16("id", "Echoed in the response"),
  u16("size", "First slot of a packet: length of the whole packet; other slots: bytes in this one"),
]);

/** `netif_tx_response`: overlays the first four bytes of a slot. */
export const netif_tx_response: Struct = netif("netif_tx_response", "Gives a transmit slot back", 4, [
  u16("id", "From the request"),
  i16("status", "NETIF_RSP_*", { values: NETIF_RSP }),
]);

/** `netif_rx_request`. */
export const netif_rx_request: Struct = netif("netif_rx_request", "Offers a page to receive into", 8, [
  u16("id", "Echoed in the response"),
  u16("pad", "Zero"),
  u32("gref", "Grant reference of the page, which must be writable"),
]);

/** `netif_rx_response`. */
export const netif_rx_response: Struct = netif("netif_rx_response", "Hands over received bytes", 8, [
  u16("id", "From the request"),
  u16("offset", "First byte in the page"),
  u16("flags", "NETRXF_*", { flags: NETRXF }),
  i16("status", "Bytes in this slot, or if negative NETIF_RSP_*", { values: { DROPPED: -2, ERROR: -1 } }),
]);

const extraInfoHead: readonly Member[] = [
  u8("type", "XEN_NETIF_EXTRA_TYPE_*", { values: XEN_NETIF_EXTRA_TYPE }),
  u8("flags", "XEN_NETIF_EXTRA_FLAG_*", { flags: { MORE: XEN_NETIF_EXTRA_FLAG_MORE } }),
];

/** One form of `netif_extra_info`: type and flags are common to all. */
function extraInfo(form: string, summary: string, fields: readonly Member[]): Struct {
  return netif(`netif_extra_info.${form}`, summary, 8, [
    ...extraInfoHead,
    ...fields,
  ]);
}

/** `netif_extra_info` of type GSO. */
export const netif_extra_info_gso: Struct = extraInfo("gso", "Segmentation wanted or done", [
  u16("size", "Payload bytes of each segment (MSS)"),
  u8("gso_type", "XEN_NETIF_GSO_TYPE_*; in C u.gso.type", { values: XEN_NETIF_GSO_TYPE }),
  u8("pad", "Zero"),
  u16("features", "XEN_NETIF_GSO_FEAT_*, none are defined"),
]);
/** `netif_extra_info` of type MCAST_ADD. */
export const netif_extra_info_mcast_add: Struct = extraInfo("mcast_add", "Lets a multicast address in", [
  bytes("addr", 6, "Ethernet multicast address; in C u.mcast.addr"),
]);
/** `netif_extra_info` of type MCAST_DEL. */
export const netif_extra_info_mcast_del: Struct = extraInfo("mcast_del", "Keeps a multicast address out", [
  bytes("addr", 6, "Ethernet multicast address; in C u.mcast.addr"),
]);
/** `netif_extra_info` of type HASH. */
export const netif_extra_info_hash: Struct = extraInfo("hash", "Hash of the packet's flow", [
  u8("hash_type", "Bit number _XEN_NETIF_CTRL_HASH_TYPE_*; in C u.hash.type", {
    values: XEN_NETIF_CTRL_HASH_TYPE,
  }),
  u8("algorithm", "XEN_NETIF_CTRL_HASH_ALGORITHM_*", { values: XEN_NETIF_CTRL_HASH_ALGORITHM }),
  u32("value", "The hash; in C four bytes, little endian"),
]);
/** `netif_extra_info` of type XDP, which only Linux has. */
export const netif_extra_info_xdp: Struct = extraInfo("xdp_linux_only", "Room in front of received bytes", [
  u16("headroom", "Bytes of room"),
  bytes("pad", 4, "Zero"),
]);

/** `netif_extra_info`: all types in one place, as in C. */
export const netif_extra_info: Struct = netif("netif_extra_info", "Says more of a packet, in any form", 8, [
  ...extraInfoHead,
  union("u", [
    group("gso", [
      u16("size", "Payload bytes of each segment (MSS), if the type is GSO"),
      u8("type", "XEN_NETIF_GSO_TYPE_*", { values: XEN_NETIF_GSO_TYPE }),
      u8("pad", "Zero"),
      u16("features", "XEN_NETIF_GSO_FEAT_*, none are defined"),
    ]),
    group("mcast", [bytes("addr", 6, "Ethernet multicast address, if the type is MCAST_ADD or MCAST_DEL")]),
    group("hash", [
      u8("type", "Bit number _XEN_NETIF_CTRL_HASH_TYPE_*, if the type is HASH", {
        values: XEN_NETIF_CTRL_HASH_TYPE,
      }),
      u8("algorithm", "XEN_NETIF_CTRL_HASH_ALGORITHM_*", { values: XEN_NETIF_CTRL_HASH_ALGORITHM }),
      bytes("value", 4, "The hash, little endian"),
    ]),
    array("pad", 3, u16("", "Fills the slot")),
  ]),
]);

const ctrlType: Member = u16("type", "XEN_NETIF_CTRL_TYPE_*", { values: XEN_NETIF_CTRL_TYPE });

/** `xen_netif_ctrl_request`. */
export const xen_netif_ctrl_request: Struct = netif("xen_netif_ctrl_request", "A control message", 16, [
  u16("id", "Echoed in the response"),
  ctrlType,
  array("data", 3, u32("", "Parameter; which one depends on the type")),
]);

/** `xen_netif_ctrl_response`: overlays the first twelve bytes of a slot. */
export const xen_netif_ctrl_response: Struct = netif(
  "xen_netif_ctrl_response",
  "Answers a control message",
  12,
  [
    u16("id", "From the request"),
    ctrlType,
    u32("status", "XEN_NETIF_CTRL_STATUS_*", { values: XEN_NETIF_CTRL_STATUS }),
    u32("data", "Result; what it is depends on the type"),
  ],
);

/** `xen_netif_gref`: one entry of the list that ADD_GREF_MAPPING and DEL_GREF_MAPPING name. */
export const xen_netif_gref: Struct = netif("xen_netif_gref", "One static grant in a list", 8, [
  u32("ref", "Grant reference (in)"),
  u16("flags", "XEN_NETIF_CTRLF_GREF_* (in)", { flags: { readonly: XEN_NETIF_CTRLF_GREF_readonly } }),
  u16("status", "XEN_NETIF_CTRL_STATUS_*, written by DEL only (out)", { values: XEN_NETIF_CTRL_STATUS }),
]);

/** Entries of a list that one page holds. */
export const GREFS_PER_PAGE: number = PAGE_SIZE / xen_netif_gref.size;

const RING_TYPES = "xen/io/ring.h, xen/io/netif.h";

const sringHeader: readonly Member[] = [
  u32("req_prod", "Requests ever published (frontend)"),
  u32("req_event", "Notify the backend when req_prod reaches this (backend)"),
  u32("rsp_prod", "Responses ever published (backend)"),
  u32("rsp_event", "Notify the frontend when rsp_prod reaches this (frontend)"),
  union("pvt", [
    u8("netif.smartpoll_active", "No longer used"),
    u8("tapif_user.msg", "No part of the network interface"),
    bytes("pvt_pad", 4, "Zero"),
  ]),
  bytes("__pad", 44, "Zero"),
];

/** The union of a slot: responses overlay requests. */
function slot(name: string, summary: string, request: Struct, response: Struct): Struct {
  return struct(name, {
    summary,
    source: RING_TYPES,
    fields: [union("", [nested("req", request), nested("rsp", response)])],
  });
}

/** `DEFINE_RING_TYPES`: the page header, then slots. */
function sring(name: string, summary: string, entry: Struct): Struct {
  return struct(name, {
    summary,
    source: RING_TYPES,
    fields: [...sringHeader, array("ring", "rest", entry)],
  });
}

/** What each half keeps for itself of the three rings, in memory of its own: with 64-bit and with 32-bit pointers. */
function privateRings(half: "front" | "back"): Struct[] {
  const own = half === "front" ? "Requests" : "Responses";
  const indices = half === "front" ? ["req_prod_pvt", "rsp_cons"] : ["rsp_prod_pvt", "req_cons"];
  const other = half === "front" ? "Responses" : "Requests";
  const common = [
    u32(indices[0]!, `${own} put into the ring, published or not`),
    u32(indices[1]!, `${other} taken from the ring`),
    u32("nr_ents", "Slots of the ring"),
  ];
  const pointer = "Address of the ring page";
  return ["netif_tx", "netif_rx", "xen_netif_ctrl"].flatMap((ring) => {
    const name = `${ring}_${half}_ring`;
    const summary = `The ${half}end's own indices of ${ring}_sring`;
    return [
      struct(name, {
        summary,
        source: RING_TYPES,
        size: 24,
        fields: [...common, u32("_pad", "Padding"), u64("sring", pointer)],
      }),
      struct(`${name}@x86_32`, {
        summary: `${summary} (32-bit)`,
        source: RING_TYPES,
        size: 16,
        fields: [...common, u32("sring", pointer)],
      }),
    ];
  });
}

/** The head of any shared ring page. */
export const sring_header: Struct = struct("sring_header", {
  summary: "Indices at the head of a shared ring page",
  source: "xen/io/ring.h",
  size: 64,
  fields: sringHeader,
});
/** `netif_tx_sring_entry`. */
export const netif_tx_sring_entry: Struct = slot(
  "netif_tx_sring_entry",
  "Slot of a transmit ring",
  netif_tx_request,
  netif_tx_response,
);
/** `netif_rx_sring_entry`. */
export const netif_rx_sring_entry: Struct = slot(
  "netif_rx_sring_entry",
  "Slot of a receive ring",
  netif_rx_request,
  netif_rx_response,
);
/** `xen_netif_ctrl_sring_entry`. */
export const xen_netif_ctrl_sring_entry: Struct = slot(
  "xen_netif_ctrl_sring_entry",
  "Slot of a control ring",
  xen_netif_ctrl_request,
  xen_netif_ctrl_response,
);
/** `netif_tx_sring`. */
export const netif_tx_sring: Struct = sring("netif_tx_sring", "Transmit ring page", netif_tx_sring_entry);
/** `netif_rx_sring`. */
export const netif_rx_sring: Struct = sring("netif_rx_sring", "Receive ring page", netif_rx_sring_entry);
/** `xen_netif_ctrl_sring`. */
export const xen_netif_ctrl_sring: Struct = sring(
  "xen_netif_ctrl_sring",
  "Control ring page",
  xen_netif_ctrl_sring_entry,
);

/** All structures, for the `struct` command. */
export const structures: readonly Struct[] = [
  netif_tx_request,
  netif_tx_response,
  netif_rx_request,
  netif_rx_response,
  netif_extra_info,
  netif_extra_info_gso,
  netif_extra_info_mcast_add,
  netif_extra_info_mcast_del,
  netif_extra_info_hash,
  netif_extra_info_xdp,
  xen_netif_ctrl_request,
  xen_netif_ctrl_response,
  xen_netif_gref,
  sring_header,
  netif_tx_sring,
  netif_tx_sring_entry,
  netif_rx_sring,
  netif_rx_sring_entry,
  xen_netif_ctrl_sring,
  xen_netif_ctrl_sring_entry,
  ...privateRings("front"),
  ...privateRings("back"),
  ...grantStructures,
  ...grantOperationStructures,
  ...eventStructures,
  ...domainStructures,
  ...xenstoreStructures,
];
