/**
 * ringpipe moves packets through real NIC rings, byte for byte.
 *
 * @module
 */
export * from "./core/address_space.ts";
export * from "./core/checksum.ts";
export * from "./core/clock.ts";
export * from "./core/counters.ts";
export * from "./core/dma_memory.ts";
export * from "./core/fault.ts";
export * from "./core/flow.ts";
export * from "./core/frame.ts";
export * from "./core/host.ts";
export * from "./core/index.ts";
export * from "./core/layout.ts";
export * from "./core/memory.ts";
export * from "./core/nearest.ts";
export * from "./core/options.ts";
export * from "./core/plugin.ts";
export * from "./core/pump.ts";
export * from "./core/ring_pair.ts";
export * from "./core/toeplitz.ts";
export * from "./plugins/registry.ts";
