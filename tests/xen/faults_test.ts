import { assert, assertEquals } from "@std/assert";
import xen, { DEVICE_FAULTS, DRIVER_FAULTS } from "../../plugins/xen/mod.ts";

const ROOM = new URL("../../plugins/xen/", import.meta.url);

/** The files that a half consists of: those that its main file imports for their values, and so on. */
async function filesOf(main: string, found: Map<string, string> = new Map()): Promise<Map<string, string>> {
  const text = await Deno.readTextFile(new URL(main, ROOM));
  found.set(main, text);
  for (const [, file] of text.matchAll(/^(?:import|\}).* from "\.\/(\w+\.ts)";$/gm)) {
    if (!found.has(file!)) await filesOf(file!, found);
  }
  return found;
}

/** The codes of the faults that some text raises. */
function raised(text: string): string[] {
  const codes: string[] = [];
  // After the half and the ring, or as the first argument of a file's own helper.
  for (const [, call, code] of text.matchAll(/(fault\(|new RingFault\()[^;]*?"([a-z]+(?:-[a-z]+)+)"/gi)) {
    if (call && code) codes.push(code);
  }
  return codes;
}

Deno.test("each half raises the faults that are listed for it, and no others", async () => {
  const halves = [["device", "device.ts", DEVICE_FAULTS], ["driver", "driver.ts", DRIVER_FAULTS]] as const;
  for (const [half, main, listed] of halves) {
    const files = await filesOf(main);
    const codes = new Set<string>();
    for (const text of files.values()) {
      if (new RegExp(`new RingFault\\(\\s*"${half}"`).test(text)) {
        raised(text).forEach((code) => codes.add(code));
      }
    }
    assertEquals([...codes].sort(), Object.keys(listed).sort(), half);
    for (const code of Object.keys(listed)) {
      assertEquals(xen.faults?.filter((spec) => spec.code === code).map((spec) => spec.half), [half]);
    }
  }
  assert(xen.faults?.every(({ half }) => half !== undefined));
});
