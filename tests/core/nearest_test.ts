import { assertEquals } from "@std/assert";
import { didYouMean, nearest } from "../../mod.ts";

const WORDS = ["queue-size", "rx-queue-size", "layout", "indirect", "event-idx", "in-order"];

Deno.test("nearest finds the word behind a slip of each kind", () => {
  assertEquals(nearest("queu-size", WORDS), "queue-size");
  assertEquals(nearest("queuee-size", WORDS), "queue-size");
  assertEquals(nearest("queie-size", WORDS), "queue-size");
  assertEquals(nearest("quuee-size", WORDS), "queue-size");
  assertEquals(nearest("laoyut", WORDS), "layout");
});

Deno.test("nearest takes a word that begins so", () => {
  assertEquals(nearest("ind", WORDS), "indirect");
  assertEquals(nearest("rx", WORDS), "rx-queue-size");
});

Deno.test("nearest takes upper and lower case for the same", () => {
  assertEquals(nearest("QUEUE-SIZE", WORDS), "queue-size");
  assertEquals(nearest("LAY", WORDS), "layout");
  assertEquals(nearest("zerocopy", ["other", "ZEROCOPY"]), "ZEROCOPY");
});

Deno.test("nearest finds nothing when nothing is near", () => {
  assertEquals(nearest("zzzzzz", WORDS), undefined);
  assertEquals(nearest("", WORDS), undefined);
  assertEquals(nearest("layout", []), undefined);
});

Deno.test("nearest counts a swap of neighbours as one slip", () => {
  // Two substitutions away from "ab", one swap away from "dc".
  assertEquals(nearest("cd", ["ab", "dc"]), "dc");
});

Deno.test("nearest counts every slip once: one less or one more is nearer than two others", () => {
  assertEquals(nearest("abcx", ["abyz", "abc"]), "abc");
  assertEquals(nearest("abc", ["ayz", "xabc"]), "xabc");
  assertEquals(nearest("abcd", ["xbcy", "xbcd"]), "xbcd");
});

Deno.test("didYouMean phrases the find, or stays silent", () => {
  assertEquals(didYouMean("layuot", WORDS), ' (did you mean "layout"?)');
  assertEquals(didYouMean("zzzzzz", WORDS), "");
});
