/**
 * What all backends have in common: how they describe themselves, and how they count.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { builtInNames, loadBackend, RingPair } from "../mod.ts";

const backends = await Promise.all(builtInNames.map(loadBackend));

/** Names of fields with which a sentence may begin. */
const FIELDS: readonly string[] = ["mss", "next"];

/** Whether a text is a sentence without a full stop: it begins with a capital, or with the name of a field. */
function isSentence(text: string): boolean {
  const [first = ""] = text.split(/[ ,]/);
  return /^[A-Z0-9]/.test(first) && !text.endsWith(".") || /[._]/.test(first) || FIELDS.includes(first);
}

for (const { name, options, counters, faults = [], structures } of backends) {
  Deno.test(`${name} says what its options, counters, faults and structures mean as all backends do`, () => {
    const odd = [
      ...counters.map(({ meaning }) => meaning),
      ...faults.map(({ meaning }) => meaning),
    ].filter((text) => !isSentence(text));
    assertEquals(odd, []);
    // An option's meaning goes on after its name and values.
    assertEquals(options.map(({ meaning }) => meaning).filter((text) => /^[A-Z][a-z]|\.$/.test(text)), []);
    assertEquals(structures.filter(({ summary, source }) => !summary || !source).map(({ name }) => name), []);
    const silent = structures.flatMap((struct) =>
      struct.fields.filter(({ name, meaning }) => name && !meaning).map((field) =>
        `${struct.name}.${field.name}`
      )
    );
    assertEquals(silent, []);
  });

  Deno.test(`${name} counts under names that it lists, each half under its own, and in whole numbers`, async () => {
    const ring = new RingPair(await loadBackend(name));
    for (let length = 14; length < 1500; length += 100) {
      ring.transmit(new Uint8Array(length));
      ring.service();
      ring.receive();
    }
    const driver = ring.link.driver.counters();
    const device = ring.link.device.counters();
    const listed = new Set(counters.map(({ name }) => name));
    const counted = [...Object.keys(driver), ...Object.keys(device)];
    assertEquals(counted.filter((key) => !listed.has(key)), []);
    assertEquals(counted.length, new Set(counted).size);
    const odd = Object.entries(ring.counters()).filter(([, value]) =>
      !(Number.isSafeInteger(value) && value >= 0)
    );
    assertEquals(odd, []);
  });
}
