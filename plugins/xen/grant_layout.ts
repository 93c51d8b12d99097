/**
 * Entries and constants of grant tables, `xen/grant_table.h`. What operations on them take is in
 * `grant_operations_layout.ts`.
 *
 * @module
 */
import {
  array,
  group,
  type Member,
  nested,
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

/** What a flush does and is given, in the header `GNTTAB_CACHE_*`. */
export const GNTTAB_CACHE: Readonly<Record<"CLEAN" | "INVAL" | "SOURCE_GREF", number>> = {
  CLEAN: 1 << 0,
  INVAL: 1 << 1,
  SOURCE_GREF: 2 ** 31,
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

function grant(name: string, summary: string, size: number, fields: readonly Member[]): Struct {
  return struct(name, { summary, source: GRANT, size, fields });
}

const entryFlags: Member = u16(
  "flags",
  "GTF_*; type in bits 0-1: 0 invalid, 1 permit_access, 2 accept_transfer, 3 transitive",
  {
    flags: { permit_access: GTF_TYPE.permit_access, ...GTF },
  },
);
const entryDomid: Member = u16("domid", "Domain that is granted access");
/** `grant_entry_header`: the half of an entry that both versions and all forms have in common. */
export const grant_entry_header: Struct = grant("grant_entry_header", "Head of any grant entry", 4, [
  entryFlags,
  entryDomid,
]);
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
/** What begins each form of version 2. */
const headAgain: Member = group("hdr", [u16("flags", "As hdr.flags"), u16("domid", "As hdr.domid")]);

/** `grant_entry_v2`: all forms in one place, as in C. */
export const grant_entry_v2: Struct = grant("grant_entry_v2", "An entry, version 2, in all its forms", 16, [
  union("", [
    nested("hdr", grant_entry_header),
    group("full_page", [
      headAgain,
      u32("pad0", "Zero"),
      u64("frame", "Frame number of the page, if the type is permit_access or accept_transfer"),
    ]),
    group("sub_page", [
      headAgain,
      u16("page_off", "First byte, if GTF_sub_page is set"),
      u16("length", "Bytes"),
      u64("frame", "Frame number of the page"),
    ]),
    group("transitive", [
      headAgain,
      u16("trans_domid", "Domain that granted it, if the type is transitive"),
      u16("pad0", "Zero"),
      u32("gref", "Its reference there"),
    ]),
    array("__spacer", 4, u32("", "Fills the entry")),
  ]),
]);
/** `grant_status_v2`: the in-use bits of version 2, in frames of their own. */
export const grant_status_v2: Struct = grant("grant_status_v2", "In-use bits of an entry, version 2", 2, [
  u16("status", "GTF_reading, GTF_writing", { flags: { reading: GTF.reading, writing: GTF.writing } }),
]);

/** All structures of this file. */
export const grantStructures: readonly Struct[] = [
  grant_entry_header,
  grant_entry_v1,
  grant_entry_v2,
  grant_entry_v2_full_page,
  grant_entry_v2_sub_page,
  grant_entry_v2_transitive,
  grant_status_v2,
];
