/**
 * The structures of virtio-net's control queue: virtio 1.4, 5.1.6.5.
 *
 * @module
 */
import { array, bytes, nested, type Struct, struct, u16, u32, u64, u8 } from "../../core/layout.ts";

const NET = "virtio 1.4, 5.1.6.5; linux/virtio_net.h";

/** The command was carried out. */
export const VIRTIO_NET_OK: number = 0;
/** The command was refused. */
export const VIRTIO_NET_ERR: number = 1;
/** Command classes. */
export const CTRL_CLASS = { RX: 0, MAC: 1, VLAN: 2, ANNOUNCE: 3, MQ: 4 } as const satisfies Readonly<
  Record<string, number>
>;
/** Class RX: receive modes, each with one byte, 0 or 1. */
export const CTRL_RX_COMMANDS: readonly string[] = [
  "promisc",
  "allmulti",
  "alluni",
  "nomulti",
  "nouni",
  "nobcast",
];
/** Class MAC: set the filter table; set the address. */
export const CTRL_MAC = { TABLE_SET: 0, ADDR_SET: 1 } as const satisfies Readonly<Record<string, number>>;
/** Class VLAN: let a VLAN through the filter; no more. */
export const CTRL_VLAN = { ADD: 0, DEL: 1 } as const satisfies Readonly<Record<string, number>>;
/** Class MQ: number of pairs; receive-side scaling; hash without scaling. */
export const CTRL_MQ = { VQ_PAIRS_SET: 0, RSS_CONFIG: 1, HASH_CONFIG: 2 } as const satisfies Readonly<
  Record<string, number>
>;

/** Command header. */
export const virtio_net_ctrl_hdr: Struct = struct("virtio_net_ctrl_hdr", {
  summary: "Start of a control command; a 1-byte ack is the end of its writable part",
  source: NET,
  size: 2,
  fields: [u8("class", "Class of the command"), u8("cmd", "Command within the class")],
});
/** Number of queue pairs. */
export const virtio_net_ctrl_mq: Struct = struct("virtio_net_ctrl_mq", {
  summary: "Class MQ, VQ_PAIRS_SET",
  source: NET,
  size: 2,
  fields: [u16("virtqueue_pairs", "Pairs to use, 1..max_virtqueue_pairs")],
});
/** MAC table. */
export const virtio_net_ctrl_mac: Struct = struct("virtio_net_ctrl_mac", {
  summary: "Class MAC, TABLE_SET: once for unicast, once for multicast addresses",
  source: NET,
  fields: [u32("entries", "How many addresses follow"), array("macs", "rest", bytes("", 6, "Address"))],
});
/** Hash configuration. */
export const virtio_net_hash_config: Struct = struct("virtio_net_hash_config", {
  summary: "Class MQ, HASH_CONFIG as on the wire: C's sizeof has 3 bytes of padding that are not sent",
  source: NET,
  fields: [
    u32("hash_types", "What to hash"),
    array("reserved", 4, u16("", "Zero")),
    u8("hash_key_length", "Bytes of key that follow"),
    bytes("hash_key_data", "rest", "Toeplitz key"),
  ],
});

const rssHead = [
  u32("hash_types", "What to hash"),
  u16("indirection_table_mask", "Entries less one"),
  u16("unclassified_queue", "Receive queue for what is not hashed, queue index / 2"),
];
const rssEntry = u16("", "Receive queue, queue index / 2");
const rssTail = [
  u16("max_tx_vq", "Transmit queues in use"),
  u8("hash_key_length", "Bytes of key that follow"),
  bytes("hash_key_data", "rest", "Toeplitz key"),
];
/**
 * RSS configuration as on the wire, where the table has as many entries as its mask and one.
 *
 * @param entries Entries of the table: a power of two.
 */
export function rssConfig(entries: number): Struct {
  return struct("virtio_net_rss_config", {
    summary: "Class MQ, RSS_CONFIG with one table entry; the table has indirection_table_mask + 1 of them",
    source: NET,
    fields: [...rssHead, array("indirection_table", entries, rssEntry), ...rssTail],
  });
}
/** RSS configuration with a table of one entry. */
export const virtio_net_rss_config: Struct = rssConfig(1);
/** RSS configuration up to the end of its table. */
export const virtio_net_rss_config_hdr: Struct = struct("virtio_net_rss_config_hdr", {
  summary: "Class MQ, RSS_CONFIG: its first part, with a table of any length",
  source: NET,
  fields: [...rssHead, array("indirection_table", "rest", rssEntry)],
});
/** RSS configuration behind its table. */
export const virtio_net_rss_config_trailer: Struct = struct("virtio_net_rss_config_trailer", {
  summary: "Class MQ, RSS_CONFIG: what follows the table",
  source: NET,
  fields: rssTail,
});

/** Coalescing, either direction. */
const virtio_net_ctrl_coal: Struct = struct("virtio_net_ctrl_coal", {
  summary: "Interrupt coalescing",
  source: NET,
  size: 8,
  fields: [u32("max_packets", "Packets to wait for"), u32("max_usecs", "Microseconds to wait")],
});
const virtio_net_ctrl_coal_tx: Struct = struct("virtio_net_ctrl_coal_tx", {
  summary: "Class NOTF_COAL, TX_SET",
  source: NET,
  size: 8,
  fields: [u32("tx_max_packets", "Packets to wait for"), u32("tx_usecs", "Microseconds to wait")],
});
const virtio_net_ctrl_coal_rx: Struct = struct("virtio_net_ctrl_coal_rx", {
  summary: "Class NOTF_COAL, RX_SET",
  source: NET,
  size: 8,
  fields: [u32("rx_max_packets", "Packets to wait for"), u32("rx_usecs", "Microseconds to wait")],
});
const virtio_net_ctrl_coal_vq: Struct = struct("virtio_net_ctrl_coal_vq", {
  summary: "Class NOTF_COAL, VQ_SET and VQ_GET",
  source: NET,
  size: 12,
  fields: [u16("vqn", "Queue index"), u16("reserved", "Zero"), nested("coal", virtio_net_ctrl_coal)],
});

const virtio_net_stats_capabilities: Struct = struct("virtio_net_stats_capabilities", {
  summary: "Class STATS, QUERY: the reply",
  source: NET,
  size: 8,
  fields: [array("supported_stats_types", 1, u64("", "Bit mask"))],
});
const virtio_net_ctrl_queue_stats: Struct = struct("virtio_net_ctrl_queue_stats", {
  summary: "Class STATS, GET: which statistics of which queues",
  source: NET,
  fields: [
    array(
      "stats",
      "rest",
      struct("virtio_net_ctrl_queue_stats.stats", {
        summary: "One queue",
        source: NET,
        size: 16,
        fields: [
          u16("vq_index", "Queue"),
          array("reserved", 3, u16("", "Zero")),
          array("types_bitmap", 1, u64("", "Bit mask")),
        ],
      }),
    ),
  ],
});
const virtio_net_stats_reply_hdr: Struct = struct("virtio_net_stats_reply_hdr", {
  summary: "Class STATS, GET: before each block of the reply",
  source: NET,
  size: 8,
  fields: [
    u8("type", "Kind of statistics"),
    u8("reserved", "Zero"),
    u16("vq_index", "Queue"),
    u16("reserved1", "Zero"),
    u16("size", "Bytes of this block, header included"),
  ],
});

/** A block of the reply to GET: its header, and 64-bit counters by name and meaning. */
function statistics(kind: string, what: string, counters: Readonly<Record<string, string>>): Struct {
  return struct(`virtio_net_stats_${kind}`, {
    summary: `Class STATS, GET: ${what}`,
    source: NET,
    fields: [
      nested("hdr", virtio_net_stats_reply_hdr),
      ...Object.entries(counters).map(([name, meaning]) => u64(name, meaning)),
    ],
  });
}

const statisticsBlocks: readonly Struct[] = [
  statistics("cvq", "the control queue", {
    command_num: "Commands received",
    ok_num: "Commands carried out",
  }),
  statistics("rx_basic", "a receive queue", {
    rx_notifications: "Kicks from the driver",
    rx_packets: "Packets passed to the driver",
    rx_bytes: "Their bytes",
    rx_interrupts: "Interrupts",
    rx_drops: "Packets dropped, for whatever reason",
    rx_drop_overruns: "Packets dropped for want of buffers",
  }),
  statistics("tx_basic", "a transmit queue", {
    tx_notifications: "Kicks from the driver",
    tx_packets: "Packets sent",
    tx_bytes: "Their bytes",
    tx_interrupts: "Interrupts",
    tx_drops: "Packets dropped, for whatever reason",
    tx_drop_malformed: "Packets dropped as their descriptors were bad",
  }),
  statistics("rx_csum", "checksums of a receive queue", {
    rx_csum_valid: "Packets with DATA_VALID",
    rx_needs_csum: "Packets with NEEDS_CSUM",
    rx_csum_none: "Packets without hardware checksum",
    rx_csum_bad: "Packets with a wrong checksum",
  }),
  statistics("tx_csum", "checksums of a transmit queue", {
    tx_csum_none: "Packets that needed none",
    tx_needs_csum: "Packets that the device finished",
  }),
  statistics("rx_gso", "segmentation of a receive queue", {
    rx_gso_packets: "Packets with a gso_type",
    rx_gso_bytes: "Their bytes",
    rx_gso_packets_coalesced: "Packets that were put together",
    rx_gso_bytes_coalesced: "Their bytes",
  }),
  statistics("tx_gso", "segmentation of a transmit queue", {
    tx_gso_packets: "Packets with a gso_type",
    tx_gso_bytes: "Their bytes",
    tx_gso_segments: "Segments made of them",
    tx_gso_segments_bytes: "Their bytes",
    tx_gso_packets_noseg: "Packets with a gso_type that were not cut",
    tx_gso_bytes_noseg: "Their bytes",
  }),
  ...["rx", "tx"].map((direction) =>
    statistics(
      `${direction}_speed`,
      `rate limits of a ${direction === "rx" ? "receive" : "transmit"} queue`,
      {
        [`${direction}_ratelimit_packets`]: "Packets dropped as there were too many",
        [`${direction}_ratelimit_bytes`]: "Their bytes",
      },
    )
  ),
];

/** All structures of this file. */
export const controlStructures: readonly Struct[] = [
  virtio_net_ctrl_hdr,
  virtio_net_ctrl_mq,
  virtio_net_ctrl_mac,
  virtio_net_ctrl_coal,
  virtio_net_ctrl_coal_tx,
  virtio_net_ctrl_coal_rx,
  virtio_net_ctrl_coal_vq,
  virtio_net_hash_config,
  virtio_net_rss_config,
  virtio_net_rss_config_hdr,
  virtio_net_rss_config_trailer,
  virtio_net_stats_capabilities,
  virtio_net_ctrl_queue_stats,
  virtio_net_stats_reply_hdr,
  ...statisticsBlocks,
];
