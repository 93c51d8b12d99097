import { assertEquals, assertMatch } from "@std/assert";
import { needPeers } from "../peers.ts";
import { specimens } from "../pcap/specimens.ts";
import { inRoot, ringpipe } from "./program.ts";

/** What `capinfo --json` says of each file. */
interface Info {
  readonly [key: string]: unknown;
  readonly file: string;
  readonly packets: number;
  readonly bytes: number;
}

async function capinfo(
  ...files: readonly string[]
): Promise<{ infos: Info[]; stderr: string; status: number }> {
  const { text, stderr, status } = await ringpipe(["capinfo", "--json", ...files]);
  return { infos: JSON.parse(text), stderr, status };
}

async function withSpecimens(
  names: readonly string[],
  use: (files: string[]) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    for (const { name, bytes } of specimens) {
      if (names.includes(name)) await Deno.writeFile(`${path}/${name}`, bytes);
    }
    await use(names.map((name) => `${path}/${name}`));
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

Deno.test("capinfo tells format, link types, sizes and times", async () => {
  await withSpecimens(
    ["p08-be-nsec", "n21-2if-diff-linktype", "n25-tsoffset", "n45-gz", "n00-shb-only"],
    async (files) => {
      const { infos, stderr, status } = await capinfo(...files);
      assertEquals(status, 0);
      assertEquals(stderr, "");
      const [nanoseconds, two, offset, gzip, empty] = infos;
      assertEquals(nanoseconds, {
        file: files[0]!,
        format: "pcap",
        variant: "nanoseconds, big endian",
        compression: null,
        link_types: [1],
        interfaces: 1,
        snaplen: 262144,
        packets: 3,
        bytes: 1674,
        bytes_on_wire: 1674,
        largest: 1514,
        first_time: "2023-11-14T22:13:20.000123456Z",
        last_time: "2023-11-14T22:13:20.000123456Z",
        first_time_s: "1700000000.000123456",
        last_time_s: "1700000000.000123456",
        truncated: false,
        error: null,
      });
      assertEquals([two!["link_types"], two!["interfaces"], two!.packets], [[1, 101], 2, 2]);
      assertEquals(offset!["first_time_s"], "1700000000.000001");
      assertEquals([gzip!["format"], gzip!["compression"], gzip!.packets], ["pcapng", "gzip", 1]);
      assertEquals([empty!.packets, empty!["first_time"], empty!["snaplen"]], [0, null, null]);
    },
  );
});

Deno.test("capinfo goes on behind a bad capture, says so and exits 1", async () => {
  await withSpecimens(["p43-trunc-data", "n13-len-8", "p14-magic-navtel", "p05-le-usec"], async (files) => {
    const { infos, stderr, status } = await capinfo(...files);
    assertEquals(status, 1);
    assertEquals(infos.map(({ packets, truncated }) => [packets, truncated]), [
      [3, true],
      [0, false],
      [0, false],
      [3, false],
    ]);
    const lines = stderr.trimEnd().split("\n");
    assertEquals(lines.length, 3);
    assertMatch(
      lines[0]!,
      /^ringpipe: .*p43-trunc-data: truncated record at byte 1746: .*; 3 packets were whole$/,
    );
    assertMatch(lines[1]!, /n13-len-8: bad block length at byte 48/);
    assertMatch(lines[2]!, /got a Navtel capture/);
  });
});

Deno.test("capinfo prints a table for a person", async () => {
  const { text, status } = await ringpipe(["capinfo", "fixtures/web.pcap"]);
  assertEquals(status, 0);
  assertMatch(
    text,
    /^fixtures\/web\.pcap:\n {2}format +pcap, little endian\n {2}link types +1 \(Ethernet\)\n/,
  );
  assertMatch(text, /\n {2}packets +733\n/);
  assertMatch(text, /\n {2}whole +yes\n$/);
});

Deno.test({
  ...needPeers("capinfos"),
  name: "capinfo counts what capinfos counts",
  async fn() {
    const files = ["web", "dns", "nano", "jumbo", "runts", "vlan", "ipv6"].map((name) =>
      `fixtures/${name}.pcap`
    );
    const { infos } = await capinfo(...files);
    // Packets, bytes, earliest and latest time in seconds: -c -d -a -e, with -S and -T as a table without a head.
    const { stdout } = await new Deno.Command("capinfos", {
      args: ["-T", "-r", "-m", "-Q", "-c", "-d", "-a", "-e", "-S", "-M", ...files],
      cwd: inRoot("."),
    }).output();
    const rows = new TextDecoder().decode(stdout).trim().split("\n").map((line) =>
      line.split(",").map((cell) => cell.replaceAll('"', ""))
    );
    for (const [i, info] of infos.entries()) {
      const { packets, bytes, first_time_s, last_time_s } = info;
      const times = [first_time_s, last_time_s];
      const [, count, size, ...theirs] = rows[i]!;
      assertEquals(
        [`${packets}`, `${bytes}`, ...times.map(Number)],
        [count, size, ...theirs.map(Number)],
        info.file,
      );
    }
  },
});
