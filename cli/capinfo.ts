/**
 * `ringpipe capinfo`: what captures hold.
 *
 * @module
 */
import { Memory } from "../core/memory.ts";
import { CaptureError } from "../pcap/capture_error.ts";
import { linkTypeName } from "../pcap/link_types.ts";
import { CaptureSummary } from "../pcap/summary.ts";
import { formatSeconds, formatTime, type PacketTime } from "../pcap/time.ts";
import type { Command } from "./command.ts";
import { DELIVERED, explain, FAILED } from "./errors.ts";
import { openInput } from "./files.ts";
import * as flags from "./flags.ts";
import { print, report, visible } from "./output.ts";
import { Intake, INTAKE_SIZE } from "./pipe_intake.ts";
import { formatName, recognise, type Recognised } from "./pipe_recognise.ts";
import { columns, counted, grouped } from "./table.ts";

/** What was found out about one capture. */
interface Found {
  readonly file: string;
  /** Its name for a person. */
  readonly name: string;
  readonly summary: CaptureSummary;
  readonly recognised: Recognised | undefined;
  readonly error: Error | undefined;
}

/** Reads a capture to its end, or to where it goes bad. */
async function examine(file: string, memory: Memory): Promise<Found> {
  const summary = new CaptureSummary();
  const name = file === "-" ? "standard input" : file;
  let recognised: Recognised | undefined;
  try {
    const input = await openInput(file);
    try {
      const intake = new Intake(input, memory, 0);
      recognised = await recognise(intake, memory, summary);
      const { scanner } = recognised!;
      summary.connect(scanner);
      for (let last = false;;) {
        intake.ahead();
        intake.position = scanner.scan(intake.position, intake.end, intake.origin, last);
        if (last) break;
        last = await intake.more() !== undefined;
      }
      if (intake.length > 0) throw scanner.truncated(intake.position, intake.end, intake.origin);
    } finally {
      input.close();
    }
    return { file, name, summary, recognised, error: undefined };
  } catch (error) {
    return { file, name, summary, recognised, error: error as Error };
  }
}

function isTruncated(error: Error | undefined): boolean {
  return error instanceof CaptureError && error.truncated;
}

function table(found: Found): string {
  const { summary, error } = found;
  const { first, last } = summary;
  const rows = [
    ["format", found.recognised ? formatName(found.recognised) : ""],
    ["link types", [...summary.linkTypes].map(linkTypeName).join(", ")],
    ["interfaces", grouped(summary.interfaces)],
    ["snaplen", summary.snaplen > 0 ? grouped(summary.snaplen) : "not stated"],
    ["packets", grouped(summary.packets)],
    ["bytes", `${grouped(summary.bytes)} captured of ${grouped(summary.bytesOnWire)}`],
    ["largest packet", counted(summary.largest, "byte")],
    ["first time", first ? formatTime(first) : "none"],
    ["last time", last ? formatTime(last) : "none"],
    ["whole", error ? isTruncated(error) ? "no, truncated" : "no, damaged" : "yes"],
  ];
  return `${visible(found.name)}:\n${columns(rows, [], 2)}`;
}

function plain(found: Found): Record<string, unknown> {
  const { file, summary, recognised, error } = found;
  const time = (at: PacketTime | undefined) => at ? formatTime(at) : null;
  const seconds = (at: PacketTime | undefined) => at ? formatSeconds(at) : null;
  return {
    file,
    format: recognised?.scanner.format ?? null,
    variant: recognised?.scanner.variant ?? null,
    compression: recognised?.compression ?? null,
    link_types: [...summary.linkTypes],
    interfaces: summary.interfaces,
    snaplen: summary.snaplen > 0 ? summary.snaplen : null,
    packets: summary.packets,
    bytes: summary.bytes,
    bytes_on_wire: summary.bytesOnWire,
    largest: summary.largest,
    first_time: time(summary.first),
    last_time: time(summary.last),
    first_time_s: seconds(summary.first),
    last_time_s: seconds(summary.last),
    truncated: isTruncated(error),
    error: error ? explain(error) : null,
  };
}

/** The command. */
export const command: Command = {
  name: "capinfo",
  summary: "Tells what captures hold: format, link types, packets, bytes, times, whether they are whole",
  about: [
    "Reads pcap and pcapng, gzip, zstd or not. Times are the earliest and the latest.",
    "A capture that is truncated or damaged is told up to there, the damage on standard error; the status is then 1.",
  ],
  usage: "[--json] FILE...",
  operands: [{ name: "FILE", kind: "file", repeat: true }],
  flags: [flags.JSON_OUTPUT],
  async execute(call) {
    const memory = new Memory(INTAKE_SIZE);
    const all: Record<string, unknown>[] = [];
    let status = DELIVERED;
    for (const file of call.operands) {
      const found = await examine(file, memory);
      if (found.error) {
        status = FAILED;
        const { error, name, summary } = found;
        report(explain(error instanceof CaptureError ? error.inFile(name, summary.packets, "whole") : error));
      }
      for (const warning of found.summary.warnings) report(`${found.name}: ${warning}`);
      if (call.has("json")) all.push(plain(found));
      else if (found.recognised) print(table(found));
    }
    if (call.has("json")) print(`${JSON.stringify(all, null, 2)}\n`);
    return status;
  },
};
