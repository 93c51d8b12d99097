/**
 * The driver's side of virtio-pci: finds the register windows and speaks to the device through them.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import type { Registers } from "../../core/plugin.ts";
import {
  virtio_notification_data,
  virtio_pci_cap,
  virtio_pci_legacy,
  virtio_pci_modern_common_cfg,
  virtio_pci_notify_cap,
} from "./layout.ts";
import { LEGACY_ALIGN, type RingAddresses } from "./ring_areas.ts";
import type { VirtioTransport } from "./transport.ts";

/** Generic PCI capability number of a vendor's own capability. */
const CAP_VENDOR = 9;
const CAPABILITY_LIST = 0x34;
const COMMON = 1;
const NOTIFY = 2;
const DEVICE = 4;
const HIGHEST_BAR = 5;
/** As many capabilities as fit into configuration space: a list that is longer loops. */
const MOST_CAPABILITIES = 48;
/** How often a register is read until it shows what it must. */
const PATIENCE = 1000;
const HIGH = 2 ** 32;

function fault(values: Record<string, number | string>): never {
  throw new RingFault("driver", "pci", "bring-up", 0, values);
}

/** Where the windows lie in the register BAR. */
interface Windows {
  readonly common: number;
  readonly device: number;
  readonly notify: number;
  readonly multiplier: number;
}

/** Walks the capability list for the windows; the first of each type counts (4.1.4.2). */
function findWindows(config: Uint8Array): Windows {
  const offsets = new Map<number, number>();
  let multiplier = 0;
  let at = config[CAPABILITY_LIST]!;
  for (let left = MOST_CAPABILITIES; at !== 0; left--) {
    if (left === 0 || at + virtio_pci_cap.size > config.length) fault({ capability: at });
    const cap = virtio_pci_cap.decode(config, at);
    const type = cap.cfg_type as number;
    if (cap.cap_vndr === CAP_VENDOR && (cap.bar as number) <= HIGHEST_BAR && !offsets.has(type)) {
      offsets.set(type, cap.offset as number);
      if (type === NOTIFY) {
        multiplier = virtio_pci_notify_cap.decode(config, at).notify_off_multiplier as number;
      }
    }
    at = cap.cap_next as number;
  }
  const window = (type: number) => offsets.get(type) ?? fault({ missing_cfg_type: type });
  return { common: window(COMMON), device: window(DEVICE), notify: window(NOTIFY), multiplier };
}

/** The modern interface. */
export class ModernPciTransport implements VirtioTransport {
  readonly legacy: boolean = false;
  readonly #bar: Registers;
  readonly #windows: Windows;
  readonly #doorbells: number[] = [];
  readonly #withData: () => boolean;

  /**
   * Finds the windows.
   *
   * @param config PCI configuration space.
   * @param bar The BAR that the capabilities name.
   * @param withData Whether NOTIFICATION_DATA was negotiated.
   * @throws {RingFault} If a window is missing or the capability list loops.
   */
  constructor(config: Uint8Array, bar: Registers, withData: () => boolean) {
    this.#bar = bar;
    this.#windows = findWindows(config);
    this.#withData = withData;
  }

  #read(name: string): number {
    const field = virtio_pci_modern_common_cfg.field(name);
    return this.#bar.read(this.#windows.common + field.offset, field.size);
  }

  #write(name: string, value: number): void {
    const field = virtio_pci_modern_common_cfg.field(name);
    this.#bar.write(this.#windows.common + field.offset, field.size, value);
  }

  getStatus(): number {
    return this.#read("cfg.device_status");
  }

  setStatus(status: number): void {
    this.#write("cfg.device_status", status);
    if (status !== 0) return;
    for (let left = PATIENCE; this.getStatus() !== 0; left--) {
      if (left === 0) fault({ status: this.getStatus() });
    }
  }

  getFeatures(): bigint {
    let features = 0n;
    for (let select = 3; select >= 0; select--) {
      this.#write("cfg.device_feature_select", select);
      features = features << 32n | BigInt(this.#read("cfg.device_feature"));
    }
    return features;
  }

  setFeatures(features: bigint): void {
    for (let select = 0; select < 4; select++) {
      this.#write("cfg.guest_feature_select", select);
      this.#write("cfg.guest_feature", Number(features >> BigInt(32 * select) & 0xffffffffn));
    }
  }

  readConfig(length: number): Uint8Array {
    for (let left = PATIENCE; left > 0; left--) {
      const generation = this.#read("cfg.config_generation");
      const config = Uint8Array.from({ length }, (_, i) => this.#bar.read(this.#windows.device + i, 1));
      if (this.#read("cfg.config_generation") === generation) return config;
    }
    return fault({ config: "never settles" });
  }

  maxQueueSize(index: number): number {
    this.#write("cfg.queue_select", index);
    return this.#read("cfg.queue_size");
  }

  startQueue(index: number, size: number, areas: RingAddresses): void {
    this.#write("cfg.queue_select", index);
    this.#write("cfg.queue_size", size);
    if (this.#read("cfg.queue_size") !== size) fault({ queue: index, size });
    for (
      const [name, address] of [["desc", areas.desc], ["avail", areas.driver], [
        "used",
        areas.device,
      ]] as const
    ) {
      this.#write(`cfg.queue_${name}_lo`, address % HIGH);
      this.#write(`cfg.queue_${name}_hi`, Math.floor(address / HIGH));
    }
    this.#doorbells[index] = this.#windows.notify +
      this.#read("cfg.queue_notify_off") * this.#windows.multiplier;
    this.#write("cfg.queue_enable", 1);
    if (this.#read("cfg.queue_enable") !== 1) fault({ queue: index, enable: 0 });
  }

  resetQueue(index: number): void {
    this.#write("cfg.queue_select", index);
    this.#write("queue_reset", 1);
    for (let left = PATIENCE; this.#read("queue_reset") !== 0; left--) {
      if (left === 0) fault({ queue: index, queue_reset: 1 });
    }
    if (this.#read("cfg.queue_enable") !== 0) fault({ queue: index, enable: 1 });
  }

  kick(index: number, availIndex: number): void {
    const doorbell = this.#doorbells[index]!;
    if (this.#withData()) {
      this.#bar.write(doorbell, virtio_notification_data.size, notificationData(index, availIndex));
    } else this.#bar.write(doorbell, 2, index);
  }
}

const VQN_BITS = virtio_notification_data.field("vqn").width;

/** What a doorbell write carries with NOTIFICATION_DATA: queue index, and the ring index above it (2.9). */
export function notificationData(index: number, availIndex: number): number {
  return (index | availIndex << VQN_BITS) >>> 0;
}

/** The legacy interface. */
export class LegacyPciTransport implements VirtioTransport {
  readonly legacy: boolean = true;
  readonly #bar: Registers;

  /** Speaks through the legacy I/O BAR. */
  constructor(bar: Registers) {
    this.#bar = bar;
  }

  #read(name: string): number {
    const field = virtio_pci_legacy.field(name);
    return this.#bar.read(field.offset, field.size);
  }

  #write(name: string, value: number): void {
    const field = virtio_pci_legacy.field(name);
    this.#bar.write(field.offset, field.size, value);
  }

  getStatus(): number {
    return this.#read("status");
  }

  setStatus(status: number): void {
    this.#write("status", status);
  }

  getFeatures(): bigint {
    return BigInt(this.#read("host_features"));
  }

  setFeatures(features: bigint): void {
    this.#write("guest_features", Number(features));
  }

  readConfig(length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.#bar.read(virtio_pci_legacy.size + i, 1));
  }

  maxQueueSize(index: number): number {
    this.#write("queue_sel", index);
    return this.#read("queue_num");
  }

  startQueue(index: number, size: number, areas: RingAddresses): void {
    if (this.maxQueueSize(index) !== size) fault({ queue: index, size });
    this.#write("queue_pfn", areas.desc / LEGACY_ALIGN);
  }

  resetQueue(index: number): void {
    this.#write("queue_sel", index);
    this.#write("queue_pfn", 0);
  }

  kick(index: number): void {
    this.#write("queue_notify", index);
  }
}
