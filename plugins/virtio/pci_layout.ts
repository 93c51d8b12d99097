/**
 * What PCI itself defines around virtio's registers: the configuration header, and MSI-X.
 *
 * @module
 */
import { array, bitfield, bits, bytes, type Struct, struct, u16, u32, u8 } from "../../core/layout.ts";

const PCI = "PCI Local Bus 3.0, 6.1; linux/pci_regs.h";
const MSIX = "PCI Local Bus 3.0, 6.8.2; linux/pci_regs.h";

/** Bytes of conventional configuration space. */
export const PCI_CONFIG_SIZE: number = 256;
/** Generic PCI capability number of a vendor's own capability. */
export const PCI_CAP_ID_VNDR: number = 9;
/** Generic PCI capability number of MSI-X. */
export const PCI_CAP_ID_MSIX: number = 0x11;

/** The first 64 bytes of configuration space, for a device that is no bridge. */
export const pci_config_header: Struct = struct("pci_config_header", {
  summary: "Start of PCI configuration space, header type 0",
  source: PCI,
  size: 64,
  fields: [
    u16("vendor_id", "0x1af4 for virtio"),
    u16("device_id", "0x1040 and the virtio device number; transitional 0x1000..0x103f"),
    u16("command", "RW: what the device may do", {
      flags: { IO: 1, MEMORY: 2, MASTER: 4, INTX_DISABLE: 0x400 },
    }),
    u16("status", "What it has, and what happened", { flags: { INTERRUPT: 8, CAP_LIST: 0x10 } }),
    u8("revision_id", "1 or higher; transitional 0"),
    u8("class_prog", "Programming interface"),
    u16("class_device", "Subclass, and base class above it: 0x0200 Ethernet controller"),
    u8("cache_line_size", "RW"),
    u8("latency_timer", "RW"),
    u8("header_type", "0; bit 7 with several functions"),
    u8("bist", "Self test"),
    array("base_address", 6, u32("", "RW: where the driver put a BAR; its low bits say what it is")),
    u32("cardbus_cis", "CardBus"),
    u16("subsystem_vendor_id", "Of the environment"),
    u16("subsystem_id", "0x40 or higher; transitional the virtio device number"),
    u32("rom_address", "RW: expansion ROM"),
    u8("capability_list", "Offset of the first capability"),
    bytes("reserved", 7, "Zero"),
    u8("interrupt_line", "RW: the host's own"),
    u8("interrupt_pin", "1 INTA# to 4 INTD#; 0 none"),
    u8("min_gnt", "Burst length"),
    u8("max_lat", "How often it needs the bus"),
  ],
});

/** MSI-X capability. */
export const pci_msix_cap: Struct = struct("pci_msix_cap", {
  summary: "PCI capability that says where the MSI-X table and its pending bits lie",
  source: MSIX,
  size: 12,
  fields: [
    u8("cap_id", "Generic PCI field: PCI_CAP_ID_MSIX, 0x11"),
    u8("cap_next", "Generic PCI field: next capability"),
    bitfield(2, [
      bits("table_size", 11, "Entries less one"),
      bits("reserved", 3, "Zero"),
      bits("function_mask", 1, "RW: 1 masks all vectors"),
      bits("enable", 1, "RW: 1 turns MSI-X on and INTx off"),
    ]),
    bitfield(4, [
      bits("table_bir", 3, "BAR of the table"),
      bits("table_offset", 29, "Where in it, in units of 8 bytes"),
    ]),
    bitfield(4, [
      bits("pba_bir", 3, "BAR of the pending bits"),
      bits("pba_offset", 29, "Where in it, in units of 8 bytes"),
    ]),
  ],
});

/** Entry of the MSI-X table. */
export const pci_msix_entry: Struct = struct("pci_msix_entry", {
  summary: "One MSI-X vector: what the device writes, and where, to interrupt",
  source: MSIX,
  size: 16,
  fields: [
    u32("lower_addr", "RW: address of the message"),
    u32("upper_addr", "RW: its upper half"),
    u32("data", "RW: the message"),
    u32("vector_ctrl", "RW: a masked vector's message waits", { flags: { MASKBIT: 1 } }),
  ],
});
