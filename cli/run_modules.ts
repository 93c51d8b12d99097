/**
 * Loads the modules of a run in one go. Deno works through the whole source map of every module that is the first
 * to name another one, which takes longer than loading it: here a short one names them all.
 *
 * @module
 */
import "../core/address_space.ts";
import "../core/clock.ts";
import "../core/copy_module.ts";
import "../core/dma_memory.ts";
import "../core/frame_batch.ts";
import "../core/host.ts";
import "../core/index.ts";
import "../core/layout.ts";
import "../core/layout_member.ts";
import "../core/layout_place.ts";
import "../core/memory.ts";
import "../core/options.ts";
import "../core/plugin.ts";
import "../core/pump.ts";
import "../pcap/capture_error.ts";
import "../pcap/classic.ts";
import "../pcap/layout.ts";
import "../pcap/link_types.ts";
import "../pcap/scanner.ts";
import "../pcap/sniff.ts";
import "../plugins/registry.ts";
import "./files.ts";
import "./flags.ts";
import "./option_values.ts";
import "./pipe.ts";
import "./pipe_carrier.ts";
import "./pipe_intake.ts";
import "./pipe_outlet.ts";
import "./pipe_recognise.ts";
import "./pipe_run.ts";
import "./plugins.ts";
import "./progress.ts";
import "./table.ts";
import "./unknown.ts";
