/**
 * Columns of text.
 *
 * @module
 */

import { terminalWidth } from "./output.ts";

/** The widest a line gets. */
export const LINE_WIDTH = 100;

/** How wide lines are to be: narrower in a narrow terminal. */
export function lineWidth(): number {
  return Math.min(LINE_WIDTH, terminalWidth(Deno.stdout) ?? LINE_WIDTH);
}

/** Breaks text into lines of at most `width` characters, at spaces. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line ? `${line} ${word}` : word;
    }
  }
  return [...lines, line];
}

/**
 * Lays rows out in columns two spaces apart; the last one is wrapped.
 *
 * @param rows Cells; all rows have as many.
 * @param right Columns that are aligned to the right.
 * @param indent Spaces before each line.
 */
export function columns(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
  indent = 0,
): string {
  const count = rows[0]?.length ?? 0;
  const widths = Array.from({ length: count }, (_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const start = widths.slice(0, -1).reduce((sum, width) => sum + width + 2, indent);
  const room = Math.max(30, lineWidth() - start);
  let text = "";
  for (const row of rows) {
    const cells = row.slice(0, -1).map((cell, i) =>
      right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)
    );
    const last = row.at(-1) ?? "";
    const lines = right.includes(count - 1) ? [last.padStart(widths[count - 1]!)] : wrap(last, room);
    const head = " ".repeat(indent) + [...cells, ""].join("  ");
    text += `${head}${lines.join(`\n${" ".repeat(start)}`)}`.replace(/[ ]+$/gm, "") + "\n";
  }
  return text;
}

/** `1 packet`, `2 packets`; digits in groups of three. */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** A number with its digits in groups of three: `1,234,567`. */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}
