/**
 * Structures as data: a layout is written once, and gives offsets to hot paths and a decoder, an encoder and
 * a description to everything else.
 *
 * @module
 */
import type { ByteOrder, Member } from "./layout_member.ts";
import { type Field, placeAll, restsOf, sizeOf, strideOf } from "./layout_place.ts";
import { didYouMean } from "./nearest.ts";

export * from "./layout_member.ts";
export type { Field } from "./layout_place.ts";

/** An array that takes the rest is not encoded beyond this size: an index that large is a slip. */
const MOST_BYTES = 16 * 1024 * 1024;

/**
 * A decoded value: fields that lie in 64-bit units are `bigint`, byte arrays arrays of numbers, all others numbers.
 */
export type Value = number | bigint | number[];

/** Decoded values by the field's C path: `ring[2].id`, `hdr.flags`. */
export type Values = Record<string, Value>;

/** What {@linkcode Struct.encode} takes: missing fields are 0; numbers may be texts such as `0x1000`. */
export type ValuesInput = Readonly<Record<string, number | bigint | string | readonly number[]>>;

/** What {@linkcode struct} takes beside the name. */
export interface StructOptions {
  /** What the structure is, in one line. */
  readonly summary: string;
  /** Where it is defined: specification section, header. */
  readonly source: string;
  /** Byte order of its fields; if not said, that of the structure around it, or little endian. */
  readonly order?: ByteOrder;
  /** Its size in bytes as the source states it, checked against the members; an array that takes the rest counts 0. */
  readonly size?: number;
  /** Its members in order. */
  readonly fields: readonly Member[];
}

function readUnit(view: DataView, offset: number, field: Field): number | bigint {
  const little = field.order === "le";
  switch (field.size) {
    case 1:
      return view.getUint8(offset);
    case 2:
      return view.getUint16(offset, little);
    case 4:
      return view.getUint32(offset, little);
    default:
      return view.getBigUint64(offset, little);
  }
}

function readField(view: DataView, offset: number, field: Field): number | bigint {
  const { shift, width, signed } = field;
  const unit = readUnit(view, offset, field);
  if (typeof unit === "bigint") {
    const value = unit >> BigInt(shift);
    return signed ? BigInt.asIntN(width, value) : BigInt.asUintN(width, value);
  }
  // Integer operations, so that what a program computes from it stays an integer for the engine.
  const value = width === 32 ? unit : (unit >>> shift) & (2 ** width - 1);
  return signed && value >= 2 ** (width - 1) ? value - 2 ** width : value;
}

function writeUnit(view: DataView, offset: number, field: Field, value: number | bigint): void {
  const little = field.order === "le";
  if (typeof value === "bigint") view.setBigUint64(offset, value, little);
  else if (field.size === 1) view.setUint8(offset, value);
  else if (field.size === 2) view.setUint16(offset, value, little);
  else view.setUint32(offset, value, little);
}

/** Writes a whole number into a field. False if it does not fit. */
function writeField(view: DataView, offset: number, field: Field, value: number | bigint): boolean {
  const { shift, width, signed } = field;
  const unit = readUnit(view, offset, field);
  if (typeof unit === "bigint") {
    const wide = BigInt(value);
    const low = BigInt.asUintN(width, wide);
    if (wide !== (signed ? BigInt.asIntN(width, wide) : low)) return false;
    const others = unit & ~(((1n << BigInt(width)) - 1n) << BigInt(shift));
    writeUnit(view, offset, field, others | (low << BigInt(shift)));
    return true;
  }
  const number = Number(value);
  const limit = 2 ** (signed ? width - 1 : width);
  if (number >= limit || number < (signed ? -limit : 0)) return false;
  const mask = 2 ** width - 1;
  writeUnit(view, offset, field, (unit & ~(mask << shift)) | ((number & mask) << shift));
  return true;
}

function isByte(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xff;
}

/** A value to be encoded, or `undefined` if it is no whole number. */
function toInteger(value: ValuesInput[string]): number | bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isInteger(value) ? value : undefined;
  return typeof value === "string" && /^(-?\d+|0x[0-9a-f]+)$/i.test(value) ? BigInt(value) : undefined;
}

/** A structure's layout. Made by {@linkcode struct}. */
export class Struct {
  /** C name; a variant stands behind `@`, `.` or `:`. */
  readonly name: string;
  /** What it is. */
  readonly summary: string;
  /** Where it is defined. */
  readonly source: string;
  /** Byte order of its fields where they do not say otherwise. */
  readonly order: ByteOrder;
  /** The byte order that its definition states, if it does. */
  readonly ownOrder: ByteOrder | undefined;
  /** Size in bytes; an array that takes the rest counts 0. */
  readonly size: number;
  /** Its members as stated. */
  readonly members: readonly Member[];
  /** Bytes per element of the array that takes the rest; 0 if there is none. */
  readonly stride: number;
  /** Made when they are first asked for: of most structures of a plugin, a run needs none. */
  #fields: readonly Field[] | undefined;
  #byName: Map<string, Field> | undefined;

  /** See {@linkcode struct}. */
  constructor(name: string, options: StructOptions) {
    this.name = name;
    this.summary = options.summary;
    this.source = options.source;
    this.ownOrder = options.order;
    this.order = options.order ?? "le";
    this.members = options.fields;
    this.size = options.fields.reduce((sum, member) => sum + sizeOf(member), 0);
    if (options.size !== undefined && options.size !== this.size) {
      throw new TypeError(`The members of ${name} are ${this.size} bytes long, not ${options.size}`);
    }
    const [rest, ...others] = restsOf(options.fields);
    if (others.length > 0) throw new TypeError(`${name} has two arrays that take the rest`);
    this.stride = rest ? strideOf(rest) : 0;
  }

  /**
   * Its fields with their places.
   *
   * @throws {TypeError} If two have the same name.
   */
  get fields(): readonly Field[] {
    return this.#fields ??= this.#place();
  }

  #place(): Field[] {
    const fields: Field[] = [];
    placeAll(fields, this.members, "", 0, this.order, false);
    const names = new Set<string>();
    for (const { name } of fields) {
      if (names.has(name)) throw new TypeError(`${this.name} has two fields "${name}"`);
      names.add(name);
    }
    const last = fields.findLastIndex((field) => field.stride !== undefined);
    if (last < 0) return fields;
    return fields.map((field, i) => i > last ? { ...field, offset: field.offset - this.size } : field);
  }

  /**
   * A field by its C path.
   *
   * @throws {TypeError} If there is none of that name.
   */
  field(name: string): Field {
    this.#byName ??= new Map(this.fields.map((field) => [field.name, field]));
    const field = this.#byName.get(name);
    if (!field) {
      const names = [...this.#byName.keys()];
      const hint = didYouMean(name, names) || `; there are ${names.join(", ")}`;
      throw new TypeError(`${this.name} has no field "${name}"${hint}`);
    }
    return field;
  }

  /**
   * Byte offset of a field (for a bit field: of its unit). Fields behind an array that takes the rest have negative
   * offsets, counted back from the structure's end.
   *
   * @throws {TypeError} If there is no such field.
   */
  offsetOf(name: string): number {
    return this.field(name).offset;
  }

  /**
   * The mask of a field within its unit, if it lies in the unit's low 32 bits.
   *
   * @throws {TypeError} If there is no such field, or it reaches above bit 31.
   */
  maskOf(name: string): number {
    const { width, shift } = this.field(name);
    if (shift + width > 32) throw new TypeError(`${this.name}.${name} reaches above bit 31 of its unit`);
    return (2 ** width - 1) * 2 ** shift;
  }

  /**
   * Lowest bit of a field within its unit.
   *
   * @throws {TypeError} If there is no such field.
   */
  shiftOf(name: string): number {
    return this.field(name).shift;
  }

  /**
   * Reads all fields.
   *
   * @param source The bytes that hold the structure.
   * @param offset Where it starts in them.
   * @param length How long it is; matters only with an array that takes the rest, and defaults to all that is there.
   * @throws {RangeError} If the bytes are too few, or offset or length are none.
   */
  decode(source: Uint8Array, offset = 0, length?: number): Values {
    const available = Math.max(source.length - offset, 0);
    const span = length ?? (this.stride ? available : this.size);
    if (!Number.isInteger(offset) || offset < 0 || !Number.isInteger(span)) {
      throw new RangeError(`Cannot decode ${this.name} from ${span} bytes at ${offset}`);
    }
    if (span < this.size) throw new RangeError(`${this.name} takes ${this.size} bytes: got ${span}`);
    if (span > available) throw new RangeError(`${this.name} takes ${span} bytes: got ${available}`);
    const view = new DataView(source.buffer, source.byteOffset + offset, span);
    const count = this.stride ? Math.floor((span - this.size) / this.stride) : 0;
    const end = this.size + count * this.stride;
    const values: Values = {};
    for (const field of this.#expand(count, end)) {
      const { name, offset: at } = field;
      if (field.count !== undefined) {
        const n = field.count === "rest" ? count : field.count;
        values[name] = Array.from(source.subarray(offset + at, offset + at + n));
        continue;
      }
      values[name] = readField(view, at, field);
    }
    return values;
  }

  /**
   * Writes fields over zeros. An array that takes the rest gets as many elements as the values name.
   *
   * @throws {TypeError} If a value names no field.
   * @throws {RangeError} If a value does not fit its field.
   */
  encode(values: ValuesInput): Uint8Array<ArrayBuffer> {
    const count = this.#countOf(values);
    const result = new Uint8Array(this.size + count * this.stride);
    const view = new DataView(result.buffer);
    const known = new Set<string>();
    for (const field of this.#expand(count, result.length)) {
      const { name, offset: at } = field;
      known.add(name);
      const value = values[name];
      if (value === undefined) continue;
      if (field.count !== undefined) {
        const n = field.count === "rest" ? count : field.count;
        if (!Array.isArray(value) || value.length > n || !value.every(isByte)) {
          throw new RangeError(`${this.name}.${name} takes ${n} bytes: got ${value}`);
        }
        result.set(value, at);
        continue;
      }
      const whole = toInteger(value);
      if (whole === undefined) {
        throw new RangeError(`${this.name}.${name} takes a whole number: got "${value}"`);
      }
      if (!writeField(view, at, field, whole)) {
        throw new RangeError(`${this.name}.${name} has ${field.width} bits: ${value} does not fit`);
      }
    }
    for (const name of Object.keys(values)) {
      if (!known.has(name)) {
        throw new TypeError(`${this.name} has no field "${name}"${didYouMean(name, known)}`);
      }
    }
    return result;
  }

  /** Fields with their indices filled in and their offsets from the start. */
  #expand(count: number, end: number): readonly Field[] {
    if (this.stride === 0) return this.fields;
    const expanded: Field[] = [];
    const repeated = this.fields.filter((field) => field.stride !== undefined && field.count !== "rest");
    for (const field of this.fields) {
      if (field.stride === undefined || field.count === "rest") {
        expanded.push(field.offset < 0 ? { ...field, offset: end + field.offset } : field);
      } else if (field === repeated[0]) {
        for (let i = 0; i < count; i++) {
          for (const element of repeated) {
            const name = element.name.replace("[]", `[${i}]`);
            expanded.push({ ...element, name, offset: element.offset + i * element.stride! });
          }
        }
      }
    }
    return expanded;
  }

  /** How many elements of the array that takes the rest the values name. */
  #countOf(values: ValuesInput): number {
    const field = this.fields.find((field) => field.stride !== undefined);
    if (!field) return 0;
    if (field.count === "rest") {
      const value = values[field.name];
      return Array.isArray(value) ? value.length : 0;
    }
    const prefix = field.name.slice(0, field.name.indexOf("[]") + 1);
    let count = 0;
    for (const name of Object.keys(values)) {
      const index = name.startsWith(prefix) ? /^\d+(?=\])/.exec(name.slice(prefix.length)) : null;
      if (index) count = Math.max(count, Number(index[0]) + 1);
    }
    if (count * this.stride > MOST_BYTES) {
      throw new RangeError(`${this.name} with ${count} elements is longer than ${MOST_BYTES} bytes`);
    }
    return count;
  }
}

/**
 * Defines a structure.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { bitfield, bits, struct, u16 } from "@ringpipe/ringpipe";
 *
 * const slot = struct("slot", {
 *   summary: "Hands a buffer over",
 *   source: "an example",
 *   order: "be",
 *   fields: [
 *     u16("length", "Bytes in the buffer"),
 *     bitfield(1, [bits("type", 4, "What is in it"), bits("round", 4, "Counts turns of the ring")]),
 *   ],
 * });
 * assertEquals(slot.encode({ length: 60, type: 1, round: 2 }), Uint8Array.of(0, 60, 0x21));
 * assertEquals(slot.decode(Uint8Array.of(5, 0xea, 0xf3)), { length: 1514, type: 3, round: 15 });
 * assertEquals([slot.offsetOf("round"), slot.maskOf("round"), slot.shiftOf("round")], [2, 0xf0, 4]);
 * ```
 *
 * @param name C name.
 * @param options Its members, and what else there is to say.
 * @throws {TypeError} If the members do not add up to the stated size, bit fields do not fill their unit, or two
 *   arrays take the rest.
 */
export function struct(name: string, options: StructOptions): Struct {
  return new Struct(name, options);
}

/**
 * The same structure with the other byte order, named `NAME@be` or `NAME@le`. Members that state an order of
 * their own keep it.
 */
export function swapped(original: Struct): Struct {
  const order = original.order === "le" ? "be" : "le";
  return new Struct(`${original.name}@${order}`, {
    summary: `${original.summary} (${order === "be" ? "big" : "little"} endian)`,
    source: original.source,
    order,
    fields: original.members,
  });
}

/** The names of a value's flags or of the value itself, as far as the layout knows them; else an empty text. */
export function nameValue(field: Field, value: Value): string {
  if (typeof value === "object") return "";
  const number = BigInt(value);
  for (const [name, known] of Object.entries(field.values ?? {})) if (BigInt(known) === number) return name;
  const set = Object.entries(field.flags ?? {}).filter(([, mask]) =>
    (number & BigInt(mask)) === BigInt(mask)
  );
  return set.map(([name]) => name).join("|");
}

/** A value for JSON: numbers up to 2^53 as such, larger ones as `0x...`, byte arrays as arrays. */
export function plainValue(value: Value): number | string | number[] {
  if (typeof value !== "bigint") return value;
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : `0x${value.toString(16)}`;
}
