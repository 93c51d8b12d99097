/**
 * The rules of shadow virtqueues and of the isolated control queue, one row each: what is done, and what it gives.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { featureNames } from "../../plugins/virtio/features.ts";
import { VHOST } from "../../plugins/vdpa/ioctls.ts";
import { MODELS, type VdpaModel } from "../../plugins/vdpa/models.ts";
import { INDIRECT, NEXT } from "./hand_ring.ts";
import { Bench, SIZE } from "./hypervisor_bench.ts";

type Row = readonly [rule: string, expected: string, run: () => string];

const { mlx5, sim, plain } = MODELS;
/** A device that suspends but cannot tell descriptor tables from buffers. */
const whole = { descGroup: false };
const KIB = 1024;

/** A bench with one switch made. */
function switched(model: VdpaModel = mlx5, options: ConstructorParameters<typeof Bench>[1] = {}): Bench {
  const bench = new Bench(model, options);
  bench.toggle();
  return bench;
}

/** What a space of the device maps: from, to, size in KiB and permission of each entry. */
function map(bench: Bench, asid: number): string {
  return bench.device.space(asid).table.entries.map(({ start, last, perm }) =>
    `${start.toString(16)}+${(last - start + 1n) / BigInt(KIB)}K:${perm}`
  ).join(" ");
}

/** Spaces of rings and buffers of each queue. */
function spaces(bench: Bench): string {
  const asid = (space: unknown) => [0, 1].find((number) => bench.device.space(number).space === space);
  return bench.device.net.queues.map(({ rings, buffers }) => `${asid(rings)}${asid(buffers)}`).join(" ");
}

/** Those steps of a switch that begin with a word. */
function steps(trace: readonly string[], ...words: readonly string[]): string {
  return trace.filter((step) => words.some((word) => step.startsWith(word))).join(", ");
}

/** Addresses that the device finds in the first descriptor of the shadow ring of queue 1. */
function relayed(bench: Bench): string {
  bench.send(1);
  const { rings, areas } = bench.device.net.queues[1]!;
  const desc = new Uint8Array(8);
  rings.read(areas.desc, desc);
  return new DataView(desc.buffer).getBigUint64(0, true).toString(16);
}

/** The guest offers a chain as an indirect table of so many buffers. */
function offerTable(bench: Bench, head: number, buffers: number): void {
  const base = bench.host.dma.region.start;
  const at = 0x200000 + 0x1000 * head;
  const ring = bench.rings[1]!;
  for (let i = 0; i < buffers; i++) {
    const next = i < buffers - 1 ? NEXT : 0;
    ring.describe(at + 16 * i, base + 0x100000, 20, next, i + 1);
  }
  ring.descriptor(head, base + at, 16 * buffers, INDIRECT);
  ring.offer(head);
}

function fault(work: () => unknown): string {
  const { half, code } = assertThrows(work, RingFault);
  return `${half} ${code}`;
}

const wire = { transmit: () => true, drop: () => {} };
const control = { queues: 3 };
/** Entries of a ring of 8 are small: whole pages all the same, driver area to read, device area to write. */
const RING = (at: number) => `${at.toString(16)}+4K:1 ${(at + 0x1000).toString(16)}+4K:3`;

const shadow: Row[] = [
  [
    "each shadow ring has two areas of whole pages: one that the device reads, one that it writes",
    `${RING(0x5000)} ${RING(0x7000)}`,
    () => map(switched(), 1).split(" ").slice(4).join(" "),
  ],
  [
    "of the ring's features it keeps EVENT_IDX only, and needs VERSION_1 and ACCESS_PLATFORM",
    "ACCESS_PLATFORM EVENT_IDX VERSION_1",
    () =>
      featureNames(switched().device.get_driver_features() & (1n << 42n) - (1n << 28n)).toSorted().join(" "),
  ],
  [
    "the guest is not offered ACCESS_PLATFORM: there is no IOMMU of its own",
    "false",
    () => String(featureNames(new Bench(mlx5).hypervisor.getFeatures()).includes("ACCESS_PLATFORM")),
  ],
  ["a shadow ring begins at 0, wherever the guest's is", "0:0, 1:0", () => {
    const bench = new Bench(mlx5);
    bench.send(3);
    return steps(bench.toggle(), "SET_VRING_BASE 0", "SET_VRING_BASE 1").replaceAll("SET_VRING_BASE ", "");
  }],
  ["it begins at 0 each time", "1:0", () => {
    const bench = switched();
    bench.send(2);
    bench.toggle();
    return steps(bench.toggle(), "SET_VRING_BASE 1").replaceAll("SET_VRING_BASE ", "");
  }],
  ["the guest's position is what was taken for the guest, not what the device says", "1:5", () => {
    const bench = new Bench(mlx5);
    bench.send(3);
    bench.toggle();
    bench.send(2);
    return steps(bench.toggle(), "GET_VRING_BASE 1", "SET_VRING_BASE 1").replaceAll("SET_VRING_BASE ", "");
  }],
  ["what was not used goes back into the guest's ring, and is taken again", "0 2 3", () => {
    const bench = switched();
    const base = bench.host.dma.region.start;
    for (let head = 0; head < 3; head++) {
      bench.rings[1]!.descriptor(head, base + 0x100000, 13);
      bench.rings[1]!.offer(head);
    }
    bench.hypervisor.kick(1);
    let taken = 0;
    bench.hypervisor.service({ transmit: () => taken++ === 0, drop: () => {} });
    const { "shadow.rewound": before } = bench.hypervisor.counters();
    bench.toggle();
    const { "shadow.rewound": rewound } = bench.hypervisor.counters();
    bench.hypervisor.service(wire);
    return `${before} ${rewound} ${bench.rings[1]!.usedIndex}`;
  }],
  ["a chain that finds too few descriptors is parked, and goes on when some come back", "1 2", () => {
    const bench = switched();
    for (const head of [0, 1]) offerTable(bench, head, SIZE - 1);
    bench.hypervisor.kick(1);
    const parked = bench.hypervisor.counters()["shadow.parked"];
    bench.hypervisor.service(wire);
    bench.hypervisor.service(wire);
    return `${parked} ${bench.rings[1]!.usedIndex}`;
  }],
  ["until then the guest is not asked for kicks", "0 2", () => {
    const bench = switched();
    const ring = bench.rings[1]!;
    const availEvent = () => bench.host.memory.view.getUint16(ring.used + 4 + 8 * SIZE, true);
    for (const head of [0, 1]) offerTable(bench, head, SIZE - 1);
    bench.hypervisor.kick(1);
    const before = availEvent();
    bench.hypervisor.service(wire);
    bench.hypervisor.service(wire);
    return `${before} ${availEvent()}`;
  }],
  [
    "what was used out of order cannot be put back: the switch fails, and whoever asks hears of it",
    "device shadow-out-of-order 64",
    () => {
      const bench = new Bench(mlx5, {}, false, 0, [0, 1]);
      const { hypervisor, rings, host, file } = bench;
      for (let head = 0; head < 3; head++) {
        rings[1]!.descriptor(head, host.dma.region.start + 0x100000, 13);
        rings[1]!.offer(head);
      }
      hypervisor.kick(1);
      const ioctl = file.ioctl.bind(file);
      file.ioctl = (request, argument) => {
        // The second chain is still with the device when it says that it is done with the third.
        if (request === VHOST.VDPA_SUSPEND && hypervisor.migration.path === "split") use(bench, 2, 0, 2, 1);
        return ioctl(request, argument);
      };
      const first = fault(() => hypervisor.service(wire));
      assertEquals(fault(() => hypervisor.service(wire)), first);
      return `${first} ${hypervisor.getStatus() & 64}`;
    },
  ],
  ...["with", "without"].map((how): Row => [
    `a buffer over another queue's ring is found, ${how} a shadow`,
    "device buffer-overlaps-ring",
    () => {
      const bench = how === "with" ? switched() : new Bench(mlx5);
      const [rx, tx] = bench.rings;
      tx!.descriptor(0, bench.host.dma.region.start + rx!.avail, 13);
      tx!.offer(0);
      bench.hypervisor.kick(1);
      return fault(() => bench.hypervisor.service(wire));
    },
  ]),
  ["rings that a guest had before a reset under a shadow are in no buffer's way", "1", () => {
    const bench = switched();
    const { hypervisor, rings, host } = bench;
    // Without the control queue, whose ring was at 0x8000.
    bench.start(2);
    bench.toggle();
    rings[1]!.descriptor(0, host.dma.region.start + 0x8000, 13);
    rings[1]!.offer(0);
    hypervisor.kick(1);
    return `${hypervisor.service(wire)}`;
  }],
  ["a guest that resets its device after a fault can start again", "driver used-id-out-of-range 64 2", () => {
    const bench = switched();
    const { hypervisor, rings, host } = bench;
    rings[1]!.descriptor(0, host.dma.region.start + 0x100000, 13);
    rings[1]!.offer(0);
    hypervisor.kick(1);
    use(bench, SIZE, 0, 1);
    bench.device.net.interrupt(1);
    const seen = fault(() => hypervisor.service({ transmit: () => false, drop: () => {} }));
    const needs = hypervisor.getStatus() & 64;
    host.memory.bytes.fill(0, 0, 0x20000);
    bench.start();
    return `${seen} ${needs} ${bench.send(2)}`;
  }],
  ...([
    ["an id that is no descriptor's", "used-id-out-of-range", (bench: Bench) => use(bench, SIZE, 0, 1)],
    ["an id that is not out", "used-id-not-outstanding", (bench: Bench) => use(bench, 3, 0, 1)],
    ["more used elements than chains are out", "used-idx-jump", (bench: Bench) => use(bench, 0, 0, 2)],
    ["more bytes than were to be written", "used-length", (bench: Bench) => use(bench, 0, 1, 1)],
  ] as const).map(([what, code, spoil]): Row => [
    `a shadow queue refuses ${what}`,
    `driver ${code}`,
    () => {
      const bench = switched();
      const ring = bench.rings[1]!;
      ring.descriptor(0, bench.host.dma.region.start + 0x100000, 13);
      ring.offer(0);
      bench.hypervisor.kick(1);
      spoil(bench);
      bench.device.net.interrupt(1);
      return fault(() => bench.hypervisor.service({ transmit: () => false, drop: () => {} }));
    },
  ]),
];

/** Writes a used element into the shadow ring of queue 1, as only a device that keeps to no rule does. */
function use(bench: Bench, id: number, length: number, idx: number, slot = 0): void {
  const { rings, areas } = bench.device.net.queues[1]!;
  rings.write(areas.device + 2, new Uint8Array(new Uint16Array([idx]).buffer));
  rings.write(areas.device + 4 + 8 * slot, new Uint8Array(new Uint32Array([id, length]).buffer));
}

const RAM = "0+2097152K:3 100000000+2097152K:3";
const MOVED = "1000+2097152K:3 80001000+2097152K:3";

const switching: Row[] = [
  [
    "without descriptor groups: SUSPEND, positions, reset, then all of the guest's memory goes and comes elsewhere",
    "SUSPEND, GET_VRING_BASE 0:0, GET_VRING_BASE 1:0, SET_STATUS 0, UNMAP 0, UNMAP 0",
    () => steps(new Bench(mlx5, whole).toggle(), "SUSPEND", "GET_VRING", "SET_STATUS 0", "UNMAP 0"),
  ],
  [
    "it is mapped at addresses given out afresh, behind it two regions per ring and two command pages, all in space 0",
    `${MOVED} ` + [0x100001000, 0x100003000].map((at) => at.toString(16)).join(" "),
    () => {
      const entries = map(switched(mlx5, whole), 0).split(" ");
      return [...entries.slice(0, 2), ...entries.slice(2).filter((_, i) => i === 0 || i === 2)]
        .map((entry, i) => i < 2 ? entry : entry.split("+")[0]).join(" ");
    },
  ],
  ["these are ten regions", "10 0", () => {
    const bench = switched(mlx5, whole);
    return [0, 1].map((asid) => bench.device.space(asid).table.entries.length).join(" ");
  }],
  ["every queue uses space 0 then", "00 00 00", () => spaces(switched(mlx5, whole))],
  ["every descriptor's address is translated", "10101000", () => relayed(switched(mlx5, whole))],
  ["switching back maps all of it anew once more", `${RAM} -`, () => {
    const bench = switched(mlx5, whole);
    bench.toggle();
    return `${map(bench, 0)} ${steps(bench.file.trace, "SET_GROUP_ASID 2") || "-"}`;
  }],
  ["with descriptor groups and persistent mappings the guest's memory stays where it is", `${RAM} -`, () => {
    const bench = new Bench(mlx5);
    const trace = bench.toggle();
    return `${map(bench, 0)} ${steps(trace, "MAP 0", "UNMAP 0") || "-"}`;
  }],
  [
    "without persistence it is unmapped and mapped again all the same",
    "UNMAP 0, UNMAP 0, MAP 0, MAP 0",
    () => steps(new Bench(mlx5, { persist: false }).toggle(), "MAP 0", "UNMAP 0"),
  ],
  [
    "after the reset the descriptor group is bound to space 1",
    "SET_STATUS 0, SET_GROUP_ASID 2:1",
    () => steps(new Bench(mlx5).toggle(), "SET_STATUS 0", "SET_GROUP_ASID 2"),
  ],
  [
    "a descriptor group that cannot be bound is of no use: everything is shadowed in space 0",
    "00 00 00",
    () => spaces(switched({ ...mlx5, groups: 5, descGroup: (idx) => idx === 2 ? 1 : 4 })),
  ],
  [
    "nor is one that buffers share",
    "00 00 00",
    () => spaces(switched({ ...mlx5, descGroup: (idx) => idx === 2 ? 1 : 0 })),
  ],
  [
    "nor any beside a control queue that is not isolated",
    "00 00 00",
    () => spaces(switched({ ...mlx5, vqGroup: () => 0, descGroup: () => 2 })),
  ],
  ["only rings move to it, buffers do not", "10 10 11", () => spaces(switched())],
  [
    "two regions per data queue are mapped",
    "MAP 1, MAP 1, MAP 1, MAP 1",
    () => steps(new Bench(mlx5).toggle(), "MAP"),
  ],
  ["descriptors carry the guest's addresses", "10100000", () => relayed(switched())],
  [
    "leaving unmaps these regions",
    "UNMAP 1, UNMAP 1, UNMAP 1, UNMAP 1",
    () => steps(switched().toggle(), "MAP", "UNMAP"),
  ],
  ["and the reset alone brings the rings back to space 0", "00 00 11 -", () => {
    const bench = switched();
    return (bench.toggle(), `${spaces(bench)} ${steps(bench.file.trace, "SET_GROUP_ASID 2") || "-"}`);
  }],
];

const isolated: Row[] = [
  ["groups are read with FEATURES_OK, and then the device is reset", "11 G G D D G D 0", () => {
    const { trace } = new Bench(mlx5).file;
    const asked = trace.slice(0, trace.indexOf("SET_STATUS 0") + 1);
    const short = asked.map((step) =>
      step.replace(/^SET_STATUS (11|0)$/, "$1").replace("GET_VRING_GROUP", "G").replace(
        "GET_VRING_DESC_GROUP",
        "D",
      )
    );
    return short.filter((step) => /^(11|0|G|D)$/.test(step)).join(" ");
  }],
  [
    "a control queue in a group of its own is bound to space 1 with all that belongs to it",
    "00 00 11",
    () => spaces(new Bench(sim)),
  ],
  [
    "it is shadowed, data queues pass through",
    "2",
    () =>
      new Bench(sim).hypervisor.migration.shadows.flatMap((queue, index) => queue ? [index] : []).join(" "),
  ],
  [
    "space 1 has its ring's areas, a command page to read and a page for the ack to write",
    `${RING(0x1000)} 3000+4K:1 4000+4K:3`,
    () => map(new Bench(mlx5), 1),
  ],
  [
    "in the group of data queues it is not isolated",
    "00 00 00",
    () => spaces(new Bench({ ...sim, vqGroup: () => 0 })),
  ],
  [
    "nor in the group of their rings",
    "00 00 00",
    () => spaces(new Bench({ ...mlx5, vqGroup: (idx) => idx === 2 ? 2 : 0 })),
  ],
  ["nor with its rings in that group", "00 00 00", () => spaces(new Bench({ ...mlx5, descGroup: () => 2 }))],
  [
    "nor in a group that cannot be bound",
    "00 00 00",
    () => spaces(new Bench({ ...sim, groups: 4, vqGroup: (idx) => idx === 2 ? 3 : 0 })),
  ],
  [
    "its rings may have a group of their own",
    "00 00 11",
    () =>
      spaces(new Bench({ ...mlx5, groups: 5, descGroup: (idx) => idx === 4 ? 3 : 2 }, { queues: 5 })).slice(
        -8,
      ),
  ],
  ["nor with one space", "00 00 00", () => spaces(new Bench(sim, { asids: 1 }))],
  [
    "then it passes through with the data queues",
    "",
    () => new Bench(sim, { asids: 1 }).hypervisor.migration.shadows.flatMap((_, index) => [index]).join(" "),
  ],
  [
    "or is shadowed with them",
    "0 1 2",
    () => [...new Bench(plain, control, true).hypervisor.migration.shadows.keys()].join(" "),
  ],
  [
    "and a switch is blocked",
    "false true",
    () => `${new Bench(plain, control).hypervisor.canSwitch} ${new Bench(sim).hypervisor.canSwitch}`,
  ],
  [
    "a device without a control queue can be switched",
    "true",
    () => String(new Bench(plain, { queues: 2 }).hypervisor.canSwitch),
  ],
];

const TABLES: Readonly<Record<string, readonly Row[]>> = {
  "shadow virtqueue (3.8)": shadow,
  "switch (3.8)": switching,
  "isolated control queue (3.9)": isolated,
};

for (const [table, rows] of Object.entries(TABLES)) {
  for (const [rule, expected, run] of rows) {
    Deno.test(`hypervisor, ${table}: ${rule}`, () => {
      assertEquals(run(), expected);
    });
  }
}
