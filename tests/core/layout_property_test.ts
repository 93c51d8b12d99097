import { assertEquals } from "@std/assert";
import { plainValue, struct, swapped, type Value } from "../../mod.ts";
import { needPeers } from "../peers.ts";
import { Random } from "../random.ts";
import { LayoutMaker } from "./random_layout.ts";

Deno.test("Struct.encode gives back the bytes that decode has read, whatever the layout", () => {
  const random = new Random(14);
  for (let round = 0; round < 400; round++) {
    const { layout } = new LayoutMaker(random).make(round % 2 === 0);
    for (let count = 0; count < 4; count++) {
      const bytes = random.bytes(layout.size + count * layout.stride);
      assertEquals(layout.encode(layout.decode(bytes)), bytes);
    }
  }
});

Deno.test("Struct.decode reads at an offset, and only what belongs to the structure", () => {
  const random = new Random(15);
  for (let round = 0; round < 100; round++) {
    const { layout } = new LayoutMaker(random).make(round % 2 === 0);
    const length = layout.size + 2 * layout.stride;
    const bytes = random.bytes(length + 20);
    assertEquals(layout.decode(bytes, 9, length), layout.decode(bytes.slice(9, 9 + length)));
  }
});

Deno.test("swapped reads reversed units: a structure of plain numbers, turned around unit by unit", () => {
  const random = new Random(16);
  for (let round = 0; round < 50; round++) {
    const { layout } = new LayoutMaker(random).make(false);
    const numbers = struct("numbers", {
      summary: "",
      source: "",
      order: "le",
      fields: layout.members.filter((member) => member.kind === "number" || member.kind === "bits"),
    });
    const bytes = random.bytes(numbers.size);
    const turned = bytes.slice();
    for (const { offset, size } of new Map(numbers.fields.map((field) => [field.offset, field])).values()) {
      turned.subarray(offset, offset + size).reverse();
    }
    assertEquals(swapped(numbers).decode(turned), numbers.decode(bytes));
  }
});

/** A C statement for each value. */
function assignments(name: string, value: Value): string[] {
  if (Array.isArray(value)) return value.map((byte, i) => `${name}[${i}] = ${byte};`);
  return [`${name} = ${plainValue(value)}${typeof value === "bigint" ? "ULL" : ""};`];
}

Deno.test({
  ...needPeers("gcc"),
  name:
    "Struct.decode agrees with gcc about random structures in both byte orders, bit fields and unions included",
  fn() {
    const random = new Random(17);
    const maker = new LayoutMaker(random);
    const cases = Array.from({ length: 100 }, () => {
      const { layout, c } = maker.make(false);
      const bytes = random.bytes(layout.size);
      return { c, bytes, values: layout.decode(bytes) };
    });
    const source = [
      "#include <stdint.h>",
      "#include <stdio.h>",
      "#include <string.h>",
      "static void show(const void *p, size_t n) {",
      '  for (size_t i = 0; i < n; i++) printf("%02x", ((const unsigned char *)p)[i]);',
      '  printf("\\n");',
      "}",
      ...cases.map(({ c, values }, i) =>
        [
          `typedef struct ${c} s${i};`,
          `static void f${i}(void) {`,
          `  s${i} s;`,
          "  memset(&s, 0, sizeof s);",
          ...Object.entries(values).flatMap(([name, value]) => assignments(`s.${name}`, value)),
          "  show(&s, sizeof s);",
          "}",
        ].join("\n")
      ),
      `int main(void) { ${cases.map((_, i) => `f${i}();`).join(" ")} return 0; }`,
    ].join("\n");
    const directory = Deno.makeTempDirSync();
    try {
      Deno.writeTextFileSync(`${directory}/structs.c`, source);
      const program = `${directory}/structs`;
      run("gcc", ["-w", "-O0", "-o", program, `${directory}/structs.c`]);
      const shown = run(program, []).trimEnd().split("\n");
      assertEquals(shown, cases.map(({ bytes }) => bytes.toHex()));
    } finally {
      Deno.removeSync(directory, { recursive: true });
    }
  },
});

function run(command: string, args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
  if (!success) throw new Error(`${command} failed: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}
