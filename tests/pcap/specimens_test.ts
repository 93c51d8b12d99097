import { assert, assertEquals, assertMatch } from "@std/assert";
import { needLibpcap, readWithLibpcap } from "./libpcap.ts";
import { isGzip, specimens } from "./specimens.ts";
import { walk } from "./walk.ts";

const CAPTURES = new URL("../../fixtures/captures/", import.meta.url);

Deno.test("specimens are of 116 kinds", () => {
  assertEquals(specimens.length, 116);
  assertEquals(new Set(specimens.map(({ name }) => name)).size, specimens.length);
});

Deno.test("scan reads each kind of capture as documented, however its bytes arrive", () => {
  for (const specimen of specimens) {
    if (isGzip(specimen)) continue;
    const { name, bytes, packets, error, warning } = specimen;
    for (const steps of [[bytes.length || 1], [1], [3, 17, 1]]) {
      const told = walk(bytes, bytes.length > 10000 ? [bytes.length] : steps);
      assertEquals(told.packets.length, packets, name);
      if (error) assertMatch(told.error?.message ?? "no error", error, name);
      else assertEquals(told.error, undefined, name);
      if (!error) assertEquals(told.end, bytes.length, name);
      if (warning) assertMatch(told.warnings.join("\n"), warning, name);
      else assertEquals(told.warnings, [], name);
    }
  }
});

Deno.test({
  ...needLibpcap(),
  name: "specimens are what their table says libpcap makes of them",
  fn() {
    for (const { name, bytes, libpcap, packets } of specimens) {
      if (bytes.length === 0) continue;
      const theirs = readWithLibpcap(bytes);
      assertEquals(theirs.packets.length, Math.max(libpcap, 0), name);
      assert(packets >= theirs.packets.length, name);
    }
  },
});

Deno.test("specimens that came as files tell the same as those made here", () => {
  for (const { name } of Deno.readDirSync(CAPTURES)) {
    const kind = name.replace(/\.pcap(ng)?(\.gz)?$/, "");
    const specimen = specimens.find((one) => one.name === kind || one.name.startsWith(`${kind}-`));
    if (kind === "index.json" || name.endsWith(".gz")) continue;
    assert(specimen, `no specimen is like ${name}`);
    const told = walk(Deno.readFileSync(new URL(name, CAPTURES)));
    assertEquals(told.packets.length, specimen.packets, name);
    assertEquals(told.error === undefined, specimen.error === undefined, name);
  }
});
