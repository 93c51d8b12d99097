/**
 * The driver's side of virtio-pci: finds the register windows and speaks to the device through them.
 *
 * @module
 */
import { isPowerOfTwo } from "../../core/index.ts";
import type { Registers } from "../../core/plugin.ts";
import {
  virtio_net_config,
  virtio_notification_data,
  virtio_pci_legacy,
  virtio_pci_modern_common_cfg,
  VIRTQUEUE_MAX_SIZE,
} from "./layout.ts";
import { CONFIG_VECTOR, DriverVectors } from "./msix_driver.ts";
import { fault, findWindows, type PciWindows } from "./pci_discovery.ts";
import { LEGACY_ALIGN, type RingAddresses } from "./ring_areas.ts";
import type { VirtioTransport } from "./transport.ts";

/** How often a register is read until it shows what it must. */
const PATIENCE = 1000;
const HIGH = 2 ** 32;
/** Bytes of a doorbell write without NOTIFICATION_DATA. */
const DOORBELL = 2;
/** With a single vector, INTx does as well: 4.1.5.1.2. */
const FEWEST_VECTORS = 2;

/** Reads the device configuration, each field at its own width (4.1.3): `length` bytes of which there are `present`. */
function readFields(bar: Registers, base: number, length: number, present: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(length));
  for (const { offset, size, count } of virtio_net_config.fields) {
    if (typeof count === "number") {
      for (let at = offset; at < Math.min(offset + count, length, present); at++) {
        view.setUint8(at, bar.read(base + at, 1));
      }
    } else if (offset + size <= Math.min(length, present)) {
      const value = bar.read(base + offset, size);
      if (size === 1) view.setUint8(offset, value);
      else if (size === 2) view.setUint16(offset, value, true);
      else view.setUint32(offset, value, true);
    }
  }
  return new Uint8Array(view.buffer);
}

/** A queue's largest size as the device says it: 0 or a power of two up to 32768 (4.1.4.3.1). */
function checkedSize(queue: number, size: number): number {
  if (size === 0 || isPowerOfTwo(size) && size <= VIRTQUEUE_MAX_SIZE) return size;
  return fault({ queue, queue_size: size });
}

/** The modern interface. */
export class ModernPciTransport implements VirtioTransport {
  readonly legacy: boolean = false;
  readonly #bar: Registers;
  readonly #windows: PciWindows;
  readonly #vectors: DriverVectors | undefined;
  readonly #doorbells: number[] = [];
  readonly #withData: () => boolean;

  /**
   * Finds the windows, and turns MSI-X on if the device has it.
   *
   * @param config PCI configuration space.
   * @param bar The BAR that the capabilities name.
   * @param withData Whether NOTIFICATION_DATA was negotiated.
   * @throws {RingFault} If a window is missing or the capability list loops.
   */
  constructor(config: Registers, bar: Registers, withData: () => boolean) {
    this.#bar = bar;
    this.#windows = findWindows(config);
    this.#withData = withData;
    const { msix } = this.#windows;
    if (msix && msix.vectors >= FEWEST_VECTORS) this.#vectors = new DriverVectors(config, bar, msix);
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
    if (this.#vectors) this.#map("cfg.msix_config", CONFIG_VECTOR);
  }

  /** Maps an event to a vector, and hears whether that succeeded. */
  #map(register: string, vector: number): void {
    this.#write(register, vector);
    if (this.#read(register) !== vector) fault({ [register]: vector });
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
    const { device, deviceLength } = this.#windows;
    for (let left = PATIENCE; left > 0; left--) {
      const generation = this.#read("cfg.config_generation");
      const config = readFields(this.#bar, device, length, deviceLength);
      if (this.#read("cfg.config_generation") === generation) return config;
    }
    return fault({ config: "never settles" });
  }

  maxQueueSize(index: number): number {
    this.#write("cfg.queue_select", index);
    return checkedSize(index, this.#read("cfg.queue_size"));
  }

  startQueue(index: number, size: number, areas: RingAddresses): void {
    this.#write("cfg.queue_select", index);
    this.#write("cfg.queue_size", size);
    if (this.#read("cfg.queue_size") !== size) fault({ queue: index, size });
    this.#writeAddress("desc", areas.desc);
    this.#writeAddress("avail", areas.driver);
    this.#writeAddress("used", areas.device);
    if (this.#vectors) this.#map("cfg.queue_msix_vector", this.#vectors.of(index));
    this.#doorbells[index] = this.#findDoorbell(index);
    this.#write("cfg.queue_enable", 1);
    if (this.#read("cfg.queue_enable") !== 1) fault({ queue: index, enable: 0 });
  }

  /** Where the selected queue's doorbell is: it has room for what is written there (4.1.4.4.1). */
  #findDoorbell(queue: number): number {
    const { notify, notifyLength, multiplier } = this.#windows;
    const place = this.#read("cfg.queue_notify_off") * multiplier;
    const width = this.#withData() ? virtio_notification_data.size : DOORBELL;
    if (place % width !== 0 || place + width > notifyLength) {
      fault({ queue, doorbell: place, length: notifyLength });
    }
    return notify + place;
  }

  #writeAddress(part: string, address: number): void {
    this.#write(`cfg.queue_${part}_lo`, address % HIGH);
    this.#write(`cfg.queue_${part}_hi`, Math.floor(address / HIGH));
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
    } else this.#bar.write(doorbell, DOORBELL, index);
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
    return readFields(this.#bar, virtio_pci_legacy.size, length, length);
  }

  maxQueueSize(index: number): number {
    this.#write("queue_sel", index);
    return checkedSize(index, this.#read("queue_num"));
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
