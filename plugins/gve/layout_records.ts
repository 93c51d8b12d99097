/**
 * What admin commands point to: device descriptor and options, shared cells, reports, flow rules. All big endian.
 *
 * @module
 */
import { array, bytes, type Member, type Struct, struct, u16, u32, u64, u8 } from "../../core/layout.ts";
import { CAPABILITY, FEATURE, OPTION, STAT } from "./constants.ts";

const LINUX = "Linux gve_adminq.h";

function record(
  name: string,
  summary: string,
  size: number,
  fields: readonly Member[],
  source = LINUX,
): Struct {
  return struct(name, { summary, source, order: "be", size, fields });
}

/** The device descriptor. */
export const gve_device_descriptor: Struct = record("gve_device_descriptor", "What the device is", 40, [
  u64("max_registered_pages", "Most pages over all page lists"),
  u16("reserved1", "Zero (Windows: receive groups)"),
  u16("tx_queue_entries", "Entries of a transmit ring"),
  u16("rx_queue_entries", "Entries of a receive ring"),
  u16("default_num_queues", "Suggested number of queues; 0 for none"),
  u16("mtu", "Largest MTU"),
  u16("counters", "Event counters the device wants"),
  u16("tx_pages_per_qpl", "Suggested pages of a transmit page list"),
  u16("rx_pages_per_qpl", "Suggested pages of a receive page list"),
  bytes("mac", 6, "MAC address"),
  u16("num_device_options", "Options that follow"),
  u16("total_length", "Bytes of descriptor and options"),
  bytes("reserved3", 6, "Zero"),
]);
/** The header of an option. */
export const gve_device_option: Struct = record("gve_device_option", "Header of a device option", 8, [
  u16("option_id", "Which", { values: OPTION }),
  u16("option_length", "Bytes that follow this header"),
  u32("required_features_mask", "Drivers skip an option whose mask is not 0"),
]);

const features: Member = u32("supported_features_mask", "Features in this queue format", { flags: FEATURE });
function option(
  name: string,
  summary: string,
  size: number,
  fields: readonly Member[],
  source = LINUX,
): Struct {
  return record(
    `gve_device_option_${name}`,
    `Device option: ${summary}`,
    size,
    [features, ...fields],
    source,
  );
}

/** Option GQI_RDA. */
export const gve_device_option_gqi_rda: Struct = option("gqi_rda", "GQI with raw addressing", 4, []);
/** Option GQI_QPL. */
export const gve_device_option_gqi_qpl: Struct = option("gqi_qpl", "GQI with page lists", 4, []);
/** Option DQO_RDA. */
export const gve_device_option_dqo_rda: Struct = option("dqo_rda", "DQO with raw addressing", 8, [
  u32("reserved", "Zero"),
]);
/** Option DQO_RDA as older drivers read it. */
export const gve_device_option_dqo_rda_entries: Struct = option(
  "dqo_rda@entries",
  "DQO with raw addressing (old)",
  8,
  [
    u16("tx_comp_ring_entries", "Entries of the transmit completion ring"),
    u16("rx_buff_ring_entries", "Entries of the receive buffer ring"),
  ],
  "FreeBSD, DPDK gve_adminq.h",
);
/** Option DQO_QPL as Linux reads it. */
export const gve_device_option_dqo_qpl: Struct = option("dqo_qpl@linux", "DQO with page lists", 8, [
  u16("tx_pages_per_qpl", "Suggested pages of a transmit page list"),
  u16("rx_pages_per_qpl", "Suggested pages of a receive page list"),
]);
/** Option DQO_QPL as FreeBSD reads it. */
export const gve_device_option_dqo_qpl_freebsd: Struct = option("dqo_qpl@freebsd", "DQO with page lists", 8, [
  u16("tx_comp_ring_entries", "Entries of the transmit completion ring"),
  u16("rx_buff_ring_entries", "Entries of the receive buffer ring"),
], "FreeBSD gve_adminq.h");
/** Option MODIFY_RING without minima. */
export const gve_device_option_modify_ring_8: Struct = option("modify_ring@8", "ring sizes, no minima", 8, [
  u16("max_rx_ring_size", "Largest receive ring"),
  u16("max_tx_ring_size", "Largest transmit ring"),
]);
/** Option MODIFY_RING. */
export const gve_device_option_modify_ring: Struct = option("modify_ring", "ring sizes", 12, [
  u16("max_rx_ring_size", "Largest receive ring"),
  u16("max_tx_ring_size", "Largest transmit ring"),
  u16("min_rx_ring_size", "Smallest receive ring"),
  u16("min_tx_ring_size", "Smallest transmit ring"),
]);
/** Option JUMBO_FRAMES. */
export const gve_device_option_jumbo_frames: Struct = option("jumbo_frames", "large MTU", 8, [
  u16("max_mtu", "Largest MTU"),
  bytes("padding", 2, "Zero"),
]);
/** Option BUFFER_SIZES. */
export const gve_device_option_buffer_sizes: Struct = option("buffer_sizes", "receive buffer sizes", 8, [
  u16("packet_buffer_size", "Largest packet buffer"),
  u16("header_buffer_size", "Largest header buffer"),
]);
/** Option FLOW_STEERING of January 2024. */
export const gve_device_option_flow_steering_8: Struct = option("flow_steering@8", "flow rules (old)", 8, [
  u16("max_num_rules", "Most rules"),
  bytes("padding", 2, "Zero"),
], "Linux out-of-tree gve_adminq.h, January 2024");
/** Option FLOW_STEERING. */
export const gve_device_option_flow_steering: Struct = option("flow_steering", "flow rules", 12, [
  u32("reserved", "Zero"),
  u32("max_flow_rules", "Most rules"),
]);
/** Option NIC_TIMESTAMP. */
export const gve_device_option_nic_timestamp: Struct = option("nic_timestamp", "receive timestamps", 4, []);
/** Option RSS_CONFIG. */
export const gve_device_option_rss_config: Struct = option("rss_config", "receive side scaling", 8, [
  u16("hash_key_size", "Bytes of the key"),
  u16("hash_lut_size", "Entries of the table"),
]);

/** One page of a page list. */
export const gve_page_list_entry: Struct = record("gve_page_list_entry", "Page list entry", 8, [
  u64("addr", "Address of a page"),
]);
/** What a queue gets. */
export const gve_queue_resources: Struct = record("gve_queue_resources", "What the device gave a queue", 64, [
  u32("db_index", "Its doorbell: index of a 32-bit word in BAR2"),
  u32("counter_index", "Its event counter"),
  bytes("reserved", 56, "Zero"),
]);
/** An interrupt doorbell cell. */
export const gve_irq_db_index: Struct = record("gve_irq_db_index", "Interrupt doorbell cell", 4, [
  u32("bar2_word_index", "Index of a 32-bit word in BAR2"),
]);
/** An event counter. */
export const gve_event_counter: Struct = record("gve_event_counter", "Event counter (GQI transmit)", 4, [
  u32("count", "Descriptors taken since the queue was created, free-running"),
]);
/** What the driver is. */
export const gve_driver_info: Struct = record("gve_driver_info", "What the driver is", 304, [
  u8("os_type", "Operating system", { values: { LINUX: 1, WINDOWS: 2, FREEBSD: 3, ESXI: 4, DPDK: 5 } }),
  u8("driver_major", "Driver version"),
  u8("driver_minor", "Driver version"),
  u8("driver_sub", "Driver version"),
  u32("os_version_major", "Operating system version"),
  u32("os_version_minor", "Operating system version"),
  u32("os_version_sub", "Operating system version"),
  u64("capability_flags0", "Capabilities 0 to 63", { flags: CAPABILITY }),
  u64("capability_flags1", "Capabilities 64 to 127"),
  u64("capability_flags2", "Capabilities 128 to 191"),
  u64("capability_flags3", "Capabilities 192 to 255"),
  bytes("os_version_str1", 128, "Text, padded with NUL"),
  bytes("os_version_str2", 128, "Text, padded with NUL"),
]);
/** What a packet type of a DQO receive completion means. */
export const gve_ptype_entry: Struct = record("gve_ptype_entry", "Entry of the packet type map", 2, [
  u8("l3_type", "Network layer", { values: { UNKNOWN: 0, OTHER: 1, IPV4: 2, IPV6: 3 } }),
  u8("l4_type", "Transport layer", { values: { UNKNOWN: 0, OTHER: 1, TCP: 2, UDP: 3, ICMP: 4, SCTP: 5 } }),
]);
/** One statistic. */
export const stats: Struct = record("stats", "One statistic of the report", 16, [
  u32("stat_name", "Which", { values: STAT }),
  u32("queue_id", "Of which queue"),
  u64("value", "Value"),
]);
/** The statistics block. */
export const gve_stats_report: Struct = record("gve_stats_report", "Statistics block", 8, [
  u64("written_count", "How often the driver has written it"),
  array("stats", "rest", stats),
]);
/** The link's speed. */
export const gve_link_speed: Struct = record("gve_link_speed", "Answer to REPORT_LINK_SPEED", 8, [
  u64("bits_per_second", "Speed"),
]);
/** The NIC's clock. */
export const gve_nic_ts_report: Struct = record("gve_nic_ts_report", "Answer to REPORT_NIC_TIMESTAMP", 40, [
  u64("nic_timestamp", "Nanoseconds"),
  u64("pre_cycles", "Host cycle counter before the reading"),
  u64("post_cycles", "Host cycle counter after it"),
  u64("reserved3", "Zero"),
  u64("reserved4", "Zero"),
]);

/** An address of four words, flattened as the golden vectors name them. */
function address(name: string, meaning: string): Member[] {
  return [0, 1, 2, 3].map((i) => u32(`${name}${i}`, `${meaning}, word ${i} (IPv4: word 0)`));
}
function flow(prefix: string, meaning: string): Member[] {
  return [
    ...address(`${prefix}src_ip`, `Source address${meaning}`),
    ...address(`${prefix}dst_ip`, `Destination address${meaning}`),
    u16(`${prefix}src_port`, `Source port${meaning}; with the next one the SPI`),
    u16(`${prefix}dst_port`, `Destination port${meaning}`),
    u8(`${prefix}tos`, `TOS or traffic class${meaning}`),
    bytes(`${prefix}padding`, 3, "Tail of the C structure"),
  ];
}
const rule: readonly Member[] = [
  u16("flow_type", "Protocols", {
    values: {
      TCPV4: 0,
      UDPV4: 1,
      SCTPV4: 2,
      AHV4: 3,
      ESPV4: 4,
      TCPV6: 5,
      UDPV6: 6,
      SCTPV6: 7,
      AHV6: 8,
      ESPV6: 9,
    },
  }),
  u16("action", "Receive queue"),
  ...flow("key_", ""),
  ...flow("mask_", " mask"),
];
/** What a flow rule matches. */
export const gve_flow_spec: Struct = record("gve_flow_spec", "What a flow rule matches", 40, flow("", ""));
/** The inner command of EXTENDED_COMMAND for flow rules. */
export const gve_adminq_configure_flow_rule: Struct = record(
  "gve_adminq_configure_flow_rule",
  "Installs or removes a flow rule",
  92,
  [
    u16("opcode", "What to do", { values: { ADD: 0, DELETE: 1, RESET: 2 } }),
    bytes("padding", 2, "Zero"),
    ...rule,
    u32("location", "Rule slot"),
  ],
);
/** The same in the out-of-tree driver of January 2024. */
export const gve_adminq_configure_flow_rule_88: Struct = record(
  "gve_adminq_configure_flow_rule@88",
  "Installs or removes a flow rule (old)",
  88,
  [u16("cmd", "What to do"), u16("loc", "Rule slot"), ...rule],
  "Linux out-of-tree gve_adminq.h, January 2024",
);
/** Header of the answer to QUERY_FLOW_RULES. */
export const gve_query_flow_rules_descriptor: Struct = record(
  "gve_query_flow_rules_descriptor",
  "Answer to QUERY_FLOW_RULES",
  16,
  [
    u32("num_flow_rules", "Installed rules"),
    u32("max_flow_rules", "Capacity"),
    u32("num_queried_rules", "Records that follow"),
    u32("total_length", "Bytes in all"),
  ],
);
/** A record of that answer. */
export const gve_adminq_queried_flow_rule: Struct = record(
  "gve_adminq_queried_flow_rule",
  "An installed flow rule",
  88,
  [u32("location", "Rule slot"), ...rule],
);
/** Header of the answer to QUERY_RSS. */
export const gve_query_rss_descriptor: Struct = record("gve_query_rss_descriptor", "Answer to QUERY_RSS", 8, [
  u32("total_length", "Bytes in all: this header, key and table"),
  u16("hash_types", "What is hashed"),
  u8("hash_alg", "Algorithm"),
  u8("reserved", "Zero"),
]);
/** An entry of the receive side scaling table. */
export const gve_rss_lut_entry: Struct = record("gve_rss_lut_entry", "Entry of the RSS table", 4, [
  u32("queue", "Receive queue"),
]);

/** Records that admin commands point to. */
export const recordStructures: readonly Struct[] = [
  gve_device_descriptor,
  gve_device_option,
  gve_device_option_gqi_rda,
  gve_device_option_gqi_qpl,
  gve_device_option_dqo_rda,
  gve_device_option_dqo_rda_entries,
  gve_device_option_dqo_qpl,
  gve_device_option_dqo_qpl_freebsd,
  gve_device_option_modify_ring_8,
  gve_device_option_modify_ring,
  gve_device_option_jumbo_frames,
  gve_device_option_buffer_sizes,
  gve_device_option_flow_steering_8,
  gve_device_option_flow_steering,
  gve_device_option_nic_timestamp,
  gve_device_option_rss_config,
  gve_page_list_entry,
  gve_queue_resources,
  gve_irq_db_index,
  gve_event_counter,
  gve_driver_info,
  gve_ptype_entry,
  stats,
  gve_stats_report,
  gve_link_speed,
  gve_nic_ts_report,
  gve_flow_spec,
  gve_adminq_configure_flow_rule,
  gve_adminq_configure_flow_rule_88,
  gve_query_flow_rules_descriptor,
  gve_adminq_queried_flow_rule,
  gve_query_rss_descriptor,
  gve_rss_lut_entry,
];
