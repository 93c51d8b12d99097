/**
 * What an MTU means for frames.
 *
 * @module
 */

const ETHERNET_HEADER = 14;
const VLAN_TAG = 4;
const VLAN_TYPES: readonly number[] = [0x8100, 0x88a8];
/** A service tag and a customer tag. */
const MOST_TAGS = 2;

/** Bytes of a frame that {@linkcode longestFrame} looks at. */
export const MTU_HEADERS: number = ETHERNET_HEADER + MOST_TAGS * VLAN_TAG;

/** Bytes of the longest frame without VLAN tags that an MTU allows. */
export function longestUntagged(mtu: number): number {
  return mtu + ETHERNET_HEADER;
}

/**
 * Bytes of the longest frame that an MTU allows: the Ethernet header and up to two VLAN tags come on top.
 *
 * @param mtu The MTU.
 * @param bytes Buffer with a frame's first {@linkcode MTU_HEADERS} bytes, as far as it has them.
 * @param offset Where it starts.
 * @param length How many bytes of it there are.
 */
export function longestFrame(mtu: number, bytes: Uint8Array, offset: number, length: number): number {
  let headers = ETHERNET_HEADER;
  for (let tags = 0; tags < MOST_TAGS && headers <= length; tags++) {
    const type = offset + headers - 2;
    if (!VLAN_TYPES.includes((bytes[type]! << 8) | bytes[type + 1]!)) break;
    headers += VLAN_TAG;
  }
  return mtu + headers;
}
