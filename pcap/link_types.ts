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

const NAMES: Readonly<Record<number, string>> = {
  0: "BSD loopback",
  1: "Ethernet",
  6: "Token Ring",
  8: "SLIP",
  9: "PPP",
  50: "PPP in HDLC framing",
  51: "PPPoE",
  101: "raw IP",
  104: "Cisco HDLC",
  105: "IEEE 802.11",
  108: "OpenBSD loopback",
  113: "Linux cooked v1",
  117: "pflog",
  127: "IEEE 802.11 with radiotap",
  163: "IEEE 802.11 with AVS",
  187: "Bluetooth HCI H4",
  189: "Linux USB",
  192: "PPI",
  195: "IEEE 802.15.4",
  220: "Linux USB, padded",
  227: "SocketCAN",
  228: "raw IPv4",
  229: "raw IPv6",
  231: "D-Bus",
  239: "NFLOG",
  249: "USBPcap",
  252: "upper PDU",
  253: "netlink",
  271: "vsock",
  272: "Nordic BLE",
  276: "Linux cooked v2",
  279: "Elektrobit",
};

/** A link type for a person: its number, and its name if it is a common one. */
export function linkTypeName(linkType: number): string {
  const name = linkType >= 147 && linkType <= 162 ? `user ${linkType - 147}` : NAMES[linkType];
  return name === undefined ? `${linkType}` : `${linkType} (${name})`;
}
