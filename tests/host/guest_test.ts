import { assert, assertEquals, assertMatch } from "@std/assert";
import { WallClock } from "../../host/wall_clock.ts";
import { LiveWriter } from "../../pcap/live_writer.ts";
import { type Feature, featureMask, featureNames } from "../../plugins/virtio/features.ts";
import { needPeers } from "../peers.ts";
import { Guest, type GuestOptions, needGuest } from "./guest.ts";
import { belongings, Served } from "./served.ts";
import { SINK_PORT, SOURCE_PORT, TinyStack } from "./tiny_stack.ts";

const STREAM = 50_000_000;
const RING: readonly Feature[] = ["INDIRECT_DESC", "EVENT_IDX", "MRG_RXBUF"];
const OFFLOADS: readonly Feature[] = ["CSUM", "HOST_TSO4", "HOST_TSO6", "HOST_ECN"];

const UP = `
ip link set lo up
ip addr add 10.0.0.2/24 dev eth0
ip link set eth0 up
`;
const TCP = `
nc 10.0.0.1 ${SOURCE_PORT} < /dev/null > /tmp/f
echo SUM $(sha256sum < /tmp/f)
nc 10.0.0.1 ${SINK_PORT} < /tmp/f
`;

function peers(): { ignore: boolean } {
  const { ignore } = needPeers("qemu-system-x86_64", "busybox", "tcpdump", "tshark");
  return { ignore: ignore || needGuest().ignore };
}

async function run(command: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args: [...args] }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0, `${command}: ${new TextDecoder().decode(stderr)}`);
  return text;
}

/** The guest's address. */
const GUEST = "10.0.0.2";

/** Reads a capture with both, checksums verified. */
async function readers(path: string, frames: number): Promise<void> {
  const printed = await run("tcpdump", ["-nvr", path]);
  assertEquals(
    /.*(\(incorrect|bad cksum|truncated|\[\|).*/.exec(printed)?.[0],
    undefined,
    "tcpdump complains",
  );
  const checks = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"];
  const verdicts = ["frame.number", "ip.checksum.status", "tcp.checksum.status", "_ws.malformed"];
  const sums = ["ip.src", "tcp.checksum", "tcp.checksum_calculated"];
  const fields = [...verdicts, ...sums].flatMap((name) => ["-e", name]);
  const lines = (await run("tshark", ["-r", path, ...checks, "-T", "fields", ...fields]))
    .replace(/\n$/, "").split("\n");
  assertEquals(lines.length, frames);
  const bad = lines.filter((line) => {
    const values = line.split("\t");
    // Linux, when it sums in software, sends 0xffff for 0 in TCP too. It is the same number, as tcpdump knows; tshark
    // calls it bad. From the guest alone, and with no other verdict against the frame, it is taken.
    if (values.slice(2).join(" ") === `0  ${GUEST} 0xffff 0x0000` && values[1] === "1") return false;
    return values.slice(1, verdicts.length).some((field) => field !== "" && field !== "1");
  });
  assertEquals(bad, []);
}

interface Booted {
  readonly served: Served;
  readonly stack: TinyStack;
  readonly guest: Guest;
}

/** Boots a guest, runs it to its end, and holds its traffic against the readers of captures. */
async function boot(
  features: readonly Feature[],
  options: Partial<GuestOptions> & { readonly script: string },
  during: (booted: Booted) => Promise<unknown>,
  queuePairs = 1,
): Promise<Booted> {
  const before = belongings();
  const directory = Deno.makeTempDirSync({ prefix: "ringpipe-guest-" });
  const capture = `${directory}/capture.pcap`;
  const file = Deno.openSync(capture, { write: true, create: true });
  const writer = new LiveWriter(file);
  const clock = new WallClock();
  const stack = new TinyStack(STREAM);
  stack.onFrame = (frame) => {
    clock.read();
    writer.add(frame, clock.seconds, clock.nanoseconds);
  };
  let booted: Booted;
  {
    const more = queuePairs > 1 ? ["MQ" as const] : [];
    await using served = new Served({
      features: featureMask("VERSION_1", "IN_ORDER", ...features, ...more),
      port: stack,
      queuePairs,
    });
    await using guest = new Guest({ directory, socket: served.path, ...options });
    booted = { served, stack, guest };
    await during(booted);
    // At the end of the guest they are gone.
    const offered = featureNames(served.server.device.features);
    for (const feature of [...features, ...more]) {
      assert(offered.includes(feature), `${feature} was not negotiated`);
    }
    await guest.end();
    writer.flush();
    file.close();
    assertEquals(served.lines, []);
  }
  assertEquals([stack.report.bad, stack.report.drops], [0, {}]);
  await readers(capture, stack.report.frames);
  Deno.removeSync(directory, { recursive: true });
  assertEquals(belongings(), before);
  return booted;
}

function assertPings(output: string, rounds: number): void {
  const answers = [...output.matchAll(/(\d+) packets transmitted, (\d+) packets received/g)];
  assertEquals(answers.length, rounds, output);
  for (const [line, sent, received] of answers) assertEquals(received, sent, line);
}

function assertTransfers({ guest, stack }: Booted, sum: string): void {
  assertEquals(/SUM ([0-9a-f]+)/.exec(guest.output)?.[1], sum);
  const { sunk, sunkRight, sourced } = stack.report;
  assertEquals({ sunk, sunkRight, sourced }, { sunk: STREAM, sunkRight: true, sourced: STREAM });
}

async function digest(stream: Uint8Array): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", stream as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

Deno.test({
  ...peers(),
  name: "Linux pings through every size, changes MTU, loses its link and its driver, and comes back",
  async fn() {
    const sizes = [0, 1, 17, 18, 64, 500, 1000, 1471, 1472];
    const large = [1473, 4000, 8000, 8972];
    const ping = (size: number) => `ping -q -A -c 20 -W 5 -s ${size} 10.0.0.1`;
    const carrier = (value: number) =>
      `for i in $(seq 200); do [ "$(cat /sys/class/net/eth0/carrier)" = ${value} ] && break; usleep 20000; done`;
    const script = `${UP}
${sizes.map(ping).join("\n")}
ip link set eth0 mtu 9000
${large.map(ping).join("\n")}
echo LINK-IS-UP
${carrier(0)}
echo LINK-IS-DOWN
${carrier(1)}
${ping(56)}
rmmod virtio_net
insmod /m/virtio_net.ko
${UP}
${ping(56)}
`;
    const { guest, stack } = await boot(RING, { script }, async ({ guest }) => {
      await guest.line(/LINK-IS-UP/);
      await guest.monitor("set_link n0 off");
      await guest.line(/LINK-IS-DOWN/);
      await guest.monitor("set_link n0 on");
    });
    assertPings(guest.output, sizes.length + large.length + 2);
    assertEquals(stack.report.longest, 8972 + 28 + 14);
    assertMatch(guest.output, /0% packet loss/);
  },
});

Deno.test({
  ...peers(),
  name: "Linux moves 50 MB each way with no ring feature, and every checksum is right",
  async fn() {
    const booted = await boot([], { script: UP + TCP }, ({ guest }) => guest.line(/SUM/));
    assertTransfers(booted, await digest(booted.stack.stream));
    assertEquals(booted.stack.report.longest, 1514);
  },
});

Deno.test({
  ...peers(),
  name: "Linux leaves checksums and segmentation to us over two queue pairs, and all comes out finished",
  async fn() {
    // So much memory that it lies on both sides of 4 GiB, and is mapped in pieces.
    const options = { script: UP + TCP, netdev: ",queues=2", device: ",mq=on", processors: 2, memory: "3G" };
    const booted = await boot([...RING, ...OFFLOADS], options, ({ guest }) => guest.line(/SUM/), 2);
    assertTransfers(booted, await digest(booted.stack.stream));
    assertEquals(booted.stack.report.longest, 1514);
    const counters = booted.served.server.counters();
    assert(counters["device.tx.indirect_tables"]! > 0);
    // Far fewer chains than segments: large frames were cut here.
    assert(counters["device.tx.chains"]! < booted.stack.report.frames);
  },
});

Deno.test({
  ...peers(),
  name: "Linux goes on with the next back end when ours ends in the middle of traffic",
  async fn() {
    const directory = Deno.makeTempDirSync({ prefix: "ringpipe-guest-" });
    const path = `${directory}/socket`;
    const features = featureMask("VERSION_1", ...RING);
    const ping = (count: number) => `ping -q -A -c ${count} -W 5 10.0.0.1`;
    const script = `${UP}
${ping(50)}
echo RUNNING
ping -q -c 20 -i 0.1 -W 5 10.0.0.1 > /dev/null
${ping(50)}
`;
    const first = new Served({ path, features, port: new TinyStack() });
    await using guest = new Guest({ directory, socket: path, script });
    await guest.line(/RUNNING/);
    await first[Symbol.asyncDispose]();
    const stack = new TinyStack();
    await using _second = new Served({ path, features, port: stack });
    assertPings(await guest.end(), 2);
    assert(stack.report.pings >= 50);
    assertEquals(stack.report.bad, 0);
    Deno.removeSync(directory, { recursive: true });
  },
});
