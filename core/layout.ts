/**
 * Structures as data: a layout is written once, and gives offsets to hot paths and a decoder, an encoder and
 * a description to everything else.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { struct, u16, u32, u64 } from "@ringpipe/ringpipe";
 *
 * const vring_desc = struct("vring_desc", {
 *   summary: "Describes one buffer",
 *   source: "virtio 1.4, 2.7.5",
 *   fields: [u64("addr", "Address"), u32("len", "Bytes"), u16("flags", "Kind"), u16("next", "Next in chain")],
 * });
 * assertEquals(vring_desc.offsetOf("len"), 8);
 * assertEquals(vring_desc.decode(vring_desc.encode({ addr: 4096, len: 60 })).len, 60);
 * ```
 *
 * @module
 */
import { didYouMean } from "./nearest.ts";

/** An array that takes the rest is not encoded beyond this size: an index that large is a slip. */
const MOST_BYTES = 16 * 1024 * 1024;

/** Byte order of a field: little or big endian. */
export type ByteOrder = "le" | "be";

/**
 * A decoded value: fields that lie in 64-bit units are `bigint`, byte arrays arrays of numbers, all others numbers.
 */
export type Value = number | bigint | number[];

/** Decoded values by the field's C path: `ring[2].id`, `hdr.flags`. */
export type Values = Record<string, Value>;

/** What {@linkcode Struct.encode} takes: missing fields are 0; numbers may be texts such as `0x1000`. */
export type ValuesInput = Readonly<Record<string, number | bigint | string | readonly number[]>>;

/** How often an element repeats; `"rest"`: as often as the bytes hold. A structure has one such array at most. */
export type Count = number | "rest";

/** What a number field may say about itself. */
export interface FieldNotes {
  /** Byte order, if it is not the structure's. */
  readonly order?: ByteOrder;
  /** Whether it is a two's complement number: decoded values may then be below 0. */
  readonly signed?: boolean;
  /** Names of single bits: name to mask. */
  readonly flags?: Readonly<Record<string, number>>;
  /** Names of values: name to value. */
  readonly values?: Readonly<Record<string, number>>;
}

/** A number. */
export interface NumberMember extends FieldNotes {
  /** Discriminates the union. */
  readonly kind: "number";
  /** C name, or empty. */
  readonly name: string;
  /** What it means. */
  readonly meaning: string;
  /** Size in bytes. */
  readonly size: number;
}

/** An array of bytes that counts as one value. */
export interface BytesMember {
  /** Discriminates the union. */
  readonly kind: "bytes";
  /** C name, or empty. */
  readonly name: string;
  /** What it means. */
  readonly meaning: string;
  /** How many elements. */
  readonly count: Count;
}

/** An array whose elements are values of their own. */
export interface ArrayMember {
  /** Discriminates the union. */
  readonly kind: "array";
  /** C name, or empty. */
  readonly name: string;
  /** How many elements. */
  readonly count: Count;
  /** What one element is. */
  readonly element: Member;
}

/** A structure, or members that share one place (a union). */
export interface GroupMember {
  /** Discriminates the union. */
  readonly kind: "struct" | "union";
  /** C name, or empty. */
  readonly name: string;
  /** The members in order. */
  readonly members: readonly Member[];
  /** Byte order, if it is not that of the structure around it. */
  readonly order?: ByteOrder;
}

/** One bit field of a unit. */
export interface Bit extends Omit<FieldNotes, "order"> {
  /** C name. */
  readonly name: string;
  /** Width in bits. */
  readonly width: number;
  /** What it means. */
  readonly meaning: string;
}

/** A unit split into bit fields. */
export interface BitsMember {
  /** Discriminates the union. */
  readonly kind: "bits";
  /** C name, or empty. */
  readonly name: string;
  /** Size in bytes. */
  readonly size: number;
  /** The bit fields, lowest first. */
  readonly bits: readonly Bit[];
  /** Byte order, if it is not that of the structure around it. */
  readonly order?: ByteOrder;
}

/** One member as a layout states it; offsets follow from the order of members, without padding. */
export type Member = NumberMember | BytesMember | ArrayMember | GroupMember | BitsMember;

/** One field with its place. */
export interface Field extends Omit<FieldNotes, "order"> {
  /** C path. In an array that takes the rest of the bytes, `[]` stands for the index. */
  readonly name: string;
  /** Byte offset of the unit it lies in; behind an array that takes the rest, counted back from the end. */
  readonly offset: number;
  /** Size of that unit in bytes: 1, 2, 4 or 8. */
  readonly size: number;
  /** Lowest bit within the unit. */
  readonly shift: number;
  /** Width in bits. */
  readonly width: number;
  /** Byte order of the unit. */
  readonly order: ByteOrder;
  /** How many bytes, if it is a byte array. */
  readonly count?: Count;
  /** Bytes from one element to the next, if it is part of the array that takes the rest. */
  readonly stride?: number;
  /** What it means. */
  readonly meaning: string;
}

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

function number(size: number, name: string, meaning: string, notes: FieldNotes = {}): Member {
  return { kind: "number", name, meaning, size, ...notes };
}
/** An 8-bit field. */
export function u8(name: string, meaning: string, notes?: FieldNotes): Member {
  return number(1, name, meaning, notes);
}
/** A 16-bit field. */
export function u16(name: string, meaning: string, notes?: FieldNotes): Member {
  return number(2, name, meaning, notes);
}
/** A 32-bit field. */
export function u32(name: string, meaning: string, notes?: FieldNotes): Member {
  return number(4, name, meaning, notes);
}
/** A 64-bit field. */
export function u64(name: string, meaning: string, notes?: FieldNotes): Member {
  return number(8, name, meaning, notes);
}
/** A signed 16-bit field. */
export function i16(name: string, meaning: string, notes?: FieldNotes): Member {
  return number(2, name, meaning, { ...notes, signed: true });
}
/** A signed 32-bit field. */
export function i32(name: string, meaning: string, notes?: FieldNotes): Member {
  return number(4, name, meaning, { ...notes, signed: true });
}
/** An array of bytes, decoded as one value. */
export function bytes(name: string, count: Count, meaning: string): Member {
  return { kind: "bytes", name, meaning, count };
}
/** An array of numbers (give the element an empty name) or structures: `name[0]`, `name[1].id`. */
export function array(name: string, count: Count, element: Member | Struct): Member {
  return { kind: "array", name, count, element: element instanceof Struct ? nested("", element) : element };
}
/** A structure within a structure: its fields are `name.field`. Without a name they stand with the others. */
export function nested(name: string, inner: Struct): Member {
  return { kind: "struct", name, members: inner.members, ...inner.ownOrder && { order: inner.ownOrder } };
}
/** Members that share one place, as large as the largest. Without a name they stand with the others. */
export function union(name: string, members: readonly Member[]): Member {
  return { kind: "union", name, members };
}
/** One bit field of {@linkcode bitfield}. */
export function bits(
  name: string,
  width: number,
  meaning: string,
  notes: Omit<FieldNotes, "order"> = {},
): Bit {
  return { name, width, meaning, ...notes };
}
/** A unit of 1, 2, 4 or 8 bytes split into bit fields that fill it, the lowest bit first. */
export function bitfield(size: 1 | 2 | 4 | 8, fields: readonly Bit[], order?: ByteOrder): Member {
  return { kind: "bits", name: "", size, bits: fields, ...order && { order } };
}

/** Size in bytes of a member; an array that takes the rest counts 0. */
function sizeOf(member: Member): number {
  switch (member.kind) {
    case "number":
    case "bits":
      return member.size;
    case "bytes":
      return member.count === "rest" ? 0 : member.count;
    case "array":
      return member.count === "rest" ? 0 : member.count * sizeOf(member.element);
    case "struct":
      return member.members.reduce((sum, inner) => sum + sizeOf(inner), 0);
    case "union":
      return Math.max(...member.members.map(sizeOf));
  }
}

function join(path: string, name: string): string {
  return path && name ? `${path}.${name}` : path || name;
}

/** The fields of a member that starts at `offset`. */
function place(member: Member, path: string, offset: number, outer: ByteOrder): Field[] {
  const name = join(path, member.name);
  switch (member.kind) {
    case "number": {
      const { size, meaning, signed, flags, values, order = outer } = member;
      return [{
        name,
        offset,
        size,
        shift: 0,
        width: size * 8,
        order,
        meaning,
        ...signed && { signed },
        ...flags && { flags },
        ...values && { values },
      }];
    }
    case "bits": {
      const { size, order = outer } = member;
      let shift = 0;
      const fields = member.bits.map((bit) => {
        const field = { ...bit, name: join(path, bit.name), offset, size, shift, order };
        shift += bit.width;
        return field;
      });
      if (shift !== size * 8) {
        throw new TypeError(`Bit fields fill ${shift} of ${size * 8} bits at "${fields[0]?.name}"`);
      }
      return fields;
    }
    case "bytes": {
      const { count, meaning } = member;
      const rest = count === "rest";
      return [{
        name,
        offset,
        size: 1,
        shift: 0,
        width: 8,
        order: outer,
        meaning,
        count,
        ...rest && { stride: 1 },
      }];
    }
    case "array": {
      const stride = sizeOf(member.element);
      if (member.count === "rest") {
        return place(member.element, `${name}[]`, offset, outer).map((field) => ({ ...field, stride }));
      }
      return Array.from(
        { length: member.count },
        (_, i) => place(member.element, `${name}[${i}]`, offset + i * stride, outer),
      )
        .flat();
    }
    case "struct":
    case "union":
      return placeAll(member.members, name, offset, member.order ?? outer, member.kind === "union");
  }
}

function placeAll(
  members: readonly Member[],
  path: string,
  start: number,
  order: ByteOrder,
  shared: boolean,
): Field[] {
  let offset = start;
  return members.flatMap((member) => {
    const fields = place(member, path, offset, order);
    if (!shared) offset += sizeOf(member);
    return fields;
  });
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
  const value = Math.floor(unit / 2 ** shift) % 2 ** width;
  return signed && value >= 2 ** (width - 1) ? value - 2 ** width : value;
}

function writeUnit(view: DataView, offset: number, field: Field, value: bigint): void {
  const little = field.order === "le";
  switch (field.size) {
    case 1:
      return view.setUint8(offset, Number(value));
    case 2:
      return view.setUint16(offset, Number(value), little);
    case 4:
      return view.setUint32(offset, Number(value), little);
    default:
      return view.setBigUint64(offset, value, little);
  }
}

function isByte(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xff;
}

/** A value to be encoded, or `undefined` if it is no whole number. */
function toInteger(value: ValuesInput[string]): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : undefined;
  return typeof value === "string" && /^(-?\d+|0x[0-9a-f]+)$/i.test(value) ? BigInt(value) : undefined;
}

/** How many arrays in these members take the rest. */
function countRests(members: readonly Member[]): number {
  let rests = 0;
  for (const member of members) {
    if (member.kind === "struct" || member.kind === "union") rests += countRests(member.members);
    else if (member.kind === "array") rests += countRests([member.element]);
    if ((member.kind === "array" || member.kind === "bytes") && member.count === "rest") rests++;
  }
  return rests;
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
  /** Its fields with their places. */
  readonly fields: readonly Field[];
  /** Bytes per element of the array that takes the rest; 0 if there is none. */
  readonly stride: number;
  readonly #byName: Map<string, Field>;

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
    if (countRests(options.fields) > 1) throw new TypeError(`${name} has two arrays that take the rest`);
    const fields = placeAll(options.fields, "", 0, this.order, false);
    const last = fields.findLastIndex((field) => field.stride !== undefined);
    this.stride = fields[last]?.stride ?? 0;
    this.fields = fields.map((field, i) =>
      last >= 0 && i > last ? { ...field, offset: field.offset - this.size } : field
    );
    this.#byName = new Map(this.fields.map((field) => [field.name, field]));
  }

  /**
   * A field by its C path.
   *
   * @throws {TypeError} If there is none of that name.
   */
  field(name: string): Field {
    const field = this.#byName.get(name);
    if (!field) {
      throw new TypeError(`${this.name} has no field "${name}"${didYouMean(name, this.#byName.keys())}`);
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
   * @throws {RangeError} If the bytes are too few.
   */
  decode(source: Uint8Array, offset = 0, length?: number): Values {
    const available = source.length - offset;
    const span = length ?? (this.stride ? available : this.size);
    if (span < this.size || span > available) {
      throw new RangeError(
        `${this.name} takes ${Math.max(this.size, span)} bytes: got ${Math.max(available, 0)}`,
      );
    }
    const view = new DataView(source.buffer, source.byteOffset + offset, span);
    const count = this.stride ? Math.floor((span - this.size) / this.stride) : 0;
    const end = this.size + count * this.stride;
    const values: Values = {};
    for (const [name, field, at] of this.#expand(count, end)) {
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
    for (const [name, field, at] of this.#expand(count, result.length)) {
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
      const wide = toInteger(value);
      if (wide === undefined) {
        throw new RangeError(`${this.name}.${name} takes a whole number: got "${value}"`);
      }
      const limit = 1n << BigInt(field.width);
      if (wide !== (field.signed ? BigInt.asIntN(field.width, wide) : BigInt.asUintN(field.width, wide))) {
        throw new RangeError(`${this.name}.${name} has ${field.width} bits: ${value} does not fit`);
      }
      const shift = BigInt(field.shift);
      const others = BigInt(readUnit(view, at, field)) & ~((limit - 1n) << shift);
      writeUnit(view, at, field, others | (BigInt.asUintN(field.width, wide) << shift));
    }
    for (const name of Object.keys(values)) {
      if (!known.has(name)) {
        throw new TypeError(`${this.name} has no field "${name}"${didYouMean(name, known)}`);
      }
    }
    return result;
  }

  /** Fields with their indices filled in and their offsets from the start. */
  *#expand(count: number, end: number): Generator<[string, Field, number]> {
    const repeated = this.fields.filter((field) => field.stride !== undefined && field.count !== "rest");
    let expanded = false;
    for (const field of this.fields) {
      if (field.stride === undefined || field.count === "rest") {
        yield [field.name, field, field.offset < 0 ? end + field.offset : field.offset];
      } else if (!expanded) {
        expanded = true;
        for (let i = 0; i < count; i++) {
          for (const element of repeated) {
            yield [element.name.replace("[]", `[${i}]`), element, element.offset + i * element.stride!];
          }
        }
      }
    }
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
