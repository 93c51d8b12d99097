/**
 * gVNIC, Google's virtual NIC: admin queue, GQI and DQO queues, queue page lists and raw addressing.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { RingPair } from "@ringpipe/ringpipe";
 * import gve from "@ringpipe/ringpipe/plugins/gve";
 *
 * const pair = new RingPair(gve, { format: "gqi-qpl" });
 * pair.transmit(new Uint8Array(60).fill(7));
 * pair.service();
 * assertEquals(pair.receive(), [new Uint8Array(60).fill(7)]);
 * assertEquals(pair.counters()["tx.bounce_bytes"], 60);
 * ```
 *
 * @module
 */
import "./modules.ts";
import { faultSpecs } from "../../core/fault.ts";
import { OptionError, type OptionValues } from "../../core/options.ts";
import type { Host, Link, Plugin } from "../../core/plugin.ts";
import { deviceCounterSpecs, driverCounterSpecs } from "./counters.ts";
import { GveDevice } from "./device.ts";
import { GveDriver } from "./driver.ts";
import type { DriverSettings } from "./driver_settings.ts";
import { DEVICE_FAULTS, DRIVER_FAULTS } from "./faults.ts";
import { structures } from "./layout.ts";
import { optionSpecs, settingsFrom } from "./options.ts";

export * from "./constants.ts";
export type { DeviceSettings, OfferedOption } from "./device_settings.ts";
export type { DriverKind, DriverSettings } from "./driver_settings.ts";
export { GveDevice } from "./device.ts";
export { GveDriver } from "./driver.ts";
export type { Bus } from "./registers.ts";
export { DEVICE_FAULTS, type DeviceFault, DRIVER_FAULTS, type DriverFault } from "./faults.ts";
export { type Settings, settingsFrom } from "./options.ts";
export { TransmitRequest, UNMAPPED } from "./transmit_request.ts";
export * from "./layout.ts";

/** Both halves, and the driver brought up. */
function open(options: OptionValues, host: Host): Link {
  const settings = settingsFrom(options);
  // No interrupt comes before the driver has armed one, and then only while the device works.
  const device = new GveDevice(host.space, settings.device, (vector) => driver.interrupt(vector), host.clock);
  const driver: GveDriver = bringUp(device, host, settings.driver);
  return { driver, device, batch: options.integer("batch") };
}

/** The driver. Rings and page lists that memory cannot hold are the user's mistake. */
function bringUp(device: GveDevice, host: Host, settings: DriverSettings): GveDriver {
  try {
    return new GveDriver(device, host.dma, host.space, host.clock, settings);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new OptionError(`the rings and page lists asked for do not fit: ${error.message}`);
  }
}

/** The backend. */
const plugin: Plugin = {
  api: 1,
  name: "gve",
  summary: "Google's gVNIC: admin queue, GQI and DQO, queue page lists and raw addressing",
  options: optionSpecs,
  counters: [...driverCounterSpecs, ...deviceCounterSpecs],
  structures,
  faults: [...faultSpecs(DRIVER_FAULTS, "driver"), ...faultSpecs(DEVICE_FAULTS, "device")],
  open,
};

export default plugin;
