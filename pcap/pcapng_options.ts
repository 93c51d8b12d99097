/**
 * Options of pcapng blocks.
 *
 * @module
 */
import type { Memory } from "../core/memory.ts";
import { OPTION_CODES, pcapng_option } from "./layout.ts";

const CODE = pcapng_option.offsetOf("code");
const LENGTH = pcapng_option.offsetOf("length");
const HEAD = pcapng_option.size;

/** Hears of an option: its code, and where its value lies. */
export type OptionVisitor = (code: number, value: number, length: number) => void;

/**
 * Walks over a list of options. The end of the block ends it as well as the option that says so.
 *
 * @param memory The bytes.
 * @param position Where the options start.
 * @param end Where the block's trailer starts.
 * @param little Whether the section is little endian.
 * @param visit Hears of each.
 * @returns Where an option starts that reaches beyond the block, or -1.
 */
export function walkOptions(
  memory: Memory,
  position: number,
  end: number,
  little: boolean,
  visit?: OptionVisitor,
): number {
  const view = memory.view;
  while (position + HEAD <= end) {
    const code = view.getUint16(position + CODE, little);
    const length = view.getUint16(position + LENGTH, little);
    if (code === OPTION_CODES["endofopt"]) return -1;
    if (length > end - position - HEAD) return position;
    visit?.(code, position + HEAD, length);
    position += HEAD + ((length + 3) & ~3);
  }
  return -1;
}
