import { assertEquals, assertThrows } from "@std/assert";
import {
  formatOption,
  formatSize,
  OptionError,
  optionForm,
  type OptionSpec,
  type OptionValue,
  OptionValues,
} from "../../mod.ts";

const SPECS: readonly OptionSpec[] = [
  {
    name: "queue-size",
    meaning: "Entries",
    type: "integer",
    min: 1,
    max: 32768,
    default: 256,
    powerOfTwo: true,
  },
  { name: "batch", meaning: "Frames", type: "integer", min: 1, max: 1000, default: 64 },
  { name: "pool", meaning: "Bytes", type: "size", min: 4096, max: 1024 ** 4, default: 1024 ** 2 },
  { name: "indirect", meaning: "Tables", type: "flag", default: true },
  {
    name: "layout",
    meaning: "Ring layout",
    type: "choice",
    choices: ["modern", "legacy"],
    default: "modern",
  },
  { name: "features", meaning: "Mask", type: "mask" },
  { name: "split", meaning: "Pieces", type: "text", form: "N[,M...]", default: "" },
];

function read(name: string, value: OptionValue): unknown {
  return new OptionValues(SPECS, { [name]: value }).toJSON()[name];
}

Deno.test("OptionValues has the defaults when nothing is given, and tells what was given", () => {
  const values = new OptionValues(SPECS, { batch: 3 });
  assertEquals(values.integer("queue-size"), 256);
  assertEquals(values.integer("batch"), 3);
  assertEquals(values.integer("pool"), 1048576);
  assertEquals(values.flag("indirect"), true);
  assertEquals(values.text("layout"), "modern");
  assertEquals(values.text("split"), "");
  assertEquals(SPECS.map(({ name }) => values.given(name)), [false, true, false, false, false, false, false]);
});

Deno.test("OptionValues reads texts of every type", () => {
  const values = new OptionValues(SPECS, {
    "queue-size": "0x400",
    batch: "10",
    pool: "4k",
    indirect: "off",
    layout: "legacy",
    features: "0xffffffffffffffffffffffffffffffff",
    split: "1,2",
  });
  assertEquals(values.integer("queue-size"), 1024);
  assertEquals(values.integer("batch"), 10);
  assertEquals(values.integer("pool"), 4096);
  assertEquals(values.flag("indirect"), false);
  assertEquals(values.text("layout"), "legacy");
  assertEquals(values.mask("features"), 2n ** 128n - 1n);
  assertEquals(values.text("split"), "1,2");
});

Deno.test("OptionValues reads a flag either way, whatever its default is", () => {
  for (const value of ["on", true]) {
    for (const flag of [{ default: false }, { default: true }, {}]) {
      const spec: OptionSpec = { name: "f", meaning: "", type: "flag", ...flag };
      assertEquals(new OptionValues([spec], { f: value }).flag("f"), true);
      assertEquals(new OptionValues([spec], { f: value === true ? false : "off" }).flag("f"), false);
    }
  }
});

Deno.test("OptionValues takes values that are no texts", () => {
  assertEquals(read("queue-size", 512), 512);
  assertEquals(read("queue-size", 512n), 512);
  assertEquals(read("pool", 8192), 8192);
  assertEquals(read("pool", 8192n), 8192);
  assertEquals(read("indirect", false), false);
  assertEquals(read("features", 255), "0xff");
  assertEquals(read("features", 2n ** 64n), "0x10000000000000000");
});

Deno.test("OptionValues reads sizes with each suffix in either case", () => {
  for (
    const [text, size] of [["4096", 4096], ["0x1000", 4096], ["5K", 5120], ["2m", 2 ** 21], [
      "3G",
      3 * 2 ** 30,
    ]]
  ) {
    assertEquals(read("pool", text!), size);
  }
  assertEquals(read("pool", "1T"), 2 ** 40);
});

Deno.test("OptionValues refuses what does not fit and says what would", () => {
  const wrong: readonly (readonly [string, OptionValue, string])[] = [
    ["queue-size", "255", 'option queue-size takes power of two 1..32768: got "255"'],
    ["queue-size", "65536", "power of two 1..32768"],
    ["queue-size", 0, 'got "0"'],
    ["batch", "0", "option batch takes 1..1000"],
    ["batch", "1001", "1..1000"],
    ["batch", "-1", 'got "-1"'],
    ["batch", "1.5", 'got "1.5"'],
    ["batch", "1e2", 'got "1e2"'],
    ["batch", "", 'got ""'],
    ["batch", " 1", 'got " 1"'],
    ["batch", 2.5, 'got "2.5"'],
    ["batch", NaN, 'got "NaN"'],
    ["batch", true, 'got "on"'],
    ["pool", "4095", "option pool takes 4K..1T"],
    ["pool", "2T", "4K..1T"],
    ["pool", "4KB", 'got "4KB"'],
    ["pool", "1.5M", 'got "1.5M"'],
    ["pool", "K", 'got "K"'],
    ["indirect", "yes", 'option indirect takes on|off: got "yes"'],
    ["indirect", 1, 'got "1"'],
    ["layout", "legcy", 'option layout takes modern|legacy: got "legcy" (did you mean "legacy"?)'],
    ["layout", "LEGACY", 'got "LEGACY"'],
    ["features", "-1", "option features takes MASK"],
    ["features", "0x", 'got "0x"'],
    ["features", "0x1ffffffffffffffffffffffffffffffff", "takes MASK"],
    ["features", String(2n ** 128n), "takes MASK"],
    ["features", "12ab", 'got "12ab"'],
  ];
  for (const [name, value, message] of wrong) {
    assertThrows(() => new OptionValues(SPECS, { [name]: value }), OptionError, message);
  }
});

Deno.test("OptionValues refuses an unknown name and says the nearest", () => {
  assertThrows(
    () => new OptionValues(SPECS, { "qeue-size": 1 }),
    OptionError,
    'unknown option "qeue-size" (did you mean "queue-size"?)',
  );
  assertThrows(
    () => new OptionValues(SPECS, { toString: "1" }),
    OptionError,
    `unknown option "toString"; there are ${SPECS.map(({ name }) => name).join(", ")}`,
  );
  assertThrows(() => new OptionValues([], { a: "1" }), OptionError, 'unknown option "a"; there are none');
});

Deno.test("OptionValues.resolve fills in what has no default, which fails to be read before", () => {
  const values = new OptionValues(SPECS);
  assertEquals(values.has("features"), false);
  assertThrows(() => values.mask("features"), TypeError, '"features" has no value');
  values.resolve("features", 3n);
  assertEquals(values.mask("features"), 3n);
  assertEquals([values.has("features"), values.given("features")], [true, false]);
});

Deno.test("OptionValues.toJSON gives values that are read back as the same", () => {
  const values = new OptionValues(SPECS, {
    features: 0x1_0000_0020n,
    pool: 4096,
    indirect: false,
    split: "7",
  });
  const again = new OptionValues(SPECS, values.toJSON());
  assertEquals(again.toJSON(), values.toJSON());
  assertEquals(JSON.parse(JSON.stringify(values)), {
    "queue-size": 256,
    batch: 64,
    pool: 4096,
    indirect: false,
    layout: "modern",
    features: "0x100000020",
    split: "7",
  });
});

Deno.test("OptionValues.assignments gives every value as it would be typed", () => {
  const values = new OptionValues(SPECS, { features: 0x21n, pool: "4K", indirect: "off" });
  assertEquals(values.assignments(), [
    "queue-size=256",
    "batch=64",
    "pool=4096",
    "indirect=off",
    "layout=modern",
    "features=0x21",
    "split=",
  ]);
});

Deno.test("formatSize takes the largest suffix that divides", () => {
  const sizes = [0, 1, 1023, 1024, 1025, 1536 * 1024, 2 ** 20, 2 ** 30, 2 ** 40, 2 ** 50];
  assertEquals(sizes.map(formatSize), ["0", "1", "1023", "1K", "1025", "1536K", "1M", "1G", "1T", "1024T"]);
});

Deno.test("optionForm and formatOption write for people", () => {
  assertEquals(SPECS.map(optionForm), [
    "power of two 1..32768",
    "1..1000",
    "4K..1T",
    "on|off",
    "modern|legacy",
    "MASK",
    "N[,M...]",
  ]);
  assertEquals([true, false, 12, 12n, "a"].map(formatOption), ["on", "off", "12", "0xc", "a"]);
});

Deno.test("OptionValues tells a plugin which option it has wrong", () => {
  const values = new OptionValues(SPECS);
  const wrong: readonly (readonly [() => unknown, string])[] = [
    [() => values.integer("bach"), 'There is no option "bach" (did you mean "batch"?)'],
    [() => values.given("splits"), 'There is no option "splits"'],
    [() => values.has("splits"), 'There is no option "splits"'],
    [() => values.resolve("splits", 1), 'There is no option "splits"'],
    [() => values.integer("indirect"), 'Option "indirect" is no integer or size: it is flag'],
    [() => values.flag("layout"), 'Option "layout" is no flag: it is choice'],
    [() => values.text("features"), 'Option "features" is no choice or text: it is mask'],
    [() => values.mask("batch"), 'Option "batch" is no mask: it is integer'],
    [() => values.mask("features"), 'Option "features" has no value: derive one first'],
  ];
  for (const [read, message] of wrong) assertThrows(read, TypeError, message);
});
