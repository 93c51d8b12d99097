import { assertEquals, assertThrows } from "@std/assert";
import { AddressSpace, READ, READ_WRITE } from "../../core/address_space.ts";
import { DmaMemory } from "../../core/dma_memory.ts";
import { Memory } from "../../core/memory.ts";
import {
  GNTMAP,
  GNTST,
  grant_entry_v2_sub_page,
  grant_entry_v2_transitive,
  GrantEntries,
  GrantTable,
  GTF,
} from "../../plugins/xen/mod.ts";
import { Random } from "../random.ts";

const PAGE = 4096;
const BASE = 0x1_0000_0000;
const { host_map, device_map, readonly } = GNTMAP;

/** A guest with 32 pages, of which the last one may only be read, and its table as the hypervisor sees it. */
function start(version: 1 | 2, handles?: number) {
  const memory = new Memory(33 * PAGE);
  const space = new AddressSpace();
  const dma = new DmaMemory(space, memory, 0, 32 * PAGE, BASE);
  space.map(BASE + 32 * PAGE, memory, 32 * PAGE, PAGE, READ);
  const entries = new GrantEntries(dma, version, 100, 5);
  const table = new GrantTable({ space, ...entries, address: entries.address, domid: 5 }, handles);
  const ref = entries.allocate(1);
  const page = dma.allocate(PAGE, PAGE).offset;
  const at = entries.address - BASE + ref * (version === 1 ? 8 : 16);
  const bits = version === 1 ? at : entries.statusAddress - BASE + ref * 2;
  const inUse = () => memory.view.getUint16(bits, true) & (GTF.reading | GTF.writing);
  return { memory, space, entries, table, ref, page, at, inUse };
}

for (const version of [1, 2] as const) {
  Deno.test(`GrantTable maps and unmaps version ${version} entries and keeps their in-use bits`, () => {
    const { entries, table, ref, page, inUse, memory } = start(version);
    entries.grant(ref, page, false);
    assertEquals(table.map(ref, host_map | readonly), GNTST.okay);
    assertEquals([table.memory === memory, table.offset], [true, page]);
    const reader = table.handle;
    assertEquals(inUse(), GTF.reading);
    assertEquals(table.map(ref, host_map), GNTST.okay);
    const writer = table.handle;
    assertEquals(inUse(), GTF.reading | GTF.writing);
    assertEquals(entries.end(ref), false);
    assertEquals(table.unmap(writer), GNTST.okay);
    assertEquals(inUse(), GTF.reading);
    assertEquals(table.unmap(writer), GNTST.bad_handle);
    assertEquals(table.unmap(reader), GNTST.okay);
    assertEquals([inUse(), table.mapped], [0, 0]);
    // The other way round: what a reader lets go of leaves a writer's bits alone.
    table.map(ref, host_map);
    const first = table.handle;
    table.map(ref, host_map | readonly);
    assertEquals(table.unmap(table.handle), GNTST.okay);
    assertEquals(inUse(), GTF.reading | GTF.writing);
    assertEquals(table.unmap(first), GNTST.okay);
    assertEquals([inUse(), table.mapped], [0, 0]);
    assertEquals(entries.end(ref), true);
    assertEquals(table.map(ref, host_map), GNTST.general_error);
  });

  Deno.test(`GrantTable answers wrong uses of version ${version} entries as Xen does`, () => {
    const { entries, table, ref, page, memory, at } = start(version, 1);
    entries.grant(ref, page, true);
    assertEquals(table.map(ref, 0), GNTST.bad_gntref);
    assertEquals(table.map(entries.entries, host_map), GNTST.bad_gntref);
    assertEquals(table.map(ref, host_map), GNTST.general_error, "writing a read-only entry");
    assertEquals(table.beginCopyTo(ref, 0, 1), GNTST.general_error);
    assertEquals(table.map(ref, device_map | readonly), GNTST.okay);
    assertEquals(table.map(ref, host_map | readonly), GNTST.no_space);
    assertEquals(table.unmap(0xffffffff), GNTST.bad_handle);
    assertEquals(table.unmap(table.handle), GNTST.okay);
    memory.view.setUint16(at + 2, 6, true);
    assertEquals(table.map(ref, host_map | readonly), GNTST.general_error, "another domain's");
    memory.view.setUint32(at, 2 | (5 << 16), true);
    assertEquals(table.map(ref, host_map | readonly), GNTST.general_error, "for a transfer");
  });

  Deno.test(`GrantTable copies out of and into version ${version} entries`, () => {
    const { entries, table, ref, page, memory, inUse } = start(version);
    const own = new Memory(PAGE);
    entries.grant(ref, page, false);
    memory.bytes[page + 4095] = 42;
    assertEquals(table.copyFrom(ref, 4095, 1, own, 7), GNTST.okay);
    assertEquals(own.bytes[7], 42);
    assertEquals(table.copyFrom(ref, 4095, 2, own, 0), GNTST.bad_copy_arg);
    assertEquals(table.beginCopyTo(ref, 1, 4096), GNTST.bad_copy_arg);
    assertEquals(table.beginCopyTo(ref, 16, 4080), GNTST.okay);
    assertEquals([table.memory === memory, table.offset], [true, page + 16]);
    assertEquals(table.copyFrom(0xffffffff, 0, 1, own, 0), GNTST.bad_gntref);
    assertEquals(inUse(), 0);
    // A copy of nothing is okay with no other check at all.
    assertEquals(table.copyFrom(0xffffffff, 9999, 0, own, 0), GNTST.okay);
    assertEquals(table.beginCopyTo(0xffffffff, 9999, 0), GNTST.okay);
  });

  Deno.test(`GrantTable stays on the page of the first mapping, whatever a version ${version} entry says later`, () => {
    const { entries, table, ref, page } = start(version);
    entries.grant(ref, page, false);
    table.map(ref, host_map);
    const { handle } = table;
    entries.grant(ref, page + PAGE, false);
    assertEquals(table.map(ref, host_map | readonly), GNTST.okay);
    assertEquals(table.offset, page);
    table.unmap(handle);
    table.unmap(table.handle);
    table.map(ref, host_map);
    assertEquals(table.offset, page + PAGE);
  });
}

Deno.test("GrantTable answers bad_page for frames that are no memory or may not be written", () => {
  const { entries, table, ref, memory, at, space } = start(1);
  entries.grant(ref, 32 * PAGE, false);
  assertEquals(table.map(ref, host_map), GNTST.bad_page);
  assertEquals(table.map(ref, host_map | readonly), GNTST.okay);
  table.unmap(table.handle);
  memory.view.setUint32(at + 4, 0xffffffff, true);
  assertEquals(table.map(ref, host_map | readonly), GNTST.bad_page);
  entries.grant(ref, PAGE, false);
  assertEquals(table.map(ref, host_map), GNTST.okay);
  table.unmap(table.handle);
  // Memory that is gone is not found by an old look-up.
  space.unmap(space.regions[0]!);
  assertEquals(table.beginCopyTo(ref, 0, 1), GNTST.bad_page);
});

Deno.test("GrantTable lets a sub-page entry be copied within its window only, and never mapped", () => {
  const { table, ref, memory, at, page } = start(2);
  const frame = (BASE + page) / PAGE;
  const flags = 1 | GTF.sub_page;
  memory.bytes.set(
    grant_entry_v2_sub_page.encode({ flags, domid: 5, page_off: 128, length: 256, frame }),
    at,
  );
  const own = new Memory(PAGE);
  assertEquals(table.map(ref, host_map | readonly), GNTST.general_error);
  assertEquals(table.copyFrom(ref, 128, 256, own, 0), GNTST.okay);
  assertEquals(table.copyFrom(ref, 127, 10, own, 0), GNTST.general_error);
  assertEquals(table.copyFrom(ref, 128, 257, own, 0), GNTST.general_error);
});

/** Address of a page of other memory, and what its bytes are; those of the guest's are the page's number. */
const FAR = 2 * BASE;
const FAR_BYTE = 99;
const ENTRIES = 20;

/** Writes an entry of the full-page form; a part of a page starts at 4 and has 8 bytes. */
function writeEntry(
  view: DataView,
  at: number,
  version: 1 | 2,
  flags: number,
  domid: number,
  page: number,
): void {
  view.setUint16(at, flags, true);
  view.setUint16(at + 2, domid, true);
  if (version === 1) return view.setUint32(at + 4, page / PAGE, true);
  view.setUint32(at + 4, (flags & GTF.sub_page) !== 0 ? 8 << 16 | 4 : 0, true);
  view.setBigUint64(at + 8, BigInt(page / PAGE), true);
}

for (const version of [1, 2] as const) {
  Deno.test(`GrantTable finds by version ${version} entries for many copies what single copies find`, () => {
    const random = new Random(version);
    const { memory, space, entries, table, ref: first, at } = start(version);
    for (let page = 8; page < 33; page++) memory.bytes.fill(page, page * PAGE, (page + 1) * PAGE);
    const far = new Memory(PAGE);
    far.bytes.fill(FAR_BYTE);
    space.map(FAR, far, 0, PAGE, READ_WRITE);
    const one = new Memory(PAGE);
    const size = version === 1 ? 8 : 16;
    let complete = 0;
    for (let round = 0; round < 500; round++) {
      // Mostly all is well; else here and there a page is elsewhere, not to be written, or granted in part or not at all.
      const oddity = random.chance(0.5) ? 0.1 : 0;
      for (let i = 0; i < ENTRIES; i++) {
        const odd = random.chance(oddity);
        const flags = odd ? random.pick([0, 1, 2, GTF.readonly | 1, GTF.sub_page | 1]) : 1;
        const page = BASE + random.between(8, 31) * PAGE;
        const place = odd ? random.pick([page, page, FAR, BASE + 32 * PAGE, BASE - PAGE]) : page;
        writeEntry(memory.view, at + i * size, version, flags, odd ? random.pick([5, 5, 6]) : 5, place);
      }
      const refs = new Int32Array(ENTRIES).map(() => first + random.below(ENTRIES));
      const starts = new Int32Array(ENTRIES).map(() => random.below(PAGE));
      if (random.chance(oddity)) {
        refs[random.below(ENTRIES)] = random.pick([-1, entries.entries, 2 ** 31 - 1]);
      }
      const isMapped = random.chance(0.3) && table.map(refs[3]! >>> 0, host_map) === GNTST.okay;
      const mapping = table.handle;

      const writable = random.chance(0.5);
      const wanted: number[] = [];
      const found: Memory[] = [];
      for (const [i, ref] of refs.entries()) {
        const start = starts[i]!;
        const result = writable
          ? table.beginCopyTo(ref >>> 0, start, 1)
          : table.copyFrom(ref >>> 0, start, 1, one, 0);
        if (result !== GNTST.okay) break;
        found.push(table.copyMemory);
        const isPart = version === 2 &&
          (memory.view.getUint16(at + (ref - first) * size, true) & GTF.sub_page) !== 0;
        if (isPart || found[i] !== found[0]) break;
        wanted.push(
          writable ? table.offset : one.bytes[0] === FAR_BYTE ? start : one.bytes[0]! * PAGE + start,
        );
      }
      const count = table.findForCopies(refs, starts, ENTRIES, writable);
      assertEquals([...starts.subarray(0, count)], wanted, `round ${round}`);
      if (count > 0) assertEquals(table.copyMemory === found[0], true);
      if (count === ENTRIES) complete++;
      if (isMapped) table.unmap(mapping);
    }
    assertEquals(complete > 200 && complete < 400, true, `${complete} of 500 were complete`);
  });
}

Deno.test("GrantTable refuses a transitive entry, as there is no third domain", () => {
  const { table, ref, memory, at } = start(2);
  memory.bytes.set(grant_entry_v2_transitive.encode({ flags: 3, domid: 5, trans_domid: 7, gref: 9 }), at);
  assertEquals(table.map(ref, host_map | readonly), GNTST.general_error);
  assertEquals(table.copyFrom(ref, 0, 1, new Memory(1), 0), GNTST.general_error);
});

Deno.test("GrantTable needs its table in the domain's memory", () => {
  const space = new AddressSpace();
  space.map(0, new Memory(PAGE), 0, PAGE, READ_WRITE);
  assertThrows(() => new GrantTable({ space, version: 1, address: 0, entries: 513, domid: 0 }), RangeError);
  assertThrows(() => new GrantTable({ space, version: 2, address: 0, entries: 1, domid: 0 }), RangeError);
});

Deno.test("GrantEntries gives out no reserved reference and no more than the table has", () => {
  const { entries } = start(1);
  assertEquals(entries.entries, 512);
  assertEquals(entries.allocate(1), 9);
  assertThrows(() => entries.allocate(512), RangeError);
});

Deno.test("GrantEntries of version 1 refuse memory whose frame numbers need more than 32 bits", () => {
  const far = (end: number) =>
    new DmaMemory(new AddressSpace(), new Memory(4 * PAGE), 0, 4 * PAGE, end - 4 * PAGE);
  assertEquals(new GrantEntries(far(2 ** 44), 1, 8, 0).address, 2 ** 44 - 4 * PAGE);
  assertEquals(new GrantEntries(far(2 ** 50), 2, 8, 0).address, 2 ** 50 - 4 * PAGE);
  assertThrows(() => new GrantEntries(far(2 ** 44 + PAGE), 1, 8, 0), RangeError, "version 2 has 64");
});
