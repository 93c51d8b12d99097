/**
 * Structures and constants of what lies below the network interface: grant tables and event channels.
 *
 * @module
 */
import {
  bytes,
  group,
  i16,
  type Member,
  type Struct,
  struct,
  u16,
  u32,
  u64,
  union,
} from "../../core/layout.ts";

/** Bits of `grant_entry.flags`, in the header `GTF_*`. */
export const GTF: Readonly<
  Record<"readonly" | "reading" | "writing" | "PWT" | "PCD" | "PAT" | "sub_page", number>
> = {
  readonly: 1 << 2,
  reading: 1 << 3,
  writing: 1 << 4,
  PWT: 1 << 5,
  PCD: 1 << 6,
  PAT: 1 << 7,
  sub_page: 1 << 8,
};
/** Mask of the type in `grant_entry.flags`. */
export const GTF_type_mask: number = 3;
/** The type in `grant_entry.flags`. */
export const GTF_TYPE: Readonly<
  Record<"invalid" | "permit_access" | "accept_transfer" | "transitive", number>
> = { invalid: 0, permit_access: 1, accept_transfer: 2, transitive: 3 };

/** References below this are reserved: 0 for the console, 1 for xenstore. */
export const GNTTAB_NR_RESERVED_ENTRIES: number = 8;
/** Frames that a grant table has at most by default. */
export const GNTTAB_MAX_FRAMES: number = 64;

/** Numbers of grant operations, in the header `GNTTABOP_*`. */
export const GNTTABOP: Readonly<Record<"map_grant_ref" | "unmap_grant_ref" | "copy", number>> = {
  map_grant_ref: 0,
  unmap_grant_ref: 1,
  copy: 5,
};

/** Flags of a map, in the header `GNTMAP_*`. */
export const GNTMAP: Readonly<
  Record<"device_map" | "host_map" | "readonly" | "application_map" | "contains_pte", number>
> = { device_map: 1, host_map: 2, readonly: 4, application_map: 8, contains_pte: 16 };

/** Flags of a copy, in the header `GNTCOPY_*`: which side is named by a reference. */
export const GNTCOPY: Readonly<Record<"source_gref" | "dest_gref", number>> = {
  source_gref: 1,
  dest_gref: 2,
};

/** Status of a grant operation, in the header `GNTST_*`. */
export const GNTST: Readonly<
  Record<
    | "okay"
    | "general_error"
    | "bad_domain"
    | "bad_gntref"
    | "bad_handle"
    | "bad_virt_addr"
    | "bad_dev_addr"
    | "no_device_space"
    | "permission_denied"
    | "bad_page"
    | "bad_copy_arg"
    | "address_too_big"
    | "eagain"
    | "no_space",
    number
  >
> = {
  okay: 0,
  general_error: -1,
  bad_domain: -2,
  bad_gntref: -3,
  bad_handle: -4,
  bad_virt_addr: -5,
  bad_dev_addr: -6,
  no_device_space: -7,
  permission_denied: -8,
  bad_page: -9,
  bad_copy_arg: -10,
  address_too_big: -11,
  eagain: -12,
  no_space: -13,
};

/** The domain itself, where an operation takes a domain. */
export const DOMID_SELF: number = 0x7ff0;

const GRANT = "xen/grant_table.h";
const EVENT = "xen/event_channel.h";

function grant(name: string, summary: string, size: number, fields: readonly Member[]): Struct {
  return struct(name, { summary, source: GRANT, size, fields });
}
function event(name: string, summary: string, size: number, fields: readonly Member[]): Struct {
  return struct(name, { summary, source: EVENT, size, fields });
}

const entryFlags: Member = u16("flags", "Type in bits 0-1 (1 permits access), GTF_*", {
  flags: { permit_access: GTF_TYPE.permit_access, ...GTF },
});
const entryDomid: Member = u16("domid", "Domain that is granted access");
function pad(size: 2 | 4): Member {
  return size === 2 ? u16("_pad", "Padding") : u32("_pad", "Padding");
}
const status: Member = i16("status", "GNTST_* (out)", { values: GNTST });

/** `grant_entry_v1`. */
export const grant_entry_v1: Struct = grant("grant_entry_v1", "Grants a page, version 1", 8, [
  entryFlags,
  entryDomid,
  u32("frame", "Frame number of the page"),
]);
/** `grant_entry_v2`, form full_page. */
export const grant_entry_v2_full_page: Struct = grant(
  "grant_entry_v2.full_page",
  "Grants a page, version 2",
  16,
  [
    entryFlags,
    entryDomid,
    u32("pad0", "Zero"),
    u64("frame", "Frame number of the page"),
  ],
);
/** `grant_entry_v2`, form sub_page. */
export const grant_entry_v2_sub_page: Struct = grant(
  "grant_entry_v2.sub_page",
  "Grants a part of a page, for copies only",
  16,
  [
    entryFlags,
    entryDomid,
    u16("page_off", "First byte"),
    u16("length", "Bytes"),
    u64("frame", "Frame number of the page"),
  ],
);
/** `grant_entry_v2`, form transitive. */
export const grant_entry_v2_transitive: Struct = grant(
  "grant_entry_v2.transitive",
  "Passes on what another domain granted, for copies only",
  16,
  [
    entryFlags,
    entryDomid,
    u16("trans_domid", "Domain that granted it"),
    u16("pad0", "Zero"),
    u32("gref", "Its reference"),
    u32("pad1", "Zero"),
  ],
);
/** `grant_status_v2`: the in-use bits of version 2, in frames of their own. */
export const grant_status_v2: Struct = grant("grant_status_v2", "In-use bits of an entry, version 2", 2, [
  u16("status", "GTF_reading, GTF_writing", { flags: { reading: GTF.reading, writing: GTF.writing } }),
]);

/** `gnttab_map_grant_ref`. */
export const gnttab_map_grant_ref: Struct = grant("gnttab_map_grant_ref", "Operation 0: maps a grant", 32, [
  u64("host_addr", "Where"),
  u32("flags", "GNTMAP_*", { flags: GNTMAP }),
  u32("ref", "Grant reference"),
  u16("dom", "Domain that granted it"),
  status,
  u32("handle", "For the unmap (out)"),
  u64("dev_bus_addr", "Bus address (out)"),
]);
/** `gnttab_unmap_grant_ref`. */
export const gnttab_unmap_grant_ref: Struct = grant(
  "gnttab_unmap_grant_ref",
  "Operation 1: ends a mapping",
  24,
  [
    u64("host_addr", "Where it is mapped"),
    u64("dev_bus_addr", "Bus address"),
    u32("handle", "From the map"),
    status,
    pad(2),
  ],
);
/** `gnttab_unmap_and_replace`. */
export const gnttab_unmap_and_replace: Struct = grant(
  "gnttab_unmap_and_replace",
  "Operation 7: ends a mapping and maps another page in its place",
  24,
  [
    u64("host_addr", "Where it is mapped"),
    u64("new_addr", "What to map instead"),
    u32("handle", "From the map"),
    status,
    pad(2),
  ],
);

const frameList = union("", [
  u64("frame_list_ptr", "Where frame numbers go"),
  u64("frame_list.p", "The same by its C path"),
]);

function copySide(side: "source" | "dest"): readonly Member[] {
  return [
    union("", [
      u64(`${side}_ref_or_gmfn`, `Reference or frame; in C ${side}.u`),
      u32(`${side}.u.ref`, "Grant reference"),
      u64(`${side}.u.gmfn`, "Frame number"),
    ]),
    union("", [u16(`${side}_domid`, "Domain"), u16(`${side}.domid`, "The same by its C path")]),
    union("", [
      u16(`${side}_offset`, "First byte in the page"),
      u16(`${side}.offset`, "The same by its C path"),
    ]),
    u32(`_${side}_pad`, "Padding"),
  ];
}

/** `gnttab_copy`. */
export const gnttab_copy: Struct = grant("gnttab_copy", "Operation 5: copies between two pages", 40, [
  ...copySide("source"),
  ...copySide("dest"),
  u16("len", "Bytes"),
  u16("flags", "GNTCOPY_*", { flags: GNTCOPY }),
  status,
  pad(2),
]);
/** `gnttab_setup_table`. */
export const gnttab_setup_table: Struct = grant("gnttab_setup_table", "Operation 2: makes the table", 24, [
  u16("dom", "Domain"),
  u16("_pad0", "Padding"),
  u32("nr_frames", "Frames wanted"),
  status,
  bytes("_pad1", 6, "Padding"),
  frameList,
]);
/** `gnttab_query_size`. */
export const gnttab_query_size: Struct = grant("gnttab_query_size", "Operation 6: size of the table", 16, [
  u16("dom", "Domain"),
  u16("_pad0", "Padding"),
  u32("nr_frames", "Present frames (out)"),
  u32("max_nr_frames", "Frames at most (out)"),
  status,
  pad(2),
]);
/** `gnttab_set_version`. */
export const gnttab_set_version: Struct = grant("gnttab_set_version", "Operation 8: chooses 1 or 2", 4, [
  u32("version", "1 or 2"),
]);
/** `gnttab_get_version`. */
export const gnttab_get_version: Struct = grant("gnttab_get_version", "Operation 10: tells the version", 8, [
  u16("dom", "Domain"),
  u16("pad", "Zero"),
  u32("version", "1 or 2 (out)"),
]);
/** `gnttab_get_status_frames`. */
export const gnttab_get_status_frames: Struct = grant(
  "gnttab_get_status_frames",
  "Operation 9: where version 2 keeps in-use bits",
  16,
  [
    u32("nr_frames", "Frames wanted"),
    u16("dom", "Domain"),
    status,
    frameList,
  ],
);
/** `gnttab_swap_grant_ref`. */
export const gnttab_swap_grant_ref: Struct = grant(
  "gnttab_swap_grant_ref",
  "Operation 11: swaps entries",
  12,
  [
    u32("ref_a", "One reference"),
    u32("ref_b", "The other"),
    status,
    pad(2),
  ],
);
/** `gnttab_transfer`. */
export const gnttab_transfer: Struct = grant("gnttab_transfer", "Operation 4: gives a page away", 24, [
  u64("mfn", "Frame number"),
  u16("domid", "Domain that gets it"),
  u16("_pad0", "Padding"),
  u32("ref", "Its reference"),
  status,
  bytes("_pad1", 6, "Padding"),
]);
/** `gnttab_cache_flush`. */
export const gnttab_cache_flush: Struct = grant("gnttab_cache_flush", "Operation 12: flushes a cache", 16, [
  union("", [
    u64("dev_bus_addr_or_ref", "Bus address or reference; in C a"),
    u64("a.dev_bus_addr", "Bus address"),
    u32("a.ref", "Grant reference"),
  ]),
  u16("offset", "First byte in the page"),
  u16("length", "Bytes"),
  u32("op", "GNTTAB_CACHE_*"),
]);

/** `evtchn_alloc_unbound`. */
export const evtchn_alloc_unbound: Struct = event("evtchn_alloc_unbound", "Operation 6: makes a port", 8, [
  u16("dom", "Domain of the port"),
  u16("remote_dom", "Domain that may bind to it"),
  u32("port", "The port (out)"),
]);
/** `evtchn_bind_interdomain`. */
export const evtchn_bind_interdomain: Struct = event(
  "evtchn_bind_interdomain",
  "Operation 0: binds to another domain's port",
  12,
  [
    u16("remote_dom", "Other domain"),
    u16("_pad", "Padding"),
    u32("remote_port", "Its port"),
    u32("local_port", "Own port (out)"),
  ],
);
/** `evtchn_send`. */
export const evtchn_send: Struct = event("evtchn_send", "Operation 4: notifies the other end", 4, [
  u32("port", "Own port"),
]);
/** `evtchn_close`. */
export const evtchn_close: Struct = event("evtchn_close", "Operation 3: closes a port", 4, [
  u32("port", "Own port"),
]);
/** `evtchn_unmask`. */
export const evtchn_unmask: Struct = event("evtchn_unmask", "Operation 9: unmasks a port", 4, [
  u32("port", "Own port"),
]);
/** `evtchn_status`. */
export const evtchn_status: Struct = event("evtchn_status", "Operation 5: tells about a port", 24, [
  u16("dom", "Domain of the port"),
  u16("_pad0", "Padding"),
  u32("port", "Port"),
  u32("status", "EVTCHNSTAT_* (out)"),
  u32("vcpu", "VCPU that is notified (out)"),
  union("", [
    group(
      "",
      [
        u16("u_dom", "u.interdomain.dom"),
        u16("_pad1", "Padding"),
        u32("u_port", "u.interdomain.port"),
      ],
    ),
    union("u", [
      group("unbound", [u16("dom", "Domain that may bind the port (out)")]),
      group(
        "interdomain",
        [
          u16("dom", "Other domain (out)"),
          u16("_pad", "Padding"),
          u32("port", "Other port (out)"),
        ],
      ),
      u32("pirq", "Physical interrupt (out)"),
      u32("virq", "Virtual interrupt (out)"),
    ]),
  ]),
]);

/** All structures of this file. */
export const hypervisorStructures: readonly Struct[] = [
  grant_entry_v1,
  grant_entry_v2_full_page,
  grant_entry_v2_sub_page,
  grant_entry_v2_transitive,
  grant_status_v2,
  gnttab_map_grant_ref,
  gnttab_unmap_grant_ref,
  gnttab_unmap_and_replace,
  gnttab_copy,
  gnttab_setup_table,
  gnttab_query_size,
  gnttab_set_version,
  gnttab_get_version,
  gnttab_get_status_frames,
  gnttab_swap_grant_ref,
  gnttab_transfer,
  gnttab_cache_flush,
  evtchn_alloc_unbound,
  evtchn_bind_interdomain,
  evtchn_send,
  evtchn_close,
  evtchn_unmask,
  evtchn_status,
];
