/**
 * ringpipe moves packets through real NIC rings, byte for byte.
 *
 * A driver half and a device half share nothing but bytes in memory and doorbells. {@linkcode RingPair} puts them
 * opposite each other, and the program in between decides who works when, and may look at every byte:
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadBackend, RingPair } from "@ringpipe/ringpipe";
 * import { vring_desc } from "@ringpipe/ringpipe/plugins/virtio";
 *
 * const ring = new RingPair(await loadBackend("virtio"), { "queue-size": 4 });
 * const frame = new TextEncoder().encode("any bytes can be a frame");
 * ring.transmit(frame); // the driver half fills descriptors, publishes them and rings the doorbell
 *
 * const [, tx] = ring.link.driver.inspect().queues as [unknown, { areas: { desc: number } }];
 * const descriptor = ring.structAt(vring_desc, tx.areas.desc);
 * console.log(descriptor); // { addr: ..., len: 36, flags: 0, next: 1 }: 12 bytes of net header, and the frame
 *
 * ring.service(); // the device half reads them, and writes the frame into a receive buffer
 * assertEquals(ring.receive(), [frame]);
 * ```
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
export * from "./core/frame_batch.ts";
export * from "./core/host.ts";
export * from "./core/index.ts";
export * from "./core/layout.ts";
export * from "./core/memory.ts";
export * from "./core/nearest.ts";
export * from "./core/options.ts";
export * from "./core/plugin.ts";
export * from "./core/plugin_check.ts";
export * from "./core/pump.ts";
export * from "./core/ring_pair.ts";
export * from "./core/toeplitz.ts";
export * from "./plugins/registry.ts";
