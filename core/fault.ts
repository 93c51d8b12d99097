/**
 * What a half raises when its peer breaks the protocol.
 *
 * @module
 */

/** Which half of a link saw something. */
export type Half = "driver" | "device";

/** One rule whose violation is a fault, for help and documentation. */
export interface FaultSpec {
  /** Stable name of the rule, as in {@linkcode RingFault.code}. */
  readonly code: string;
  /** The half that sees it; left out if either may. */
  readonly half?: Half;
  /** What the peer did. */
  readonly meaning: string;
}

/** The rules that one half watches over, or either if none is named, from their meanings by code. */
export function faultSpecs(meanings: Readonly<Record<string, string>>, half?: Half): FaultSpec[] {
  return Object.entries(meanings).map(([code, meaning]) => ({ code, ...half && { half }, meaning }));
}

/** The values that led to a fault: what was read, what was allowed. */
export type FaultValues = Readonly<Record<string, number | bigint | string>>;

/**
 * A protocol violation by the peer. The half that throws it has stopped the ring in question, as the real
 * implementations do; the code is stable and documented in the plugin's help.
 */
export class RingFault extends Error {
  /** Always `"RingFault"`. */
  override readonly name = "RingFault";
  /** Stable name of the violated rule. */
  readonly code: string;
  /** The half that saw it. */
  readonly half: Half;
  /** The ring, queue or register block it was seen in. */
  readonly ring: string;
  /** Ring index (or descriptor number) at which it was seen. */
  readonly index: number;
  /** What was read and what was allowed. */
  readonly values: FaultValues;

  /** Builds the one-line message from its parts. */
  constructor(half: Half, ring: string, code: string, index: number, values: FaultValues = {}) {
    const details = Object.entries(values).map(([name, value]) => `${name}=${value}`).join(" ");
    super(`${half} stopped ring ${ring} at index ${index}: ${code}${details && ` (${details})`}`);
    this.code = code;
    this.half = half;
    this.ring = ring;
    this.index = index;
    this.values = values;
  }
}
