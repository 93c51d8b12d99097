import { assertEquals, assertNotEquals } from "@std/assert";

const root = new URL("../", import.meta.url);

/** What each room may import from beside itself, and whether it must run elsewhere than in Deno. */
const ROOMS: Readonly<Record<string, { readonly imports: readonly string[]; readonly portable: boolean }>> = {
  core: { imports: [], portable: true },
  pcap: { imports: ["core"], portable: true },
  "plugins/virtio": { imports: ["core"], portable: true },
  "plugins/gve": { imports: ["core"], portable: true },
  "plugins/xen": { imports: ["core"], portable: true },
  "plugins/vdpa": { imports: ["core", "plugins/virtio"], portable: true },
  host: { imports: ["core", "plugins/virtio"], portable: false },
};

interface Source {
  readonly path: string;
  readonly text: string;
}

async function sourcesIn(directory: string): Promise<Source[]> {
  const sources: Source[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(`${directory}/`, root))) {
    const path = `${directory}/${name}`;
    if (isDirectory) sources.push(...await sourcesIn(path));
    else if (name.endsWith(".ts")) sources.push({ path, text: await Deno.readTextFile(new URL(path, root)) });
  }
  return sources;
}

/** Paths, from the root, of the files of this repository that a source imports. */
function imports({ path, text }: Source): string[] {
  const specifiers = [
    ...text.matchAll(/^(?:import|export)\b[^;]*?\bfrom "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm),
  ];
  const base = new URL(path, root);
  return specifiers.map(([, from, dynamic]) =>
    new URL((from ?? dynamic)!, base).href.slice(root.href.length)
  );
}

/** The code of a source without its comments. */
function code({ text }: Source): string {
  return text.replace(/\/\*.*?\*\/|\/\/[^\n]*/gs, "");
}

for (const [room, { imports: allowed, portable }] of Object.entries(ROOMS)) {
  Deno.test(`${room}/ imports nothing but ${[room, ...allowed].join(", ")}`, async () => {
    const sources = await sourcesIn(room);
    assertNotEquals(sources.length, 0);
    const rooms = [room, ...allowed].map((name) => `${name}/`);
    const strangers = sources.flatMap((source) =>
      imports(source)
        .filter((target) => !rooms.some((name) => target.startsWith(name)))
        .map((target) => `${source.path} imports ${target}`)
    );
    assertEquals(strangers, []);
  });

  if (!portable) continue;
  Deno.test(`${room}/ calls nothing that Node 22 does not have`, async () => {
    const young = /\.(?:to|from|setFrom)(?:Hex|Base64)\(|\bIterator\.|\bFloat16Array\b|\busing \w+ =/;
    const calls = (await sourcesIn(room)).filter((source) => young.test(code(source)));
    assertEquals(calls.map(({ path }) => path), []);
  });
  Deno.test(`${room}/ runs without Deno`, async () => {
    const bound = (await sourcesIn(room)).filter((source) => /\bDeno\b/.test(code(source)));
    assertEquals(bound.map(({ path }) => path), []);
  });
}

Deno.test("driver halves and device halves never import each other", async () => {
  const mixed: string[] = [];
  for (const room of Object.keys(ROOMS).filter((name) => name.startsWith("plugins/"))) {
    for (const source of await sourcesIn(room)) {
      const side = /(?:^|[/_])(driver|device)(?=[_.])/.exec(source.path)?.[1];
      if (!side) continue;
      const other = side === "driver" ? /(?:^|[/_])device(?=[_.])/ : /(?:^|[/_])driver(?=[_.])/;
      for (const target of imports(source)) {
        if (other.test(target)) mixed.push(`${source.path} imports ${target}`);
      }
    }
  }
  assertEquals(mixed, []);
});
