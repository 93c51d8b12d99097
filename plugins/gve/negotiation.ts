/**
 * What the driver makes of the device descriptor and its options, as Linux does.
 *
 * @module
 */
import { isPowerOfTwo } from "../../core/index.ts";
import { FEATURE, OPTION, QUEUE_FORMAT } from "./constants.ts";
import type { DriverKind } from "./driver_settings.ts";
import { FORMAT_OPTIONS, isDqo, preferredOption } from "./formats.ts";
import { driverFault } from "./faults.ts";
import * as layout from "./layout_records.ts";

const HEADER = layout.gve_device_descriptor.size;
const OPTION_HEADER = layout.gve_device_option.size;
const OPTION_ID = layout.gve_device_option.offsetOf("option_id");
const OPTION_LENGTH = layout.gve_device_option.offsetOf("option_length");
const REQUIRED_FEATURES = layout.gve_device_option.offsetOf("required_features_mask");
/** Linux refuses GQI rings that are shorter than a page: 16 bytes per transmit, 64 per receive descriptor. */
const MIN_GQI_TX = 256;
const MIN_GQI_RX = 64;
const MIN_MTU = 68;
/** Ring bounds if the device gives no minima. */
const DEFAULT_MIN_TX = 256;
const DEFAULT_MIN_RX = 512;

/** What the driver learned. */
export interface Negotiated {
  /** The queue format. */
  readonly format: number;
  /** Feature bits of the chosen format's option. */
  readonly features: number;
  /** Suggested or only transmit ring size, and its bounds. */
  readonly txRing: { readonly entries: number; readonly min: number; readonly max: number };
  /** Suggested or only receive ring size, and its bounds. */
  readonly rxRing: { readonly entries: number; readonly min: number; readonly max: number };
  /** Largest MTU. */
  readonly maxMtu: number;
  /** Most pages over all page lists. */
  readonly maxPages: number;
  /** Event counters that the device wants. */
  readonly counters: number;
  /** Largest packet buffer and header buffer; 0 if the device does not say. */
  readonly buffers: { readonly packet: number; readonly header: number };
  /** MAC address. */
  readonly mac: readonly number[];
  /** Options passed over: unknown, or with a required feature that the driver lacks. */
  readonly skipped: readonly number[];
}

/** Bytes that the driver must know of an option's body. */
const BODIES: ReadonlyMap<number, number> = new Map([
  [OPTION.GQI_RAW_ADDRESSING, 0],
  [OPTION.GQI_RDA, layout.gve_device_option_gqi_rda.size],
  [OPTION.GQI_QPL, layout.gve_device_option_gqi_qpl.size],
  [OPTION.DQO_RDA, layout.gve_device_option_dqo_rda.size],
  [OPTION.DQO_QPL, layout.gve_device_option_dqo_qpl.size],
  [OPTION.MODIFY_RING, layout.gve_device_option_modify_ring_8.size],
  [OPTION.JUMBO_FRAMES, layout.gve_device_option_jumbo_frames.size],
  [OPTION.BUFFER_SIZES, layout.gve_device_option_buffer_sizes.size],
  [OPTION.RSS_CONFIG, layout.gve_device_option_rss_config.size],
]);

/**
 * Reads the descriptor page.
 *
 * @param page The page, copied out of the device's reach.
 * @param kind Whose preferences decide on the format.
 * @param strict Whether sizes are checked for what Linux does not check.
 * @throws {RingFault} If lengths or sizes make no sense.
 */
export function negotiate(page: Uint8Array, kind: DriverKind, strict: boolean): Negotiated {
  const descriptor = layout.gve_device_descriptor.decode(page, 0, HEADER);
  const total = Number(descriptor["total_length"]);
  if (total < HEADER || total > page.length) throw fault("descriptor", { total_length: total });
  const { bodies, skipped } = walk(page, total, Number(descriptor["num_device_options"]));
  const mtu = Number(descriptor["mtu"]);
  if (mtu < MIN_MTU) throw fault("descriptor", { mtu });
  const option = preferredOption(kind, (id) => bodies.has(id));
  const format = option === undefined ? QUEUE_FORMAT.GQI_QPL : FORMAT_OPTIONS.get(option)!;
  const mask = option === undefined ? undefined : bodies.get(option);
  // The legacy option has no body: no features with it, nor with the fallback.
  const features = mask && mask.length >= 4 ? new DataView(mask.buffer, mask.byteOffset).getUint32(0) : 0;
  const rings = ringSizes(
    Number(descriptor["tx_queue_entries"]),
    Number(descriptor["rx_queue_entries"]),
    features & FEATURE.MODIFY_RING ? bodies.get(OPTION.MODIFY_RING) : undefined,
  );
  checkRings(rings, format, strict);
  const jumbo = features & FEATURE.JUMBO_FRAMES ? bodies.get(OPTION.JUMBO_FRAMES) : undefined;
  const sizes = features & FEATURE.BUFFER_SIZES ? bodies.get(OPTION.BUFFER_SIZES) : undefined;
  const buffers = sizes ? layout.gve_device_option_buffer_sizes.decode(sizes) : {};
  return {
    format,
    features,
    ...rings,
    maxMtu: jumbo ? Number(layout.gve_device_option_jumbo_frames.decode(jumbo)["max_mtu"]) : mtu,
    maxPages: Number(descriptor["max_registered_pages"]),
    counters: Number(descriptor["counters"]),
    buffers: {
      packet: Number(buffers["packet_buffer_size"] ?? 0),
      header: Number(buffers["header_buffer_size"] ?? 0),
    },
    mac: descriptor["mac"] as number[],
    skipped,
  };
}

/** Finds the options' bodies. Each header is known to be inside before it is read, which Linux does not check. */
function walk(
  page: Uint8Array,
  total: number,
  count: number,
): { bodies: Map<number, Uint8Array>; skipped: number[] } {
  const bodies = new Map<number, Uint8Array>();
  const skipped: number[] = [];
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  let at = HEADER;
  for (let i = 0; i < count; i++) {
    if (at + OPTION_HEADER > total) throw fault("option", { option: i, offset: at, total_length: total });
    const id = view.getUint16(at + OPTION_ID);
    const length = view.getUint16(at + OPTION_LENGTH);
    const required = view.getUint32(at + REQUIRED_FEATURES);
    at += OPTION_HEADER;
    if (at + length > total) throw fault("option", { option: id, length, total_length: total });
    const wanted = BODIES.get(id);
    const legacy = id === OPTION.GQI_RAW_ADDRESSING;
    const usable = wanted !== undefined && required === 0 &&
      (legacy ? length === 0 : length >= wanted);
    if (usable) bodies.set(id, page.slice(at, at + length));
    else skipped.push(id);
    at += length;
  }
  return { bodies, skipped };
}

type Rings = Pick<Negotiated, "txRing" | "rxRing">;

function ringSizes(tx: number, rx: number, option: Uint8Array | undefined): Rings {
  if (!option) {
    return { txRing: { entries: tx, min: tx, max: tx }, rxRing: { entries: rx, min: rx, max: rx } };
  }
  const whole = option.length >= layout.gve_device_option_modify_ring.size;
  const values = whole
    ? layout.gve_device_option_modify_ring.decode(option)
    : layout.gve_device_option_modify_ring_8.decode(option);
  return {
    txRing: {
      entries: tx,
      min: Number(values["min_tx_ring_size"] ?? DEFAULT_MIN_TX),
      max: Number(values["max_tx_ring_size"]),
    },
    rxRing: {
      entries: rx,
      min: Number(values["min_rx_ring_size"] ?? DEFAULT_MIN_RX),
      max: Number(values["max_rx_ring_size"]),
    },
  };
}

function checkRings({ txRing, rxRing }: Rings, format: number, strict: boolean): void {
  const tx = txRing.entries;
  const rx = rxRing.entries;
  if (!isDqo(format) && (tx < MIN_GQI_TX || rx < MIN_GQI_RX)) {
    throw fault("descriptor", { tx_queue_entries: tx, rx_queue_entries: rx });
  }
  if (strict && !(isPowerOfTwo(tx) && isPowerOfTwo(rx))) {
    throw fault("ring-size", { tx_queue_entries: tx, rx_queue_entries: rx });
  }
}

function fault(code: "descriptor" | "option" | "ring-size", values: Record<string, number>): Error {
  return driverFault("adminq", code, 0, values);
}
