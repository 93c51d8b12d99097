import { assert, assertEquals } from "@std/assert";
import { structures } from "../../plugins/virtio/layout.ts";
import { vectors } from "../vectors.ts";

const byName = new Map(structures.map((struct) => [struct.name, struct]));

function read<T>(file: string): T[] {
  return JSON.parse(Deno.readTextFileSync(new URL(`../../fixtures/vectors/${file}`, import.meta.url)));
}

/** Whether a structure belongs to vhost or vDPA, whose layouts are another plugin's. */
function elsewhere(name: string): boolean {
  return /^(vhost|vduse)_/.test(name);
}

Deno.test("layout knows every structure once", () => assertEquals(byName.size, structures.length));

/** The second file has the structures and unions of newer headers and of the specification. */
const FILES = ["virtio.json", "virtio_more.json"];

Deno.test("layout holds the golden bytes of every structure", async (t) => {
  for (const file of FILES) {
    const names = new Set(read<{ struct: string }>(file).map(({ struct }) => struct));
    for (const name of [...names].filter((name) => !elsewhere(name))) {
      await t.step(`${name} of ${file}`, () => {
        const struct = byName.get(name);
        assert(struct);
        for (const { fields, bytes } of vectors(file, name)) {
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
  }
});

/** On the wire these two end with their last field; C's sizeof pads them to a multiple of 4. */
const PADDED: Readonly<Record<string, number>> = { virtio_net_rss_config: 13, virtio_net_hash_config: 13 };
/** The trailing event word, which C's headers reach by a macro, is a field here. */
const EVENT_WORD: Readonly<Record<string, number>> = { vring_avail: 2, vring_used: 2 };

Deno.test("layout has the sizes and offsets that gcc gives", () => {
  let compared = 0;
  for (
    const { struct: title, size, offsets } of read<
      { struct: string; size: number; offsets: Record<string, number> }
    >("virtio_layout.json")
  ) {
    const name = title.replace("struct ", "");
    if (elsewhere(name)) continue;
    const struct = byName.get(name);
    assert(struct, name);
    assertEquals(struct.size, PADDED[name] ?? size + (EVENT_WORD[name] ?? 0), name);
    for (const [field, offset] of Object.entries(offsets)) {
      const first = struct.fields.find((known) =>
        known.name === field || known.name.startsWith(`${field}.`)
      ) ??
        struct.fields.find((known) => known.name.startsWith(`${field}[`));
      assert(first, `${name}.${field}`);
      assertEquals(first.offset, offset, `${name}.${field}`);
      compared++;
    }
  }
  assert(compared > 60);
});
