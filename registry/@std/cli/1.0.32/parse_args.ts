// deno-coverage-ignore-file
// deno-lint-ignore-file no-import-prefix
/**
 * Stand-in for jsr:@std/cli/parse-args: the npm copy of it, which carries no types, typed by hand for the
 * options that ringpipe uses. The type of `default` is not modelled: take values with `??` instead.
 *
 * @module
 */
import * as std from "npm:deno-std@^1.4.0/cli/parse_args.js";

/** The part of the real options that is used here. */
interface Options<S extends string, B extends string, C extends string> {
  string?: readonly S[];
  boolean?: readonly B[];
  collect?: readonly C[];
  alias?: Record<string, string | readonly string[]>;
  default?: Record<string, unknown>;
  negatable?: readonly string[];
  stopEarly?: boolean;
  "--"?: boolean;
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

type Args<S extends string, B extends string, C extends string> =
  & { [K in Exclude<S, C>]?: string }
  & { [K in Extract<S, C>]: string[] }
  & { [K in B]: boolean }
  & { [x: string]: unknown; _: (string | number)[] };

/** Splits command-line arguments into flags and positionals. */
export const parseArgs: <
  S extends string = never,
  B extends string = never,
  C extends string = never,
>(args: string[], options?: Options<S, B, C>) => Args<S, B, C> = std.parseArgs;
