/**
 * Serves a virtio-net device to drivers in other processes over vhost-user: QEMU guests, DPDK. Linux only; needs
 * `--allow-ffi`.
 *
 * What is beyond the device is a {@linkcode Port} of the caller's: here one that counts and sends nothing.
 *
 * ```ts ignore
 * import { featureMask, type Port, VhostUserServer } from "@ringpipe/ringpipe/vhost-user";
 *
 * let frames = 0;
 * const port: Port = {
 *   transmit: () => ++frames > 0,
 *   drop: () => {},
 *   feed: () => 0,
 *   due: () => Infinity,
 *   rest: () => {},
 *   blocked: false,
 *   done: false,
 * };
 * const features = featureMask("VERSION_1", "INDIRECT_DESC", "EVENT_IDX", "MRG_RXBUF");
 * const server = new VhostUserServer({ path: "/tmp/net.sock", features, port, log: console.error });
 * Deno.addSignalListener("SIGINT", () => server.stop());
 * await server.run();
 * ```
 *
 * @module
 */
export { type Feature, FEATURE_BITS, featureMask } from "../../plugins/virtio/features.ts";
export { SystemError } from "../libc.ts";
export { type Port, VhostUserServer, type VhostUserServerOptions } from "./server.ts";
