/**
 * PCI configuration space of a device: header, capability list, and bits that the driver may write.
 *
 * @module
 */
import type { Registers } from "../../core/plugin.ts";
import { virtio_pci_cap } from "./layout.ts";
import { pci_config_header, PCI_CONFIG_SIZE } from "./pci_layout.ts";

/** Offset of the status register. */
export const PCI_STATUS: number = pci_config_header.offsetOf("status");

/** PCI vendor of all virtio devices. */
const VENDOR = 0x1af4;
const COMMAND_REGISTER = pci_config_header.offsetOf("command");
const CAPABILITY_LIST = pci_config_header.offsetOf("capability_list");
const CAP_NEXT = virtio_pci_cap.offsetOf("cap_next");
const COMMAND = pci_config_header.field("command").flags!;
const STATUS = pci_config_header.field("status").flags!;
const ETHERNET_CONTROLLER = 0x0200;
const PIN_A = 1;
/** Low bit of a base address: I/O space. */
const IO_SPACE = 1;

/** What tells a device from others. */
export interface PciIdentity {
  /** Device number. */
  readonly device: number;
  /** Revision: 0 for transitional devices. */
  readonly revision: number;
  /** Subsystem device number. */
  readonly subsystem: number;
}

/** Something behind bytes of configuration space. */
export interface PciWatch {
  /** Called before the bytes are read: they may be brought up to date. */
  readonly beforeRead?: () => void;
  /** Called after they were written. */
  readonly afterWrite?: () => void;
}

/** See the module. */
export class PciConfigSpace implements Registers {
  /** The 256 bytes. */
  readonly bytes: Uint8Array = new Uint8Array(PCI_CONFIG_SIZE);
  /** The same bytes. */
  readonly view: DataView = new DataView(this.bytes.buffer);
  /** Bits that the driver may change. */
  readonly #writable = new Uint8Array(PCI_CONFIG_SIZE);
  readonly #watches: (PciWatch & { readonly start: number; readonly end: number })[] = [];
  /** Where the number of the next capability goes, and its place. */
  #link = CAPABILITY_LIST;
  #next = pci_config_header.size;

  /** Makes the header of a network device. */
  constructor({ device, revision, subsystem }: PciIdentity) {
    const { view } = this;
    const at = (name: string) => pci_config_header.offsetOf(name);
    view.setUint16(at("vendor_id"), VENDOR, true);
    view.setUint16(at("device_id"), device, true);
    view.setUint8(at("revision_id"), revision);
    view.setUint16(at("class_device"), ETHERNET_CONTROLLER, true);
    view.setUint16(at("subsystem_vendor_id"), VENDOR, true);
    view.setUint16(at("subsystem_id"), subsystem, true);
    view.setUint8(at("interrupt_pin"), PIN_A);
    this.allow(COMMAND_REGISTER, 2, COMMAND.IO! | COMMAND.MEMORY! | COMMAND.MASTER! | COMMAND.INTX_DISABLE!);
    this.allow(at("cache_line_size"), 1, 0xff);
    this.allow(at("latency_timer"), 1, 0xff);
    this.allow(at("interrupt_line"), 1, 0xff);
  }

  /** Has a BAR of that many bytes, a power of two: a driver that writes ones to it reads its size. */
  addBar(index: number, size: number, io: boolean): void {
    const at = pci_config_header.offsetOf("base_address[0]") +
      index * pci_config_header.field("base_address[0]").size;
    if (io) this.bytes[at] = IO_SPACE;
    this.allow(at, 4, -size >>> 0);
  }

  /**
   * Appends a capability to the list.
   *
   * @param bytes The capability; its link is filled in.
   * @returns Its offset.
   */
  addCapability(bytes: Uint8Array): number {
    const at = this.#next;
    this.#next += Math.ceil(bytes.length / 4) * 4;
    this.bytes.set(bytes, at);
    this.bytes[at + CAP_NEXT] = 0;
    this.bytes[this.#link] = at;
    this.#link = at + CAP_NEXT;
    this.bytes[PCI_STATUS]! |= STATUS.CAP_LIST!;
    return at;
  }

  /** Whether the driver has turned INTx off. */
  get intxDisabled(): boolean {
    return (this.view.getUint16(COMMAND_REGISTER, true) & COMMAND.INTX_DISABLE!) !== 0;
  }

  /** Shows in the status register whether the device asserts INTx. */
  showInterrupt(asserted: boolean): void {
    this.bytes[PCI_STATUS] = this.bytes[PCI_STATUS]! & ~STATUS.INTERRUPT! |
      (asserted ? STATUS.INTERRUPT! : 0);
  }

  /** Lets the driver change the bits of `mask` in 1, 2 or 4 bytes. */
  allow(offset: number, width: number, mask: number): void {
    for (let i = 0; i < width; i++) this.#writable[offset + i] = mask >>> (8 * i);
  }

  /** Has somebody called when these bytes are read or written. */
  watch(start: number, length: number, watch: PciWatch): void {
    this.#watches.push({ ...watch, start, end: start + length });
  }

  /** Reads 1, 2 or 4 aligned bytes. Another access reads as all ones. */
  read(offset: number, width: number): number {
    if (!fits(offset, width)) return 2 ** (8 * width) - 1;
    for (const { start, end, beforeRead } of this.#watches) {
      if (beforeRead && offset < end && offset + width > start) beforeRead();
    }
    return readBytes(this.view, offset, width);
  }

  /** Writes what may be written of 1, 2 or 4 aligned bytes. Another access is ignored. */
  write(offset: number, width: number, value: number): void {
    if (!fits(offset, width)) return;
    for (let i = 0; i < width; i++) {
      const mask = this.#writable[offset + i]!;
      this.bytes[offset + i] = this.bytes[offset + i]! & ~mask | value >>> (8 * i) & mask;
    }
    for (const { start, end, afterWrite } of this.#watches) {
      if (afterWrite && offset < end && offset + width > start) afterWrite();
    }
  }
}

function fits(offset: number, width: number): boolean {
  return offset + width <= PCI_CONFIG_SIZE && offset % width === 0;
}

/** Reads 1, 2 or 4 bytes, little endian. */
export function readBytes(view: DataView, offset: number, width: number): number {
  return width === 1
    ? view.getUint8(offset)
    : width === 2
    ? view.getUint16(offset, true)
    : view.getUint32(offset, true);
}

/** Writes 1, 2 or 4 bytes, little endian. */
export function writeBytes(view: DataView, offset: number, width: number, value: number): void {
  if (width === 1) view.setUint8(offset, value);
  else if (width === 2) view.setUint16(offset, value, true);
  else view.setUint32(offset, value, true);
}
