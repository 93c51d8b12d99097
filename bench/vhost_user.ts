/**
 * Frames per second from DPDK's virtio driver into a capture on /dev/null: through `ringpipe serve`, and through DPDK's own
 * vhost and pcap drivers. Sender and receiver have one processor each.
 *
 *     deno run -A bench/vhost_user.ts [ROUNDS]
 *
 * Needs dpdk-dev, librte-net-virtio23, librte-net-vhost23 and librte-net-pcap23 of Debian.
 *
 * @module
 */
import { Testpmd } from "../tests/host/testpmd.ts";

const ROUNDS = Number(Deno.args[0] ?? 3);
const WARM_MS = 1500;
const MEASURE_MS = 3000;
const MAIN = new URL("../cli/main.ts", import.meta.url).pathname;

async function pause(milliseconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function listens(path: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    try {
      if ((await Deno.stat(path)).isSocket) return;
    } catch {
      // Not yet.
    }
    await pause(10);
  }
  throw new Error("The receiver does not listen");
}

/** Frames per second that a sender gets rid of. */
async function rate(path: string, size: number): Promise<number> {
  await using sender = new Testpmd({
    socket: path,
    mode: "txonly",
    args: [`--txpkts=${size}`],
    cores: [0, 0],
  });
  await sender.start();
  await pause(WARM_MS);
  const before = await sender.counter("TX-packets");
  const start = performance.now();
  await pause(MEASURE_MS);
  const after = await sender.counter("TX-packets");
  return (after - before) / (performance.now() - start) * 1000;
}

async function ours(size: number): Promise<number> {
  const directory = Deno.makeTempDirSync();
  const path = `${directory}/socket`;
  const permissions = ["--allow-read", "--allow-write", "--allow-ffi"];
  const child = new Deno.Command("taskset", {
    args: [
      "-c",
      "1",
      Deno.execPath(),
      "run",
      "-q",
      ...permissions,
      MAIN,
      "serve",
      "--vhost-user",
      path,
      "-w",
      "/dev/null",
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await listens(path);
    return await rate(path, size);
  } finally {
    child.kill("SIGINT");
    await child.status;
    Deno.removeSync(directory, { recursive: true });
  }
}

async function dpdk(size: number): Promise<number> {
  const directory = Deno.makeTempDirSync();
  const path = `${directory}/socket`;
  await using receiver = new Testpmd({
    socket: path,
    mode: "io",
    vdevs: [`net_vhost0,iface=${path},queues=1`, "net_pcap0,tx_pcap=/dev/null"],
    cores: [1, 1],
  });
  await listens(path);
  await receiver.start();
  const result = await rate(path, size);
  await receiver.kill();
  Deno.removeSync(directory, { recursive: true });
  return result;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const lines = [
  `${"frame".padEnd(8)}${"ringpipe serve".padStart(24)}${"testpmd vhost+pcap".padStart(24)}   ratio`,
];
for (const size of [64, 1514]) {
  const rates: [number, number][] = [];
  for (let round = 0; round < ROUNDS; round++) rates.push([await ours(size), await dpdk(size)]);
  const [a, b] = [0, 1].map((column) => median(rates.map((pair) => pair[column]!)));
  const ratio = median(rates.map(([x, y]) => x / y));
  const cell = (value: number) =>
    `${(value / 1e6).toFixed(2)} Mpps ${(value * size / 1e9).toFixed(2)} GB/s`.padStart(24);
  lines.push(`${`${size} B`.padEnd(8)}${cell(a!)}${cell(b!)}   ${ratio.toFixed(2)}`);
}
Deno.stdout.writeSync(new TextEncoder().encode(`${lines.join("\n")}\n`));
