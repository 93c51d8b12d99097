import { assert, assertEquals } from "@std/assert";
import { needPeers } from "../peers.ts";
import { Random } from "../random.ts";
import { buildPeer, PacketSource, Peer } from "./c_peer.ts";
import { FileFrontend } from "./file_frontend.ts";
import { MappedFile } from "./mapped_file.ts";

const PACKETS = 10_000;
const QUEUES = 2;
const SIZE = 32 * 1024 * 1024;
const SEED = 0x2028;
/** IPv4 without options, from the type of the Ethernet header on: what follows is hashed. */
const IPV4 = [0x08, 0x00, 0x45];
const SHORTEST_IPV4 = 34;

/** The bytes of a packet: those of the source, made IPv4 so that flows spread over the queues. */
function bytesOf({ block }: PacketSource, { offset, length }: Place): Uint8Array {
  const bytes = block.slice(offset, offset + length);
  if (length >= SHORTEST_IPV4) bytes.set(IPV4, 12);
  return bytes;
}

interface Place {
  readonly offset: number;
  readonly length: number;
}

/** Packets on their way through one queue, in order. */
class Flow {
  sent = 0;
  received = 0;
  readonly #waiting: Uint8Array[] = [];
  #position = 0;

  send(bytes: Uint8Array): void {
    this.sent++;
    this.#waiting.push(bytes);
  }

  piece(bytes: Uint8Array, offset: number, length: number, more: boolean): void {
    const wanted = this.#waiting[0]!;
    for (let i = 0; i < length; i++) {
      if (bytes[offset + i] !== wanted[this.#position + i]) {
        throw new Error(`Packet ${this.received}, byte ${this.#position + i}: ${bytes[offset + i]}`);
      }
    }
    this.#position += length;
    if (more) return;
    assertEquals(this.#position, wanted.length);
    this.#position = 0;
    this.#waiting.shift();
    this.received++;
  }
}

async function run(program: string, isStatic: boolean, table: "v1" | "v2"): Promise<void> {
  const file = new MappedFile(SIZE);
  try {
    const options = { "static-grants": isStatic, "grant-table": table, queues: QUEUES };
    const front = new FileFrontend(file, SIZE, options, { maxQueues: QUEUES, controlRing: isStatic });
    const { driver } = front;
    // Each queue has a process of its own for a backend, the first the control ring as well.
    const peers = Array.from({ length: QUEUES }, (_, number) => {
      return new Peer(program, ["back", file.path, SEED, ...front.places(`queue-${number}/`, number === 0)]);
    });
    const work = () => Promise.all(peers.map((peer) => peer.ask("w")));
    await front.connect(work);

    const source = new PacketSource(SEED);
    const random = new Random(9);
    const flows = Array.from({ length: QUEUES }, () => new Flow());
    const sink = {
      piece: (queue: number, bytes: Uint8Array, offset: number, length: number, more: boolean) =>
        flows[queue]!.piece(bytes, offset, length, more),
    };
    const count = (what: "sent" | "received") => flows.reduce((sum, flow) => sum + flow[what], 0);
    let waiting: Uint8Array | undefined;
    while (count("received") < PACKETS) {
      for (let i = Math.min(random.between(0, 40), PACKETS - count("sent")); i > 0; i--) {
        if (!waiting) {
          source.advance();
          waiting = bytesOf(source, source);
        }
        const queue = driver.transmit(waiting, 0, waiting.length, 0);
        if (queue < 0) break;
        flows[queue]!.send(waiting);
        waiting = undefined;
      }
      driver.flush();
      await work();
      driver.receive(sink);
    }
    for (const flow of flows) assert(flow.sent > PACKETS / 3, `${flow.sent} packets`);
    for (const peer of peers) await peer.close();
  } finally {
    file.close();
  }
}

Deno.test({
  ...needPeers("gcc", "/usr/include/xen/io/netif.h"),
  name:
    "XenDriver spreads packets over two queues, each with a backend in C of its own, and keeps their order",
  async fn(t) {
    const program = await buildPeer();
    for (const table of ["v1", "v2"] as const) {
      for (const isStatic of [false, true]) {
        const name = `${isStatic ? "static" : "plain"} grants, ${table}`;
        await t.step(name, () => run(program, isStatic, table));
      }
    }
    await Deno.remove(program);
  },
});
