import { concat } from "@std/bytes/concat";
import { assertEquals } from "@std/assert";
import type { Packet } from "./libpcap.ts";
import { walk } from "./walk.ts";

const CAPTURES = new URL("../../fixtures/captures/", import.meta.url);

/** What `index.json` says of a file. */
interface Entry {
  readonly file: string;
  readonly format: string;
  readonly compression: string | null;
  readonly packets_tshark: number;
  readonly libpcap: { readonly packets: number; readonly snaplen?: number };
  readonly libpcap_clean: boolean;
  readonly canon_sha256: string | null;
}

const { files } = JSON.parse(await Deno.readTextFile(new URL("index.json", CAPTURES))) as { files: Entry[] };

/** The packet as libpcap 1.10.3 hands it out: cut at the snaplen, with signed seconds if it is from a classic capture. */
function canonical(packet: Packet, { format, libpcap }: Entry): Uint8Array<ArrayBuffer> {
  const classic = !format.startsWith("pcapng");
  const captured = packet.bytes.slice(0, classic ? libpcap.snaplen || undefined : undefined);
  const head = new DataView(new ArrayBuffer(20));
  head.setBigInt64(0, classic ? BigInt.asIntN(32, packet.seconds) : packet.seconds, true);
  head.setUint32(8, packet.nanoseconds, true);
  head.setUint32(12, captured.length, true);
  head.setUint32(16, packet.length, true);
  return concat([new Uint8Array(head.buffer), captured]);
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

Deno.test("scan delivers the packets and times of libpcap, bit by bit, from each file of the index", async () => {
  let compared = 0;
  for (const entry of files) {
    // libpcap misreads the record headers of that patch.
    if (entry.compression !== null || entry.file.startsWith("p12")) continue;
    const { packets } = walk(await Deno.readFile(new URL(entry.file, CAPTURES)));
    if (entry.canon_sha256 === null) continue;
    const theirs = packets.slice(0, entry.libpcap.packets);
    assertEquals(theirs.length, entry.libpcap.packets, entry.file);
    const canon = concat(theirs.map((packet) => canonical(packet, entry)));
    assertEquals(await sha256(canon), entry.canon_sha256, entry.file);
    compared++;
  }
  assertEquals(compared, files.filter(({ canon_sha256 }) => canon_sha256 !== null).length - 1);
});

Deno.test("scan delivers as many packets as the better of libpcap and Wireshark, except what is refused by name", async () => {
  // Versions and formats that are refused; records of n10 that are no packets; files that tshark takes for text.
  const others = ["p01", "p16", "p22", "p24", "n10", "n50", "p40"];
  for (const { file, compression, packets_tshark, libpcap } of files) {
    if (compression !== null || others.some((other) => file.startsWith(other))) continue;
    const { packets } = walk(await Deno.readFile(new URL(file, CAPTURES)));
    assertEquals(packets.length, Math.max(packets_tshark, libpcap.packets), file);
  }
});
