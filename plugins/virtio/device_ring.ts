/**
 * The memory of one split virtqueue as its device sees it: where the three parts lie, and the indices and flags in them.
 *
 * @module
 */
import { type AddressSpace, READ, READ_WRITE, type Region } from "../../core/address_space.ts";
import { RingFault } from "../../core/fault.ts";
import { isPowerOfTwo } from "../../core/index.ts";
import { Memory } from "../../core/memory.ts";
import type { DeviceFaultCode, Profile } from "./faults.ts";
import {
  VIRTQUEUE_MAX_SIZE,
  vring_avail,
  VRING_AVAIL_F_NO_INTERRUPT,
  vring_used,
  VRING_USED_F_NO_NOTIFY,
} from "./layout.ts";
import {
  AVAIL_ALIGN,
  availBytes,
  DESC_ALIGN,
  descBytes,
  type RingAddresses,
  USED_ALIGN,
  usedBytes,
} from "./ring_areas.ts";

const AVAIL_FLAGS = vring_avail.offsetOf("flags");
const AVAIL_IDX = vring_avail.offsetOf("idx");
/** Counted back from the end of the ring. */
const USED_EVENT = vring_avail.offsetOf("used_event");
const USED_FLAGS = vring_used.offsetOf("flags");
const USED_IDX = vring_used.offsetOf("idx");
/** Counted back from the end of the ring. */
const AVAIL_EVENT = vring_used.offsetOf("avail_event");
const NO_INTERRUPT = VRING_AVAIL_F_NO_INTERRUPT;
const NO_NOTIFY = VRING_USED_F_NO_NOTIFY;

/** See the module. What reads or writes entries does so itself, through the views: it takes them over before its loop. */
export class DeviceRing {
  /** For fault messages. */
  readonly name: string;
  /** How odd chains are judged. */
  readonly profile: Profile;
  /** Whether that is strict. */
  readonly strict: boolean;
  /** Whether the queue is started and not broken. */
  running = false;
  /** The fault that stopped it, if one did. */
  broken: RingFault | undefined;
  /** Number of entries. */
  size = 0;
  /** One less: what makes a slot of an index. */
  mask = 0;
  /** Whether EVENT_IDX was negotiated. */
  eventIdx = false;
  /** Addresses of the three parts. */
  areas: RingAddresses = { desc: 0, driver: 0, device: 0 };
  /** Where the descriptor table is: the memory, and the offset there. */
  descView: DataView = new Memory(0).view;
  desc = 0;
  /** The same of the available ring. */
  availView: DataView = this.descView;
  avail = 0;
  /** The same of the used ring. */
  usedView: DataView = this.descView;
  used = 0;
  readonly #shared: boolean;
  #availWords: Uint16Array = new Uint16Array(2);
  #usedWords: Uint16Array = this.#availWords;
  #generation = -1;

  /** Makes a ring that is nowhere yet. If it is `shared`, accesses to its indices are atomic and ordered. */
  constructor(name: string, profile: Profile, shared: boolean) {
    this.name = name;
    this.profile = profile;
    this.strict = profile === "strict";
    this.#shared = shared;
  }

  /**
   * Takes over size and addresses; {@linkcode refresh} looks the parts up.
   *
   * @throws {RingFault} If the size or an alignment is bad.
   */
  start(size: number, maxSize: number, areas: RingAddresses, eventIdx: boolean): void {
    this.broken = undefined;
    if (!isPowerOfTwo(size) || size > Math.min(maxSize, VIRTQUEUE_MAX_SIZE)) {
      this.fault("bad-queue-size", size, { max: maxSize });
    }
    if (areas.desc % DESC_ALIGN || areas.driver % AVAIL_ALIGN || areas.device % USED_ALIGN) {
      this.fault("misaligned-ring", 0, { ...areas });
    }
    this.size = size;
    this.mask = size - 1;
    this.areas = areas;
    this.eventIdx = eventIdx;
    this.#generation = -1;
  }

  /**
   * Looks the parts up if the map has changed.
   *
   * @param rings Where they are.
   * @throws {RingFault} If a part is not mapped.
   */
  refresh(rings: AddressSpace): void {
    if (rings.generation === this.#generation) return;
    const { size } = this;
    const { desc, driver, device } = this.areas;
    const part = (address: number, length: number, access: number): Region =>
      rings.contiguous(address, length, access) ?? this.fault("bad-ring-address", 0, { address, length });
    const descRegion = part(desc, descBytes(size), READ);
    const availRegion = part(driver, availBytes(size), READ);
    const usedRegion = part(device, usedBytes(size), READ_WRITE);
    this.descView = descRegion.memory.view;
    this.desc = descRegion.offsetOf(desc);
    this.availView = availRegion.memory.view;
    this.avail = availRegion.offsetOf(driver);
    this.usedView = usedRegion.memory.view;
    this.used = usedRegion.offsetOf(device);
    if (this.#shared) {
      this.#availWords = new Uint16Array(this.availView.buffer, this.avail, availBytes(size) >> 1);
      this.#usedWords = new Uint16Array(this.usedView.buffer, this.used, 2);
    }
    this.#generation = rings.generation;
  }

  /** Whether the map is still the one in which the parts were looked up. */
  isCurrent(rings: AddressSpace): boolean {
    return rings.generation === this.#generation;
  }

  /**
   * Raises a fault and breaks the queue: it serves nothing more until it is started again.
   *
   * @throws {RingFault} Always.
   */
  fault(code: DeviceFaultCode, index: number, values: Record<string, number | bigint | string> = {}): never {
    this.running = false;
    this.broken = new RingFault("device", this.name, code, index, values);
    throw this.broken;
  }

  /** Reads avail.idx. In shared memory an atomic load, which also keeps later reads behind it. */
  loadAvailIdx(): number {
    if (this.#shared) return Atomics.load(this.#availWords, AVAIL_IDX >> 1);
    return this.availView.getUint16(this.avail + AVAIL_IDX, true);
  }

  /**
   * Writes used.idx. The store must not become visible before the elements, nor may used_event or the flags be read
   * before it (2.7.8.1): an atomic access orders both.
   */
  storeUsedIdx(idx: number): void {
    if (this.#shared) Atomics.store(this.#usedWords, USED_IDX >> 1, idx);
    else this.usedView.setUint16(this.used + USED_IDX, idx, true);
  }

  /**
   * Reads used_event.
   *
   * @param at Index of the chain that a fault is to name.
   * @throws {RingFault} If flags are set, too.
   */
  loadUsedEvent(at: number): number {
    if (this.strict && this.#loadAvailFlags(at) !== 0) this.fault("avail-flags", at);
    return this.availView.getUint16(this.avail + availBytes(this.size) + USED_EVENT, true);
  }

  /**
   * Whether the driver's flags ask for interrupts.
   *
   * @param at Index of the chain that a fault is to name.
   * @throws {RingFault} If there are unknown ones.
   */
  wantsInterrupts(at: number): boolean {
    return (this.#loadAvailFlags(at) & NO_INTERRUPT) === 0;
  }

  #loadAvailFlags(at: number): number {
    const flags = this.#shared
      ? Atomics.load(this.#availWords, AVAIL_FLAGS >> 1)
      : this.availView.getUint16(this.avail + AVAIL_FLAGS, true);
    if (flags & ~NO_INTERRUPT && this.strict) this.fault("avail-flags", at, { flags });
    return flags;
  }

  /** Asks the driver for no kicks: a hint. With EVENT_IDX the event index simply stays behind. */
  disableNotify(): void {
    if (!this.eventIdx) this.usedView.setUint16(this.used + USED_FLAGS, NO_NOTIFY, true);
  }

  /** Asks the driver for a kick with the chain of this index. Then avail.idx must be read once more. */
  enableNotify(index: number): void {
    if (this.eventIdx) this.usedView.setUint16(this.used + usedBytes(this.size) + AVAIL_EVENT, index, true);
    else this.usedView.setUint16(this.used + USED_FLAGS, 0, true);
    // The store above must be visible before avail.idx is read again: the atomic exchange is a full barrier.
    if (this.#shared) Atomics.or(this.#usedWords, USED_FLAGS >> 1, 0);
  }
}
