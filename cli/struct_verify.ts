/**
 * `ringpipe struct verify`: layouts against golden vectors.
 *
 * @module
 */
import { equals } from "@std/bytes/equals";
import { plainValue, type Struct, type Value } from "../core/layout.ts";
import { nearest } from "../core/nearest.ts";
import type { Call } from "./command.ts";
import { DELIVERED, explain, FAILED } from "./errors.ts";
import { readText } from "./files.ts";
import { formatHex, parseHex } from "./hex.ts";
import { print, visible } from "./output.ts";
import { knownStructs } from "./struct_names.ts";
import { counted } from "./table.ts";

/** One golden value of a structure. */
interface Vector {
  readonly struct: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly hex: string;
}

function isVector(entry: unknown): entry is Vector {
  if (typeof entry !== "object" || entry === null) return false;
  const { struct, fields, hex } = entry as Record<string, unknown>;
  return typeof struct === "string" && typeof hex === "string" && typeof fields === "object" &&
    fields !== null;
}

async function readVectors(file: string): Promise<Vector[]> {
  const text = await readText(file);
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file} is not JSON: ${explain(error)}`);
  }
  if (!Array.isArray(entries)) throw new Error(`${file} is not an array of vectors`);
  const wrong = entries.findIndex((entry) => !isVector(entry));
  if (wrong >= 0) throw new Error(`${file}: entry ${wrong} has no "struct", "fields" and "hex"`);
  return entries;
}

/** A value of a vector or of a structure as text: equal texts are equal values, however they are written. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(", ")}]`;
  try {
    return BigInt(value as number | string).toString();
  } catch {
    return JSON.stringify(value) ?? "nothing";
  }
}

function shown(value: Value | undefined): string {
  return value === undefined ? "no such field" : JSON.stringify(plainValue(value)).replaceAll('"', "");
}

/** Says in what a structure and a vector disagree; nothing if they agree. */
function disagreements(struct: Struct, vector: Vector): string[] {
  const bytes = parseHex(vector.hex);
  const values = struct.decode(bytes);
  const wrong: string[] = [];
  for (const [name, wanted] of Object.entries(vector.fields)) {
    const got = Object.hasOwn(values, name) ? values[name] : undefined;
    if (canonical(got) !== canonical(wanted)) {
      const text = typeof wanted === "string" ? wanted : JSON.stringify(wanted);
      wrong.push(`field ${name}: wanted ${text}, got ${shown(got)}`);
    }
  }
  const encoded = struct.encode(values);
  if (!equals(encoded, bytes)) wrong.push(`bytes: wanted ${formatHex(bytes)}, got ${formatHex(encoded)}`);
  return wrong;
}

/** Verifies all vectors of the given files, and prints those that fail. */
export async function verifyStructs(call: Call): Promise<number> {
  const known = await knownStructs(call);
  let passed = 0;
  let failed = 0;
  let unknown = 0;
  for (const file of call.operands) {
    const strangers = new Map<string, number>();
    for (const [i, vector] of (await readVectors(file)).entries()) {
      const struct = known.get(vector.struct)?.struct;
      if (!struct) {
        strangers.set(vector.struct, (strangers.get(vector.struct) ?? 0) + 1);
        continue;
      }
      let wrong: string[];
      try {
        wrong = disagreements(struct, vector);
      } catch (error) {
        wrong = [explain(error)];
      }
      if (wrong.length === 0) passed++;
      else failed++;
      for (const text of wrong) print(`${visible(`${file}: vector ${i}, ${vector.struct}: ${text}`)}\n`);
    }
    for (const [name, count] of strangers) {
      const near = nearest(name, known.keys());
      const hint = near === undefined ? "" : ` (nearest: ${near})`;
      print(`${visible(`${file}: unknown structure ${name}, ${counted(count, "vector")}${hint}`)}\n`);
      unknown += count;
    }
  }
  print(`${passed} passed, ${failed} failed, ${unknown} unknown\n`);
  return failed > 0 || (unknown > 0 && call.has("strict")) ? FAILED : DELIVERED;
}
