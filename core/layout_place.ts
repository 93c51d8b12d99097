/**
 * Gives the members of a structure their places.
 *
 * @module
 */
import type { ArrayMember, ByteOrder, BytesMember, Count, FieldNotes, Member } from "./layout_member.ts";

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

/** Size in bytes of a member; an array that takes the rest counts 0. */
export function sizeOf(member: Member): number {
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

/**
 * The array among these members that takes the rest, and any further ones that should not be there.
 *
 * @param members The members.
 * @param rests Where it is added.
 */
export function restsOf(
  members: readonly Member[],
  rests: (BytesMember | ArrayMember)[] = [],
): (BytesMember | ArrayMember)[] {
  for (const member of members) {
    if (member.kind === "struct" || member.kind === "union") restsOf(member.members, rests);
    else if (member.kind === "array") restsOf([member.element], rests);
    if ((member.kind === "array" || member.kind === "bytes") && member.count === "rest") rests.push(member);
  }
  return rests;
}

/** Bytes from one element to the next. */
export function strideOf(member: BytesMember | ArrayMember): number {
  return member.kind === "bytes" ? 1 : sizeOf(member.element);
}

/** Adds the fields of a member that starts at `offset`; `stride` is that of the array around it that takes the rest. */
function place(
  fields: Field[],
  member: Member,
  path: string,
  offset: number,
  outer: ByteOrder,
  stride?: number,
): void {
  const name = join(path, member.name);
  const repeated = stride === undefined ? undefined : { stride };
  switch (member.kind) {
    case "number": {
      const { size, meaning, signed, flags, values, order = outer } = member;
      fields.push({
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
        ...repeated,
      });
      return;
    }
    case "bits": {
      const { size, order = outer } = member;
      let shift = 0;
      for (const bit of member.bits) {
        fields.push({ ...bit, name: join(path, bit.name), offset, size, shift, order, ...repeated });
        shift += bit.width;
      }
      return;
    }
    case "bytes": {
      const { count, meaning } = member;
      const rest = count === "rest" ? { stride: strideOf(member) } : repeated;
      fields.push({ name, offset, size: 1, shift: 0, width: 8, order: outer, meaning, count, ...rest });
      return;
    }
    case "array": {
      const step = strideOf(member);
      if (member.count === "rest") return place(fields, member.element, `${name}[]`, offset, outer, step);
      for (let i = 0; i < member.count; i++) {
        place(fields, member.element, `${name}[${i}]`, offset + i * step, outer, stride);
      }
      return;
    }
    case "struct":
    case "union":
      placeAll(fields, member.members, name, offset, member.order ?? outer, member.kind === "union", stride);
  }
}

/**
 * Adds the fields of members that stand one behind the other, or all in one place if it is `shared`.
 *
 * @param fields Where they are added.
 * @param members The members.
 * @param path C path of what they are members of, or empty.
 * @param start Byte offset of the first.
 * @param order Byte order of those that do not state one.
 * @param shared Whether they are a union's.
 * @param stride That of the array around them that takes the rest, if there is one.
 */
export function placeAll(
  fields: Field[],
  members: readonly Member[],
  path: string,
  start: number,
  order: ByteOrder,
  shared: boolean,
  stride?: number,
): void {
  let offset = start;
  for (const member of members) {
    place(fields, member, path, offset, order, stride);
    if (!shared) offset += sizeOf(member);
  }
}
