import { assertEquals } from "@std/assert";
import { builtInNames } from "../../mod.ts";
import { needPeers } from "../peers.ts";
import { run, runForeign } from "./rings.ts";

const EXPECTED = Object.fromEntries(builtInNames.map((name) => [name, [300, 300]]));

async function output(command: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

Deno.test("every ring brings frames back through the library in Deno", async () => {
  assertEquals(await run(), EXPECTED);
});

Deno.test("every ring brings frames back when all addresses have an upper half", async () => {
  assertEquals(await run({ base: 0x1_2345_6000 }), EXPECTED);
});

Deno.test("every ring brings frames back when its memory crosses 4 GiB", async () => {
  assertEquals(await run({ base: 0xffff_8000 }), EXPECTED);
});

Deno.test("every ring brings frames back in memory of any kind, at any offset and any address", async () => {
  const expected = Object.fromEntries(builtInNames.map((name) => [name, 300]));
  const buffers = [new SharedArrayBuffer(24 << 20), new ArrayBuffer(24 << 20)];
  for (const buffer of buffers) {
    for (
      const [offset, address] of [[0, 0], [12345, 0x1000], [8, 0xffff_f000], [4100, 0x1234], [1, 2 ** 40]]
    ) {
      assertEquals(await runForeign({ buffer, offset: offset!, address: address! }), expected);
    }
  }
  // Where 32 bits do not suffice for the number of a page.
  const far = { buffer: buffers[0]!, offset: 3, address: 2 ** 45 };
  assertEquals(await runForeign(far, { xen: { "grant-table": "v2" } }), expected);
});

/** What stands before the bundle: machines and pages where something is missing. */
const SURROUNDINGS: Readonly<Record<string, string>> = {
  "in Node, which knows no Deno": "",
  "where no WebAssembly may be compiled, as many pages have it": `WebAssembly.Module = class {
      constructor() { throw new WebAssembly.CompileError("Refused to compile"); }
    };`,
  "without WebAssembly": "delete globalThis.WebAssembly;",
};

Deno.test({
  ...needPeers("node"),
  name: "every ring brings frames back through the library",
  async fn(t) {
    const directory = await Deno.makeTempDir();
    try {
      const bundle = `${directory}/rings.mjs`;
      const entry = new URL("./rings.ts", import.meta.url).pathname;
      await output(Deno.execPath(), [
        "bundle",
        "--quiet",
        "--platform",
        "browser",
        "--output",
        bundle,
        entry,
      ]);
      for (const [name, surroundings] of Object.entries(SURROUNDINGS)) {
        const program = `${surroundings}
        const { run } = await import(${JSON.stringify(`file://${bundle}`)});
        if ("Deno" in globalThis) throw new Error("This is Deno");
        process.stdout.write(JSON.stringify(await run()));`;
        await t.step(name, async () => {
          assertEquals(
            JSON.parse(await output("node", ["--input-type=module", "--eval", program])),
            EXPECTED,
          );
        });
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
});
