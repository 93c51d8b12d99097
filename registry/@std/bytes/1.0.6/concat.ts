// deno-coverage-ignore-file
// deno-lint-ignore-file no-import-prefix
/**
 * Stand-in for jsr:@std/bytes/concat: the npm copy of it, which carries no types, typed by hand.
 *
 * @module
 */
import * as std from "npm:deno-std@^1.4.0/bytes/concat.js";

/** Joins arrays into a new one. */
export const concat: (buffers: readonly Uint8Array[]) => Uint8Array<ArrayBuffer> = std.concat;
