/**
 * `ringpipe struct list` and `show`.
 *
 * @module
 */
import type { Field, Struct } from "../core/layout.ts";
import type { Call } from "./command.ts";
import { DELIVERED } from "./errors.ts";
import { print } from "./output.ts";
import { chosenStruct, knownStructs, type NamedStruct } from "./struct_names.ts";
import { columns, lineWidth, wrap } from "./table.ts";

/** `16`, or `6+2n` with an array that takes the rest. */
function sizeText({ size, stride }: Struct): string {
  return stride ? `${size}+${stride}n` : `${size}`;
}

/** Prints which structures there are. */
export async function listStructs(call: Call): Promise<number> {
  const known = [...(await knownStructs(call)).values()];
  if (call.has("json")) {
    const plain = known.map(({ struct: { name, size, stride, summary }, backend }) => (
      { name, backend, size, stride, summary }
    ));
    print(`${JSON.stringify(plain, null, 2)}\n`);
  } else if (known.length > 0) {
    const rows = known.map(({ struct, backend }) => [struct.name, backend, sizeText(struct), struct.summary]);
    print(columns([["NAME", "BACKEND", "BYTES", "WHAT IT IS"], ...rows], [2]));
  }
  return DELIVERED;
}

/** Whether a field lies behind the array that takes the rest. */
function isBehind({ offset }: Field): boolean {
  return offset < 0;
}

/** The bits of a field within its unit: none if it fills it. */
function bitsOf({ size, shift, width }: Field): string {
  if (width === size * 8) return "";
  return width === 1 ? `${shift}` : `${shift}..${shift + width - 1}`;
}

function widthOf({ count, width, signed }: Field): string {
  if (count === "rest") return "bytes to the end";
  if (count !== undefined) return `${count} byte${count === 1 ? "" : "s"}`;
  return `${signed ? "signed " : ""}${width}`;
}

function hex(value: number): string {
  return value < 0 ? `${value}` : `0x${value.toString(16)}`;
}

/** Lines for the names that a field's bits and values have. */
function nameRows(field: Field): string[][] {
  const { flags = {}, values = {} } = field;
  const names = [
    ...Object.entries(flags).map(([name, mask]) => `${hex(mask)} ${name}`),
    ...Object.entries(values).map(([name, value]) => `${value} ${name}`),
  ];
  return names.map((text) => ["", "", "", "", "", `  ${text}`]);
}

/** Where a field lies: offset, bits, width, byte order. */
function placeCells(field: Field): [string, string, string, string] {
  const order = field.size > 1 && field.count === undefined ? field.order : "";
  const offset = isBehind(field) ? `end${field.offset}` : `${field.offset}`;
  return [offset, bitsOf(field), widthOf(field), order];
}

/** An array that begins at a field. */
interface ArrayAt {
  /** C path. */
  readonly path: string;
  /** Elements. */
  readonly length: number;
  /** Fields of each. */
  readonly each: number;
}

/** Whether a field is an element of an array, or lies in one. */
function isIn(field: Field | undefined, element: string): boolean {
  return field?.name === element || (field?.name.startsWith(`${element}.`) ?? false);
}

/** The array whose first field is the one at `start`, if that is one of at least two elements. */
function arrayAt(fields: readonly Field[], start: number): ArrayAt | undefined {
  const { name } = fields[start]!;
  for (const { index } of name.matchAll(/\[0\]/g)) {
    const path = name.slice(0, index);
    let [length, end] = [0, start];
    for (let element = `${path}[0]`; isIn(fields[end], element); element = `${path}[${++length}]`) {
      while (isIn(fields[end], element)) end++;
    }
    if (length > 1) return { path, length, each: (end - start) / length };
  }
  return undefined;
}

/** A row for each field and for each array; of an array of structures, the first is shown in full. */
function fieldRows(fields: readonly Field[]): string[][] {
  const rows: string[][] = [];
  for (let i = 0; i < fields.length;) {
    const field = fields[i]!;
    const array = arrayAt(fields, i);
    const { path = "", length = 1, each = 1 } = array ?? {};
    const all = array ? `${path}[0..${length - 1}]` : field.name;
    const [offset, bits, width, order] = placeCells(field);
    if (each > 1) {
      const size = fields[i + each]!.offset - field.offset;
      rows.push([offset, "", `${length} x ${size} bytes`, "", all, "Each like the first:"]);
      rows.push(...fieldRows(fields.slice(i, i + each)));
    } else {
      rows.push([offset, bits, array ? `${length} x ${width}` : width, order, all, field.meaning]);
      rows.push(...nameRows(field));
    }
    i += length * each;
  }
  return rows;
}

function layoutTable({ fields }: Struct): string {
  return columns([["OFFSET", "BITS", "WIDTH", "ORDER", "NAME", "MEANING"], ...fieldRows(fields)], [0, 1, 2]);
}

function heading({ struct, backend }: NamedStruct): string {
  const repeated = struct.stride ? ` and ${struct.stride} for each element of the array` : "";
  const lines = [
    `${struct.name}: ${struct.summary}`,
    `${struct.size} bytes${repeated}; backend ${backend}; source: ${struct.source}`,
  ];
  return lines.map((line) => `${wrap(line, lineWidth()).join("\n")}\n`).join("") + "\n";
}

function plainLayout({ struct, backend }: NamedStruct): Record<string, unknown> {
  const { name, summary, source, order, size, stride } = struct;
  const fields = struct.fields.map((field) => ({
    name: field.name,
    offset: field.offset,
    size: field.size,
    shift: field.shift,
    width: field.width,
    order: field.order,
    ...field.signed && { signed: true },
    ...field.count !== undefined && { count: field.count },
    meaning: field.meaning,
    ...field.flags && { flags: field.flags },
    ...field.values && { values: field.values },
  }));
  return { name, backend, summary, source, order, size, stride, fields };
}

/** Prints the layout of one structure. */
export async function showStruct(call: Call): Promise<number> {
  const found = await chosenStruct(call);
  print(
    call.has("json")
      ? `${JSON.stringify(plainLayout(found), null, 2)}\n`
      : heading(found) + layoutTable(found.struct),
  );
  return DELIVERED;
}
