/**
 * Every structure of gVNIC, by part.
 *
 * @module
 */
import type { Struct } from "../../core/layout.ts";
import { adminStructures } from "./layout_admin.ts";
import { dqoStructures } from "./layout_dqo.ts";
import { gqiStructures } from "./layout_gqi.ts";
import { recordStructures } from "./layout_records.ts";

export * from "./layout_admin.ts";
export * from "./layout_dqo.ts";
export * from "./layout_gqi.ts";
export * from "./layout_records.ts";

/** All of them. */
export const structures: readonly Struct[] = [
  ...adminStructures,
  ...recordStructures,
  ...gqiStructures,
  ...dqoStructures,
];
