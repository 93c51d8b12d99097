/**
 * Walks over a capture in memory, in pieces of any size, and writes down what the scanner tells.
 *
 * @module
 */
import { Memory } from "../../core/memory.ts";
import { CaptureError } from "../../pcap/capture_error.ts";
import { ClassicScanner } from "../../pcap/classic.ts";
import { PcapngScanner } from "../../pcap/pcapng.ts";
import { type CaptureTarget, packetFacts, type Scanner } from "../../pcap/scanner.ts";
import { sniff } from "../../pcap/sniff.ts";
import type { Packet } from "./libpcap.ts";

/** What was told. */
export interface Walk {
  /** The packets. */
  readonly packets: Packet[];
  /** Everything that was told, in order, as it stands in the capture: the whole capture if it is good. */
  readonly bytes: Uint8Array;
  /** Where what was told ended. */
  readonly end: number;
  /** What was odd. */
  readonly warnings: string[];
  /** Why it stopped before the end. */
  readonly error: CaptureError | undefined;
  /** Who told. */
  readonly scanner: Scanner | undefined;
}

/**
 * Walks over a capture.
 *
 * @param capture The bytes.
 * @param steps Numbers of bytes that arrive at a time, again and again; all at once if not given.
 * @throws Whatever a scanner throws that is not a {@linkcode CaptureError}.
 */
export function walk(capture: Uint8Array, steps: readonly number[] = [capture.length || 1]): Walk {
  const memory = new Memory(capture.length);
  const packets: Packet[] = [];
  const warnings: string[] = [];
  const facts = packetFacts();
  let told = 0;
  let scanner: Scanner | undefined;
  let error: CaptureError | undefined;
  const tell = (start: number, end: number) => {
    if (start !== told || end < start || end > memory.size) {
      throw new Error(`told ${start}..${end} after ${told}`);
    }
    told = end;
  };
  const target: CaptureTarget = {
    packet(start, payload, length, end) {
      tell(start, end);
      scanner!.describe(start, end, facts);
      packets.push({
        seconds: BigInt(facts.seconds),
        nanoseconds: Number(BigInt.asUintN(32, BigInt(facts.fraction) * BigInt(1e9 / facts.perSecond))),
        length: facts.originalLength,
        bytes: memory.bytes.slice(payload, payload + length),
      });
      return true;
    },
    around: (start, end) => tell(start, end),
    warn: (message) => warnings.push(message),
  };
  try {
    let position = 0;
    for (let end = 0, i = 0;; i++) {
      const next = Math.min(end + steps[i % steps.length]!, capture.length);
      const last = next === end;
      memory.bytes.set(capture.subarray(end, next), end);
      end = next;
      if (!scanner) {
        const format = sniff(memory.bytes.subarray(0, end), last);
        if (format === "pcap") scanner = new ClassicScanner(memory, target);
        else if (format === "pcapng") scanner = new PcapngScanner(memory, target);
        else if (format) throw new TypeError(`the capture is compressed: ${format}`);
      }
      if (scanner) position = scanner.scan(position, end, 0, last);
      if (!last) continue;
      if (position < end) error = scanner!.truncated(position, end, 0);
      break;
    }
  } catch (thrown) {
    if (!(thrown instanceof CaptureError)) throw thrown;
    error = thrown;
  }
  return { packets, bytes: capture.subarray(0, told), end: told, warnings, error, scanner };
}
