// deno-coverage-ignore-file
// deno-lint-ignore-file no-import-prefix no-explicit-any
/**
 * Stand-in for jsr:@std/assert: the implementation is the npm copy of it, which carries no types, so the
 * names that ringpipe's tests use are typed here by hand.
 *
 * @module
 */
import * as std from "npm:deno-std@^1.4.0/assert/mod.js";

type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** What every failed assertion throws. */
export const AssertionError: new (message: string, options?: ErrorOptions) => Error = std.AssertionError;
/** The instance side, so that the name serves as a type too. */
export type AssertionError = Error;

/** Fails unless the value is truthy, and narrows it. */
export const assert: (expr: unknown, msg?: string) => asserts expr = std.assert;

/** Fails unless the value is falsy. */
export const assertFalse: (expr: unknown, msg?: string) => void = std.assertFalse;

/** Fails on null and undefined. */
export const assertExists: <T>(actual: T, msg?: string) => asserts actual is NonNullable<T> = std
  .assertExists;

/** Deep equality. */
export const assertEquals: <T>(actual: T, expected: T, msg?: string) => void = std.assertEquals;

/** Deep inequality. */
export const assertNotEquals: <T>(actual: T, expected: T, msg?: string) => void = std.assertNotEquals;

/** Identity as Object.is sees it. */
export const assertStrictEquals: <T>(actual: unknown, expected: T, msg?: string) => asserts actual is T =
  std.assertStrictEquals;

/** Not the same by Object.is. */
export const assertNotStrictEquals: <T>(actual: T, expected: T, msg?: string) => void = std
  .assertNotStrictEquals;

/** Two numbers within a tolerance. */
export const assertAlmostEquals: (
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
) => void = std.assertAlmostEquals;

/** actual > expected. */
export const assertGreater: <T>(actual: T, expected: T, msg?: string) => void = std.assertGreater;

/** actual >= expected. */
export const assertGreaterOrEqual: <T>(actual: T, expected: T, msg?: string) => void = std
  .assertGreaterOrEqual;

/** actual < expected. */
export const assertLess: <T>(actual: T, expected: T, msg?: string) => void = std.assertLess;

/** actual <= expected. */
export const assertLessOrEqual: <T>(actual: T, expected: T, msg?: string) => void = std.assertLessOrEqual;

/** Every expected element occurs, in any order. */
export const assertArrayIncludes: <T>(
  actual: ArrayLike<T> & object,
  expected: ArrayLike<T> & object,
  msg?: string,
) => void = std.assertArrayIncludes;

/** The text contains another. */
export const assertStringIncludes: (actual: string, expected: string, msg?: string) => void = std
  .assertStringIncludes;

/** The text matches a pattern. */
export const assertMatch: (actual: string, expected: RegExp, msg?: string) => void = std.assertMatch;

/** The text does not match a pattern. */
export const assertNotMatch: (actual: string, expected: RegExp, msg?: string) => void = std.assertNotMatch;

/** The object has at least the expected properties. */
export const assertObjectMatch: (
  actual: Record<PropertyKey, any>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
) => void = std.assertObjectMatch;

/** The value is an instance of a class, and is narrowed to it. */
export const assertInstanceOf: <T>(
  actual: unknown,
  expectedType: abstract new (...args: any[]) => T,
  msg?: string,
) => asserts actual is T = std.assertInstanceOf;

/** The function throws; the error is of unknown type unless its class is named. */
export const assertThrows: {
  (fn: () => unknown, msg?: string): unknown;
  <E extends Error = Error>(
    fn: () => unknown,
    errorClass: ErrorClass<E>,
    msgIncludes?: string,
    msg?: string,
  ): E;
} = std.assertThrows;

/** The promise rejects; the error is of unknown type unless its class is named. */
export const assertRejects: {
  (fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
  <E extends Error = Error>(
    fn: () => PromiseLike<unknown>,
    errorClass: ErrorClass<E>,
    msgIncludes?: string,
    msg?: string,
  ): Promise<E>;
} = std.assertRejects;

/** Deep equality as a question. */
export const equal: (a: unknown, b: unknown) => boolean = std.equal;

/** Fails at once. */
export const fail: (msg?: string) => never = std.fail;

/** Marks a place that cannot be reached. */
export const unreachable: (msg?: string) => never = std.unreachable;
