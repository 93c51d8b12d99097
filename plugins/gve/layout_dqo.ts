/**
 * DQO rings and doorbells. All little endian; bit fields from the lowest bit up.
 *
 * @module
 */
import {
  type Bit,
  bitfield,
  bits,
  bytes,
  group,
  type Member,
  type Struct,
  struct,
  u16,
  u32,
  u64,
  u8,
  union,
} from "../../core/layout.ts";
import { DQO_COMPLETION, DQO_DTYPE } from "./constants.ts";

function ring(name: string, summary: string, size: number, fields: readonly Member[], source = DESC): Struct {
  return struct(name, { summary, source, order: "le", size, fields });
}
const DESC = "Linux gve_desc_dqo.h";
const dtype: Bit = bits("dtype", 5, "Kind of descriptor", { values: DQO_DTYPE });
function flex(...numbers: readonly number[]): Member[] {
  return numbers.map((n) => u8(`flex${n}`, `Metadata byte ${n}`));
}
const context: readonly Member[] = [
  bitfield(1, [dtype, bits("tso", 1, "1 in a TSO context"), bits("cmd_reserved1", 2, "Zero")]),
  u8("cmd_reserved2", "Zero"),
];

/** A data descriptor. */
export const gve_tx_pkt_desc_dqo: Struct = ring("gve_tx_pkt_desc_dqo", "DQO transmit: data", 16, [
  u64("buf_addr", "Address"),
  bitfield(1, [
    dtype,
    bits("end_of_packet", 1, "Last of the packet"),
    bits("checksum_offload_enable", 1, "Compute the L4 checksum"),
    bits("report_event", 1, "Ask for a DESCRIPTOR completion: on a packet's last, at least 32 apart"),
  ]),
  u8("reserved0", "Zero"),
  u16("reserved1", "Zero"),
  u16("compl_tag", "Comes back in the completion; bit 15 must be clear"),
  bitfield(2, [bits("buf_size", 14, "Bytes, 1 to 16383"), bits("reserved2", 2, "Zero")]),
]);
/** A TSO context. */
export const gve_tx_tso_context_desc_dqo: Struct = ring(
  "gve_tx_tso_context_desc_dqo",
  "DQO transmit: TSO",
  16,
  [
    bitfield(4, [
      bits("tso_total_len", 24, "L4 payload bytes; the hardware takes 18 bits"),
      bits("flex10", 8, "Metadata byte 10"),
    ]),
    bitfield(2, [bits("mss", 14, "Payload per segment, 88 to 9728"), bits("reserved", 2, "Zero")]),
    u8("header_len", "Bytes of the headers"),
    ...flex(11),
    ...context,
    ...flex(0, 5, 6, 7, 8, 9),
  ],
);
/** A general context. */
export const gve_tx_general_context_desc_dqo: Struct = ring(
  "gve_tx_general_context_desc_dqo",
  "DQO transmit: metadata",
  16,
  [
    ...flex(4, 5, 6, 7, 8, 9, 10, 11),
    ...context,
    u16("reserved", "Zero"),
    ...flex(0, 1, 2, 3),
  ],
);
/** The metadata that the flex bytes carry. */
export const gve_tx_metadata_dqo: Struct = ring("gve_tx_metadata_dqo", "Metadata in the flex bytes", 12, [
  union("", [
    group("", [
      u8("version", "0"),
      bitfield(2, [
        bits("path_hash", 15, "Flow hash; 0x7FFF stands for 0"),
        bits("rehash_event", 1, "The flow was hashed anew"),
      ]),
      bytes("reserved", 9, "Zero"),
    ]),
    bytes("bytes", 12, "All of it, as it is spread over flex bytes"),
  ]),
]);

const completion: Member = bitfield(2, [
  bits("id", 11, "Transmit queue"),
  bits("type", 3, "Kind of completion", { values: DQO_COMPLETION }),
  bits("reserved0", 1, "Zero"),
  bits("generation", 1, "1 on the first lap, then changing with every lap"),
]);
/** A transmit completion that names a packet. */
export const gve_tx_compl_desc: Struct = ring(
  "gve_tx_compl_desc:tag",
  "DQO transmit completion of a packet",
  8,
  [
    completion,
    u16("completion_tag", "Tag of the packet"),
    u32("reserved1", "Zero"),
  ],
);
/** A transmit completion that names a descriptor. */
export const gve_tx_compl_desc_head: Struct = ring(
  "gve_tx_compl_desc:head",
  "DQO transmit completion of descriptors",
  8,
  [completion, u16("tx_head", "All descriptors before this index were fetched"), u32("reserved1", "Zero")],
);
/** A receive buffer. */
export const gve_rx_desc_dqo: Struct = ring("gve_rx_desc_dqo", "DQO receive: buffer", 32, [
  u16("buf_id", "Comes back in the completion"),
  u16("reserved0", "Zero"),
  u32("reserved1", "Zero"),
  u64("buf_addr", "Address"),
  u64("header_buf_addr", "Address of the header buffer; 0 without header split"),
  u64("reserved2", "Zero"),
]);

const received: readonly Member[] = [
  bitfield(1, [bits("rxdid", 4, "1"), bits("reserved0", 4, "Zero")]),
  bitfield(1, [
    bits("loopback", 1, "Came from this host"),
    bits("ipv6_ex_add", 1, "IPv6 with extensions: no checksum verdict"),
    bits("rx_error", 1, "The packet is bad"),
    bits("reserved1", 5, "Zero"),
  ]),
  bitfield(2, [
    bits("packet_type", 10, "Index into the packet type map"),
    bits("ip_hdr_err", 1, "Bad IP header"),
    bits("udp_len_err", 1, "Bad UDP length"),
    bits("raw_cs_invalid", 1, "raw_cs does not hold"),
    bits("reserved2", 3, "Zero"),
  ]),
  bitfield(2, [
    bits("packet_len", 14, "Bytes in this buffer"),
    bits("generation", 1, "1 on the first lap, then changing with every lap"),
    bits("buffer_queue_id", 1, "0"),
  ]),
  bitfield(2, [
    bits("header_len", 10, "Bytes in the header buffer"),
    bits("rsc", 1, "Coalesced packet"),
    bits("split_header", 1, "The header is in the header buffer"),
    bits("reserved3", 4, "Zero"),
  ]),
  bitfield(1, [
    bits("descriptor_done", 1, "1; drivers test the generation"),
    bits("end_of_packet", 1, "Last buffer of the packet"),
    bits("header_buffer_overflow", 1, "The header did not fit"),
    bits("l3_l4_processed", 1, "The checksum bits hold"),
    bits("csum_ip_err", 1, "Bad IPv4 header checksum"),
    bits("csum_l4_err", 1, "Bad L4 checksum"),
    bits("csum_external_ip_err", 1, "Bad outer IP checksum"),
    bits("csum_external_udp_err", 1, "Bad outer UDP checksum"),
  ]),
  u8("status_error1", "Unused by drivers"),
];
const tail: readonly Member[] = [
  u16("buf_id", "As posted"),
  union("", [u16("raw_cs", "Raw checksum"), u16("rsc_seg_len", "With rsc: length of the segments")]),
  u32("hash", "Toeplitz hash"),
  u32("reserved6", "Zero"),
];
/** A receive completion. */
export const gve_rx_compl_desc_dqo: Struct = ring("gve_rx_compl_desc_dqo", "DQO receive completion", 32, [
  ...received,
  u16("reserved5", "Zero"),
  ...tail,
  u64("reserved7", "Zero"),
]);
/** A receive completion as newer drivers read it. */
export const gve_rx_compl_desc_dqo_ts: Struct = ring(
  "gve_rx_compl_desc_dqo@ts",
  "DQO receive completion with timestamp",
  32,
  [
    ...received,
    u8("reserved5", "Zero"),
    u8("ts_sub_nsecs_low", "Bit 0: the timestamp holds"),
    ...tail,
    u32("reserved7", "Zero"),
    u32("ts", "Low half of the NIC's nanoseconds"),
  ],
  "Linux gve_desc_dqo.h (upstream), DPDK",
);
/** How FreeBSD fills `buf_id` with page lists. */
export const gve_rx_qpl_buf_id_dqo: Struct = ring(
  "gve_rx_qpl_buf_id_dqo@freebsd",
  "buf_id of a page list buffer",
  2,
  [bitfield(2, [bits("buf_id", 11, "Page"), bits("frag_num", 5, "Buffer in the page")])],
  "FreeBSD gve_dqo.h",
);
/** How iPXE fills `compl_tag` of a packet's last descriptor. */
export const gve_dqo_tx_tag: Struct = ring("gve_dqo_tx_tag@ipxe", "compl_tag as iPXE fills it", 2, [
  u8("id", "Buffer"),
  u8("count", "Descriptors, at most 127"),
], "iPXE gve.h");
/** Doorbell of a DQO queue. */
export const gve_dqo_queue_doorbell: Struct = ring(
  "gve_dqo_queue_doorbell",
  "BAR2: doorbell of a DQO queue",
  4,
  [
    u32("index", "Ring index behind the last entry"),
  ],
  "Linux gve_dqo.h",
);
/** Interrupt doorbell of a DQO device. */
export const gve_dqo_irq_doorbell: Struct = ring("gve_dqo_irq_doorbell", "BAR2: DQO interrupt doorbell", 4, [
  bitfield(4, [
    bits("enable", 1, "Arm"),
    bits("clear_pba", 1, "Clear what is pending"),
    bits("reserved0", 1, "Zero"),
    bits("itr_index", 2, "Which interval to set; 3 for none"),
    bits("interval_2us", 12, "Interval in units of 2 us"),
    bits("reserved1", 13, "Zero"),
    bits("no_int_mode", 1, "Write completions back without interrupts"),
    bits("reserved2", 1, "Zero"),
  ]),
], "Linux gve_dqo.h, DPDK");

/** DQO rings and doorbells. */
export const dqoStructures: readonly Struct[] = [
  gve_tx_pkt_desc_dqo,
  gve_tx_tso_context_desc_dqo,
  gve_tx_general_context_desc_dqo,
  gve_tx_metadata_dqo,
  gve_tx_compl_desc,
  gve_tx_compl_desc_head,
  gve_rx_desc_dqo,
  gve_rx_compl_desc_dqo,
  gve_rx_compl_desc_dqo_ts,
  gve_rx_qpl_buf_id_dqo,
  gve_dqo_tx_tag,
  gve_dqo_queue_doorbell,
  gve_dqo_irq_doorbell,
];
