/**
 * The four queue formats.
 *
 * @module
 */
import { OPTION, QUEUE_FORMAT } from "./constants.ts";
import type { DriverKind } from "./driver_settings.ts";

/** The formats by the id of their option. */
export const FORMAT_OPTIONS: ReadonlyMap<number, number> = new Map([
  [OPTION.GQI_RAW_ADDRESSING, QUEUE_FORMAT.GQI_RDA],
  [OPTION.GQI_RDA, QUEUE_FORMAT.GQI_RDA],
  [OPTION.GQI_QPL, QUEUE_FORMAT.GQI_QPL],
  [OPTION.DQO_RDA, QUEUE_FORMAT.DQO_RDA],
  [OPTION.DQO_QPL, QUEUE_FORMAT.DQO_QPL],
]);

/** Options that stand for a format, those first that a driver prefers. Without any of them it takes GQI_QPL. */
const PREFERENCES: Readonly<Record<DriverKind, readonly number[]>> = {
  linux: [OPTION.DQO_RDA, OPTION.DQO_QPL, OPTION.GQI_RDA, OPTION.GQI_RAW_ADDRESSING, OPTION.GQI_QPL],
  ipxe: [OPTION.GQI_QPL, OPTION.GQI_RDA, OPTION.DQO_QPL, OPTION.DQO_RDA],
};

/** The option whose format a driver chooses from those offered, if there is one. */
export function preferredOption(kind: DriverKind, offered: (id: number) => boolean): number | undefined {
  return PREFERENCES[kind].find(offered);
}

/** Whether queues of a format have a page list. */
export function usesPageLists(format: number): boolean {
  return format === QUEUE_FORMAT.GQI_QPL || format === QUEUE_FORMAT.DQO_QPL;
}

/** Whether a format is DQO. */
export function isDqo(format: number): boolean {
  return format === QUEUE_FORMAT.DQO_RDA || format === QUEUE_FORMAT.DQO_QPL;
}
