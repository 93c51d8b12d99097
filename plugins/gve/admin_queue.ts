/**
 * The driver's side of the admin queue.
 *
 * @module
 */
import type { DmaMemory } from "../../core/dma_memory.ts";
import { distance32 } from "../../core/index.ts";
import type { Struct, ValuesInput } from "../../core/layout.ts";
import type { Registers } from "../../core/plugin.ts";
import { ADMIN_SLOTS, DEVICE_STATUS, DRIVER_STATUS, PAGE, STATUS } from "./constants.ts";
import type { DriverCounters } from "./counters.ts";
import type { DriverSettings } from "./driver_settings.ts";
import { driverFault } from "./faults.ts";
import { gve_adminq_command, gve_registers } from "./layout_admin.ts";
import { read32, write32 } from "./registers.ts";

const SLOT = gve_adminq_command.size;
const STATUS_AT = gve_adminq_command.offsetOf("status");
const PFN = gve_registers.offsetOf("adminq_pfn");
const DOORBELL = gve_registers.offsetOf("adminq_doorbell");
const EVENT_COUNTER = gve_registers.offsetOf("adminq_event_counter");
const BASE_HI = gve_registers.offsetOf("adminq_base_address_hi");
const BASE_LO = gve_registers.offsetOf("adminq_base_address_lo");
const LENGTH = gve_registers.offsetOf("adminq_length");
const DEVICE_STATUS_AT = gve_registers.offsetOf("device_status");
const DRIVER_STATUS_AT = gve_registers.offsetOf("driver_status");
/** How often the driver looks before it gives up (Linux: 20 ms apart). */
const POLLS = 100;

/** Name of a status, for messages. */
export function statusName(status: number): string {
  return Object.entries(STATUS).find(([, value]) => value === status)?.[0] ?? `0x${status.toString(16)}`;
}

/** A page of 64 commands, free-running counters on both sides. */
export class AdminQueue {
  readonly #registers: Registers;
  readonly #memory: DmaMemory;
  readonly #revision: number;
  readonly #ipxe: boolean;
  readonly #counters: DriverCounters;
  readonly #page: { readonly offset: number; readonly address: number };
  /** Commands posted. */
  #posted = 0;
  /** Commands whose status was read. */
  #completed = 0;

  /** Takes a page; {@linkcode attach} shows it to the device. */
  constructor(
    registers: Registers,
    memory: DmaMemory,
    settings: Pick<DriverSettings, "kind" | "revision">,
    counters: DriverCounters,
  ) {
    this.#registers = registers;
    this.#memory = memory;
    this.#revision = settings.revision;
    this.#ipxe = settings.kind === "ipxe";
    this.#counters = counters;
    this.#page = memory.allocate(PAGE, PAGE);
  }

  /** Whether the device has lost the queue: it was reset from outside. */
  get gone(): boolean {
    return this.#revision === 0 && read32(this.#registers, PFN) === 0;
  }

  /** Tells the device where the queue is; both counters start at 0. */
  attach(): void {
    const { address } = this.#page;
    this.#posted = 0;
    this.#completed = 0;
    this.#memory.memory.bytes.fill(0, this.#page.offset, this.#page.offset + PAGE);
    // iPXE writes both sets of registers, whichever there is.
    if (this.#revision === 0 || this.#ipxe) write32(this.#registers, PFN, address / PAGE);
    if (this.#revision === 0 && !this.#ipxe) return;
    const length = new DataView(new ArrayBuffer(2));
    length.setUint16(0, PAGE);
    this.#registers.write(LENGTH, 2, length.getUint16(0, true));
    write32(this.#registers, BASE_HI, Math.floor(address / 4294967296));
    write32(this.#registers, BASE_LO, address % 4294967296);
    write32(this.#registers, DRIVER_STATUS_AT, DRIVER_STATUS.RUN);
  }

  /**
   * Resets the device and waits until it is in reset: only then is memory the driver's again.
   *
   * @throws {RingFault} If that never happens.
   */
  release(): void {
    // A device that is in reset already may carry out another one later: iPXE leaves it alone.
    if (this.#ipxe && read32(this.#registers, PFN) === 0) return;
    if (this.#revision === 0) write32(this.#registers, PFN, 0);
    else write32(this.#registers, DRIVER_STATUS_AT, DRIVER_STATUS.RESET);
    for (let i = 0; i < POLLS; i++) {
      const done = this.#revision === 0
        ? read32(this.#registers, PFN) === 0
        : (read32(this.#registers, DEVICE_STATUS_AT) & DEVICE_STATUS.IN_RESET) !== 0;
      if (done) return;
    }
    throw driverFault("adminq", "admin-timeout", this.#posted, { polls: POLLS });
  }

  /** Puts a command into the next slot. Flushes first if only one slot is left, as Linux does. */
  post(opcode: number, command: Struct, values: ValuesInput): void {
    if (distance32(this.#posted, this.#completed) === ADMIN_SLOTS - 1) this.flush();
    const at = this.#page.offset + (this.#posted % ADMIN_SLOTS) * SLOT;
    this.#memory.memory.bytes.set(command.encode({ ...values, opcode }), at);
    this.#posted = (this.#posted + 1) >>> 0;
    this.#counters.command(opcode);
  }

  /**
   * Rings the doorbell and waits for all posted commands.
   *
   * @returns The first status that is not PASSED, or PASSED. The commands behind it were carried out all the same.
   * @throws {RingFault} If the device does not complete them, or its counter runs away.
   */
  flush(): number {
    this.#counters.adminDoorbells++;
    write32(this.#registers, DOORBELL, this.#posted);
    let counter = this.#completed;
    for (let i = 0; i < POLLS && counter !== this.#posted; i++) {
      counter = read32(this.#registers, EVENT_COUNTER);
      if (distance32(counter, this.#completed) > distance32(this.#posted, this.#completed)) {
        throw driverFault("adminq", "admin-counter", this.#posted, { event_counter: counter });
      }
    }
    if (counter !== this.#posted) {
      throw driverFault("adminq", "admin-timeout", this.#posted, { event_counter: counter, polls: POLLS });
    }
    let result = STATUS.PASSED;
    for (; this.#completed !== this.#posted; this.#completed = (this.#completed + 1) >>> 0) {
      const at = this.#page.offset + (this.#completed % ADMIN_SLOTS) * SLOT;
      const status = this.#memory.memory.view.getUint32(at + STATUS_AT);
      if (result === STATUS.PASSED) result = status;
    }
    return result;
  }

  /** Posts one command and waits for it. Returns its status. */
  execute(opcode: number, command: Struct, values: ValuesInput): number {
    this.post(opcode, command, values);
    return this.flush();
  }

  /**
   * Throws if a status is not PASSED.
   *
   * @throws {RingFault} With the status' name.
   */
  require(status: number, command: string): void {
    if (status === STATUS.PASSED) return;
    throw driverFault("adminq", "admin-status", this.#completed, { command, status: statusName(status) });
  }
}
