import { assertEquals, assertThrows } from "@std/assert";
import { READ_WRITE } from "../../core/address_space.ts";
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
  assertThrows(() => table.check({ ...place, guest: Infinity }), ProtocolError, "too large");
});

Deno.test("MemoryTable cuts regions where guest addresses are whole gibibytes", () => {
  const place = { guest: GIB - 4096, user: 0x5000, size: GIB + 8192, offset: 0x3000 };
  assertEquals(MemoryTable.pieces(place), [
    { guest: GIB - 4096, user: 0x5000, size: 4096, offset: 0x3000 },
    { guest: GIB, user: 0x6000, size: GIB, offset: 0x4000 },
    { guest: 2 * GIB, user: 0x6000 + GIB, size: 4096, offset: 0x4000 + GIB },
  ]);
});
