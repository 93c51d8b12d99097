/**
 * What the network stack hands the driver for transmission.
 *
 * @module
 */
import type { Memory } from "../../core/memory.ts";

/** `address` of a piece that the driver has to map itself. */
export const UNMAPPED: number = -1;

/**
 * A packet to be sent: a linear part, fragments, and what the device is asked to do with it. Made once and filled
 * anew for each packet.
 */
export class TransmitRequest {
  /** Pieces: the linear part, then the fragments. */
  pieces = 0;
  /** Bytes in all pieces. */
  length = 0;
  /** Buffer of each piece. */
  readonly bytes: Uint8Array[] = [];
  /** Where each piece starts in its buffer. */
  readonly offsets: number[] = [];
  /** Length of each piece. */
  readonly lengths: number[] = [];
  /** The device's address of each piece, or {@linkcode UNMAPPED}. */
  readonly addresses: number[] = [];
  /** Whether there is a hash of the flow's addresses and ports. */
  l4Hash = false;
  /** That hash. */
  hash = 0;
  /** Whether the device is to compute the L4 checksum. */
  checksum = false;
  /** Where its sum starts: the L4 header. */
  checksumStart = 0;
  /** Where the field is, counted from there. */
  checksumOffset = 0;
  /** Payload bytes per segment if the device is to segment (TCP); else 0. */
  segmentSize = 0;
  /** Whether that is TCP over IPv6. */
  segmentV6 = false;
  /** Where the IP header starts. */
  networkOffset = 0;
  /** Where the L4 header starts. */
  transportOffset = 0;
  /** Length of the TCP header. */
  tcpHeaderLength = 0;
  /** Where {@linkcode linearize} copies to. */
  #linear = new Uint8Array(0);

  /** Makes it an empty packet without requests. */
  clear(): void {
    this.pieces = 0;
    this.length = 0;
    this.l4Hash = false;
    this.hash = 0;
    this.checksum = false;
    this.checksumStart = 0;
    this.checksumOffset = 0;
    this.segmentSize = 0;
    this.segmentV6 = false;
    this.networkOffset = 0;
    this.transportOffset = 0;
    this.tcpHeaderLength = 0;
  }

  /** Adds a piece: first the linear part, then fragments. */
  push(bytes: Uint8Array, offset: number, length: number, address: number): void {
    const at = this.pieces++;
    this.bytes[at] = bytes;
    this.offsets[at] = offset;
    this.lengths[at] = length;
    this.addresses[at] = address;
    this.length += length;
  }

  /** Makes the packet one piece, copied to memory of its own, which the driver has to map. */
  linearize(): void {
    const linear = this.#linear.length < this.length ? new Uint8Array(this.length) : this.#linear;
    this.#linear = linear;
    for (let i = 0, at = 0; i < this.pieces; i++) {
      const start = this.offsets[i]!;
      const piece = this.bytes[i]!.subarray(start, start + this.lengths[i]!);
      linear.set(piece, at);
      at += piece.length;
    }
    this.pieces = 1;
    this.bytes[0] = linear;
    this.offsets[0] = 0;
    this.lengths[0] = this.length;
    this.addresses[0] = UNMAPPED;
  }

  /** Copies `length` bytes from `position` of the packet to `target` in `memory`; they must be there. */
  copyTo(memory: Memory, target: number, position: number, length: number): void {
    for (let i = 0; length > 0; i++) {
      const size = this.lengths[i]!;
      if (position >= size) {
        position -= size;
        continue;
      }
      const part = Math.min(length, size - position);
      memory.copyFrom(target, this.bytes[i]!, this.offsets[i]! + position, part);
      target += part;
      length -= part;
      position = 0;
    }
  }
}
