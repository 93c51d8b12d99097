/**
 * The control queue behind the hypervisor: what is passed on, remembered, and said again after a switch.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { LocalHost } from "../../core/host.ts";
import { RingPair } from "../../core/ring_pair.ts";
import type { OptionValue } from "../../core/options.ts";
import type { VdpaDevice } from "../../plugins/vdpa/device.ts";
import { GuestMemory } from "../../plugins/vdpa/guest_memory.ts";
import { Hypervisor } from "../../plugins/vdpa/hypervisor.ts";
import vdpa from "../../plugins/vdpa/mod.ts";
import { type ModelName, MODELS } from "../../plugins/vdpa/models.ts";
import { ProcessMemory } from "../../plugins/vdpa/process_memory.ts";
import { CommandRecord } from "../../plugins/vdpa/shadow_control.ts";
import { VdpaDevice as Device } from "../../plugins/vdpa/device.ts";
import { VhostVdpa } from "../../plugins/vdpa/vhost.ts";
import { featureMask } from "../../plugins/virtio/features.ts";
import { Random } from "../random.ts";
import { HandRing, NEXT, WRITE } from "./hand_ring.ts";

const SIZE = 16;
const FEATURES = featureMask(
  "VERSION_1",
  "MRG_RXBUF",
  "CTRL_VQ",
  "CTRL_RX",
  "CTRL_RX_EXTRA",
  "CTRL_VLAN",
  "CTRL_MAC_ADDR",
  "MQ",
);

/** A guest that writes its rings by hand, behind a real hypervisor and device. */
class Guest {
  readonly host = new LocalHost();
  readonly device: VdpaDevice;
  readonly hypervisor: Hypervisor;
  readonly rings: HandRing[] = [];
  readonly control: number;
  #commands = 0;
  interrupts = 0;

  constructor(kind: ModelName = "mlx5", queues = 5, shadow = false) {
    const process = new ProcessMemory();
    const guest = new GuestMemory(2 ** 32, this.host.space, process);
    this.device = new Device({
      model: MODELS[kind],
      queues,
      features: FEATURES,
      maxQueueSize: SIZE,
      process,
    });
    this.hypervisor = new Hypervisor({
      device: this.device,
      file: new VhostVdpa(this.device, process),
      process,
      guest,
      pageSize: 4096,
      batch: true,
      shadow,
      switches: [],
    });
    this.hypervisor.interrupt = () => this.interrupts++;
    this.control = queues - 1;
    this.start();
  }

  /** Resets the device and sets it up. */
  start(): void {
    this.hypervisor.setStatus(0);
    this.hypervisor.setStatus(3);
    this.hypervisor.setFeatures(FEATURES);
    this.hypervisor.setStatus(11);
    this.rings.length = 0;
    this.#commands = 0;
    for (let index = 0; index <= this.control; index++) {
      const ring = new HandRing(this.host.memory, 0x4000 * index, SIZE);
      this.rings.push(ring);
      this.hypervisor.startQueue(index, SIZE, ring.areas(this.host.dma.region.start));
    }
    this.hypervisor.setStatus(15);
  }

  /** Sends a command, its readable part in pieces of the given lengths. Returns the ack, or undefined for none. */
  command(
    bytes: readonly number[],
    pieces: readonly number[] = [bytes.length],
    ackLength = 1,
  ): number | undefined {
    const ring = this.rings[this.control]!;
    const at = 0x40000;
    const base = this.host.dma.region.start;
    this.host.memory.bytes.set(bytes, at);
    let place = at;
    pieces.forEach((length, i) => {
      const last = ackLength === 0 && i === pieces.length - 1;
      ring.descriptor(i, base + place, length, last ? 0 : NEXT, i + 1);
      place += length;
    });
    const ack = 0x60000;
    this.host.memory.bytes[ack] = 0xee;
    if (ackLength > 0) ring.descriptor(pieces.length, base + ack, ackLength, WRITE);
    ring.offer(0);
    this.hypervisor.kick(this.control);
    this.hypervisor.service({ transmit: () => true, drop: () => {} });
    if (ring.usedIndex !== ++this.#commands) return undefined;
    assertEquals(ring.usedElement(this.#commands - 1), { id: 0, length: 1 });
    return this.host.memory.bytes[ack];
  }

  state(): string {
    const { mac, modes, pairs, vlans, macTable } = this.device.net.control;
    return `${mac.join(":")} ${[...modes].sort().join(",")} ${pairs} ${[...vlans].sort()} ${
      JSON.stringify(macTable)
    }`;
  }
}

const MAC = [0x02, 1, 2, 3, 4, 5];
const COMMANDS: readonly (readonly number[])[] = [
  [0, 0, 1],
  [0, 1, 1],
  [0, 1, 0],
  [0, 5, 1],
  [1, 1, ...MAC],
  [1, 0, 1, 0, 0, 0, ...MAC, 0, 0, 0, 0],
  [2, 0, 7, 0],
  [2, 0, 9, 0],
  [2, 1, 7, 0],
  [4, 0, 2, 0],
];

for (const kind of ["mlx5", "sim", "vduse"] as const) {
  Deno.test(`ShadowControl gives a device its state back after every switch with device=${kind}`, () => {
    const guest = new Guest(kind);
    for (const command of COMMANDS) assertEquals(guest.command(command), 0);
    const state = guest.state();
    assertEquals(state.split(" ").slice(0, 4), ["2:1:2:3:4:5", "nobcast,promisc", "2", "9"]);
    for (let i = 0; i < 5; i++) {
      guest.hypervisor.migration.toggle();
      assertEquals(guest.state(), state);
    }
    // promisc, allmulti, nobcast, address, table, VLAN 9, pairs: what was replaced or undone is not said again.
    assertEquals(guest.hypervisor.counters()["control.replayed"], 5 * 7);
    assertEquals(guest.hypervisor.counters()["control.commands"], COMMANDS.length);
  });
}

/** A command, now and then of no known kind, cut short or with more behind it than its kind has. */
function randomCommand(random: Random): number[] {
  const small = () => random.below(3);
  const mac = () => Array.from({ length: 6 }, () => random.below(256));
  const macs = (count: number) => [count, 0, 0, 0, ...Array.from({ length: count }, mac).flat()];
  const command = random.pick([
    () => [0, random.below(7), small()],
    () => [1, 0, ...macs(small()), ...macs(small())],
    () => [1, 1, ...mac()],
    () => [2, small(), random.below(3), random.pick([0, 0, 0, 16])],
    () => [3, 0],
    () => [4, 0, random.below(4), 0],
    () => Array.from({ length: random.below(12) }, () => random.below(6)),
  ])();
  if (random.chance(0.1)) return command.slice(0, random.below(command.length + 1));
  return random.chance(0.2) ? [...command, ...mac().slice(0, random.below(6))] : command;
}

/** Lengths, none of them 0, that come to a sum. */
function split(random: Random, sum: number): number[] {
  const pieces: number[] = [];
  while (sum > 0) {
    const length = pieces.length < SIZE - 2 ? random.between(1, sum) : sum;
    pieces.push(length);
    sum -= length;
  }
  return pieces;
}

Deno.test("ShadowControl gives a device its state back, whatever the commands were", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = new Random(seed);
    const guest = new Guest(random.pick(["mlx5", "sim", "vduse"]));
    const accepted: number[][] = [];
    for (let i = 0; i < 30; i++) {
      const command = randomCommand(random);
      if (command.length > 0 && guest.command(command, split(random, command.length)) === 0) {
        accepted.push(command);
      }
      if (random.chance(0.8)) continue;
      const state = guest.state();
      guest.hypervisor.migration.toggle();
      assertEquals(guest.state(), state, `seed ${seed}: ${JSON.stringify(accepted)}`);
    }
    assert(accepted.length > 5);
  }
});

Deno.test("ShadowControl forgets what was commanded before the guest reset its device", () => {
  const guest = new Guest();
  const fresh = guest.state();
  for (const command of COMMANDS) assertEquals(guest.command(command), 0);
  guest.hypervisor.setStatus(0);
  guest.host.memory.bytes.fill(0, 0, 0x20000);
  guest.start();
  assertEquals(guest.state(), fresh);
  guest.command([2, 0, 5, 0]);
  guest.hypervisor.migration.toggle();
  assertEquals(guest.state().split(" ").slice(1, 4), [fresh.split(" ")[1], "1", "5"]);
  assertEquals(guest.hypervisor.counters()["control.replayed"], 1);
});

Deno.test("ShadowControl is in place in passthrough too, in a space of its own", () => {
  const guest = new Guest();
  assertEquals(guest.hypervisor.migration.path, "passthrough");
  guest.command([0, 0, 1]);
  assertEquals(guest.hypervisor.counters()["control.commands"], 1);
  const areas = guest.device.net.queues.map(({ rings, buffers }) => [rings, buffers]);
  const control = areas.pop()!;
  const { space } = guest.device.space(1);
  assert(control[0] === space && control[1] === space);
  for (const spaces of areas) assert(!spaces.includes(space));
  // Command page to read, ack page to write, and the ring's two areas: nothing of the guest.
  assertEquals(guest.device.space(1).table.entries.map(({ perm }) => perm), [1, 3, 1, 3]);
});

Deno.test("ShadowControl passes refusals on and does not remember them", () => {
  const guest = new Guest();
  assertEquals(guest.command([4, 0, 99, 0]), 1);
  assertEquals(guest.command([77, 0, 0]), 1);
  guest.hypervisor.migration.toggle();
  assertEquals(guest.hypervisor.counters()["control.replayed"], 0);
});

Deno.test("ShadowControl reads a command in any pieces", () => {
  const guest = new Guest();
  assertEquals(guest.command([1, 1, ...MAC], [1, 1, 3, 3]), 0);
  assertEquals(guest.state().split(" ")[0], "2:1:2:3:4:5");
});

Deno.test("ShadowControl refuses what is no command, and what is longer than its page", () => {
  const guest = new Guest();
  assertEquals(guest.command([0]), 1);
  const table = [1, 0, 0xff, 2, 0, 0, ...new Array<number>(0x2ff * 6).fill(2), 0, 0, 0, 0];
  assertEquals(guest.command(table), 1);
  assertEquals(guest.command([0, 0, 1]), 0);
});

Deno.test("ShadowControl faults on a command without room for the ack", () => {
  const guest = new Guest();
  const fault = assertThrows(() => guest.command([0, 0, 1], [3], 0), RingFault);
  assertEquals([fault.ring, fault.code], ["ctrl", "control-without-ack"]);
});

Deno.test("ShadowControl faults on a command outside the guest's memory", () => {
  const guest = new Guest();
  const ring = guest.rings[guest.control]!;
  ring.descriptor(0, 0xdead_0000_0000, 3, NEXT, 1);
  ring.descriptor(1, guest.host.dma.region.start, 1, WRITE);
  ring.offer(0);
  guest.hypervisor.kick(guest.control);
  const fault = assertThrows(
    () => guest.hypervisor.service({ transmit: () => true, drop: () => {} }),
    RingFault,
  );
  assertEquals([fault.ring, fault.code], ["ctrl", "bad-address"]);
});

Deno.test("a control queue that cannot be isolated is shadowed with everything else, or passed through", () => {
  const shadowed = new Guest("plain", 3, true);
  assertEquals(shadowed.command([0, 0, 1]), 0);
  assertEquals(shadowed.hypervisor.counters()["control.commands"], 1);
  const passed = new Guest("plain", 3, false);
  assertEquals(passed.command([0, 0, 1]), 0);
  assertEquals(passed.hypervisor.counters()["control.commands"], 0);
  assertEquals(passed.hypervisor.canSwitch, false);
});

Deno.test("CommandRecord keeps the last command of each kind, in the order of the last ones", () => {
  const record = new CommandRecord();
  for (const command of COMMANDS) record.add(new Uint8Array(command));
  record.add(new Uint8Array([0, 0, 0]));
  record.add(new Uint8Array([3, 0]));
  assertEquals(record.commands.map((command) => [...command.subarray(0, 3)]), [
    [0, 1, 0],
    [0, 5, 1],
    [1, 1, 2],
    [1, 0, 1],
    [2, 0, 9],
    [4, 0, 2],
    [0, 0, 0],
  ]);
});

Deno.test("a driver with several queue pairs keeps them through switches", () => {
  const options: Record<string, OptionValue> = { queues: 9, mode: "switch@10,20,30" };
  const pair = new RingPair(vdpa, options);
  for (let i = 0; i < 40; i++) {
    // Different UDP ports: the flows spread over the pairs.
    const frame = new Uint8Array(60);
    frame.set([8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, i, i, 7, 7], 12);
    assert(pair.transmit(frame));
    pair.service();
    assertEquals(pair.receive(), [frame]);
  }
  const device = pair.link.device as Hypervisor;
  assertEquals(device.counters()["switch.count"], 3);
  assertEquals(device.counters()["control.replayed"], 3);
});

Deno.test("a device that leaves a control command unanswered stops the control queue", () => {
  const guest = new Guest();
  guest.device.kick_vq = () => {};
  const fault = assertThrows(() => guest.command(COMMANDS[0]!), RingFault);
  assertEquals([fault.ring, fault.code], ["ctrl", "control-unanswered"]);
});

Deno.test("a command that the device refuses when it is said again after a switch is a fault", () => {
  const guest = new Guest();
  guest.hypervisor.migration.record.add(Uint8Array.of(9, 8, 7));
  const fault = assertThrows(() => guest.hypervisor.migration.toggle(), RingFault);
  assertEquals([fault.ring, fault.code], ["ctrl", "control-replay"]);
  assertEquals(fault.values, { class: 9, cmd: 8 });
});
