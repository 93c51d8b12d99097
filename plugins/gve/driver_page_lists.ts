/**
 * The driver's page lists: registered before their queues, unregistered after them.
 *
 * @module
 */
import { OPCODE, PAGE } from "./constants.ts";
import type { DriverCounters } from "./counters.ts";
import type { DriverSetup } from "./driver_setup.ts";
import { driverFault } from "./faults.ts";
import * as layout from "./layout_admin.ts";
import { gve_page_list_entry } from "./layout_records.ts";

const ENTRY = gve_page_list_entry.size;
const ADDR = gve_page_list_entry.offsetOf("addr");
const UPPER_HALF = 2 ** 32;

/** All of them. */
export class DriverPageLists {
  readonly #setup: DriverSetup;
  readonly #counters: DriverCounters;
  readonly #ids: number[] = [];
  #pages = 0;

  /** Starts with none. */
  constructor(setup: DriverSetup, counters: DriverCounters) {
    this.#setup = setup;
    this.#counters = counters;
  }

  /**
   * Registers 4096-byte pages under a number.
   *
   * @throws {RingFault} If there are more than the device takes, or it refuses them.
   */
  register(id: number, addresses: readonly number[]): void {
    const { admin, device, dma } = this.#setup;
    this.#pages += addresses.length;
    if (this.#pages > device.maxPages) {
      throw driverFault("adminq", "admin-status", 0, {
        command: "register_page_list",
        pages: this.#pages,
        max_registered_pages: device.maxPages,
      });
    }
    const list = this.#setup.allocate(addresses.length * ENTRY, PAGE);
    const { view } = dma.memory;
    let at = list.offset + ADDR;
    for (const address of addresses) {
      const high = Math.floor(address / UPPER_HALF);
      view.setUint32(at, high);
      view.setUint32(at + 4, address - high * UPPER_HALF);
      at += ENTRY;
    }
    const status = admin.execute(OPCODE.REGISTER_PAGE_LIST, layout.register_page_list_24, {
      page_list_id: id,
      num_pages: addresses.length,
      page_address_list_addr: list.address,
      page_size: PAGE,
    });
    admin.require(status, "register_page_list");
    this.#ids.push(id);
    this.#counters.pagesRegistered += addresses.length;
  }

  /** Registers pages that follow one another. */
  registerRun(id: number, address: number, pages: number): void {
    this.register(id, Array.from({ length: pages }, (_, i) => address + i * PAGE));
  }

  /**
   * Unregisters all.
   *
   * @throws {RingFault} If the device refuses.
   */
  unregister(): void {
    const { admin } = this.#setup;
    for (const page_list_id of this.#ids) {
      const status = admin.execute(OPCODE.UNREGISTER_PAGE_LIST, layout.unregister_page_list, {
        page_list_id,
      });
      admin.require(status, "unregister_page_list");
    }
  }
}
