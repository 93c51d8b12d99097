import { assertEquals } from "@std/assert";
import { MICROSOFT_RSS_KEY, ToeplitzKey } from "../../mod.ts";
import { Random } from "../random.ts";
import { vectors } from "../vectors.ts";

/** The definition, bit by bit: each set bit of the input adds the 32 bits of the key that start at its place. */
function byDefinition(key: Uint8Array, input: Uint8Array): number {
  const bit = (i: number) => ((key[i >>> 3] ?? 0) >>> (7 - (i & 7))) & 1;
  let hash = 0;
  for (let i = 0; i < input.length * 8; i++) {
    if (((input[i >>> 3]! >>> (7 - (i & 7))) & 1) === 0) continue;
    for (let j = 0; j < 32; j++) if (bit(i + j)) hash ^= 1 << (31 - j);
  }
  return hash >>> 0;
}

Deno.test("ToeplitzKey.hash agrees with the golden vectors, short keys included", () => {
  for (const { fields } of vectors("xen_behaviour.json", "toeplitz")) {
    const key = new ToeplitzKey(Uint8Array.fromHex(String(fields.key)));
    const input = Uint8Array.fromHex(String(fields.input));
    assertEquals(key.hash(input, 0, input.length), fields.hash, String(fields.name));
  }
});

Deno.test("ToeplitzKey.hash agrees with the definition for keys and inputs of any length", () => {
  const random = new Random(10);
  for (const keyLength of [0, 1, 3, 4, 5, 16, 36, 39, 40, 52, 255]) {
    const bytes = random.bytes(keyLength);
    const key = new ToeplitzKey(bytes);
    for (let length = 0; length <= 300; length += 1 + random.below(20)) {
      const input = random.bytes(length + 10);
      assertEquals(key.hash(input, 7, length), byDefinition(bytes, input.subarray(7, 7 + length)));
    }
  }
});

Deno.test("ToeplitzKey.extend goes on where an input is split, wherever that is", () => {
  const random = new Random(11);
  const key = new ToeplitzKey(MICROSOFT_RSS_KEY);
  const input = random.bytes(36);
  const whole = key.hash(input, 0, 36);
  for (let split = 0; split <= 36; split++) {
    const start = key.extend(0, 0, input, 0, split);
    assertEquals(key.extend(start, split, input, split, 36 - split) >>> 0, whole);
  }
});
