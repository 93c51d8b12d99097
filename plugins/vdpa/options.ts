/**
 * The options of the vDPA plugin.
 *
 * @module
 */
import { OptionError, type OptionSpec, type OptionValues } from "../../core/options.ts";
import { type Feature, featureMask } from "../virtio/features.ts";
import { VIRTQUEUE_MAX_SIZE } from "../virtio/layout.ts";
import { LARGEST_GUEST } from "./guest_memory.ts";
import { type ModelName, MODELS, type VdpaModel } from "./models.ts";

const MOST = 65535;
/** Guest memory comes in pages, which are pinned whole. */
const GUEST_PAGE = 4096;
const MOST_QUEUES = 65;
/** Default size of a receive buffer: with mergeable buffers, and without (17 pages hold 65535 bytes and a header). */
const RX_BUFFER = 2048;
const RX_BUFFER_UNMERGED = 17 * 4096;

/** All options. */
export const options: readonly OptionSpec[] = [
  {
    name: "device",
    type: "choice",
    choices: Object.keys(MODELS),
    default: "mlx5",
    meaning: "which groups and address spaces the device has, and what it can do",
  },
  {
    name: "mode",
    type: "text",
    form: "passthrough|shadow|switch@N[,M...]",
    default: "passthrough",
    meaning:
      "how data queues are driven; switch@N: shadow queues are slipped in after N packets, taken out after M",
  },
  {
    name: "desc-group",
    type: "flag",
    default: true,
    meaning: "the device has descriptor groups, if its kind has them",
  },
  {
    name: "persist",
    type: "flag",
    default: true,
    meaning: "mappings outlive a reset (IOTLB_PERSIST), if the device's kind can do that",
  },
  {
    name: "queues",
    type: "integer",
    min: 2,
    max: MOST_QUEUES,
    meaning: "virtqueues: pairs, and a control queue if odd; 3, or 2 with device=plain",
  },
  { name: "groups", type: "integer", min: 1, max: MOST, meaning: "virtqueue groups; as the device has them" },
  { name: "asids", type: "integer", min: 1, max: MOST, meaning: "address spaces; as the device has them" },
  {
    name: "guest-memory",
    type: "size",
    min: GUEST_PAGE,
    max: LARGEST_GUEST,
    meaning:
      "memory of the guest in pages of 4K, modelled as mappings, not as bytes; 4G, or more if its driver uses more",
  },
  {
    name: "page-size",
    type: "size",
    default: 4096,
    min: 4096,
    max: 2 ** 30,
    meaning: "page in which mappings are counted and shadow areas are rounded: a power of two",
  },
  {
    name: "batch-map",
    type: "flag",
    default: true,
    meaning: "change mappings in batches; off: one by one, and device=sim takes them one by one",
  },
  {
    name: "queue-size",
    type: "integer",
    default: 256,
    min: 1,
    max: VIRTQUEUE_MAX_SIZE,
    powerOfTwo: true,
    meaning: "entries of the transmit queues",
  },
  {
    name: "rx-queue-size",
    type: "integer",
    min: 1,
    max: VIRTQUEUE_MAX_SIZE,
    powerOfTwo: true,
    meaning: "entries of the receive queues; as queue-size if not given",
  },
  { name: "indirect", type: "flag", default: true, meaning: "offer INDIRECT_DESC; shadow rings do without" },
  { name: "event-idx", type: "flag", default: true, meaning: "offer EVENT_IDX" },
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
    name: "batch",
    type: "integer",
    default: 256,
    min: 1,
    max: VIRTQUEUE_MAX_SIZE,
    meaning: "frames per index update and doorbell",
  },
];

/** The mode option, taken apart. */
export interface Mode {
  /** Whether data queues are shadowed from the start. */
  readonly shadow: boolean;
  /** After how many packets to switch. */
  readonly switches: readonly number[];
}

/**
 * Reads the mode.
 *
 * @throws {OptionError} If it is none.
 */
export function parseMode(text: string): Mode {
  const switches = /^switch@(\d+(?:,\d+)*)$/.exec(text)?.[1]?.split(",").map(Number) ?? [];
  const ascending = switches.every((number, i) =>
    Number.isSafeInteger(number) && (i === 0 || number > switches[i - 1]!)
  );
  if ((text !== "passthrough" && text !== "shadow" && switches.length === 0) || !ascending) {
    throw new OptionError(
      `option mode takes passthrough, shadow or switch@N[,M...] with ascending numbers: got "${text}"`,
    );
  }
  return { shadow: text === "shadow", switches };
}

/**
 * Fills in what follows from the kind of device, and checks what was given against it.
 *
 * @throws {OptionError} If the device cannot have so many queues, groups or spaces.
 */
export function resolveDevice(values: OptionValues): VdpaModel {
  const name = values.text("device") as ModelName;
  const model: VdpaModel = MODELS[name];
  if (!values.has("queues")) values.resolve("queues", name === "plain" ? 2 : 3);
  if (!values.has("groups")) values.resolve("groups", model.groups);
  if (!values.has("asids")) values.resolve("asids", model.asids);
  const queues = values.integer("queues");
  const groups = values.integer("groups");
  if (queues < model.queues) {
    throw new OptionError(`device=${name} has at least ${model.queues} queues: got queues=${queues}`);
  }
  if (queues > 2 && queues % 2 === 0) {
    throw new OptionError(`several queue pairs need a control queue: got queues=${queues}, which is even`);
  }
  if (!model.free && groups !== model.groups) {
    throw new OptionError(`device=${name} has ${model.groups} groups: got groups=${groups}`);
  }
  if (!model.free && values.integer("asids") > model.asids) {
    throw new OptionError(
      `device=${name} has ${model.asids} address spaces: got asids=${values.integer("asids")}`,
    );
  }
  if (!Number.isInteger(Math.log2(values.integer("page-size")))) {
    throw new OptionError(`option page-size takes a power of two: got ${values.integer("page-size")}`);
  }
  if (values.has("guest-memory") && values.integer("guest-memory") % GUEST_PAGE !== 0) {
    throw new OptionError(
      `option guest-memory takes whole pages of ${GUEST_PAGE} bytes: got ${values.integer("guest-memory")}`,
    );
  }
  return model;
}

/** Fills in sizes that follow from other options, and gives the feature bits that the options choose. */
export function chooseFeatures(values: OptionValues): bigint {
  const mergeable = values.flag("mrg-rxbuf");
  if (!values.has("rx-buffer")) values.resolve("rx-buffer", mergeable ? RX_BUFFER : RX_BUFFER_UNMERGED);
  if (!values.has("rx-queue-size")) values.resolve("rx-queue-size", values.integer("queue-size"));
  const queues = values.integer("queues");
  const chosen: Feature[] = ["MAC", "STATUS", "VERSION_1"];
  if (values.flag("indirect")) chosen.push("INDIRECT_DESC");
  if (values.flag("event-idx")) chosen.push("EVENT_IDX");
  if (mergeable) chosen.push("MRG_RXBUF");
  if (queues % 2 === 1) {
    chosen.push("CTRL_VQ", "CTRL_RX", "CTRL_RX_EXTRA", "CTRL_VLAN", "CTRL_MAC_ADDR");
    if (queues > 3) chosen.push("MQ");
  }
  return featureMask(...chosen);
}
