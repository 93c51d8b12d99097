/**
 * What a driver agrees on with its device before anything moves: features, and what the configuration says.
 *
 * @module
 */
import { RingFault } from "../../core/fault.ts";
import { brokenDependency, dropDependents, type Feature, featureMask, hasFeature } from "./features.ts";
import { virtio_net_config } from "./layout.ts";
import { ALL_HASH_TYPES, HASH_KEY_LENGTH } from "./receive_hash.ts";
import { RSS_TABLE_LENGTH } from "./steering.ts";
import { STATUS, type VirtioTransport } from "./transport.ts";

/** What a frame is longer than the MTU says. */
const ETHERNET_HEADER = 14;
/** Bounds that virtio 1.4, 5.1.4.1 sets. */
const MOST_PAIRS = 0x8000;
const LEAST_MTU = 68;

/** What the device's configuration says, as far as the negotiated features make it count. */
export interface NetConfig {
  /** Hardware address. */
  readonly mac: readonly number[];
  /** Queue pairs that the device has. */
  readonly pairs: number;
  /** Longest frame by its MTU; infinite without MTU. */
  readonly longestFrame: number;
  /** Hash types that it can be told to use. */
  readonly hashTypes: number;
}

/** Tells the device that the driver has given up, and why the caller. */
function giveUp(transport: VirtioTransport, reason: string, value: number | bigint): never {
  transport.setStatus(transport.getStatus() | STATUS.FAILED);
  throw new RingFault("driver", "features", "bring-up", 0, { reason, value });
}

/**
 * Reads what is offered, accepts what is wanted and possible, and hears whether the device agrees.
 *
 * @returns The accepted features.
 * @throws {RingFault} If no agreement is reached.
 */
export function negotiate(transport: VirtioTransport, wanted: bigint): bigint {
  const { legacy } = transport;
  const offered = transport.getFeatures();
  const version1 = featureMask("VERSION_1");
  if (!legacy && !hasFeature(offered, "VERSION_1")) giveUp(transport, "VERSION_1 not offered", offered);
  // Without it, a net header would have to lie in a buffer of its own (5.1.6.6.1).
  if (legacy && !hasFeature(offered, "ANY_LAYOUT")) giveUp(transport, "ANY_LAYOUT not offered", offered);
  const accepted = dropDependents(offered & (legacy ? wanted & ~version1 : wanted | version1));
  transport.setFeatures(accepted);
  if (legacy) return accepted;
  transport.setStatus(transport.getStatus() | STATUS.FEATURES_OK);
  if (!(transport.getStatus() & STATUS.FEATURES_OK)) {
    giveUp(transport, brokenDependency(accepted) ?? "FEATURES_OK refused", accepted);
  }
  return accepted;
}

/**
 * Reads the configuration, and holds it against what it must be.
 *
 * @throws {RingFault} If a field is out of its bounds.
 */
export function readNetConfig(transport: VirtioTransport, features: bigint): NetConfig {
  const config = virtio_net_config.decode(transport.readConfig(virtio_net_config.size));
  const has = (feature: Feature) => hasFeature(features, feature);
  /** A field that counts under some condition, else what stands for it. */
  const read = (name: string, counts: boolean, otherwise: number, least: number, most = Infinity): number => {
    if (!counts) return otherwise;
    const value = config[name] as number;
    if (value < least || value > most) giveUp(transport, `${name} out of range`, value);
    return value;
  };
  const hashes = has("RSS") || has("HASH_REPORT");
  read("rss_max_key_size", hashes, 0, HASH_KEY_LENGTH);
  read("rss_max_indirection_table_length", has("RSS"), 0, RSS_TABLE_LENGTH);
  return {
    mac: config.mac as number[],
    pairs: read("max_virtqueue_pairs", has("MQ") || has("RSS"), 1, 1, MOST_PAIRS),
    longestFrame: read("mtu", has("MTU"), Infinity, LEAST_MTU) + ETHERNET_HEADER,
    hashTypes: ALL_HASH_TYPES & read("supported_hash_types", hashes, ALL_HASH_TYPES, 0),
  };
}
