import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  array,
  bitfield,
  bits,
  bytes,
  group,
  i16,
  i32,
  type Member,
  nameValue,
  nested,
  plainValue,
  type Struct,
  struct,
  type StructOptions,
  swapped,
  u16,
  u32,
  u64,
  u8,
  union,
  type ValuesInput,
} from "../../mod.ts";

function make(fields: Member[], options: Partial<StructOptions> = {}): Struct {
  return struct("thing", { summary: "A thing", source: "Here", fields, ...options });
}

/** Offset and size of each field by name. */
function places(layout: Struct): Record<string, [number, number]> {
  return Object.fromEntries(layout.fields.map(({ name, offset, size }) => [name, [offset, size]]));
}

Deno.test("struct places members one behind the other, without padding", () => {
  const layout = make([u8("a", ""), u64("b", ""), u16("c", ""), u32("d", ""), bytes("e", 3, "")]);
  assertEquals(places(layout), { a: [0, 1], b: [1, 8], c: [9, 2], d: [11, 4], e: [15, 1] });
  assertEquals([layout.size, layout.stride, layout.order], [18, 0, "le"]);
});

Deno.test("Struct.decode and encode keep the byte order of each field", () => {
  const layout = make([u16("a", "", { order: "le" }), u16("b", ""), u32("c", ""), u64("d", "")], {
    order: "be",
  });
  const data = Uint8Array.fromHex("0102" + "0102" + "01020304" + "0102030405060708");
  const values = { a: 0x0201, b: 0x0102, c: 0x01020304, d: 0x0102030405060708n };
  assertEquals(layout.decode(data), values);
  assertEquals(layout.encode(values), data);
});

Deno.test("Struct reads bit fields from the lowest bit of the unit, in either byte order", () => {
  const fields = [bitfield(2, [bits("low", 1, ""), bits("mid", 11, ""), bits("high", 4, "")])];
  const little = make(fields);
  assertEquals(little.decode(Uint8Array.fromHex("4fa1")), { low: 1, mid: 0x0a7, high: 0xa });
  const big = make(fields, { order: "be" });
  assertEquals(big.decode(Uint8Array.fromHex("a14f")), { low: 1, mid: 0x0a7, high: 0xa });
  assertEquals([little.shiftOf("mid"), little.maskOf("mid"), little.offsetOf("high")], [1, 0x0ffe, 0]);
});

Deno.test("Struct reads bit fields of 64-bit units as bigint, and writes one without touching its neighbours", () => {
  const layout = make([bitfield(8, [bits("a", 3, ""), bits("b", 40, ""), bits("c", 21, "")])]);
  const values = { a: 5n, b: 0xfe_dcba_9876n, c: 0x1f_0001n };
  const wanted = new DataView(new ArrayBuffer(8));
  wanted.setBigUint64(0, 5n | 0xfe_dcba_9876n << 3n | 0x1f_0001n << 43n, true);
  assertEquals(layout.encode(values), new Uint8Array(wanted.buffer));
  assertEquals(layout.decode(new Uint8Array(wanted.buffer)), values);
});

Deno.test("Struct reads signed fields below 0 and refuses what does not fit them", () => {
  const layout = make([
    i16("a", ""),
    i32("b", ""),
    bitfield(1, [bits("c", 3, "", { signed: true }), bits("d", 5, "")]),
  ]);
  const data = Uint8Array.fromHex("feff" + "00000080" + "f7");
  assertEquals(layout.decode(data), { a: -2, b: -0x80000000, c: -1, d: 30 });
  assertEquals(layout.encode({ a: -2, b: -0x80000000, c: -1, d: 30 }), data);
  for (const wrong of [{ a: 0x8000 }, { a: -0x8001 }, { b: 2 ** 31 }, { c: 4 }, { c: -5 }, { d: -1 }]) {
    assertThrows(() => layout.encode(wrong as unknown as ValuesInput), RangeError, "does not fit");
  }
});

Deno.test("array names its elements, of numbers and of structures", () => {
  const point = struct("point", { summary: "", source: "", fields: [u8("x", ""), u16("y", "")] });
  const layout = make([array("n", 2, u16("", "")), array("p", 2, point)]);
  assertEquals(places(layout), {
    "n[0]": [0, 2],
    "n[1]": [2, 2],
    "p[0].x": [4, 1],
    "p[0].y": [5, 2],
    "p[1].x": [7, 1],
    "p[1].y": [8, 2],
  });
});

Deno.test("nested gives paths, or stands with the others without a name, and keeps a byte order of its own", () => {
  const inner = struct("inner", { summary: "", source: "", order: "be", fields: [u16("v", "")] });
  const layout = make([
    nested("in", inner),
    u16("w", ""),
  ]);
  assertEquals(layout.decode(Uint8Array.fromHex("00010100")), { "in.v": 1, w: 1 });
  const plain = make([nested("", inner), u8("z", "")]);
  assertEquals(Object.keys(plain.decode(new Uint8Array(3))), ["v", "z"]);
});

Deno.test("nested takes the byte order around it when it states none", () => {
  const inner = struct("inner", { summary: "", source: "", fields: [u16("v", "")] });
  assertEquals(make([nested("in", inner)], { order: "be" }).decode(Uint8Array.fromHex("0102")), {
    "in.v": 0x102,
  });
});

Deno.test("group keeps members one after another within a union, under its name", () => {
  const layout = make([union("", [u32("word", ""), group("half", [u16("low", ""), u16("high", "")])])]);
  assertEquals(layout.size, 4);
  const values = layout.decode(Uint8Array.of(0x44, 0x33, 0x22, 0x11));
  assertEquals(values, { word: 0x11223344, "half.low": 0x3344, "half.high": 0x1122 });
});

Deno.test("union shares one place as large as its largest member", () => {
  const layout = make([union("u", [u8("small", ""), u32("large", "")]), u8("next", "")]);
  assertEquals(places(layout), { "u.small": [0, 1], "u.large": [0, 4], next: [4, 1] });
  assertEquals(layout.decode(Uint8Array.fromHex("0102030405")), {
    "u.small": 1,
    "u.large": 0x04030201,
    next: 5,
  });
});

Deno.test("an array that takes the rest has as many elements as the bytes hold, and fields behind it", () => {
  const entry = struct("entry", { summary: "", source: "", fields: [u16("id", ""), bytes("tag", 2, "")] });
  const layout = make([u8("head", ""), array("ring", "rest", entry), u16("tail", "")]);
  assertEquals([layout.size, layout.stride], [3, 4]);
  assertEquals(layout.offsetOf("tail"), -2);
  assertEquals(layout.field("ring[].id").stride, 4);
  const data = Uint8Array.fromHex("aa" + "0100abcd" + "0200ef01" + "3412");
  const values = {
    head: 0xaa,
    "ring[0].id": 1,
    "ring[0].tag": [0xab, 0xcd],
    "ring[1].id": 2,
    "ring[1].tag": [0xef, 0x01],
    tail: 0x1234,
  };
  assertEquals(layout.decode(data), values);
  assertEquals(layout.encode(values), data);
  assertEquals(layout.decode(data.subarray(0, 3)), { head: 0xaa, tail: 1 });
  assertEquals(
    layout.encode({ "ring[1].id": 7, head: 1 }),
    Uint8Array.fromHex("01" + "00000000" + "07000000" + "0000"),
  );
});

Deno.test("bytes that take the rest are one value", () => {
  const layout = make([u16("n", ""), bytes("data", "rest", ""), u8("end", "")]);
  assertEquals(layout.decode(Uint8Array.fromHex("0500aabbcc09")), { n: 5, data: [0xaa, 0xbb, 0xcc], end: 9 });
  assertEquals(layout.encode({ n: 5, data: [0xaa, 0xbb, 0xcc], end: 9 }), Uint8Array.fromHex("0500aabbcc09"));
  assertEquals(layout.encode({}), new Uint8Array(3));
});

Deno.test("struct refuses members that do not add up", () => {
  assertThrows(() => make([u32("a", "")], { size: 5 }), TypeError, "thing are 4 bytes long, not 5");
  assertEquals(make([u32("a", "")], { size: 4 }).size, 4);
  assertThrows(() => make([bitfield(1, [bits("a", 7, "")])]), TypeError, 'fill 7 of 8 bits at "a"');
  assertThrows(() => make([bitfield(1, [bits("a", 9, "")])]), TypeError, "fill 9 of 8 bits");
  const rest = bytes("b", "rest", "");
  assertThrows(
    () => make([array("a", "rest", u8("", "")), rest]),
    TypeError,
    "two arrays that take the rest",
  );
  assertThrows(() => make([union("", [rest, rest])]), TypeError, "two arrays that take the rest");
});

Deno.test("struct refuses counts and widths that are none, and two fields of one name", () => {
  for (const count of [-1, 0.5, NaN, Infinity]) {
    assertThrows(() => bytes("b", count, ""), TypeError, `"b" cannot have ${count} elements`);
    assertThrows(() => array("b", count, u8("", "")), TypeError, `"b" cannot have ${count} elements`);
  }
  for (const width of [0, -1, 0.5, NaN]) {
    const fields = [bits("a", width, ""), bits("b", 8 - width, "")];
    assertThrows(() => bitfield(1, fields), TypeError, `"a" cannot have ${width} bits`);
  }
  const twice = make([u8("a", ""), union("", [u16("b", ""), nested("", make([u8("a", "")]))])]);
  assertThrows(() => twice.fields, TypeError, 'thing has two fields "a"');
  assertThrows(() => twice.offsetOf("b"), TypeError, 'thing has two fields "a"');
});

Deno.test("Struct.field finds by path and says the nearest when there is none", () => {
  const layout = make([u32("addr", "Address"), u16("len", "Length")]);
  assertEquals(layout.field("len").meaning, "Length");
  assertThrows(() => layout.field("adr"), TypeError, 'thing has no field "adr" (did you mean "addr"?)');
  assertThrows(() => layout.offsetOf("zzzz"), TypeError, 'thing has no field "zzzz"');
});

Deno.test("Struct.maskOf works up to bit 31 and refuses what reaches above", () => {
  const layout = make([
    u32("whole", ""),
    bitfield(4, [bits("a", 31, ""), bits("top", 1, "")]),
    bitfield(8, [bits("low", 32, ""), bits("high", 32, "")]),
    u64("wide", ""),
  ]);
  assertEquals(layout.maskOf("whole"), 0xffffffff);
  assertEquals(layout.maskOf("top"), 0x80000000);
  assertEquals(layout.maskOf("low"), 0xffffffff);
  assertThrows(() => layout.maskOf("high"), TypeError, "thing.high reaches above bit 31");
  assertThrows(() => layout.maskOf("wide"), TypeError, "thing.wide reaches above bit 31");
});

Deno.test("Struct.decode refuses bytes that are too few", () => {
  const layout = make([u32("a", ""), array("b", "rest", u16("", ""))]);
  const few:
    readonly (readonly [length: number, offset: number, span: number | undefined, message: string])[] = [
      [3, 0, undefined, "thing takes 4 bytes: got 3"],
      [8, 5, undefined, "thing takes 4 bytes: got 3"],
      [8, 9, undefined, "thing takes 4 bytes: got 0"],
      [0, 0, undefined, "thing takes 4 bytes: got 0"],
      [8, 0, 3, "thing takes 4 bytes: got 3"],
      [8, 0, -4, "thing takes 4 bytes: got -4"],
      [8, 0, 9, "thing takes 9 bytes: got 8"],
      [8, 2, 7, "thing takes 7 bytes: got 6"],
      [8, -1, undefined, "Cannot decode thing from 9 bytes at -1"],
      [8, 0.5, 4, "Cannot decode thing from 4 bytes at 0.5"],
      [8, NaN, 4, "Cannot decode thing from 4 bytes at NaN"],
      [8, 0, NaN, "Cannot decode thing from NaN bytes at 0"],
    ];
  for (const [length, offset, span, message] of few) {
    assertThrows(() => layout.decode(new Uint8Array(length), offset, span), RangeError, message);
  }
});

Deno.test("Struct.decode ignores what is behind a structure of fixed size, and reads a view of a buffer", () => {
  const whole = Uint8Array.fromHex("ffff0102ffff");
  assertEquals(make([u16("a", "")]).decode(whole.subarray(2)), { a: 0x0201 });
  assertEquals(make([u16("a", "")]).decode(whole, 3), { a: 0xff02 });
});

Deno.test("Struct.encode takes numbers, bigints and texts, and 0 for what is missing", () => {
  const layout = make([u16("a", ""), u64("b", ""), i16("c", ""), bytes("d", 2, "")]);
  const wanted = Uint8Array.fromHex("3412" + "ffffffffffffffff" + "fbff" + "0700");
  assertEquals(layout.encode({ a: 0x1234, b: 2n ** 64n - 1n, c: -5, d: [7] }), wanted);
  assertEquals(layout.encode({ a: "0x1234", b: "18446744073709551615", c: "-5", d: [7, 0] }), wanted);
  assertEquals(layout.encode({}), new Uint8Array(14));
});

Deno.test("Struct.encode refuses what fits no field, names no field, or is no number", () => {
  const layout = make([u16("addr", ""), bytes("mac", 2, ""), array("ring", "rest", u8("", ""))]);
  const unfit: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ addr: 0x10000 }, "thing.addr has 16 bits: 65536 does not fit"],
    [{ addr: -1 }, "-1 does not fit"],
    [{ addr: "0x10000" }, "0x10000 does not fit"],
    [{ addr: 1.5 }, 'thing.addr takes a whole number: got "1.5"'],
    [{ addr: "" }, "takes a whole number"],
    [{ addr: "12 " }, "takes a whole number"],
    [{ addr: "ten" }, "takes a whole number"],
    [{ addr: NaN }, "takes a whole number"],
    [{ addr: [1] }, "takes a whole number"],
    [{ addr: true }, "takes a whole number"],
    [{ mac: 5 }, "thing.mac takes 2 bytes"],
    [{ mac: [1, 2, 3] }, "thing.mac takes 2 bytes"],
    [{ mac: [256] }, "thing.mac takes 2 bytes"],
    [{ mac: [-1] }, "thing.mac takes 2 bytes"],
    [{ mac: [0.5] }, "thing.mac takes 2 bytes"],
    [{ "ring[0]": 256 }, "256 does not fit"],
    [{ "ring[4294967295]": 1 }, "is longer than"],
    [{ "ring[99999999999999999999]": 1 }, "is longer than"],
  ];
  for (const [values, message] of unfit) {
    assertThrows(() => layout.encode(values as ValuesInput), RangeError, message);
  }
  for (
    const [name, hint] of [["adr", ' (did you mean "addr"?)'], ["ring[x]", ""], ["ring[", ""], [
      "toString",
      "",
    ]]
  ) {
    assertThrows(() => layout.encode({ [name!]: 1 }), TypeError, `thing has no field "${name}"${hint}`);
  }
});

Deno.test("swapped turns the order around, but not of members that state one", () => {
  const original = make([u16("a", ""), u16("b", "", { order: "be" })]);
  const turned = swapped(original);
  assertEquals([turned.name, turned.order, turned.summary], ["thing@be", "be", "A thing (big endian)"]);
  assertEquals(turned.decode(Uint8Array.fromHex("00010001")), { a: 1, b: 1 });
  assertEquals(swapped(make([u16("a", "")], { order: "be" })).name, "thing@le");
});

Deno.test("nameValue names a value or the flags in it, up to the highest bit of 64", () => {
  const layout = make([
    u8("status", "", { values: { OK: 0, BAD: 255 } }),
    u32("flags", "", { flags: { NEXT: 1, WRITE: 2, TOP: 0x80000000 } }),
    u64("features", "", { flags: { CSUM: 1, V1: 2 ** 32, HIGH: 2 ** 63 } }),
    i16("result", "", { values: { FAILED: -1 } }),
    bytes("mac", 6, ""),
  ]);
  const name = (field: string, value: number | bigint | number[]) => nameValue(layout.field(field), value);
  assertEquals([0, 255, 7].map((value) => name("status", value)), ["OK", "BAD", ""]);
  assertEquals(name("flags", 0x80000003), "NEXT|WRITE|TOP");
  assertEquals(name("flags", 4), "");
  assertEquals(name("features", 2n ** 63n + 2n ** 32n + 1n), "CSUM|V1|HIGH");
  assertEquals(name("features", 2n ** 40n), "");
  assertEquals(name("result", -1), "FAILED");
  assertEquals(name("mac", [0, 0, 0, 0, 0, 0]), "");
});

Deno.test("plainValue makes values that JSON can carry", () => {
  const list = [1, 2];
  assertStrictEquals(plainValue(list), list);
  assertEquals(plainValue(7), 7);
  assertEquals(plainValue(2n ** 53n - 1n), 2 ** 53 - 1);
  assertEquals(plainValue(2n ** 53n), "0x20000000000000");
});
