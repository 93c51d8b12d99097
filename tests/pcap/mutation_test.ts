import { assert, assertEquals } from "@std/assert";
import { Random } from "../random.ts";
import { needLibpcap, type Packet, readWithLibpcap } from "./libpcap.ts";
import { type Walk, walk } from "./walk.ts";

const CAPTURES = new URL("../../fixtures/captures/", import.meta.url);
const COUNT = Number(Deno.env.get("RINGPIPE_MUTATIONS") ?? 2000);

/** Values that lengths and counts are bent to. */
const WORDS = [
  0,
  1,
  4,
  11,
  12,
  16,
  28,
  32,
  64,
  255,
  65535,
  262144,
  262145,
  0x7fffffff,
  0x80000000,
  0xffffffff,
];

/** Good captures small enough that a bent byte often matters. */
function seeds(): Uint8Array<ArrayBuffer>[] {
  return [...Deno.readDirSync(CAPTURES)]
    .map(({ name }) => name)
    .filter((name) => /\.pcap(ng)?$/.test(name))
    .sort()
    .map((name) => Deno.readFileSync(new URL(name, CAPTURES)))
    .filter((bytes) => bytes.length > 24 && bytes.length < 4096);
}

/** Bends a capture in one to three places. */
function mutate(random: Random, capture: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  let bytes = capture.slice();
  for (let times = random.between(1, 3); times > 0; times--) {
    const at = random.below(Math.max(1, bytes.length - 4));
    switch (random.below(5)) {
      case 0:
        bytes[at]! ^= 1 << random.below(8);
        break;
      case 1:
        new DataView(bytes.buffer).setUint32(at & ~3, random.pick(WORDS), random.chance(0.5));
        break;
      case 2:
        bytes = bytes.slice(0, Math.max(1, at));
        break;
      case 3: {
        const gone = random.between(1, 16);
        bytes = new Uint8Array([...bytes.subarray(0, at), ...bytes.subarray(at + gone)]);
        break;
      }
      default:
        bytes = new Uint8Array([...bytes.subarray(0, at), ...random.bytes(4), ...bytes.subarray(at)]);
    }
    if (bytes.length < 5) return capture;
  }
  return bytes;
}

/** Whether ours is a reading that differs from libpcap's for a stated reason. */
function isReadOtherwise({ scanner, error, end }: Walk): boolean {
  // Old patches that libpcap does not know of, and so misreads.
  if (scanner?.variant.includes("record headers of")) return true;
  // The nanoseconds of AIX are microseconds for libpcap.
  if (scanner?.variant.startsWith("AIX")) return true;
  // libpcap does not look at the options of a section header.
  return end === 0 && error?.message.startsWith("option reaches beyond its block") === true;
}

/** Whether the seconds are within what a number holds; an offset of an interface may be beyond all reason. */
function isTimed({ seconds }: Packet): boolean {
  return seconds <= Number.MAX_SAFE_INTEGER && seconds >= Number.MIN_SAFE_INTEGER;
}

/** A packet as text, as far as the two readers should agree: libpcap cuts at the snaplen, and has signed seconds. */
function outline(packet: Packet, captured: number, timed: boolean): string {
  const { seconds, nanoseconds, length, bytes } = packet;
  const time = timed ? `${BigInt.asUintN(32, seconds)}.${nanoseconds}` : "no time";
  return `${time} ${length} ${bytes.subarray(0, captured).join(" ")}`;
}

Deno.test("scan neither throws anything else nor tells anything wrong when a capture is bent", () => {
  const random = new Random(1);
  const captures = seeds();
  for (let i = 0; i < COUNT; i++) {
    const bent = mutate(random, random.pick(captures));
    const whole = walk(bent);
    const steps = Array.from({ length: random.between(1, 5) }, () => random.between(1, 40));
    const pieces = walk(bent, steps);
    const shown = `mutation ${i}`;
    assertEquals(pieces.end, whole.end, shown);
    assertEquals(pieces.error?.message, whole.error?.message, shown);
    assertEquals(pieces.packets, whole.packets, shown);
    assert(whole.error !== undefined || whole.end === bent.length, shown);
  }
});

Deno.test({
  ...needLibpcap(),
  name: "scan tells every packet that libpcap delivers when a capture is bent",
  fn() {
    const random = new Random(2);
    const captures = seeds();
    let delivered = 0;
    for (let i = 0; i < COUNT; i++) {
      const bent = mutate(random, random.pick(captures));
      const theirs = readWithLibpcap(bent);
      const ours = walk(bent);
      if (isReadOtherwise(ours)) continue;
      delivered += theirs.packets.length;
      assert(ours.packets.length >= theirs.packets.length, `mutation ${i}: ${ours.error?.message}`);
      theirs.packets.forEach((their, at) => {
        const our = ours.packets[at]!;
        const captured = their.bytes.length;
        const timed = isTimed(our);
        assertEquals(outline(our, captured, timed), outline(their, captured, timed), `mutation ${i}`);
      });
    }
    assert(delivered > COUNT / 4, `libpcap delivered only ${delivered}`);
  },
});
