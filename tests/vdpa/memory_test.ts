import { assert, assertEquals, assertThrows } from "@std/assert";
import { AddressSpace, READ, READ_WRITE } from "../../core/address_space.ts";
import { ManualClock } from "../../core/clock.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { Memory } from "../../core/memory.ts";
import { OptionError, OptionValues } from "../../core/options.ts";
import { openLink } from "../../core/plugin.ts";
import { DeviceSpace } from "../../plugins/vdpa/device_space.ts";
import { defaultGuestSize, GuestMemory } from "../../plugins/vdpa/guest_memory.ts";
import { IovaAllocator } from "../../plugins/vdpa/iova_allocator.ts";
import vdpa from "../../plugins/vdpa/mod.ts";
import { ProcessMemory } from "../../plugins/vdpa/process_memory.ts";
import { Translation } from "../../plugins/vdpa/translation.ts";

const GIB = 2 ** 30;

Deno.test("IovaAllocator gives whole pages one behind the other, and never page 0", () => {
  const allocator = new IovaAllocator(4096);
  assertEquals([1, 4096, 4097, 2 ** 40].map((size) => allocator.allocate(size)), [
    0x1000,
    0x2000,
    0x3000,
    0x5000,
  ]);
});

Deno.test("ProcessMemory.pin finds a piece in every section that a range touches, or nothing at all", () => {
  const process = new ProcessMemory();
  process.addSection(0x1000, 0x1000);
  process.addSection(0x2000, 0x1000);
  process.addSection(0x4000, 0x1000);
  const pieces = (address: bigint, size: bigint) =>
    process.pin(address, size)?.map(({ start, last }) => `${start.toString(16)}-${last.toString(16)}`);
  assertEquals(pieces(0x1800n, 0x1000n), ["1800-1fff", "2000-27ff"]);
  assertEquals(pieces(0x1000n, 0x1000n), ["1000-1fff"]);
  assertEquals(pieces(0x2800n, 0x2000n), undefined);
  assertEquals(pieces(0n, 1n), undefined);
  assertThrows(() => process.addSection(0x1fff, 2), RangeError, "EEXIST");
  const memory = new Memory(0x1000);
  process.back(0x1000, memory, 0, 0x800, READ);
  assertEquals(process.backing(0x17ff)?.memory, memory);
  assertEquals(process.backing(0x1800), undefined);
  assertThrows(() => process.back(0x17ff, memory, 0, 1, READ), RangeError, "0x17ff");
  assertThrows(() => process.back(0x2000, memory, 0x800, 0x801, READ), RangeError, "0x2000");
});

Deno.test("DeviceSpace shows the bytes of a mapping, as far as there are any, with what both sides allow", () => {
  const process = new ProcessMemory();
  const memory = new Memory(0x3000);
  process.addSection(0x10000, 0x10000);
  process.back(0x11000, memory, 0x1000, 0x1000, READ_WRITE);
  process.back(0x13000, memory, 0, 0x1000, READ);
  const space = new DeviceSpace(0, process);
  const shown = () =>
    space.space.regions.map(({ start, end, access }) =>
      `${start.toString(16)}-${end.toString(16)} ${access}`
    );
  space.map({ start: 0x800n, last: 0x37ffn, addr: 0x10800n, perm: 3 });
  assertEquals(shown(), ["1000-2000 3", "3000-3800 1"]);
  assertEquals(space.space.find(0x1000, READ)!.offsetOf(0x1000), 0x1000);
  space.map({ start: 0x8000n, last: 0x8fffn, addr: 0x11000n, perm: 2 });
  assertEquals(shown(), ["1000-2000 3", "3000-3800 1", "8000-9000 2"]);
  space.unmap(0x1234n, 0x1234n);
  assertEquals(shown(), ["8000-9000 2"]);
  space.map({ start: 2n ** 60n, last: 2n ** 60n + 0xfffn, addr: 0x11000n, perm: 3 });
  assertEquals([shown().length, space.table.entries.length], [1, 2]);
});

Deno.test("GuestMemory leaves a hole below 4 GiB, unless the guest uses what lies there", () => {
  const sections = (size: number, start: number) => {
    const space = new AddressSpace();
    space.map(start, new Memory(0x10000), 0, 0x10000, READ_WRITE);
    return new GuestMemory(size, space, new ProcessMemory()).sections.map(({ gpa, size }) => [gpa, size]);
  };
  assertEquals(sections(8 * GIB, 0), [[0, 2 * GIB], [4 * GIB, 6 * GIB]]);
  assertEquals(sections(1 * GIB, 0x10000), [[0, GIB]]);
  assertEquals(sections(8 * GIB, 4 * GIB - 0x8000), [[0, 8 * GIB]]);
  assertThrows(() => sections(4 * GIB, 8 * GIB), RangeError, "0x200000000..0x200010000");
});

Deno.test("defaultGuestSize reaches as far as the guest does", () => {
  const space = new AddressSpace();
  assertEquals(defaultGuestSize(space), 4 * GIB);
  space.map(5 * GIB, new Memory(1), 0, 1, READ);
  assertEquals(defaultGuestSize(space), 6 * GIB);
});

Deno.test("a guest that reaches too far is refused, and told so", () => {
  const space = new AddressSpace();
  const dma = new DmaMemory(space, new Memory(60 << 20), 0, 60 << 20, 0x1000);
  space.map(2 ** 48, new Memory(4096), 0, 4096, READ);
  assertThrows(
    () => openLink(vdpa, new OptionValues(vdpa.options), { dma, space, clock: new ManualClock() }),
    OptionError,
    "the guest uses 0x1000000000000..0x1000000001000, where it has none",
  );
});

Deno.test("Translation.window is for regions that one section holds whole", () => {
  const translation = new Translation([{ gpa: 0x1000, size: 0x1000, iova: 0x5000 }]);
  const space = new AddressSpace();
  const memory = new Memory(0x900);
  const { start, end, first, last, memory: shown } = translation.window(
    space.map(0x1800, memory, 0x100, 0x800, READ),
  )!;
  assertEquals([start, end, first, last], [0x5800, 0x6000, 0x100, 0x900]);
  assert(shown === memory);
  assertEquals(translation.window(space.map(0x2000, memory, 0, 0x800, READ)), undefined);
  space.clear();
  assertEquals(translation.window(space.map(0x1fff, memory, 0, 2, READ)), undefined);
});
