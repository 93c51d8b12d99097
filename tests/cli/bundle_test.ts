import { assertEquals } from "@std/assert";
import { inRoot, ringpipe } from "./program.ts";

/** The command line as plain JavaScript, made by a bundler that Deno takes from npm; undefined where it cannot. */
async function bundle(directory: string): Promise<URL | undefined> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--code-splitting", `--outdir=${directory}`, "cli/main.ts"],
    cwd: inRoot(""),
  }).output();
  if (success) return new URL(`file://${directory}/main.js`);
  const why = new TextDecoder().decode(stderr).trim();
  if (Deno.env.get("CI")) throw new Error(`Tests need a bundle: ${why}`);
  Deno.stderr.writeSync(new TextEncoder().encode(`tests left out: no bundle, ${why}\n`));
  return undefined;
}

const directory = Deno.makeTempDirSync();
const module = await bundle(directory);
addEventListener("unload", () => Deno.removeSync(directory, { recursive: true }));

for (const backend of ["virtio", "gve", "xen", "vdpa"]) {
  Deno.test({
    name: `a bundle carries a capture through ${backend}`,
    ignore: module === undefined,
    fn: async () => {
      const capture = inRoot("fixtures/web.pcap");
      const { status, stdout, stderr } = await ringpipe(["run", "-q", "-b", backend, capture], {
        module: module!,
      });
      assertEquals([status, stderr], [0, ""]);
      assertEquals(stdout, Deno.readFileSync(capture));
    },
  });
}

Deno.test({
  name: "a bundle says what its sources say",
  ignore: module === undefined,
  fn: async () => {
    for (
      const args of [["--version"], ["help"], ["struct", "list"], ["run", "-b", "virtoi"], [
        "backends",
        "gve",
      ]]
    ) {
      assertEquals(await ringpipe(args, { module: module! }), await ringpipe(args), args.join(" "));
    }
  },
});
