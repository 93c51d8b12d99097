/**
 * Feature bits and what they depend on.
 *
 * @module
 */

/** Bit numbers by name: virtio 1.4, 5.1.3 (network) and 6 (ring and transport); linux/virtio_net.h, virtio_config.h. */
export const FEATURE_BITS = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  GUEST_UFO: 10,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  HOST_UFO: 14,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  CTRL_RX_EXTRA: 20,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
  NOTIFY_ON_EMPTY: 24,
  ANY_LAYOUT: 27,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  PROTOCOL_FEATURES: 30,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
  SUSPEND: 43,
  DEVICE_STATS: 50,
  HASH_TUNNEL: 51,
  VQ_NOTF_COAL: 52,
  NOTF_COAL: 53,
  GUEST_USO4: 54,
  GUEST_USO6: 55,
  HOST_USO: 56,
  HASH_REPORT: 57,
  GUEST_HDRLEN: 59,
  RSS: 60,
  RSC_EXT: 61,
  STANDBY: 62,
  SPEED_DUPLEX: 63,
  RSS_CONTEXT: 64,
  GUEST_UDP_TUNNEL_GSO: 65,
  GUEST_UDP_TUNNEL_GSO_CSUM: 66,
  HOST_UDP_TUNNEL_GSO: 67,
  HOST_UDP_TUNNEL_GSO_CSUM: 68,
  OUT_NET_HEADER: 69,
  IPSEC: 70,
} as const satisfies Readonly<Record<string, number>>;

/** Name of a feature. */
export type Feature = keyof typeof FEATURE_BITS;

/** The mask of some features. */
export function featureMask(...features: readonly Feature[]): bigint {
  return features.reduce((mask, feature) => mask | (1n << BigInt(FEATURE_BITS[feature])), 0n);
}

/** Whether a feature is in a mask. */
export function hasFeature(mask: bigint, feature: Feature): boolean {
  return (mask >> BigInt(FEATURE_BITS[feature]) & 1n) === 1n;
}

/** Names of the features in a mask; unknown bits as `bit N`. */
export function featureNames(mask: bigint): string[] {
  const names: string[] = [];
  for (let bit = 0; mask >> BigInt(bit) > 0n; bit++) {
    if ((mask >> BigInt(bit) & 1n) === 0n) continue;
    const name = Object.entries(FEATURE_BITS).find(([, number]) => number === bit)?.[0];
    names.push(name ?? `bit ${bit}`);
  }
  return names;
}

const CONTROL: readonly Feature[] = [
  "CTRL_GUEST_OFFLOADS",
  "CTRL_RX",
  "CTRL_VLAN",
  "CTRL_RX_EXTRA",
  "GUEST_ANNOUNCE",
  "MQ",
  "CTRL_MAC_ADDR",
  "RSS",
  "HASH_REPORT",
  "VQ_NOTF_COAL",
  "NOTF_COAL",
  "HASH_TUNNEL",
  "RSS_CONTEXT",
  "DEVICE_STATS",
];

/** Each feature with groups of features: of every group, at least one must be there. virtio 1.4, 5.1.3.1. */
const DEPENDENCIES: readonly (readonly [Feature, readonly (readonly Feature[])[]])[] = [
  ["GUEST_TSO4", [["GUEST_CSUM"]]],
  ["GUEST_TSO6", [["GUEST_CSUM"]]],
  ["GUEST_UFO", [["GUEST_CSUM"]]],
  ["GUEST_USO4", [["GUEST_CSUM"]]],
  ["GUEST_USO6", [["GUEST_CSUM"]]],
  ["GUEST_ECN", [["GUEST_TSO4", "GUEST_TSO6"]]],
  ["HOST_TSO4", [["CSUM"]]],
  ["HOST_TSO6", [["CSUM"]]],
  ["HOST_UFO", [["CSUM"]]],
  ["HOST_USO", [["CSUM"]]],
  ["HOST_ECN", [["HOST_TSO4", "HOST_TSO6"]]],
  ...CONTROL.map((feature) => [feature, [["CTRL_VQ"]]] as const),
  ["HASH_TUNNEL", [["RSS", "HASH_REPORT"]]],
  ["RSS_CONTEXT", [["RSS"]]],
  ["RSC_EXT", [["HOST_TSO4", "HOST_TSO6"]]],
  ["GUEST_UDP_TUNNEL_GSO", [["GUEST_TSO4"], ["GUEST_TSO6"], ["GUEST_USO4"], ["GUEST_USO6"]]],
  ["GUEST_UDP_TUNNEL_GSO_CSUM", [["GUEST_UDP_TUNNEL_GSO"]]],
  ["HOST_UDP_TUNNEL_GSO", [["HOST_TSO4"], ["HOST_TSO6"], ["HOST_USO"]]],
  ["HOST_UDP_TUNNEL_GSO_CSUM", [["HOST_UDP_TUNNEL_GSO"]]],
];

/** A sentence about the first feature whose prerequisite is missing from the mask, or nothing. */
export function brokenDependency(mask: bigint): string | undefined {
  for (const [feature, groups] of DEPENDENCIES) {
    if (!hasFeature(mask, feature)) continue;
    const missing = groups.find((group) => !group.some((wanted) => hasFeature(mask, wanted)));
    if (missing) return `${feature} needs ${missing.join(" or ")}`;
  }
  return undefined;
}

/** The mask without every feature whose prerequisite is missing from it. */
export function dropDependents(mask: bigint): bigint {
  for (;;) {
    const before = mask;
    for (const [feature, groups] of DEPENDENCIES) {
      if (groups.some((group) => !group.some((wanted) => hasFeature(mask, wanted)))) {
        mask &= ~featureMask(feature);
      }
    }
    if (mask === before) return mask;
  }
}

/** Length in bytes of the net header that a set of features brings. */
export function netHeaderLength(features: bigint): number {
  if (hasFeature(features, "HASH_REPORT")) return 20;
  return hasFeature(features, "VERSION_1") || hasFeature(features, "MRG_RXBUF") ? 12 : 10;
}
