/**
 * What stands around the compressed data of a gzip member (RFC 1952).
 *
 * @module
 */
import type { CompressedInput } from "./compressed_input.ts";

const MAGIC = 0x8b1f;
const DEFLATE = 8;
/** Bytes of the time, the extra flags and the system. */
const UNREAD_SIZE = 6;

const HEADER_CHECK = 0x02;
const EXTRA = 0x04;
const NAME = 0x08;
const COMMENT = 0x10;
const RESERVED = 0xe0;

async function skipText(input: CompressedInput): Promise<void> {
  while (await input.number(1) !== 0);
}

/**
 * Reads the header of a member up to its compressed data.
 *
 * @throws {Error} If it is none, or ends too early.
 */
export async function readGzipHeader(input: CompressedInput): Promise<void> {
  if (await input.number(2) !== MAGIC) throw new Error("something that is no gzip member");
  if (await input.number(1) !== DEFLATE) throw new Error("unknown compression method");
  const flags = await input.number(1);
  if (flags & RESERVED) throw new Error("unknown header flags set");
  await input.number(UNREAD_SIZE);
  if (flags & EXTRA) { for (let left = await input.number(2); left > 0; left--) await input.number(1); }
  if (flags & NAME) await skipText(input);
  if (flags & COMMENT) await skipText(input);
  if (flags & HEADER_CHECK) await input.number(2);
}

/**
 * Reads what stands behind the compressed data of a member.
 *
 * @param input Where it stands.
 * @param checksum The CRC-32 of what was decompressed.
 * @param length How many bytes that was.
 * @throws {Error} If it says something else, or ends too early.
 */
export async function readGzipTrailer(
  input: CompressedInput,
  checksum: number,
  length: number,
): Promise<void> {
  if (await input.number(4) !== checksum) throw new Error("incorrect data check");
  if (await input.number(4) !== length % 2 ** 32) throw new Error("incorrect length check");
}
