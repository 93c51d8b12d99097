/**
 * virtio-net over split virtqueues: a driver half and a device half that meet at virtio-pci registers and rings.
 *
 * Structure and data path: `layout.ts` (all structures), `driver_queue.ts` and `device_queue.ts` (the two sides of one
 * ring; each with the ring's memory, its descriptors, and what it writes and reads there in files of their own),
 * `driver.ts` and `device.ts` (the two halves; each with its transmit and its receive side in files of their own),
 * `pci_driver.ts`, `pci_device.ts` and `pci_legacy.ts` (the two sides of the bus, the latter for legacy registers), with
 * configuration space, its window onto the registers and MSI-X in files of their own.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { RingPair } from "@ringpipe/ringpipe";
 * import virtio from "@ringpipe/ringpipe/plugins/virtio";
 *
 * const pair = new RingPair(virtio, { "queue-size": 8, "event-idx": false });
 * pair.transmit(new Uint8Array(60).fill(7));
 * pair.service();
 * assertEquals(pair.receive(), [new Uint8Array(60).fill(7)]);
 * const counters = pair.counters();
 * assertEquals([counters["tx.kicks"], counters["device.tx.chains"]], [1, 1]);
 * ```
 *
 * @module
 */
import "./modules.ts";
import { faultSpecs } from "../../core/fault.ts";
import { OptionError, type OptionSpec, type OptionValues } from "../../core/options.ts";
import { type Host, type Link, type Plugin, withinMemory } from "../../core/plugin.ts";
import { counters } from "./counters.ts";
import { VirtioNetDevice } from "./device.ts";
import { VirtioNetDriver } from "./driver.ts";
import { DEVICE_FAULTS, DRIVER_FAULTS, type Profile } from "./faults.ts";
import {
  brokenDependency,
  type Feature,
  featureMask,
  featureNames,
  hasFeature,
  netHeaderLength,
} from "./features.ts";
import { structures, VIRTQUEUE_MAX_SIZE } from "./layout.ts";
import { ModernPciDevice } from "./pci_device.ts";
import { LegacyPciTransport, ModernPciTransport } from "./pci_driver.ts";
import { LegacyPciDevice } from "./pci_legacy.ts";

export { counters } from "./counters.ts";
export {
  DEVICE_FAULTS,
  type DeviceFaultCode,
  DRIVER_FAULTS,
  type DriverFaultCode,
  type Profile,
} from "./faults.ts";
export { ControlQueue } from "./control_queue.ts";
export { RSS_TABLE_LENGTH, type RssTable, Steering } from "./steering.ts";
export { VirtioNetDevice, type VirtioNetDeviceOptions } from "./device.ts";
export * from "./device_queue.ts";
export { ReceiveHash } from "./receive_hash.ts";
export * from "./ring_areas.ts";
export { RingMap, type Room, type Rooms } from "./ring_map.ts";
export * from "./transport.ts";
export { VirtioNetDriver, type VirtioNetDriverOptions } from "./driver.ts";
export * from "./layout.ts";
export * from "./pci_layout.ts";
export { PciConfigSpace, type PciIdentity, type PciWatch } from "./pci_config_space.ts";
export { ModernPciDevice } from "./pci_device.ts";
export { LegacyPciTransport, ModernPciTransport } from "./pci_driver.ts";
export { LegacyPciDevice } from "./pci_legacy.ts";
export { PciBase } from "./pci_base.ts";

/** Default size of a receive buffer: with mergeable buffers, and without (17 pages hold 65535 bytes and a header). */
const RX_BUFFER = 2048;
const RX_BUFFER_UNMERGED = 17 * 4096;
/** Queue pairs at most. */
const MOST_PAIRS = 8;

const options: readonly OptionSpec[] = [
  {
    name: "queue-size",
    type: "integer",
    default: 256,
    min: 1,
    max: VIRTQUEUE_MAX_SIZE,
    powerOfTwo: true,
    meaning: "entries of the transmit queue",
  },
  {
    name: "rx-queue-size",
    type: "integer",
    min: 1,
    max: VIRTQUEUE_MAX_SIZE,
    powerOfTwo: true,
    meaning: "entries of the receive queue; as queue-size if not given",
  },
  {
    name: "queues",
    type: "integer",
    default: 1,
    min: 1,
    max: MOST_PAIRS,
    meaning: "queue pairs; with several, MQ is offered, and a frame takes the pair that its flow's hash says",
  },
  {
    name: "layout",
    type: "choice",
    choices: ["flexible", "legacy"],
    default: "flexible",
    meaning: "three separately aligned ring parts, or one contiguous area behind the legacy registers",
  },
  { name: "indirect", type: "flag", default: true, meaning: "offer INDIRECT_DESC" },
  { name: "event-idx", type: "flag", default: true, meaning: "offer EVENT_IDX" },
  { name: "in-order", type: "flag", default: false, meaning: "offer IN_ORDER" },
  {
    name: "mrg-rxbuf",
    type: "flag",
    default: true,
    meaning: "offer MRG_RXBUF: a frame may fill several buffers",
  },
  {
    name: "rx-buffer",
    type: "size",
    min: 64,
    max: 1024 * 1024,
    meaning: "bytes of a receive buffer, net header included; 2K, or 68K without mrg-rxbuf",
  },
  {
    name: "hash-report",
    type: "flag",
    default: false,
    meaning: "offer HASH_REPORT: the 20-byte net header with a Toeplitz hash",
  },
  {
    name: "rss",
    type: "flag",
    default: false,
    meaning: "offer RSS: the driver sets the table that says which pair a flow's hash takes",
  },
  {
    name: "batch",
    type: "integer",
    default: 256,
    min: 1,
    max: VIRTQUEUE_MAX_SIZE,
    meaning: "frames per index update and doorbell",
  },
  {
    name: "features",
    type: "mask",
    meaning: "feature bits that the device offers, in place of those that the other options choose",
  },
  {
    name: "profile",
    type: "choice",
    choices: ["strict", "linux", "qemu", "dpdk"],
    default: "strict",
    meaning: "how the device judges odd chains: by the specification, or as vhost, QEMU or DPDK do",
  },
  {
    name: "snapshot",
    type: "flag",
    default: false,
    meaning: "have the device look whether descriptors that it has are changed, which takes time",
  },
];

/** Features that this device implements. */
const IMPLEMENTED: bigint = featureMask(
  "MAC",
  "STATUS",
  "MTU",
  "MRG_RXBUF",
  "CTRL_VQ",
  "MQ",
  "CTRL_RX",
  "CTRL_RX_EXTRA",
  "CTRL_VLAN",
  "CTRL_MAC_ADDR",
  "ANY_LAYOUT",
  "INDIRECT_DESC",
  "EVENT_IDX",
  "VERSION_1",
  "IN_ORDER",
  "NOTIFICATION_DATA",
  "RING_RESET",
  "HASH_REPORT",
  "RSS",
);

/** Options that stand for a feature bit each. */
const SWITCHES: readonly (readonly [option: string, feature: Feature])[] = [
  ["indirect", "INDIRECT_DESC"],
  ["event-idx", "EVENT_IDX"],
  ["mrg-rxbuf", "MRG_RXBUF"],
  ["in-order", "IN_ORDER"],
  ["hash-report", "HASH_REPORT"],
  ["rss", "RSS"],
];

/** The mask that was given. It goes before the switches, which say from now on what it holds. */
function givenFeatures(values: OptionValues): bigint {
  const features = values.mask("features");
  for (const [option, feature] of SWITCHES) values.resolve(option, hasFeature(features, feature));
  return features;
}

/** Feature bits that the options choose. */
function chosenFeatures(values: OptionValues, legacy: boolean): bigint {
  if (values.has("features")) return checkedFeatures(givenFeatures(values), legacy);
  const chosen: Feature[] = ["MAC", "STATUS"];
  if (legacy) chosen.push("ANY_LAYOUT");
  else chosen.push("VERSION_1", "RING_RESET");
  for (const [option, feature] of SWITCHES) if (values.flag(option)) chosen.push(feature);
  if (values.integer("queues") > 1) chosen.push("MQ");
  const commands = values.flag("hash-report") || values.flag("rss") || values.integer("queues") > 1;
  if (commands) chosen.push("CTRL_VQ");
  return checkedFeatures(featureMask(...chosen), legacy);
}

function checkedFeatures(features: bigint, legacy: boolean): bigint {
  const broken = brokenDependency(features);
  if (broken !== undefined) throw new OptionError(`option features cannot be offered: ${broken}`);
  const unknown = features & ~IMPLEMENTED;
  if (unknown !== 0n) {
    throw new OptionError(`option features cannot be offered: no ${featureNames(unknown).join(", ")}`);
  }
  const high = features >> 32n << 32n;
  if (legacy && high !== 0n) {
    const names = featureNames(high).join(", ");
    throw new OptionError(`layout=legacy has no feature bits above 31: drop ${names}`);
  }
  if (!legacy && !hasFeature(features, "VERSION_1")) {
    throw new OptionError(
      "option features cannot be offered: VERSION_1 is missing (layout=legacy does without)",
    );
  }
  if (legacy && !hasFeature(features, "ANY_LAYOUT")) {
    throw new OptionError("option features cannot be offered: ANY_LAYOUT is missing");
  }
  return features;
}

function open(values: OptionValues, host: Host): Link {
  const legacy = values.text("layout") === "legacy";
  const features = chosenFeatures(values, legacy);
  values.resolve("features", features);
  const mergeable = hasFeature(features, "MRG_RXBUF");
  if (!values.has("rx-buffer")) values.resolve("rx-buffer", mergeable ? RX_BUFFER : RX_BUFFER_UNMERGED);
  if (!values.has("rx-queue-size")) values.resolve("rx-queue-size", values.integer("queue-size"));
  const rxBuffer = values.integer("rx-buffer");
  if (rxBuffer <= netHeaderLength(features)) {
    throw new OptionError(`rx-buffer=${rxBuffer} leaves no room for a frame`);
  }
  const queueSize = values.integer("queue-size");
  const rxQueueSize = values.integer("rx-queue-size");
  const queuePairs = values.integer("queues");
  if (queuePairs > 1 && !hasFeature(features, "MQ") && !hasFeature(features, "RSS")) {
    throw new OptionError(`queues=${queuePairs} needs MQ or RSS among the features`);
  }

  const device = new VirtioNetDevice({
    features,
    rings: host.space,
    buffers: host.space,
    queuePairs,
    maxQueueSize: queueSize,
    maxRxQueueSize: rxQueueSize,
    profile: values.text("profile") as Profile,
    snapshot: values.flag("snapshot"),
  });
  const registers = legacy ? new LegacyPciDevice(device) : new ModernPciDevice(device);
  const notificationData = hasFeature(features, "NOTIFICATION_DATA");
  const transport = legacy
    ? new LegacyPciTransport(registers)
    : new ModernPciTransport(registers.config, registers, () => notificationData);
  const { dma, space } = host;
  const settings = { dma, space, features, queueSize, rxQueueSize, rxBuffer, queuePairs };
  const greedy = ["queue-size", "rx-queue-size", "rx-buffer", "queues"];
  const driver = withinMemory(dma, values, greedy, () => new VirtioNetDriver(transport, settings));
  registers.interrupt = (queue) => driver.interrupt(queue);
  return { driver, device, batch: values.integer("batch") };
}

/** The plugin. */
const plugin: Plugin = {
  api: 1,
  name: "virtio",
  summary: "virtio-net over split virtqueues, flexible or legacy layout",
  options,
  counters,
  structures,
  faults: [...faultSpecs(DRIVER_FAULTS, "driver"), ...faultSpecs(DEVICE_FAULTS, "device")],
  open,
};

export default plugin;
