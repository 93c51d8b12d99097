import { assertEquals } from "@std/assert";
import { hypervisorStructures } from "../../plugins/xen/hypervisor_layout.ts";
import { structures } from "../../plugins/xen/layout.ts";
import { vectors } from "./vectors.ts";

const byName = new Map([...structures, ...hypervisorStructures].map((struct) => [struct.name, struct]));

Deno.test("layout holds the golden bytes of every structure", async (t) => {
  const all = vectors("xen.json");
  for (const name of new Set(all.map((vector) => vector.struct))) {
    await t.step(name, () => {
      const struct = byName.get(name)!;
      for (const { fields, bytes } of all.filter((vector) => vector.struct === name)) {
        const values = struct.decode(bytes);
        for (const [field, wanted] of Object.entries(fields)) {
          const value = values[field];
          if (Array.isArray(wanted)) assertEquals(value, wanted, field);
          else assertEquals(BigInt(value as number), BigInt(wanted as string), field);
        }
        assertEquals(struct.encode(values), bytes);
      }
    });
  }
});
