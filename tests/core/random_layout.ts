/**
 * Random layouts, each with the C declaration that means the same.
 *
 * @module
 */
import {
  array,
  type Bit,
  bitfield,
  bits,
  type ByteOrder,
  bytes,
  i16,
  i32,
  type Member,
  nested,
  type Struct,
  struct,
  u16,
  u32,
  u64,
  u8,
  union,
} from "../../mod.ts";
import type { Random } from "../random.ts";

/** A member and its C declaration. */
interface Declared {
  readonly member: Member;
  readonly c: string;
}

/** A structure and its C declaration, which lacks the word `struct`, the name and the semicolon. */
export interface DeclaredStruct {
  readonly layout: Struct;
  readonly c: string;
}

const NUMBERS = [[u8, "uint8_t"], [u16, "uint16_t"], [u32, "uint32_t"], [u64, "uint64_t"]] as const;
const ANY_NUMBERS = [...NUMBERS, [i16, "int16_t"], [i32, "int32_t"]] as const;

/** Makes layouts; all names in one maker's layouts differ. */
export class LayoutMaker {
  readonly #random: Random;
  #names = 0;

  /** Takes all choices from `random`. */
  constructor(random: Random) {
    this.#random = random;
  }

  /**
   * A structure of random members.
   *
   * @param rest Whether one member is an array that takes the rest; C has no such thing within a structure.
   */
  make(rest: boolean): DeclaredStruct {
    const order = this.#random.pick(["le", "be"] as const);
    const { layout, c } = this.#struct(3, order, "whole", order);
    if (!rest) return { layout, c };
    const fields = [...layout.members];
    const element = this.#random.chance(0.3) ? undefined : this.#member(1, order).member;
    const array_ = element === undefined || element.kind === "bits" || element.kind === "union"
      ? bytes("rest", "rest", "")
      : array("rest", "rest", { ...element, name: element.kind === "number" ? "" : "inner" });
    fields.splice(this.#random.below(fields.length + 1), 0, array_);
    return { layout: struct("whole", { summary: "", source: "", order, fields }), c: "" };
  }

  #name(): string {
    return `m${this.#names++}`;
  }

  /** The name of a structure or union within another: sometimes none. */
  #groupName(): string {
    return this.#random.chance(0.3) ? "" : this.#name();
  }

  #struct(depth: number, order: ByteOrder, name: string, own?: ByteOrder): DeclaredStruct {
    const members = this.#members(depth, own ?? order);
    const layout = struct(name, {
      summary: "",
      source: "",
      fields: members.map(({ member }) => member),
      ...own && { order: own },
    });
    return { layout, c: body(members, own ?? order) };
  }

  #members(depth: number, order: ByteOrder): Declared[] {
    return Array.from({ length: this.#random.between(1, 4) }, () => this.#member(depth, order));
  }

  #member(depth: number, order: ByteOrder): Declared {
    const random = this.#random;
    switch (random.below(depth > 0 ? 7 : 3)) {
      case 0: {
        const name = this.#name();
        const [make, type] = random.pick(ANY_NUMBERS);
        return { member: make(name, ""), c: `${type} ${name};` };
      }
      case 1: {
        const name = this.#name();
        const count = random.between(1, 9);
        return { member: bytes(name, count, ""), c: `uint8_t ${name}[${count}];` };
      }
      case 2:
        return this.#bits(order);
      case 3: {
        const name = this.#name();
        const count = random.between(1, 4);
        const [make, type] = random.pick(ANY_NUMBERS);
        return { member: array(name, count, make("", "")), c: `${type} ${name}[${count}];` };
      }
      case 4: {
        const name = this.#name();
        const count = random.between(1, 3);
        const inner = this.#struct(depth - 1, order, "inner");
        return { member: array(name, count, inner.layout), c: `struct ${inner.c} ${name}[${count}];` };
      }
      case 5: {
        const name = this.#groupName();
        const own = random.chance(0.3) ? random.pick(["le", "be"] as const) : undefined;
        const inner = this.#struct(depth - 1, order, "inner", own);
        return { member: nested(name, inner.layout), c: `struct ${inner.c} ${name};` };
      }
      default: {
        const name = this.#groupName();
        const members = this.#members(depth - 1, order);
        return {
          member: union(name, members.map(({ member }) => member)),
          c: `union ${body(members, order)} ${name};`,
        };
      }
    }
  }

  #bits(order: ByteOrder): Declared {
    const size = this.#random.pick([1, 2, 4, 8] as const);
    const fields: Bit[] = [];
    for (let left = size * 8; left > 0;) {
      const width = this.#random.between(1, left);
      fields.push(bits(this.#name(), width, ""));
      left -= width;
    }
    const declared = fields.map(({ name, width }) => `uint${size * 8}_t ${name} : ${width};`);
    // A big-endian C compiler gives the first bit field the highest bits.
    if (order === "be") declared.reverse();
    return {
      member: bitfield(size, fields),
      c: `struct { ${declared.join(" ")} } ${attributes(order)};`,
    };
  }
}

function attributes(order: ByteOrder): string {
  const endian = order === "le" ? "little" : "big";
  return `__attribute__((packed, scalar_storage_order("${endian}-endian")))`;
}

function body(members: readonly Declared[], order: ByteOrder): string {
  return `${attributes(order)} { ${members.map(({ c }) => c).join(" ")} }`;
}
