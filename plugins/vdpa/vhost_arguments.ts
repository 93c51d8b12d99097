/**
 * Arguments of ioctls: taken apart, checked, filled in.
 *
 * @module
 */
import { ERRNO } from "./ioctls.ts";
import { vhost_memory, vhost_memory_region, vhost_vring_state } from "./layout.ts";

const STATE_NUM = vhost_vring_state.offsetOf("num");
/** Most regions of a memory table, as kernels limit them by default. */
const MOST_REGIONS = 64;

/** A table of guest memory is checked and kept, but nothing comes of it: vDPA devices use what messages map. */
export function checkMemoryTable(argument: Uint8Array): number {
  const first = vhost_memory.size;
  if (argument.length < first) return -ERRNO.EFAULT;
  const { nregions, padding } = vhost_memory.decode(argument, 0, first);
  if (padding !== 0) return -ERRNO.EOPNOTSUPP;
  const regions = nregions as number;
  if (regions > MOST_REGIONS) return -ERRNO.E2BIG;
  if (argument.length < first + regions * vhost_memory_region.size) return -ERRNO.EFAULT;
  for (let i = 0; i < regions; i++) {
    const region = vhost_memory_region.decode(
      argument,
      first + i * vhost_memory_region.size,
      vhost_memory_region.size,
    );
    const start = region.guest_phys_addr as bigint;
    if (BigInt.asUintN(64, start + (region.memory_size as bigint) - 1n) < start) return -ERRNO.EFAULT;
  }
  return 0;
}

/**
 * The number in a `vhost_vring_state`. It is read as an integer, for queues are set up with it: an engine that got it as
 * a float, as a layout decodes it, would keep all that is computed from it as floats.
 */
export function state(argument: Uint8Array): number {
  return new DataView(argument.buffer, argument.byteOffset).getUint32(STATE_NUM, true);
}

/** Answers with a `vhost_vring_state`. */
export function putState(argument: Uint8Array, index: number, num: number): number {
  argument.set(vhost_vring_state.encode({ index, num }));
  return 0;
}

/** Answers with 32 bits. */
export function put32(view: DataView, value: number): number {
  view.setUint32(0, value, true);
  return 0;
}

/** Answers with 64 bits. */
export function put64(view: DataView, value: bigint): number {
  view.setBigUint64(0, BigInt.asUintN(64, value), true);
  return 0;
}
