/**
 * The device's side of virtio-pci: configuration space with capabilities, and the registers behind them.
 *
 * Virtio 1.4, 4.1. What a driver does wrong here breaks the device, not the host: it asks for a reset
 * (NEEDS_RESET) and serves nothing until it is reset.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import { isPowerOfTwo } from "../../core/index.ts";
import type { Field } from "../../core/layout.ts";
import type { Registers } from "../../core/plugin.ts";
import type { VirtioNetDevice } from "./device.ts";
import { brokenDependency, hasFeature } from "./features.ts";
import {
  virtio_net_config,
  virtio_pci_cap,
  virtio_pci_legacy,
  virtio_pci_modern_common_cfg,
  virtio_pci_notify_cap,
} from "./layout.ts";
import { LEGACY_ALIGN, legacyLayout } from "./ring_areas.ts";
import { STATUS } from "./transport.ts";

/** PCI vendor of all virtio devices. */
export const PCI_VENDOR: number = 0x1af4;
/** PCI device number of a modern network device: 0x1040 and the virtio device number. */
export const PCI_DEVICE_NET: number = 0x1041;
/** PCI device number of a transitional network device. */
export const PCI_DEVICE_NET_LEGACY: number = 0x1000;
/** Generic PCI capability number of a vendor's own capability. */
export const PCI_CAP_ID_VNDR: number = 9;
/** Offset of the capability pointer in configuration space. */
export const PCI_CAPABILITY_LIST: number = 0x34;
/** `virtio_pci_cap.cfg_type` values. */
export const CFG_TYPE = { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4 } as const satisfies Readonly<
  Record<string, number>
>;
/** The vector that stands for none. */
export const VIRTIO_MSI_NO_VECTOR: number = 0xffff;

const CAPABILITIES = 0x40;
const REGISTER_BAR = 4;
const COMMON = 0x0000;
const ISR = 0x1000;
const DEVICE = 0x2000;
const NOTIFY = 0x3000;
/** Bytes between doorbells: room for the 4 bytes of NOTIFICATION_DATA. */
const NOTIFY_MULTIPLIER = 4;
const ISR_QUEUE = 1;
const ISR_CONFIG = 2;
const LINK_UP = 1;
/** What the device says with MTU: as much as the field holds. */
const LARGEST_MTU = 65535;
const ALL_STATUS = 0xff;
const HIGH = 2 ** 32;

/** The registers of one queue. */
interface QueueRegisters {
  size: number;
  vector: number;
  enable: number;
  desc: [number, number];
  avail: [number, number];
  used: [number, number];
}

/** What both register interfaces share: status, features, interrupts. */
abstract class PciBase {
  /** Called with the queue's index when the device interrupts for it. */
  interrupt: (queue: number) => void = ignore;
  /** Called when the device changed its configuration or wants a reset. */
  configInterrupt: () => void = ignore;
  protected readonly device: VirtioNetDevice;
  protected status = 0;
  protected driverFeatures = 0n;
  protected isr = 0;
  protected select = 0;

  constructor(device: VirtioNetDevice) {
    this.device = device;
    device.interrupt = (queue) => {
      this.isr |= ISR_QUEUE;
      this.interrupt(queue);
    };
    device.onFault = () => this.needsReset();
  }

  protected needsReset(): void {
    // A legacy device has no way to say it (2.1.2).
    if (!hasFeature(this.device.offered, "VERSION_1")) return;
    this.status |= STATUS.NEEDS_RESET;
    if (!(this.status & STATUS.DRIVER_OK)) return;
    this.isr |= ISR_CONFIG;
    this.configInterrupt();
  }

  protected reset(): void {
    this.status = 0;
    this.driverFeatures = 0n;
    this.isr = 0;
    this.device.reset();
  }

  /** Starts a queue; a driver that set it up wrongly has to reset the device. */
  protected startQueue(index: number, size: number, desc: number, driver: number, device: number): boolean {
    try {
      this.device.queues[index]?.start(size, { desc, driver, device }, this.driverFeatures);
      return true;
    } catch (error) {
      if (!(error instanceof RingFault)) throw error;
      this.needsReset();
      return false;
    }
  }

  /** A doorbell counts once the driver has said that it is ready. */
  protected notify(queue: number): void {
    if (this.status & STATUS.DRIVER_OK && !(this.status & STATUS.NEEDS_RESET)) this.device.notify(queue);
  }

  /** Reading the interrupt status clears it. */
  protected readIsr(): number {
    const isr = this.isr;
    this.isr = 0;
    return isr;
  }

  /** The device configuration as it stands now. */
  protected deviceConfig(): Uint8Array {
    return virtio_net_config.encode({
      mac: this.device.control.mac,
      status: LINK_UP,
      max_virtqueue_pairs: this.device.queuePairs,
      mtu: LARGEST_MTU,
      rss_max_key_size: 40,
      supported_hash_types: hasFeature(this.device.offered, "HASH_REPORT") ? 0x1ff : 0,
    });
  }
}

function littleEndian(bytes: Uint8Array, offset: number, width: number): number {
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0);
  return value;
}

const commonFields: ReadonlyMap<number, Field> = new Map(
  virtio_pci_modern_common_cfg.fields.map((field) => [field.offset, field]),
);

/** The modern interface: a capability list in configuration space, and one BAR with four windows. */
export class ModernPciDevice extends PciBase implements Registers {
  /** PCI configuration space, 256 bytes. */
  readonly config: Uint8Array = new Uint8Array(256);
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;
  #configVector = VIRTIO_MSI_NO_VECTOR;
  #generationMac: readonly number[];
  #generationNumber = 0;
  #queues: QueueRegisters[] = [];

  /** Makes the registers of a device that is not yet set up. */
  constructor(device: VirtioNetDevice) {
    super(device);
    this.#generationMac = device.control.mac;
    this.#writeCapabilities();
    this.reset();
  }

  #writeCapabilities(): void {
    const view = new DataView(this.config.buffer);
    view.setUint16(0, PCI_VENDOR, true);
    view.setUint16(2, PCI_DEVICE_NET, true);
    const notifyLength = this.device.queues.length * NOTIFY_MULTIPLIER;
    const windows = [
      [CFG_TYPE.COMMON, COMMON, virtio_pci_modern_common_cfg.size],
      [CFG_TYPE.ISR, ISR, 1],
      [CFG_TYPE.DEVICE, DEVICE, virtio_net_config.size],
      [CFG_TYPE.NOTIFY, NOTIFY, notifyLength],
    ] as const;
    let at = CAPABILITIES;
    this.config[PCI_CAPABILITY_LIST] = at;
    for (const [type, offset, length] of windows) {
      const notify = type === CFG_TYPE.NOTIFY;
      const size = notify ? virtio_pci_notify_cap.size : virtio_pci_cap.size;
      const fields = {
        cap_vndr: PCI_CAP_ID_VNDR,
        cap_next: notify ? 0 : at + size,
        cap_len: size,
        cfg_type: type,
        bar: REGISTER_BAR,
        offset,
        length,
      };
      this.config.set(virtio_pci_cap.encode(fields), at);
      const multiplierAt = at + virtio_pci_notify_cap.offsetOf("notify_off_multiplier");
      if (notify) view.setUint32(multiplierAt, NOTIFY_MULTIPLIER, true);
      at += size;
    }
  }

  protected override reset(): void {
    super.reset();
    this.#configVector = VIRTIO_MSI_NO_VECTOR;
    this.#queues = this.device.queues.map((queue) => this.#freshQueue(queue.maxSize));
  }

  #freshQueue(size: number): QueueRegisters {
    return { size, vector: VIRTIO_MSI_NO_VECTOR, enable: 0, desc: [0, 0], avail: [0, 0], used: [0, 0] };
  }

  /** Reads the BAR. An access that does not fit a register reads as all ones. */
  read(offset: number, width: number): number {
    if (offset < ISR) return this.#readCommon(offset - COMMON, width);
    if (offset === ISR && width === 1) return this.readIsr();
    if (offset >= DEVICE && offset + width <= DEVICE + virtio_net_config.size) {
      return littleEndian(this.deviceConfig(), offset - DEVICE, width);
    }
    return HIGH - 1 >>> 0 >>> (32 - 8 * width);
  }

  /** Writes the BAR. An access that does not fit a register is ignored. */
  write(offset: number, width: number, value: number): void {
    if (offset >= NOTIFY) {
      // With NOTIFICATION_DATA the upper half says how far the driver got: a hint that this device does not need.
      this.notify(value & 0xffff);
    } else if (offset < ISR && commonFields.get(offset - COMMON)?.size === width) {
      this.#writeCommon(commonFields.get(offset - COMMON)!.name, value);
    }
  }

  #readCommon(offset: number, width: number): number {
    const field = commonFields.get(offset);
    if (field?.size !== width) return HIGH - 1 >>> 0 >>> (32 - 8 * width);
    const queue = this.#queues[this.select];
    switch (field.name) {
      case "cfg.device_feature_select":
        return this.#deviceFeatureSelect;
      case "cfg.device_feature":
        return word(this.device.offered, this.#deviceFeatureSelect);
      case "cfg.guest_feature_select":
        return this.#driverFeatureSelect;
      case "cfg.guest_feature":
        return word(this.driverFeatures, this.#driverFeatureSelect);
      case "cfg.msix_config":
        return this.#configVector;
      case "cfg.num_queues":
        return this.#queues.length;
      case "cfg.device_status":
        return this.status;
      case "cfg.config_generation":
        return this.#generation();
      case "cfg.queue_select":
        return this.select;
      case "cfg.queue_size":
        return queue?.size ?? 0;
      case "cfg.queue_msix_vector":
        return queue?.vector ?? VIRTIO_MSI_NO_VECTOR;
      case "cfg.queue_enable":
        return queue?.enable ?? 0;
      case "cfg.queue_notify_off":
      case "queue_notify_data":
        return this.select;
      case "cfg.queue_desc_lo":
        return queue?.desc[0] ?? 0;
      case "cfg.queue_desc_hi":
        return queue?.desc[1] ?? 0;
      case "cfg.queue_avail_lo":
        return queue?.avail[0] ?? 0;
      case "cfg.queue_avail_hi":
        return queue?.avail[1] ?? 0;
      case "cfg.queue_used_lo":
        return queue?.used[0] ?? 0;
      case "cfg.queue_used_hi":
        return queue?.used[1] ?? 0;
      default:
        // queue_reset is done at once; there is no administration queue.
        return 0;
    }
  }

  /** Moves when the configuration has changed since: only a command can do that, by setting the address. */
  #generation(): number {
    const { mac } = this.device.control;
    if (mac !== this.#generationMac) {
      this.#generationMac = mac;
      this.#generationNumber = (this.#generationNumber + 1) & 0xff;
    }
    return this.#generationNumber;
  }

  #writeCommon(name: string, value: number): void {
    switch (name) {
      case "cfg.device_feature_select":
        this.#deviceFeatureSelect = value;
        return;
      case "cfg.guest_feature_select":
        this.#driverFeatureSelect = value;
        return;
      case "cfg.guest_feature":
        if (!(this.status & STATUS.FEATURES_OK)) {
          this.driverFeatures = replaceWord(this.driverFeatures, this.#driverFeatureSelect, value);
        }
        return;
      case "cfg.msix_config":
        this.#configVector = value;
        return;
      case "cfg.device_status":
        this.#writeStatus(value);
        return;
      case "cfg.queue_select":
        this.select = value;
        return;
    }
    const queue = this.#queues[this.select];
    if (queue) this.#writeQueue(queue, name, value);
  }

  #writeStatus(value: number): void {
    if (value === 0) return this.reset();
    const wanted = value & ~this.status & ALL_STATUS;
    if (wanted & STATUS.FEATURES_OK && !this.#acceptable()) value &= ~STATUS.FEATURES_OK;
    else if (wanted & STATUS.FEATURES_OK) this.device.setFeatures(this.driverFeatures);
    this.status |= value & ~STATUS.NEEDS_RESET;
  }

  /** Whether the device can work with the features that the driver accepted (2.2). */
  #acceptable(): boolean {
    const { driverFeatures } = this;
    return (driverFeatures & ~this.device.offered) === 0n && hasFeature(driverFeatures, "VERSION_1") &&
      brokenDependency(driverFeatures) === undefined;
  }

  #writeQueue(queue: QueueRegisters, name: string, value: number): void {
    if (name === "cfg.queue_msix_vector") {
      queue.vector = value;
    } else if (name === "queue_reset") {
      if (value !== 1 || !hasFeature(this.driverFeatures, "RING_RESET")) return;
      const target = this.device.queues[this.select]!;
      target.stop();
      this.#queues[this.select] = this.#freshQueue(target.maxSize);
    } else if (queue.enable) {
      // A running queue does not change; 0 must not be written to queue_enable (4.1.4.3.2).
      return;
    } else if (name === "cfg.queue_enable") {
      if (value !== 1 || !(this.status & STATUS.FEATURES_OK)) return;
      const [desc, avail, used] = [queue.desc, queue.avail, queue.used].map(([low, high]) =>
        high * HIGH + low
      );
      queue.enable = this.startQueue(this.select, queue.size, desc!, avail!, used!) ? 1 : 0;
    } else if (name === "cfg.queue_size") {
      if (isPowerOfTwo(value) && value <= this.device.queues[this.select]!.maxSize) queue.size = value;
    } else {
      const match = /^cfg\.queue_(desc|avail|used)_(lo|hi)$/.exec(name);
      if (match) queue[match[1] as "desc" | "avail" | "used"][match[2] === "lo" ? 0 : 1] = value >>> 0;
    }
  }
}

/** The legacy interface: a few registers in I/O space, rings in whole pages, sizes fixed by the device. */
export class LegacyPciDevice extends PciBase implements Registers {
  /** PCI configuration space: no virtio capabilities. */
  readonly config: Uint8Array = new Uint8Array(256);
  readonly #pfn: number[];

  /** Makes the registers of a device that is not yet set up. */
  constructor(device: VirtioNetDevice) {
    super(device);
    const view = new DataView(this.config.buffer);
    view.setUint16(0, PCI_VENDOR, true);
    view.setUint16(2, PCI_DEVICE_NET_LEGACY, true);
    this.#pfn = device.queues.map(() => 0);
    this.reset();
  }

  /** Reads a register. An access that does not fit one reads as 0. */
  read(offset: number, width: number): number {
    if (offset >= virtio_pci_legacy.size) {
      return littleEndian(this.deviceConfig(), offset - virtio_pci_legacy.size, width);
    }
    switch (legacyFields.get(`${offset}/${width}`)) {
      case "host_features":
        return word(this.device.offered, 0);
      case "guest_features":
        return word(this.driverFeatures, 0);
      case "queue_pfn":
        return this.#pfn[this.select] ?? 0;
      case "queue_num":
        return this.device.queues[this.select]?.maxSize ?? 0;
      case "queue_sel":
        return this.select;
      case "status":
        return this.status;
      case "isr":
        return this.readIsr();
      default:
        return 0;
    }
  }

  /** Writes a register. An access that does not fit one is ignored. */
  write(offset: number, width: number, value: number): void {
    switch (legacyFields.get(`${offset}/${width}`)) {
      case "guest_features":
        this.driverFeatures = BigInt(value) & this.device.offered;
        this.device.setFeatures(this.driverFeatures);
        return;
      case "queue_sel":
        this.select = value;
        return;
      case "queue_pfn":
        return this.#setPfn(value);
      case "queue_notify":
        return this.notify(value);
      case "status":
        if (value !== 0) this.status |= value;
        else this.reset();
        return;
    }
  }

  protected override reset(): void {
    super.reset();
    this.#pfn.fill(0);
  }

  #setPfn(pfn: number): void {
    const queue = this.device.queues[this.select];
    if (!queue) return;
    this.#pfn[this.select] = pfn;
    if (pfn === 0) {
      queue.stop();
      return;
    }
    const desc = pfn * LEGACY_ALIGN;
    const layout = legacyLayout(queue.maxSize);
    this.startQueue(this.select, queue.maxSize, desc, desc + layout.avail, desc + layout.used);
  }
}

const legacyFields: ReadonlyMap<string, string> = new Map(
  virtio_pci_legacy.fields.map((field) => [`${field.offset}/${field.size}`, field.name]),
);

/** 32 bits of a feature mask; 0 beyond what is defined. */
function word(mask: bigint, select: number): number {
  return select > 3 ? 0 : Number(mask >> BigInt(32 * select) & 0xffffffffn);
}

function replaceWord(mask: bigint, select: number, value: number): bigint {
  if (select > 3) return mask;
  const shift = BigInt(32 * select);
  return (mask & ~(0xffffffffn << shift)) | (BigInt(value >>> 0) << shift);
}

function ignore(): void {}
