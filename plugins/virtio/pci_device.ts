/**
 * The device's side of virtio-pci, modern interface: configuration space with capabilities, and one BAR of registers.
 *
 * Virtio 1.4, 4.1. What a driver does wrong here breaks the device, not the host: it asks for a reset
 * (NEEDS_RESET) and serves nothing until it is reset.
 *
 * @module
 */
import { isPowerOfTwo } from "../../core/index.ts";
import type { Registers } from "../../core/plugin.ts";
import type { VirtioNetDevice } from "./device.ts";
import type { DeviceQueue } from "./device_queue.ts";
import { brokenDependency, hasFeature } from "./features.ts";
import {
  virtio_net_config,
  virtio_notification_data,
  virtio_pci_cap,
  virtio_pci_cfg_cap,
  virtio_pci_modern_common_cfg,
  virtio_pci_notify_cap,
} from "./layout.ts";
import { MOST_VECTORS, MSIX_CONTROL, MSIX_WRITABLE, MsixTable, VIRTIO_MSI_NO_VECTOR } from "./msix.ts";
import { featureWord, PciBase } from "./pci_base.ts";
import { PciConfigSpace } from "./pci_config_space.ts";
import { PCI_CAP_ID_MSIX, PCI_CAP_ID_VNDR } from "./pci_layout.ts";
import { openWindow } from "./pci_window.ts";
import { STATUS } from "./transport.ts";

/** PCI device number of a modern network device: 0x1040 and the virtio device number. */
const PCI_DEVICE_NET = 0x1041;
/** Keeps legacy drivers away: 4.1.2.1. */
const REVISION = 1;
const SUBSYSTEM = 0x40;
const CFG_TYPE = virtio_pci_cap.field("cfg_type").values!;

/** The BAR with all registers, and where in it the windows lie. */
const REGISTER_BAR = 4;
const COMMON = 0x0000;
const ISR = 0x1000;
const DEVICE = 0x2000;
const MSIX_TABLE = 0x4000;
const MSIX_PENDING = 0xc000;
const NOTIFY = 0x10000;
/** Bytes between doorbells: room for the 4 bytes of NOTIFICATION_DATA. */
const NOTIFY_MULTIPLIER = 4;
const DOORBELL = 2;
const QUEUE_INDEX = virtio_notification_data.maskOf("vqn");
const ALL_STATUS = 0xff;
const HIGH = 2 ** 32;

const common = virtio_pci_modern_common_cfg;
/** Width of the register at each offset. */
const widths = new Uint8Array(common.size);
for (const { offset, size } of common.fields) widths[offset] = size;
const DEVICE_FEATURE_SELECT = common.offsetOf("cfg.device_feature_select");
const DEVICE_FEATURE = common.offsetOf("cfg.device_feature");
const DRIVER_FEATURE_SELECT = common.offsetOf("cfg.guest_feature_select");
const DRIVER_FEATURE = common.offsetOf("cfg.guest_feature");
const CONFIG_VECTOR = common.offsetOf("cfg.msix_config");
const NUM_QUEUES = common.offsetOf("cfg.num_queues");
const DEVICE_STATUS = common.offsetOf("cfg.device_status");
const CONFIG_GENERATION = common.offsetOf("cfg.config_generation");
const QUEUE_SELECT = common.offsetOf("cfg.queue_select");
const QUEUE_SIZE = common.offsetOf("cfg.queue_size");
const QUEUE_VECTOR = common.offsetOf("cfg.queue_msix_vector");
const QUEUE_ENABLE = common.offsetOf("cfg.queue_enable");
const QUEUE_NOTIFY_OFF = common.offsetOf("cfg.queue_notify_off");
const QUEUE_AREAS = common.offsetOf("cfg.queue_desc_lo");
const QUEUE_NOTIFY_DATA = common.offsetOf("queue_notify_data");
const QUEUE_RESET = common.offsetOf("queue_reset");
/** Words of the three addresses, lower half first. */
const AREA_WORDS = 6;

/** The registers of one queue. */
interface QueueRegisters {
  size: number;
  vector: number;
  enable: number;
  /** Descriptor table, available ring, used ring: two words each. */
  readonly areas: Uint32Array;
}

/** See the module. */
export class ModernPciDevice extends PciBase implements Registers {
  readonly #msix: MsixTable;
  readonly #notifyEnd: number;
  #deviceFeatureSelect = 0;
  #driverFeatureSelect = 0;
  #configVector = VIRTIO_MSI_NO_VECTOR;
  #queues: QueueRegisters[] = [];
  /** The queues whose registers those are. */
  #listed: readonly DeviceQueue[] = [];

  /** Makes the registers of a device that is not yet set up. */
  constructor(device: VirtioNetDevice) {
    super(device, new PciConfigSpace({ device: PCI_DEVICE_NET, revision: REVISION, subsystem: SUBSYSTEM }));
    // One for each queue, and one for the configuration.
    const vectors = Math.min(device.queues.length + 1, MOST_VECTORS);
    this.#msix = new MsixTable(vectors, (data, address) => this.interrupt(data, address));
    const doorbells = device.queues.length * NOTIFY_MULTIPLIER;
    this.#notifyEnd = NOTIFY + doorbells;
    this.config.addBar(REGISTER_BAR, 2 ** Math.ceil(Math.log2(this.#notifyEnd)), false);
    this.#addWindow(virtio_pci_cap.size, CFG_TYPE.COMMON_CFG!, COMMON, common.size);
    this.#addWindow(virtio_pci_cap.size, CFG_TYPE.ISR_CFG!, ISR, 1);
    this.#addWindow(virtio_pci_cap.size, CFG_TYPE.DEVICE_CFG!, DEVICE, virtio_net_config.size);
    const notify = this.#addWindow(virtio_pci_notify_cap.size, CFG_TYPE.NOTIFY_CFG!, NOTIFY, doorbells);
    const multiplier = virtio_pci_notify_cap.offsetOf("notify_off_multiplier");
    this.config.view.setUint32(notify + multiplier, NOTIFY_MULTIPLIER, true);
    openWindow(
      this.config,
      this.#addWindow(virtio_pci_cfg_cap.size, CFG_TYPE.PCI_CFG!, 0, 0),
      this,
      REGISTER_BAR,
    );
    this.#addMsix();
    this.reset();
  }

  /** Adds a capability of virtio's own. Returns its place. */
  #addWindow(size: number, type: number, offset: number, length: number): number {
    const view = new DataView(new ArrayBuffer(size));
    view.setUint8(virtio_pci_cap.offsetOf("cap_vndr"), PCI_CAP_ID_VNDR);
    view.setUint8(virtio_pci_cap.offsetOf("cap_len"), size);
    view.setUint8(virtio_pci_cap.offsetOf("cfg_type"), type);
    view.setUint8(virtio_pci_cap.offsetOf("bar"), REGISTER_BAR);
    view.setUint32(virtio_pci_cap.offsetOf("offset"), offset, true);
    view.setUint32(virtio_pci_cap.offsetOf("length"), length, true);
    return this.config.addCapability(new Uint8Array(view.buffer));
  }

  #addMsix(): void {
    const { config } = this;
    const bytes = this.#msix.capability(PCI_CAP_ID_MSIX, REGISTER_BAR, MSIX_TABLE, MSIX_PENDING);
    const control = config.addCapability(bytes) + MSIX_CONTROL;
    config.allow(control, 2, MSIX_WRITABLE);
    config.watch(control, 2, {
      afterWrite: () => this.#msix.setControl(config.view.getUint16(control, true)),
    });
  }

  /** See {@linkcode PciBase.messages}. */
  protected override get messages(): boolean {
    return this.#msix.enabled;
  }

  /** Sends the message of the queue's vector, or INTx. */
  protected override queueEvent(queue: number): void {
    // NO_VECTOR lies beyond the table: nothing is sent.
    if (this.#msix.enabled) this.#msix.send(this.#queues[queue]!.vector);
    else super.queueEvent(queue);
  }

  /** Sends the message of the configuration's vector, or INTx. */
  protected override configEvent(): void {
    if (this.#msix.enabled) this.#msix.send(this.#configVector);
    else super.configEvent();
  }

  /** Unmaps all vectors, too. */
  protected override reset(): void {
    super.reset();
    this.device.ready = false;
    this.select = this.#deviceFeatureSelect = this.#driverFeatureSelect = 0;
    this.#configVector = VIRTIO_MSI_NO_VECTOR;
    this.#msix.clear();
    this.#listQueues();
  }

  /** Makes the registers of all queues. */
  #listQueues(): void {
    this.#listed = this.device.queues;
    this.#queues = this.#listed.map((queue) => freshQueue(queue.maxSize));
  }

  /** Reads the BAR. An access that does not fit a register reads as all ones. */
  read(offset: number, width: number): number {
    if (offset >= COMMON && widths[offset - COMMON] === width) return this.#readCommon(offset - COMMON);
    if (offset === ISR && width === 1) return this.readIsr();
    if (offset >= DEVICE && offset + width <= DEVICE + virtio_net_config.size) {
      return this.readConfig(offset - DEVICE, width);
    }
    if (offset >= MSIX_TABLE && offset + width <= MSIX_TABLE + this.#msix.size) {
      return this.#msix.read(offset - MSIX_TABLE, width);
    }
    if (offset >= MSIX_PENDING && offset + width <= MSIX_PENDING + this.#msix.pendingSize) {
      return this.#msix.readPending(offset - MSIX_PENDING, width);
    }
    return 2 ** (8 * width) - 1;
  }

  /** Writes the BAR. An access that does not fit a register is ignored. */
  write(offset: number, width: number, value: number): void {
    if (offset >= NOTIFY) {
      // With NOTIFICATION_DATA the upper half says how far the driver got: a hint that this device does not need.
      if (width >= DOORBELL && offset < this.#notifyEnd) this.notify(value & QUEUE_INDEX);
    } else if (widths[offset - COMMON] === width) {
      this.#writeCommon(offset - COMMON, value);
    } else if (offset >= MSIX_TABLE && offset + width <= MSIX_TABLE + this.#msix.size) {
      this.#msix.write(offset - MSIX_TABLE, width, value);
    }
  }

  #readCommon(offset: number): number {
    const queue = this.#queues[this.select];
    switch (offset) {
      case DEVICE_FEATURE_SELECT:
        return this.#deviceFeatureSelect;
      case DEVICE_FEATURE:
        return featureWord(this.device.offered, this.#deviceFeatureSelect);
      case DRIVER_FEATURE_SELECT:
        return this.#driverFeatureSelect;
      case DRIVER_FEATURE:
        return featureWord(this.driverFeatures, this.#driverFeatureSelect);
      case CONFIG_VECTOR:
        return this.#configVector;
      case NUM_QUEUES:
        return this.#queues.length;
      case DEVICE_STATUS:
        return this.status;
      case CONFIG_GENERATION:
        this.refreshConfig();
        return this.generation;
      case QUEUE_SELECT:
        return this.select;
      case QUEUE_SIZE:
        return queue?.size ?? 0;
      case QUEUE_VECTOR:
        return queue?.vector ?? VIRTIO_MSI_NO_VECTOR;
      case QUEUE_ENABLE:
        return queue?.enable ?? 0;
      case QUEUE_NOTIFY_OFF:
      case QUEUE_NOTIFY_DATA:
        return this.select;
    }
    // queue_reset is done at once; there is no administration queue.
    return queue?.areas[(offset - QUEUE_AREAS) >> 2] ?? 0;
  }

  #writeCommon(offset: number, value: number): void {
    switch (offset) {
      case DEVICE_FEATURE_SELECT:
        this.#deviceFeatureSelect = value;
        return;
      case DRIVER_FEATURE_SELECT:
        this.#driverFeatureSelect = value;
        return;
      case DRIVER_FEATURE:
        if (!(this.status & STATUS.FEATURES_OK)) {
          this.driverFeatures = replaceWord(this.driverFeatures, this.#driverFeatureSelect, value);
        }
        return;
      case CONFIG_VECTOR:
        this.#configVector = this.#mapped(value);
        return;
      case DEVICE_STATUS:
        this.#writeStatus(value);
        return;
      case QUEUE_SELECT:
        this.select = value;
        return;
    }
    const queue = this.#queues[this.select];
    if (queue) this.#writeQueue(queue, offset, value);
  }

  /** The vector that an event is mapped to when the driver asks for `vector`: none if there is no such entry. */
  #mapped(vector: number): number {
    return vector < this.#msix.vectors ? vector : VIRTIO_MSI_NO_VECTOR;
  }

  #writeStatus(value: number): void {
    if (value === 0) return this.reset();
    const wanted = value & ~this.status & ALL_STATUS;
    if (wanted & STATUS.FEATURES_OK && !this.#acceptable()) value &= ~STATUS.FEATURES_OK;
    else if (wanted & STATUS.FEATURES_OK) this.#takeFeatures();
    this.status |= value & ~STATUS.NEEDS_RESET;
    if (!(wanted & STATUS.DRIVER_OK)) return;
    this.device.ready = true;
    // What went wrong before could not be told then.
    if (this.status & STATUS.NEEDS_RESET) this.tellConfig();
  }

  /** Features are settled: they may have given queues another place. */
  #takeFeatures(): void {
    this.device.setFeatures(this.driverFeatures);
    if (this.device.queues !== this.#listed) this.#listQueues();
  }

  /** Whether the device can work with the features that the driver accepted (2.2). */
  #acceptable(): boolean {
    const { driverFeatures } = this;
    return (driverFeatures & ~this.device.offered) === 0n && hasFeature(driverFeatures, "VERSION_1") &&
      brokenDependency(driverFeatures) === undefined;
  }

  #writeQueue(queue: QueueRegisters, offset: number, value: number): void {
    if (offset === QUEUE_VECTOR) {
      queue.vector = this.#mapped(value);
    } else if (offset === QUEUE_RESET) {
      if (value !== 1 || !hasFeature(this.driverFeatures, "RING_RESET")) return;
      const target = this.device.queues[this.select]!;
      target.reset();
      this.#queues[this.select] = freshQueue(target.maxSize);
    } else if (queue.enable) {
      // A running queue does not change; 0 must not be written to queue_enable (4.1.4.3.2).
      return;
    } else if (offset === QUEUE_ENABLE) {
      if (value !== 1 || !(this.status & STATUS.FEATURES_OK)) return;
      const address = (part: number) => queue.areas[2 * part + 1]! * HIGH + queue.areas[2 * part]!;
      const started = this.startQueue(this.select, queue.size, address(0), address(1), address(2));
      queue.enable = started ? 1 : 0;
    } else if (offset === QUEUE_SIZE) {
      if (isPowerOfTwo(value) && value <= this.device.queues[this.select]!.maxSize) queue.size = value;
    } else if (offset >= QUEUE_AREAS && offset < QUEUE_AREAS + queue.areas.byteLength) {
      queue.areas[(offset - QUEUE_AREAS) >> 2] = value;
    }
  }
}

function freshQueue(size: number): QueueRegisters {
  return { size, vector: VIRTIO_MSI_NO_VECTOR, enable: 0, areas: new Uint32Array(AREA_WORDS) };
}

function replaceWord(mask: bigint, select: number, value: number): bigint {
  if (select > 3) return mask;
  const shift = BigInt(32 * select);
  return (mask & ~(0xffffffffn << shift)) | (BigInt(value >>> 0) << shift);
}
