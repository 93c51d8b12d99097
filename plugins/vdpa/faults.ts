/**
 * The rules that a peer can break, by stable code: those that only vDPA has, and the virtio plugin's about the rings.
 *
 * @module
 */
import { type FaultSpec, faultSpecs } from "../../core/fault.ts";
import { DEVICE_FAULTS, DRIVER_FAULTS } from "../virtio/faults.ts";

/** Codes of the faults that the device half raises for an address it cannot use, and what each means. */
export const VDPA_DEVICE_FAULTS = {
  "iova-unmapped":
    "An address that is mapped in no address space of the device: outside any mapping, or in a hole",
  "iova-other-space": "An address that is mapped, but in another space than the one its group is bound to",
  "iova-permission":
    "A mapping does not grant the access: read for what the device reads, write for what it writes",
  "iova-unbacked":
    "An address of memory that is modelled by its mappings only, or beyond 2^53: there are no bytes",
  "ring-not-contiguous": "A ring part lies in mappings that do not continue each other in memory",
} as const satisfies Readonly<Record<string, string>>;

/** Codes of the faults that the hypervisor raises about the guest, as the device that the guest sees. */
export const VDPA_GUEST_FAULTS = {
  "shadow-chain-too-long": "A guest's chain has more buffers than the shadow ring has descriptors",
  "shadow-untranslatable": "A guest's buffer lies outside the guest's memory",
  "shadow-out-of-order":
    "The device used buffers in another order, so the others cannot go back to the guest",
  "queue-refused": "The device refused a queue as the guest has set it up",
  "control-unanswered": "The device did not answer a control command",
  "control-replay": "The device refused a control command that it had accepted before the switch",
} as const satisfies Readonly<Record<string, string>>;

/** What rules of the rings mean here, where that is not what they mean to the virtio plugin. */
const HERE = {
  "bad-address":
    "A guest's buffer or indirect table lies outside the guest's memory, as a shadow queue sees it; what the device cannot use has codes of its own",
  "bad-ring-address":
    "A guest's ring part lies outside the guest's memory, as a shadow queue sees it; what the device cannot use has codes of its own",
} as const satisfies Readonly<Partial<Record<keyof typeof DEVICE_FAULTS, string>>>;

/**
 * All faults of the plugin, with the half that raises each: the guest's driver and the driver's side of shadow rings
 * (`driver`), the device and the hypervisor as the device that the guest sees (`device`).
 */
export const VDPA_FAULTS: readonly FaultSpec[] = [
  ...faultSpecs(VDPA_DEVICE_FAULTS, "device"),
  ...faultSpecs(VDPA_GUEST_FAULTS, "device"),
  ...faultSpecs(DRIVER_FAULTS, "driver"),
  ...faultSpecs({ ...DEVICE_FAULTS, ...HERE }, "device"),
];

/** Code of a fault of the device half that only vDPA has. */
export type VdpaDeviceFaultCode = keyof typeof VDPA_DEVICE_FAULTS;
/** Code of a fault of the hypervisor. */
export type VdpaGuestFaultCode = keyof typeof VDPA_GUEST_FAULTS;
