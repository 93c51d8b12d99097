/**
 * The structures of capture files, in little endian; the writer of a file chooses the byte order.
 *
 * @module
 */
import { bitfield, bits, bytes, i32, type Struct, struct, u16, u32, u64, u8 } from "../core/layout.ts";

const PCAP_SOURCE = "draft-ietf-opsawg-pcap";
const PCAPNG_SOURCE = "draft-ietf-opsawg-pcapng";

/** First four bytes of a classic capture, as the writer's byte order shows them. */
export const PCAP_MAGICS: Readonly<Record<string, number>> = {
  microsecond: 0xa1b2c3d4,
  nanosecond: 0xa1b23c4d,
  modified: 0xa1b2cd34,
};

/** File header of a classic capture. */
export const pcap_file_header: Struct = struct("pcap_file_header", {
  summary: "Starts a classic capture",
  source: `${PCAP_SOURCE}, 4`,
  size: 24,
  fields: [
    u32("magic", "Byte order, unit of time and kind of record header", { values: PCAP_MAGICS }),
    u16("version_major", "2, or 543 in old files of DG/UX"),
    u16("version_minor", "4; below 3 the two lengths of a record are interchanged"),
    i32("thiszone", "Once the offset to Greenwich; ignored"),
    u32("sigfigs", "Once the accuracy of time; ignored"),
    u32("snaplen", "Most bytes captured of a packet; 0 or above 2^31-1: no limit"),
    bitfield(4, [
      bits("linktype", 16, "What the packets start with"),
      bits("reserved", 10, "0"),
      bits("p", 1, "Whether the next field says something"),
      bits("r", 1, "0"),
      bits("fcs_len", 4, "Length of the frame check sequence in units of 2 bytes"),
    ]),
  ],
});

/** Record header of a classic capture. */
export const pcap_pkthdr: Struct = struct("pcap_pkthdr", {
  summary: "Stands before each packet of a classic capture",
  source: `${PCAP_SOURCE}, 5`,
  size: 16,
  fields: [
    u32("ts_sec", "Seconds since 1970"),
    u32("ts_usec", "Microseconds or nanoseconds within the second"),
    u32("caplen", "Bytes that follow"),
    u32("len", "Bytes that were on the wire"),
  ],
});

/** Record header of the modified format, as most patches of it wrote it. */
export const pcap_patched_pkthdr: Struct = struct("pcap_patched_pkthdr", {
  summary: "Stands before each packet of a capture in the modified format",
  source: "libpcap, pcap-int.h: pcap_sf_patched_pkthdr",
  size: 24,
  fields: [
    u32("ts_sec", "Seconds since 1970"),
    u32("ts_usec", "Microseconds within the second"),
    u32("caplen", "Bytes that follow"),
    u32("len", "Bytes that were on the wire"),
    u32("index", "Number of the interface"),
    u16("protocol", "Protocol as the kernel saw it"),
    u8("pkt_type", "Kind as the kernel saw it"),
    u8("pad", "Nothing"),
  ],
});

/** Record header of the modified format, as the patch of 15 September 1999 wrote it. */
export const pcap_patched_pkthdr_ss990915: Struct = struct("pcap_patched_pkthdr:ss990915", {
  summary: "Stands before each packet of a capture in the first modified format",
  source: "wireshark, wiretap/libpcap.h: pcaprec_ss990915_hdr",
  size: 28,
  fields: [
    ...pcap_patched_pkthdr.members.slice(0, -1),
    u8("cpu1", "Debugging aid"),
    u8("cpu2", "Debugging aid"),
    bytes("pad", 3, "Nothing"),
  ],
});

/** Block types of pcapng. */
export const BLOCK_TYPES: Readonly<Record<string, number>> = {
  section_header: 0x0a0d0d0a,
  interface_description: 1,
  packet: 2,
  simple_packet: 3,
  name_resolution: 4,
  interface_statistics: 5,
  enhanced_packet: 6,
  decryption_secrets: 10,
  custom: 0xbad,
  custom_do_not_copy: 0x40000bad,
};

/** Byte-order magic of a section header. */
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

const head = [
  u32("type", "What it holds", { values: BLOCK_TYPES }),
  u32("total_length", "Bytes of the block, with this field and its copy at the end"),
];

/** What every pcapng block starts with. */
export const pcapng_block: Struct = struct("pcapng_block", {
  summary: "Starts a block; its length stands at its end once more",
  source: `${PCAPNG_SOURCE}, 3.1`,
  size: 8,
  fields: head,
});

/** Section header block up to its options. */
export const pcapng_shb: Struct = struct("pcapng_shb", {
  summary: "Starts a section and says its byte order",
  source: `${PCAPNG_SOURCE}, 4.1`,
  size: 24,
  fields: [
    ...head,
    u32("byte_order_magic", "0x1a2b3c4d in the order of the section"),
    u16("version_major", "1"),
    u16("version_minor", "0; 2 is read as 0"),
    u64("section_length", "Bytes of the section, or -1; not relied on", { signed: true }),
  ],
});

/** Interface description block up to its options. */
export const pcapng_idb: Struct = struct("pcapng_idb", {
  summary: "Describes the next interface of the section",
  source: `${PCAPNG_SOURCE}, 4.2`,
  size: 16,
  fields: [
    ...head,
    u16("linktype", "What its packets start with"),
    u16("reserved", "0; ignored"),
    u32("snaplen", "Most bytes captured of a packet; 0: no limit"),
  ],
});

/** Enhanced packet block up to the packet. */
export const pcapng_epb: Struct = struct("pcapng_epb", {
  summary: "Holds a packet",
  source: `${PCAPNG_SOURCE}, 4.3`,
  size: 28,
  fields: [
    ...head,
    u32("interface_id", "Number of the interface in its section"),
    u32("timestamp_high", "Upper half of the time in units of the interface"),
    u32("timestamp_low", "Lower half"),
    u32("caplen", "Bytes that follow, padded to a multiple of 4"),
    u32("len", "Bytes that were on the wire"),
  ],
});

/** Simple packet block up to the packet. */
export const pcapng_spb: Struct = struct("pcapng_spb", {
  summary: "Holds a packet of interface 0, without a time",
  source: `${PCAPNG_SOURCE}, 4.4`,
  size: 12,
  fields: [
    ...head,
    u32("len", "Bytes that were on the wire; as many follow, up to the interface's snaplen"),
  ],
});

/** Obsolete packet block up to the packet. */
export const pcapng_pb: Struct = struct("pcapng_pb", {
  summary: "Holds a packet; obsolete",
  source: `${PCAPNG_SOURCE}, appendix A`,
  size: 28,
  fields: [
    ...head,
    u16("interface_id", "Number of the interface in its section"),
    u16("drops", "Packets lost before it, or 65535 if not known"),
    u32("timestamp_high", "Upper half of the time in units of the interface"),
    u32("timestamp_low", "Lower half"),
    u32("caplen", "Bytes that follow, padded to a multiple of 4"),
    u32("len", "Bytes that were on the wire"),
  ],
});

/** Head of an option. */
export const pcapng_option: Struct = struct("pcapng_option", {
  summary: "Starts an option; its value follows, padded to a multiple of 4",
  source: `${PCAPNG_SOURCE}, 3.5`,
  size: 4,
  fields: [
    u16("code", "What it says; 0 ends the list"),
    u16("length", "Bytes of the value without the padding"),
  ],
});

/** Option codes that ringpipe reads or writes. */
export const OPTION_CODES: Readonly<Record<string, number>> = {
  endofopt: 0,
  comment: 1,
  shb_userappl: 4,
  if_name: 2,
  if_tsresol: 9,
  if_fcslen: 13,
  if_tsoffset: 14,
};
