// deno-coverage-ignore-file
// deno-lint-ignore-file no-import-prefix
/**
 * Stand-in for jsr:@std/bytes/copy: the npm copy of it, which carries no types, typed by hand.
 *
 * @module
 */
import * as std from "npm:deno-std@^1.4.0/bytes/copy.js";

/** Copies as much as fits and gives the number of bytes copied. */
export const copy: (src: Uint8Array, dst: Uint8Array, offset?: number) => number = std.copy;
