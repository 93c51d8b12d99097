/**
 * The options of the backend, and what the two halves are made of by them.
 *
 * @module
 */
import { OptionError, type OptionSpec, type OptionValues } from "../../core/options.ts";
import { didYouMean } from "../../core/nearest.ts";
import { GQI_NIC_LIST_BYTES, OPTION, PAGE, QUEUE_FORMAT } from "./constants.ts";
import { offerOptions, OPTION_NAMES } from "./device_records.ts";
import type { DeviceSettings } from "./device_settings.ts";
import { FORMAT_OPTIONS, isDqo, preferredOption, usesPageLists } from "./formats.ts";
import type { DriverKind, DriverSettings } from "./driver_settings.ts";

/** Formats by name. */
export const FORMATS: Readonly<Record<string, number>> = {
  "gqi-qpl": QUEUE_FORMAT.GQI_QPL,
  "gqi-rda": QUEUE_FORMAT.GQI_RDA,
  "dqo-qpl": QUEUE_FORMAT.DQO_QPL,
  "dqo-rda": QUEUE_FORMAT.DQO_RDA,
};

const MIN_RING = 32;
const MAX_RING = 32768;
const MIN_GQI_TX = 256;
const MIN_GQI_RX = 64;
const MIN_DQO = 64;
/**
 * A turn of both halves costs as much as some ten frames. Rings are large enough for a batch, of whose frames each takes
 * two DQO transmit descriptors, and for the longest frame; larger ones only spread buffers over more cache lines.
 */
const DEFAULT_BATCH = 192;
const DEFAULT_TX_RING = 512;
const DEFAULT_RX_RING = 256;
const MAX_QUEUES = 16;
const MAX_MTU = 65521;
const DEFAULT_MTU = 1460;
const MAX_PAGES = 262144;
/** Linux' page lists: 64 pages of FIFO; 512 pages of DQO transmit buffers; two pages per DQO receive buffer. */
const GQI_TX_PAGES = 64;
const DQO_TX_PAGES = 512;
/** A DQO receive queue with fewer pages of the driver than this has none that the device was told of at times. */
const MIN_DQO_PAGES = 64;
const HEADER_BUFFER = 128;
const LINK_SPEED = 100_000_000_000;
const MAC: readonly number[] = [0x02, 0x67, 0x76, 0x65, 0x00, 0x01];
/** All memory that page lists of one direction may take. */
const PAGE_LIST_BYTES = 64 * 1024 * 1024;

/** The options. */
export const optionSpecs: readonly OptionSpec[] = [
  {
    name: "format",
    type: "choice",
    choices: Object.keys(FORMATS),
    meaning: "queue format; if not given, what the driver chooses from offer, which is dqo-rda without one",
  },
  {
    name: "offer",
    type: "text",
    form: "NAME|0xID[,...]",
    meaning:
      "device options offered, in order; if not given, the format and those options whose commands work",
  },
  {
    name: "queues",
    type: "integer",
    default: 1,
    min: 1,
    max: MAX_QUEUES,
    meaning: "queues of each direction",
  },
  {
    name: "tx-ring",
    type: "integer",
    default: DEFAULT_TX_RING,
    min: MIN_RING,
    max: MAX_RING,
    powerOfTwo: true,
    meaning: `entries of a transmit ring; GQI takes at least ${MIN_GQI_TX}, DQO ${MIN_DQO}`,
  },
  {
    name: "rx-ring",
    type: "integer",
    default: DEFAULT_RX_RING,
    min: MIN_RING,
    max: MAX_RING,
    powerOfTwo: true,
    meaning: `entries of a receive ring; at least ${MIN_DQO}: with 32 the DQO doorbell never rings`,
  },
  {
    name: "rx-buffer",
    type: "integer",
    default: 2048,
    min: 128,
    max: 16256,
    meaning: "bytes per receive buffer; at most a page",
  },
  {
    name: "page-size",
    type: "size",
    default: PAGE,
    min: PAGE,
    max: 65536,
    meaning: "bytes per page of the driver, a power of two; the device's own pages are always 4096 bytes",
  },
  {
    name: "qpl-pages",
    type: "integer",
    min: 2,
    max: 65536,
    meaning:
      "4096-byte pages of a transmit page list, and of a DQO receive page list (at least 64 driver pages); " +
      "if not given, 64 (GQI) or 512 (DQO) to transmit and two driver pages per receive ring entry",
  },
  {
    name: "copybreak",
    type: "integer",
    default: 256,
    min: 0,
    max: 65535,
    meaning:
      "received frames of one buffer and at most so many bytes are copied instead of giving their page away",
  },
  {
    name: "hold",
    type: "integer",
    default: 0,
    min: 0,
    max: 1024,
    meaning: "frames whose pages the stack holds on to, letting them go in random order",
  },
  {
    name: "header-split",
    type: "flag",
    default: false,
    meaning: "headers go to buffers of their own (DQO, driver=linux)",
  },
  {
    name: "miss-rate",
    type: "integer",
    default: 0,
    min: 0,
    max: 100,
    meaning: "of 100 packets so many take the device's slow path: MISS, then REINJECTION (DQO)",
  },
  {
    name: "out-of-order",
    type: "flag",
    default: false,
    meaning: "completions come in another order than packets, receive buffers in another than posted (DQO)",
  },
  {
    name: "completion-batch",
    type: "integer",
    default: 1,
    min: 1,
    max: 64,
    meaning:
      "receive completions written at a time unless an interrupt can be raised; the real device has 4 (DQO)",
  },
  {
    name: "limits",
    type: "choice",
    default: "fields",
    choices: ["fields", "nic"],
    meaning: "what limits a packet: field widths and ring sizes, or the NIC's own limits as well",
  },
  {
    name: "mtu",
    type: "integer",
    default: 0,
    min: 0,
    max: MAX_MTU,
    meaning: "MTU to set and to police, at least 68; 0 polices none",
  },
  {
    name: "profile",
    type: "choice",
    default: "strict",
    choices: ["strict", "linux"],
    meaning:
      "whether each half checks the other for everything, or as leniently as the Linux driver of January 2024",
  },
  {
    name: "driver",
    type: "choice",
    default: "linux",
    choices: ["linux", "ipxe"],
    meaning:
      "whose ways with bring-up, memory and rings: mapped and synchronised as in Linux, or copied and polled as in iPXE",
  },
  {
    name: "revision",
    type: "integer",
    default: 1,
    min: 0,
    max: 1,
    meaning:
      "PCI revision: 0 has the page frame number register only, 1 the 64-bit address and driver_status",
  },
  {
    name: "batch",
    type: "integer",
    default: DEFAULT_BATCH,
    min: 1,
    max: 4096,
    meaning: "frames per doorbell",
  },
  {
    name: "seed",
    type: "integer",
    default: 1,
    min: 0,
    max: 4294967295,
    meaning: "seed of whatever is random",
  },
];

/** What both halves are made of. */
export interface Settings {
  /** The device's. */
  readonly device: DeviceSettings;
  /** The driver's. */
  readonly driver: DriverSettings;
  /** The format asked for, or undefined. */
  readonly format: number | undefined;
}

/** Ids of the options to be offered. */
function offered(options: OptionValues, format: string): number[] {
  if (!options.has("offer")) {
    return [
      OPTION_NAMES[format]!,
      OPTION.MODIFY_RING,
      OPTION.JUMBO_FRAMES,
      ...format.startsWith("dqo") ? [OPTION.BUFFER_SIZES] : [],
      OPTION.RSS_CONFIG,
    ];
  }
  return options.text("offer").split(",").filter((name) => name !== "").map((name) => {
    if (/^0x[0-9a-f]{1,4}$/i.test(name)) return Number(name);
    const names = Object.keys(OPTION_NAMES);
    if (names.includes(name)) return OPTION_NAMES[name]!;
    const hint = didYouMean(name, names) || `; there are ${names.join(", ")}, and ids as 0x8`;
    throw new OptionError(`option offer takes device options: got "${name}"${hint}`);
  });
}

/** The format that a driver chooses from an offer. */
function preferred(kind: DriverKind, ids: readonly number[]): string {
  const option = preferredOption(kind, (id) => ids.includes(id));
  const format = option === undefined ? QUEUE_FORMAT.GQI_QPL : FORMAT_OPTIONS.get(option);
  return Object.keys(FORMATS).find((name) => FORMATS[name] === format)!;
}

/**
 * Makes settings of options, notes what was derived, and refuses what does not go together.
 *
 * @throws {OptionError} If options contradict each other.
 */
export function settingsFrom(options: OptionValues): Settings {
  const asked = options.has("format") ? options.text("format") : undefined;
  const ids = offered(options, asked ?? "dqo-rda");
  const kind = options.text("driver") as DriverKind;
  const choice = preferred(kind, ids);
  const name = asked ?? choice;
  if (choice !== name) {
    throw new OptionError(`option format is ${name}, but from offer the driver chooses ${choice}`);
  }
  options.resolve("format", name);
  const format = FORMATS[name]!;
  const dqo = isDqo(format);
  const txRing = options.integer("tx-ring");
  const rxRing = options.integer("rx-ring");
  const pageSize = options.integer("page-size");
  const bufferSize = options.integer("rx-buffer");
  const revision = options.integer("revision");
  checkSizes(options, name, dqo);
  const txPages = options.has("qpl-pages") ? options.integer("qpl-pages") : dqo ? DQO_TX_PAGES : GQI_TX_PAGES;
  const perPage = pageSize / PAGE;
  const rxPages = options.has("qpl-pages") && dqo
    ? txPages
    : Math.min(2 * rxRing, Math.floor(PAGE_LIST_BYTES / options.integer("queues") / pageSize)) * perPage;
  if (usesPageLists(format)) options.resolve("qpl-pages", txPages);
  const strict = options.text("profile") === "strict";
  const nicLimits = options.text("limits") === "nic";
  const headerSize = options.flag("header-split") ? HEADER_BUFFER : 0;
  const seed = options.integer("seed");
  const queues = options.integer("queues");
  const bounds = { min: MIN_RING, max: MAX_RING };
  const facts = {
    txRing: bounds,
    rxRing: bounds,
    txPages: Math.min(txPages, 0xffff),
    rxPages: Math.min(dqo ? rxPages : rxRing, 0xffff),
    maxMtu: MAX_MTU,
    buffers: { packet: 0x4000, header: HEADER_BUFFER },
  };
  return {
    format,
    device: {
      revision,
      offer: offerOptions(ids, facts),
      maxTxQueues: queues,
      maxRxQueues: queues,
      txRing: { entries: txRing, ...bounds },
      rxRing: { entries: rxRing, ...bounds },
      txPages: facts.txPages,
      rxPages: facts.rxPages,
      maxPages: MAX_PAGES,
      mtu: DEFAULT_MTU,
      maxMtu: MAX_MTU,
      mac: MAC,
      linkSpeed: LINK_SPEED,
      strict,
      nicLimits,
      missRate: options.integer("miss-rate"),
      outOfOrder: options.flag("out-of-order"),
      completionBatch: options.integer("completion-batch"),
      countedBuffers: kind === "ipxe" || !strict,
      seed,
    },
    driver: {
      kind,
      revision,
      queues,
      txRing,
      rxRing,
      bufferSize,
      headerSize,
      pageSize,
      txPages,
      rxPages,
      copybreak: options.integer("copybreak"),
      hold: options.integer("hold"),
      mtu: options.integer("mtu"),
      seed,
      strict,
      nicLimits,
    },
  };
}

function checkSizes(options: OptionValues, format: string, dqo: boolean): void {
  const pageSize = options.integer("page-size");
  if (!Number.isInteger(Math.log2(pageSize))) {
    throw new OptionError(`option page-size takes powers of two: got "${pageSize}"`);
  }
  if (options.integer("rx-buffer") > pageSize) {
    throw new OptionError(
      `option rx-buffer is ${options.integer("rx-buffer")}, but a page has ${pageSize} bytes`,
    );
  }
  const least = dqo
    ? { "tx-ring": MIN_DQO, "rx-ring": MIN_DQO }
    : { "tx-ring": MIN_GQI_TX, "rx-ring": MIN_GQI_RX };
  for (const [name, min] of Object.entries(least)) {
    if (options.integer(name) < min) {
      throw new OptionError(
        `option ${name} takes at least ${min} with ${format}: got "${options.integer(name)}"`,
      );
    }
  }
  const leastPages = MIN_DQO_PAGES * pageSize / PAGE;
  if (format === "dqo-qpl" && options.has("qpl-pages") && options.integer("qpl-pages") < leastPages) {
    throw new OptionError(
      `option qpl-pages takes at least ${leastPages} with ${format} and pages of ${pageSize} bytes: got "${
        options.integer("qpl-pages")
      }"`,
    );
  }
  const nicPages = GQI_NIC_LIST_BYTES / PAGE;
  if (
    format === "gqi-qpl" && options.text("limits") === "nic" && options.has("qpl-pages") &&
    options.integer("qpl-pages") > nicPages
  ) {
    throw new OptionError(
      `option qpl-pages takes at most ${nicPages} with gqi-qpl and the NIC's limits: got "${
        options.integer("qpl-pages")
      }"`,
    );
  }
  const mtu = options.integer("mtu");
  if (mtu > 0 && mtu < 68) throw new OptionError(`option mtu takes 0 or at least 68: got "${mtu}"`);
  if (options.text("driver") === "ipxe" && options.flag("header-split")) {
    throw new OptionError("option header-split takes driver=linux: got ipxe");
  }
  if (dqo) return;
  for (const name of ["header-split", "out-of-order"]) {
    if (options.flag(name)) throw new OptionError(`option ${name} takes a DQO format: got ${format}`);
  }
  for (const [name, none] of [["miss-rate", 0], ["completion-batch", 1]] as const) {
    if (options.integer(name) !== none) {
      throw new OptionError(`option ${name} takes a DQO format: got ${format}`);
    }
  }
}
