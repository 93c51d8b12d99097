/**
 * Every structure of the split virtqueue, virtio-net and virtio-pci, and the numbers that go with them.
 *
 * Sources: virtio 1.4; linux/virtio_ring.h, virtio_net.h, virtio_pci.h, virtio_config.h.
 *
 * @module
 */
import {
  array,
  bytes,
  group,
  nested,
  type Struct,
  struct,
  swapped,
  u16,
  u32,
  u64,
  u8,
  union,
} from "../../core/layout.ts";
import { controlStructures, virtio_net_ctrl_mac, virtio_net_ctrl_mq } from "./control_layout.ts";
import { pci_config_header, pci_msix_cap, pci_msix_entry } from "./pci_layout.ts";

export * from "./control_layout.ts";

const RING = "virtio 1.4, 2.7; linux/virtio_ring.h";
const NET = "virtio 1.4, 5.1; linux/virtio_net.h";
/** What stands in the specification only. */
const SPEC = "virtio 1.4, 5.1";
const PCI = "virtio 1.4, 4.1.4; linux/virtio_pci.h";

/** The chain goes on at `next`. */
export const VRING_DESC_F_NEXT: number = 1;
/** The device writes the buffer; without it, it reads. */
export const VRING_DESC_F_WRITE: number = 2;
/** The buffer is a table of descriptors. */
export const VRING_DESC_F_INDIRECT: number = 4;
/** In `vring_avail.flags`: the driver wants no interrupts. */
export const VRING_AVAIL_F_NO_INTERRUPT: number = 1;
/** In `vring_used.flags`: the device wants no kicks. */
export const VRING_USED_F_NO_NOTIFY: number = 1;
/** Largest queue size. */
export const VIRTQUEUE_MAX_SIZE: number = 32768;

/** Descriptor. */
export const vring_desc: Struct = struct("vring_desc", {
  summary: "One buffer, or a link of a chain of buffers",
  source: RING,
  size: 16,
  fields: [
    u64("addr", "Address of the buffer in the device's view"),
    u32("len", "Length of the buffer in bytes"),
    u16("flags", "What the buffer is", { flags: { NEXT: 1, WRITE: 2, INDIRECT: 4 } }),
    u16("next", "Next descriptor of the chain, if NEXT is set; stale otherwise"),
  ],
});

/** Available ring ("driver area"). */
export const vring_avail: Struct = struct("vring_avail", {
  summary: "Available ring: chains that the driver hands to the device",
  source: RING,
  fields: [
    u16("flags", "Interrupt hint, 0 with EVENT_IDX", { flags: { NO_INTERRUPT: 1 } }),
    u16("idx", "Where the driver will put the next entry, modulo 2^16"),
    array("ring", "rest", u16("", "Head descriptor of a chain")),
    u16("used_event", "Driver to device: interrupt when this used entry is written (EVENT_IDX)"),
  ],
});

/** Used ring element. */
export const vring_used_elem: Struct = struct("vring_used_elem", {
  summary: "One chain that the device gives back",
  source: RING,
  size: 8,
  fields: [
    u32("id", "Head descriptor of the chain"),
    u32("len", "Bytes written into the chain's writable part"),
  ],
});

/**
 * Used ring ("device area"): 6 + 8q bytes. The text that introduced the flexible layout in 2013 prints 6 + 4q;
 * that is an error, filed as VIRTIO-120 and fixed since virtio 1.0-cs02: an element has 8 bytes.
 */
export const vring_used: Struct = struct("vring_used", {
  summary: "Used ring: chains that the device gives back",
  source: RING,
  fields: [
    u16("flags", "Kick hint, 0 with EVENT_IDX", { flags: { NO_NOTIFY: 1 } }),
    u16("idx", "Where the device will put the next entry, modulo 2^16"),
    array("ring", "rest", vring_used_elem),
    u16("avail_event", "Device to driver: kick when this available entry is written (EVENT_IDX)"),
  ],
});

const vring_packed_desc: Struct = struct("vring_packed_desc", {
  summary: "Descriptor of a packed ring, which this plugin shows but does not offer",
  source: "virtio 1.4, 2.8; linux/virtio_ring.h",
  size: 16,
  fields: [
    u64("addr", "Address of the buffer in the device's view"),
    u32("len", "Length of the buffer in bytes"),
    u16("id", "Buffer ID"),
    u16("flags", "What the buffer is, and whose", {
      flags: { NEXT: 1, WRITE: 2, INDIRECT: 4, AVAIL: 1 << 7, USED: 1 << 15 },
    }),
  ],
});
const vring_packed_desc_event: Struct = struct("vring_packed_desc_event", {
  summary: "Event suppression of a packed ring, either side's",
  source: "virtio 1.4, 2.8; linux/virtio_ring.h",
  size: 4,
  fields: [
    u16("off_wrap", "Descriptor that is to notify; bit 15: its wrap counter"),
    u16("flags", "What notifies", { values: { ENABLE: 0, DISABLE: 1, DESC: 2 } }),
  ],
});

const gsoTypes = {
  NONE: 0,
  TCPV4: 1,
  UDP: 3,
  TCPV6: 4,
  UDP_L4: 5,
  UDP_TUNNEL_IPV4: 0x20,
  UDP_TUNNEL_IPV6: 0x40,
  ECN: 0x80,
};
const headerFlags = { NEEDS_CSUM: 1, DATA_VALID: 2, RSC_INFO: 4, UDP_TUNNEL_CSUM: 8 };
const offloadFields = [
  u8("flags", "Checksum state", { flags: headerFlags }),
  u8("gso_type", "Segmentation type", { values: gsoTypes }),
  u16("hdr_len", "Hint: length of the headers in bytes"),
  u16("gso_size", "Payload bytes per segment"),
];
const checksumFields = [
  u16("csum_start", "Where checksumming starts, from the frame's first byte"),
  u16("csum_offset", "Where the sum goes, from csum_start"),
];
const netHeaderFields = [...offloadFields, ...checksumFields];

/** Legacy net header. */
export const virtio_net_hdr: Struct = struct("virtio_net_hdr", {
  summary: "Before each frame, legacy form without mergeable buffers",
  source: NET,
  size: 10,
  fields: netHeaderFields,
});
/** Legacy net header with mergeable buffers. */
export const virtio_net_hdr_mrg_rxbuf: Struct = struct("virtio_net_hdr_mrg_rxbuf", {
  summary: "Before each frame, with mergeable receive buffers",
  source: NET,
  size: 12,
  fields: [nested("hdr", virtio_net_hdr), u16("num_buffers", "Buffers that the frame fills")],
});
/** Modern net header. */
export const virtio_net_hdr_v1: Struct = struct("virtio_net_hdr_v1", {
  summary: "Before each frame, virtio 1.0 and later",
  source: NET,
  size: 12,
  fields: [
    ...offloadFields,
    union("", [
      group("", [...checksumFields]),
      group("csum", [u16("start", "csum_start by its other name"), u16("offset", "csum_offset likewise")]),
      group(
        "rsc",
        [
          u16("segments", "Segments that the device put together (flags has RSC_INFO)"),
          u16("dup_acks", "Duplicated acknowledgements among them"),
        ],
      ),
    ]),
    u16("num_buffers", "Buffers that the frame fills; 0 on transmit"),
  ],
});
const hashReports = {
  NONE: 0,
  IPv4: 1,
  TCPv4: 2,
  UDPv4: 3,
  IPv6: 4,
  TCPv6: 5,
  UDPv6: 6,
  IPv6_EX: 7,
  TCPv6_EX: 8,
  UDPv6_EX: 9,
};
/** Net header with hash report. */
export const virtio_net_hdr_v1_hash: Struct = struct("virtio_net_hdr_v1_hash", {
  summary: "Before each frame, with HASH_REPORT",
  source: NET,
  size: 20,
  fields: [
    nested("hdr", virtio_net_hdr_v1),
    union("", [
      u32("hash_value", "Toeplitz hash of the flow"),
      // Newer headers spell it so, that 2 bytes align the structure.
      group("", [u16("hash_value_lo", "Its low half"), u16("hash_value_hi", "Its high half")]),
    ]),
    u16("hash_report", "What was hashed", { values: hashReports }),
    u16("padding", "Zero"),
  ],
});
/** Net header with UDP tunnel segmentation. */
export const virtio_net_hdr_v1_hash_tunnel: Struct = struct("virtio_net_hdr_v1_hash_tunnel", {
  summary: "Before each frame, with UDP tunnel segmentation offload",
  source: NET,
  size: 24,
  fields: [
    nested("hash_hdr", virtio_net_hdr_v1_hash),
    u16("outer_th_offset", "Offset of the outer transport header"),
    u16("inner_nh_offset", "Offset of the inner network header"),
  ],
});
const virtio_net_hdr_spec: Struct = struct("virtio_net_hdr@1.4", {
  summary: "Before each frame, with OUT_NET_HEADER or IPSEC: the longest form there is",
  source: SPEC,
  size: 32,
  fields: [
    ...netHeaderFields,
    u16("num_buffers", "Buffers that the frame fills; 0 on transmit"),
    u32("hash_value", "Toeplitz hash of the flow"),
    u16("hash_report", "What was hashed", { values: hashReports }),
    u16("padding_reserved", "Zero"),
    u16("outer_th_offset", "Offset of the outer transport header"),
    u16("inner_nh_offset", "Offset of the inner network header"),
    u16("outer_nh_offset", "Offset of the outer network header"),
    union("", [
      bytes("padding_reserved_2", 6, "Zero"),
      group("ipsec_resource_hdr", [u32("resource_id", "Resource"), u16("resource_type", "Its type")]),
    ]),
  ],
});

const configFields = [
  bytes("mac", 6, "Address (MAC)"),
  u16("status", "Link state (STATUS)", { flags: { LINK_UP: 1, ANNOUNCE: 2 } }),
  u16("max_virtqueue_pairs", "Queue pairs that the device can have, 1..32768 (MQ)"),
  u16("mtu", "Largest packet behind the link header, 68..65535 (MTU)"),
  // From here on all devices, legacy ones too, have little endian.
  u32("speed", "Mbit/s, 0xffffffff unknown (SPEED_DUPLEX)", { order: "le" }),
  u8("duplex", "1 full, 0 half, 0xff unknown (SPEED_DUPLEX)"),
  u8("rss_max_key_size", "Longest hash key in bytes (RSS, HASH_REPORT)"),
  u16("rss_max_indirection_table_length", "Most entries of the table (RSS)", { order: "le" }),
  u32("supported_hash_types", "Bit mask (RSS, HASH_REPORT)", { order: "le" }),
];
/** virtio-net configuration space. */
export const virtio_net_config: Struct = struct("virtio_net_config", {
  summary: "virtio-net configuration space; a field counts if its feature is offered",
  source: NET,
  size: 24,
  fields: configFields,
});
const virtio_net_config_spec: Struct = struct("virtio_net_config@1.4", {
  summary: "virtio-net configuration space as the specification goes on",
  source: SPEC,
  size: 28,
  fields: [...configFields, u32("supported_tunnel_types", "Bit mask (HASH_TUNNEL)")],
});

/** PCI capability. */
export const virtio_pci_cap: Struct = struct("virtio_pci_cap", {
  summary: "PCI capability that says where a register window lies",
  source: PCI,
  size: 16,
  fields: [
    u8("cap_vndr", "Generic PCI field: PCI_CAP_ID_VNDR, 9"),
    u8("cap_next", "Generic PCI field: next capability"),
    u8("cap_len", "Generic PCI field: length of the capability"),
    u8("cfg_type", "Which window", {
      values: {
        COMMON_CFG: 1,
        NOTIFY_CFG: 2,
        ISR_CFG: 3,
        DEVICE_CFG: 4,
        PCI_CFG: 5,
        SHARED_MEMORY_CFG: 8,
        VENDOR_CFG: 9,
      },
    }),
    u8("bar", "BAR that holds it, 0..5"),
    u8("id", "Distinguishes several capabilities of one type"),
    bytes("padding", 2, "Zero"),
    u32("offset", "Where in the BAR"),
    u32("length", "How long"),
  ],
});
/** PCI capability of the notification window. */
export const virtio_pci_notify_cap: Struct = struct("virtio_pci_notify_cap", {
  summary: "Capability of the notification window",
  source: PCI,
  size: 20,
  fields: [
    nested("cap", virtio_pci_cap),
    u32("notify_off_multiplier", "Bytes per step of queue_notify_off: 0 or an even power of two"),
  ],
});
const virtio_pci_cap64: Struct = struct("virtio_pci_cap64", {
  summary: "Capability with a 64-bit offset and length",
  source: PCI,
  size: 24,
  fields: [
    nested("cap", virtio_pci_cap),
    u32("offset_hi", "Upper half of offset"),
    u32("length_hi", "Upper half of length"),
  ],
});
/** PCI capability of the window through configuration space. */
export const virtio_pci_cfg_cap: Struct = struct("virtio_pci_cfg_cap", {
  summary: "Capability that gives access to a BAR through configuration space",
  source: PCI,
  size: 20,
  fields: [nested("cap", virtio_pci_cap), bytes("pci_cfg_data", 4, "Window onto the BAR")],
});
/** Common configuration registers. */
export const virtio_pci_common_cfg: Struct = struct("virtio_pci_common_cfg", {
  summary: "Common configuration registers",
  source: PCI,
  size: 56,
  fields: [
    u32("device_feature_select", "RW: which 32 bits device_feature shows"),
    u32("device_feature", "RO: offered feature bits"),
    u32("guest_feature_select", "RW: which 32 bits guest_feature shows (driver_feature_select)"),
    u32("guest_feature", "RW: accepted feature bits (driver_feature)"),
    u16("msix_config", "RW: vector for configuration changes"),
    u16("num_queues", "RO: queues, the administration queues excluded"),
    u8("device_status", "RW: status; writing 0 resets", {
      flags: {
        ACKNOWLEDGE: 1,
        DRIVER: 2,
        DRIVER_OK: 4,
        FEATURES_OK: 8,
        SUSPEND: 16,
        NEEDS_RESET: 64,
        FAILED: 128,
      },
    }),
    u8("config_generation", "RO: changes when the device configuration does"),
    u16("queue_select", "RW: queue that the fields below are about"),
    u16("queue_size", "RW: largest size, then the one chosen; 0: no such queue"),
    u16("queue_msix_vector", "RW: vector of the queue"),
    u16("queue_enable", "RW: 1 starts the queue; 0 must not be written"),
    u16("queue_notify_off", "RO: place of the queue's doorbell, in units of notify_off_multiplier"),
    u32("queue_desc_lo", "RW: descriptor table"),
    u32("queue_desc_hi", "RW: its upper half"),
    u32("queue_avail_lo", "RW: available ring (queue_driver)"),
    u32("queue_avail_hi", "RW: its upper half"),
    u32("queue_used_lo", "RW: used ring (queue_device)"),
    u32("queue_used_hi", "RW: its upper half"),
  ],
});
/** Common configuration registers with what later features added. */
export const virtio_pci_modern_common_cfg: Struct = struct("virtio_pci_modern_common_cfg", {
  summary: "Common configuration registers, all of them",
  source: PCI,
  size: 64,
  fields: [
    nested("cfg", virtio_pci_common_cfg),
    u16("queue_notify_data", "RO: what to write to the doorbell (NOTIF_CONFIG_DATA)"),
    u16("queue_reset", "RW: 1 resets the queue (RING_RESET)"),
    u16("admin_queue_index", "RO: first administration queue (ADMIN_VQ)"),
    u16("admin_queue_num", "RO: administration queues (ADMIN_VQ)"),
  ],
});
/** Legacy registers of BAR 0. */
export const virtio_pci_legacy: Struct = struct("virtio_pci_legacy", {
  summary: "Legacy registers in I/O BAR 0, without MSI-X; the device configuration follows",
  source: "virtio 1.4, 4.1.4.10; linux/virtio_pci.h",
  size: 20,
  fields: [
    u32("host_features", "RO: offered feature bits 0..31"),
    u32("guest_features", "RW: accepted feature bits"),
    u32("queue_pfn", "RW: address of the ring / 4096; 0 stops the queue"),
    u16("queue_num", "RO: queue size, fixed by the device"),
    u16("queue_sel", "RW: queue that the fields above are about"),
    u16("queue_notify", "RW: doorbell"),
    u8("status", "RW: status; writing 0 resets"),
    u8("isr", "RO: interrupt status, cleared by reading", { flags: { QUEUE: 1, CONFIG: 2 } }),
  ],
});
/** Notification with F_NOTIFICATION_DATA, for a split ring. */
export const virtio_notification_data: Struct = struct("virtio_notification_data", {
  summary: "What a doorbell write carries with NOTIFICATION_DATA",
  source: "virtio 1.4, 2.9; 4.1.5.2",
  size: 4,
  fields: [u16("vqn", "Queue index"), u16("avail_idx", "vring_avail.idx as the driver has it")],
});

/** Those that legacy devices have in the byte order of the guest. */
const legacyStructures: readonly Struct[] = [
  vring_desc,
  vring_avail,
  vring_used_elem,
  vring_used,
  virtio_net_hdr,
  virtio_net_hdr_mrg_rxbuf,
  virtio_net_config,
  virtio_net_ctrl_mq,
  virtio_net_ctrl_mac,
];

/** All structures of this plugin. */
export const structures: readonly Struct[] = [
  vring_desc,
  vring_avail,
  vring_used_elem,
  vring_used,
  vring_packed_desc,
  vring_packed_desc_event,
  virtio_net_hdr,
  virtio_net_hdr_mrg_rxbuf,
  virtio_net_hdr_v1,
  virtio_net_hdr_v1_hash,
  virtio_net_hdr_v1_hash_tunnel,
  virtio_net_hdr_spec,
  virtio_net_config,
  virtio_net_config_spec,
  ...controlStructures,
  virtio_pci_cap,
  virtio_pci_notify_cap,
  virtio_pci_cap64,
  virtio_pci_cfg_cap,
  virtio_pci_common_cfg,
  virtio_pci_modern_common_cfg,
  virtio_pci_legacy,
  virtio_notification_data,
  pci_config_header,
  pci_msix_cap,
  pci_msix_entry,
  ...legacyStructures.map(swapped),
];
