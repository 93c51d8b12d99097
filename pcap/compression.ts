/**
 * Compressed captures: gzip and zstd in, gzip out.
 *
 * @module
 */
import { crc32, createGzip, createInflateRaw, createZstdDecompress } from "node:zlib";
import { type ByteSink, type ByteSource, writeAll } from "./byte_source.ts";
import { CaptureError } from "./capture_error.ts";
import { CompressedInput, unexpectedEnd } from "./compressed_input.ts";
import { readGzipHeader, readGzipTrailer } from "./gzip_member.ts";
import { ZstdFrame } from "./zstd_frame.ts";

/** Bytes of output asked for at a time. */
const CHUNK_SIZE = 64 * 1024;

/** Decompresses one member or frame. */
type Decompressor = ReturnType<typeof createInflateRaw>;

/** What has been decompressed is taken before more is, so that an error later on cannot take it along. */
const SETTINGS = { chunkSize: CHUNK_SIZE, readableHighWaterMark: 1 };

/** Something was heard from a stream. */
class Bell {
  #ring: () => void = () => {};

  /** Ends the wait. */
  ring(): void {
    this.#ring();
  }

  /** Waits for the next ring. */
  wait(): Promise<void> {
    return new Promise((resolve) => this.#ring = resolve);
  }
}

/**
 * Gives the memory of a used chunk back at once, as the collector would let tens of megabytes gather. Only the last
 * chunk of a buffer does that: what is before it the stream may still be filling.
 */
function release({ buffer, byteOffset, length }: Uint8Array): void {
  if (
    buffer instanceof ArrayBuffer && buffer.byteLength === CHUNK_SIZE && byteOffset + length === CHUNK_SIZE
  ) {
    buffer.transfer(0);
  }
}

/** What stands in a compressed stream: one member or frame after the other. */
export class DecompressedSource implements ByteSource {
  readonly #format: "gzip" | "zstd";
  readonly #input: CompressedInput;
  readonly #bell = new Bell();
  /** Decompresses the present member. */
  #stream: Decompressor | undefined;
  #rest: Uint8Array | null = null;
  #ended = false;
  #error: Error | undefined;
  #given = 0;
  /** Checksum and size of what came of the present member. */
  #checksum = 0;
  #size = 0;

  /**
   * Starts to decompress.
   *
   * @param format The compression.
   * @param head The first bytes, which were read to find it out.
   * @param source What follows them.
   */
  constructor(format: "gzip" | "zstd", head: Uint8Array, source: ByteSource) {
    this.#format = format;
    const failing: ByteSource = {
      read: (target) => source.read(target).catch((error) => Promise.reject(this.#error = error)),
    };
    this.#input = new CompressedInput(head, failing);
    const work = format === "gzip" ? this.#readMembers() : this.#readFrames();
    work.catch((error) => this.#error ??= this.#explain(error)).finally(() => {
      this.#ended = true;
      this.#bell.ring();
    });
  }

  async read(target: Uint8Array): Promise<number | null> {
    let chunk = this.#rest;
    while (chunk === null) {
      chunk = this.#stream?.read() as Uint8Array | undefined ?? null;
      if (chunk !== null) {
        this.#size += chunk.length;
        if (this.#format === "gzip") this.#checksum = crc32(chunk, this.#checksum);
        break;
      }
      if (this.#ended && this.#error) throw this.#error;
      if (this.#ended) return null;
      await this.#bell.wait();
    }
    const length = Math.min(chunk.length, target.length);
    target.set(length === chunk.length ? chunk : chunk.subarray(0, length));
    this.#rest = length === chunk.length ? null : chunk.subarray(length);
    this.#given += length;
    if (this.#rest === null) release(chunk);
    return length;
  }

  async #readMembers(): Promise<void> {
    const input = this.#input;
    do {
      await readGzipHeader(input);
      await this.#decompress(createInflateRaw(SETTINGS), (bytes) => bytes.length, () => false);
      await readGzipTrailer(input, this.#checksum, this.#size);
    } while (await input.skipAll(0));
  }

  async #readFrames(): Promise<void> {
    const create = createZstdDecompress as unknown as typeof createInflateRaw;
    do {
      const frame = new ZstdFrame();
      await this.#decompress(create(SETTINGS), (bytes) => frame.follow(bytes), () => frame.whole);
      if (!frame.whole) throw unexpectedEnd();
    } while (await this.#input.fill());
  }

  /**
   * Decompresses a member, and waits until all that comes of it was taken.
   *
   * @param stream The decompressor.
   * @param belonging How many of the bytes that come next may belong to the member.
   * @param isWhole Whether the member is known to end behind those that were handed over.
   */
  async #decompress(
    stream: Decompressor,
    belonging: (bytes: Uint8Array) => number,
    isWhole: () => boolean,
  ): Promise<void> {
    const input = this.#input;
    this.#checksum = this.#size = 0;
    this.#stream = stream;
    const done = new Promise<void>((resolve, reject) => {
      stream.on("end", resolve);
      stream.on("error", reject);
    });
    const settled = done.catch(() => {});
    stream.on("readable", () => this.#bell.ring());
    for (let more = true; more && !isWhole() && await input.fill();) {
      const { step } = input;
      const part = step.subarray(0, belonging(step));
      const before = stream.bytesWritten;
      await Promise.race([new Promise<void>((resolve) => stream.write(part, () => resolve())), settled]);
      const taken = stream.bytesWritten - before;
      input.skip(taken);
      // A decompressor leaves what is behind its data.
      more = taken === part.length;
    }
    stream.end();
    await done;
  }

  #explain(error: Error): CaptureError {
    const truncated = /unexpected end/.test(error.message);
    const what = `${truncated ? "truncated" : "bad"} ${this.#format} data behind what decompresses`;
    return new CaptureError(what, this.#given, "more", error.message, truncated);
  }
}

/** Compresses what it takes with gzip. */
export class GzipSink implements ByteSink {
  #begun = false;
  readonly #stream = createGzip({ chunkSize: CHUNK_SIZE });
  readonly #done: Promise<void>;

  /** Writes to `sink`. */
  constructor(sink: ByteSink) {
    this.#done = this.#drain(sink);
    // Whoever writes next hears of it; so does whoever ends.
    this.#done.catch(() => this.#stream.destroy());
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.#begun = true;
    const taken = new Promise<number>((resolve, reject) => {
      this.#stream.write(bytes, (error) => error ? reject(error) : resolve(bytes.length));
    });
    return await Promise.race([taken, this.#done.then(() => bytes.length)]);
  }

  /** Writes what is left: nothing where nothing was to be written. */
  async end(): Promise<void> {
    if (!this.#begun) return;
    this.#stream.end();
    await this.#done;
  }

  async #drain(sink: ByteSink): Promise<void> {
    for await (const chunk of this.#stream) await writeAll(sink, chunk as Uint8Array);
  }
}
