import { assert, assertEquals } from "@std/assert";
import { AddressSpace, READ, READ_WRITE } from "../../core/address_space.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { FrameBatch } from "../../core/frame_batch.ts";
import { Memory } from "../../core/memory.ts";
import type { Wire } from "../../core/plugin.ts";
import { Pump } from "../../core/pump.ts";
import { RingFault } from "../../core/fault.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { VirtioNetDriver } from "../../plugins/virtio/driver.ts";
import { type Feature, featureMask } from "../../plugins/virtio/features.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { ModernPciTransport } from "../../plugins/virtio/pci_driver.ts";
import { assertFault } from "./faults.ts";
import { RawRing } from "./raw_ring.ts";

const RINGS_AT = 0x2_0000_0000;
const BUFFERS_AT = 0x9000_0000;

/** Rings in one memory and address space, buffers and indirect tables in another. */
function open(...names: Feature[]) {
  const rings = new AddressSpace();
  const buffers = new AddressSpace();
  const ringDma = new DmaMemory(rings, new Memory(1 << 16), 0, 1 << 16, RINGS_AT);
  const dma = new DmaMemory(buffers, new Memory(1 << 20), 0, 1 << 20, BUFFERS_AT);
  const features = featureMask("VERSION_1", ...names);
  const device = new VirtioNetDevice({ features, rings, buffers, maxQueueSize: 16 });
  const pci = new ModernPciDevice(device);
  const driver = new VirtioNetDriver(new ModernPciTransport(pci.config, pci, () => false), {
    dma,
    ringDma,
    space: buffers,
    features,
    queueSize: 16,
    rxQueueSize: 16,
    rxBuffer: 5000,
  });
  const round = (frame: Uint8Array): Uint8Array => {
    // The driver's own memory, where nothing precedes the frame: header and frame are two buffers.
    const at = dma.memory.size - frame.length;
    dma.memory.bytes.set(frame, at);
    driver.transmit(dma.memory.bytes, at, frame.length, 0);
    driver.flush();
    device.service({ transmit: (piece) => device.deliver(piece) >= 0, drop: () => {} });
    const parts: number[] = [];
    driver.receive({
      piece: (_queue, bytes, offset, length) => parts.push(...bytes.subarray(offset, offset + length)),
    });
    return Uint8Array.from(parts);
  };
  return { rings, buffers, device, driver, dma, ringDma, round };
}

for (
  const names of [[], ["INDIRECT_DESC"], ["MRG_RXBUF", "EVENT_IDX"], [
    "INDIRECT_DESC",
    "IN_ORDER",
  ]] as Feature[][]
) {
  Deno.test(`rings and buffers in two address spaces: ${names.join(", ") || "no features"}`, () => {
    const { device, driver, round } = open(...names);
    for (let i = 0; i < 40; i++) {
      const frame = new Uint8Array(1 + i * 100).fill(i + 1);
      assertEquals(round(frame), frame);
    }
    for (const { areas } of device.queues) assert(areas.desc >= RINGS_AT);
    const tables = driver.counters()["tx.indirect_tables"];
    assertEquals(tables, names.includes("INDIRECT_DESC") ? 40 : 0);
  });
}

Deno.test("an area mapped in the wrong space faults: the other space's map does not help", () => {
  for (const [wrong, code] of [["rings", "bad-ring-address"], ["buffers", "bad-address"]] as const) {
    const { round, rings, buffers, ringDma, dma } = open("INDIRECT_DESC");
    const [space, other, { region }] = wrong === "rings" ? [rings, buffers, ringDma] : [buffers, rings, dma];
    space.unmap(region);
    other.map(region.start, region.memory, 0, region.end - region.start, region.access);
    let fault: unknown;
    try {
      round(new Uint8Array(100));
    } catch (error) {
      fault = error;
    }
    assert(fault instanceof RingFault, `${fault ?? "no fault"}`);
    assertEquals([fault.half, fault.code], ["device", code]);
  }
});

Deno.test("rings, buffers and frames whose addresses pass a multiple of 4 GiB are carried like any others", () => {
  const half = 1 << 19;
  const memory = new Memory(4 * half);
  const space = new AddressSpace();
  const dma = new DmaMemory(space, memory, 0, 2 * half, 2 ** 32 - half);
  space.map(2 ** 33 - half, memory, 2 * half, 2 * half, READ);
  for (const names of [[], ["MRG_RXBUF", "EVENT_IDX", "INDIRECT_DESC"], ["IN_ORDER"]] as Feature[][]) {
    const features = featureMask("VERSION_1", ...names);
    const device = new VirtioNetDevice({ features, rings: space, buffers: space, maxQueueSize: 64 });
    const pci = new ModernPciDevice(device);
    const driver = new VirtioNetDriver(new ModernPciTransport(pci.config, pci, () => false), {
      dma,
      space,
      features,
      queueSize: 64,
      rxQueueSize: 64,
      rxBuffer: 4096,
    });
    const out: Uint8Array[] = [];
    const pump = new Pump({ driver, device, batch: 64 }, {
      piece: (_number, bytes, offset, length) => void out.push(bytes.slice(offset, offset + length)),
      batch: (_number, { bytes, offsets, lengths, count }) => {
        for (let i = 0; i < count; i++) out.push(bytes.slice(offsets[i], offsets[i]! + lengths[i]!));
      },
      drop: () => {},
    });
    const batch = new FrameBatch(memory);
    const frames: Uint8Array[] = [];
    // Around the border, one frame over it, and far from it on both sides.
    for (let i = 0; i < 200; i++) {
      const offset = 3 * half + (i - 100) * (i < 20 || i > 180 ? 2500 : 300) - 150;
      memory.bytes.fill(i, offset, offset + 256);
      frames.push(memory.bytes.slice(offset, offset + 256));
      batch.offsets[i] = offset;
      batch.lengths[i] = 256;
    }
    batch.count = 200;
    pump.pushBatch(batch, 20);
    pump.drain();
    assertEquals(out, frames, names.join());
    assertEquals(driver.counters()["tx.dma_maps"], 200);
  }
});

Deno.test("an address of 2^64 less something is not taken for one in memory that passes a multiple of 4 GiB", () => {
  for (const base of [2 ** 32 - 0x8000, 2 ** 40 - 0x8000, 2 ** 40]) {
    const memory = new Memory(0x1_0000);
    const space = new AddressSpace();
    space.map(base, memory, 0, memory.size, READ_WRITE);
    const features = featureMask("VERSION_1");
    const device = new VirtioNetDevice({ features, rings: space, buffers: space, maxQueueSize: 8 });
    device.setFeatures(features);
    device.queues[1]!.start(8, { desc: base, driver: base + 0x400, device: base + 0x800 }, features);
    const ring = new RawRing(memory.view, 8, 0, 0x400, 0x800);
    const lengths: number[] = [];
    const wire: Wire = {
      transmit: (frame) => lengths.push(frame.length) > 0,
      transmitBatch: (frames) => lengths.push(...frames.lengths.subarray(0, frames.count)) && frames.count,
      drop: () => {},
    };
    const send = (addr: number | bigint) => {
      ring.setDesc(0, { addr, len: 100 });
      ring.offer(0);
      device.notify(1);
      return device.service(wire);
    };
    for (const at of [0x1000, 0x9000, 0x1000]) assertEquals(send(base + at), 1);
    const upper = 0xffff_ffff_0000_0000n;
    assertFault(() => send(upper | BigInt((base + 0x1000) % 2 ** 32)), "device", "bad-address");
    assertEquals(lengths, [88, 88, 88]);
  }
});
