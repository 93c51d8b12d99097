import { assertEquals, assertThrows } from "@std/assert";
import { type AddressSpace, READ_WRITE } from "../../core/address_space.ts";
import { Memory } from "../../core/memory.ts";
import { closeDescriptor } from "../../host/libc.ts";
import { makeMemoryFile, MappedFile } from "../../host/mapped_file.ts";
import { MemoryTable } from "../../host/vhost_user/memory_table.ts";
import { ProtocolError, type RegionPlace } from "../../host/vhost_user/message.ts";
import { belongings, LINUX } from "./served.ts";

const GIB = 2 ** 30;
const TIB = 2 ** 40;

Deno.test({
  ...LINUX,
  name: "MemoryTable maps more memory than one array holds, in pieces that continue each other",
  fn() {
    const before = belongings();
    const fd = makeMemoryFile(20 * GIB);
    const place = { guest: 3 * GIB, user: 0x7f00_0000_0000, size: 18 * GIB, offset: GIB };
    const table = new MemoryTable();
    table.check(place);
    table.add(place, new MappedFile(fd, place.offset, place.size));
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i + 1);
    assertEquals(table.buffers.write(8 * GIB - 50, bytes), true);
    const back = new Uint8Array(100);
    assertEquals(table.rings.read(place.user + 5 * GIB - 50, back), true);
    assertEquals(back, bytes);
    {
      using file = new MappedFile(fd, 6 * GIB - 50, 100);
      const { memory, offset } = file.part();
      assertEquals(memory.bytes.slice(offset, offset + 100), bytes);
    }
    assertEquals(table.buffers.find(21 * GIB - 1, READ_WRITE)?.end, 21 * GIB);
    assertEquals(table.buffers.find(21 * GIB, READ_WRITE), undefined);
    table.remove(place);
    assertEquals([table.size, table.buffers.regions.length, table.rings.regions.length], [0, 0, 0]);
    assertEquals(table.buffers.find(8 * GIB, READ_WRITE), undefined);
    closeDescriptor(fd);
    assertEquals(belongings(), before);
  },
});

Deno.test("MemoryTable refuses regions beyond all reason", () => {
  const table = new MemoryTable();
  const place = { guest: 0, user: 0, size: 2 ** 42, offset: 0 };
  table.check(place);
  assertThrows(() => table.check({ ...place, size: 2 ** 42 + 16 }), ProtocolError, "too large");
  const small = { guest: 0, user: 0, size: 4096, offset: 0 };
  table.check(small);
  for (const name of ["guest", "user", "offset"] as const) {
    for (const start of [Infinity, Number.MAX_SAFE_INTEGER - 15]) {
      assertThrows(() => table.check({ ...small, [name]: start }), ProtocolError, "too large");
    }
  }
  assertThrows(() => table.check({ ...small, size: 0 }), ProtocolError, "empty");
});

Deno.test("MemoryTable wants addresses and bytes to agree modulo the alignment of a ring part", () => {
  const table = new MemoryTable();
  const check = (guest: number, user: number, offset: number) =>
    table.check({ guest, user, offset, size: 64 });
  check(0x1008, 0x2018, 8);
  for (const [guest, user, offset] of [[8, 8, 0], [0, 8, 0], [8, 0, 0], [0, 0, 8], [4, 12, 12]] as const) {
    assertThrows(() => check(guest, user, offset), ProtocolError, "not aligned");
  }
});

Deno.test("MemoryTable takes regions side by side, refuses overlaps by either address, and removes one alone", () => {
  const table = new MemoryTable();
  const closed: number[] = [];
  const add = (guest: number, user: number) =>
    table.add({ guest, user, size: 4096, offset: 0 }, {
      sealed: true,
      part: (offset, size) => ({ memory: new Memory(size), offset }),
      close: () => void closed.push(guest),
    });
  add(0x10000, 0x50000);
  add(0x11000, 0x51000);
  add(0xf000, 0x4f000);
  for (
    const [guest, user] of [[0x10ff0, 0x90000], [0x90000, 0x50ff0], [0xe010, 0x90000], [0x90000, 0x4e010]]
  ) {
    assertThrows(() => add(guest!, user!), ProtocolError, "overlap");
  }
  const bytes = new Uint8Array(3 * 4096);
  assertEquals([table.buffers.read(0xf000, bytes), table.rings.read(0x4f000, bytes)], [true, true]);
  table.remove({ guest: 0x10000, user: 0x50000, size: 4096, offset: 0 });
  assertEquals([table.size, closed], [2, [0x10000]]);
  assertEquals(table.buffers.regions.map(({ start }) => start), [0xf000, 0x11000]);
  assertEquals(table.rings.regions.map(({ start }) => start), [0x4f000, 0x51000]);
});

Deno.test({
  ...LINUX,
  name:
    "MemoryTable looks at regions in pieces up to whole gibibytes of the guest, and only where it is used",
  fn() {
    const looks: unknown[] = [];
    const fd = makeMemoryFile(4 * TIB);
    const add = (place: RegionPlace) => {
      const file = new MappedFile(fd, place.offset, place.size);
      table.add(place, {
        sealed: file.sealed,
        part(offset, size) {
          looks.push([offset, size]);
          return file.part(offset, size);
        },
        close: () => file.close(),
      });
    };
    const table = new MemoryTable();
    const shown = ({ regions }: AddressSpace) => regions.map(({ start, end }) => [start, end - start]);

    add({ guest: GIB - 4096, user: 0x5000, size: GIB + 8192, offset: 0x3000 });
    add({ guest: 4 * GIB, user: TIB, size: 4 * TIB - 8 * GIB, offset: 0 });
    assertEquals([shown(table.buffers), shown(table.rings), looks], [[], [], []]);

    const [low, middle, high] = [[0, 4096], [4096, GIB], [4096 + GIB, 4096]];
    for (const address of [GIB - 4097, 2 * GIB + 4096, 4 * TIB - 4 * GIB]) {
      assertEquals(table.buffers.find(address, READ_WRITE), undefined);
    }
    for (const address of [0x4fff, 0x5000 + GIB + 8192, 5 * TIB, 0.5, -1, Infinity, NaN]) {
      assertEquals(table.rings.find(address, READ_WRITE), undefined);
    }
    assertEquals(looks, []);
    assertEquals(table.buffers.find(2 * GIB - 1, READ_WRITE)?.start, GIB);
    assertEquals(table.buffers.find(2 * GIB, READ_WRITE)?.start, 2 * GIB);
    assertEquals(table.rings.find(0x5fff, READ_WRITE)?.end, 0x6000);
    assertEquals(looks, [middle, high, low]);
    // What was looked at by one address is not looked at again by the other.
    const piece = table.rings.find(0x6000 + GIB - 1, READ_WRITE)!;
    assertEquals(piece.memory, table.buffers.find(GIB, READ_WRITE)?.memory);
    assertEquals(looks.length, 3);
    assertEquals(shown(table.rings), [[0x5000, 4096], [0x6000, GIB]]);
    assertEquals(shown(table.buffers), [[GIB, GIB], [2 * GIB, 4096]]);

    assertEquals(table.buffers.find(3 * TIB + 5, READ_WRITE)?.start, 3 * TIB);
    assertEquals(looks.at(-1), [3 * TIB - 4 * GIB, GIB]);
    table.clear();
    assertEquals(table.buffers.find(3 * TIB + 5, READ_WRITE), undefined);
    closeDescriptor(fd);
  },
});
