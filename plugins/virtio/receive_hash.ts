/**
 * The hash that a device puts into the net header with HASH_REPORT, and by which it spreads flows over queues.
 *
 * @module
 */
import { flowHash, flowHashType, FlowParser } from "../../core/flow.ts";
import type { Frame } from "../../core/frame.ts";
import { Memory } from "../../core/memory.ts";
import { MICROSOFT_RSS_KEY, ToeplitzKey } from "../../core/toeplitz.ts";

/** All hash types: a bit for each of IPv4, TCPv4, UDPv4, IPv6, TCPv6, UDPv6, IPv6_EX, TCPv6_EX, UDPv6_EX. */
export const ALL_HASH_TYPES: number = 0x1ff;
/** Longest hash key in bytes that {@linkcode ReceiveHash} offers. */
export const HASH_KEY_LENGTH: number = 40;
/** Enough of a frame to find all headers in, if they lie in several pieces. */
const HEADERS = 256;

/** Toeplitz over the flow of a frame: virtio 1.4, 5.1.6.4.3 (its report values are the core's `HASH_*`). */
export class ReceiveHash {
  /** Hash of the frame looked at last. */
  value = 0;
  /** What was hashed: `virtio_net_hdr_v1_hash.hash_report`. */
  report = 0;
  #types = 0;
  #key = new ToeplitzKey(MICROSOFT_RSS_KEY);
  readonly #parser = new FlowParser();
  readonly #headers = new Memory(HEADERS);

  /**
   * Starts afresh. Where hashes are reported, no type is enabled until a command says so (5.1.6.5.6.4); where they
   * only spread flows over queues, all are.
   */
  reset(reported: boolean): void {
    this.#types = reported ? 0 : ALL_HASH_TYPES;
    this.#key = new ToeplitzKey(MICROSOFT_RSS_KEY);
  }

  /** Sets the enabled types and the key, as the driver's command says. */
  configure(types: number, key: Uint8Array): void {
    this.#types = types;
    this.#key = new ToeplitzKey(key);
  }

  /** Hashes a frame: `value` and `report` hold the result. */
  update(frame: Frame): void {
    if (frame.pieces === 1) {
      this.#parser.parse(frame.bytes[0]!, frame.offsets[0]!, frame.length);
    } else {
      const length = Math.min(frame.length, HEADERS);
      frame.copyTo(this.#headers, 0, 0, length);
      this.#parser.parse(this.#headers.bytes, 0, length);
    }
    this.report = flowHashType(this.#parser, this.#types);
    this.value = flowHash(this.#key, this.#parser, this.report);
  }
}
