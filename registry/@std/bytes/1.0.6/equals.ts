// deno-coverage-ignore-file
// deno-lint-ignore-file no-import-prefix
/**
 * Stand-in for jsr:@std/bytes/equals: the npm copy of it, which carries no types, typed by hand.
 *
 * @module
 */
import * as std from "npm:deno-std@^1.4.0/bytes/equals.js";

/** Whether two arrays hold the same bytes. */
export const equals: (a: Uint8Array, b: Uint8Array) => boolean = std.equals;
