/**
 * BAR0 registers and admin commands. All big endian.
 *
 * @module
 */
import { bytes, type Member, type Struct, struct, u16, u32, u64, u8 } from "../../core/layout.ts";
import { DEVICE_STATUS, DRIVER_STATUS, OPCODE, QUEUE_FORMAT, RSS_ALGORITHM, STATUS } from "./constants.ts";

const LINUX = "Linux gve_adminq.h";

/** BAR0. A bus reads it in little-endian words, so a register's value is the word with its bytes swapped. */
export const gve_registers: Struct = struct("gve_registers", {
  summary: "BAR0: the device's registers",
  source: "Linux gve_register.h, DPDK gve_register.h",
  order: "be",
  size: 44,
  fields: [
    u32("device_status", "What the device says of itself", { flags: DEVICE_STATUS }),
    u32("driver_status", "What the driver says of itself (PCI revision 1)", { flags: DRIVER_STATUS }),
    u32("max_tx_queues", "Most transmit queues"),
    u32("max_rx_queues", "Most receive queues"),
    u32("adminq_pfn", "Admin queue address / 4096; writing 0 resets (PCI revision 0)"),
    u32("adminq_doorbell", "Commands posted since set-up, free-running"),
    u32("adminq_event_counter", "Commands completed since set-up, free-running"),
    bytes("reserved", 3, "Zero"),
    u8("driver_version", "FIFO for the version string, one byte per write"),
    u32("adminq_base_address_hi", "Admin queue address, bits 63:32 (PCI revision 1)"),
    u32("adminq_base_address_lo", "Admin queue address, bits 31:0 (PCI revision 1)"),
    u16("adminq_length", "Admin queue size in bytes (PCI revision 1)"),
    bytes("padding", 2, "Tail of the C structure"),
  ],
});

/** What all admin commands start with. */
export const gve_adminq_command: Struct = struct("gve_adminq_command", {
  summary: "Admin command: what all of them start with",
  source: LINUX,
  order: "be",
  size: 64,
  fields: [
    u32("opcode", "Which command", { values: OPCODE }),
    u32("status", "Written by the device", { values: STATUS }),
    bytes("payload", 56, "Depends on the opcode"),
  ],
});

/** One admin command; what is left of the 64 bytes is unused. */
function command(name: string, summary: string, fields: readonly Member[], source = LINUX): Struct {
  const head = [
    u32("opcode", "Which command", { values: OPCODE }),
    u32("status", "Written by the device", { values: STATUS }),
    ...fields,
  ];
  const unused = gve_adminq_command.size - struct("head", { summary: "", source: "", fields: head }).size;
  return struct(`gve_adminq_command:${name}`, {
    summary,
    source,
    order: "be",
    size: gve_adminq_command.size,
    fields: unused > 0 ? [...head, bytes("unused", unused, "Zero")] : head,
  });
}

const pageList: readonly Member[] = [
  u32("page_list_id", "Chosen by the driver"),
  u32("num_pages", "Entries of the address list"),
  u64("page_address_list_addr", "Address of an array of gve_page_list_entry"),
];

/** DESCRIBE_DEVICE. */
export const describe_device: Struct = command("describe_device", "Asks for the device descriptor", [
  u64("device_descriptor_addr", "Where the device writes it"),
  u32("device_descriptor_version", "1"),
  u32("available_length", "Bytes the device may write"),
]);
/** CONFIGURE_DEVICE_RESOURCES. */
export const configure_device_resources: Struct = command(
  "configure_device_resources",
  "Gives the device its counters and interrupt cells",
  [
    u64("counter_array", "Address of the event counters"),
    u64("irq_db_addr", "Address of the first interrupt doorbell cell"),
    u32("num_counters", "Event counters"),
    u32("num_irq_dbs", "Interrupt doorbell cells"),
    u32("irq_db_stride", "Bytes from one cell to the next"),
    u32("ntfy_blk_msix_base_idx", "MSI-X vector of the first notify block"),
    u8("queue_format", "Chosen format", { values: QUEUE_FORMAT }),
    bytes("padding", 7, "Zero"),
  ],
);
/** REGISTER_PAGE_LIST without page size. */
export const register_page_list: Struct = command(
  "register_page_list",
  "Registers bounce pages (old)",
  pageList,
);
/** REGISTER_PAGE_LIST with page size. */
export const register_page_list_24: Struct = command(
  "register_page_list@24",
  "Registers bounce pages",
  [...pageList, u64("page_size", "Recorded and ignored: pages are 4096 bytes")],
  "FreeBSD gve_adminq.h, iPXE gve.h",
);
/** UNREGISTER_PAGE_LIST. */
export const unregister_page_list: Struct = command("unregister_page_list", "Gives bounce pages back", [
  u32("page_list_id", "As registered"),
]);
/** CREATE_TX_QUEUE. */
export const create_tx_queue: Struct = command("create_tx_queue", "Creates a transmit queue", [
  u32("queue_id", "Number of the queue"),
  u32("reserved", "Zero"),
  u64("queue_resources_addr", "Where the device writes gve_queue_resources"),
  u64("tx_ring_addr", "Descriptor ring"),
  u32("queue_page_list_id", "Registered list, or 0xFFFFFFFF for raw addressing"),
  u32("ntfy_id", "Notify block"),
  u64("tx_comp_ring_addr", "Completion ring (DQO)"),
  u16("tx_ring_size", "Descriptors; 0 means as described (GQI)"),
  u16("tx_comp_ring_size", "Completions (DQO)"),
  bytes("padding", 4, "Zero"),
]);

const createRx: readonly Member[] = [
  u32("queue_id", "Number of the queue"),
  u32("index", "GQI: the queue number again; DQO: 0"),
  u32("reserved", "Zero"),
  u32("ntfy_id", "Notify block"),
  u64("queue_resources_addr", "Where the device writes gve_queue_resources"),
  u64("rx_desc_ring_addr", "Ring the device writes: descriptors (GQI) or completions (DQO)"),
  u64("rx_data_ring_addr", "Ring the driver writes: data slots (GQI) or buffers (DQO)"),
  u32("queue_page_list_id", "Registered list, or 0xFFFFFFFF for raw addressing"),
  u16("rx_ring_size", "Entries of the ring the device writes"),
  u16("packet_buffer_size", "Bytes per buffer"),
  u16("rx_buff_ring_size", "Entries of the buffer ring (DQO)"),
  u8("enable_rsc", "Whether the device may coalesce (DQO)"),
];
/** CREATE_RX_QUEUE. */
export const create_rx_queue: Struct = command("create_rx_queue", "Creates a receive queue", [
  ...createRx,
  u8("padding1", "Zero"),
  u16("header_buffer_size", "Bytes per header buffer; 0 for no header split"),
  bytes("padding2", 2, "Zero"),
]);
/** CREATE_RX_QUEUE as older drivers send it. */
export const create_rx_queue_old: Struct = command("create_rx_queue@old", "Creates a receive queue (old)", [
  ...createRx,
  bytes("padding", 5, "Zero"),
]);
/** DESTROY_TX_QUEUE. */
export const destroy_tx_queue: Struct = command("destroy_tx_queue", "Destroys a transmit queue", [
  u32("queue_id", "Number of the queue"),
]);
/** DESTROY_RX_QUEUE. */
export const destroy_rx_queue: Struct = command("destroy_rx_queue", "Destroys a receive queue", [
  u32("queue_id", "Number of the queue"),
]);
/** DECONFIGURE_DEVICE_RESOURCES. */
export const deconfigure_device_resources: Struct = command(
  "deconfigure_device_resources",
  "Takes counters and interrupt cells back",
  [],
);
/** CONFIGURE_RSS. */
export const configure_rss: Struct = command("configure_rss", "Sets key and table of receive side scaling", [
  u16("hash_types", "What is hashed", {
    flags: {
      IPV4: 1 << 0,
      TCPV4: 1 << 1,
      IPV6: 1 << 2,
      IPV6_EX: 1 << 3,
      TCPV6: 1 << 4,
      TCPV6_EX: 1 << 5,
      UDPV4: 1 << 6,
      UDPV6: 1 << 7,
      UDPV6_EX: 1 << 8,
    },
  }),
  u8("hash_alg", "0 leaves it, 1 is Toeplitz", { values: RSS_ALGORITHM }),
  u8("reserved", "Zero"),
  u16("hash_key_size", "Bytes of the key; 0 leaves it"),
  u16("hash_lut_size", "Entries of the table; 0 leaves it"),
  u64("hash_key_addr", "Address of the key; 0 leaves it"),
  u64("hash_lut_addr", "Address of gve_rss_lut_entry records; 0 leaves them"),
]);
/** SET_DRIVER_PARAMETER. */
export const set_driver_parameter: Struct = command("set_driver_parameter", "Tells the device a setting", [
  u32("parameter_type", "Which", { values: { MTU: 1 } }),
  bytes("reserved", 4, "Zero"),
  u64("parameter_value", "Its value"),
]);
/** REPORT_STATS. */
export const report_stats: Struct = command(
  "report_stats",
  "Attaches a statistics block; all zero detaches it",
  [
    u64("stats_report_len", "Bytes of the block"),
    u64("stats_report_addr", "Its address"),
    u64("interval", "Milliseconds between updates"),
  ],
);
/** REPORT_LINK_SPEED. */
export const report_link_speed: Struct = command("report_link_speed", "Asks for the link speed", [
  u64("link_speed_address", "Where the device writes gve_link_speed"),
]);
/** GET_PTYPE_MAP. */
export const get_ptype_map: Struct = command("get_ptype_map", "Asks for the packet type map (DQO)", [
  u64("ptype_map_len", "2048"),
  u64("ptype_map_addr", "Where the device writes 1024 gve_ptype_entry records"),
]);
/** VERIFY_DRIVER_COMPATIBILITY. */
export const verify_driver_compatibility: Struct = command(
  "verify_driver_compatibility",
  "Shows the device what the driver is",
  [u64("driver_info_len", "304"), u64("driver_info_addr", "Address of gve_driver_info")],
);
/** QUERY_FLOW_RULES. */
export const query_flow_rules: Struct = command("query_flow_rules", "Asks for installed flow rules", [
  u16("opcode2", "What is asked for", { values: { RULES: 0, IDS: 1, STATS: 2 } }),
  bytes("padding", 2, "Zero"),
  u32("starting_rule_id", "Where to start"),
  u64("available_length", "Bytes the device may write"),
  u64("rule_descriptor_addr", "Where the device writes gve_query_flow_rules_descriptor"),
], "Linux gve_adminq.h (inner field renamed: C calls it opcode)");
/** REPORT_NIC_TIMESTAMP. */
export const report_nic_timestamp: Struct = command("report_nic_timestamp", "Asks for the NIC's clock", [
  u64("nic_ts_report_len", "40"),
  u64("nic_ts_report_addr", "Where the device writes gve_nic_ts_report"),
]);
/** QUERY_RSS. */
export const query_rss: Struct = command("query_rss", "Asks for the settings of receive side scaling", [
  u64("available_length", "Bytes the device may write"),
  u64("rss_descriptor_addr", "Where the device writes gve_query_rss_descriptor, key and table"),
]);
/** EXTENDED_COMMAND. */
export const extended_command: Struct = command("extended_command", "A command that does not fit its slot", [
  u32("inner_opcode", "Which", { values: { CONFIGURE_FLOW_RULE: 0x101 } }),
  u32("inner_length", "Bytes of the inner command"),
  u64("inner_command_addr", "Its address"),
]);

/** Registers and admin commands. */
export const adminStructures: readonly Struct[] = [
  gve_registers,
  gve_adminq_command,
  describe_device,
  configure_device_resources,
  register_page_list,
  register_page_list_24,
  unregister_page_list,
  create_tx_queue,
  create_rx_queue,
  create_rx_queue_old,
  destroy_tx_queue,
  destroy_rx_queue,
  deconfigure_device_resources,
  configure_rss,
  set_driver_parameter,
  report_stats,
  report_link_speed,
  get_ptype_map,
  verify_driver_compatibility,
  query_flow_rules,
  report_nic_timestamp,
  query_rss,
  extended_command,
];
