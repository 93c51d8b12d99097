/**
 * Does for the driver what it left to the device, between the device and whatever takes its frames.
 *
 * @module
 */
import { Frame } from "../../core/frame.ts";
import { Memory } from "../../core/memory.ts";
import type { Wire } from "../../core/plugin.ts";
import { virtio_net_hdr_v1 } from "../../plugins/virtio/layout.ts";
import { finishFrame, GSO_NONE, Segmenter } from "../../plugins/virtio/offload.ts";

const HDR_FLAGS = virtio_net_hdr_v1.offsetOf("flags");
const HDR_GSO_TYPE = virtio_net_hdr_v1.offsetOf("gso_type");
const HDR_GSO_SIZE = virtio_net_hdr_v1.offsetOf("gso_size");
const HDR_CSUM_START = virtio_net_hdr_v1.offsetOf("csum_start");
const HDR_CSUM_OFFSET = virtio_net_hdr_v1.offsetOf("csum_offset");
const NEEDS_CSUM = virtio_net_hdr_v1.field("flags").flags!.NEEDS_CSUM!;

/** Longest frame that is taken: 64 KiB of IP packet and its Ethernet header, with some room. */
const LONGEST_FRAME = 0x11000;
/** Longest result: a driver that asks for tiny segments makes many headers. */
const LONGEST_RESULT = 0x100000;

/** Whoever has read the net header of the frame that comes: a `VirtioNetDevice`. */
export interface HeaderSource {
  /** The net header. */
  readonly header: Memory;
}

/**
 * A wire in front of another one. Frames that ask for nothing go straight through; others are copied, because the
 * driver's buffer stays the driver's, and finished.
 */
export class OffloadPort implements Wire {
  readonly #device: HeaderSource;
  readonly #next: Wire;
  readonly #segment: boolean;
  readonly #segmenter = new Segmenter();
  readonly #source = new Memory(LONGEST_FRAME);
  #result = new Uint8Array(0);
  /** Frames made and not yet taken: their ends in `#result`. */
  readonly #ends: number[] = [];
  #taken = 0;
  #pair = 0;
  readonly #frame = new Frame();

  /**
   * Stands between a device and a wire.
   *
   * @param device Whose frames come, and whose `header` says what they ask for.
   * @param next Where they go.
   * @param segment Whether large frames are cut; else they go on as they came, checksum unfinished.
   */
  constructor(device: HeaderSource, next: Wire, segment: boolean) {
    this.#device = device;
    this.#next = next;
    this.#segment = segment;
  }

  /** Takes a frame, unless an earlier one is not fully gone. */
  transmit(frame: Frame, pair: number): boolean {
    if (this.#ends.length > 0 && !this.flush()) return false;
    const header = this.#device.header.view;
    const flags = header.getUint8(HDR_FLAGS);
    const type = header.getUint8(HDR_GSO_TYPE);
    const large = type !== GSO_NONE;
    if ((flags & NEEDS_CSUM) === 0 && !large) return this.#next.transmit(frame, pair);
    if (large && !this.#segment) return this.#next.transmit(frame, pair);
    if (frame.length > LONGEST_FRAME) {
      this.#next.drop(pair, "offload-too-long");
      return true;
    }
    frame.copyTo(this.#source, 0, 0, frame.length);
    if (large) return this.#cut(frame.length, type, header.getUint16(HDR_GSO_SIZE, true), pair);
    const start = header.getUint16(HDR_CSUM_START, true);
    const field = header.getUint16(HDR_CSUM_OFFSET, true);
    if (!finishFrame(this.#source.bytes, 0, frame.length, start, field)) {
      this.#next.drop(pair, "offload-header");
      return true;
    }
    this.#frame.clear();
    this.#frame.push(this.#source.bytes, 0, frame.length);
    return this.#next.transmit(this.#frame, pair);
  }

  /** Passes a drop on. */
  drop(pair: number, reason: string): void {
    this.#next.drop(pair, reason);
  }

  /** Hands on what is left of a frame that was cut. Returns whether nothing is left. */
  flush(): boolean {
    let start = this.#taken === 0 ? 0 : this.#ends[this.#taken - 1]!;
    while (this.#taken < this.#ends.length) {
      const end = this.#ends[this.#taken]!;
      this.#frame.clear();
      this.#frame.push(this.#result, start, end - start);
      if (!this.#next.transmit(this.#frame, this.#pair)) return false;
      start = end;
      this.#taken++;
    }
    this.#ends.length = this.#taken = 0;
    return true;
  }

  /** Forgets what is left: the driver is gone. */
  clear(): void {
    this.#ends.length = this.#taken = 0;
  }

  #cut(length: number, type: number, size: number, pair: number): true {
    if (this.#result.length === 0) this.#result = new Uint8Array(LONGEST_RESULT);
    let end = 0;
    let fits = true;
    const cut = this.#segmenter.cut(this.#source.bytes, 0, length, type, size, (bytes, offset, part) => {
      fits &&= end + part <= LONGEST_RESULT;
      if (!fits) return;
      this.#result.set(bytes.subarray(offset, offset + part), end);
      end += part;
      this.#ends.push(end);
    });
    if (!cut || !fits) {
      this.clear();
      this.#next.drop(pair, cut ? "offload-too-long" : "offload-header");
      return true;
    }
    this.#pair = pair;
    this.flush();
    return true;
  }
}
