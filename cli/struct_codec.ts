/**
 * `ringpipe struct decode` and `encode`.
 *
 * @module
 */
import { type Field, nameValue, plainValue, type Struct, type Values } from "../core/layout.ts";
import type { Call } from "./command.ts";
import { DELIVERED, UsageError } from "./errors.ts";
import { readText } from "./files.ts";
import { formatHex, parseHex } from "./hex.ts";
import { print } from "./output.ts";
import { chosenStruct } from "./struct_names.ts";
import { columns } from "./table.ts";

/** The field that a decoded name belongs to: `ring[3].id` to `ring[].id`. */
function fieldOf(struct: Struct, name: string): Field {
  const exact = struct.fields.find((field) => field.name === name);
  return exact ?? struct.field(name.replace(/\[\d+\]/, "[]"));
}

function valueTable(struct: Struct, values: Values): string {
  const rows = Object.entries(values).map(([name, value]) => {
    if (typeof value === "object") return [name, "", formatHex(value, ":")];
    const field = fieldOf(struct, name);
    const digits = value < 0 ? "" : `0x${value.toString(16).padStart(Math.ceil(field.width / 4), "0")}`;
    return [name, String(value), `${digits} ${nameValue(field, value)}`.trim()];
  });
  return columns(rows, [1]);
}

async function givenHex(words: readonly string[]): Promise<string> {
  return words.length === 1 && words[0] === "-" ? await readText("-") : words.join("");
}

/** A mistake in what was given, as the layout says it: it has what was typed in its words, whole. */
function mistake(error: unknown): UsageError {
  return new UsageError((error as Error).message);
}

/** The bytes of each of the structures that stand side by side. */
function split(struct: Struct, bytes: Uint8Array): Uint8Array[] {
  if (struct.stride || bytes.length <= struct.size) return [bytes];
  if (bytes.length % struct.size > 0) {
    throw new UsageError(`${struct.name} takes ${struct.size} bytes, or a multiple: got ${bytes.length}`);
  }
  return Array.from(
    { length: bytes.length / struct.size },
    (_, i) => bytes.subarray(i * struct.size, (i + 1) * struct.size),
  );
}

function decodeOne(struct: Struct, bytes: Uint8Array): Values {
  const values = struct.decode(bytes);
  const used = struct.encode(values).length;
  if (used !== bytes.length) {
    throw new UsageError(
      `${struct.name} takes ${used} or ${used + struct.stride} bytes: got ${bytes.length}`,
    );
  }
  return values;
}

/** Prints the fields of given bytes. */
export async function decodeStruct(call: Call): Promise<number> {
  const { struct } = await chosenStruct(call);
  const bytes = parseHex(await givenHex(call.operands.slice(1)));
  let decoded: Values[];
  try {
    decoded = split(struct, bytes).map((part) => decodeOne(struct, part));
  } catch (error) {
    throw mistake(error);
  }
  if (call.has("json")) {
    const plain = decoded.map((values) =>
      Object.fromEntries(Object.entries(values).map(([name, value]) => [name, plainValue(value)]))
    );
    print(`${JSON.stringify(plain.length === 1 ? plain[0] : plain, null, 2)}\n`);
    return DELIVERED;
  }
  const tables = decoded.map((values, i) =>
    (decoded.length > 1 ? `${struct.name}[${i}]\n` : "") + valueTable(struct, values)
  );
  print(tables.join("\n"));
  return DELIVERED;
}

/** A number, or the names of bits or of a value. */
function parseNumber(field: Field, text: string): bigint {
  if (/^-?\d+$/.test(text) || /^0x[0-9a-f]+$/i.test(text)) return BigInt(text);
  const { values = {}, flags = {} } = field;
  if (Object.hasOwn(values, text)) return BigInt(values[text]!);
  return text.split("|").reduce((sum, name) => {
    if (!Object.hasOwn(flags, name)) {
      const names = [...Object.keys(values), ...Object.keys(flags)];
      const known = names.length > 0 ? ` or ${names.join("|")}` : "";
      throw new UsageError(`${field.name} takes a number${known}: got "${text}"`);
    }
    return sum | BigInt(flags[name]!);
  }, 0n);
}

/** Prints the bytes of given fields. */
export async function encodeStruct(call: Call): Promise<number> {
  const { struct } = await chosenStruct(call);
  const values = new Map<string, bigint | number[]>();
  let bytes: Uint8Array;
  try {
    for (const word of call.operands.slice(1)) {
      const [, name, text] = /^([^=]+)=([^]*)$/.exec(word) ?? [];
      if (name === undefined || text === undefined) {
        throw new UsageError(`struct encode takes FIELD=VALUE: got "${word}"`);
      }
      if (values.has(name)) throw new UsageError(`field ${name} is given twice`);
      const field = fieldOf(struct, name);
      values.set(name, field.count === undefined ? parseNumber(field, text) : [...parseHex(text)]);
    }
    bytes = struct.encode(Object.fromEntries(values));
  } catch (error) {
    throw mistake(error);
  }
  print(`${formatHex(bytes)}\n`);
  return DELIVERED;
}
