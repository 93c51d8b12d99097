/**
 * A modern device opposite a driver of which there is only memory and a hand on the registers.
 *
 * @module
 */
import { assert } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { ModernRegisters } from "./modern_registers.ts";
import { RawRing } from "./raw_ring.ts";

/** Address of the driver's memory. */
export const BASE = 0x1000_0000;
/** What the device offers if nothing else is asked for. */
export const FEATURES = featureMask("VERSION_1", "MAC", "STATUS", "RING_RESET", "CTRL_VQ", "CTRL_MAC_ADDR");

/** A modern device of one pair and a control queue, and a hand on its registers. */
export function openModern(features: bigint = FEATURES, maxQueueSize = 8) {
  const host = new LocalHost({ dmaSize: 1 << 16 });
  const device = new VirtioNetDevice({
    features,
    rings: host.space,
    buffers: host.space,
    maxQueueSize,
    mac: [2, 4, 6, 8, 10, 12],
  });
  const pci = new ModernPciDevice(device);
  const registers = new ModernRegisters(pci.config.bytes, pci);
  /** Starts the transmit queue of `size` entries and returns it as bytes. */
  const startTransmit = (size = 8): RawRing => {
    assert(registers.startQueue(1, size, BASE, BASE + 0x1000, BASE + 0x2000));
    return new RawRing(host.memory.view, size, 0, 0x1000, 0x2000);
  };
  const frames: number[] = [];
  const service = () =>
    device.service({ transmit: (frame) => frames.push(frame.length) > 0, drop: () => {} });
  return { host, device, pci, registers, startTransmit, service, frames };
}
