import { assert, assertEquals } from "@std/assert";
import { structures } from "../../plugins/gve/layout.ts";

interface Vector {
  readonly struct: string;
  readonly size: number;
  readonly fields: Record<string, number | string | number[]>;
  readonly hex: string;
}

const vectors: Vector[] = JSON.parse(
  Deno.readTextFileSync(new URL("../../fixtures/vectors/gve.json", import.meta.url)),
);

Deno.test("structures decode and encode every golden vector", () => {
  const byName = new Map(structures.map((struct) => [struct.name, struct]));
  assertEquals(byName.size, structures.length);
  assert(vectors.length > 300);
  for (const vector of vectors) {
    const struct = byName.get(vector.struct);
    assert(struct, vector.struct);
    assertEquals(struct.size, vector.size, vector.struct);
    const bytes = Uint8Array.fromHex(vector.hex);
    const values = struct.decode(bytes);
    for (const [name, wanted] of Object.entries(vector.fields)) {
      const got = values[name];
      const label = `${vector.struct}.${name}`;
      if (typeof wanted === "object") assertEquals(got, wanted, label);
      else assertEquals(BigInt(got as number), BigInt(wanted), label);
    }
    assertEquals(struct.encode(values).toHex(), vector.hex, vector.struct);
  }
});

/** Filled at random, and read by gcc from the unions of gve_desc.h and gve_desc_dqo.h. */
const UNIONS: readonly [string, Record<string, bigint | number | number[]>, string][] = [
  ["gve_rx_data_slot", { qpl_offset: 0x10847b987732ab90n, addr: 0x10847b987732ab90n }, "10847b987732ab90"],
  [
    "gve_rx_compl_desc_dqo",
    { raw_cs: 9799, rsc_seg_len: 9799 },
    "92e13f38f354368a5ab5f3086eb84726d4ccffccd7d43e517bd5285e719be167",
  ],
  ["gve_tx_metadata_dqo", {
    path_hash: 21025,
    bytes: [182, 33, 82, 150, 190, 114, 179, 36, 162, 49, 150, 157],
  }, "b6215296be72b324a231969d"],
];

Deno.test("members of unions have their C paths", () => {
  for (const [name, fields, hex] of UNIONS) {
    const struct = structures.find((struct) => struct.name === name)!;
    const values = struct.decode(Uint8Array.fromHex(hex));
    for (const [field, wanted] of Object.entries(fields)) {
      assertEquals(values[field], wanted, `${name}.${field}`);
    }
    assertEquals(struct.encode(values).toHex(), hex, name);
  }
});
