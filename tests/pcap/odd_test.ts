import { concat } from "@std/bytes/concat";
import { assertEquals, assertMatch } from "@std/assert";
import { needPeers } from "../peers.ts";
import {
  BE,
  block,
  type Bytes,
  classic,
  epb,
  frame,
  header,
  idb,
  LE,
  ng,
  NO_BYTES,
  option,
  record,
  resolution,
  shb,
  spb,
  START,
  text,
  THREE,
  TWO,
} from "./build.ts";
import { walk } from "./walk.ts";

const AIX = { version: [2, 2], fraction: 123456789 } as const;
const SNAPPED = [frame(60), frame(61), frame(62)];

/** Odd captures that Wireshark reads, libpcap not all of them. */
const ODD: Readonly<Record<string, Bytes>> = {
  "AIX, Ethernet": classic({ version: AIX.version, link: 6 }, THREE, AIX),
  "AIX, big endian, packets cut": classic({ order: BE, version: AIX.version, link: 9 }, SNAPPED, {
    ...AIX,
    length: 1514,
    interchanged: true,
  }),
  "version 2.2, but not of AIX": classic({ version: [2, 2] }, THREE),
  "two if_tsresol": ng(
    shb(),
    idb({ options: [option(LE, 9, Uint8Array.of(9)), option(LE, 9, Uint8Array.of(6))] }),
    epb(frame(60)),
  ),
  "two if_tsoffset": ng(
    shb(),
    idb({ options: [option(LE, 14, LE.u64(10n)), option(LE, 14, LE.u64(20n))] }),
    epb(frame(60)),
  ),
  "if_tsresol of two bytes": ng(
    shb(),
    idb({ options: [option(LE, 9, Uint8Array.of(9, 0))] }),
    epb(frame(60)),
  ),
  "times of every size": ng(
    shb(),
    resolution(9),
    ...[0n, 1n, 2n ** 63n, 2n ** 64n - 1n].map((time) => epb(frame(60), { time })),
  ),
  "negative times": ng(
    shb(),
    idb({ options: [option(LE, 9, Uint8Array.of(9)), option(LE, 14, LE.u64(-1700000000n))] }),
    epb(frame(60), { time: 1699999999000000000n }),
    epb(frame(60), { time: 1700000000000000000n }),
  ),
  "three sections of both byte orders": ng(
    shb({ order: BE }),
    idb({ order: BE }),
    ...TWO.map((data) => epb(data, { order: BE })),
    shb(),
    shb({ order: BE }),
    idb({ order: BE }),
    epb(frame(33), { order: BE }),
  ),
  "section lengths that are wrong": ng(
    shb({ length: 4n }),
    idb(),
    epb(frame(60)),
    shb({ length: -2n }),
    ...START,
  ),
  "simple packets cut by the snaplen": ng(shb(), idb({ snaplen: 40 }), spb(frame(40), 100), spb(NO_BYTES, 0)),
  "seconds beyond 2^31": concat([header(), record(frame(60), { seconds: 0xffffffff, fraction: 999999 })]),
  "blocks of unknown types": ng(
    ...START,
    block(LE, 0, text("abcd")),
    block(LE, 0xffffffff, NO_BYTES),
    epb(frame(60)),
  ),
};

/** Times in seconds with nine digits, and lengths, of the packets that tshark shows. */
async function readWithTshark(capture: Bytes): Promise<{ rows: string[]; status: number }> {
  const fields = ["frame.time_epoch", "frame.cap_len", "frame.len"].flatMap((field) => ["-e", field]);
  const child = new Deno.Command("tshark", {
    args: ["-n", "-r", "-", "-T", "fields", "-E", "separator=,", ...fields],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  await new Response(capture).body!.pipeTo(child.stdin);
  const { code, stdout } = await child.output();
  return { rows: new TextDecoder().decode(stdout).trimEnd().split("\n"), status: code };
}

Deno.test({
  ...needPeers("tshark"),
  name: "scan reads odd captures as Wireshark does",
  async fn() {
    for (const [name, capture] of Object.entries(ODD)) {
      const { packets, error } = walk(capture);
      assertEquals(error, undefined, name);
      const rows = packets.map(({ seconds, nanoseconds, length, bytes }) => {
        const time = `${seconds}.${String(nanoseconds).padStart(9, "0")}`;
        return [name.startsWith("simple") ? "" : time, bytes.length, length].join(",");
      });
      assertEquals(await readWithTshark(capture), { rows, status: 0 }, name);
    }
  },
});

Deno.test("scan takes the link types and times of AIX for what they are", () => {
  for (const [link, meant] of [[6, 1], [9, 6], [15, 10]] as const) {
    const { scanner, packets } = walk(classic({ version: AIX.version, link }, THREE, AIX));
    assertEquals(scanner?.interfaces[0]?.linkType, meant);
    assertEquals(scanner?.variant, "AIX, little endian, version 2.2");
    assertEquals(packets.map(({ nanoseconds }) => nanoseconds), [123456789, 123456789, 123456789]);
  }
});

Deno.test("scan names a pcapng capture that was transferred as text", () => {
  const capture = ng(...START, epb(frame(60)));
  const added = Array.from(capture).flatMap((byte) => byte === 10 ? [13, 10] : [byte]);
  const lone = Array.from(capture).flatMap((byte, i) =>
    byte === 10 && capture[i - 1] !== 13 ? [13, 10] : [byte]
  );
  const taken = Array.from(capture).filter((byte, i) => byte !== 13 || capture[i + 1] !== 10);
  for (const bytes of [added, lone, taken]) {
    assertMatch(walk(Uint8Array.from(bytes)).error?.message ?? "", /damaged by a transfer as text$/);
  }
});
