import { assertEquals, assertThrows } from "@std/assert";
import { RingFault } from "../../core/fault.ts";
import { RingPair } from "../../core/ring_pair.ts";
import { VDPA_DEVICE_FAULTS, VDPA_FAULTS, VDPA_GUEST_FAULTS } from "../../plugins/vdpa/faults.ts";
import vdpa from "../../plugins/vdpa/mod.ts";
import { MODELS } from "../../plugins/vdpa/models.ts";
import { DEVICE_FAULTS, DRIVER_FAULTS } from "../../plugins/virtio/faults.ts";

Deno.test("vdpa documents exactly the counters that it has, whatever the device", () => {
  const documented = vdpa.counters.map(({ name }) => name).sort();
  assertEquals(new Set(documented).size, documented.length);
  for (const device of Object.keys(MODELS)) {
    for (const mode of ["passthrough", "shadow", "switch@0"]) {
      const pair = new RingPair(vdpa, { device, mode });
      assertEquals(Object.keys(pair.counters()).sort(), documented, `${device} ${mode}`);
    }
  }
});

Deno.test("vdpa documents every fault code once, those of the rings included", () => {
  const codes = VDPA_FAULTS.map(({ half, code }) => `${half} ${code}`);
  assertEquals(new Set(codes).size, codes.length);
  const all = [
    ...Object.keys({ ...VDPA_DEVICE_FAULTS, ...VDPA_GUEST_FAULTS, ...DEVICE_FAULTS }).map((code) =>
      `device ${code}`
    ),
    ...Object.keys(DRIVER_FAULTS).map((code) => `driver ${code}`),
  ];
  assertEquals(codes.toSorted(), all.toSorted());
  assertEquals(vdpa.faults, VDPA_FAULTS);
});

Deno.test("vdpa shows its state as plain data", () => {
  const pair = new RingPair(vdpa, { mode: "shadow" });
  const state = JSON.parse(JSON.stringify(pair.link.device.inspect()));
  assertEquals(state.hypervisor.path, "split");
  assertEquals(state.hypervisor.shadowed, [0, 1, 2]);
  assertEquals(state.device.groups, [{ group: 0, asid: 0 }, { group: 1, asid: 1 }, { group: 2, asid: 1 }]);
  assertEquals(state.device.spaces.map(({ asid, entries }: Record<string, number>) => [asid, entries]), [
    [0, 2],
    [1, 8],
  ]);
});

Deno.test("vdpa reports what was derived among the options", () => {
  const pair = new RingPair(vdpa, { device: "vduse", queues: 5 });
  const { queues, groups, asids, "guest-memory": memory, "rx-buffer": buffer } = pair.options.toJSON();
  assertEquals([queues, groups, asids, memory, buffer], [5, 2, 2, 4 * 2 ** 30, 2048]);
});

Deno.test("vdpa raises a guest's fault when the device works, not when the guest rings, and again ever after", () => {
  const pair = new RingPair(vdpa, { mode: "shadow" });
  pair.transmit(new Uint8Array(60));
  const queues = pair.link.driver.inspect().queues as { name: string; areas: { driver: number } }[];
  const { driver } = queues.find(({ name }) => name === "tx0")!.areas;
  const { region, memory } = pair.host.dma;
  memory.view.setUint16(region.offsetOf(driver) + 2, 999, true);
  const kick = () => (pair.link.device as unknown as { kick(index: number): void }).kick(1);
  kick();
  const first = assertThrows(() => pair.service(), RingFault);
  assertEquals([first.ring, first.code], ["tx0", "avail-idx-jump"]);
  assertEquals(assertThrows(() => pair.service(), RingFault), first);
});
