/**
 * The legacy registers of a device: a few in I/O space, rings in whole pages, sizes fixed by the device.
 *
 * Virtio 1.4, 4.1.4.10.
 *
 * @module
 */
import type { Registers } from "../../core/plugin.ts";
import type { VirtioNetDevice } from "./device.ts";
import { virtio_net_config, virtio_pci_legacy } from "./layout.ts";
import { featureWord, PciBase } from "./pci_base.ts";
import { PciConfigSpace } from "./pci_config_space.ts";
import { LEGACY_ALIGN, legacyLayout } from "./ring_areas.ts";

/** PCI device number of a transitional network device. */
const PCI_DEVICE_NET_LEGACY = 0x1000;
/** A legacy device's subsystem has the number of its kind. */
const NETWORK = 1;
/** Registers and configuration, as a power of two. */
const BAR_SIZE = 64;
const CONFIG = virtio_pci_legacy.size;
/** The configuration begins with the address. */
const MAC = CONFIG + virtio_net_config.offsetOf("mac");
const MAC_END = CONFIG + virtio_net_config.offsetOf("status");

const legacyFields: ReadonlyMap<number, { readonly name: string; readonly size: number }> = new Map(
  virtio_pci_legacy.fields.map((field) => [field.offset, field]),
);

/** See the module. A driver may use it before it says DRIVER_OK (3.1.2). */
export class LegacyPciDevice extends PciBase implements Registers {
  readonly #pfn: number[];

  /** Makes the registers of a device that is not yet set up. Its configuration space has no capabilities. */
  constructor(device: VirtioNetDevice) {
    super(device, new PciConfigSpace({ device: PCI_DEVICE_NET_LEGACY, revision: 0, subsystem: NETWORK }));
    this.config.addBar(0, BAR_SIZE, true);
    this.#pfn = device.queues.map(() => 0);
    this.reset();
  }

  /** Reads a register. An access that does not fit one reads as 0. */
  read(offset: number, width: number): number {
    if (offset >= CONFIG) return this.readConfig(offset - CONFIG, width);
    switch (register(offset, width)) {
      case "host_features":
        return featureWord(this.device.offered, 0);
      case "guest_features":
        return featureWord(this.driverFeatures, 0);
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
    if (offset >= CONFIG) return this.#writeConfig(offset, width, value);
    switch (register(offset, width)) {
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

  /** Forgets where rings are, too. */
  protected override reset(): void {
    super.reset();
    this.#pfn.fill(0);
  }

  /** The address is the driver's to change (5.1.4.3); nothing else of the configuration is. */
  #writeConfig(offset: number, width: number, value: number): void {
    const { control } = this.device;
    const mac = [...control.mac];
    for (let at = offset; at < Math.min(offset + width, MAC_END); at++) {
      mac[at - MAC] = value & 0xff;
      value = Math.floor(value / 256);
    }
    control.mac = mac;
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

/** The register that an access fits. */
function register(offset: number, width: number): string | undefined {
  const field = legacyFields.get(offset);
  return field?.size === width ? field.name : undefined;
}
