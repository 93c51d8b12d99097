/**
 * Loads the modules of the backend in one go. Deno works through the whole source map of every module that is the first
 * to name another one, which takes longer than loading it: here a short one names them all.
 *
 * @module
 */
import "../../core/fault.ts";
import "../../core/flow.ts";
import "../../core/frame.ts";
import "../../core/toeplitz.ts";
import "./control_layout.ts";
import "./control_queue.ts";
import "./counters.ts";
import "./descriptor_snapshots.ts";
import "./descriptor_states.ts";
import "./device.ts";
import "./device_available.ts";
import "./device_chain.ts";
import "./device_fill.ts";
import "./device_queue.ts";
import "./device_receive.ts";
import "./device_ring.ts";
import "./device_transmit.ts";
import "./device_used.ts";
import "./driver.ts";
import "./driver_available.ts";
import "./driver_control.ts";
import "./driver_descriptors.ts";
import "./driver_negotiation.ts";
import "./driver_queue.ts";
import "./driver_ring.ts";
import "./driver_used.ts";
import "./faults.ts";
import "./features.ts";
import "./layout.ts";
import "./msix.ts";
import "./msix_driver.ts";
import "./pci_base.ts";
import "./pci_config_space.ts";
import "./pci_device.ts";
import "./pci_discovery.ts";
import "./pci_driver.ts";
import "./pci_layout.ts";
import "./pci_legacy.ts";
import "./pci_window.ts";
import "./receive_hash.ts";
import "./receive_queue.ts";
import "./ring_areas.ts";
import "./ring_map.ts";
import "./steering.ts";
import "./transmit_queue.ts";
import "./transport.ts";
