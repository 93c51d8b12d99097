import { assert, assertEquals } from "@std/assert";
import { LocalHost } from "../../core/host.ts";
import type { Registers } from "../../core/plugin.ts";
import { VirtioNetDevice } from "../../plugins/virtio/device.ts";
import { VirtioNetDriver } from "../../plugins/virtio/driver.ts";
import { type Feature, FEATURE_BITS, featureMask, hasFeature } from "../../plugins/virtio/features.ts";
import { ModernPciDevice } from "../../plugins/virtio/pci_device.ts";
import { ModernPciTransport } from "../../plugins/virtio/pci_driver.ts";
import { assertFault } from "./faults.ts";
import { COMMON, type CommonRegister, windows } from "./modern_registers.ts";

const FEATURES = featureMask("VERSION_1", "MAC", "STATUS", "MRG_RXBUF", "RING_RESET");

interface Setup {
  readonly offered?: bigint;
  readonly wanted?: bigint;
  readonly queueSize?: number;
  /** Changes configuration space before the driver looks. */
  readonly config?: (config: Uint8Array) => void;
  /** What a register reads as instead. */
  readonly read?: (name: CommonRegister, value: number) => number;
}

/** A driver that comes up on registers that may lie. */
function bringUp({ offered = FEATURES, wanted = offered, queueSize = 8, config, read }: Setup = {}) {
  const host = new LocalHost({ dmaSize: 1 << 22 });
  const device = new VirtioNetDevice({
    features: offered,
    rings: host.space,
    buffers: host.space,
    maxQueueSize: 16,
    mac: [2, 4, 6, 8, 10, 12],
  });
  const pci = new ModernPciDevice(device);
  const offset = (wanted: number) => windows(pci.config.bytes).find(({ type }) => type === wanted)!.offset;
  const common = offset(1);
  const bells = offset(2);
  const writes: [offset: number, width: number, value: number][] = [];
  const bar: Registers = {
    read(offset, width) {
      const value = pci.read(offset, width);
      const found = Object.entries(COMMON).find(([, [at]]) => at === offset - common);
      return found && read ? read(found[0] as CommonRegister, value) : value;
    },
    write(offset, width, value) {
      writes.push([offset, width, value]);
      pci.write(offset, width, value);
    },
  };
  config?.(pci.config.bytes);
  const connect = () => {
    const transport = new ModernPciTransport(
      pci.config,
      bar,
      () => hasFeature(device.features, "NOTIFICATION_DATA"),
    );
    const driver = new VirtioNetDriver(transport, {
      dma: host.dma,
      space: host.space,
      features: wanted,
      queueSize,
      rxQueueSize: queueSize,
      rxBuffer: 256,
    });
    return { transport, driver };
  };
  const status = () => pci.read(common + 20, 1);
  /** Doorbell writes, by offset within their window. */
  const rung = () => writes.filter(([at]) => at >= bells).map(([at, ...rest]) => [at - bells, ...rest]);
  return { host, device, pci, writes, connect, common, bells, rung, status };
}

/** Sets notify_off_multiplier, behind the notification capability. */
function setMultiplier(config: Uint8Array, value: number): void {
  const { at } = windows(config).find(({ type }) => type === 2)!;
  new DataView(config.buffer).setUint32(at + 16, value, true);
}

/** Sets the length of the window of a type. */
function setLength(config: Uint8Array, type: number, length: number): void {
  const { at } = windows(config).find((window) => window.type === type)!;
  new DataView(config.buffer).setUint32(at + 12, length, true);
}

Deno.test("the driver comes up, reads the address and starts queues smaller than the largest", () => {
  const { connect, device, status } = bringUp();
  const { driver } = connect();
  assertEquals([status(), driver.features], [15, FEATURES]);
  assertEquals(driver.mac, [2, 4, 6, 8, 10, 12]);
  assertEquals(device.queues.map((queue) => [queue.size, queue.running]), [[8, true], [8, true]]);
});

Deno.test("the status steps come one by one, and features before FEATURES_OK", () => {
  const { connect, writes, common, bells } = bringUp();
  connect();
  const steps = writes.filter(([offset]) => offset === common + 20).map(([, , value]) => value);
  assertEquals(steps, [0, 1, 3, 11, 15]);
  const index = (at: number, value?: number) =>
    writes.findIndex(([offset, , written]) =>
      offset === common + at && (value === undefined || written === value)
    );
  assert(index(12) < index(20, 11));
  assert(index(20, 11) < index(28));
  assert(index(28) < index(20, 15));
  // No bell rings before DRIVER_OK.
  const bell = writes.findIndex(([offset]) => offset >= bells);
  assert(bell > index(20, 15));
});

Deno.test("the driver takes VERSION_1 even if not asked to, and no more than is offered and wanted", () => {
  const wanted = featureMask("MAC", "EVENT_IDX");
  const { driver } = bringUp({ wanted }).connect();
  assertEquals(driver.features, featureMask("VERSION_1", "MAC"));
});

const ALL = Object.keys(FEATURE_BITS) as Feature[];

Deno.test("the driver drops what depends on something not offered, so that the device agrees", () => {
  const broken = bringUp({
    offered: featureMask("VERSION_1", "GUEST_TSO4", "GUEST_ECN", "HASH_REPORT", "HOST_UDP_TUNNEL_GSO", "MAC"),
    wanted: featureMask(...ALL),
  });
  const { driver } = broken.connect();
  assertEquals(driver.features, featureMask("VERSION_1", "MAC"));
  assertEquals(broken.status(), 15);
});

Deno.test("a device that does not offer VERSION_1 is given up", () => {
  const { connect, status } = bringUp({ offered: featureMask("MAC") });
  assertFault(connect, "driver", "bring-up");
  assertEquals(status(), 128 | 3);
});

Deno.test("a device that refuses FEATURES_OK is given up", () => {
  const { connect, status } = bringUp({
    read: (name, value) => name === "device_status" ? value & ~8 : value,
  });
  assertFault(connect, "driver", "bring-up");
  assertEquals(status() & 128, 128);
});

for (
  const [what, read] of [
    [
      "whose status never reads 0 after a reset",
      (name, value) => name === "device_status" ? value | 1 : value,
    ],
    [
      "whose configuration never settles",
      (() => {
        let generation = 0;
        return (name, value) => name === "config_generation" ? generation++ & 0xff : value;
      })(),
    ],
    ["that has no receive queue", (name, value) => name === "queue_size" ? 0 : value],
    ["whose queue size is no power of two", (name, value) => name === "queue_size" ? 6 : value],
    ["whose queue size is beyond all bounds", (name, value) => name === "queue_size" ? 65535 : value],
    ["that does not take the queue size", (name, value) => name === "queue_size" ? 16 : value],
    ["that does not enable a queue", (name, value) => name === "queue_enable" ? 0 : value],
  ] as [string, (name: CommonRegister, value: number) => number][]
) {
  Deno.test(`a device ${what} is a bring-up fault`, () => {
    assertFault(bringUp({ read }).connect, "driver", "bring-up");
  });
}

Deno.test("a configuration that changes while it is read is read again", () => {
  const generations = [1, 2, 2, 2];
  const { driver } = bringUp({
    read: (name, value) => name === "config_generation" ? generations.shift() ?? 2 : value,
  }).connect();
  assertEquals([driver.mac, generations], [[2, 4, 6, 8, 10, 12], []]);
});

Deno.test("resetQueue waits until the device is done, within limits", () => {
  let reads = 0;
  const busy = bringUp({ read: (name, value) => name === "queue_reset" && reads++ < 5 ? 1 : value });
  const { transport } = busy.connect();
  transport.resetQueue(1);
  assertEquals([busy.device.queues[1]!.running, reads], [false, 6]);
  const stuck = bringUp({ read: (name, value) => name === "queue_reset" ? 1 : value }).connect();
  assertFault(() => stuck.transport.resetQueue(1), "driver", "bring-up");
  const stays = bringUp({ read: (name, value) => name === "queue_enable" ? 1 : value }).connect();
  assertFault(() => stays.transport.resetQueue(1), "driver", "bring-up");
});

/** Capability fields, as virtio 1.4, 4.1.4 places them. */
function capability(config: Uint8Array, at: number, next: number, type: number, bar: number, offset: number) {
  config.fill(0, at, at + 24);
  config.set([9, next, 20, type, bar], at);
  new DataView(config.buffer).setUint32(at + 8, offset, true);
}

Deno.test("the first capability of a type counts; reserved BARs, unknown types and other vendors' do not", () => {
  const { connect, status } = bringUp({
    config: (config) => {
      const first = config[0x34]!;
      config[0x34] = 0xa0;
      capability(config, 0xa0, 0xb8, 1, 6, 0x5000);
      capability(config, 0xb8, 0xd0, 77, 4, 0x5000);
      capability(config, 0xd0, first, 1, 4, 0x5000);
      config[0xd0] = 5;
      // A second common window, behind the true one.
      const last = windows(config).at(-1)!;
      config[last.at + 1] = 0xe8;
      capability(config, 0xe8, 0, 1, 4, 0x5000);
    },
  });
  connect();
  assertEquals(status(), 15);
});

Deno.test("a capability may be longer than known", () => {
  const { connect } = bringUp({
    config: (config) => {
      for (const { at } of windows(config)) config[at + 2]! += 8;
    },
  });
  connect();
});

for (
  const [what, config] of [
    ["loops", (config: Uint8Array) => config[windows(config).at(-1)!.at + 1] = config[0x34]!],
    ["names itself", (config: Uint8Array) => config[config[0x34]! + 1] = config[0x34]!],
    ["leaves configuration space", (config: Uint8Array) => {
      config[windows(config).at(-1)!.at + 1] = 0xf8;
      config[0xf8] = 9;
    }],
    ["puts doorbells into another BAR", (config: Uint8Array) => {
      config[windows(config).find(({ type }) => type === 2)!.at + 4] = 2;
    }],
    ["is not there by the status register", (config: Uint8Array) => config[6]! &= ~0x10],
    ["is empty", (config: Uint8Array) => config[0x34] = 0],
    ["puts doorbells 1 byte apart", (config: Uint8Array) => setMultiplier(config, 1)],
    ["puts doorbells 6 bytes apart", (config: Uint8Array) => setMultiplier(config, 6)],
    ["puts a doorbell behind its window", (config: Uint8Array) => setMultiplier(config, 0x8000_0000)],
    ["has a doorbell window that ends within a doorbell", (config: Uint8Array) => setLength(config, 2, 5)],
    ["has too short a common window", (config: Uint8Array) => setLength(config, 1, 55)],
    ["has no notification window", (config: Uint8Array) => {
      const notify = windows(config).find(({ type }) => type === 2)!;
      config[notify.at + 3] = 9;
    }],
  ] as const
) {
  Deno.test(`a capability list that ${what} is a bring-up fault`, () => {
    assertFault(bringUp({ config: (bytes) => void config(bytes) }).connect, "driver", "bring-up");
  });
}

Deno.test("the shortest windows will do: 56 bytes of registers, a doorbell for each queue, a configuration of old", () => {
  const { connect, device } = bringUp({
    offered: FEATURES | featureMask("MTU"),
    config: (config) => {
      setLength(config, 1, 56);
      setLength(config, 2, 6);
      // Up to max_virtqueue_pairs: an MTU there is not.
      setLength(config, 4, 10);
    },
    wanted: FEATURES,
  });
  const { driver, transport } = connect();
  assertEquals([driver.mac, device.queues[1]!.running], [[2, 4, 6, 8, 10, 12], true]);
  assertEquals(
    transport.readConfig(24),
    Uint8Array.from([2, 4, 6, 8, 10, 12, 1, 0, 1, ...Array(15).fill(0)]),
  );
});

Deno.test("all queues may share one doorbell", () => {
  const { connect, rung } = bringUp({ config: (config) => setMultiplier(config, 0) });
  const { driver } = connect();
  driver.transmit(new Uint8Array(20), 0, 20, 0);
  driver.flush();
  assertEquals(rung(), [[0, 2, 0], [0, 2, 1]]);
});

Deno.test("doorbells: two bytes at the queue's own place; four with NOTIFICATION_DATA", () => {
  const plain = bringUp();
  plain.connect();
  assertEquals(plain.rung(), [[0, 2, 0]]);
  const data = bringUp({ offered: FEATURES | featureMask("NOTIFICATION_DATA") });
  const { driver } = data.connect();
  // Eight receive buffers were posted; then three frames are sent.
  for (let i = 0; i < 3; i++) driver.transmit(new Uint8Array(10), 0, 10, 0);
  driver.flush();
  assertEquals(data.rung(), [[0, 4, 8 << 16], [4, 4, 3 << 16 | 1]]);
  let frames = 0;
  data.device.service({ transmit: () => ++frames > 0, drop: () => {} });
  assertEquals(frames, 3);
});

Deno.test("a doorbell for a queue that does not exist is not heard", () => {
  const { pci, device, bells } = bringUp();
  for (const value of [2, 0x8000, 0xffff]) pci.write(bells, 2, value);
  assertEquals(device.service({ transmit: () => true, drop: () => {} }), 0);
});
