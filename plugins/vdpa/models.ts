/**
 * Which groups and address spaces which device has: the kernel's drivers as they are, and a plain one.
 *
 * @module
 */

/** Name of a kind of device. */
export type ModelName = "mlx5" | "sim" | "vduse" | "plain";

/** What distinguishes one kind of vDPA device from another. */
export interface VdpaModel {
  /** Groups that there are at least. */
  readonly groups: number;
  /** Address spaces that there are. */
  readonly asids: number;
  /** Fewest virtqueues. */
  readonly queues: number;
  /** Whether groups and address spaces are the user's to choose. */
  readonly free: boolean;
  /** Group of a virtqueue's buffers. */
  vqGroup(idx: number, queues: number, groups: number): number;
  /** Group of a virtqueue's descriptor table and rings, if the device tells them apart. */
  descGroup?(idx: number, queues: number): number;
  /** Whether it can be suspended and resumed. */
  readonly suspend: boolean;
  /** Whether queues can be enabled when the device runs already. */
  readonly lateEnable: boolean;
  /** Whether mappings can outlive a reset. */
  readonly persist: boolean;
  /** How mappings come in: whole tables, or one by one. With `either` the user's wish for batches decides. */
  readonly mapping: "table" | "single" | "either";
  /** Whether it works with addresses of the process: then no pages are pinned. */
  readonly useVa: boolean;
  /** Address spaces that map every address to itself as long as nothing has been mapped there. */
  readonly identity: "none" | "first" | "all";
  /** Whether GET_VRING_BASE tells what was used rather than what was taken. */
  readonly baseIsUsed: boolean;
}

function isControl(idx: number, queues: number): boolean {
  return queues % 2 === 1 && idx === queues - 1;
}

/**
 * The kinds of device. An odd number of virtqueues means that the last is a control queue.
 *
 * `mlx5`: data queues in group 0, their descriptor tables and rings in group 2, the control queue in group 1 with all
 * that belongs to it: its descriptor group is its own group. There are three groups and two address spaces, so shadow
 * rings and a shadowed control queue share space 1. `sim`: vdpa_sim_net. `vduse`: the groups that the user asks for, the
 * control queue alone in the last that can be reached. `plain`: one group, one space.
 */
export const MODELS: Readonly<Record<ModelName, VdpaModel>> = {
  mlx5: {
    groups: 3,
    asids: 2,
    queues: 3,
    free: false,
    vqGroup: (idx, queues) => isControl(idx, queues) ? 1 : 0,
    descGroup: (idx, queues) => isControl(idx, queues) ? 1 : 2,
    suspend: true,
    lateEnable: true,
    persist: true,
    mapping: "table",
    useVa: false,
    identity: "first",
    baseIsUsed: true,
  },
  sim: {
    groups: 2,
    asids: 2,
    queues: 3,
    free: false,
    vqGroup: (idx, queues) => isControl(idx, queues) ? 1 : 0,
    suspend: true,
    lateEnable: true,
    persist: true,
    mapping: "either",
    useVa: true,
    identity: "all",
    baseIsUsed: false,
  },
  vduse: {
    groups: 2,
    asids: 2,
    queues: 2,
    free: true,
    vqGroup: (idx, queues, groups) => {
      // Groups beyond the number of queues could not be bound to a space.
      const used = Math.min(groups, queues);
      return isControl(idx, queues) ? used - 1 : (idx >> 1) % Math.max(1, used - queues % 2);
    },
    suspend: false,
    lateEnable: false,
    persist: true,
    mapping: "table",
    useVa: true,
    identity: "none",
    baseIsUsed: false,
  },
  plain: {
    groups: 1,
    asids: 1,
    queues: 2,
    free: false,
    vqGroup: () => 0,
    suspend: false,
    lateEnable: true,
    persist: false,
    mapping: "single",
    useVa: false,
    identity: "none",
    baseIsUsed: false,
  },
};
