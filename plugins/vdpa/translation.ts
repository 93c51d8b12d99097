/**
 * Guest addresses to device addresses, done in software for every descriptor: what a shadow queue pays if the guest's
 * memory is not mapped at the addresses that the guest uses.
 *
 * @module
 */
import { Region } from "../../core/address_space.ts";

/** A section of guest memory and where the device sees it. */
export interface TranslatedSection {
  /** First guest address. */
  readonly gpa: number;
  /** Bytes. */
  readonly size: number;
  /** First device address. */
  readonly iova: number;
}

/** See the module. The chain translated last stands in the fields. */
export class Translation {
  /** Device addresses of the buffers. */
  readonly addresses: number[] = [];
  /** Their lengths. */
  readonly lengths: number[] = [];
  /** How many there are: more than the guest's if a buffer crosses into another section. */
  count = 0;
  /** How many of them are device-readable. */
  readable = 0;
  /** The guest address that is in no section, if the last chain had one. */
  failed = 0;
  readonly #sections: readonly TranslatedSection[];
  #last: TranslatedSection;

  /** Takes at least one section. */
  constructor(sections: readonly TranslatedSection[]) {
    this.#sections = sections;
    this.#last = sections[0]!;
  }

  /** Translates a chain. False if one of its bytes is nowhere. */
  chain(addresses: ArrayLike<number>, lengths: ArrayLike<number>, count: number, readable: number): boolean {
    this.count = 0;
    for (let i = 0; i < count; i++) {
      if (!this.#buffer(addresses[i]!, lengths[i]!)) return false;
      if (i === readable - 1) this.readable = this.count;
    }
    if (readable === 0) this.readable = 0;
    return true;
  }

  /** A region of guest memory as the device sees it, if one section holds it whole. */
  window({ start, end, memory, first, access }: Region): Region | undefined {
    const section = this.#find(start);
    if (!section || end > section.gpa + section.size) return undefined;
    return new Region(start - section.gpa + section.iova, end - start, memory, first, access);
  }

  #buffer(address: number, length: number): boolean {
    for (;;) {
      let section: TranslatedSection | undefined = this.#last;
      let offset = address - section.gpa;
      if (offset < 0 || offset >= section.size) {
        section = this.#find(address);
        if (!section) {
          this.failed = address;
          return false;
        }
        this.#last = section;
        offset = address - section.gpa;
      }
      const part = Math.min(length, section.size - offset);
      this.addresses[this.count] = section.iova + offset;
      this.lengths[this.count++] = part;
      if (part === length) return true;
      address += part;
      length -= part;
    }
  }

  #find(address: number): TranslatedSection | undefined {
    for (const section of this.#sections) {
      if (address >= section.gpa && address < section.gpa + section.size) return section;
    }
    return undefined;
  }
}
