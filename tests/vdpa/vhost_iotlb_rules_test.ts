import { assertEquals } from "@std/assert";
import { MEMORY, MEMORY_SIZE, MODELLED, SECTION_SIZE } from "./face.ts";
import { ops, type Row, testRows } from "./vhost_rules.ts";

const TOP = 2n ** 63n;

const messages: Row[] = [
  ["a mapping is taken", "72", (f) => (f.negotiate(), f.map(0, 0x1000, 0x1000))],
  ["a size of 0 is refused", "EINVAL", (f) => (f.negotiate(), f.map(0, 0x1000, 0))],
  ["a range that wraps is refused", "EFAULT", (f) => (f.negotiate(), f.map(0, 2n ** 64n - 0x1000n, 0x2000))],
  [
    "a range that ends at 2^64-1 is taken",
    "fffffffffffff000-ffffffffffffffff",
    (f) => (f.negotiate(), f.map(0, 2n ** 64n - 0x1000n, 0x1000), f.vhostMap(0)),
  ],
  [
    "the upper half of all addresses is one mapping",
    "8000000000000000-80000000001fffff",
    (f) => (f.negotiate(), f.map(0, TOP, SECTION_SIZE), f.vhostMap(0)),
  ],
  [
    "outside the device's range is refused, below it",
    "EFAULT",
    (f) => (f.negotiate(), f.map(0, 0x1000, 0x1000)),
    {
      ops: ops({ get_iova_range: () => ({ first: 0x2000n, last: 0xffffn }) }),
    },
  ],
  [
    "outside the device's range is refused, above it",
    "EFAULT",
    (f) => (f.negotiate(), f.map(0, 0xf001, 0x1000)),
    {
      ops: ops({ get_iova_range: () => ({ first: 0x2000n, last: 0xffffn }) }),
    },
  ],
  ["the device's range itself is taken", "72", (f) => (f.negotiate(), f.map(0, 0x2000, 0xe000)), {
    ops: ops({ get_iova_range: () => ({ first: 0x2000n, last: 0xffffn }) }),
  }],
  ["an overlap is refused", "EFAULT", (f) => (f.negotiate(), f.map(0, 0x1000, 0x1000), f.map(0, 0x1fff, 1))],
  [
    "and changes nothing",
    "1000-1fff",
    (f) => (f.negotiate(), f.map(0, 0x1000, 0x1000), f.map(0, 0, 0x10000), f.vhostMap(0)),
  ],
  [
    "the same range in another space is no overlap",
    "72",
    (f) => (f.negotiate(), f.map(0, 0x1000, 0x1000), f.map(1, 0x1000, 0x1000)),
  ],
  ["a space beyond the spaces is refused", "EFAULT", (f) => (f.negotiate(), f.map(2, 0x1000, 0x1000))],
  ["a removal in a space never used is refused", "EFAULT", (f) => (f.negotiate(), f.unmap(1, 0, 0x1000))],
  ["a removal takes whole entries", "8000-8fff", (f) => {
    f.negotiate();
    f.map(0, 0x1000, 0x4000);
    f.map(0, 0x8000, 0x1000);
    f.unmap(0, 0x2000, 0x1000);
    return f.vhostMap(0);
  }],
  ["a removal in one space leaves the others", "1000-1fff", (f) => {
    f.negotiate();
    f.map(0, 0x1000, 0x1000);
    f.map(1, 0x1000, 0x1000);
    f.unmap(0, 0x1000, 0x1000);
    return f.deviceMap(1);
  }],
  ["a removal of nothing is fine", "72", (f) => (f.negotiate(), f.map(0, 0, 1), f.unmap(0, 0x5000, 0x1000))],
  ["a removal of size 0 at 0 wraps and takes everything", "", (f) => {
    f.negotiate();
    f.map(0, 0x1000, 0x1000);
    f.map(0, TOP, 0x1000);
    f.unmap(0, 0, 0);
    return f.vhostMap(0);
  }],
  [
    "what is not physically contiguous becomes several entries",
    "10000-20ffff 210000-21ffff",
    (f) => (f.negotiate(), f.map(0, 0x10000, SECTION_SIZE + 0x10000), f.vhostMap(0)),
  ],
  [
    "pages are pinned whole, so mapped whole",
    "1000-3fff",
    (f) => (f.negotiate(), f.map(0, 0x1ffe, 0x1003, MEMORY + 0xffe), f.vhostMap(0)),
  ],
  [
    "the device gets them whole, too",
    "1000-1fff",
    (f) => (f.negotiate(), f.map(0, 0x1010, 1, MEMORY + 0x10), f.deviceMap(0)),
    { kind: "plain" },
  ],
  [
    "how many is told by device addresses, which leads astray where the others lie otherwise",
    "1000-1fff",
    (f) => {
      f.negotiate();
      f.map(0, 0x1000, 0x1000, MEMORY + 0x800);
      assertEquals(f.file.tables.table(0)!.entries[0]!.addr, BigInt(MEMORY));
      return f.vhostMap(0);
    },
  ],
  [
    "a device that works with addresses of the process has nothing pinned",
    "1ffe-3000",
    (f) => (f.negotiate(), f.map(0, 0x1ffe, 0x1003, MEMORY + 0xffe), f.vhostMap(0)),
    { kind: "sim" },
  ],
  [
    "the rest of a page that is mapped already is not mapped again",
    "EFAULT",
    (f) => (f.negotiate(), f.map(0, 0x1000, 0x10), f.map(0, 0x1800, 0x10, MEMORY + 0x800)),
  ],
  [
    "a page that the process has in part only cannot be pinned",
    "EFAULT",
    (f) => {
      f.negotiate();
      f.process.addSection(0x1000, 0x800);
      return f.map(0, 0x1000, 0x800, 0x1000);
    },
  ],
  ["what is mapped when the file is closed is unmapped", " 2", (f) => {
    f.negotiate();
    f.map(0, 0x1000, 0x1000);
    f.map(0, 0x3000, 0x1000);
    f.file.close();
    return `${f.deviceMap(0)} ${f.file.tables.counters()["as0.unmaps"]}`;
  }, { kind: "plain" }],
  ["an open batch ends with the file", "72", (f) => {
    f.negotiate();
    f.batch(1, true);
    f.file.close();
    f.negotiate();
    return f.map(0, 0x1000, 0x1000);
  }],
  ["mappings of every space are counted", 1, (f) => {
    f.negotiate();
    f.map(3, 0x1000, 0x1000);
    return f.file.tables.counters()["as3.maps"]!;
  }, { kind: "vduse", asids: 4 }],
  ["whole pages are counted", "2 8192", (f) => {
    f.negotiate();
    f.map(0, 0x1fff, 2, MEMORY + 0xfff);
    const counters = f.file.tables.counters();
    return `${counters["as0.pages.mapped"]} ${counters["as0.bytes.mapped"]}`;
  }],
  [
    "memory that the process does not have is refused",
    "EFAULT",
    (f) => (f.negotiate(), f.map(0, 0x1000, 0x2000, MEMORY + MEMORY_SIZE - 0x1000)),
  ],
  [
    "and leaves no part behind",
    "",
    (f) => (f.negotiate(), f.map(0, 0x1000, 0x2000, MEMORY + MEMORY_SIZE - 0x1000), f.vhostMap(0)),
  ],
  ["the 2049th entry is refused", "72 EFAULT", (f) => {
    f.negotiate();
    const results = Array.from({ length: 2049 }, (_, i) => f.map(0, i * 0x1000, 0x1000, MODELLED));
    return `${results[2047]} ${results[2048]}`;
  }],
  ["the limit is one space's", "72", (f) => {
    f.negotiate();
    for (let i = 0; i < 2048; i++) f.map(0, i * 0x1000, 0x1000, MODELLED);
    return f.map(1, 0, 0x1000);
  }],
  ["without IOTLB_ASID a message's space counts as 0", "1000-1fff", (f) => {
    f.owner();
    f.backend("IOTLB_MSG_V2");
    f.map(1, 0x1000, 0x1000);
    return f.vhostMap(0);
  }],
  [
    "the first form maps in space 0",
    "1000-1fff",
    (f) => (f.negotiate(), f.oldMap(0x1000, 0x1000), f.vhostMap(0)),
  ],
  ["without an owner every message is refused", "EFAULT", (f) => f.map(0, 0x1000, 0x1000)],
  ["an unknown form is EINVAL", -22, (f) => (f.negotiate(), f.file.write(new Uint8Array(72).fill(3)))],
  ["a cut message is EINVAL", -22, (f) => (f.negotiate(), f.file.write(new Uint8Array([2, 0, 0, 0, 0, 0])))],
  ["no message at all is EINVAL", -22, (f) => (f.negotiate(), f.file.write(new Uint8Array(0)))],
  [
    "MISS is none of the user's",
    "EFAULT",
    (f) => (f.negotiate(), f.map(0, 0, 1), f.message(0, 1, 0n, 1n, 0n, 0)),
  ],
  [
    "nor is ACCESS_FAIL",
    "EFAULT",
    (f) => (f.negotiate(), f.map(0, 0, 1), f.message(0, 4, 0n, 1n, 0n, 0)),
  ],
  [
    "an unknown type is refused",
    "EFAULT",
    (f) => (f.negotiate(), f.map(0, 0, 1), f.message(0, 9, 0n, 1n, 0n, 0)),
  ],
  ["without a batch every message hands the table over", 2, (f) => {
    f.negotiate();
    f.map(0, 0x1000, 0x1000);
    f.map(0, 0x3000, 0x1000);
    return f.device.setMapCalls;
  }],
  ["a batch hands it over once", 1, (f) => {
    f.negotiate();
    f.batch(0, true);
    f.map(0, 0x1000, 0x1000);
    f.map(0, 0x3000, 0x1000);
    f.unmap(0, 0x1000, 1);
    f.batch(0, false);
    return f.device.setMapCalls;
  }],
  ["within it the device sees nothing yet", "", (f) => {
    f.negotiate();
    f.batch(1, true);
    f.map(1, 0x1000, 0x1000);
    return f.deviceMap(1);
  }],
  ["a message for another space inside a batch is refused", "EFAULT", (f) => {
    f.negotiate();
    f.map(1, 0, 1);
    f.batch(0, true);
    return f.map(1, 0x1000, 0x1000);
  }],
  ["the end of a batch of another space, too", "EFAULT", (f) => {
    f.negotiate();
    f.map(1, 0, 1);
    f.batch(0, true);
    return f.batch(1, false);
  }],
  ["a batch creates its space", "72", (f) => (f.negotiate(), f.batch(1, true))],
  ["a batch in a space beyond the spaces is refused", "EFAULT", (f) => (f.negotiate(), f.batch(2, true))],
  ["a device that takes mappings one by one is handed no table", 0, (f) => {
    f.negotiate();
    f.batch(0, true);
    f.map(0, 0x1000, 0x1000);
    f.batch(0, false);
    return f.device.setMapCalls;
  }, { kind: "plain" }],
  [
    "it has them at once",
    "1000-1fff",
    (f) => (f.negotiate(), f.batch(0, true), f.map(0, 0x1000, 0x1000), f.deviceMap(0)),
    {
      kind: "plain",
    },
  ],
  ["and loses them at once", "3000-3fff", (f) => {
    f.negotiate();
    f.map(0, 0x1000, 0x1000);
    f.map(0, 0x3000, 0x1000);
    f.unmap(0, 0x1000, 1);
    return f.deviceMap(0);
  }, { kind: "plain" }],
];

testRows("IOTLB messages (3.6)", messages);
