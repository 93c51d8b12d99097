/**
 * How the rules of the vhost-vdpa face are written down, one row each: what is done, and what the last step gives.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { VdpaConfigOps } from "../../plugins/vdpa/config_ops.ts";
import { VHOST } from "../../plugins/vdpa/ioctls.ts";
import { Face, type FaceOptions } from "./face.ts";

/** A rule, what its last step gives, its steps, and the device that they are taken with. */
export type Row = readonly [
  rule: string,
  expected: string | number,
  run: (face: Face) => string | number,
  FaceOptions?,
];

/** The device's operations less some of them, or with others. */
export function ops(
  changes: Partial<Record<keyof VdpaConfigOps, unknown>>,
): NonNullable<FaceOptions["ops"]> {
  return (device) =>
    new Proxy(device, {
      get(target, key) {
        if (Object.hasOwn(changes, key)) return changes[key as keyof VdpaConfigOps];
        const value = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
}

/** Requests about groups. */
export const { SET_GROUP_ASID, GET_GROUP, GET_DESC_GROUP } = {
  SET_GROUP_ASID: VHOST.VDPA_SET_GROUP_ASID,
  GET_GROUP: VHOST.VDPA_GET_VRING_GROUP,
  GET_DESC_GROUP: VHOST.VDPA_GET_VRING_DESC_GROUP,
};
/** A device with many groups and spaces. */
export const vduse = { kind: "vduse", groups: 6, asids: 4 } as const;

/** Makes a test of each row; `section` is what the rules are about, with its place in the numbering of all rules. */
export function testRows(section: string, rows: readonly Row[]): void {
  for (const [rule, expected, run, options] of rows) {
    Deno.test(`vhost-vdpa, ${section}: ${rule}`, () => {
      assertEquals(run(new Face(options)), expected);
    });
  }
}
