/**
 * What the hypervisor finds out about a device: which queues share which groups, and what it can do with them.
 *
 * @module
 */
import { STATUS } from "../virtio/transport.ts";
import { hasBackendFeature } from "./ioctls.ts";
import type { VhostClient } from "./vhost_client.ts";

/** Address space of guest memory: the one in which every group starts. */
export const GUEST_ASID = 0;
/** Address space of shadow rings and of the shadowed control queue. */
export const SHADOW_ASID = 1;

/** The groups of a device, as far as its user can find out. */
export class Topology {
  /** Virtqueues. */
  readonly queues: number;
  /** Index of the control queue, or -1. */
  readonly control: number;
  /** Groups of the data queues' descriptor tables and rings, if these can be moved apart from everything else. */
  readonly descGroups: readonly number[];
  /** Groups of the control queue, if it can be moved apart from all data queues. */
  readonly controlGroups: readonly number[];

  /**
   * Asks the device, which is reset afterwards: which queue is the control queue follows from the features, so they are
   * negotiated for it.
   */
  constructor(client: VhostClient, backendFeatures: bigint) {
    client.setStatus(STATUS.ACKNOWLEDGE);
    client.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    client.setFeatures(client.features);
    client.setStatus(client.status | STATUS.FEATURES_OK);
    this.queues = client.queues;
    this.control = this.queues % 2 === 1 ? this.queues - 1 : -1;
    const data = Array.from({ length: this.queues & ~1 }, (_, index) => index);
    const canMove = hasBackendFeature(backendFeatures, "IOTLB_ASID") && client.spaces > 1;
    const canSplit = canMove && hasBackendFeature(backendFeatures, "DESC_ASID");
    const groups = new Set(canMove ? data.map((index) => client.group(index)) : []);
    const descGroups = new Set(canSplit ? data.map((index) => client.descGroup(index)) : []);
    const control = new Set<number>();
    if (canMove && this.control >= 0) control.add(client.group(this.control));
    if (canSplit && this.control >= 0) control.add(client.descGroup(this.control));
    // The ioctl that binds a group first checks its number against the number of queues.
    const reachable = (group: number) => group < this.queues;
    const apart = (some: Set<number>, ...others: Set<number>[]) =>
      [...some].every(reachable) && others.every((other) => ![...some].some((group) => other.has(group)));
    this.controlGroups = apart(control, groups, descGroups) ? [...control] : [];
    const alone = this.control < 0 || this.controlGroups.length > 0;
    this.descGroups = alone && apart(descGroups, groups) ? [...descGroups] : [];
    client.setStatus(0);
  }
}
