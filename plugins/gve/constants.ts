/**
 * Values that gVNIC structures hold: opcodes, status codes, option ids, feature bits, descriptor types, and the
 * limits of the hardware. Offsets and bit positions stand in the layouts.
 *
 * @module
 */

/** Queue formats as CONFIGURE_DEVICE_RESOURCES carries them. */
export const QUEUE_FORMAT: Readonly<
  Record<"UNSPECIFIED" | "GQI_RDA" | "GQI_QPL" | "DQO_RDA" | "DQO_QPL", number>
> = {
  UNSPECIFIED: 0,
  GQI_RDA: 1,
  GQI_QPL: 2,
  DQO_RDA: 3,
  DQO_QPL: 4,
};

/** Admin queue opcodes. */
export const OPCODE: Readonly<Record<string, number>> & {
  readonly DESCRIBE_DEVICE: number;
  readonly CONFIGURE_DEVICE_RESOURCES: number;
  readonly REGISTER_PAGE_LIST: number;
  readonly UNREGISTER_PAGE_LIST: number;
  readonly CREATE_TX_QUEUE: number;
  readonly CREATE_RX_QUEUE: number;
  readonly DESTROY_TX_QUEUE: number;
  readonly DESTROY_RX_QUEUE: number;
  readonly DECONFIGURE_DEVICE_RESOURCES: number;
  readonly CONFIGURE_RSS: number;
  readonly SET_DRIVER_PARAMETER: number;
  readonly REPORT_STATS: number;
  readonly REPORT_LINK_SPEED: number;
  readonly GET_PTYPE_MAP: number;
  readonly VERIFY_DRIVER_COMPATIBILITY: number;
  readonly QUERY_FLOW_RULES: number;
  readonly REPORT_NIC_TIMESTAMP: number;
  readonly QUERY_RSS: number;
  readonly EXTENDED_COMMAND: number;
} = {
  DESCRIBE_DEVICE: 0x01,
  CONFIGURE_DEVICE_RESOURCES: 0x02,
  REGISTER_PAGE_LIST: 0x03,
  UNREGISTER_PAGE_LIST: 0x04,
  CREATE_TX_QUEUE: 0x05,
  CREATE_RX_QUEUE: 0x06,
  DESTROY_TX_QUEUE: 0x07,
  DESTROY_RX_QUEUE: 0x08,
  DECONFIGURE_DEVICE_RESOURCES: 0x09,
  CONFIGURE_RSS: 0x0a,
  SET_DRIVER_PARAMETER: 0x0b,
  REPORT_STATS: 0x0c,
  REPORT_LINK_SPEED: 0x0d,
  GET_PTYPE_MAP: 0x0e,
  VERIFY_DRIVER_COMPATIBILITY: 0x0f,
  QUERY_FLOW_RULES: 0x10,
  REPORT_NIC_TIMESTAMP: 0x11,
  QUERY_RSS: 0x12,
  EXTENDED_COMMAND: 0xff,
};

/** Admin command status: the canonical RPC codes in alphabetical order from 0xFFFFFFF0. */
export const STATUS: Readonly<Record<string, number>> & {
  readonly UNSET: number;
  readonly PASSED: number;
  readonly ALREADY_EXISTS: number;
  readonly FAILED_PRECONDITION: number;
  readonly INVALID_ARGUMENT: number;
  readonly NOT_FOUND: number;
  readonly OUT_OF_RANGE: number;
  readonly RESOURCE_EXHAUSTED: number;
  readonly UNIMPLEMENTED: number;
} = {
  UNSET: 0x00000000,
  PASSED: 0x00000001,
  ABORTED: 0xfffffff0,
  ALREADY_EXISTS: 0xfffffff1,
  CANCELLED: 0xfffffff2,
  DATA_LOSS: 0xfffffff3,
  DEADLINE_EXCEEDED: 0xfffffff4,
  FAILED_PRECONDITION: 0xfffffff5,
  INTERNAL: 0xfffffff6,
  INVALID_ARGUMENT: 0xfffffff7,
  NOT_FOUND: 0xfffffff8,
  OUT_OF_RANGE: 0xfffffff9,
  PERMISSION_DENIED: 0xfffffffa,
  UNAUTHENTICATED: 0xfffffffb,
  RESOURCE_EXHAUSTED: 0xfffffffc,
  UNAVAILABLE: 0xfffffffd,
  UNIMPLEMENTED: 0xfffffffe,
  UNKNOWN: 0xffffffff,
};

/** Device option ids. 0x5, 0x9 and 0xC exist on real devices with unknown meaning. */
export const OPTION: Readonly<
  Record<
    | "GQI_RAW_ADDRESSING"
    | "GQI_RDA"
    | "GQI_QPL"
    | "DQO_RDA"
    | "MODIFY_RING"
    | "DQO_QPL"
    | "JUMBO_FRAMES"
    | "BUFFER_SIZES"
    | "FLOW_STEERING"
    | "NIC_TIMESTAMP"
    | "RSS_CONFIG",
    number
  >
> = {
  GQI_RAW_ADDRESSING: 0x1,
  GQI_RDA: 0x2,
  GQI_QPL: 0x3,
  DQO_RDA: 0x4,
  MODIFY_RING: 0x6,
  DQO_QPL: 0x7,
  JUMBO_FRAMES: 0x8,
  BUFFER_SIZES: 0xa,
  FLOW_STEERING: 0xb,
  NIC_TIMESTAMP: 0xd,
  RSS_CONFIG: 0xe,
};

/** Bits of `supported_features_mask` in the chosen queue format's option. */
export const FEATURE: Readonly<
  Record<
    "MODIFY_RING" | "JUMBO_FRAMES" | "BUFFER_SIZES" | "FLOW_STEERING" | "RSS_CONFIG" | "NIC_TIMESTAMP",
    number
  >
> = {
  MODIFY_RING: 1 << 0,
  JUMBO_FRAMES: 1 << 2,
  BUFFER_SIZES: 1 << 4,
  FLOW_STEERING: 1 << 5,
  RSS_CONFIG: 1 << 7,
  NIC_TIMESTAMP: 1 << 8,
};

/** Capability bits of `gve_driver_info.capability_flags0`. */
export const CAPABILITY: Readonly<
  Record<
    | "GQI_QPL"
    | "GQI_RDA"
    | "DQO_QPL"
    | "DQO_RDA"
    | "ALT_MISS_COMPL"
    | "FLEXIBLE_BUFFER_SIZE"
    | "FLEXIBLE_RSS_SIZE",
    number
  >
> = {
  GQI_QPL: 1 << 0,
  GQI_RDA: 1 << 1,
  DQO_QPL: 1 << 2,
  DQO_RDA: 1 << 3,
  ALT_MISS_COMPL: 1 << 4,
  FLEXIBLE_BUFFER_SIZE: 1 << 5,
  FLEXIBLE_RSS_SIZE: 1 << 6,
};

/** Bits of the `device_status` register. */
export const DEVICE_STATUS: Readonly<
  Record<"RESET_WANTED" | "LINK_UP" | "REPORT_STATS" | "IN_RESET", number>
> = {
  RESET_WANTED: 1 << 1,
  LINK_UP: 1 << 2,
  REPORT_STATS: 1 << 3,
  IN_RESET: 1 << 4,
};

/** Bits of the `driver_status` register, which exists from PCI revision 1 on. */
export const DRIVER_STATUS: Readonly<Record<"RUN" | "RESET", number>> = { RUN: 1 << 0, RESET: 1 << 1 };

/** Statistic ids of the report: 1 to 8 are the driver's, 65 to 68 the device's. */
export const STAT: Readonly<
  Record<
    | "TX_WAKES"
    | "TX_STOPS"
    | "TX_FRAMES"
    | "TX_BYTES"
    | "TX_LAST_COMPLETION"
    | "RX_NEXT_SEQUENCE"
    | "RX_BUFFERS_POSTED"
    | "TX_TIMEOUTS"
    | "RX_QUEUE_DROPS"
    | "RX_NO_BUFFERS_POSTED"
    | "RX_DROPS_OVER_MRU"
    | "RX_DROPS_BAD_CHECKSUM",
    number
  >
> = {
  TX_WAKES: 1,
  TX_STOPS: 2,
  TX_FRAMES: 3,
  TX_BYTES: 4,
  TX_LAST_COMPLETION: 5,
  RX_NEXT_SEQUENCE: 6,
  RX_BUFFERS_POSTED: 7,
  TX_TIMEOUTS: 8,
  RX_QUEUE_DROPS: 65,
  RX_NO_BUFFERS_POSTED: 66,
  RX_DROPS_OVER_MRU: 67,
  RX_DROPS_BAD_CHECKSUM: 68,
};

/** Records that a driver writes for each queue of a direction; the device's follow all of them. */
export const DRIVER_STATS: Readonly<Record<"TX" | "RX", number>> = { TX: 6, RX: 2 };
/** Records that the device writes for each receive queue. */
export const DEVICE_STATS = 4;

/** GQI transmit descriptor types: the high nibble of `type_flags`. */
export const GQI_TYPE: Readonly<Record<"STD" | "TSO" | "SEG" | "MTD", number>> = {
  STD: 0x00,
  TSO: 0x10,
  SEG: 0x20,
  MTD: 0x30,
};
/** GQI transmit descriptor flags: the low nibble of `type_flags`. `IPV6` belongs to segments of a TSO packet. */
export const GQI_FLAG: Readonly<Record<"L4CSUM" | "TSTAMP" | "IPV6", number>> = {
  L4CSUM: 1,
  TSTAMP: 4,
  IPV6: 2,
};
/** Where in `type_flags` the type is. The comments of several C headers have the nibbles the other way round. */
export const GQI_TYPE_MASK = 0xf0;
/** `path_state` of a metadata descriptor whose hash covers layer 4. */
export const GQI_PATH_HASH_L4 = 0x10;

/** DQO transmit descriptor types. */
export const DQO_DTYPE: Readonly<Record<"GENERAL_CONTEXT" | "TSO_CONTEXT" | "PACKET", number>> = {
  GENERAL_CONTEXT: 0x04,
  TSO_CONTEXT: 0x05,
  PACKET: 0x0c,
};

/** DQO transmit completion types. */
export const DQO_COMPLETION: Readonly<Record<"MISS" | "PACKET" | "REINJECTION" | "DESCRIPTOR", number>> = {
  MISS: 1,
  PACKET: 2,
  REINJECTION: 3,
  DESCRIPTOR: 4,
};
/** Bit of a PACKET completion's tag that makes it a MISS (capability `ALT_MISS_COMPL`). */
export const DQO_ALT_MISS = 0x8000;

/** Most bytes that a frame has whatever the format. */
export const LARGEST_FRAME = 65535;
/** `parameter_type` of SET_DRIVER_PARAMETER: the MTU. */
export const MTU_PARAMETER = 1;
/** `queue_page_list_id` for raw addressing. */
export const RAW_ADDRESSING = 0xffffffff;
/** The device's pages, whatever a driver writes into `page_size`. */
export const PAGE = 4096;
/** Slots of the admin queue: one page of 64-byte commands. */
export const ADMIN_SLOTS = 64;
/** Bytes of the first GQI segment if the packet has as many. */
export const GQI_HEADER = 182;
/** GQI transmit FIFO pieces start at multiples of a cache line. */
export const CACHE_LINE = 64;
/** Most descriptors of a GQI packet on the NIC's host switch. */
export const GQI_NIC_DESCRIPTORS = 18;
/** Bytes of a transmit page list that the NIC can name: offsets have 24 bits. */
export const GQI_NIC_LIST_BYTES: number = 2 ** 24;
/** Bytes of an iPXE buffer: half a page. */
export const IPXE_BUFFER = 2048;
/** Receive buffers that iPXE has; its transmit buffers are as many as its page list holds. */
export const IPXE_RX_BUFFERS = 64;
/** Padding before a packet in its first GQI receive buffer. */
export const GQI_RX_PAD = 2;
/** Linux posts DQO receive buffers and announces them whenever the tail is a multiple of this. */
export const DQO_POST_STEP = 32;
/** Fewest descriptors between two DQO report events. */
export const DQO_REPORT_SPACING = 32;
/** Bytes of a DQO QPL transmit buffer: half a page. */
export const DQO_TX_BUFFER = 2048;
/** Most bytes that one DQO data descriptor carries. */
export const DQO_MAX_BUFFER = 16383;
/** Spare descriptors that Linux leaves so that driver and device do not share a cache line of the ring. */
export const DQO_SPARE = 4;
/** A DQO QPL receive queue copies fragments once so few buffer states are unused. */
export const DQO_ON_DEMAND = 96;
/** How long a driver waits for REINJECTION after a MISS, in milliseconds. */
export const DQO_REINJECT_MS = 1000;
/** How long a tag stays out of use after that, in milliseconds. */
export const DQO_TAG_HOLD_MS = 60000;

/** The hardware's own limits on DQO transmit packets. */
export const NIC_LIMITS: Readonly<
  Record<
    "minimum" | "maximum" | "descriptors" | "minimumMss" | "maximumMss" | "maximumHeader" | "maximumTso",
    number
  >
> = {
  minimum: 17,
  maximum: 9728,
  descriptors: 10,
  minimumMss: 88,
  maximumMss: 9728,
  maximumHeader: 255,
  maximumTso: 262143,
};

/** `hash_alg` of the RSS commands. */
export const RSS_ALGORITHM: Readonly<Record<"UNCHANGED" | "TOEPLITZ", number>> = {
  UNCHANGED: 0,
  TOEPLITZ: 1,
};
/** Entries of the RSS table. */
export const RSS_LUT_SIZE: number = 128;
/** Packet types that GET_PTYPE_MAP tells of. This device puts L3 and L4 together to number them; 0 is unknown. */
export const PACKET_TYPES: number = 1024;
