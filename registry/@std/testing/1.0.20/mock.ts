// deno-coverage-ignore-file
// deno-lint-ignore-file no-explicit-any
/**
 * Stand-in for jsr:@std/testing/mock: spies and stubs, as far as ringpipe's tests use them. The npm copy
 * does not carry this module, so it is written anew with the real signatures.
 *
 * @module
 */
import { equal } from "npm:deno-std@^1.4.0/assert/equal.js";

/** A spy was used in a way that cannot work. */
export class MockError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "MockError";
  }
}

/** One call of a spy. */
export interface SpyCall<Self = any, Args extends unknown[] = any[], Return = any> {
  args: Args;
  returned?: Return;
  error?: Error;
  self?: Self;
}

/** A function that remembers its calls. */
export interface Spy<Self = any, Args extends unknown[] = any[], Return = any> {
  (this: Self, ...args: Args): Return;
  original: (this: Self, ...args: Args) => Return;
  calls: SpyCall<Self, Args, Return>[];
  restored: boolean;
  restore(): void;
}

/** A spy that stands in the place of a method until it is restored. */
export interface MethodSpy<Self = any, Args extends unknown[] = any[], Return = any>
  extends Spy<Self, Args, Return>, Disposable {}

/** A method spy that runs something else than the original. */
export interface Stub<Self = any, Args extends unknown[] = any[], Return = any>
  extends MethodSpy<Self, Args, Return> {
  fake: (this: Self, ...args: Args) => Return;
}

type ArgsOf<Self, Prop extends keyof Self> = Self[Prop] extends (...args: infer Args) => unknown ? Args
  : unknown[];
type ReturnOf<Self, Prop extends keyof Self> = Self[Prop] extends (...args: any[]) => infer Return ? Return
  : unknown;

function recorder(run: (...args: any[]) => any): { (...args: any[]): any; calls: SpyCall[] } {
  const calls: SpyCall[] = [];
  function spied(this: unknown, ...args: unknown[]): unknown {
    const call: SpyCall = { args };
    if (this) call.self = this;
    try {
      call.returned = run.apply(this, args);
    } catch (error) {
      call.error = error as Error;
      calls.push(call);
      throw error;
    }
    calls.push(call);
    return call.returned;
  }
  return Object.assign(spied, { calls });
}

function replaceMethod(self: any, property: PropertyKey, fake?: (...args: any[]) => any): any {
  const original = self[property];
  if (typeof original !== "function") throw new MockError("Cannot spy: property is not an instance method");
  const before = Object.getOwnPropertyDescriptor(self, property);
  const spied = recorder(fake ?? original);
  let restored = false;
  function restore(): void {
    if (restored) throw new MockError("Cannot restore: instance method already restored");
    if (before) Object.defineProperty(self, property, before);
    else delete self[property];
    restored = true;
  }
  Object.defineProperties(spied, {
    original: { value: original, enumerable: true },
    fake: { value: fake, enumerable: true },
    restored: { get: () => restored, enumerable: true },
    restore: { value: restore, enumerable: true },
    [Symbol.dispose]: { value: restore },
  });
  Object.defineProperty(self, property, {
    value: spied,
    configurable: true,
    enumerable: before?.enumerable ?? false,
    writable: before?.writable ?? false,
  });
  return spied;
}

/** Wraps a function, or a method in its place, so that its calls can be looked at afterwards. */
export function spy<Self = any, Args extends unknown[] = any[], Return = undefined>(): Spy<
  Self,
  Args,
  Return
>;
export function spy<Self, Args extends unknown[], Return>(
  func: (this: Self, ...args: Args) => Return,
): Spy<Self, Args, Return>;
export function spy<Self, Prop extends keyof Self>(
  self: Self,
  property: Prop,
): MethodSpy<Self, ArgsOf<Self, Prop>, ReturnOf<Self, Prop>>;
export function spy(target?: any, property?: PropertyKey): any {
  if (property !== undefined) return replaceMethod(target, property);
  const original = target ?? (() => {});
  return Object.defineProperties(recorder(original), {
    original: { value: original, enumerable: true },
    restored: { value: false, enumerable: true },
    restore: {
      value: () => {
        throw new MockError("Cannot restore: function cannot be restored");
      },
    },
  });
}

/** Replaces a method by another function until it is restored. */
export function stub<Self, Prop extends keyof Self>(
  self: Self,
  property: Prop,
  func?: (this: Self, ...args: ArgsOf<Self, Prop>) => ReturnOf<Self, Prop>,
): Stub<Self, ArgsOf<Self, Prop>, ReturnOf<Self, Prop>> {
  return replaceMethod(self, property, func ?? (() => undefined));
}

/** Fails unless the spy was called this often. */
export function assertSpyCalls(spy: { calls: unknown[] }, expectedCalls: number): void {
  if (spy.calls.length !== expectedCalls) {
    throw new Error(`Spy called ${spy.calls.length} times, expected ${expectedCalls}`);
  }
}

/** What a call is expected to look like; what is left out is not checked. */
export interface ExpectedSpyCall<Self = any, Args extends unknown[] = any[], Return = any> {
  args?: [...Args, ...unknown[]];
  self?: Self;
  returned?: Return;
  error?: {
    Class?: new (...args: any[]) => Error;
    msgIncludes?: string;
  };
}

/** Fails unless a call was made as expected. */
export function assertSpyCall<Self, Args extends unknown[], Return>(
  spy: Spy<Self, Args, Return>,
  callIndex: number,
  expected?: ExpectedSpyCall<Self, Args, Return>,
): void {
  const call = spy.calls[callIndex];
  if (call === undefined) throw new Error(`Spy has no call ${callIndex}, only ${spy.calls.length}`);
  for (const key of ["args", "self", "returned"] as const) {
    if (expected && key in expected && !equal(call[key], expected[key])) {
      throw new Error(`Spy call ${callIndex}: ${key} not as expected: ${Deno.inspect(call[key])}`);
    }
  }
  const { Class, msgIncludes } = expected?.error ?? {};
  if (Class && !(call.error instanceof Class)) {
    throw new Error(`Spy call ${callIndex}: expected ${Class.name}, got ${call.error}`);
  }
  if (msgIncludes !== undefined && !call.error?.message.includes(msgIncludes)) {
    throw new Error(`Spy call ${callIndex}: error does not include "${msgIncludes}": ${call.error}`);
  }
}

/** A function that gives one value after the other, and throws those that are errors. */
export function returnsNext<Return, Self = any, Args extends unknown[] = any[]>(
  values: Iterable<Return | Error>,
): (this: Self, ...args: Args) => Return {
  const rest = values[Symbol.iterator]();
  let calls = 0;
  return () => {
    const next = rest.next();
    if (next.done) throw new MockError(`Not expected to be called more than ${calls} times`);
    calls++;
    if (next.value instanceof Error) throw next.value;
    return next.value;
  };
}
