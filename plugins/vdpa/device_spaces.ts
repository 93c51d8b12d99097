/**
 * All address spaces of a vDPA device, and which group is bound to which.
 *
 * @module
 */
import { DeviceSpace } from "./device_space.ts";
import { LAST_ADDRESS } from "./iotlb.ts";
import { VHOST_ACCESS } from "./layout.ts";
import type { VdpaModel } from "./models.ts";
import type { ProcessMemory } from "./process_memory.ts";

/** See the module. Spaces come into being when they are first used. */
export class DeviceSpaces {
  readonly #identity: VdpaModel["identity"];
  readonly #process: ProcessMemory;
  readonly #spaces: Map<number, DeviceSpace> = new Map();
  readonly #asidOf: Uint32Array;
  /** Spaces that still map every address to itself. */
  readonly #untouched: Set<number> = new Set();

  /** Begins with every group in space 0. */
  constructor(identity: VdpaModel["identity"], groups: number, process: ProcessMemory) {
    this.#identity = identity;
    this.#process = process;
    this.#asidOf = new Uint32Array(groups);
  }

  /** The spaces that were ever used. */
  get used(): readonly DeviceSpace[] {
    return [...this.#spaces.values()];
  }

  /** The space of each group, by group. */
  get bindings(): readonly number[] {
    return [...this.#asidOf];
  }

  /** A space by number. */
  space(asid: number): DeviceSpace {
    let space = this.#spaces.get(asid);
    if (!space) {
      space = new DeviceSpace(asid, this.#process);
      this.#spaces.set(asid, space);
      this.#mapIdentity(space);
    }
    return space;
  }

  /** A space about to be changed: the first change ends its mapping each address to itself. */
  changing(asid: number): DeviceSpace {
    const space = this.space(asid);
    if (this.#untouched.delete(asid)) space.clear();
    return space;
  }

  /** Gives a space the mappings of a fresh device. */
  refresh(asid: number): void {
    const space = this.space(asid);
    space.clear();
    this.#mapIdentity(space);
  }

  /** What a fresh device maps, if anything: each address to itself. */
  #mapIdentity(space: DeviceSpace): void {
    if (this.#identity === "none" || (this.#identity === "first" && space.asid > 0)) return;
    this.#untouched.add(space.asid);
    space.map({ start: 0n, last: LAST_ADDRESS, addr: 0n, perm: VHOST_ACCESS.RW });
  }

  /** Binds a group to a space. */
  bind(group: number, asid: number): void {
    this.#asidOf[group] = asid;
  }

  /** Binds every group to space 0. */
  unbind(): void {
    this.#asidOf.fill(0);
  }

  /** The space through which a group translates. */
  of(group: number): DeviceSpace {
    return this.space(this.#asidOf[group]!);
  }
}
