/**
 * Combinations of options such that every two values that may stand together do, in at least one of them.
 *
 * @module
 */

/** Values by option. */
export type Choices = Readonly<Record<string, readonly unknown[]>>;
/** One value of each option. */
export type Row<C extends Choices> = { [K in keyof C]: C[K][number] };

/**
 * Finds few rows that cover all pairs.
 *
 * @param choices The values of each option.
 * @param allowed Whether some values may stand together; asked about rows that are not complete yet, too.
 */
export function pairwise<C extends Choices>(
  choices: C,
  allowed: (row: Partial<Row<C>>) => boolean = () => true,
): Row<C>[] {
  const names = Object.keys(choices);
  const key = (a: number, i: number, b: number, j: number) =>
    a < b ? `${a}.${i}/${b}.${j}` : `${b}.${j}/${a}.${i}`;
  const build = (picks: ReadonlyMap<number, number>): Partial<Row<C>> =>
    Object.fromEntries([...picks].map(([at, i]) => [names[at]!, choices[names[at]!]![i]])) as Partial<Row<C>>;
  const open = new Map<string, readonly [number, number, number, number]>();
  for (let a = 0; a < names.length; a++) {
    for (let b = a + 1; b < names.length; b++) {
      for (let i = 0; i < choices[names[a]!]!.length; i++) {
        for (let j = 0; j < choices[names[b]!]!.length; j++) {
          if (allowed(build(new Map([[a, i], [b, j]])))) open.set(key(a, i, b, j), [a, i, b, j]);
        }
      }
    }
  }
  /** Picks the value of each option left that covers most open pairs; tries the next best where that leads nowhere. */
  const complete = (picks: Map<number, number>, at: number): Map<number, number> | undefined => {
    if (at === names.length) return picks;
    if (picks.has(at)) return complete(picks, at + 1);
    const gain = (i: number) => {
      let sum = 0;
      for (const [other, j] of picks) if (open.has(key(at, i, other, j))) sum++;
      return sum;
    };
    const order = choices[names[at]!]!.map((_, i) => [i, gain(i)] as const).sort((x, y) => y[1] - x[1]);
    for (const [i] of order) {
      const next = new Map(picks).set(at, i);
      const found = allowed(build(next)) ? complete(next, at + 1) : undefined;
      if (found) return found;
    }
    return undefined;
  };
  const rows: Row<C>[] = [];
  for (const [name, [a, i, b, j]] of open) {
    // Covered in the meantime, or standing in no whole row.
    if (!open.has(name)) continue;
    open.delete(name);
    const picks = complete(new Map([[a, i], [b, j]]), 0);
    if (!picks) continue;
    for (const [x, m] of picks) for (const [y, n] of picks) if (x < y) open.delete(key(x, m, y, n));
    rows.push(build(picks) as Row<C>);
  }
  return rows;
}
