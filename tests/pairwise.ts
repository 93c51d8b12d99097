/**
 * Combinations of options: few of them, but every pair of values is in one.
 *
 * @module
 */

/** Values by option. */
export type Choices = Readonly<Record<string, readonly string[]>>;

/** Combinations in which each value of each option meets each value of every other one. */
export function pairwise(choices: Choices): Record<string, string>[] {
  const names = Object.keys(choices);
  const open = new Set<string>();
  const pair = (a: string, x: string, b: string, y: string) => `${a}=${x} ${b}=${y}`;
  names.forEach((a, i) => {
    for (const b of names.slice(i + 1)) {
      for (const x of choices[a]!) for (const y of choices[b]!) open.add(pair(a, x, b, y));
    }
  });
  const combinations: Record<string, string>[] = [];
  while (open.size > 0) {
    const chosen: Record<string, string> = {};
    names.forEach((name, i) => {
      const gain = (value: string) =>
        names.slice(0, i).filter((before) => open.has(pair(before, chosen[before]!, name, value))).length +
        names.slice(i + 1).reduce(
          (sum, later) =>
            sum + choices[later]!.filter((one) => open.has(pair(name, value, later, one))).length / 100,
          0,
        );
      chosen[name] = choices[name]!.reduce((best, value) => gain(value) > gain(best) ? value : best);
    });
    names.forEach((a, i) => {
      for (const b of names.slice(i + 1)) open.delete(pair(a, chosen[a]!, b, chosen[b]!));
    });
    combinations.push(chosen);
  }
  return combinations;
}
