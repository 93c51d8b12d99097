/**
 * Finds the headers of an Ethernet frame that devices look at: for hashing flows and for offloads.
 *
 * @module
 */
import type { ToeplitzKey } from "./toeplitz.ts";

/** What the Ethernet frame carries: neither IPv4 nor IPv6, or damaged. */
export const L3_NONE: number = 0;
/** The frame carries IPv4. */
export const L3_IPV4: number = 1;
/** The frame carries IPv6. */
export const L3_IPV6: number = 2;

/** No transport header: not IP, a fragment that is not the first, or cut short. */
export const L4_NONE: number = 0;
/** TCP. */
export const L4_TCP: number = 1;
/** UDP. */
export const L4_UDP: number = 2;
/** Another protocol over IP: `protocol` says which. */
export const L4_OTHER: number = 3;

/** No hash. */
export const HASH_NONE: number = 0;
/** Hash of the IPv4 addresses. */
export const HASH_IPV4: number = 1;
/** Hash of the IPv4 addresses and TCP ports. */
export const HASH_TCPV4: number = 2;
/** Hash of the IPv4 addresses and UDP ports. */
export const HASH_UDPV4: number = 3;
/** Hash of the IPv6 addresses. */
export const HASH_IPV6: number = 4;
/** Hash of the IPv6 addresses and TCP ports. */
export const HASH_TCPV6: number = 5;
/** Hash of the IPv6 addresses and UDP ports. */
export const HASH_UDPV6: number = 6;
/** Like {@linkcode HASH_IPV6}, with the addresses that extension headers name for a mobile node. */
export const HASH_IPV6_EX: number = 7;
/** Like {@linkcode HASH_TCPV6}, with the addresses that extension headers name for a mobile node. */
export const HASH_TCPV6_EX: number = 8;
/** Like {@linkcode HASH_UDPV6}, with the addresses that extension headers name for a mobile node. */
export const HASH_UDPV6_EX: number = 9;

const ETHERNET_HEADER = 14;
const VLAN_TAG = 4;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const TCP_HEADER = 20;
const UDP_HEADER = 8;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_SERVICE_VLAN = 0x88a8;
/** What Q-in-Q equipment used for the outer tag before 802.1ad gave it a number. */
const ETHERTYPE_OLD_SERVICE_VLAN = 0x9100;

const PROTOCOL_HOP_BY_HOP = 0;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;
const PROTOCOL_ROUTING = 43;
const PROTOCOL_FRAGMENT = 44;
const PROTOCOL_AUTHENTICATION = 51;
const PROTOCOL_NONE = 59;
const PROTOCOL_DESTINATION_OPTIONS = 60;

/** More extension headers than any sender has a use for; behind them the parser gives up. */
const MOST_EXTENSIONS = 16;
/** A mobile node's routing header (RFC 6275, 6.4): type 2, one address of 16 bytes. */
const MOBILE_ROUTING_TYPE = 2;
/** The home address destination option (RFC 6275, 6.3), 16 bytes long. */
const HOME_ADDRESS_OPTION = 0xc9;
/** The one-byte option that has no length. */
const PAD1_OPTION = 0;
const IPV6_ADDRESS = 16;

/**
 * The headers of one frame, found without a copy or an object: {@linkcode FlowParser.parse} fills the fields anew for
 * every frame. All offsets are into the buffer that was parsed. Whatever the bytes are, nothing outside the frame
 * is read; a header that is cut short or contradicts itself counts as absent.
 */
export class FlowParser {
  /** Type of what the frame carries behind all VLAN tags; 0 if the frame is too short to say. */
  etherType = 0;
  /** How many VLAN tags (802.1Q, 802.1ad) there are. */
  vlans = 0;
  /** One of {@linkcode L3_NONE}, {@linkcode L3_IPV4}, {@linkcode L3_IPV6}. */
  l3 = 0;
  /** One of {@linkcode L4_NONE}, {@linkcode L4_TCP}, {@linkcode L4_UDP}, {@linkcode L4_OTHER}. */
  l4 = 0;
  /** Where the header behind Ethernet and its tags starts; the frame's end if there is none. */
  l3Offset = 0;
  /** Where the header behind IP and its options or extension headers starts; the packet's end if there is none. */
  l4Offset = 0;
  /** Where the payload of TCP or UDP starts; else the same as `l4Offset`. Source and destination port are the first four bytes at `l4Offset`. */
  payloadOffset = 0;
  /** Where the packet ends: Ethernet padding lies behind it. A packet cut short ends with the frame. */
  end = 0;
  /** The last protocol number of the IP headers; -1 if there is none. */
  protocol: number = -1;
  /** Whether the packet is a fragment, be it the first. */
  fragmented = false;
  /** Whether there are IPv6 extension headers. */
  extended = false;
  /** Where the source address starts. The destination address follows it. */
  sourceOffset = 0;
  /** Where the destination address starts. */
  destinationOffset = 0;
  /** Where the home address of a mobile node stands in place of the source address; else the same as `sourceOffset`. */
  homeOffset = 0;
  /** Where the address of a type 2 routing header stands; else the same as `destinationOffset`. */
  routingOffset = 0;
  /** The buffer that was parsed last. */
  bytes: Uint8Array = new Uint8Array(0);

  /** Looks at the frame of `length` bytes at `offset`. */
  parse(bytes: Uint8Array, offset: number, length: number): void {
    const end = offset + length;
    this.bytes = bytes;
    this.etherType = 0;
    this.vlans = 0;
    this.l3 = L3_NONE;
    this.l4 = L4_NONE;
    this.protocol = -1;
    this.fragmented = false;
    this.extended = false;
    this.l3Offset =
      this.l4Offset =
      this.payloadOffset =
      this.end =
        end;
    this.sourceOffset =
      this.destinationOffset =
      this.homeOffset =
      this.routingOffset =
        end;
    if (length < ETHERNET_HEADER) return;
    let at = offset + ETHERNET_HEADER;
    let type = read16(bytes, at - 2);
    while (
      type === ETHERTYPE_VLAN || type === ETHERTYPE_SERVICE_VLAN || type === ETHERTYPE_OLD_SERVICE_VLAN
    ) {
      if (at + VLAN_TAG > end) return;
      at += VLAN_TAG;
      type = read16(bytes, at - 2);
      this.vlans++;
    }
    this.etherType = type;
    this.l3Offset = at;
    if (type === ETHERTYPE_IPV4) this.#parseIpv4(bytes, at, end);
    else if (type === ETHERTYPE_IPV6) this.#parseIpv6(bytes, at, end);
  }

  #parseIpv4(bytes: Uint8Array, at: number, end: number): void {
    if (at + IPV4_HEADER > end || bytes[at]! >>> 4 !== 4) return;
    const header = (bytes[at]! & 15) * 4;
    const total = read16(bytes, at + 2);
    // A frame captured before segmentation in hardware may say 0.
    if (header < IPV4_HEADER || at + header > end || (total !== 0 && total < header)) return;
    if (total !== 0 && at + total < end) end = at + total;
    const fragment = read16(bytes, at + 6) & 0x3fff;
    this.l3 = L3_IPV4;
    this.sourceOffset = this.homeOffset = at + 12;
    this.destinationOffset = this.routingOffset = at + 16;
    this.fragmented = fragment !== 0;
    this.protocol = bytes[at + 9]!;
    this.#parseTransport(bytes, at + header, end, (fragment & 0x1fff) === 0);
  }

  #parseIpv6(bytes: Uint8Array, at: number, end: number): void {
    if (at + IPV6_HEADER > end || bytes[at]! >>> 4 !== 6) return;
    const payload = read16(bytes, at + 4);
    // A jumbogram says 0, as does a frame captured before segmentation in hardware.
    if (payload !== 0 && at + IPV6_HEADER + payload < end) end = at + IPV6_HEADER + payload;
    this.l3 = L3_IPV6;
    this.sourceOffset = this.homeOffset = at + 8;
    this.destinationOffset = this.routingOffset = at + 24;
    let protocol = bytes[at + 6]!;
    let first = true;
    at += IPV6_HEADER;
    for (let left = MOST_EXTENSIONS; isExtension(protocol); left--) {
      this.extended = true;
      const length = at + 8 > end ? Infinity : extensionLength(bytes, at, protocol);
      if (left === 0 || at + length > end) {
        this.protocol = protocol;
        this.end = this.l4Offset = this.payloadOffset = end;
        return;
      }
      if (protocol === PROTOCOL_FRAGMENT) {
        const fragment = read16(bytes, at + 2);
        if ((fragment & 0xfff9) !== 0) this.fragmented = true;
        first = fragment >>> 3 === 0;
      } else if (protocol === PROTOCOL_ROUTING) this.#parseRouting(bytes, at);
      else if (protocol === PROTOCOL_DESTINATION_OPTIONS) this.#parseOptions(bytes, at + 2, at + length);
      protocol = bytes[at]!;
      at += length;
      // Behind the header of a later fragment stands payload, whatever its first byte looks like.
      if (!first) break;
    }
    this.protocol = protocol;
    this.#parseTransport(bytes, at, end, first);
  }

  #parseRouting(bytes: Uint8Array, at: number): void {
    if (bytes[at + 1] === IPV6_ADDRESS / 8 && bytes[at + 2] === MOBILE_ROUTING_TYPE && bytes[at + 3] === 1) {
      this.routingOffset = at + 8;
    }
  }

  #parseOptions(bytes: Uint8Array, at: number, end: number): void {
    while (at < end) {
      const type = bytes[at]!;
      if (type === PAD1_OPTION) {
        at++;
        continue;
      }
      const length = at + 1 < end ? bytes[at + 1]! : Infinity;
      if (at + 2 + length > end) return;
      if (type === HOME_ADDRESS_OPTION && length === IPV6_ADDRESS) this.homeOffset = at + 2;
      at += 2 + length;
    }
  }

  #parseTransport(bytes: Uint8Array, at: number, end: number, first: boolean): void {
    this.end = end;
    this.l4Offset = this.payloadOffset = at;
    if (!first) return;
    if (this.protocol === PROTOCOL_TCP) {
      if (at + TCP_HEADER > end) return;
      const header = (bytes[at + 12]! >>> 4) * 4;
      if (header < TCP_HEADER || at + header > end) return;
      this.l4 = L4_TCP;
      this.payloadOffset = at + header;
    } else if (this.protocol === PROTOCOL_UDP) {
      if (at + UDP_HEADER > end) return;
      this.l4 = L4_UDP;
      this.payloadOffset = at + UDP_HEADER;
    } else if (this.protocol !== PROTOCOL_NONE) this.l4 = L4_OTHER;
  }
}

function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function isExtension(protocol: number): boolean {
  return protocol === PROTOCOL_HOP_BY_HOP || protocol === PROTOCOL_ROUTING ||
    protocol === PROTOCOL_FRAGMENT || protocol === PROTOCOL_DESTINATION_OPTIONS ||
    protocol === PROTOCOL_AUTHENTICATION;
}

/** Length of an extension header, at least 8. */
function extensionLength(bytes: Uint8Array, at: number, protocol: number): number {
  if (protocol === PROTOCOL_FRAGMENT) return 8;
  const length = bytes[at + 1]!;
  return protocol === PROTOCOL_AUTHENTICATION ? Math.max((length + 2) * 4, 8) : (length + 1) * 8;
}

/** The bit of a hash type in the mask that {@linkcode flowHashType} takes: 1 for the first, {@linkcode HASH_IPV4}. */
export function hashTypeBit(type: number): number {
  return type === HASH_NONE ? 0 : 1 << (type - 1);
}

/**
 * Which hash a device makes of a frame when the types in `mask` are enabled: ports if they are there and wanted, else
 * addresses alone. A fragment counts as without ports, so that all fragments of a packet keep together. With
 * IPv6 extension headers the `_EX` types come first (virtio 1.4, 5.1.6.4.3).
 *
 * @param flow A parser that has seen the frame.
 * @param mask The enabled types: bits as {@linkcode hashTypeBit} gives them.
 */
export function flowHashType(flow: FlowParser, mask: number): number {
  if (flow.l3 === L3_NONE) return HASH_NONE;
  const ports = flow.fragmented ? 0 : flow.l4 === L4_TCP ? 1 : flow.l4 === L4_UDP ? 2 : 0;
  if (flow.l3 === L3_IPV4) return choose(mask, HASH_IPV4, ports);
  const type = flow.extended ? choose(mask, HASH_IPV6_EX, ports) : HASH_NONE;
  return type === HASH_NONE ? choose(mask, HASH_IPV6, ports) : type;
}

/** The type `base + ports` if enabled, else `base` if enabled. */
function choose(mask: number, base: number, ports: number): number {
  if ((mask & hashTypeBit(base + ports)) !== 0) return base + ports;
  return (mask & hashTypeBit(base)) !== 0 ? base : HASH_NONE;
}

/**
 * The hash of a frame, in 0..2^32-1; 0 for {@linkcode HASH_NONE}.
 *
 * @param key The device's key.
 * @param flow A parser that has seen the frame.
 * @param type What {@linkcode flowHashType} chose.
 */
export function flowHash(key: ToeplitzKey, flow: FlowParser, type: number): number {
  if (type === HASH_NONE) return 0;
  const bytes = flow.bytes;
  const ports = type !== HASH_IPV4 && type !== HASH_IPV6 && type !== HASH_IPV6_EX ? 4 : 0;
  if (type < HASH_IPV6) {
    const hash = key.extend(0, 0, bytes, flow.sourceOffset, 8);
    return key.extend(hash, 8, bytes, flow.l4Offset, ports) >>> 0;
  }
  const mobile = type >= HASH_IPV6_EX;
  let hash = key.extend(0, 0, bytes, mobile ? flow.homeOffset : flow.sourceOffset, IPV6_ADDRESS);
  hash = key.extend(hash, 16, bytes, mobile ? flow.routingOffset : flow.destinationOffset, IPV6_ADDRESS);
  return key.extend(hash, 32, bytes, flow.l4Offset, ports) >>> 0;
}
