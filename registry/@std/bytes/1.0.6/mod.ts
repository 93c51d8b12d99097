// deno-coverage-ignore-file
// deno-lint-ignore-file no-import-prefix
/**
 * Stand-in for jsr:@std/bytes: the npm copy of it, which carries no types, typed by hand.
 *
 * @module
 */
import * as std from "npm:deno-std@^1.4.0/bytes/mod.js";

export { concat } from "./concat.ts";
export { copy } from "./copy.ts";
export { equals } from "./equals.ts";

/** Whether an array begins with another. */
export const startsWith: (source: Uint8Array, prefix: Uint8Array) => boolean = std.startsWith;

/** Whether an array ends with another. */
export const endsWith: (source: Uint8Array, suffix: Uint8Array) => boolean = std.endsWith;

/** Where a needle first occurs, or -1. */
export const indexOfNeedle: (source: Uint8Array, needle: Uint8Array, start?: number) => number = std
  .indexOfNeedle;

/** Where a needle last occurs, or -1. */
export const lastIndexOfNeedle: (source: Uint8Array, needle: Uint8Array, start?: number) => number = std
  .lastIndexOfNeedle;

/** Whether a needle occurs. */
export const includesNeedle: (source: Uint8Array, needle: Uint8Array, start?: number) => boolean = std
  .includesNeedle;

/** The array, so many times over. */
export const repeat: (source: Uint8Array, count: number) => Uint8Array<ArrayBuffer> = std.repeat;
