/**
 * Tells formats apart by their first bytes.
 *
 * @module
 */
import { CaptureError } from "./capture_error.ts";
import { BLOCK_TYPES, PCAP_MAGICS } from "./layout.ts";

/** What can be read: a capture, or something that holds one. */
export type Sniffed = "pcap" | "pcapng" | "gzip" | "zstd";

/** How many bytes are enough to tell. */
const ENOUGH = 16;
/** How many bytes a magic that is read has. */
const MAGIC_SIZE = 4;

function ascii(text: string): number[] {
  return Array.from(text, (letter) => letter.charCodeAt(0));
}

function word(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

const READ: readonly (readonly [readonly number[], Sniffed])[] = [
  ...Object.values(PCAP_MAGICS).flatMap((magic) => [
    [word(magic), "pcap"] as const,
    [word(magic).reverse(), "pcap"] as const,
  ]),
  [word(BLOCK_TYPES["section_header"]!), "pcapng"],
  [[0x1f, 0x8b], "gzip"],
  [[0x28, 0xb5, 0x2f, 0xfd], "zstd"],
  // A frame that is to be skipped may come first.
  ...Array.from({ length: 16 }, (_, i) => [[0x50 + i, 0x2a, 0x4d, 0x18], "zstd"] as const),
];

/** Formats that are not read, but known by name. */
const NAMED: readonly (readonly [readonly number[], string])[] = [
  [ascii("snoop\0\0\0"), "a Solaris snoop capture"],
  [ascii("btsnoop\0"), "a Bluetooth snoop capture"],
  [word(0x1c0001ac), "an Ixia lcap capture"],
  [word(0x1c0001ac).reverse(), "an Ixia lcap capture"],
  [word(0x1c0001ab), "an Ixia lcap capture"],
  [word(0x1c0001ab).reverse(), "an Ixia lcap capture"],
  [word(0xa12b3c4d), "a Navtel capture"],
  [word(0xa12b3c4d).reverse(), "a Navtel capture"],
  [word(0xa1b234cd), "a capture with a reserved magic (a1b234cd)"],
  [word(0xa1b234cd).reverse(), "a capture with a reserved magic (a1b234cd)"],
  [word(0xa1b2c3cb), "a BPF program file"],
  [word(0xa1b2c3cb).reverse(), "a BPF program file"],
  [[0x04, 0x22, 0x4d, 0x18], "lz4, which is not supported"],
  [[0xfd, ...ascii("7zXZ\0")], "xz, which is not supported"],
  [ascii("BZh"), "bzip2, which is not supported"],
  [ascii("PK\x03\x04"), "a zip archive"],
  [ascii("RTSS"), "a Microsoft Network Monitor capture"],
  [ascii("GMBU"), "a Microsoft Network Monitor capture"],
  [ascii("TRSNIFF data"), "a Sniffer capture"],
  [ascii("XCP\0"), "a NetXray capture"],
  [ascii("iptrace "), "an AIX iptrace capture"],
  [ascii("ObserverPktBuf"), "a Network Instruments Observer capture"],
  [ascii("\x7fver"), "a Savvius *Peek capture"],
  [ascii("\x05VNF"), "a Visual Networks capture"],
  [ascii("EyeSDN"), "an EyeSDN capture"],
  [ascii("\xaa\xaa\xaa\xaa"), "a 5View capture"],
  [ascii("\x7fELF"), "a program"],
  // A carriage return put before each line feed, or before lone ones, or taken away.
  [ascii("\r\n\r\r"), "a pcapng capture damaged by a transfer as text"],
  [ascii("\n\r\n"), "a pcapng capture damaged by a transfer as text"],
];

function startsWith(bytes: Uint8Array, magic: readonly number[]): boolean {
  return bytes.length >= magic.length && magic.every((byte, i) => bytes[i] === byte);
}

function isText(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 9 || byte === 10 || byte === 13 || (byte >= 32 && byte < 127));
}

function name(bytes: Uint8Array): string {
  if (bytes.length === 0) return "an empty file";
  for (const [magic, what] of NAMED) if (startsWith(bytes, magic)) return what;
  if (bytes.length < MAGIC_SIZE) return `${bytes.length} bytes`;
  if (isText(bytes)) return "text";
  return `a file that starts with ${Array.from(bytes.subarray(0, 4), hex).join(" ")}`;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/**
 * What a file is.
 *
 * @param bytes Its first bytes.
 * @param last Whether there are no more.
 * @returns `undefined` if more bytes are needed to tell.
 * @throws {CaptureError} If it is nothing that can be read; the message names it if its magic is known.
 */
export function sniff(bytes: Uint8Array, last: boolean): Sniffed | undefined {
  if (bytes.length >= MAGIC_SIZE) {
    for (const [magic, format] of READ) if (startsWith(bytes, magic)) return format;
  }
  if (bytes.length < ENOUGH && !last) return undefined;
  const got = name(bytes.subarray(0, ENOUGH));
  throw new CaptureError("not a capture", 0, "pcap or pcapng", got, bytes.length < MAGIC_SIZE);
}
