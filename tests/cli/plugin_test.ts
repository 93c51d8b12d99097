import { assertEquals, assertStringIncludes } from "@std/assert";
import { inRoot, MAILBOX, ringpipe } from "./program.ts";

/** Runs `body` with a directory that goes away afterwards. */
async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "ringpipe-" });
  try {
    await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("--plugin makes a module's backend available under its name", async () => {
  const { status, text } = await ringpipe(["backends", "mailbox", ...MAILBOX.slice(0, 2)]);
  assertEquals(status, 0);
  assertStringIncludes(text, "mailbox: A few slots each way, handed over by an owner field\n");
  assertStringIncludes(text, "  slots  1..64  slots each way (default 2)\n");
  assertStringIncludes(text, "  bad-address  device  A buffer is not mapped, or not to its end\n");
});

Deno.test("--plugin takes a path from the working directory, with and without ./", async () => {
  for (const specifier of ["./examples/mailbox.ts", "examples/mailbox.ts"]) {
    assertEquals((await ringpipe(["backends", "mailbox", "--plugin", specifier])).status, 0);
  }
});

Deno.test("--plugin takes file names that mean something in a URL", async () => {
  await withDirectory(async (directory) => {
    for (const name of ["100% my ring.ts", "ring#2.ts", "what?.ts", "%41.ts"]) {
      const path = `${directory}/${name}`;
      await Deno.writeTextFile(
        path,
        `export { default } from ${JSON.stringify(`file://${inRoot("examples/mailbox.ts")}`)};`,
      );
      const { status, stderr } = await ringpipe(["backends", "mailbox", "--plugin", path]);
      assertEquals([status, stderr], [0, ""], name);
    }
  });
});

Deno.test("--plugin says in one line why a module is no backend, with status 1", async () => {
  const cases: Record<string, string> = {
    "export default 1": "its default export is not a plugin: expected an object",
    "export const x = 1": "its default export is not a plugin: expected an object",
    "export default { api: 2 }": 'its default export is not a plugin: "api" must be the number 1',
    "export default { api: 1, name: 'My Ring' }": '"name" must be a name in kebab-case',
    "export default { api: 1, name: 'x', summary: '', options: [], counters: [], structures: [] }":
      '"open" must be a function',
    "throw new Error('on purpose\\nsecond line')": "on purpose",
    "import './not_there.ts'": 'not_there.ts"\n',
    "export { default } from 'no-such-name'": '"no-such-name" not a dependency',
    "export default { api: 1, name: 'x', summary: '', options: ['slots'], counters: [], structures: [], open() {} }":
      '"options[0]" must be an object',
    "export default {": "Expected",
  };
  await withDirectory(async (directory) => {
    for (const [source, reason] of Object.entries(cases)) {
      const path = `${directory}/p${Object.keys(cases).indexOf(source)}.ts`;
      await Deno.writeTextFile(path, source);
      const { status, stderr } = await ringpipe(["backends", "--plugin", path]);
      assertStringIncludes(stderr, `ringpipe: cannot load plugin "${path}": `);
      assertStringIncludes(stderr, reason);
      assertEquals([status, stderr.split("\n").length], [1, 2], stderr);
    }
  });
});

Deno.test("a failure in a plugin that nobody waits for is one line as well", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/late.ts`;
    const plugin = JSON.stringify(`file://${inRoot("examples/mailbox.ts")}`);
    // The module lets the event loop turn before it is loaded, so what is late comes before anything else.
    const turn = "await new Promise((resolve) => setTimeout(resolve, 50))";
    for (const late of ["Promise.reject(error)", "queueMicrotask(() => { throw error; })"]) {
      const source = [
        'const error = new Error("on purpose\\nsecond")',
        late,
        turn,
        `export { default } from ${plugin}`,
      ];
      await Deno.writeTextFile(path, source.join(";\n"));
      const { status, stderr } = await ringpipe(["run", "--plugin", path, "-b", "mailbox"]);
      assertEquals([status, stderr], [1, "ringpipe: on purpose\n"]);
    }
  });
});

Deno.test("--plugin says how a file is written when it gets a bare name", async () => {
  const { status, stderr } = await ringpipe(["backends", "--plugin", "mailbox"]);
  assertEquals(status, 1);
  assertStringIncludes(stderr, `cannot load plugin "mailbox": Import "mailbox" not a dependency`);
  assertStringIncludes(stderr, " (a file is ./mailbox)\n");
  assertEquals(stderr.includes("registry.ts"), false, stderr);
});

Deno.test("--plugin says which permission is missing", async () => {
  const path = inRoot("examples/mailbox.ts");
  const { status, stderr } = await ringpipe(["backends", "--plugin", path], { permissions: [] });
  assertEquals(status, 1);
  assertStringIncludes(stderr, `(pass --allow-read=${path})`);
});

Deno.test("main takes the plugins of a program that calls it", async () => {
  await withDirectory(async (directory) => {
    const script = `import { main } from ${JSON.stringify(`file://${inRoot("cli/main.ts")}`)};
import mailbox from ${JSON.stringify(`file://${inRoot("examples/mailbox.ts")}`)};
Deno.exitCode = await main(Deno.args, { plugins: [mailbox] });
`;
    await Deno.writeTextFile(`${directory}/mine.ts`, script);
    const { status, text } = await ringpipe(["backends"], { module: new URL(`file://${directory}/mine.ts`) });
    assertEquals(status, 0);
    assertStringIncludes(text, "mailbox  A few slots each way");
  });
});
