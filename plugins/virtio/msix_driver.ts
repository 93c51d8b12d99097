/**
 * MSI-X on the driver's side: fills the table and says which event has which vector.
 *
 * @module
 */
import type { Registers } from "../../core/plugin.ts";
import type { MsixPlace } from "./pci_discovery.ts";
import { pci_msix_cap, pci_msix_entry } from "./pci_layout.ts";

const ENABLE = pci_msix_cap.maskOf("enable");
const FUNCTION_MASK = pci_msix_cap.maskOf("function_mask");
const ENTRY_SIZE = pci_msix_entry.size;
const LOWER_ADDR = pci_msix_entry.offsetOf("lower_addr");
const UPPER_ADDR = pci_msix_entry.offsetOf("upper_addr");
const DATA = pci_msix_entry.offsetOf("data");
const VECTOR_CTRL = pci_msix_entry.offsetOf("vector_ctrl");
/** Where the interrupt controllers of PCs take messages. Who carries them here looks at the data alone. */
const MESSAGE_ADDRESS = 0xfee0_0000;
/** Data of the message that says that the configuration has changed: no queue has this number. */
const CONFIG_MESSAGE = 0xffff;
/** The vector of configuration changes; those of the queues follow. */
export const CONFIG_VECTOR: number = 0;

/** Vectors that are set up. */
export class DriverVectors {
  /** How many there are. */
  readonly count: number;

  /** Turns MSI-X on: the data of a queue's message is its number, as long as there are vectors enough. */
  constructor(config: Registers, bar: Registers, { control, table, vectors }: MsixPlace) {
    this.count = vectors;
    config.write(control, 2, ENABLE | FUNCTION_MASK);
    for (let vector = 0; vector < vectors; vector++) {
      const at = table + vector * ENTRY_SIZE;
      bar.write(at + LOWER_ADDR, 4, MESSAGE_ADDRESS);
      bar.write(at + UPPER_ADDR, 4, 0);
      bar.write(at + DATA, 4, vector === CONFIG_VECTOR ? CONFIG_MESSAGE : vector - 1);
      bar.write(at + VECTOR_CTRL, 4, 0);
    }
    config.write(control, 2, ENABLE);
  }

  /** The vector of a queue: of its own, or shared where there are fewer. */
  of(queue: number): number {
    return 1 + queue % (this.count - 1);
  }
}
