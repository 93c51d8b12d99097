/**
 * Compressed captures: gzip and zstd in, gzip out.
 *
 * @module
 */
import { createGunzip, createGzip, createZstdDecompress } from "node:zlib";
import { type ByteSink, type ByteSource, writeAll } from "./byte_source.ts";
import { CaptureError } from "./capture_error.ts";

/** Bytes of compressed input handed over at a time. */
const INPUT_SIZE = 64 * 1024;
/** Bytes of output asked for at a time. */
const CHUNK_SIZE = 256 * 1024;

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

/** What stands in a compressed stream. */
export class DecompressedSource implements ByteSource {
  readonly #stream: ReturnType<typeof createGunzip>;
  readonly #bell = new Bell();
  readonly #format: string;
  #rest: Uint8Array | null = null;
  #ended = false;
  #error: Error | undefined;
  #given = 0;

  /**
   * Starts to decompress.
   *
   * @param format The compression.
   * @param head The first bytes, which were read to find it out.
   * @param source What follows them.
   */
  constructor(format: "gzip" | "zstd", head: Uint8Array, source: ByteSource) {
    this.#format = format;
    const create = format === "gzip" ? createGunzip : createZstdDecompress as typeof createGunzip;
    this.#stream = create({ chunkSize: CHUNK_SIZE });
    this.#stream.on("readable", () => this.#bell.ring());
    this.#stream.on("end", () => this.#end());
    this.#stream.on("error", (error: Error) => this.#end(error));
    this.#feed(head, source).catch((error) => this.#end(error));
  }

  async read(target: Uint8Array): Promise<number | null> {
    let chunk = this.#rest;
    while (chunk === null) {
      chunk = this.#stream.read() as Uint8Array | null;
      if (chunk !== null) break;
      if (this.#error) throw this.#error;
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

  async #feed(head: Uint8Array, source: ByteSource): Promise<void> {
    if (head.length > 0) await this.#put(head);
    const bytes = new Uint8Array(INPUT_SIZE);
    while (!this.#ended) {
      const length = await source.read(bytes);
      if (length === null) break;
      await this.#put(bytes.subarray(0, length));
    }
    if (!this.#ended) this.#stream.end();
  }

  /** Hands bytes over and waits until they are used up. */
  #put(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#stream.write(bytes, () => resolve()));
  }

  #end(error?: Error): void {
    this.#ended = true;
    if (error) this.#error ??= this.#explain(error);
    this.#bell.ring();
  }

  #explain(error: Error): Error {
    const code = (error as { code?: unknown }).code;
    if (typeof code !== "string" || !/^Z|ZSTD/.test(code)) return error;
    const truncated = code === "Z_BUF_ERROR" || /unexpected end|truncated/.test(error.message);
    const what = `${truncated ? "truncated" : "bad"} ${this.#format} data`;
    return new CaptureError(
      `${what} behind what decompresses`,
      this.#given,
      "more",
      error.message,
      truncated,
    );
  }
}

/** Compresses what it takes with gzip. */
export class GzipSink implements ByteSink {
  readonly #stream = createGzip({ chunkSize: CHUNK_SIZE });
  readonly #done: Promise<void>;

  /** Writes to `sink`. */
  constructor(sink: ByteSink) {
    this.#done = this.#drain(sink);
    // Whoever writes next hears of it; so does whoever ends.
    this.#done.catch(() => this.#stream.destroy());
  }

  async write(bytes: Uint8Array): Promise<number> {
    const taken = new Promise<number>((resolve, reject) => {
      this.#stream.write(bytes, (error) => error ? reject(error) : resolve(bytes.length));
    });
    return await Promise.race([taken, this.#done.then(() => bytes.length)]);
  }

  /** Writes what is left. */
  async end(): Promise<void> {
    this.#stream.end();
    await this.#done;
  }

  async #drain(sink: ByteSink): Promise<void> {
    for await (const chunk of this.#stream) await writeAll(sink, chunk as Uint8Array);
  }
}
