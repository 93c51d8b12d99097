/**
 * Puts frames into posted buffers, many in one loop, where each fits into a chain of one buffer.
 *
 * @module
 */
import type { Region } from "../../core/address_space.ts";
import { BATCH_SIZE, type FrameBatch } from "../../core/frame_batch.ts";
import { Memory } from "../../core/memory.ts";
import type { DescriptorStates } from "./descriptor_states.ts";
import type { DeviceAvailable } from "./device_available.ts";
import type { DeviceRing } from "./device_ring.ts";
import type { DeviceUsed } from "./device_used.ts";
import { VRING_DESC_F_WRITE, vring_used, vring_used_elem } from "./layout.ts";

const USED_ID = vring_used.offsetOf("ring[].id");
const USED_LEN = vring_used.offsetOf("ring[].len");
const USED_STRIDE = vring_used_elem.size;

/** See the module. */
export class DeviceFill {
  /** Bytes written, the last time. */
  filledBytes = 0;
  readonly #ring: DeviceRing;
  readonly #states: DescriptorStates;
  readonly #available: DeviceAvailable;
  readonly #used: DeviceUsed;
  /** Where frames are copied to, and their places there. */
  #memory: Memory = new Memory(0);
  #targets: Int32Array = new Int32Array(0);

  /** Takes over a ring and its two sides. */
  constructor(ring: DeviceRing, states: DescriptorStates, available: DeviceAvailable, used: DeviceUsed) {
    this.#ring = ring;
    this.#states = states;
    this.#available = available;
    this.#used = used;
  }

  /**
   * Fills the next chains with a frame each, as far as they are one buffer in this region that holds it, and gives them
   * back. See {@linkcode DeviceQueue.fillFrames}.
   */
  fill(frames: FrameBatch, from: number, prefix: Int32Array, prefixLength: number, region: Region): number {
    const { bytes, offsets: sources, lengths, count } = frames;
    const available = this.#available;
    const { heads, offsets, sizes } = available;
    const { states, round } = this.#states;
    const { mask, usedView, used: ring } = this.#ring;
    const { memory } = region;
    const { view } = memory;
    const word0 = prefix[0]!;
    const word1 = prefix[1]!;
    const word2 = prefix[2]!;
    const least = prefix.byteLength;
    let filled = 0;
    let i = from;
    while (i < count && available.plainAhead(VRING_DESC_F_WRITE, region) > 0) {
      if (memory !== this.#memory) this.#copyTo(memory);
      const targets = this.#targets;
      const { ahead } = available;
      let taken = 0;
      let { next } = available;
      let used = this.#used.index;
      // Nothing is called in this loop: so the engine keeps all that does not change in registers.
      for (; i < count && next !== ahead; i = (i + 1) | 0) {
        const slot = next & mask;
        const length = lengths[i]!;
        const size = sizes[slot]!;
        const total = (length + prefixLength) | 0;
        if (size < total || size < least) break;
        const at = offsets[slot]!;
        view.setInt32(at, word0, true);
        view.setInt32((at + 4) | 0, word1, true);
        view.setInt32((at + 8) | 0, word2, true);
        targets[taken] = (at + prefixLength) | 0;
        taken = (taken + 1) | 0;
        const head = heads[slot]!;
        states[head] = round;
        const element = (ring + (used & mask) * USED_STRIDE) | 0;
        usedView.setInt32((element + USED_ID) | 0, head, true);
        usedView.setInt32((element + USED_LEN) | 0, total, true);
        used = (used + 1) & 0xffff;
        next = (next + 1) & 0xffff;
        filled = (filled + total) | 0;
      }
      memory.copyEach(targets, bytes, sources, lengths, i - taken, taken);
      available.take(taken);
      this.#used.pushed(used);
      if (next !== ahead) break;
    }
    this.filledBytes = filled;
    return i;
  }

  /** From now on frames are copied into this memory. */
  #copyTo(memory: Memory): void {
    this.#memory = memory;
    this.#targets = memory.words(BATCH_SIZE);
  }
}
