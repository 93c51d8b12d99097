/**
 * The driver's look at configuration space: where the register windows lie, and the MSI-X table.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import type { Registers } from "../../core/plugin.ts";
import { isPowerOfTwo } from "../../core/index.ts";
import { virtio_pci_cap, virtio_pci_common_cfg, virtio_pci_notify_cap } from "./layout.ts";
import {
  PCI_CAP_ID_MSIX,
  PCI_CAP_ID_VNDR,
  pci_config_header,
  PCI_CONFIG_SIZE,
  pci_msix_cap,
} from "./pci_layout.ts";

const STATUS = pci_config_header.offsetOf("status");
const CAP_LIST = pci_config_header.field("status").flags!.CAP_LIST!;
const CAPABILITY_LIST = pci_config_header.offsetOf("capability_list");
const CAP_NEXT = virtio_pci_cap.offsetOf("cap_next");
const CFG_TYPE = virtio_pci_cap.offsetOf("cfg_type");
const BAR = virtio_pci_cap.offsetOf("bar");
const OFFSET = virtio_pci_cap.offsetOf("offset");
const LENGTH = virtio_pci_cap.offsetOf("length");
const MULTIPLIER = virtio_pci_notify_cap.offsetOf("notify_off_multiplier");
const TYPES = virtio_pci_cap.field("cfg_type").values!;
const MSIX_CONTROL = pci_msix_cap.offsetOf("enable");
const MSIX_TABLE = pci_msix_cap.offsetOf("table_bir");
const TABLE_SIZE = pci_msix_cap.maskOf("table_size");
const BIR = pci_msix_cap.maskOf("table_bir");

const HIGHEST_BAR = 5;
/** The low bits of a link are reserved. */
const LINK = 0xfc;
/** As many capabilities as fit into configuration space: a list that is longer loops. */
const MOST_CAPABILITIES = 48;

/** Raises the fault of a device that is not as it must be. */
export function fault(values: Record<string, number | string>): never {
  throw new RingFault("driver", "pci", "bring-up", 0, values);
}

/** Where the windows lie in the register BAR. */
export interface PciWindows {
  /** Common configuration. */
  readonly common: number;
  /** Device configuration. */
  readonly device: number;
  /** Its length: older devices have less. */
  readonly deviceLength: number;
  /** Doorbells. */
  readonly notify: number;
  /** Bytes that they lie in. */
  readonly notifyLength: number;
  /** Bytes per step of `queue_notify_off`. */
  readonly multiplier: number;
  /** MSI-X, if the device has it. */
  readonly msix?: MsixPlace;
}

/** Where MSI-X is set up. */
export interface MsixPlace {
  /** Offset of the message control register in configuration space. */
  readonly control: number;
  /** Offset of the table in its BAR. */
  readonly table: number;
  /** Entries of the table. */
  readonly vectors: number;
}

/**
 * Walks the capability list for the windows; the first of each type counts (4.1.4.2).
 *
 * @throws {RingFault} If a window is missing or too short, the windows lie in several BARs, doorbells lie at odd
 *   distances, or the list loops.
 */
export function findWindows(config: Registers): PciWindows {
  const windows = new Map<
    number,
    { readonly bar: number; readonly offset: number; readonly length: number }
  >();
  let multiplier = 0;
  let msix: number | undefined;
  let at = config.read(STATUS, 2) & CAP_LIST ? config.read(CAPABILITY_LIST, 1) & LINK : 0;
  for (let left = MOST_CAPABILITIES; at !== 0; left--) {
    if (left === 0) fault({ capability: at });
    const id = config.read(at, 1);
    if (at + (id === PCI_CAP_ID_VNDR ? virtio_pci_cap.size : CAP_NEXT) > PCI_CONFIG_SIZE) {
      fault({ capability: at });
    }
    const type = config.read(at + CFG_TYPE, 1);
    if (id === PCI_CAP_ID_MSIX) msix ??= at;
    const bar = config.read(at + BAR, 1);
    if (id === PCI_CAP_ID_VNDR && bar <= HIGHEST_BAR && !windows.has(type)) {
      windows.set(type, { bar, offset: config.read(at + OFFSET, 4), length: config.read(at + LENGTH, 4) });
      if (type === TYPES.NOTIFY_CFG) multiplier = config.read(at + MULTIPLIER, 4);
    }
    at = config.read(at + CAP_NEXT, 1) & LINK;
  }
  const window = (type: number) => windows.get(type) ?? fault({ missing_cfg_type: type });
  const { bar, offset: common, length } = window(TYPES.COMMON_CFG!);
  const inBar = (type: number) => {
    const found = window(type);
    return found.bar === bar ? found : fault({ cfg_type: type, bar: found.bar, common_bar: bar });
  };
  if (length < virtio_pci_common_cfg.size) fault({ cfg_type: TYPES.COMMON_CFG!, length });
  // No odd distance, so that every doorbell is aligned (4.1.4.4.1).
  if (multiplier === 1 || (multiplier !== 0 && !isPowerOfTwo(multiplier))) {
    fault({ notify_off_multiplier: multiplier });
  }
  const device = inBar(TYPES.DEVICE_CFG!);
  const notify = inBar(TYPES.NOTIFY_CFG!);
  const vectors = msix === undefined ? undefined : findVectors(config, msix, bar);
  return {
    common,
    device: device.offset,
    deviceLength: device.length,
    notify: notify.offset,
    notifyLength: notify.length,
    multiplier,
    ...vectors && { msix: vectors },
  };
}

/** The MSI-X table, if it lies in the BAR of the registers. */
function findVectors(config: Registers, at: number, bar: number): MsixPlace | undefined {
  const table = config.read(at + MSIX_TABLE, 4);
  if ((table & BIR) !== bar) return undefined;
  return {
    control: at + MSIX_CONTROL,
    table: (table & ~BIR) >>> 0,
    vectors: (config.read(at + MSIX_CONTROL, 2) & TABLE_SIZE) + 1,
  };
}
