import { assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import { IN_RESET, NO_BUFFERS } from "../../core/plugin.ts";
import { Pump } from "../../core/pump.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { VirtioNetDriver } from "../../plugins/virtio/driver.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { ModernPciTransport } from "../../plugins/virtio/pci_driver.ts";
import { assertFault } from "./faults.ts";
import type { ModernRegisters } from "./modern_registers.ts";
import { ARP, FLOWS, FRAMES, OK, openRss, PAIRS, rssConfig } from "./rss_peer.ts";

// virtio 1.4, 5.1.6.5.6 (automatic receive steering) and 5.1.6.5.7 (RSS processing), device requirements.

function reset(registers: ModernRegisters, index: number): void {
  registers.set("queue_select", index);
  registers.set("queue_reset", 1);
}

Deno.test("RSS: a frame whose queue is being reset is dropped, those of other queues are not", () => {
  const { command, deliver, registers, start } = openRss("RSS", "RING_RESET");
  const table = [0, 1, 2, 1];
  assertEquals(command(rssConfig({ table, unclassified: 1 })), OK);
  reset(registers, 2);
  const wanted = FLOWS.map((flow) => table[flow[4] % 4]!);
  assertEquals(deliver(...FRAMES, ARP), [...wanted.map((pair) => pair === 1 ? IN_RESET : pair), IN_RESET]);
  start(2);
  assertEquals(deliver(...FRAMES, ARP), [...wanted, 1]);
});

Deno.test("automatic steering takes another queue than one that is being reset, and drops if all are", () => {
  const { command, deliver, registers, start } = openRss("MQ", "RING_RESET");
  assertEquals(command([4, 0, PAIRS, 0]), OK);
  const spread = (...queues: readonly number[]) => FLOWS.map((flow) => queues[flow[4] % PAIRS]!);
  reset(registers, 2);
  assertEquals(deliver(...FRAMES), spread(0, 2, 2));
  reset(registers, 0);
  assertEquals(deliver(...FRAMES), spread(2, 2, 2));
  reset(registers, 4);
  assertEquals(deliver(...FRAMES), spread(IN_RESET, IN_RESET, IN_RESET));
  start(2);
  assertEquals(deliver(...FRAMES), spread(1, 1, 1));
});

Deno.test("with one pair in use, frames are dropped while its queue is being reset", () => {
  const { command, deliver, registers, start } = openRss("MQ", "RING_RESET");
  reset(registers, 0);
  assertEquals(deliver(ARP), [IN_RESET]);
  assertEquals(command([4, 0, 1, 0]), OK);
  assertEquals(deliver(ARP), [IN_RESET]);
  start(0);
  assertEquals(deliver(ARP), [0]);
});

Deno.test("a frame waits for a queue that is not running for any other reason", () => {
  const { device, deliver, registers, start } = openRss("RING_RESET");
  device.queues[0]!.stop();
  assertEquals(deliver(ARP), [NO_BUFFERS]);
  start(0);
  reset(registers, 0);
  const ring = start(0);
  ring.availIdx = 1000;
  assertFault(() => deliver(ARP), "device", "avail-idx-jump");
  assertEquals(deliver(ARP), [NO_BUFFERS]);
  reset(registers, 0);
  // A reset of the whole device is another thing: there is no driver then.
  registers.set("device_status", 0);
  assertEquals(deliver(ARP), [NO_BUFFERS]);
  assertEquals(device.queues[0]!.inReset, false);
});

Deno.test("transmitted frames that come back to a queue in reset are dropped, and their chains given back", () => {
  const { command, device, host, registers, rings, start } = openRss("RSS", "RING_RESET");
  const base = host.dma.region.start;
  const results: number[] = [];
  assertEquals(command(rssConfig({ table: [0, 1, 2, 1] })), OK);
  const send = () => {
    const ring = rings[1]!;
    FRAMES.forEach((frame, i) => {
      host.memory.bytes.fill(0, 0x14000 + 256 * i).set(frame, 0x14000 + 256 * i + 12);
      ring.offer(ring.chain(i, { addr: base + 0x14000 + 256 * i, len: 12 + frame.length }));
    });
    registers.ring(1);
    device.service({
      transmit: (frame) => results.push(device.deliver(frame)) > 0,
      drop: () => {},
    });
    return results.splice(0);
  };
  const wanted = FLOWS.map((flow) => [0, 1, 2, 1][flow[4] % 4]!);
  assertEquals(send(), wanted);
  reset(registers, 2);
  assertEquals(send(), wanted.map((pair) => pair === 1 ? IN_RESET : pair));
  assertEquals(rings[1]!.usedIdx, 2 * FRAMES.length);
  // Nothing of the queue in reset was touched (2.6.1).
  const before = host.memory.bytes.slice(2 * 0x2000, 3 * 0x2000);
  send();
  assertEquals(host.memory.bytes.slice(2 * 0x2000, 3 * 0x2000), before);
  start(2);
  assertEquals(send(), wanted);
});

Deno.test("the pump counts what a queue in reset loses as queue-reset, and goes on when it is there again", () => {
  const host = new LocalHost({ dmaSize: 1 << 24 });
  const features = featureMask("VERSION_1", "CTRL_VQ", "RSS", "RING_RESET", "MRG_RXBUF");
  const device = new VirtioNetDevice({
    features,
    rings: host.space,
    buffers: host.space,
    queuePairs: 2,
    maxQueueSize: 64,
  });
  const pci = new ModernPciDevice(device);
  const transport = new ModernPciTransport(pci.config, pci, () => false);
  const driver = new VirtioNetDriver(transport, {
    dma: host.dma,
    space: host.space,
    features,
    queueSize: 64,
    rxQueueSize: 64,
    rxBuffer: 2048,
    queuePairs: 2,
  });
  const came: number[] = [];
  const lost: string[] = [];
  const pump = new Pump({ driver, device, batch: 4 }, {
    piece: (number) => void came.push(number),
    batch: (number, { count }) => void came.push(...Array.from({ length: count }, (_, i) => number + i)),
    drop: (number, reason) => void lost.push(`${number} ${reason}`),
  });
  const send = () => {
    for (const frame of FRAMES) pump.push(frame, 0, frame.length, 0);
    pump.drain();
    came.sort((a, b) => a - b);
    return [came.splice(0), lost.splice(0)];
  };
  const all = FLOWS.map((_, i) => i);
  const odd = all.filter((i) => FLOWS[i]![4] % 2 === 1);
  assertEquals(send(), [all, []]);
  transport.resetQueue(2);
  const gone = odd.map((i) => `${5 + i} queue-reset`);
  const even = all.filter((i) => !odd.includes(i)).map((i) => 5 + i);
  assertEquals(send(), [even, gone]);
  driver.resize(1, 64, 64, { piece: () => {} });
  assertEquals(send(), [all.map((i) => 10 + i), []]);
});
