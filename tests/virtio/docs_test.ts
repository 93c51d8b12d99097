import { assert, assertEquals } from "@std/assert";
import { counters } from "../../plugins/virtio/counters.ts";
import { DEVICE_FAULTS, DRIVER_FAULTS } from "../../plugins/virtio/faults.ts";
import virtio from "../../plugins/virtio/mod.ts";
import { legacyLayout, ringFootprint } from "../../plugins/virtio/ring_areas.ts";
import { availBytes, descBytes, usedBytes } from "../../plugins/virtio/ring_areas.ts";

const page = Deno.readTextFileSync(new URL("../../docs/virtio.md", import.meta.url));
/** The cells of all table rows. */
const rows = page.split("\n").filter((line) => line.startsWith("|")).map((line) =>
  line.slice(1, -1).split("|").map((cell) => cell.trim())
);

Deno.test("docs/virtio.md names every option, counter and fault", () => {
  const first = rows.map(([cell]) => cell!).join(" ");
  const names = [
    ...virtio.options.map(({ name }) => name),
    ...counters.map(({ name }) => name),
    ...Object.keys(DEVICE_FAULTS),
    ...Object.keys(DRIVER_FAULTS),
  ];
  for (const name of names) assert(first.includes(`\`${name}\``), name);
});

Deno.test("docs/virtio.md has the true sizes and padding of rings", () => {
  for (const size of [1, 2, 4, 8, 256, 1024, 32768]) {
    const row = rows.find((cells) => cells.length === 10 && cells[0] === String(size));
    assert(row, String(size));
    const legacy = legacyLayout(size);
    const { bytes, flexiblePadding, legacyPadding } = ringFootprint(size);
    assertEquals(row.map(Number), [
      size,
      descBytes(size),
      availBytes(size),
      usedBytes(size),
      bytes,
      flexiblePadding,
      legacy.used,
      legacy.size,
      legacy.total,
      legacyPadding,
    ]);
  }
});
