/**
 * Golden vectors, as tests read them.
 *
 * @module
 */

/** A structure or a state with its bytes. */
export interface Vector {
  /** C name. */
  readonly struct: string;
  /** Values; large or hexadecimal numbers are texts. */
  readonly fields: Readonly<Record<string, number | string | number[]>>;
  /** What the values look like in memory. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The vectors of a file in `fixtures/vectors`, or those that are of one kind. There is at least one. */
export function vectors(file: string, struct?: string): Vector[] {
  const text = Deno.readTextFileSync(new URL(`../fixtures/vectors/${file}`, import.meta.url));
  const found = (JSON.parse(text) as { struct: string; fields: Vector["fields"]; hex: string }[])
    .filter((vector) => struct === undefined || vector.struct === struct)
    .map(({ struct, fields, hex }) => ({ struct, fields, bytes: Uint8Array.fromHex(hex) }));
  if (found.length === 0) throw new Error(`${file} has no vector of ${struct ?? "anything"}`);
  return found;
}
