import { assertEquals } from "@std/assert";

/** What `deno info --json` tells of a module. */
interface ModuleInfo {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier?: string };
    readonly isDynamic?: boolean;
  }[];
}

const root = new URL("../", import.meta.url);

/** Modules of this repository that are loaded with one: those it names for more than their types, and so on. */
async function loadedWith(path: string): Promise<Set<string>> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", path], cwd: root })
    .output();
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as { modules: readonly ModuleInfo[] };
  const known = new Map(modules.map((module) => [module.specifier, module]));
  const loaded = new Set<string>();
  const visit = (specifier: string): void => {
    if (!specifier.startsWith(root.href) || specifier.includes("/registry/") || loaded.has(specifier)) return;
    loaded.add(specifier);
    for (const { code, isDynamic } of known.get(specifier)?.dependencies ?? []) {
      if (!isDynamic && code?.specifier !== undefined) visit(code.specifier);
    }
  };
  visit(new URL(path, root).href);
  return loaded;
}

/** Modules that a list of nothing but imports names. */
function named(path: string): Set<string> {
  const list = new URL(path, root);
  const lines = Deno.readTextFileSync(list).matchAll(/^import "(.*)";$/gm);
  return new Set(Array.from(lines, ([, specifier]) => new URL(specifier!, list).href));
}

const command = await loadedWith("cli/main.ts");
const run = await loadedWith("cli/run.ts");
const lists = [
  { list: "cli/run_modules.ts", of: "cli/run.ts", before: command },
  ...["virtio", "gve", "xen", "vdpa"].map((name) => ({
    list: `plugins/${name}/modules.ts`,
    of: `plugins/${name}/mod.ts`,
    before: run,
  })),
];

for (const { list, of, before } of lists) {
  Deno.test(`${list} names all modules that ${of} brings with it, and no other`, async () => {
    const expected = (await loadedWith(of)).difference(before);
    for (const own of [list, of]) expected.delete(new URL(own, root).href);
    assertEquals(named(list), expected);
  });
}
