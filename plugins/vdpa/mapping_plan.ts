/**
 * Which memory is mapped where, in each state that the hypervisor can bring a device into.
 *
 * @module
 */
import { pagesOf } from "./iotlb.ts";
import type { GuestMemory } from "./guest_memory.ts";
import { IovaAllocator } from "./iova_allocator.ts";
import { VHOST_ACCESS } from "./layout.ts";
import type { ShadowArea, SharedPiece } from "./shadow_area.ts";
import type { CommandPages } from "./shadow_control.ts";
import { GUEST_ASID, SHADOW_ASID, type Topology } from "./topology.ts";
import type { TranslatedSection } from "./translation.ts";
import type { Mapping } from "./vhost_client.ts";

/**
 * How the data queues are driven: by the guest; through shadow rings that have an address space of their own; or through
 * shadow rings in the guest's space, in which the guest's memory then lies elsewhere.
 */
export type DataPath = "passthrough" | "split" | "shadow";

/** What is shadowed, and with which memory. */
export interface ShadowMemory {
  /** Area of each data queue's shadow ring, by index. */
  readonly areas: readonly ShadowArea[];
  /** Area of the control queue's shadow ring, if it has one. */
  readonly controlArea: ShadowArea | undefined;
  /** Pages for control commands, likewise. */
  readonly pages: CommandPages | undefined;
}

/** All mappings of one state. */
export interface MappingPlan {
  /** The mappings. */
  readonly mappings: readonly Mapping[];
  /** Where the device sees each data queue's shadow area; empty in passthrough. */
  readonly shadowIovas: readonly number[];
  /** Where it sees the control queue's shadow area; only if the control queue is shadowed. */
  readonly controlIova: number | undefined;
  /** Where it sees the command page and the ack page. */
  readonly pageIovas: readonly [number, number];
  /** Where it sees guest memory, if not at the guest's own addresses. */
  readonly translated: readonly TranslatedSection[] | undefined;
}

/** Makes the plan of a state. Equal states get equal plans, so what two have in common can stay mapped. */
export function planMappings(
  path: DataPath,
  topology: Topology,
  guest: GuestMemory,
  shadow: ShadowMemory,
  pageSize: number,
): MappingPlan {
  const mappings: Mapping[] = [];
  const guestIovas = new IovaAllocator(pageSize);
  const shadowIovas = path === "shadow" ? guestIovas : new IovaAllocator(pageSize);
  const asid = path === "shadow" ? GUEST_ASID : SHADOW_ASID;
  const add = (pieces: readonly SharedPiece[]): number[] =>
    pieces.map(({ uaddr, size, perm }) => {
      const iova = shadowIovas.allocate(size);
      mappings.push({ asid, iova, size, uaddr, perm });
      return iova;
    });

  const translated: TranslatedSection[] = [];
  for (const { gpa, size, uaddr } of guest.sections) {
    const iova = path === "shadow" ? guestIovas.allocate(size) : gpa;
    mappings.push({ asid: GUEST_ASID, iova, size, uaddr, perm: VHOST_ACCESS.RW });
    translated.push({ gpa, size, iova });
  }
  let controlIova: number | undefined;
  let pageIovas: [number, number] = [0, 0];
  const { controlArea, pages } = shadow;
  if (controlArea && pages && (path !== "passthrough" || topology.controlGroups.length > 0)) {
    controlIova = add(controlArea.pieces)[0]!;
    const [command, ack] = add(pages.pieces);
    pageIovas = [command!, ack!];
  }
  const iovas = path === "passthrough" ? [] : shadow.areas.map((area) => add(area.pieces)[0]!);
  return {
    mappings,
    shadowIovas: iovas,
    controlIova,
    pageIovas,
    translated: path === "shadow" ? translated : undefined,
  };
}

/** What has to be done to get from one set of mappings to another. */
export interface MappingChange {
  /** To be removed. */
  readonly unmap: readonly Mapping[];
  /** To be added. */
  readonly map: readonly Mapping[];
}

function same(a: Mapping, b: Mapping): boolean {
  return a.asid === b.asid && a.iova === b.iova && a.size === b.size && a.uaddr === b.uaddr &&
    a.perm === b.perm;
}

/** The difference of two sets of mappings; everything, if nothing is kept. */
export function changeMappings(
  from: readonly Mapping[],
  to: readonly Mapping[],
  keep: boolean,
): MappingChange {
  if (!keep) return { unmap: from, map: to };
  return {
    unmap: from.filter((mapping) => !to.some((other) => same(mapping, other))),
    map: to.filter((mapping) => !from.some((other) => same(mapping, other))),
  };
}

/** Pages that some mappings touch. */
export function mappingPages(mappings: readonly Mapping[], pageSize: number): number {
  return mappings.reduce(
    (sum, { iova, size }) => sum + pagesOf(BigInt(iova), BigInt(iova + size - 1), pageSize),
    0,
  );
}
