import { assertEquals } from "@std/assert";
import { structures } from "../../plugins/xen/layout.ts";
import { vectors } from "../vectors.ts";

for (const struct of structures.filter(({ name }) => !name.includes("sring"))) {
  Deno.test(`${struct.name} has the golden bytes`, () => {
    for (const { fields, bytes } of vectors("xen.json", struct.name)) {
      const values = struct.decode(bytes);
      for (const [field, wanted] of Object.entries(fields)) {
        const value = values[field];
        if (Array.isArray(wanted)) assertEquals(value, wanted, field);
        else assertEquals(BigInt(value as number), BigInt(wanted), field);
      }
      assertEquals(struct.encode(values), bytes);
    }
  });
}
