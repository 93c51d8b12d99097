/**
 * What the pages show is what happens: their commands run, and their figures are those of the program.
 *
 * @module
 */
import { assert, assertEquals, assertObjectMatch } from "@std/assert";
import { inRoot, ringpipe } from "./cli/program.ts";

const PAGES = ["README.md", ...[...Deno.readDirSync(inRoot("docs"))].map(({ name }) => `docs/${name}`)];

/** Files that the commands name, as the fixtures have them. */
const INPUTS: Readonly<Record<string, string>> = {
  "in.pcap": "fixtures/web.pcap",
  "IN.pcap": "fixtures/web.pcap",
  "in.pcapng": "fixtures/captures/n02-good-le.pcapng",
  "vectors.json": "fixtures/vectors/virtio.json",
};

/** The commands of a page that end by themselves, without what they are piped into and without remarks. */
function commands(page: string): string[] {
  const lines = Deno.readTextFileSync(inRoot(page)).matchAll(/^ {4}ringpipe ((?!serve )[a-z].*)$/gm);
  return Array.from(lines, ([, line]) => line!.replace(/ +# .*| \| .*/, ""))
    // `on|off` stands for several commands.
    .filter((line) => !/\w\|\w/.test(line));
}

for (const page of PAGES) {
  const lines = commands(page);
  if (lines.length === 0) continue;
  Deno.test(`the commands in ${page} work`, async (t) => {
    const directory = await Deno.makeTempDir({ prefix: "ringpipe-" });
    try {
      for (const line of lines) {
        await t.step(line, async () => {
          let input = "";
          let output = "";
          const args = line.split(" ").map((word) => {
            if (/^out\./i.test(word)) return output = `${directory}/${word}`;
            const fixture = INPUTS[word];
            if (/\.pcap/i.test(word) && fixture) input = fixture;
            return fixture ?? word;
          });
          const { status, stderr } = await ringpipe(args);
          assertEquals(status, 0, stderr);
          if (!output || args.includes("-F")) return;
          assertEquals(await Deno.readFile(output), await Deno.readFile(inRoot(input)));
        });
      }
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}

Deno.test("the statistics in README.md are those of the first line", async () => {
  const page = await Deno.readTextFile(inRoot("README.md"));
  const shown = JSON.parse(/```json\n(.*?)```/s.exec(page)![1]!);
  const file = await Deno.makeTempFile();
  try {
    const { status, stderr } = await ringpipe(
      ["run", "-b", "virtio", "fixtures/web.pcap", "-w", "/dev/null", "--stats-out", file],
    );
    assertEquals(status, 0, stderr);
    const counted = JSON.parse(await Deno.readTextFile(file));
    assertEquals(Object.keys(counted), Object.keys(shown));
    assertObjectMatch(counted, { ...shown, elapsed_s: counted.elapsed_s });
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("the example in README.md has as few lines as it says", () => {
  const lines = Deno.readTextFileSync(inRoot("examples/mailbox.ts")).trimEnd().split("\n");
  assert(lines.length < 150, `${lines.length} lines`);
});
