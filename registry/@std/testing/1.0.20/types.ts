// deno-coverage-ignore-file
/**
 * Stand-in for jsr:@std/testing/types: checks that cost nothing at run time.
 *
 * @module
 */

/** Whether two types are the same. */
export type IsExact<T, U> = (<G>() => G extends T ? 1 : 2) extends (<G>() => G extends U ? 1 : 2) ? true
  : false;

/** Whether a type is any. */
export type IsAny<T> = 0 extends (1 & T) ? true : false;

/** Whether a type is never. */
export type IsNever<T> = [T] extends [never] ? true : false;

/** Whether a type admits null or undefined. */
export type IsNullable<T> = Extract<T, null | undefined> extends never ? false : true;

/** Whether the second type is part of the first. */
export type Has<T, U> = IsAny<T> extends true ? true
  : IsAny<U> extends true ? false
  : Extract<T, U> extends never ? false
  : true;

/** Fails type checking unless the type argument is the expected one. */
export function assertType<T extends boolean>(_expectTrue: T): void {}
