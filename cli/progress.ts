/**
 * What a run says while it goes on: a bar or a counter that rewrites itself, dropped packets, warnings.
 *
 * @module
 */
import { printError, report, terminalWidth } from "./output.ts";
import { counted, grouped } from "./table.ts";

/** Nothing is shown of a run that is over sooner. */
const QUIET_MS = 250;
const INTERVAL_MS = 100;
const BAR_WIDTH = 30;
/** So many dropped packets are told one by one; the rest as a sum. */
const DROPS_SHOWN = 10;
const ERASE = "\r\x1b[K";

/** How far something is. */
export interface Progress {
  /** Packets so far. */
  readonly packets: number;
  /** Bytes of the input read so far. */
  readonly bytesRead: number;
  /** Bytes of the whole input, if it is a regular file. */
  readonly inputSize?: number;
}

/** How a {@linkcode Monitor} is to speak. */
export interface MonitorOptions {
  /** Whether to show progress at all. */
  readonly live: boolean;
  /** Whether to tell every dropped packet. */
  readonly verbose: boolean;
  /** Milliseconds since some fixed moment. */
  now?(): number;
}

/** One line about the progress of a run that began `elapsed` milliseconds ago. */
export function progressLine({ packets, bytesRead, inputSize }: Progress, elapsed: number): string {
  const rate = `${grouped(Math.round(packets / Math.max(elapsed, 1) * 1000))} packets/s`;
  if (!inputSize) return `${counted(packets, "packet")}, ${rate}`;
  const part = Math.min(bytesRead / inputSize, 1);
  const bar = "#".repeat(Math.round(part * BAR_WIDTH)).padEnd(BAR_WIDTH, ".");
  return `[${bar}] ${String(Math.floor(part * 100)).padStart(3)}%  ${counted(packets, "packet")}, ${rate}`;
}

/** Standard error during a run. */
export class Monitor {
  readonly #options: MonitorOptions;
  readonly #now: () => number;
  readonly #start: number;
  #shown = false;
  #last: number;
  #dropped = 0;
  readonly #untold = new Map<string, number>();

  /** Starts its clock. */
  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#start = this.#now();
    this.#last = this.#start + QUIET_MS - INTERVAL_MS;
  }

  /** Shows how far the run is, if the last time is long enough ago. */
  progress(progress: Progress): void {
    const now = this.#now();
    if (!this.#options.live || now - this.#last < INTERVAL_MS) return;
    this.#last = now;
    this.#shown = true;
    // A line that is wrapped could not be erased.
    const width = terminalWidth(Deno.stderr) ?? Infinity;
    printError(ERASE + progressLine(progress, now - this.#start).slice(0, width - 1));
  }

  /** Says one line. */
  line(text: string): void {
    this.#erase();
    report(text);
  }

  /** Says that a packet was left out, unless that has been said often enough. */
  drop(number: number, reason: string): void {
    if (this.#options.verbose || ++this.#dropped <= DROPS_SHOWN) {
      this.line(`packet ${number} is left out: ${reason}`);
    } else {
      this.#untold.set(reason, (this.#untold.get(reason) ?? 0) + 1);
    }
  }

  /** Ends the progress, and sums up what was not told. */
  end(): void {
    this.#erase();
    if (this.#untold.size === 0) return;
    const reasons = [...this.#untold].map(([reason, count]) => `${reason} ${grouped(count)}`).join(", ");
    const more = [...this.#untold.values()].reduce((sum, count) => sum + count);
    report(`${counted(more, "more packet")} left out: ${reasons} (-v names each)`);
  }

  #erase(): void {
    if (this.#shown) printError(ERASE);
    this.#shown = false;
  }
}
