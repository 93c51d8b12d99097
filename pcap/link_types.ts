/**
 * Link types: what is special about some of them, and their names.
 *
 * @module
 */

/** Longest packet of most link types; what libpcap and Wireshark take. */
export const LONGEST_PACKET: number = 262144;

/** Link types whose packets may be longer. D-Bus has 128 MiB; more than a block holds is not read. */
const LONGER: Readonly<Record<number, number>> = {
  231: 16 * 1024 * 1024,
  249: 1024 * 1024,
  279: 8 * 1024 * 1024,
};

/** Longest packet that a capture of this link type may hold. */
export function longestPacket(linkType: number): number {
  return LONGER[linkType] ?? LONGEST_PACKET;
}
