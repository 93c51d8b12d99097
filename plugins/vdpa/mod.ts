/**
 * vDPA: a network device whose virtqueues reach memory through address spaces, and a hypervisor that can slip shadow
 * virtqueues under a running guest.
 *
 * The guest's driver is the virtio plugin's driver half, the device its device half, both unchanged. Between them stand
 * `hypervisor.ts` (the bus that the guest sees), `migration.ts` (the switch), `shadow_queue.ts` and `shadow_control.ts`
 * (rings between rings), `vhost.ts` (the vhost-vdpa face of the device, with ioctls and IOTLB messages) and `device.ts`
 * (the device's operations, groups and spaces).
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { RingPair } from "@ringpipe/ringpipe";
 * import vdpa from "@ringpipe/ringpipe/plugins/vdpa";
 *
 * const pair = new RingPair(vdpa, { mode: "shadow" });
 * pair.transmit(new Uint8Array(60).fill(7));
 * pair.service();
 * assertEquals(pair.receive(), [new Uint8Array(60).fill(7)]);
 * assertEquals(pair.counters()["shadow.used"], 2); // one for each way
 * ```
 *
 * @module
 */
import "./modules.ts";
import { OptionError, type OptionValues } from "../../core/options.ts";
import { type Host, type Link, type Plugin, withinMemory } from "../../core/plugin.ts";
import { VirtioNetDriver } from "../virtio/driver.ts";
import { counters } from "./counters.ts";
import { VdpaDevice } from "./device.ts";
import { VDPA_FAULTS } from "./faults.ts";
import { defaultGuestSize, GuestMemory } from "./guest_memory.ts";
import { Hypervisor } from "./hypervisor.ts";
import { structures } from "./layout.ts";
import { chooseFeatures, options, parseMode, resolveDevice } from "./options.ts";
import { ProcessMemory } from "./process_memory.ts";
import { VhostVdpa } from "./vhost.ts";

export { counters } from "./counters.ts";
export * from "./config_ops.ts";
export { VdpaDevice, type VdpaDeviceOptions } from "./device.ts";
export { DeviceSpace } from "./device_space.ts";
export {
  VDPA_DEVICE_FAULTS,
  VDPA_FAULTS,
  VDPA_GUEST_FAULTS,
  type VdpaDeviceFaultCode,
  type VdpaGuestFaultCode,
} from "./faults.ts";
export * from "./ioctls.ts";
export * from "./iotlb.ts";
export * from "./layout.ts";
export { type ModelName, MODELS, type VdpaModel } from "./models.ts";
export { type Backing, ProcessMemory } from "./process_memory.ts";
export { VhostError, VhostVdpa } from "./vhost.ts";
export { type IotlbMessage, VhostTables } from "./vhost_iotlb.ts";

/** The control queue, too, is as long as the guest's driver wants it: no device has fewer entries than that. */
const LEAST_MAX_SIZE = 64;

function guestMemory(values: OptionValues, host: Host, process: ProcessMemory): GuestMemory {
  if (!values.has("guest-memory")) values.resolve("guest-memory", defaultGuestSize(host.space));
  try {
    return new GuestMemory(values.integer("guest-memory"), host.space, process);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new OptionError(`option guest-memory is too small: ${error.message}`);
  }
}

function open(values: OptionValues, host: Host): Link {
  const mode = parseMode(values.text("mode"));
  const model = resolveDevice(values);
  const features = chooseFeatures(values);
  const queueSize = values.integer("queue-size");
  const rxQueueSize = values.integer("rx-queue-size");
  const pageSize = values.integer("page-size");
  const batchMap = values.flag("batch-map");
  const process = new ProcessMemory();
  const guest = guestMemory(values, host, process);
  const device = new VdpaDevice({
    model,
    queues: values.integer("queues"),
    groups: values.integer("groups"),
    asids: values.integer("asids"),
    descGroup: values.flag("desc-group"),
    persist: values.flag("persist"),
    tables: batchMap,
    features,
    maxQueueSize: Math.max(queueSize, rxQueueSize, LEAST_MAX_SIZE),
    process,
  });
  const hypervisor = new Hypervisor({
    device,
    file: new VhostVdpa(device, process, pageSize),
    process,
    guest,
    pageSize,
    batch: batchMap,
    ...mode,
  });
  if (mode.switches.length > 0 && !hypervisor.canSwitch) {
    throw new OptionError(
      "mode=switch is blocked: the control queue shares its group or space with data queues, so its state would be lost",
    );
  }
  const { dma, space } = host;
  const rxBuffer = values.integer("rx-buffer");
  const queuePairs = values.integer("queues") >> 1;
  const settings = { dma, space, features, queueSize, rxQueueSize, rxBuffer, queuePairs };
  const greedy = ["queue-size", "rx-queue-size", "rx-buffer", "queues"];
  const make = () => new VirtioNetDriver(hypervisor, settings);
  const driver = withinMemory(dma, values, greedy, make, "the guest's driver");
  hypervisor.interrupt = (queue) => driver.interrupt(queue);
  return { driver, device: hypervisor, batch: values.integer("batch") };
}

/** The vDPA backend. */
const plugin: Plugin = {
  api: 1,
  name: "vdpa",
  summary: "vDPA: virtio-net behind groups, address spaces and a shadow virtqueue switch",
  options,
  counters,
  structures,
  faults: VDPA_FAULTS,
  open,
};

export default plugin;
