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
import "./control_ring.ts";
import "./control_server.ts";
import "./counters.ts";
import "./device.ts";
import "./device_counters.ts";
import "./device_rx.ts";
import "./device_tx.ts";
import "./device_tx_batch.ts";
import "./domain_layout.ts";
import "./driver.ts";
import "./driver_counters.ts";
import "./driver_queue.ts";
import "./driver_rx.ts";
import "./driver_tx.ts";
import "./event_channel.ts";
import "./event_layout.ts";
import "./faults.ts";
import "./frontend_options.ts";
import "./grant_entries.ts";
import "./grant_layout.ts";
import "./grant_operations_layout.ts";
import "./grant_table.ts";
import "./hash.ts";
import "./layout.ts";
import "./multicast.ts";
import "./page_pool.ts";
import "./shared_ring.ts";
import "./static_grants.ts";
import "./static_pool.ts";
import "./tx_packet.ts";
import "./xenbus.ts";
import "./xenstore_layout.ts";
