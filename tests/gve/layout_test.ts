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
