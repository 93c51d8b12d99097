/**
 * The steps of a switch, in the order in which a kernel sees them.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { featureMask, featureNames } from "../../plugins/virtio/features.ts";
import { MODELS } from "../../plugins/vdpa/models.ts";
import { HandRing } from "./hand_ring.ts";
import { Bench, FEATURES, SIZE } from "./hypervisor_bench.ts";

Deno.test("a switch suspends, notes positions, resets, rebinds, maps, sets positions and runs, in this order", () => {
  const bench = new Bench(MODELS.mlx5);
  assertEquals(bench.send(3), 3);
  assertEquals(bench.toggle(), [
    "SUSPEND",
    "GET_VRING_BASE 0:0",
    "GET_VRING_BASE 1:3",
    "SET_STATUS 0",
    "SET_STATUS 1",
    "SET_STATUS 3",
    "SET_FEATURES",
    "SET_STATUS 11",
    "SET_GROUP_ASID 2:1",
    "SET_GROUP_ASID 1:1",
    "BEGIN 1",
    "MAP 1",
    "MAP 1",
    "MAP 1",
    "MAP 1",
    "END 1",
    "SET_VRING_BASE 0:0",
    "SET_VRING_BASE 1:0",
    "SET_VRING_BASE 2:0",
    "SET_VRING_ENABLE 2:1",
    "SET_STATUS 15",
    "SET_VRING_ENABLE 0:1",
    "SET_VRING_ENABLE 1:1",
  ]);
  assertEquals(bench.send(2), 2);
  assertEquals(bench.toggle(), [
    "SUSPEND",
    "SET_STATUS 0",
    "SET_STATUS 1",
    "SET_STATUS 3",
    "SET_FEATURES",
    "SET_STATUS 11",
    "SET_GROUP_ASID 1:1",
    "BEGIN 1",
    "UNMAP 1",
    "UNMAP 1",
    "UNMAP 1",
    "UNMAP 1",
    "END 1",
    "SET_VRING_BASE 0:0",
    "SET_VRING_BASE 1:5",
    "SET_VRING_BASE 2:0",
    "SET_VRING_ENABLE 2:1",
    "SET_STATUS 15",
    "SET_VRING_ENABLE 0:1",
    "SET_VRING_ENABLE 1:1",
  ]);
  assertEquals(bench.send(1), 1);
});

Deno.test("groups are asked for with features negotiated, and the device is reset before it is used", () => {
  const { trace } = new Bench(MODELS.mlx5).file;
  const asked = trace.slice(0, trace.indexOf("SET_STATUS 0") + 1).filter((step) =>
    !/^GET_(STATUS|.*FEAT)/.test(step)
  );
  assertEquals(asked, [
    "SET_OWNER",
    "SET_BACKEND_FEATURES",
    "SET_STATUS 1",
    "SET_STATUS 3",
    "SET_FEATURES",
    "SET_STATUS 11",
    "GET_VQS_COUNT",
    "GET_AS_NUM",
    "GET_VRING_GROUP",
    "GET_VRING_GROUP",
    "GET_VRING_DESC_GROUP",
    "GET_VRING_DESC_GROUP",
    "GET_VRING_GROUP",
    "GET_VRING_DESC_GROUP",
    "SET_STATUS 0",
  ]);
});

Deno.test("a device that cannot be suspended is reset at once, and what it used is what it took", () => {
  const bench = new Bench(MODELS.plain, { queues: 2 });
  bench.send(3);
  const trace = bench.toggle();
  assertEquals(trace.slice(0, 2), ["SET_STATUS 0", "SET_STATUS 1"]);
  assertEquals(trace.filter((step) => step.startsWith("SET_STATUS 0")).length, 1);
  assertEquals(trace.filter((step) => step.startsWith("GET_VRING_BASE")), []);
  assertEquals(bench.toggle().filter((step) => step.startsWith("SET_VRING_BASE")), [
    "SET_VRING_BASE 0:0",
    "SET_VRING_BASE 1:3",
  ]);
});

Deno.test("data queues that cannot be enabled late are enabled before DRIVER_OK", () => {
  const trace = new Bench(MODELS.vduse).toggle();
  assertEquals(trace.slice(trace.indexOf("SET_VRING_ENABLE 2:1")), [
    "SET_VRING_ENABLE 2:1",
    "SET_VRING_ENABLE 0:1",
    "SET_VRING_ENABLE 1:1",
    "SET_STATUS 15",
  ]);
});

Deno.test("a shadow ring keeps EVENT_IDX of the ring's features, and needs VERSION_1 and ACCESS_PLATFORM", () => {
  const bench = new Bench(MODELS.mlx5);
  const names = () => featureNames(bench.device.get_driver_features()).sort();
  const all = [...FEATURES, "ACCESS_PLATFORM"].sort();
  assertEquals(names(), all);
  bench.toggle();
  assertEquals(names(), all.filter((name) => name !== "INDIRECT_DESC"));
  bench.toggle();
  assertEquals(names(), all);
});

Deno.test("without a descriptor group the guest's memory moves to other addresses, and everything is in space 0", () => {
  const bench = new Bench(MODELS.mlx5, { descGroup: false });
  const before = bench.device.space(0).table.entries.map(({ start }) => start);
  const trace = bench.toggle();
  assertEquals(trace.filter((step) => step.startsWith("SET_GROUP_ASID")), []);
  const after = bench.device.space(0).table.entries.map(({ start }) => start);
  assertEquals(before, [0n, 2n ** 32n]);
  assertEquals(after.slice(0, 2), [0x1000n, 0x80001000n]);
  // Guest memory, two regions for each of three rings, two command pages.
  assertEquals(after.length, 2 + 3 * 2 + 2);
  assertEquals(bench.device.space(1).table.entries.length, 0);
  assertEquals(bench.send(2), 2);
});

Deno.test("with a descriptor group the guest's memory stays, and shadow rings have space 1", () => {
  const bench = new Bench(MODELS.mlx5);
  bench.toggle();
  assertEquals(bench.device.space(0).table.entries.map(({ start }) => start), [0n, 2n ** 32n]);
  assertEquals(bench.device.space(1).table.entries.map(({ perm }) => perm), [1, 3, 1, 3, 1, 3, 1, 3]);
  const { rings, buffers } = bench.device.net.queues[1]!;
  assert(rings === bench.device.space(1).space && buffers === bench.device.space(0).space);
});

Deno.test("a guest that resets its device leaves nothing mapped, and can start again", () => {
  const bench = new Bench(MODELS.mlx5);
  bench.toggle();
  bench.hypervisor.setStatus(0);
  assertEquals(bench.file.tables.table(0)!.entries.length + bench.file.tables.table(1)!.entries.length, 0);
  assertEquals(bench.hypervisor.getStatus(), 0);
  bench.hypervisor.setStatus(3);
  bench.hypervisor.setFeatures(featureMask("VERSION_1", "MRG_RXBUF"));
  bench.hypervisor.setStatus(11);
  const base = bench.host.dma.region.start;
  for (const index of [0, 1]) {
    bench.rings[index] = new HandRing(bench.host.memory, 0x80000 + 0x4000 * index, SIZE);
    bench.hypervisor.startQueue(index, SIZE, bench.rings[index]!.areas(base));
  }
  bench.hypervisor.setStatus(15);
  assertEquals(bench.send(2), 2);
});

Deno.test("a guest hears that its features are not accepted", () => {
  const bench = new Bench(MODELS.mlx5);
  for (
    const features of [
      featureMask("MRG_RXBUF"),
      featureMask("VERSION_1", "MQ"),
      featureMask("VERSION_1", "IN_ORDER"),
    ]
  ) {
    bench.hypervisor.setStatus(0);
    bench.hypervisor.setStatus(3);
    bench.hypervisor.setFeatures(features);
    bench.hypervisor.setStatus(11);
    assertEquals(bench.hypervisor.getStatus(), 3);
  }
});

Deno.test("a guest whose rings are not aligned, or not in its memory, is told to reset, and the device says why", () => {
  const wire = { transmit: () => true, drop: () => {} };
  for (
    const [offset, shadow, code] of [
      [2, false, "queue-refused"],
      [8, false, "misaligned-ring"],
      [8, true, "misaligned-ring"],
      [2 ** 40, true, "bad-ring-address"],
      [2 ** 40, false, "iova-unmapped"],
    ] as const
  ) {
    const bench = new Bench(MODELS.plain, { queues: 2 }, shadow, offset);
    assertEquals(bench.hypervisor.getStatus() & 64, 64);
    assertEquals(assertThrows(() => bench.hypervisor.service(wire), RingFault).code, code);
  }
});
