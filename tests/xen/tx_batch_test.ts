/** Packets gathered by grants where the frontend's pages lie in more than one memory. */
import { assertEquals } from "@std/assert";
import { AddressSpace, READ_WRITE } from "../../core/address_space.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { Memory } from "../../core/memory.ts";
import { BackRing, GrantEntries, GrantTable, netif_tx_request, TxBatch } from "../../plugins/xen/mod.ts";

const PAGE = 4096;
const BASE = 0x10_0000;
const FAR = 0x80_0000;
const DOMID = 5;
const HEAD = 128;

/** A frontend with 15 pages in the backend's own memory and one elsewhere. Bytes of a page are its number, or 99. */
function start() {
  const memory = new Memory(32 * PAGE);
  const far = new Memory(PAGE);
  const space = new AddressSpace();
  const dma = new DmaMemory(space, memory, 0, 16 * PAGE, BASE);
  space.map(FAR, far, 0, PAGE, READ_WRITE);
  const entries = new GrantEntries(dma, 1, 100, DOMID);
  const grants = new GrantTable({ space, ...entries, address: entries.address, domid: DOMID });
  const ringPage = dma.allocate(PAGE, PAGE).offset;
  for (let page = 8; page < 16; page++) memory.bytes.fill(page, page * PAGE, (page + 1) * PAGE);
  far.bytes.fill(99);
  const refs = entries.allocate(8);
  for (let i = 0; i < 8; i++) entries.grant(refs + i, (8 + i) * PAGE, true);
  const elsewhere = entries.allocate(1);
  entries.grant(elsewhere, 8 * PAGE, true);
  memory.view.setUint32(entries.address - BASE + elsewhere * 8 + 4, FAR / PAGE, true);
  const ring = new BackRing(memory, ringPage, netif_tx_request.size);
  const batch = new TxBatch(ring, 1);
  /** What is gathered of packets of these references and sizes: first byte and length of each, and how many are mapped. */
  const gather = (...packets: readonly [number, number][]) => {
    for (const [i, [gref, size]] of packets.entries()) {
      memory.bytes.set(
        netif_tx_request.encode({ gref, offset: 100, id: i, size }),
        ring.slots + i * ring.slotSize,
      );
    }
    batch.gatherGranted(grants, packets.length, HEAD, memory, 16 * PAGE);
    const { bytes, offsets, lengths, count } = batch.frames;
    return {
      frames: Array.from({ length: count }, (_, i) => [bytes[offsets[i]!], lengths[i]]),
      mapped: grants.mapped,
    };
  };
  return { refs, elsewhere, gather };
}

Deno.test("TxBatch copies out of other memory than that of the packets that it maps", () => {
  const { refs, elsewhere, gather } = start();
  assertEquals(gather([elsewhere, 60], [refs, 1000], [elsewhere, 128], [refs + 1, 129]), {
    frames: [[99, 60], [8, 1000], [99, 128], [9, 129]],
    mapped: 2,
  });
});

Deno.test("TxBatch ends before a packet to be copied out of another memory, and maps none behind it", () => {
  const { refs, elsewhere, gather } = start();
  assertEquals(gather([refs, 60], [refs + 1, 1000], [elsewhere, 60], [refs + 2, 1000]), {
    frames: [[8, 60], [9, 1000]],
    mapped: 1,
  });
  const others = start();
  assertEquals(others.gather([others.elsewhere, 60], [others.refs, 60]), { frames: [[99, 60]], mapped: 0 });
});

Deno.test("TxBatch ends before a packet that cannot be mapped, or lies in another memory and would be", () => {
  for (const bad of ["elsewhere", "unknown"] as const) {
    const { refs, elsewhere, gather } = start();
    const ref = bad === "elsewhere" ? elsewhere : 2 ** 32 - 1;
    assertEquals(gather([refs, 60], [refs + 1, 1000], [ref, 1000], [refs + 2, 1000]), {
      frames: [[8, 60], [9, 1000]],
      mapped: 1,
    });
  }
});
