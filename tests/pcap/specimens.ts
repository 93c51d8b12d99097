/**
 * Captures of every kind, good and bad, with what libpcap 1.10.3 and Wireshark 4.0.17 make of each.
 *
 * @module
 */
import { CLASSIC } from "./specimens_classic.ts";
import { NG } from "./specimens_pcapng.ts";

/** A capture, and what readers make of it. */
export interface Specimen {
  /** Its name: `p` is pcap, `n` is pcapng. */
  readonly name: string;
  /** The capture. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Packets that libpcap delivers; -1 if it refuses the file. */
  readonly libpcap: number;
  /** Records that tshark shows. */
  readonly wireshark: number;
  /** Packets that ringpipe is to deliver. */
  readonly packets: number;
  /** What its error is to say; none if it is to read the file as good. */
  readonly error?: RegExp;
  /** What it is to warn of. */
  readonly warning?: RegExp;
}

/** A specimen in a table: name, bytes, packets of libpcap, Wireshark and ringpipe, its error, its warning. */
export type Row = readonly [
  string,
  Uint8Array<ArrayBuffer>,
  libpcap: number,
  wireshark: number,
  packets: number,
  error?: RegExp | undefined,
  warning?: RegExp,
];

/** All of them. */
export const specimens: readonly Specimen[] = [...CLASSIC, ...NG].map((
  [name, bytes, libpcap, wireshark, packets, error, warning],
) => ({ name, bytes, libpcap, wireshark, packets, ...error && { error }, ...warning && { warning } }));

/** Whether a capture is compressed. */
export function isGzip({ bytes }: Specimen): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}
