/**
 * Pieces of packets on a GQI transmit ring with raw addressing: pointed at where they lie, or copied if the device cannot
 * reach them there.
 *
 * @module
 */
import type { DriverContext } from "../queue_context.ts";
import { type TransmitRequest, UNMAPPED } from "../transmit_request.ts";

/** The descriptor has no bounce buffer. */
const NONE = -1;

/** Bounce buffers by the descriptors that name them. */
export class TxBounces {
  /** Whether there ever was one. */
  used = false;
  readonly #context: DriverContext;
  readonly #numbers: Int32Array;

  /** For a ring of `size` descriptors. */
  constructor(context: DriverContext, size: number) {
    this.#context = context;
    this.#numbers = new Int32Array(size).fill(NONE);
  }

  /** The device's address of a piece for the descriptor `slot`, or -1: it has to be copied, and there is no room now. */
  map(request: TransmitRequest, piece: number, slot: number): number {
    const given = request.addresses[piece]!;
    if (given !== UNMAPPED) return given;
    const { mapper, bounce, memory, counters } = this.#context;
    const bytes = request.bytes[piece]!;
    const offset = request.offsets[piece]!;
    const length = request.lengths[piece]!;
    const address = mapper.map(bytes, offset, length);
    if (address >= 0) return address;
    const number = bounce.take(length);
    if (number < 0) return -1;
    this.#numbers[slot] = number;
    this.used = true;
    memory.copyFrom(bounce.offset(number), bytes, offset, length);
    counters.txUnmappedBytes += length;
    return bounce.address(number);
  }

  /** Gives the bounce buffer of a descriptor back, if it has one. */
  release(slot: number): void {
    const number = this.#numbers[slot]!;
    if (number === NONE) return;
    this.#numbers[slot] = NONE;
    this.#context.bounce.release(number);
  }
}
