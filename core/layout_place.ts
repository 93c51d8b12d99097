/**
 * Gives the members of a structure their places.
 *
 * @module
 */
import type { ByteOrder, Count, FieldNotes, Member } from "./layout_member.ts";

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

/** The fields of members that stand one behind the other, or all in one place if it is `shared`. */
export function placeAll(
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

/** How many arrays in these members take the rest. */
export function countRests(members: readonly Member[]): number {
  let rests = 0;
  for (const member of members) {
    if (member.kind === "struct" || member.kind === "union") rests += countRests(member.members);
    else if (member.kind === "array") rests += countRests([member.element]);
    if ((member.kind === "array" || member.kind === "bytes") && member.count === "rest") rests++;
  }
  return rests;
}
