/**
 * The one line at the end of a run.
 *
 * @module
 */
import type { PipeResult } from "./pipe.ts";
import { counted, grouped } from "./table.ts";

/** What went through which ring, and what did not. */
export function summaryLine(
  backend: string,
  { packets, bytes, drops, elapsed_s, interrupted }: PipeResult,
): string {
  const reasons = Object.entries(drops).map(([reason, count]) => `${reason} ${grouped(count)}`).join(", ");
  const rate = elapsed_s > 0 ? `, ${grouped(Math.round(packets.out / elapsed_s))} packets/s` : "";
  return `${counted(packets.out, "packet")}, ${counted(bytes.out, "byte")} through ${backend}` +
    (packets.dropped > 0
      ? `; ${grouped(packets.dropped)} of ${grouped(packets.in)} left out (${reasons})`
      : "") +
    ` in ${elapsed_s.toFixed(3)} s${rate}` + (interrupted ? "; interrupted" : "");
}
