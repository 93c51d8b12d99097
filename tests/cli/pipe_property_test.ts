import { assertEquals } from "@std/assert";
import type { OptionValue } from "../../core/options.ts";
import { isGzip, specimens } from "../pcap/specimens.ts";
import { walk } from "../pcap/walk.ts";
import { Random } from "../random.ts";
import { type Given, type Ran, runBytes } from "./pipe_harness.ts";

/** How many combinations are tried. */
const TRIES = Number(Deno.env.get("RINGPIPE_TRIES") ?? 60);

const WEB = await Deno.readFile(new URL("../../fixtures/web.pcap", import.meta.url));

interface Capture {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

async function captures(): Promise<Capture[]> {
  const small = specimens.filter((one) => !isGzip(one) && one.bytes.length < 300000);
  const { output } = await runBytes(WEB, { format: "pcapng" });
  return [...small, { name: "web.pcap", bytes: WEB }, { name: "web.pcapng", bytes: output }];
}

/** What a ring may do to packets: any of it, or nothing. */
function ringOptions(random: Random): Record<string, OptionValue> {
  return {
    ...random.chance(0.4) && { largest: random.pick([0, 59, 60, 99, 1000]) },
    ...random.chance(0.3) && { smallest: random.pick([1, 61, 101]) },
    ...random.chance(0.3) && { "drop-every": random.between(1, 5) },
    ...random.chance(0.3) && { queues: random.between(1, 4) },
    ...random.chance(0.3) && { piece: random.between(1, 100) },
    ...random.chance(0.2) && { "fault-after": random.between(1, 50) },
  };
}

function given(random: Random, { bytes }: Capture): Given {
  const format = random.pick([undefined, "pcap", "pcapng"] as const);
  return {
    ...format && { format },
    ...random.chance(0.3) && { count: random.between(1, 20) },
    options: ringOptions(random),
    steps: bytes.length > 10000
      ? [random.between(1000, 100000)]
      : [random.between(1, 200), random.between(1, 20)],
  };
}

/** What holds of every run. */
function check({ result, output }: Ran, message: string): void {
  const { packets, bytes, drops } = result;
  const told = output.length > 0 ? walk(output) : undefined;
  assertEquals(told?.error, undefined, message);
  const lengths = told?.packets.map((packet) => packet.bytes.length) ?? [];
  assertEquals(packets.out, lengths.length, message);
  assertEquals(bytes.out, lengths.reduce((sum, length) => sum + length, 0), message);
  assertEquals(packets.in, packets.out + packets.dropped, message);
  assertEquals(Object.values(drops).reduce((sum, count) => sum + count, 0), packets.dropped, message);
}

Deno.test("runPipe writes a whole capture and counts right, whatever the input, the ring and the format", async () => {
  const random = new Random(11);
  const pool = await captures();
  for (let i = 0; i < TRIES; i++) {
    const capture = random.pick(pool);
    const wanted = given(random, capture);
    check(await runBytes(capture.bytes, wanted), `${capture.name} ${JSON.stringify(wanted)}`);
  }
});
