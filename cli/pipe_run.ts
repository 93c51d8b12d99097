/**
 * One run of a capture through a ring.
 *
 * @module
 */
import { LocalHost } from "../core/host.ts";
import type { Memory } from "../core/memory.ts";
import { type Link, openLink } from "../core/plugin.ts";
import type { ByteSink } from "../pcap/byte_source.ts";
import { CaptureError, ConversionError } from "../pcap/capture_error.ts";
import type { Rewriter } from "../pcap/rewriter.ts";
import type { Scanner } from "../pcap/scanner.ts";
import type { Input } from "./files.ts";
import type { PipeOptions, PipeResult } from "./pipe.ts";
import { Carrier } from "./pipe_carrier.ts";
import { Intake, INTAKE_SIZE } from "./pipe_intake.ts";
import { AbandonedError, Outlet, OUTLET_SIZE } from "./pipe_outlet.ts";
import { formatName, recognise, type Recognised } from "./pipe_recognise.ts";

/** Milliseconds that an output has to take what is left when the end is urgent. */
const GRACE = 500;

/** Milliseconds between two reports of progress. */
const PROGRESS_INTERVAL = 100;

async function makeRewriter(
  format: "pcap" | "pcapng",
  memory: Memory,
  scanner: Scanner,
): Promise<Rewriter | undefined> {
  if (format === scanner.format) return undefined;
  if (format === "pcap") {
    const { PcapRewriter } = await import("../pcap/to_pcap.ts");
    return new PcapRewriter(memory, scanner);
  }
  const { PcapngRewriter } = await import("../pcap/to_pcapng.ts");
  return new PcapngRewriter(memory, scanner);
}

/** One run from its first byte to its last. */
export class PipeRun {
  readonly #options: PipeOptions;
  readonly #input: Input;
  readonly #intake: Intake;
  readonly #outlet: Outlet;
  readonly #memory: Memory;
  readonly #link: Link;
  readonly #carrier: Carrier;
  readonly #started = performance.now();
  #recognised: Recognised | undefined;
  #error: Error | undefined;
  #interrupted = false;
  #finished = false;
  #told = -Infinity;
  #grace: ReturnType<typeof setTimeout> | undefined;

  /** Opens the ring between `input` and `sink`. */
  constructor(options: PipeOptions, input: Input, sink: ByteSink) {
    this.#options = options;
    this.#input = input;
    const host = new LocalHost({ captureSize: INTAKE_SIZE, privateSize: OUTLET_SIZE });
    this.#memory = host.memory;
    this.#link = openLink(options.plugin, options.options, host);
    this.#intake = new Intake(input, host.memory, host.captureOffset);
    this.#outlet = new Outlet(sink, host.memory, host.privateOffset);
    this.#carrier = new Carrier(
      host.memory,
      this.#link,
      options.count ?? -1,
      (number, reason) => options.onDrop?.(number, reason),
      (message) => options.onWarning?.(message),
      () => sink.prepare?.(),
    );
    options.interrupts?.onRaise(() => this.#interrupt());
  }

  /** Reads, sends, receives and writes until there is a reason to end. */
  async run(): Promise<void> {
    try {
      await this.#recognise();
      for (let last = false; this.#recognised && !this.#finished;) {
        if (!last) this.#intake.ahead();
        await this.#turn(last);
        if (!this.#finished) last = await this.#isLast();
      }
    } catch (error) {
      this.#error ??= error as Error;
    }
    await this.#outlet.finish().catch((error) => this.#error ??= error);
    // What cannot be taken back stays, with the error that is there already.
    await this.#outlet.mend((start, end) => this.#carrier.whole(start, end)).catch(() => {});
    // The first use of any timer costs milliseconds, even where there is none to clear.
    if (this.#grace !== undefined) clearTimeout(this.#grace);
  }

  /** What became of it. */
  result(): PipeResult {
    const { packets, bytes, dropped, drops } = this.#carrier;
    const error = this.#explained();
    const abandoned = error instanceof AbandonedError;
    const { driver, device } = this.#link;
    return {
      packets: { in: packets, out: this.#outlet.packets, dropped },
      bytes: { in: bytes, out: this.#outlet.bytes },
      drops,
      counters: { ...driver.counters(), ...device.counters() },
      elapsed_s: (performance.now() - this.#started) / 1000,
      format: this.#recognised ? formatName(this.#recognised) : "",
      ...error && !abandoned && (error instanceof Deno.errors.BrokenPipe ? { readerGone: true } : { error }),
      ...this.#interrupted && { interrupted: true },
      ...abandoned && { abandoned },
    };
  }

  /** What went wrong: bad data with the file's name and with how much was good. */
  #explained(): Error | undefined {
    const error = this.#error;
    const { name } = this.#input;
    const { packets } = this.#outlet;
    if (error instanceof CaptureError) return error.inFile(name, packets, "whole and written");
    if (error instanceof ConversionError) return error.inFile(name, packets);
    return error;
  }

  /** Whether the run is to end before its input does. */
  get #ending(): boolean {
    return this.#error !== undefined || this.#interrupted || this.#carrier.full;
  }

  #interrupt(): void {
    const enough = this.#input.size === undefined ? 2 : 1;
    const { count } = this.#options.interrupts!;
    if (count < enough) return;
    this.#interrupted = true;
    this.#intake.interrupt();
    if (count > 1) this.#grace ??= setTimeout(() => this.#outlet.abandon(), GRACE);
    if (count > 2) this.#outlet.abandon();
  }

  /** Finds out what the input is, and whether it is converted. */
  async #recognise(): Promise<void> {
    const recognised = await recognise(this.#intake, this.#memory, this.#carrier);
    if (!recognised) return;
    const { scanner } = this.#recognised = recognised;
    const rewriter = await makeRewriter(this.#options.format ?? scanner.format, this.#memory, scanner);
    if (rewriter) this.#carrier.convert(rewriter);
  }

  /** Waits for more of the input: true if there is none. */
  async #isLast(): Promise<boolean> {
    try {
      return await this.#intake.more() !== undefined;
    } catch (error) {
      this.#error = error as Error;
      return true;
    }
  }

  /** Takes all that has arrived through the ring, and has it written. */
  async #turn(last: boolean): Promise<void> {
    const { position, end, origin, length } = this.#intake;
    const carrier = this.#carrier;
    const { scanner } = this.#recognised!;
    carrier.open(await this.#outlet.window(length));
    try {
      this.#intake.position = scanner.scan(position, end, origin, last);
      if (last && !this.#ending && this.#intake.length > 0) {
        this.#error = scanner.truncated(this.#intake.position, end, origin);
      }
    } catch (error) {
      this.#error = error as Error;
    }
    this.#drain();
    this.#finished = last || this.#ending;
    if (this.#finished) carrier.finish();
    const windowEnd = carrier.close();
    const { packets, dropped, bytes, bytesDropped } = carrier;
    await this.#outlet.write(carrier.start, windowEnd, packets - dropped, bytes - bytesDropped);
    this.#progress();
  }

  /** Gets all packets out of the ring. What a ring that stopped still holds is lost. */
  #drain(): void {
    const error = this.#error;
    try {
      if (!error || error instanceof CaptureError || error instanceof ConversionError) this.#carrier.drain();
    } catch (thrown) {
      this.#error = thrown as Error;
    }
    if (this.#error) this.#carrier.abandon("fault");
  }

  #progress(): void {
    const now = performance.now();
    if (!this.#options.onProgress || now - this.#told < PROGRESS_INTERVAL) return;
    this.#told = now;
    const { bytesRead, size } = this.#input;
    const packets = this.#carrier.packets;
    this.#options.onProgress({ packets, bytesRead, ...size !== undefined && { inputSize: size } });
  }
}
