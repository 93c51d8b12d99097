/**
 * The rings alone: frames that lie in memory go through a link's two halves and back, no capture file, no pump.
 *
 *     deno task bench bench/ring_bench.ts
 *
 * Every iteration moves 1000 frames there and back, so microseconds per iteration read as nanoseconds per packet.
 *
 * @module
 */
import {
  type Frame,
  FrameBatch,
  type FrameSink,
  LocalHost,
  OptionValues,
  type PieceBatch,
  type Plugin,
  type Wire,
} from "../mod.ts";
import virtio from "../plugins/virtio/mod.ts";

const FRAMES = 1000;
const SIZES = [64, 576, 1500];
const BATCHES = [64, 1];
/** Frames in the capture part: more than the batch, so that no frame is always the one just used. */
const SLOTS = 512;
const STRIDE = 2048;
/** Room before a frame in which the driver can put its header, as the header of a capture record leaves it. */
const HEADROOM = 16;

/** Moves frames of one size through a link, and checks that all came out. */
class Mover implements Wire, FrameSink {
  readonly #host = new LocalHost({ captureSize: SLOTS * STRIDE });
  readonly #link;
  readonly #size: number;
  readonly #batch: number;
  readonly #headroom: number;
  readonly #frames = new FrameBatch(this.#host.memory);
  #slot = 0;
  #bytes = 0;

  constructor(
    plugin: Plugin,
    options: Record<string, string>,
    size: number,
    batch: number,
    headroom: number,
  ) {
    this.#link = plugin.open(new OptionValues(plugin.options, options), this.#host);
    this.#size = size;
    this.#batch = batch;
    this.#headroom = headroom;
  }

  /** Moves {@linkcode FRAMES} frames. */
  run(): void {
    const { driver, device } = this.#link;
    const { bytes } = this.#host.memory;
    const start = this.#host.captureOffset;
    this.#bytes = 0;
    for (let sent = 0; sent < FRAMES;) {
      const end = Math.min(sent + this.#batch, FRAMES);
      const frames = this.#frames;
      frames.bytes = bytes;
      for (frames.count = 0; sent < end; sent++) {
        this.#slot = (this.#slot + 1) % SLOTS;
        frames.offsets[frames.count] = start + this.#slot * STRIDE + HEADROOM;
        frames.lengths[frames.count++] = this.#size;
      }
      for (let i = driver.transmitBatch?.(frames, 0, this.#headroom) ?? 0; i < frames.count; i++) {
        driver.transmit(bytes, frames.offsets[i]!, this.#size, this.#headroom);
      }
      driver.flush();
      device.service(this);
      driver.receive(this);
    }
    if (this.#bytes !== FRAMES * this.#size) throw new Error(`Only ${this.#bytes} bytes came out`);
  }

  transmit(frame: Frame): boolean {
    return this.#link.device.deliver(frame) >= 0;
  }

  transmitBatch(frames: FrameBatch): number {
    return this.#link.device.deliverBatch?.(frames, 0) ?? 0;
  }

  transmitPieces(frames: PieceBatch): number {
    return this.#link.device.deliverPieces?.(frames) ?? 0;
  }

  drop(): void {}

  piece(_queue: number, _bytes: Uint8Array, _offset: number, length: number): void {
    this.#bytes += length;
  }

  batch(_queue: number, frames: FrameBatch): void {
    const { count, lengths } = frames;
    for (let i = 0; i < count; i++) this.#bytes += lengths[i]!;
  }
}

/** What a transmitted frame takes: one descriptor, two (header and frame), or one that points at a table of two. */
const SHAPES: readonly (readonly [string, string, number])[] = [
  ["1 descriptor", "on", HEADROOM],
  ["2 descriptors", "off", 0],
  ["indirect", "on", 0],
];

for (const size of SIZES) {
  for (const batch of BATCHES) {
    for (const [shape, indirect, headroom] of SHAPES) {
      for (const eventIdx of ["off", "on"]) {
        const mover = new Mover(virtio, { indirect, "event-idx": eventIdx }, size, batch, headroom);
        Deno.bench({
          name: `${shape}, event-idx=${eventIdx}`,
          group: `virtio ${size} bytes, batch ${batch}: 1000 packets`,
          fn: () => mover.run(),
        });
      }
    }
  }
}
