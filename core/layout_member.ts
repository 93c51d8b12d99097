/**
 * What a structure is made of, as a layout states it: numbers, bit fields, arrays, structures, unions.
 *
 * @module
 */
import type { Struct } from "./layout.ts";

/** Byte order of a field: little or big endian. */
export type ByteOrder = "le" | "be";

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
function checkCount(name: string, count: Count): void {
  if (count === "rest" || (Number.isSafeInteger(count) && count >= 0)) return;
  throw new TypeError(`"${name}" cannot have ${count} elements`);
}

/**
 * An array of bytes, decoded as one value.
 *
 * @throws {TypeError} If the count is none.
 */
export function bytes(name: string, count: Count, meaning: string): Member {
  checkCount(name, count);
  return { kind: "bytes", name, meaning, count };
}
/**
 * An array of numbers (give the element an empty name) or structures: `name[0]`, `name[1].id`.
 *
 * @throws {TypeError} If the count is none.
 */
export function array(name: string, count: Count, element: Member | Struct): Member {
  checkCount(name, count);
  return { kind: "array", name, count, element: "kind" in element ? element : nested("", element) };
}
/** A structure within a structure: its fields are `name.field`. Without a name they stand with the others. */
export function nested(name: string, inner: Struct): Member {
  return { kind: "struct", name, members: inner.members, ...inner.ownOrder && { order: inner.ownOrder } };
}
/** Members one after another, as one member of a union or under a common name. Without a name they stand with the others. */
export function group(name: string, members: readonly Member[]): Member {
  return { kind: "struct", name, members };
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
/**
 * A unit of 1, 2, 4 or 8 bytes split into bit fields that fill it, the lowest bit first.
 *
 * @throws {TypeError} If they do not fill it.
 */
export function bitfield(size: 1 | 2 | 4 | 8, fields: readonly Bit[], order?: ByteOrder): Member {
  const odd = fields.find(({ width }) => !(Number.isInteger(width) && width > 0));
  if (odd) throw new TypeError(`Bit field "${odd.name}" cannot have ${odd.width} bits`);
  const filled = fields.reduce((sum, { width }) => sum + width, 0);
  if (filled !== size * 8) {
    throw new TypeError(`Bit fields fill ${filled} of ${size * 8} bits at "${fields[0]?.name}"`);
  }
  return { kind: "bits", name: "", size, bits: fields, ...order && { order } };
}
