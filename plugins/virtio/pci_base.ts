/**
 * What the modern and the legacy registers of a device have in common: status, features, interrupts, configuration.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import type { VirtioNetDevice } from "./device.ts";
import { DEVICE_MTU } from "./device_receive.ts";
import { hasFeature } from "./features.ts";
import { virtio_net_config, virtio_pci_legacy } from "./layout.ts";
import { PCI_STATUS, type PciConfigSpace } from "./pci_config_space.ts";
import { ALL_HASH_TYPES, HASH_KEY_LENGTH } from "./receive_hash.ts";
import { RSS_TABLE_LENGTH } from "./steering.ts";
import { STATUS } from "./transport.ts";

const ISR_BITS = virtio_pci_legacy.field("isr").flags!;
const ISR_QUEUE = ISR_BITS.QUEUE!;
const ISR_CONFIG = ISR_BITS.CONFIG!;
const LINK_UP = virtio_net_config.field("status").flags!.LINK_UP!;
const MAC = virtio_net_config.offsetOf("mac");

/** See the module. */
export abstract class PciBase {
  /**
   * Called when the device interrupts. With MSI-X on, `value` is the data of the message, and `address` where it goes;
   * else `value` is the queue's index, and the line is asserted until the interrupt status is read.
   */
  interrupt: (value: number, address?: number) => void = ignore;
  /** Called, without MSI-X, when the device changed its configuration or wants a reset. */
  configInterrupt: () => void = ignore;
  /** PCI configuration space. */
  readonly config: PciConfigSpace;
  /** The device behind the registers. */
  protected readonly device: VirtioNetDevice;
  /** Device status. */
  protected status = 0;
  /** Feature bits that the driver wrote. */
  protected driverFeatures = 0n;
  /** Interrupt status. */
  protected isr = 0;
  /** Queue that the queue registers are about. */
  protected select = 0;
  /** How often the device configuration has changed, modulo 256. */
  protected generation = 0;
  readonly #netConfig = new Uint8Array(virtio_net_config.size);
  #mac: readonly number[];

  /** Makes the registers of a device that is not yet set up. */
  constructor(device: VirtioNetDevice, config: PciConfigSpace) {
    this.device = device;
    this.config = config;
    config.watch(PCI_STATUS, 1, {
      beforeRead: () => config.showInterrupt(this.isr !== 0 && !this.messages),
    });
    device.interrupt = (queue) => this.queueEvent(queue);
    device.onFault = () => this.needsReset();
    const view = new DataView(this.#netConfig.buffer);
    view.setUint16(virtio_net_config.offsetOf("status"), LINK_UP, true);
    view.setUint16(virtio_net_config.offsetOf("max_virtqueue_pairs"), device.queuePairs, true);
    view.setUint16(virtio_net_config.offsetOf("mtu"), DEVICE_MTU, true);
    const scales = hasFeature(device.offered, "RSS");
    if (scales || hasFeature(device.offered, "HASH_REPORT")) {
      view.setUint8(virtio_net_config.offsetOf("rss_max_key_size"), HASH_KEY_LENGTH);
      view.setUint32(virtio_net_config.offsetOf("supported_hash_types"), ALL_HASH_TYPES, true);
    }
    const table = virtio_net_config.offsetOf("rss_max_indirection_table_length");
    if (scales) view.setUint16(table, RSS_TABLE_LENGTH, true);
    this.#mac = device.control.mac;
    this.#netConfig.set(this.#mac, MAC);
  }

  /** Whether the driver has turned MSI-X on, and so INTx off. */
  protected get messages(): boolean {
    return false;
  }

  /** Tells the driver that a queue has used chains. */
  protected queueEvent(queue: number): void {
    this.isr |= ISR_QUEUE;
    if (!this.config.intxDisabled) this.interrupt(queue);
  }

  /** Tells the driver that the configuration or the status has changed. */
  protected configEvent(): void {
    if (!this.config.intxDisabled) this.configInterrupt();
  }

  /** Asks the driver for a reset. */
  protected needsReset(): void {
    // A legacy device has no way to say it (2.1.2).
    if (!hasFeature(this.device.offered, "VERSION_1")) return;
    this.status |= STATUS.NEEDS_RESET;
    if (this.status & STATUS.DRIVER_OK) this.tellConfig();
  }

  /** Interrupts for a change of the configuration or the status. */
  protected tellConfig(): void {
    this.isr |= ISR_CONFIG;
    this.configEvent();
  }

  /** Forgets what the driver set, and stops the device. */
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

  /** A doorbell counts if the driver is ready, and need not reset the device. */
  protected notify(queue: number): void {
    if (this.device.ready && !(this.status & STATUS.NEEDS_RESET)) this.device.notify(queue);
  }

  /** Reading the interrupt status clears it. */
  protected readIsr(): number {
    const isr = this.isr;
    this.isr = 0;
    return isr;
  }

  /** Brings the configuration up to date: only a command can have changed it, by setting the address. */
  protected refreshConfig(): void {
    const { mac } = this.device.control;
    if (mac === this.#mac) return;
    this.#mac = mac;
    this.#netConfig.set(mac, MAC);
    this.generation = (this.generation + 1) & 0xff;
  }

  /** Reads the device configuration, at any width; there are zeros behind it. */
  protected readConfig(offset: number, width: number): number {
    this.refreshConfig();
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.#netConfig[offset + i] ?? 0);
    return value;
  }
}

/** 32 bits of a feature mask; 0 beyond what is defined. */
export function featureWord(mask: bigint, select: number): number {
  return select > 3 ? 0 : Number(mask >> BigInt(32 * select) & 0xffffffffn);
}

function ignore(): void {}
