/**
 * Starts and stops the device, and switches a running one between passthrough and shadow virtqueues.
 *
 * A switch: stop the device (SUSPEND, or a reset where it cannot), note the queues' positions, reset, bind the groups
 * anew, map and unmap what differs, set the queues up at their positions, DRIVER_OK.
 *
 * @module
 */
import type { Counters } from "../../core/counters.ts";
import { DeviceQueue } from "../virtio/device_queue.ts";
import { featureMask } from "../virtio/features.ts";
import { vring_used } from "../virtio/layout.ts";
import type { RingAddresses } from "../virtio/ring_areas.ts";
import { RingMap } from "../virtio/ring_map.ts";
import { STATUS } from "../virtio/transport.ts";
import type { GuestMemory } from "./guest_memory.ts";
import { hasBackendFeature } from "./ioctls.ts";
import {
  changeMappings,
  type DataPath,
  mappingPages,
  type MappingPlan,
  planMappings,
  type ShadowMemory,
} from "./mapping_plan.ts";
import { type OwnMemory, ShadowArea } from "./shadow_area.ts";
import { CommandPages, CommandRecord, ShadowControl } from "./shadow_control.ts";
import { type ShadowCounters, ShadowQueue, sumCounters } from "./shadow_queue.ts";
import { GUEST_ASID, SHADOW_ASID, type Topology } from "./topology.ts";
import { Translation } from "./translation.ts";
import type { Mapping, VhostClient } from "./vhost_client.ts";

/** Ring features that a shadow ring keeps; the others between 28 and 41 it does without. */
const SHADOW_TRANSPORT: bigint = featureMask("ANY_LAYOUT", "EVENT_IDX", "VERSION_1", "ACCESS_PLATFORM");
const ALL_TRANSPORT: bigint = (1n << 42n) - (1n << 28n);
const USED_IDX = vring_used.offsetOf("idx");

/** A queue as the guest set it up. */
export interface GuestQueue {
  /** Entries. */
  readonly size: number;
  /** Guest physical addresses of its parts. */
  readonly areas: RingAddresses;
}

/** What a {@linkcode Migration} works with. */
export interface MigrationOptions {
  /** The device. */
  readonly client: VhostClient;
  /** Its groups. */
  readonly topology: Topology;
  /** Backend features acknowledged. */
  readonly backendFeatures: bigint;
  /** The guest's memory. */
  readonly guest: GuestMemory;
  /** The hypervisor's own. */
  readonly own: OwnMemory;
  /** Whether mappings are changed in batches. */
  readonly batch: boolean;
  /** Rings the device's doorbell of a queue. */
  readonly kick: (index: number) => void;
  /** Interrupts the guest for a queue. */
  readonly interrupt: (index: number) => void;
}

/** See the module. */
export class Migration {
  /** Control commands that make up the device's state. */
  readonly record: CommandRecord = new CommandRecord();
  /** Shadow queues in place, by queue index. */
  readonly shadows: (ShadowQueue | ShadowControl | undefined)[] = [];
  readonly #options: MigrationOptions;
  /** What shadow queues had done that are no longer in place. */
  #retired: ShadowCounters = sumCounters([]);
  readonly #counts = {
    switches: 0,
    regions: 0,
    pagesMapped: 0,
    pagesUnmapped: 0,
    wholeRegions: 0,
    wholePagesMapped: 0,
    wholePagesUnmapped: 0,
    rebinds: 0,
    replayed: 0,
    commands: 0,
  };
  #queues: readonly (GuestQueue | undefined)[] = [];
  #features = 0n;
  #memory: ShadowMemory | undefined;
  /** Where the guest's rings are whose device the hypervisor plays. */
  #guestRings = new RingMap();
  #path: DataPath = "passthrough";
  #mapped: readonly Mapping[] = [];

  /** Begins with a device after reset. */
  constructor(options: MigrationOptions) {
    this.#options = options;
  }

  /** How the data queues are driven now. */
  get path(): DataPath {
    return this.#path;
  }

  /** The shadowed path that this device allows. */
  get shadowPath(): DataPath {
    return this.#options.topology.descGroups.length > 0 ? "split" : "shadow";
  }

  /**
   * Starts the device for a guest that has set its queues up.
   *
   * @param features Feature bits that the guest accepted.
   * @param queues The guest's queues, by index.
   * @param path How data queues shall be driven.
   */
  start(features: bigint, queues: readonly (GuestQueue | undefined)[], path: DataPath): void {
    this.#features = features;
    this.#queues = queues;
    this.#memory = this.#makeMemory();
    const plan = this.#plan(path);
    this.#bringUp(path, plan, queues.map(() => 0), () => this.#map([], plan.mappings));
  }

  /** Resets the device, until the guest starts it again: what is in flight is nobody's any more. */
  stop(): void {
    this.#options.client.setStatus(0);
    for (const index of this.shadows.keys()) this.#retire(index);
    this.#guestRings = new RingMap();
    this.#unmap(this.#mapped);
    this.#mapped = [];
    this.record.clear();
    this.#path = "passthrough";
  }

  /** Slips shadow queues in, or takes them out. */
  toggle(): void {
    const { own } = this.#options;
    const from = this.#path;
    const to = from === "passthrough" ? this.shadowPath : "passthrough";
    const positions = this.#takeDown();
    const plan = this.#plan(to);
    const change = changeMappings(this.#mapped, plan.mappings, this.#persists);
    this.#bringUp(to, plan, positions, () => {
      this.#unmap(change.unmap);
      this.#map(change.unmap, change.map);
    });
    const counts = this.#counts;
    counts.switches++;
    counts.regions += change.map.length + change.unmap.length;
    counts.pagesMapped += mappingPages(change.map, own.pageSize);
    counts.pagesUnmapped += mappingPages(change.unmap, own.pageSize);
    this.#countWhole(from === "split" ? "shadow" : from, to === "split" ? "shadow" : to);
  }

  /** What the same switch takes without descriptor groups: the difference of the plans, which is not carried out. */
  #countWhole(from: DataPath, to: DataPath): void {
    const { pageSize } = this.#options.own;
    const change = changeMappings(this.#plan(from).mappings, this.#plan(to).mappings, this.#persists);
    this.#counts.wholeRegions += change.map.length + change.unmap.length;
    this.#counts.wholePagesMapped += mappingPages(change.map, pageSize);
    this.#counts.wholePagesUnmapped += mappingPages(change.unmap, pageSize);
  }

  get #persists(): boolean {
    return hasBackendFeature(this.#options.backendFeatures, "IOTLB_PERSIST");
  }

  #plan(path: DataPath): MappingPlan {
    const { topology, guest, own } = this.#options;
    return planMappings(path, topology, guest, this.#memory!, own.pageSize);
  }

  #makeMemory(): ShadowMemory {
    const { own, topology } = this.#options;
    const data = this.#queues.slice(0, topology.queues & ~1);
    const control = this.#queues[topology.control];
    let areas: readonly ShadowArea[] | undefined;
    return {
      // A guest that is never shadowed needs none.
      get areas() {
        return areas ??= data.map((queue) => new ShadowArea(own, queue?.size ?? 1));
      },
      controlArea: control && new ShadowArea(own, control.size),
      pages: control && new CommandPages(own),
    };
  }

  /** Removes mappings; batches are per address space. */
  #unmap(mappings: readonly Mapping[]): void {
    this.#batches(mappings, (mapping) => this.#options.client.unmap(mapping));
  }

  /** Adds mappings to those that are left. */
  #map(removed: readonly Mapping[], mappings: readonly Mapping[]): void {
    this.#batches(mappings, (mapping) => this.#options.client.map(mapping));
    this.#mapped = [...this.#mapped.filter((mapping) => !removed.includes(mapping)), ...mappings];
  }

  #batches(mappings: readonly Mapping[], change: (mapping: Mapping) => void): void {
    const { client, batch } = this.#options;
    for (const asid of new Set(mappings.map((mapping) => mapping.asid))) {
      if (batch) client.beginBatch(asid);
      for (const mapping of mappings) if (mapping.asid === asid) change(mapping);
      if (batch) client.endBatch(asid);
    }
  }

  /**
   * Stops and resets the device and takes shadow queues out.
   *
   * @returns Where each queue goes on in the guest's available ring.
   */
  #takeDown(): number[] {
    const { client, backendFeatures } = this.#options;
    const canSuspend = hasBackendFeature(backendFeatures, "SUSPEND");
    if (canSuspend) client.suspend();
    else client.setStatus(0);
    const bases = this.#queues.map((queue, index) => {
      if (!queue || this.shadows[index]) return 0;
      return canSuspend ? client.base(index) : this.#usedIndex(queue);
    });
    if (canSuspend) client.setStatus(0);
    return bases.map((base, index) => {
      const next = this.shadows[index]?.stop() ?? base;
      this.#retire(index);
      return next;
    });
  }

  /** Forgets a shadow queue, but not what it has done. */
  #retire(index: number): void {
    const shadow = this.shadows[index];
    this.shadows[index] = undefined;
    if (shadow instanceof ShadowControl) this.#counts.commands += shadow.relayed;
    else if (shadow) this.#retired = sumCounters([this.#retired, shadow.counters]);
  }

  /** Where a device that cannot say it has stopped: what it used is what it took. */
  #usedIndex({ areas }: GuestQueue): number {
    const idx = new Uint8Array(2);
    this.#options.guest.space.read(areas.device + USED_IDX, idx);
    return idx[0]! | idx[1]! << 8;
  }

  #bringUp(path: DataPath, plan: MappingPlan, positions: readonly number[], remap: () => void): void {
    const { client, topology, backendFeatures } = this.#options;
    const whole = path === "passthrough"
      ? this.#features
      : this.#features & ~(ALL_TRANSPORT & ~SHADOW_TRANSPORT);
    const features = whole | featureMask("ACCESS_PLATFORM");
    client.setStatus(STATUS.ACKNOWLEDGE);
    client.setStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    client.setFeatures(features);
    client.setStatus(client.status | STATUS.FEATURES_OK);
    this.#bind(path, plan);
    remap();
    this.#path = path;
    const indexes = [...this.#queues.keys()].filter((index) => this.#queues[index]);
    for (const index of indexes) this.#setQueue(index, plan, positions[index]!, features);
    // Commands must be replayed before packets flow: data queues come last, if the device lets them.
    const late = hasBackendFeature(backendFeatures, "ENABLE_AFTER_DRIVER_OK");
    const data = indexes.filter((index) => index !== topology.control);
    if (this.#queues[topology.control]) client.enable(topology.control);
    if (!late) { for (const index of data) client.enable(index); }
    client.setStatus(client.status | STATUS.DRIVER_OK);
    const control = this.shadows[topology.control];
    if (control instanceof ShadowControl) this.#counts.replayed += control.replay();
    if (late) { for (const index of data) client.enable(index); }
    for (const index of indexes) this.kick(index);
  }

  #bind(path: DataPath, { controlIova }: MappingPlan): void {
    const { client, topology } = this.#options;
    const groups = new Set(path === "split" ? topology.descGroups : []);
    if (path !== "shadow" && controlIova !== undefined) {
      for (const group of topology.controlGroups) groups.add(group);
    }
    for (const group of groups) client.setGroupAsid(group, SHADOW_ASID);
    this.#counts.rebinds += groups.size;
  }

  #setQueue(index: number, plan: MappingPlan, base: number, features: bigint): void {
    const { client, topology, kick, interrupt } = this.#options;
    const { size, areas } = this.#queues[index]!;
    const isControl = index === topology.control;
    const iova = isControl ? plan.controlIova : plan.shadowIovas[index];
    if (iova === undefined) {
      client.setQueue(index, size, areas, base, kickFd(index), callFd(index));
      return;
    }
    const area = isControl ? this.#memory!.controlArea! : this.#memory!.areas[index]!;
    const guest = this.#guestQueue(index, base);
    const ring = area.ring(guest.name, features, iova);
    client.setQueue(index, size, ring.areas, 0, kickFd(index), callFd(index));
    const ends = { guest, ring, kick, interrupt };
    this.shadows[index] = isControl
      ? new ShadowControl({
        ...ends,
        pages: this.#memory!.pages!,
        iovas: plan.pageIovas,
        record: this.record,
      })
      : new ShadowQueue({
        ...ends,
        translation: plan.translated && new Translation(plan.translated),
      });
  }

  /** The guest's ring with the hypervisor as its device. */
  #guestQueue(index: number, base: number): DeviceQueue {
    const { guest, topology } = this.#options;
    const { size, areas } = this.#queues[index]!;
    const name = index === topology.control ? "ctrl" : `${index % 2 === 0 ? "rx" : "tx"}${index >> 1}`;
    const queue = new DeviceQueue(name, index, size, guest.space, guest.space, { ringMap: this.#guestRings });
    queue.start(size, areas, this.#features, base);
    return queue;
  }

  /** A doorbell of the guest. */
  kick(index: number): void {
    const shadow = this.shadows[index];
    if (shadow) shadow.forward();
    else this.#options.kick(index);
  }

  /** A call of the device. */
  called(index: number): void {
    const shadow = this.shadows[index];
    if (shadow) shadow.reclaim();
    else this.#options.interrupt(index);
  }

  /** Counters, documented in `counters.ts`. */
  counters(): Counters {
    const live = this.shadows.filter((shadow) => shadow instanceof ShadowQueue);
    const shadow = sumCounters([this.#retired, ...live.map((queue) => queue.counters)]);
    const counts = this.#counts;
    const control = this.shadows[this.#options.topology.control];
    const commands = control instanceof ShadowControl ? control.relayed : 0;
    return {
      "switch.count": counts.switches,
      "switch.regions": counts.regions,
      "switch.pages.mapped": counts.pagesMapped,
      "switch.pages.unmapped": counts.pagesUnmapped,
      "switch.no_desc_group.regions": counts.wholeRegions,
      "switch.no_desc_group.pages.mapped": counts.wholePagesMapped,
      "switch.no_desc_group.pages.unmapped": counts.wholePagesUnmapped,
      "group.rebinds": counts.rebinds,
      "shadow.chains": shadow.chains,
      "shadow.descriptors": shadow.descriptors,
      "shadow.used": shadow.used,
      "shadow.translations": shadow.translations,
      "shadow.parked": shadow.parked,
      "shadow.rewound": shadow.rewound,
      "control.commands": counts.commands + commands,
      "control.replayed": counts.replayed,
    };
  }

  /** The mappings and what is shadowed. */
  inspect(): Record<string, unknown> {
    return {
      path: this.#path,
      guest_asid: GUEST_ASID,
      mappings: this.#mapped,
      shadowed: [...this.shadows.keys()].filter((index) => this.shadows[index]),
    };
  }
}

/** The eventfd of a queue's kick; here it is but a number. */
export function kickFd(index: number): number {
  return 2 * index;
}

/** The eventfd of a queue's call. */
function callFd(index: number): number {
  return 2 * index + 1;
}

/** The queue of a call. */
export function queueOfCall(fd: number): number {
  return fd >> 1;
}
