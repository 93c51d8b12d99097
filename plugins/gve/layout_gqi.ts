/**
 * GQI rings and doorbells. All big endian.
 *
 * @module
 */
import {
  bitfield,
  bits,
  bytes,
  type Member,
  type Struct,
  struct,
  u16,
  u32,
  u64,
  u8,
  union,
} from "../../core/layout.ts";
import { GQI_TYPE } from "./constants.ts";

function ring(
  name: string,
  summary: string,
  size: number,
  fields: readonly Member[],
  source: string,
): Struct {
  return struct(name, { summary, source, order: "be", size, fields });
}
const DESC = "Linux gve_desc.h";
const typeFlags: Member = u8("type_flags", "Type in the high nibble, flags in the low one", {
  values: GQI_TYPE,
});

/** First descriptor of a packet. */
export const gve_tx_pkt_desc: Struct = ring("gve_tx_pkt_desc", "GQI transmit: packet", 16, [
  typeFlags,
  u8("l4_csum_offset", "Checksum field, in 2-byte units from the L4 header"),
  u8("l4_hdr_offset", "L4 header, in 2-byte units from the start"),
  u8("desc_cnt", "Descriptors of the packet, this one included"),
  u16("len", "Bytes of the packet"),
  u16("seg_len", "Bytes of this segment"),
  u64("seg_addr", "Offset in the page list, or address"),
], DESC);
/** A further segment. */
export const gve_tx_seg_desc: Struct = ring("gve_tx_seg_desc", "GQI transmit: segment", 16, [
  typeFlags,
  u8("l3_offset", "TSO: IP header, in 2-byte units; else whatever the slot held"),
  u16("reserved", "Whatever the slot held"),
  u16("mss", "TSO: payload per segment; else whatever the slot held"),
  u16("seg_len", "Bytes of this segment"),
  u64("seg_addr", "Offset in the page list, or address"),
], DESC);
/** Metadata. */
export const gve_tx_mtd_desc: Struct = ring("gve_tx_mtd_desc", "GQI transmit: metadata", 16, [
  typeFlags,
  u8("path_state", "State in 3:0, kind of the hash in 7:4 (1: layer 4)"),
  u16("reserved0", "Zero"),
  u32("path_hash", "Flow hash"),
  u64("reserved1", "Zero"),
], DESC);
/** What the device writes for a received buffer. */
export const gve_rx_desc: Struct = ring("gve_rx_desc", "GQI receive: descriptor", 64, [
  bytes("padding", 48, "Zero"),
  u32("rss_hash", "Toeplitz hash"),
  u16("mss", "Payload per segment; with ERR an error code (Windows)"),
  u16("reserved", "Zero"),
  u8("hdr_len", "Bytes of the headers, padding included"),
  u8("hdr_off", "Start of the headers, in 64-byte units"),
  u16("csum", "Ones' complement sum from L3 on; 0 if not provided"),
  u16("len", "Bytes in this buffer; in the first one 2 of them are padding"),
  u16("flags_seq", "gve_rx_flags_seq"),
], DESC);
/** What the driver writes for a receive buffer. */
export const gve_rx_data_slot: Struct = ring("gve_rx_data_slot", "GQI receive: data slot", 8, [
  union("", [u64("addr", "Address"), u64("qpl_offset", "With a page list: offset in it")]),
], DESC);
/** The last two bytes of a receive descriptor. */
export const gve_rx_flags_seq: Struct = ring("gve_rx_flags_seq", "GQI receive: flags and sequence", 2, [
  bitfield(2, [
    bits("seq", 3, "1 to 7, then 1 again; 0 is an empty slot"),
    bits("reserved0", 3, "Zero"),
    bits("frag", 1, "IP fragment"),
    bits("ipv4", 1, "IPv4"),
    bits("ipv6", 1, "IPv6"),
    bits("tcp", 1, "TCP"),
    bits("udp", 1, "UDP"),
    bits("err", 1, "The packet is bad"),
    bits("reserved1", 1, "Zero"),
    bits("pkt_cont", 1, "The packet continues in the next descriptor"),
    bits("reserved2", 2, "Zero"),
  ]),
], DESC);
/** Doorbell of a GQI queue. */
export const gve_gqi_queue_doorbell: Struct = ring(
  "gve_gqi_queue_doorbell",
  "BAR2: doorbell of a GQI queue",
  4,
  [
    u32("count", "Descriptors or slots posted since the queue was created, free-running"),
  ],
  "Linux gve.h",
);
/** Interrupt doorbell of a GQI device. */
export const gve_gqi_irq_doorbell: Struct = ring("gve_gqi_irq_doorbell", "BAR2: GQI interrupt doorbell", 4, [
  bitfield(4, [
    bits("reserved", 29, "Zero"),
    bits("event", 1, "Raise again if something has happened meanwhile"),
    bits("mask", 1, "No interrupts"),
    bits("ack", 1, "Handled"),
  ]),
], "Linux gve_register.h");

/** GQI rings and doorbells. */
export const gqiStructures: readonly Struct[] = [
  gve_tx_pkt_desc,
  gve_tx_seg_desc,
  gve_tx_mtd_desc,
  gve_rx_desc,
  gve_rx_data_slot,
  gve_rx_flags_seq,
  gve_gqi_queue_doorbell,
  gve_gqi_irq_doorbell,
];
