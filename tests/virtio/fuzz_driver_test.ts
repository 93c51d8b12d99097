import { assert } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { DRIVER_FAULTS } from "../../plugins/virtio/faults.ts";
import type { Feature } from "../../plugins/virtio/features.ts";
import { Random } from "../random.ts";
import { RawPeer } from "./raw_peer.ts";
import { INDIRECT } from "./raw_ring.ts";

const OPTIONAL: readonly Feature[] = ["EVENT_IDX", "INDIRECT_DESC", "IN_ORDER", "MRG_RXBUF"];
/** These need the control queue. */
const COMMANDED: readonly Feature[] = ["HASH_REPORT", "RSS"];
const BUFFER = 256;

function fuzz(seed: number): { codes: Set<string>; frames: number } {
  const random = new Random(seed);
  const size = random.pick([1, 2, 8, 32]);
  const commanded = COMMANDED.filter(() => random.chance(0.2));
  const peer = new RawPeer({
    size,
    rxBuffer: random.pick([64, BUFFER, 5000]),
    features: [
      ...OPTIONAL.filter(() => random.chance(0.5)),
      ...commanded,
      ...commanded.length > 0 ? ["CTRL_VQ" as const] : [],
    ],
    onControl: (peer) => {
      const ring = peer.ring(2);
      const { memory, dma } = peer.host;
      const command = ring.getDesc(0);
      // The ack is the second buffer: of an indirect table, or of the ring.
      const table = command.flags === INDIRECT ? dma.region.offsetOf(command.addr) : ring.desc;
      const ack = Number(memory.view.getBigUint64(table + 16, true));
      memory.bytes[dma.region.offsetOf(ack)] = 0;
      ring.use(0, 1);
    },
  });
  const { view, bytes } = peer.host.memory;
  const codes = new Set<string>();
  for (let step = 0; step < 12; step++) {
    for (const ring of [peer.rx, peer.tx]) {
      // Mostly the oldest head that is out, mostly with a length that fits.
      for (let i = random.below(3); i > 0; i--) {
        if (ring.usedIdx === ring.availIdx && random.chance(0.97)) break;
        const slot = random.chance(0.97) ? ring.usedIdx % size : random.below(size);
        const id = random.chance(0.98) ? ring.availHead(slot) : random.u32();
        ring.use(
          id,
          ring === peer.tx ? 0 : random.chance(0.03) ? random.u32() : random.pick([12, 13, 20, 60, 64]),
        );
        if (ring === peer.rx && id < size) {
          const at = peer.buffer(id);
          if (at > 0 && at + 12 < bytes.length) {
            bytes.fill(0, at, at + 12);
            view.setUint16(at + 10, random.pick([0, 1, 1, 1, 2, 3, 65535]), true);
            if (random.chance(0.05)) bytes[at + random.below(2)] = random.below(256);
          }
        }
      }
      if (random.chance(0.02)) ring.usedIdx = random.below(65536);
      if (random.chance(0.02)) ring.usedFlags = random.below(65536);
      if (random.chance(0.2)) ring.availEvent = random.below(65536);
      // What the driver wrote itself may change under it, too.
      if (random.chance(0.1)) bytes.set(random.bytes(16 * size), ring.desc);
      if (random.chance(0.1)) bytes.set(random.bytes(4 + 2 * size), ring.avail);
    }
    const sent = random.bytes(random.below(100));
    try {
      for (let i = random.below(3); i > 0; i--) peer.send(sent);
      peer.receive();
    } catch (error) {
      assert(error instanceof RingFault, `seed ${seed}: ${(error as Error).stack}`);
      assert(error.half === "driver" && error.code in DRIVER_FAULTS, `seed ${seed}: ${error.message}`);
      codes.add(error.code);
    }
  }
  return { codes, frames: peer.frames.length };
}

Deno.test("random garbage in used rings: only documented faults, always an end", () => {
  const codes = new Set<string>();
  let frames = 0;
  const runs = Number(Deno.env.get("FUZZ_RUNS") ?? 1500);
  for (let seed = 1; seed <= runs; seed++) {
    const outcome = fuzz(seed);
    frames += outcome.frames;
    for (const code of outcome.codes) codes.add(code);
  }
  assert(frames > runs / 10);
  assert(codes.size >= 8, [...codes].join(" "));
});
