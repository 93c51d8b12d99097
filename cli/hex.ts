/**
 * Bytes as hexadecimal text.
 *
 * @module
 */
import { UsageError } from "./errors.ts";

/** Two digits for each byte. */
export function formatHex(bytes: Iterable<number>, separator = ""): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(separator);
}

/**
 * Bytes from hexadecimal text, with or without `0x`, spaces, colons and commas.
 *
 * @throws {UsageError} If it is not that.
 */
export function parseHex(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.replace(/0x|[\s:,]/gi, "");
  const wrong = /[^0-9a-f]/i.exec(digits)?.[0];
  if (wrong !== undefined) throw new UsageError(`no hexadecimal digit: "${wrong}"`);
  if (digits.length % 2 > 0) throw new UsageError(`hexadecimal digits come in pairs: got ${digits.length}`);
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
