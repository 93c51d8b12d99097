import { assertEquals, assertThrows } from "@std/assert";
import { READ_WRITE } from "../../core/address_space.ts";
import { Memory } from "../../core/memory.ts";
import { closeDescriptor } from "../../host/libc.ts";
import { makeMemoryFile, MappedFile } from "../../host/mapped_file.ts";
import { MemoryTable } from "../../host/vhost_user/memory_table.ts";
import { ProtocolError } from "../../host/vhost_user/message.ts";
import { belongings, LINUX } from "./served.ts";

const GIB = 2 ** 30;

Deno.test({
  ...LINUX,
  name: "MemoryTable maps more memory than one array holds, in pieces that continue each other",
  fn() {
    const before = belongings();
    const fd = makeMemoryFile(20 * GIB);
    const place = { guest: 3 * GIB, user: 0x7f00_0000_0000, size: 18 * GIB, offset: GIB };
    const table = new MemoryTable();
    table.check(place);
    const pieces = MemoryTable.pieces(place);
    assertEquals(pieces.map(({ size }) => size / GIB), Array(18).fill(1));
    table.add(place, pieces.map(({ offset, size }) => new MappedFile(fd, offset, size)));
    const bytes = Uint8Array.from({ length: 100 }, (_, i) => i + 1);
    assertEquals(table.buffers.write(8 * GIB - 50, bytes), true);
    const back = new Uint8Array(100);
    assertEquals(table.rings.read(place.user + 5 * GIB - 50, back), true);
    assertEquals(back, bytes);
    {
      using file = new MappedFile(fd, 6 * GIB - 50, 100);
      assertEquals(file.memory.bytes.slice(file.offset, file.offset + 100), bytes);
    }
    assertEquals(table.buffers.find(21 * GIB - 1, READ_WRITE)?.end, 21 * GIB);
    assertEquals(table.buffers.find(21 * GIB, READ_WRITE), undefined);
    assertThrows(() => table.add({ ...place, guest: 20 * GIB }, []), ProtocolError, "overlap");
    table.remove(place);
    assertEquals([table.size, table.buffers.regions.length, table.rings.regions.length], [0, 0, 0]);
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
    table.add({ guest, user, size: 4096, offset: 0 }, [{
      memory: new Memory(4096),
      offset: 0,
      sealed: true,
      close: () => void closed.push(guest),
    }]);
  add(0x10000, 0x50000);
  add(0x11000, 0x51000);
  add(0xf000, 0x4f000);
  for (
    const [guest, user] of [[0x10ff0, 0x90000], [0x90000, 0x50ff0], [0xe010, 0x90000], [0x90000, 0x4e010]]
  ) {
    assertThrows(() => add(guest!, user!), ProtocolError, "overlap");
  }
  table.remove({ guest: 0x10000, user: 0x50000, size: 4096, offset: 0 });
  assertEquals([table.size, closed], [2, [0x10000]]);
  assertEquals(table.buffers.regions.map(({ start }) => start), [0xf000, 0x11000]);
  assertEquals(table.rings.regions.map(({ start }) => start), [0x4f000, 0x51000]);
});

Deno.test("MemoryTable cuts regions where guest addresses are whole gibibytes", () => {
  const place = { guest: GIB - 4096, user: 0x5000, size: GIB + 8192, offset: 0x3000 };
  assertEquals(MemoryTable.pieces(place), [
    { guest: GIB - 4096, user: 0x5000, size: 4096, offset: 0x3000 },
    { guest: GIB, user: 0x6000, size: GIB, offset: 0x4000 },
    { guest: 2 * GIB, user: 0x6000 + GIB, size: 4096, offset: 0x4000 + GIB },
  ]);
});
