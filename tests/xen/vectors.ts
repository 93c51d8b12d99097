/** Golden vectors, as tests read them. */

/** A structure or a state with its bytes. */
export interface Vector {
  readonly struct: string;
  readonly fields: Readonly<Record<string, number | string | number[]>>;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** All vectors of a file in `fixtures/vectors`. */
export function vectors(file: string): Vector[] {
  const text = Deno.readTextFileSync(new URL(`../../fixtures/vectors/${file}`, import.meta.url));
  return (JSON.parse(text) as { struct: string; fields: Vector["fields"]; hex: string }[]).map((vector) => ({
    struct: vector.struct,
    fields: vector.fields,
    bytes: Uint8Array.fromHex(vector.hex),
  }));
}
