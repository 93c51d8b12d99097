import { assert, assertEquals } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { LocalHost } from "../../core/host.ts";
import type { Registers } from "../../core/plugin.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { VirtioNetDriver } from "../../plugins/virtio/driver.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { LegacyPciTransport, ModernPciTransport } from "../../plugins/virtio/pci_driver.ts";
import { LegacyPciDevice } from "../../plugins/virtio/pci_legacy.ts";
import { Random } from "../random.ts";
import { windows } from "./modern_registers.ts";

const ROUNDS = Number(Deno.env.get("RINGPIPE_FUZZ") ?? 20_000);

/** Accesses at random: reads must give what fits the width, and nothing may throw. */
function hammer(random: Random, targets: readonly { registers: Registers; at: readonly number[] }[]): void {
  for (let i = 0; i < ROUNDS; i++) {
    const { registers, at } = random.pick(targets);
    const offset = random.pick(at) + (random.chance(0.8) ? 0 : random.between(0, 20));
    const width = random.pick([1, 2, 4]);
    const limit = 2 ** (8 * width);
    if (random.chance(0.4)) {
      const value = registers.read(offset, width);
      assert(Number.isInteger(value) && value >= 0 && value < limit, `${offset}/${width}: ${value}`);
    } else {
      const edge = random.pick([0, 1, 3, 4, 11, 15, 0x100, 0xffff, 0x8000_0000, 0xffff_ffff]);
      const value = random.chance(0.6) ? edge : random.below(2 ** 31);
      registers.write(offset, width, value % limit);
    }
  }
}

function range(start: number, length: number): number[] {
  return Array.from({ length }, (_, i) => start + i);
}

for (const seed of [1, 2, 3, 4]) {
  Deno.test(`whatever a driver does to the modern registers, nothing but they change: seed ${seed}`, () => {
    const random = new Random(seed);
    const host = new LocalHost({ dmaSize: 1 << 16 });
    const features = featureMask("VERSION_1", "MAC", "CTRL_VQ", "MQ", "RING_RESET", "EVENT_IDX");
    const device = new VirtioNetDevice({
      features,
      rings: host.space,
      buffers: host.space,
      queuePairs: 2,
      maxQueueSize: 16,
    });
    const pci = new ModernPciDevice(device);
    pci.interrupt = (value) => assert(Number.isInteger(value) && value >= 0 && value < 2 ** 32);
    const [common, isr, config, notify] = windows(pci.config.bytes);
    const msix = pci.config.bytes.findIndex((byte, at) => at >= 0x40 && byte === 0x11);
    const place = (at: number) => pci.config.read(msix + at, 4) & ~7;
    const fixed = [
      0,
      1,
      2,
      3,
      8,
      9,
      10,
      11,
      0x34,
      ...[common, isr, config, notify].flatMap((window) => {
        return range(window!.at, window!.capLength);
      }),
    ];
    const before = fixed.map((at) => pci.config.bytes[at]);
    hammer(random, [
      { registers: pci, at: range(common!.offset, 64) },
      { registers: pci, at: [isr!.offset, ...range(config!.offset, 24), ...range(notify!.offset, 24)] },
      { registers: pci, at: [...range(place(4), 128), ...range(place(8), 8), 0xffff_fff0, 0x2_0000] },
      { registers: pci.config, at: range(0, 256) },
    ]);
    assert(fixed.every((at, i) => pci.config.bytes[at] === before[i]));
    // A reset brings it back, whatever came before.
    pci.write(common!.offset + 20, 1, 0);
    assert(pci.read(common!.offset + 20, 1) === 0 && device.queues.every((queue) => !queue.running));
  });
}

Deno.test("whatever a driver does to the legacy registers, it throws nothing", () => {
  const host = new LocalHost({ dmaSize: 1 << 16 });
  const features = featureMask("MAC", "ANY_LAYOUT", "CTRL_VQ");
  const device = new VirtioNetDevice({ features, rings: host.space, buffers: host.space, maxQueueSize: 16 });
  const pci = new LegacyPciDevice(device);
  hammer(new Random(9), [
    { registers: pci, at: range(0, 64) },
    { registers: pci.config, at: range(0, 256) },
  ]);
});

/** What became of a driver that came up on registers of which some reads give anything. */
function bringUp(random: Random, legacy: boolean, chance: number): string {
  const host = new LocalHost({ dmaSize: 1 << 20 });
  const names = ["MAC", "CTRL_VQ", "MQ", "MRG_RXBUF", "EVENT_IDX"] as const;
  const features = legacy
    ? featureMask("ANY_LAYOUT", ...names)
    : featureMask("VERSION_1", "RING_RESET", ...names);
  const device = new VirtioNetDevice({
    features,
    rings: host.space,
    buffers: host.space,
    queuePairs: 2,
    maxQueueSize: 8,
  });
  const pci = legacy ? new LegacyPciDevice(device) : new ModernPciDevice(device);
  const odd = (registers: Registers): Registers => ({
    read(offset, width) {
      const value = registers.read(offset, width);
      if (!random.chance(chance)) return value;
      const limit = 2 ** (8 * width);
      return random.pick([0, 1, limit - 1, limit / 2, value ^ 1, random.u32()]) % limit >>> 0;
    },
    write: (offset, width, value) => registers.write(offset, width, value),
  });
  try {
    const transport = legacy
      ? new LegacyPciTransport(odd(pci))
      : new ModernPciTransport(odd(pci.config), odd(pci), () => false);
    new VirtioNetDriver(transport, {
      dma: host.dma,
      space: host.space,
      features,
      queueSize: 8,
      rxQueueSize: 8,
      rxBuffer: 256,
      queuePairs: 2,
    });
    return "up";
  } catch (error) {
    if (error instanceof RingFault) return error.code;
    // A legacy device says how large its rings are: larger, perhaps, than the driver's memory.
    if (legacy && error instanceof RangeError && /^Cannot allocate/.test(error.message)) return "memory";
    throw error;
  }
}

for (const legacy of [false, true]) {
  Deno.test(`whatever ${legacy ? "legacy" : "modern"} registers say, the driver comes up or faults, soon`, () => {
    const random = new Random(legacy ? 6 : 5);
    const seen = new Set<string>();
    for (let i = 0; i < ROUNDS / 20; i++) seen.add(bringUp(random, legacy, random.pick([0.003, 0.03, 0.3])));
    assert(seen.delete("up") && seen.delete("bring-up"));
    seen.delete("memory");
    // A command fails where the device's place of the control queue, or its features, were misread.
    seen.delete("control-failed");
    assertEquals([...seen], []);
  });
}
