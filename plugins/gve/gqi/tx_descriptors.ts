/**
 * How Linux fills GQI transmit descriptors.
 *
 * @module
 */
import { GQI_FLAG, GQI_PATH_HASH_L4, GQI_TYPE } from "../constants.ts";
import { gve_tx_mtd_desc, gve_tx_pkt_desc, gve_tx_seg_desc } from "../layout_gqi.ts";
import type { TransmitRequest } from "../transmit_request.ts";

const TYPE_FLAGS = gve_tx_pkt_desc.offsetOf("type_flags");
const CSUM_OFFSET = gve_tx_pkt_desc.offsetOf("l4_csum_offset");
const L4_OFFSET = gve_tx_pkt_desc.offsetOf("l4_hdr_offset");
const DESC_CNT = gve_tx_pkt_desc.offsetOf("desc_cnt");
const LEN = gve_tx_pkt_desc.offsetOf("len");
const SEG_LEN = gve_tx_pkt_desc.offsetOf("seg_len");
const SEG_ADDR = gve_tx_pkt_desc.offsetOf("seg_addr");
const L3_OFFSET = gve_tx_seg_desc.offsetOf("l3_offset");
const MSS = gve_tx_seg_desc.offsetOf("mss");
const PATH_STATE = gve_tx_mtd_desc.offsetOf("path_state");
const RESERVED0 = gve_tx_mtd_desc.offsetOf("reserved0");
const PATH_HASH = gve_tx_mtd_desc.offsetOf("path_hash");
const RESERVED1 = gve_tx_mtd_desc.offsetOf("reserved1");
const { STD, TSO, SEG, MTD } = GQI_TYPE;
const { L4CSUM, IPV6 } = GQI_FLAG;

/** Writes a packet descriptor at `at`: the packet has `count` of them, and `header` bytes in this one. */
export function writePacket(
  view: DataView,
  at: number,
  request: TransmitRequest,
  count: number,
  header: number,
  address: number,
  l4: number,
): void {
  const tso = request.segmentSize > 0;
  const offload = tso || request.checksum;
  view.setUint8(at + TYPE_FLAGS, tso ? TSO | L4CSUM : offload ? STD | L4CSUM : STD);
  view.setUint8(at + CSUM_OFFSET, offload ? request.checksumOffset >> 1 : 0);
  view.setUint8(at + L4_OFFSET, offload ? l4 >> 1 : 0);
  view.setUint8(at + DESC_CNT, count);
  view.setUint16(at + LEN, request.length);
  view.setUint16(at + SEG_LEN, header);
  setAddress(view, at + SEG_ADDR, address);
}

/** Writes a metadata descriptor. */
export function writeMetadata(view: DataView, at: number, hash: number): void {
  view.setUint8(at + TYPE_FLAGS, MTD);
  view.setUint8(at + PATH_STATE, GQI_PATH_HASH_L4);
  view.setUint16(at + RESERVED0, 0);
  view.setUint32(at + PATH_HASH, hash);
  setAddress(view, at + RESERVED1, 0);
}

/** Writes a segment. Without TSO three of its fields keep what the slot held. */
export function writeSegment(
  view: DataView,
  at: number,
  request: TransmitRequest,
  length: number,
  address: number,
): void {
  if (request.segmentSize > 0) {
    view.setUint8(at + TYPE_FLAGS, request.segmentV6 ? SEG | IPV6 : SEG);
    view.setUint8(at + L3_OFFSET, request.networkOffset >> 1);
    view.setUint16(at + MSS, request.segmentSize);
  } else view.setUint8(at + TYPE_FLAGS, SEG);
  view.setUint16(at + SEG_LEN, length);
  setAddress(view, at + SEG_ADDR, address);
}

function setAddress(view: DataView, at: number, address: number): void {
  const high = Math.floor(address / 4294967296);
  view.setUint32(at, high);
  view.setUint32(at + 4, address - high * 4294967296);
}
