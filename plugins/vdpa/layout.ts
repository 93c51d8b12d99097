/**
 * The structures that vhost, vhost-vdpa and VDUSE exchange with userspace.
 *
 * Sources: linux/vhost_types.h, linux/vduse.h. All numbers are little endian here; the kernel has them in host order.
 *
 * @module
 */
import {
  array,
  bytes,
  group,
  type Member,
  nested,
  type Struct,
  struct,
  u16,
  u32,
  u64,
  u8,
  union,
} from "../../core/layout.ts";

const VHOST = "linux/vhost_types.h";
const VDUSE = "linux/vduse.h";

/** What the device may do with mapped memory: `VHOST_ACCESS_RO`, `WO`, `RW`. */
export const VHOST_ACCESS: Readonly<Record<"RO" | "WO" | "RW", number>> = { RO: 1, WO: 2, RW: 3 };

/** Types of IOTLB messages: `VHOST_IOTLB_*`. */
export const VHOST_IOTLB: Readonly<
  Record<"MISS" | "UPDATE" | "INVALIDATE" | "ACCESS_FAIL" | "BATCH_BEGIN" | "BATCH_END", number>
> = { MISS: 1, UPDATE: 2, INVALIDATE: 3, ACCESS_FAIL: 4, BATCH_BEGIN: 5, BATCH_END: 6 };

/** `vhost_msg.type`: the first form of the message. */
export const VHOST_IOTLB_MSG: number = 1;
/** `vhost_msg_v2.type`: the form that can name an address space. */
export const VHOST_IOTLB_MSG_V2: number = 2;

/** Index and number: the argument of most virtqueue ioctls. */
export const vhost_vring_state: Struct = struct("vhost_vring_state", {
  summary: "A virtqueue (or group) and a number about it",
  source: VHOST,
  size: 8,
  fields: [
    u32("index", "Virtqueue; with SET_GROUP_ASID the group"),
    u32("num", "Size, avail index, group, address space or state, as the ioctl says"),
  ],
});

/** Index and file descriptor. */
export const vhost_vring_file: Struct = struct("vhost_vring_file", {
  summary: "A virtqueue and the eventfd for its kick, call or error",
  source: VHOST,
  size: 8,
  fields: [u32("index", "Virtqueue"), u32("fd", "File descriptor; 0xffffffff (-1) to unbind")],
});

/** Addresses of the ring parts; mind the order: used stands before avail. */
export const vhost_vring_addr: Struct = struct("vhost_vring_addr", {
  summary: "Where the parts of a ring are: IOVAs with vDPA, user addresses elsewhere",
  source: VHOST,
  size: 40,
  fields: [
    u32("index", "Virtqueue"),
    u32("flags", "Bit 0: log writes", { flags: { VHOST_VRING_F_LOG: 1 } }),
    u64("desc_user_addr", "Descriptor table"),
    u64("used_user_addr", "Used ring"),
    u64("avail_user_addr", "Available ring"),
    u64("log_guest_addr", "Where writes to the used ring are logged"),
  ],
});

/** One change of an IOTLB. */
export const vhost_iotlb_msg: Struct = struct("vhost_iotlb_msg", {
  summary: "A mapping to add or remove",
  source: VHOST,
  size: 32,
  fields: [
    u64("iova", "First address as the device sees it"),
    u64("size", "Bytes"),
    u64("uaddr", "First address as the process sees it"),
    u8("perm", "What the device may do", { values: VHOST_ACCESS }),
    u8("type", "What to do", { values: VHOST_IOTLB }),
    bytes("", 6, "Padding"),
  ],
});

/** IOTLB message, first form. */
export const vhost_msg: Struct = struct("vhost_msg", {
  summary: "IOTLB message without an address space",
  source: VHOST,
  size: 72,
  fields: [
    u32("type", "Always VHOST_IOTLB_MSG", { values: { VHOST_IOTLB_MSG } }),
    bytes("", 4, "Padding"),
    union("", [nested("iotlb", vhost_iotlb_msg), bytes("padding", 64, "Room for later")]),
  ],
});

/** IOTLB message, second form. */
export const vhost_msg_v2: Struct = struct("vhost_msg_v2", {
  summary: "IOTLB message with an address space",
  source: VHOST,
  size: 72,
  fields: [
    u32("type", "Always VHOST_IOTLB_MSG_V2", { values: { VHOST_IOTLB_MSG_V2 } }),
    u32("asid", "Address space; counts only if IOTLB_ASID was acknowledged"),
    union("", [nested("iotlb", vhost_iotlb_msg), bytes("padding", 64, "Room for later")]),
  ],
});

/** Addresses a device can translate. */
export const vhost_vdpa_iova_range: Struct = struct("vhost_vdpa_iova_range", {
  summary: "Addresses that the device can use",
  source: VHOST,
  size: 16,
  fields: [u64("first", "First address"), u64("last", "Last address, itself included")],
});

/** Piece of the device's configuration space. */
export const vhost_vdpa_config: Struct = struct("vhost_vdpa_config", {
  summary: "A piece of the configuration space",
  source: VHOST,
  fields: [
    u32("off", "Where it starts"),
    u32("len", "How many bytes follow"),
    bytes("buf", "rest", "The bytes"),
  ],
});

/** One region of guest memory, as in-kernel vhost and vhost-user have it. */
export const vhost_memory_region: Struct = struct("vhost_memory_region", {
  summary: "A region of guest memory and where the process has it",
  source: VHOST,
  size: 32,
  fields: [
    u64("guest_phys_addr", "First guest physical address"),
    u64("memory_size", "Bytes"),
    u64("userspace_addr", "First address as the process sees it"),
    u64("flags_padding", "Zero"),
  ],
});

/** All regions of guest memory. */
export const vhost_memory: Struct = struct("vhost_memory", {
  summary: "Argument of VHOST_SET_MEM_TABLE, of which nothing comes with vhost-vdpa",
  source: VHOST,
  fields: [
    u32("nregions", "How many regions follow"),
    u32("padding", "Zero"),
    array("regions", "rest", vhost_memory_region),
  ],
});

/** Feature bits beyond 63. */
export const vhost_features_array: Struct = struct("vhost_features_array", {
  summary: "Feature bits in as many words as there are: vhost-net's, which vhost-vdpa does not take",
  source: `${VHOST}, after Linux 6.12`,
  fields: [
    u64("count", "How many words follow"),
    array("features", "rest", u64("", "64 feature bits, the lowest ones first")),
  ],
});

/** Members in the place of what older kernels have reserved: API version 1 of VDUSE. */
function later(reserved: Member, ...members: readonly Member[]): Member {
  return union("", [reserved, group("", members)]);
}
const asid = u32("asid", "Address space (API version 1)");

const vduse_vq_state_split: Struct = struct("vduse_vq_state_split", {
  summary: "Position in a split virtqueue",
  source: VDUSE,
  size: 2,
  fields: [u16("avail_index", "Next entry to take from the available ring")],
});

const vduse_vq_state_packed: Struct = struct("vduse_vq_state_packed", {
  summary: "Position in a packed virtqueue",
  source: VDUSE,
  size: 8,
  fields: [
    u16("last_avail_counter", "Wrap counter of the driver"),
    u16("last_avail_idx", "Next entry to take"),
    u16("last_used_counter", "Wrap counter of the device"),
    u16("last_used_idx", "Next entry to give back"),
  ],
});

const positions = union("", [
  nested("split", vduse_vq_state_split),
  nested("packed", vduse_vq_state_packed),
]);

/** Mapped range of a VDUSE device. */
export const vduse_iotlb_entry: Struct = struct("vduse_iotlb_entry", {
  summary: "One range of the IOTLB, for which the kernel gives a file to map",
  source: VDUSE,
  size: 32,
  fields: [
    u64("offset", "Where in the file the range starts"),
    u64("start", "First address"),
    u64("last", "Last address, itself included"),
    u8("perm", "What the device may do", { values: VHOST_ACCESS }),
    bytes("", 7, "Padding"),
  ],
});

/** Mapped range in an address space of a VDUSE device. */
export const vduse_iotlb_entry_v2: Struct = struct("vduse_iotlb_entry_v2", {
  summary: "One range of the IOTLB of an address space",
  source: `${VDUSE}, API version 1`,
  size: 40,
  fields: [nested("v1", vduse_iotlb_entry), asid, bytes("", 4, "Padding")],
});

/** State of a VDUSE virtqueue. */
export const vduse_vq_info: Struct = struct("vduse_vq_info", {
  summary: "What the driver has set up for a virtqueue",
  source: VDUSE,
  size: 48,
  fields: [
    u32("index", "Virtqueue"),
    u32("num", "Entries"),
    u64("desc_addr", "Descriptor table"),
    u64("driver_addr", "Available ring"),
    u64("device_addr", "Used ring"),
    positions,
    u8("ready", "1 if enabled"),
    bytes("", 7, "Padding"),
  ],
});

/** Virtqueue of a new VDUSE device. */
export const vduse_vq_config: Struct = struct("vduse_vq_config", {
  summary: "What a virtqueue can be",
  source: VDUSE,
  size: 32,
  fields: [
    u32("index", "Virtqueue"),
    u16("max_size", "Most entries"),
    later(
      array("reserved", 13, u16("", "Zero")),
      u16("reserved1", "Zero"),
      u32("group", "Group (API version 1)"),
      array("reserved2", 10, u16("", "Zero")),
    ),
  ],
});

/** Group bound to an address space, as VDUSE is told. */
export const vduse_vq_group_asid: Struct = struct("vduse_vq_group_asid", {
  summary: "A group and the address space it is bound to",
  source: `${VDUSE}, API version 1`,
  size: 8,
  fields: [u32("group", "Group"), u32("asid", "Address space")],
});

const vduse_iova_range: Struct = struct("vduse_iova_range", {
  summary: "A range of addresses",
  source: VDUSE,
  size: 16,
  fields: [u64("start", "First address"), u64("last", "Last address, itself included")],
});

/** Range within an address space. */
export const vduse_iova_range_v2: Struct = struct("vduse_iova_range_v2", {
  summary: "A range of addresses in an address space",
  source: `${VDUSE}, API version 1`,
  size: 24,
  fields: [
    u64("start", "First address"),
    u64("last", "Last address, itself included"),
    u32("asid", "Address space"),
    bytes("padding", 4, "Zero"),
  ],
});

const vduse_vq_state: Struct = struct("vduse_vq_state", {
  summary: "Position in a virtqueue",
  source: VDUSE,
  size: 12,
  fields: [u32("index", "Virtqueue"), positions],
});

/** Request of the kernel to a VDUSE daemon. */
export const vduse_dev_request: Struct = struct("vduse_dev_request", {
  summary: "What the kernel asks of a VDUSE device",
  source: VDUSE,
  size: 152,
  fields: [
    u32("type", "What is asked", {
      values: { GET_VQ_STATE: 0, SET_STATUS: 1, UPDATE_IOTLB: 2, SET_VQ_GROUP_ASID: 3 },
    }),
    u32("request_id", "Comes back with the response"),
    array("reserved", 4, u32("", "Zero")),
    union("", [
      nested("vq_state", vduse_vq_state),
      nested(
        "s",
        struct("vduse_dev_status", {
          summary: "Device status",
          source: VDUSE,
          size: 1,
          fields: [u8("status", "virtio device status")],
        }),
      ),
      nested("iova", vduse_iova_range),
      nested("iova_v2", vduse_iova_range_v2),
      nested("vq_group_asid", vduse_vq_group_asid),
      array("padding", 32, u32("", "Room for later")),
    ]),
  ],
});

/** Response of a VDUSE daemon. */
export const vduse_dev_response: Struct = struct("vduse_dev_response", {
  summary: "Answer of a VDUSE device",
  source: VDUSE,
  size: 152,
  fields: [
    u32("request_id", "From the request"),
    u32("result", "How it went", { values: { VDUSE_REQ_RESULT_OK: 0, VDUSE_REQ_RESULT_FAILED: 1 } }),
    array("reserved", 4, u32("", "Zero")),
    union("", [nested("vq_state", vduse_vq_state), array("padding", 32, u32("", "Room for later"))]),
  ],
});

/** New VDUSE device. */
export const vduse_dev_config: Struct = struct("vduse_dev_config", {
  summary: "What a new VDUSE device is",
  source: VDUSE,
  fields: [
    bytes("name", 256, "Name, ended by a zero byte"),
    u32("vendor_id", "virtio vendor ID"),
    u32("device_id", "virtio device ID"),
    u64("features", "Feature bits offered"),
    u32("vq_num", "Virtqueues"),
    u32("vq_align", "Alignment of a ring"),
    later(
      array("reserved", 13, u32("", "Zero")),
      u32("ngroups", "Groups (API version 1)"),
      u32("nas", "Address spaces (API version 1)"),
    ),
    u32("config_size", "Bytes of configuration space that follow"),
    bytes("config", "rest", "Configuration space"),
  ],
});

/** Change of the configuration space of a VDUSE device. */
export const vduse_config_data: Struct = struct("vduse_config_data", {
  summary: "A piece of the configuration space",
  source: VDUSE,
  fields: [
    u32("offset", "Where it starts"),
    u32("length", "How many bytes follow"),
    bytes("buffer", "rest", "The bytes"),
  ],
});

/** Doorbell of a VDUSE virtqueue. */
export const vduse_vq_eventfd: Struct = struct("vduse_vq_eventfd", {
  summary: "A virtqueue and its kick eventfd",
  source: VDUSE,
  size: 8,
  fields: [u32("index", "Virtqueue"), u32("fd", "File descriptor; 0xffffffff (-1) to take it away")],
});

/** Memory that a VDUSE daemon puts under a range. */
export const vduse_iova_umem: Struct = struct("vduse_iova_umem", {
  summary: "Memory of the daemon for a range of addresses",
  source: VDUSE,
  size: 48,
  fields: [
    u64("uaddr", "First address as the process sees it"),
    u64("iova", "First address as the driver sees it"),
    u64("size", "Bytes"),
    later(array("reserved", 3, u64("", "Zero")), asid),
  ],
});

/** What a range of a VDUSE device can do. */
export const vduse_iova_info: Struct = struct("vduse_iova_info", {
  summary: "A range of addresses and what may be done with it",
  source: VDUSE,
  size: 48,
  fields: [
    u64("start", "First address"),
    u64("last", "Last address, itself included"),
    u64("capability", "Bit 0: memory can be registered", { flags: { VDUSE_IOVA_CAP_UMEM: 1 } }),
    later(array("reserved", 3, u64("", "Zero")), asid),
  ],
});

/** All structures of this plugin; those of the rings are the virtio plugin's. */
export const structures: readonly Struct[] = [
  vhost_vring_state,
  vhost_vring_file,
  vhost_vring_addr,
  vhost_iotlb_msg,
  vhost_msg,
  vhost_msg_v2,
  vhost_vdpa_iova_range,
  vhost_vdpa_config,
  vhost_memory_region,
  vhost_memory,
  vhost_features_array,
  vduse_iotlb_entry,
  vduse_iotlb_entry_v2,
  vduse_vq_info,
  vduse_vq_config,
  vduse_vq_group_asid,
  vduse_iova_range_v2,
  vduse_dev_request,
  vduse_dev_response,
  vduse_dev_config,
  vduse_config_data,
  vduse_vq_eventfd,
  vduse_iova_umem,
  vduse_iova_info,
];
