/**
 * What address spaces and shadow virtqueues cost the rings: frames that lie in memory go through and back.
 *
 *     deno task bench bench/vdpa_bench.ts
 *
 * Every iteration moves 1024 frames of 64 bytes there and back. `passthrough` is to be as fast as virtio itself, and
 * `shadow` to take less than twice as long: it relays every descriptor and used element once more, in both directions.
 * From a capture to a capture: `deno task compare -b vdpa -o mode=shadow`.
 *
 * @module
 */
import { FrameBatch, LocalHost, OptionValues, type Plugin, Pump } from "../mod.ts";
import vdpa from "../plugins/vdpa/mod.ts";
import virtio from "../plugins/virtio/mod.ts";

const FRAMES = 1024;
const SIZE = 64;
const STRIDE = 96;
/** Room before a frame in which the driver can put its header, as the header of a capture record leaves it. */
const HEADROOM = 16;

/** Moves frames through a link that loops back. */
class Mover {
  readonly #pump: Pump;
  readonly #frames = new FrameBatch();
  #received = 0;

  constructor(plugin: Plugin, options: Record<string, string>) {
    const frames = this.#frames;
    const capacity = frames.offsets.length;
    const host = new LocalHost({ captureSize: capacity * STRIDE });
    const link = plugin.open(new OptionValues(plugin.options, options), host);
    frames.bytes = host.memory.bytes;
    frames.count = capacity;
    for (let i = 0; i < capacity; i++) {
      frames.offsets[i] = host.captureOffset + i * STRIDE + HEADROOM;
      frames.lengths[i] = SIZE;
    }
    this.#pump = new Pump(link, {
      piece: () => {
        this.#received++;
      },
      batch: (_number, { count }) => {
        this.#received += count;
      },
      drop: (number, reason) => {
        throw new Error(`Frame ${number} was dropped: ${reason}`);
      },
    });
  }

  /** Moves {@linkcode FRAMES} frames. */
  run(): void {
    this.#received = 0;
    for (let sent = 0; sent < FRAMES; sent += this.#frames.count) {
      this.#pump.pushBatch(this.#frames, HEADROOM);
    }
    this.#pump.drain();
    if (this.#received !== FRAMES) throw new Error(`Only ${this.#received} frames came out`);
  }
}

const ROWS: readonly (readonly [string, Plugin, Record<string, string>])[] = [
  ["virtio, no address spaces", virtio, {}],
  ["passthrough", vdpa, { mode: "passthrough" }],
  ["shadow, rings in a space of their own", vdpa, { mode: "shadow" }],
  ["shadow, addresses translated", vdpa, { mode: "shadow", "desc-group": "off" }],
];

for (const [name, plugin, options] of ROWS) {
  const mover = new Mover(plugin, options);
  Deno.bench({
    name,
    group: "vdpa 64 bytes, batch 64: 1024 packets",
    baseline: name === "passthrough",
    fn: () => mover.run(),
  });
}
