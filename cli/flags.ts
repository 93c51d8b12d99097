/**
 * Flags that several commands have, so that they mean the same everywhere.
 *
 * @module
 */
import type { FlagSpec } from "./command.ts";

/** Chooses the ring. */
export const BACKEND: FlagSpec = {
  name: "backend",
  short: "b",
  value: "BACKEND",
  kind: "backend",
  meaning: "The ring: a built-in backend, or the name of a plugin loaded with --plugin",
};

/** Sets an option of the ring. */
export const OPTION: FlagSpec = {
  name: "option",
  short: "o",
  value: "NAME=VALUE",
  kind: "option",
  repeat: true,
  meaning:
    "Sets an option of the backend, or several with commas between them; `ringpipe backends BACKEND` lists them",
};

/** Loads a plugin. */
export const PLUGIN: FlagSpec = {
  name: "plugin",
  value: "SPECIFIER",
  kind: "module",
  repeat: true,
  meaning: "Loads a backend from a module: ./my_ring.ts, jsr:@scope/ring, npm:ring",
};

/** Stops early. */
export const COUNT: FlagSpec = {
  name: "count",
  short: "c",
  value: "N",
  kind: "count",
  meaning: "Stops after N packets",
};

/** Says less. */
export const QUIET: FlagSpec = {
  name: "quiet",
  short: "q",
  meaning: "No progress and no summary; errors and dropped packets are still told",
};

/** Says more. */
export const VERBOSE: FlagSpec = {
  name: "verbose",
  short: "v",
  meaning: "Says what was resolved and seen: options, formats, every dropped packet",
};

/** Prints statistics. */
export const STATS: FlagSpec = {
  name: "stats",
  meaning: "Prints packets, drops and all counters on standard error at the end",
};

/** Writes statistics. */
export const STATS_OUT: FlagSpec = {
  name: "stats-out",
  value: "FILE",
  kind: "file",
  meaning: "Writes the same as JSON",
};

/** Prints JSON. */
export const JSON_OUTPUT: FlagSpec = {
  name: "json",
  meaning: "Prints JSON",
};
