/**
 * Where bytes come from and where they go: what files, pipes and their compressed forms have in common.
 *
 * @module
 */

/** Gives bytes. */
export interface ByteSource {
  /**
   * Fills the front of `target` with what has arrived, waiting for at least one byte.
   *
   * @returns How many bytes, or `null` at the end.
   */
  read(target: Uint8Array): Promise<number | null>;
}

/** Takes bytes. */
export interface ByteSink {
  /**
   * Takes bytes from the front of `bytes`, which stay as they are until the promise is settled.
   *
   * @returns How many it took.
   */
  write(bytes: Uint8Array): Promise<number>;
  /** Takes back the last so many bytes that it took, if it can. */
  cut?(length: number): Promise<void>;
  /** Hears that bytes will come soon: what must be done before the first of them can be begun with. */
  prepare?(): void;
}

/** Takes bytes from a loop that cannot wait. */
export interface SyncByteSink {
  /**
   * Takes bytes from the front of `bytes`, which are its own only during the call.
   *
   * @returns How many it took; 0 if it can take none at present.
   */
  writeSync(bytes: Uint8Array): number;
  /** Takes back the last so many bytes that it took, if it can. */
  cutSync?(length: number): void;
}

/** Writes all of `bytes`, however little of them the sink takes at a time. */
export async function writeAll(sink: ByteSink, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await sink.write(bytes.subarray(done));
}
