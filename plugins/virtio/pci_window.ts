/**
 * The window that VIRTIO_PCI_CAP_PCI_CFG opens onto a BAR, for drivers that reach configuration space alone.
 *
 * Virtio 1.4, 4.1.4.9.
 *
 * @module
 */
import type { Registers } from "../../core/plugin.ts";
import { virtio_pci_cap, virtio_pci_cfg_cap } from "./layout.ts";
import { type PciConfigSpace, readBytes, writeBytes } from "./pci_config_space.ts";

const BAR = virtio_pci_cap.offsetOf("bar");
const OFFSET = virtio_pci_cap.offsetOf("offset");
const LENGTH = virtio_pci_cap.offsetOf("length");
const DATA = virtio_pci_cfg_cap.offsetOf("pci_cfg_data");
const DATA_SIZE = virtio_pci_cfg_cap.size - DATA;

/**
 * Makes the capability at `at` a window: the driver says where it looks by `cap.bar`, `cap.offset` and `cap.length`,
 * and reads and writes `pci_cfg_data`. Nothing happens where that is no aligned access of 1, 2 or 4 bytes of `bar`.
 *
 * @param config Configuration space, where the capability already is.
 * @param at Its offset.
 * @param bar The registers.
 * @param index The number of their BAR.
 */
export function openWindow(config: PciConfigSpace, at: number, bar: Registers, index: number): void {
  const { view } = config;
  config.allow(at + BAR, 1, 0xff);
  config.allow(at + OFFSET, 4, 0xffff_ffff);
  config.allow(at + LENGTH, 4, 0xffff_ffff);
  config.allow(at + DATA, DATA_SIZE, 0xffff_ffff);
  const aligned = (offset: number, length: number) =>
    view.getUint8(at + BAR) === index && (length === 1 || length === 2 || length === 4) &&
    offset % length === 0;
  config.watch(at + DATA, DATA_SIZE, {
    beforeRead() {
      const offset = view.getUint32(at + OFFSET, true);
      const length = view.getUint32(at + LENGTH, true);
      if (aligned(offset, length)) writeBytes(view, at + DATA, length, bar.read(offset, length));
    },
    afterWrite() {
      const offset = view.getUint32(at + OFFSET, true);
      const length = view.getUint32(at + LENGTH, true);
      if (aligned(offset, length)) bar.write(offset, length, readBytes(view, at + DATA, length));
    },
  });
}
