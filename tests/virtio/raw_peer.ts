/**
 * A network driver opposite a device of which there is only memory: tests write what a hostile device would.
 *
 * @module
 */
import { LocalHost } from "../../core/host.ts";
import { VirtioNetDriver } from "../../plugins/virtio/driver.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import type { RingAddresses } from "../../plugins/virtio/ring_areas.ts";
import type { VirtioTransport } from "../../plugins/virtio/transport.ts";
import { RawRing } from "./raw_ring.ts";

/** A transport that agrees to everything and notes where the rings are. */
export class AgreeableTransport implements VirtioTransport {
  readonly legacy = false;
  /** Ring parts by queue. */
  readonly areas: RingAddresses[] = [];
  /** Ring sizes by queue. */
  readonly sizes: number[] = [];
  /** Doorbells rung, in order. */
  readonly kicks: number[] = [];
  /** virtio 1.4, 5.1.4: one pair, an MTU of 1500, keys of 40 bytes, 128 table entries, all nine hash types. */
  readonly config: Uint8Array = Uint8Array.from([
    ...[2, 4, 6, 8, 10, 12, 1, 0, 1, 0, 0xdc, 5, 0, 0, 0, 0],
    ...[1, 40, 128, 0, 0xff, 1, 0, 0],
  ]);
  /** Called with each doorbell. */
  onKick: (index: number) => void = () => {};
  readonly #features: bigint;
  #status = 0;

  constructor(features: bigint) {
    this.#features = features;
  }

  getStatus(): number {
    return this.#status;
  }
  setStatus(status: number): void {
    this.#status = status;
  }
  getFeatures(): bigint {
    return this.#features;
  }
  setFeatures(): void {}
  readConfig(length: number): Uint8Array {
    return this.config.slice(0, length);
  }
  maxQueueSize(): number {
    return 32768;
  }
  startQueue(index: number, size: number, areas: RingAddresses): void {
    this.areas[index] = areas;
    this.sizes[index] = size;
  }
  resetQueue(): void {}
  kick(index: number): void {
    this.kicks.push(index);
    this.onKick(index);
  }
}

/** What differs between tests. */
export interface RawPeerOptions {
  /** Entries of both rings. */
  readonly size?: number;
  /** Negotiated beside VERSION_1. */
  readonly features?: readonly Feature[];
  /** Bytes of a receive buffer. */
  readonly rxBuffer?: number;
  /** Changes the device's configuration before the driver reads it. */
  readonly config?: (config: Uint8Array) => void;
  /** What the device does when the bell of queue 2, the control queue, rings. */
  readonly onControl?: (peer: RawPeer) => void;
}

/** See the module. */
export class RawPeer {
  readonly host: LocalHost = new LocalHost({ dmaSize: 1 << 20, captureSize: 1 << 16 });
  readonly transport: AgreeableTransport;
  readonly driver: VirtioNetDriver;
  readonly rx: RawRing;
  readonly tx: RawRing;
  /** Frames that the driver handed over. */
  readonly frames: Uint8Array[] = [];
  #parts: number[] = [];

  /** Brings the driver up. */
  constructor({ size = 8, features = [], rxBuffer = 256, config, onControl }: RawPeerOptions = {}) {
    const mask = featureMask("VERSION_1", ...features);
    this.transport = new AgreeableTransport(mask);
    config?.(this.transport.config);
    this.transport.onKick = (index) => void (index === 2 && onControl?.(this));
    this.driver = new VirtioNetDriver(this.transport, {
      dma: this.host.dma,
      space: this.host.space,
      features: mask,
      queueSize: size,
      rxQueueSize: size,
      rxBuffer,
    });
    this.rx = this.ring(0);
    this.tx = this.ring(1);
  }

  /** A ring of the driver's, as bytes. */
  ring(index: number): RawRing {
    const { desc, driver, device } = this.transport.areas[index]!;
    const at = (address: number) => this.host.dma.region.offsetOf(address);
    return new RawRing(
      this.host.memory.view,
      this.transport.sizes[index]!,
      at(desc),
      at(driver),
      at(device),
    );
  }

  /** Offset in memory of the receive buffer with this head. */
  buffer(head: number): number {
    return this.host.dma.region.offsetOf(this.rx.getDesc(head).addr);
  }

  /** Writes a frame into the receive buffer with this head, behind a header that is zero but for num_buffers. */
  fill(head: number, payload: ArrayLike<number>, buffers = 1, headerLength = 12): number {
    const at = this.buffer(head);
    const { bytes } = this.host.memory;
    bytes.fill(0, at, at + headerLength);
    bytes[at + 10] = buffers & 0xff;
    bytes[at + 11] = buffers >> 8;
    bytes.set(Array.from(payload), at + headerLength);
    return headerLength + payload.length;
  }

  /** Lets the driver work; frames gather in `frames`. */
  receive(): number {
    return this.driver.receive({
      piece: (_queue, bytes, offset, length, more) => {
        for (let i = 0; i < length; i++) this.#parts.push(bytes[offset + i]!);
        if (more) return;
        this.frames.push(Uint8Array.from(this.#parts));
        this.#parts = [];
      },
    });
  }

  /** Transmits a frame and publishes it. */
  send(payload: Uint8Array): void {
    this.driver.transmit(payload, 0, payload.length, 0);
    this.driver.flush();
  }
}
