/**
 * What a reader raises when a capture is bad.
 *
 * @module
 */

/** What is wrong, for whoever reads it on a terminal. */
function inFile(file: string, message: string, packets: number, good: string): string {
  return `${file}: ${message}; ${packets} packet${packets === 1 ? " was" : "s were"} ${good}`;
}

/** Bad bytes in a capture: where they are, what was wanted and what was there. */
export class CaptureError extends Error {
  /** Always `"CaptureError"`. */
  override readonly name = "CaptureError";
  /** Offset in the capture, after decompression, of the structure that is bad. */
  readonly offset: number;
  /** Whether the capture just ends too early. */
  readonly truncated: boolean;

  /**
   * Says it in one line.
   *
   * @param what What is bad: `truncated record header`.
   * @param offset Where it starts in the capture.
   * @param wanted What was wanted: `16 bytes`.
   * @param got What was there.
   * @param truncated Whether the capture just ends too early.
   */
  constructor(what: string, offset: number, wanted: string, got: string | number, truncated = false) {
    super(`${what} at byte ${offset}: wanted ${wanted}, got ${got}`);
    this.offset = offset;
    this.truncated = truncated;
  }

  /**
   * The same, for whoever reads it on a terminal.
   *
   * @param file Name of the capture.
   * @param packets How many packets were good.
   * @param good What they were: `whole and written`.
   */
  inFile(file: string, packets: number, good: string): CaptureError {
    const { offset, truncated, message } = this;
    const error = new CaptureError("", offset, "", "", truncated);
    error.message = inFile(file, message, packets, good);
    return error;
  }
}

/** A capture holds what the format that it is converted to cannot. */
export class ConversionError extends Error {
  /** Always `"ConversionError"`. */
  override readonly name = "ConversionError";

  /** The same, for whoever reads it on a terminal. */
  inFile(file: string, packets: number): ConversionError {
    return new ConversionError(inFile(file, this.message, packets, "written"));
  }
}
