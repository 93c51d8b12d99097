/**
 * Follows a zstd frame without decompressing: the decompressor says neither where it ends nor that it is cut off.
 *
 * @module
 */

/** Sizes of the dictionary id and of the content size, by their two flag bits (RFC 8878, 3.1.1.1.1). */
const DICTIONARY_SIZES = [0, 1, 2, 4];
const CONTENT_SIZES = [0, 2, 4, 8];
const CHECKSUM_SIZE = 4;
/** A block of this type holds one byte that repeats. */
const REPEATED = 1;
/** Upper 28 bits of the magics of frames that are skipped. */
const SKIPPABLE = 0x184d2a5;

/** What comes next, and how many bytes it has. */
const PARTS = { magic: 4, skippable: 4, descriptor: 1, block: 3 };

/** See the module. */
export class ZstdFrame {
  #part: keyof typeof PARTS = "magic";
  #last = false;
  /** The bytes of the part so far, the first lowest, and how many there are. */
  #value = 0;
  #length = 0;
  /** Bytes to pass over before the part. */
  #skip = 0;
  #checksum = 0;

  /** Whether it ends here. */
  get whole(): boolean {
    return this.#last && this.#skip === 0;
  }

  /** Follows further bytes up to its end. Returns how many that were. */
  follow(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && !this.whole) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, bytes.length - at);
        this.#skip -= skipped;
        at += skipped;
      } else {
        this.#value += bytes[at++]! * 2 ** (8 * this.#length++);
        if (this.#length === PARTS[this.#part]) this.#take(this.#value);
      }
    }
    return at;
  }

  #take(value: number): void {
    this.#value = this.#length = 0;
    switch (this.#part) {
      case "magic":
        this.#part = Math.floor(value / 16) === SKIPPABLE ? "skippable" : "descriptor";
        break;
      case "skippable":
        this.#skip = value;
        this.#last = true;
        break;
      case "descriptor": {
        const single = (value >> 5) & 1;
        const content = CONTENT_SIZES[value >> 6]! || single;
        this.#checksum = (value >> 2) & 1 ? CHECKSUM_SIZE : 0;
        this.#skip = (single ? 0 : 1) + DICTIONARY_SIZES[value & 3]! + content;
        this.#part = "block";
        break;
      }
      case "block": {
        this.#last = (value & 1) === 1;
        this.#skip = ((value >> 1) & 3) === REPEATED ? 1 : value >> 3;
        if (this.#last) this.#skip += this.#checksum;
      }
    }
  }
}
