/**
 * Compressed captures: gzip and zstd in, gzip out.
 *
 * @module
 */
import { createGunzip, createGzip, createZstdDecompress } from "node:zlib";
import { type ByteSink, type ByteSource, writeAll } from "./byte_source.ts";
import { CaptureError } from "./capture_error.ts";
import { ZstdFrames } from "./zstd_frames.ts";

/** Bytes of compressed input handed over at a time. */
const INPUT_SIZE = 64 * 1024;
/** Bytes of output asked for at a time. */
const CHUNK_SIZE = 64 * 1024;

/** Bytes at the end of the input that are handed over one by one: a trailer, whatever follows it, and some. */
const SINGLES = 32;
/** What is left of a piece of input is handed over in steps of this size when it is no more than so many of them. */
const STEP = 64;
const STEPS = 128;

/**
 * How much of what is left of a piece of input to hand over next. A stream that finds an error forgets what it had
 * decompressed of the bytes handed over last. So pieces are handed over in ever smaller steps, but for those that were
 * read to the full: more follows them, and speed matters.
 */
function stepOf(left: number): number {
  if (left === INPUT_SIZE || left <= 1) return left;
  if (left <= SINGLES) return 1;
  return left <= STEP * STEPS ? Math.min(STEP, left - SINGLES) : left >> 1;
}

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
  readonly #frames: ZstdFrames | undefined;
  #rest: Uint8Array | null = null;
  /** Whether all input was handed over. */
  #fed = false;
  /** Whether the decompressor has given all that it will. */
  #finished = false;
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
    this.#frames = format === "zstd" ? new ZstdFrames() : undefined;
    const create = format === "gzip" ? createGunzip : createZstdDecompress as typeof createGunzip;
    // What has been decompressed is taken before more is, so that an error later on cannot take it along.
    this.#stream = create(
      { chunkSize: CHUNK_SIZE, readableHighWaterMark: 1 } as Parameters<typeof create>[0],
    );
    this.#stream.on("readable", () => this.#bell.ring());
    this.#stream.on("end", () => {
      this.#finished = true;
      if (this.#fed) this.#conclude();
    });
    this.#stream.on("error", (error: Error) => this.#end(this.#explain(error)));
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
    await this.#put(head);
    const bytes = new Uint8Array(INPUT_SIZE);
    while (!this.#ended) {
      const length = await source.read(bytes);
      if (length === null) break;
      await this.#put(bytes.subarray(0, length));
    }
    this.#fed = true;
    if (this.#finished) this.#conclude();
    else if (!this.#ended) this.#stream.end();
  }

  /** Ends, after a look at what a decompressor for zstd does not say. */
  #conclude(): void {
    const frames = this.#frames;
    if (frames && frames.count > 1) {
      this.#end(this.#explain(new Error("a second frame, which is not supported")));
    } else if (frames && !frames.whole) this.#end(this.#explain(new Error("unexpected end of file")));
    else this.#end();
  }

  /** Hands bytes over and waits until they are used up. */
  async #put(bytes: Uint8Array): Promise<void> {
    this.#frames?.follow(bytes);
    for (let done = 0; done < bytes.length && !this.#ended && !this.#finished;) {
      const step = stepOf(bytes.length - done);
      const part = bytes.subarray(done, done + step);
      await new Promise<void>((resolve) => this.#stream.write(part, () => resolve()));
      done += step;
    }
  }

  #end(error?: Error): void {
    this.#ended = true;
    if (error) this.#error ??= error;
    this.#bell.ring();
  }

  #explain(error: Error): CaptureError {
    const truncated = /unexpected end/.test(error.message);
    const what = `${truncated ? "truncated" : "bad"} ${this.#format} data behind what decompresses`;
    return new CaptureError(what, this.#given, "more", error.message, truncated);
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
