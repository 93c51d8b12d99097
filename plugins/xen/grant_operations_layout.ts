/**
 * What the hypercall that works on grant tables takes, `xen/grant_table.h`.
 *
 * @module
 */
import {
  bytes,
  i16,
  type Member,
  nested,
  type Struct,
  struct,
  u16,
  u32,
  u64,
  union,
} from "../../core/layout.ts";
import { GNTCOPY, GNTMAP, GNTST, GNTTAB_CACHE } from "./grant_layout.ts";

const GRANT = "xen/grant_table.h";

function grant(name: string, summary: string, size: number, fields: readonly Member[]): Struct {
  return struct(name, { summary, source: GRANT, size, fields });
}
function pad(size: 2 | 4): Member {
  return size === 2 ? u16("_pad", "Padding") : u32("_pad", "Padding");
}
const status: Member = i16("status", "GNTST_* (out)", { values: GNTST });

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

/** What 32-bit guests of x86 pass: their pointers, frame numbers and 64-bit alignment are those of 4 bytes. */
function narrow(name: string, summary: string, size: number, fields: readonly Member[]): Struct {
  return grant(`${name}@x86_32`, `${summary} (32-bit guest)`, size, fields);
}

const frameList = union("", [
  u64("frame_list_ptr", "Address of the array that the frame numbers go into"),
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

/** `gnttab_copy_ptr`. */
export const gnttab_copy_ptr: Struct = grant("gnttab_copy_ptr", "One side of a copy", 16, [
  union("u", [
    u32("ref", "Grant reference, if GNTCOPY_source_gref or GNTCOPY_dest_gref says so"),
    u64("gmfn", "Frame number, if not"),
  ]),
  u16("domid", "Domain of the page"),
  u16("offset", "First byte in the page"),
  pad(4),
]);
/** `gnttab_copy_ptr` of a 32-bit guest. */
export const gnttab_copy_ptr_x86_32: Struct = narrow("gnttab_copy_ptr", "One side of a copy", 8, [
  union("u", [
    u32("ref", "Grant reference, if GNTCOPY_source_gref or GNTCOPY_dest_gref says so"),
    u32("gmfn", "Frame number, if not"),
  ]),
  u16("domid", "Domain of the page"),
  u16("offset", "First byte in the page"),
]);
/** `gnttab_copy`. */
export const gnttab_copy: Struct = grant("gnttab_copy", "Operation 5: copies between two pages", 40, [
  ...copySide("source"),
  ...copySide("dest"),
  u16("len", "Bytes"),
  u16("flags", "GNTCOPY_*", { flags: GNTCOPY }),
  status,
  pad(2),
]);
/** `gnttab_copy` of a 32-bit guest. */
export const gnttab_copy_x86_32: Struct = narrow(
  "gnttab_copy",
  "Operation 5: copies between two pages",
  24,
  [
    nested("source", gnttab_copy_ptr_x86_32),
    nested("dest", gnttab_copy_ptr_x86_32),
    u16("len", "Bytes"),
    u16("flags", "GNTCOPY_*", { flags: GNTCOPY }),
    status,
    pad(2),
  ],
);
/** `gnttab_setup_table`. */
export const gnttab_setup_table: Struct = grant("gnttab_setup_table", "Operation 2: makes the table", 24, [
  u16("dom", "Domain"),
  u16("_pad0", "Padding"),
  u32("nr_frames", "Frames wanted"),
  status,
  bytes("_pad1", 6, "Padding"),
  frameList,
]);
/** `gnttab_setup_table` of a 32-bit guest. */
export const gnttab_setup_table_x86_32: Struct = narrow(
  "gnttab_setup_table",
  "Operation 2: makes the table",
  16,
  [
    u16("dom", "Domain"),
    u16("_pad0", "Padding"),
    u32("nr_frames", "Frames wanted"),
    status,
    u16("_pad1", "Padding"),
    u32("frame_list.p", "Address of the array that the frame numbers go into"),
  ],
);
/** `gnttab_dump_table`. */
export const gnttab_dump_table: Struct = grant(
  "gnttab_dump_table",
  "Operation 3: prints the table on Xen's console",
  4,
  [u16("dom", "Domain"), status],
);
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
/** `gnttab_get_status_frames` of a 32-bit guest. */
export const gnttab_get_status_frames_x86_32: Struct = narrow(
  "gnttab_get_status_frames",
  "Operation 9: where version 2 keeps in-use bits",
  12,
  [
    u32("nr_frames", "Frames wanted"),
    u16("dom", "Domain"),
    status,
    u32("frame_list.p", "Address of the array that the frame numbers go into"),
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
/** `gnttab_transfer` of a 32-bit guest. */
export const gnttab_transfer_x86_32: Struct = narrow(
  "gnttab_transfer",
  "Operation 4: gives a page away",
  16,
  [
    u32("mfn", "Frame number"),
    u16("domid", "Domain that gets it"),
    u16("_pad0", "Padding"),
    u32("ref", "Its reference"),
    status,
    u16("_pad1", "Padding"),
  ],
);
/** `gnttab_cache_flush`. */
export const gnttab_cache_flush: Struct = grant("gnttab_cache_flush", "Operation 12: flushes a cache", 16, [
  union("", [
    u64("dev_bus_addr_or_ref", "Bus address or reference; in C a"),
    u64("a.dev_bus_addr", "Bus address"),
    u32("a.ref", "Grant reference, if SOURCE_GREF is set"),
  ]),
  u16("offset", "First byte in the page"),
  u16("length", "Bytes"),
  u32("op", "GNTTAB_CACHE_*", { flags: GNTTAB_CACHE }),
]);

/** All structures of this file. */
export const grantOperationStructures: readonly Struct[] = [
  gnttab_map_grant_ref,
  gnttab_unmap_grant_ref,
  gnttab_unmap_and_replace,
  gnttab_copy,
  gnttab_copy_x86_32,
  gnttab_copy_ptr,
  gnttab_copy_ptr_x86_32,
  gnttab_setup_table,
  gnttab_setup_table_x86_32,
  gnttab_dump_table,
  gnttab_query_size,
  gnttab_set_version,
  gnttab_get_version,
  gnttab_get_status_frames,
  gnttab_get_status_frames_x86_32,
  gnttab_swap_grant_ref,
  gnttab_transfer,
  gnttab_transfer_x86_32,
  gnttab_cache_flush,
];
