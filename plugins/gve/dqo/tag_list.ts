/**
 * Tags in the order in which their time runs out.
 *
 * @module
 */

/** Not in the list. */
const NONE = -1;

/** A doubly linked list of tags, each with a deadline; all wait equally long, so the first is the next to expire. */
export class TagList {
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #deadlines: Float64Array;
  #head = NONE;
  #tail = NONE;
  #length = 0;

  /** For tags below `size`. */
  constructor(size: number) {
    this.#next = new Int32Array(size).fill(NONE);
    this.#previous = new Int32Array(size).fill(NONE);
    this.#deadlines = new Float64Array(size);
  }

  /** How many tags wait. */
  get length(): number {
    return this.#length;
  }

  /** Adds a tag that is not in the list. */
  push(tag: number, deadline: number): void {
    this.#deadlines[tag] = deadline;
    this.#next[tag] = NONE;
    this.#previous[tag] = this.#tail;
    if (this.#tail === NONE) this.#head = tag;
    else this.#next[this.#tail] = tag;
    this.#tail = tag;
    this.#length++;
  }

  /** Removes a tag that is in the list. */
  remove(tag: number): void {
    const next = this.#next[tag]!;
    const previous = this.#previous[tag]!;
    if (previous === NONE) this.#head = next;
    else this.#next[previous] = next;
    if (next === NONE) this.#tail = previous;
    else this.#previous[next] = previous;
    this.#length--;
  }

  /** Removes and returns the first tag if its deadline has come; else -1. */
  expired(now: number): number {
    const tag = this.#head;
    if (tag === NONE || this.#deadlines[tag]! > now) return NONE;
    this.remove(tag);
    return tag;
  }
}
