import { assertEquals } from "@std/assert";

const room = new URL("../../plugins/gve/", import.meta.url);
/** Something that is there at run time: types are not. */
const RUNS = /^(?:export )?(?:abstract )?(?:class|const|function)\b/m;

/** Modules that do something at run time, but for the entry point and the list itself. */
function modules(folder = ""): string[] {
  const found: string[] = [];
  for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, room))) {
    const path = `${folder}${name}`;
    if (isDirectory) found.push(...modules(`${path}/`));
    else if (RUNS.test(Deno.readTextFileSync(new URL(path, room)))) found.push(path);
  }
  return found.filter((path) => path !== "mod.ts");
}

Deno.test("modules.ts names every module of the backend that is there at run time, and no other", () => {
  const text = Deno.readTextFileSync(new URL("modules.ts", room));
  const named = Array.from(text.matchAll(/^import "\.\/(.*)";$/gm), ([, path]) => path!);
  assertEquals(named.toSorted(), modules().toSorted());
});
