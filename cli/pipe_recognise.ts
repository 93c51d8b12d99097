/**
 * Finds out what an input is.
 *
 * @module
 */
import type { Memory } from "../core/memory.ts";
import { CaptureError } from "../pcap/capture_error.ts";
import { ClassicScanner } from "../pcap/classic.ts";
import type { CaptureTarget, Scanner } from "../pcap/scanner.ts";
import { sniff } from "../pcap/sniff.ts";
import type { Intake, NoMore } from "./pipe_intake.ts";

/** What an input turned out to be. */
export interface Recognised {
  /** Reads it. */
  readonly scanner: Scanner;
  /** What it is compressed with. */
  readonly compression: "gzip" | "zstd" | undefined;
}

/** What an input is, for a person: format, variant, compression. */
export function formatName({ scanner, compression }: Recognised): string {
  return [scanner.format, scanner.variant, compression ?? ""].filter((part) => part !== "").join(", ");
}

async function makeScanner(
  format: "pcap" | "pcapng",
  memory: Memory,
  target: CaptureTarget,
): Promise<Scanner> {
  if (format === "pcap") return new ClassicScanner(memory, target);
  const { PcapngScanner } = await import("../pcap/pcapng.ts");
  return new PcapngScanner(memory, target);
}

/**
 * Reads until it is known what the input is. A compressed one is decompressed from then on.
 *
 * @param intake The input.
 * @param memory Where it is.
 * @param target Who will hear what lies where.
 * @returns Nothing if the wait was interrupted.
 * @throws {CaptureError} If it is nothing that can be read.
 */
export async function recognise(
  intake: Intake,
  memory: Memory,
  target: CaptureTarget,
): Promise<Recognised | undefined> {
  let compression: Recognised["compression"];
  for (let last = false;;) {
    const lack: NoMore | undefined = last ? undefined : await intake.more();
    if (lack === "interrupted") return undefined;
    last ||= lack === "ended";
    const format = sniff(memory.bytes.subarray(intake.position, intake.end), last);
    if (format === "pcap" || format === "pcapng") {
      return { scanner: await makeScanner(format, memory, target), compression };
    }
    if (format === undefined) continue;
    if (compression) {
      throw new CaptureError("not a capture", 0, "pcap or pcapng", `${format} in ${compression}`);
    }
    compression = format;
    const { DecompressedSource } = await import("../pcap/compression.ts");
    intake.replace((head, rest) => new DecompressedSource(format, head, rest));
    last = false;
  }
}
