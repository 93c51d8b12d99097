/**
 * What a reader raises when a capture is bad.
 *
 * @module
 */

/** Bad bytes in a capture: where they are, what was wanted and what was there. */
export class CaptureError extends Error {
  /** Always `"CaptureError"`. */
  override readonly name = "CaptureError";
  /** Offset in the capture, after decompression, of the structure that is bad. */
  readonly offset: number;

  /**
   * Says it in one line.
   *
   * @param what What is bad: `truncated record header`.
   * @param offset Where it starts in the capture.
   * @param wanted What was wanted: `16 bytes`.
   * @param got What was there.
   */
  constructor(what: string, offset: number, wanted: string, got: string | number) {
    super(`${what} at byte ${offset}: wanted ${wanted}, got ${got}`);
    this.offset = offset;
  }
}
