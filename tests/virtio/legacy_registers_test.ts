import { assert, assertEquals, assertThrows } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import { OptionError } from "../../core/options.ts";
import { RingPair } from "../../core/ring_pair.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import virtio from "../../plugins/virtio/mod.ts";
import { LegacyPciDevice } from "../../plugins/virtio/pci_legacy.ts";
import { RawRing } from "./raw_ring.ts";

/** virtio 1.4, 4.1.4.10: offset and width. */
const HOST_FEATURES = [0, 4] as const;
const GUEST_FEATURES = [4, 4] as const;
const QUEUE_PFN = [8, 4] as const;
const QUEUE_NUM = [12, 2] as const;
const QUEUE_SEL = [14, 2] as const;
const QUEUE_NOTIFY = [16, 2] as const;
const STATUS = [18, 1] as const;
const ISR = [19, 1] as const;
const CONFIG = 20;
const BASE = 0x1000_0000;

function open(features = featureMask("MAC", "ANY_LAYOUT"), maxQueueSize = 4) {
  const host = new LocalHost({ dmaSize: 1 << 16 });
  const device = new VirtioNetDevice({
    features,
    rings: host.space,
    buffers: host.space,
    maxQueueSize,
    mac: [2, 4, 6, 8, 10, 12],
  });
  const pci = new LegacyPciDevice(device);
  const get = ([offset, width]: readonly [number, number]) => pci.read(offset, width);
  const set = ([offset, width]: readonly [number, number], value: number) => pci.write(offset, width, value);
  const frames: number[] = [];
  const service = () =>
    device.service({ transmit: (frame) => frames.push(frame.length) > 0, drop: () => {} });
  return { host, device, pci, get, set, frames, service };
}

Deno.test("legacy registers: features, size, page frame number, doorbell, status and ISR", () => {
  const { host, device, get, set, frames, service } = open();
  assertEquals(get(HOST_FEATURES), (1 << 5 | 1 << 27) >>> 0);
  set(STATUS, 1);
  set(STATUS, 3);
  set(GUEST_FEATURES, 0xffff_ffff);
  // What is accepted beyond the offer does not count.
  assertEquals([get(GUEST_FEATURES), device.features], [1 << 5 | 1 << 27, featureMask("MAC", "ANY_LAYOUT")]);
  set(QUEUE_SEL, 1);
  assertEquals([get(QUEUE_NUM), get(QUEUE_PFN)], [4, 0]);
  set(QUEUE_NUM, 2);
  assertEquals(get(QUEUE_NUM), 4);
  set(QUEUE_PFN, BASE / 4096);
  assertEquals([get(QUEUE_PFN), device.queues[1]!.areas], [
    BASE / 4096,
    { desc: BASE, driver: BASE + 64, device: BASE + 4096 },
  ]);
  set(STATUS, 7);
  // 10 bytes of header.
  const ring = new RawRing(host.memory.view, 4, 0, 64, 4096);
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 10 + 33 }));
  set(QUEUE_NOTIFY, 1);
  service();
  assertEquals([frames, ring.usedIdx, get(ISR), get(ISR)], [[33], 1, 1, 0]);
  set(QUEUE_PFN, 0);
  assertEquals(device.queues[1]!.running, false);
  set(STATUS, 0);
  assertEquals([get(STATUS), get(GUEST_FEATURES)], [0, 0]);
});

Deno.test("legacy registers: a queue that does not exist, other widths, and the configuration behind them", () => {
  const { pci, get, set } = open();
  set(QUEUE_SEL, 9);
  set(QUEUE_PFN, 1);
  assertEquals([get(QUEUE_NUM), get(QUEUE_PFN)], [0, 0]);
  assertEquals(pci.read(0, 2), 0);
  pci.write(STATUS[0], 2, 0x0101);
  assertEquals(get(STATUS), 0);
  assertEquals([0, 1, 2, 3, 4, 5].map((i) => pci.read(CONFIG + i, 1)), [2, 4, 6, 8, 10, 12]);
});

Deno.test("legacy: the driver may use the device before DRIVER_OK, and set the address before it accepts features", () => {
  const { host, device, pci, get, set, frames, service } = open();
  set(STATUS, 1);
  // The whole address, then single bytes of it; what lies behind is not the driver's.
  pci.write(CONFIG, 4, 0x0d0c0b0a);
  pci.write(CONFIG + 4, 4, 0xffff_0f0e);
  pci.write(CONFIG + 5, 1, 0x1f);
  set(GUEST_FEATURES, 1 << 5);
  const config = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => pci.read(CONFIG + i, 1));
  assertEquals(config, [10, 11, 12, 13, 14, 0x1f, 1, 0]);
  assertEquals(device.control.mac, [10, 11, 12, 13, 14, 0x1f]);
  set(QUEUE_SEL, 1);
  set(QUEUE_PFN, BASE / 4096);
  const ring = new RawRing(host.memory.view, 4, 0, 64, 4096);
  ring.offer(ring.chain(0, { addr: BASE + 0x4000, len: 10 + 5 }));
  set(QUEUE_NOTIFY, 1);
  service();
  assertEquals([frames, get(STATUS)], [[5], 1]);
  set(STATUS, 0);
  assertEquals(pci.read(CONFIG + 5, 1), 12);
});

Deno.test("legacy: a bad page frame number breaks the queue, and there is no NEEDS_RESET to say so", () => {
  const { device, get, set } = open();
  set(STATUS, 7);
  set(QUEUE_SEL, 0);
  set(QUEUE_PFN, 0x7fff_ffff);
  assertEquals([device.queues[0]!.running, get(STATUS)], [false, 7]);
});

Deno.test("layout=legacy: rings of whole pages, the device's queue size, the 10-byte header", () => {
  const pair = new RingPair(virtio, { layout: "legacy", "mrg-rxbuf": "off", "queue-size": "64" }, {
    dmaSize: 1 << 24,
  });
  const queues = (pair.link.driver.inspect().queues) as {
    size: number;
    areas: { desc: number; driver: number; device: number };
  }[];
  for (const { size, areas } of queues) {
    assertEquals(size, 64);
    assertEquals(areas.desc % 4096, 0);
    assertEquals([areas.driver - areas.desc, areas.device - areas.desc], [1024, 4096]);
  }
  const sent = [new Uint8Array(0), new Uint8Array([1]), new Uint8Array(1514).fill(7)];
  for (const frame of sent) assert(pair.transmit(frame));
  pair.service();
  assertEquals(pair.receive(), sent);
  // One header of 10 bytes each, and nothing else.
  assertEquals(pair.counters()["device.bytes_copied"], 3 * 10 + 1515);
});

Deno.test("layout=legacy has no feature above bit 31", () => {
  for (const [name, value] of [["in-order", "on"], ["hash-report", "on"], ["features", "0x100000000"]]) {
    assertThrows(() => new RingPair(virtio, { layout: "legacy", [name!]: value! }), OptionError);
  }
  const pair = new RingPair(virtio, { layout: "legacy" }, { dmaSize: 1 << 24 });
  assertEquals(pair.options.mask("features") >> 32n, 0n);
});
