/**
 * Finds structures by name.
 *
 * @module
 */
import type { Struct } from "../core/layout.ts";
import { didYouMean } from "../core/nearest.ts";
import type { Call } from "./command.ts";
import { UsageError } from "./errors.ts";
import { allBackends, chosenBackend } from "./plugins.ts";

/** A structure and the backend that has it. */
export interface NamedStruct {
  /** The structure. */
  readonly struct: Struct;
  /** Name of the backend. */
  readonly backend: string;
}

/** The structures within reach by name; where two backends have the same name, the first one's. */
export async function knownStructs(call: Call): Promise<Map<string, NamedStruct>> {
  const backends = call.text("backend") === undefined ? await allBackends(call) : [await chosenBackend(call)];
  const known = new Map<string, NamedStruct>();
  for (const { name, structures } of backends) {
    for (const struct of structures) {
      if (!known.has(struct.name)) known.set(struct.name, { struct, backend: name });
    }
  }
  return known;
}

/**
 * The structure that the first operand names.
 *
 * @throws {UsageError} If there is none.
 */
export async function chosenStruct(call: Call): Promise<NamedStruct> {
  const [name = ""] = call.operands;
  const known = await knownStructs(call);
  const found = known.get(name);
  if (!found) {
    const hint = didYouMean(name, known.keys()) || "; `ringpipe struct list` has those that there are";
    throw new UsageError(`unknown structure "${name}"${hint}`);
  }
  return found;
}
