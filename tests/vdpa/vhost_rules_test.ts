/**
 * The rules of the vhost-vdpa face, one row each: what is done, and what the last step gives.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import type { VdpaConfigOps } from "../../plugins/vdpa/config_ops.ts";
import { backendMask, VHOST } from "../../plugins/vdpa/ioctls.ts";
import { vhost_vdpa_config, vhost_vring_addr } from "../../plugins/vdpa/layout.ts";
import { VhostError } from "../../plugins/vdpa/vhost.ts";
import { ACK, BASIC, DRIVER, DRIVER_OK, Face, type FaceOptions, MEMORY } from "./face.ts";
import { MEMORY_SIZE, MODELLED, SECTION_SIZE } from "./face.ts";

type Row = readonly [
  rule: string,
  expected: string | number,
  run: (face: Face) => string | number,
  FaceOptions?,
];

/** The device's operations less some of them, or with others. */
function ops(
  changes: Partial<Record<keyof VdpaConfigOps, unknown>>,
): NonNullable<FaceOptions["ops"]> {
  return (device) =>
    new Proxy(device, {
      get(target, key) {
        if (Object.hasOwn(changes, key)) return changes[key as keyof VdpaConfigOps];
        const value = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
}

const { SET_GROUP_ASID, GET_GROUP, GET_DESC_GROUP } = {
  SET_GROUP_ASID: VHOST.VDPA_SET_GROUP_ASID,
  GET_GROUP: VHOST.VDPA_GET_VRING_GROUP,
  GET_DESC_GROUP: VHOST.VDPA_GET_VRING_DESC_GROUP,
};
const TOP = 2n ** 63n;
const vduse = { kind: "vduse", groups: 6, asids: 4 } as const;

/** A features array: how many words it says it has, and so many words. */
function words(count: number): Uint8Array {
  const argument = new BigUint64Array(1 + count);
  argument[0] = BigInt(count);
  return new Uint8Array(argument.buffer);
}

/** A memory table of so many regions of the given size, the last one at an address, of which `length` bytes are there. */
function table(regions: number, length = 8 + 32 * regions, padding = 0, last = 0n, size = 4096n): Uint8Array {
  const words = new BigUint64Array(1 + 4 * regions);
  words[0] = BigInt(regions) | BigInt(padding) << 32n;
  for (let i = 0; i < regions; i++) words[1 + 4 * i + 1] = size;
  if (regions > 0) words[1 + 4 * (regions - 1)] = last;
  return new Uint8Array(words.buffer, 0, length);
}

/** Addresses of queue 0 of which only the log's is not 0. */
function logAt(address: number): Uint8Array {
  return vhost_vring_addr.encode({ index: 0, log_guest_addr: address });
}

function config(off: number, len: number, room = len): Uint8Array {
  const argument = new Uint8Array(vhost_vdpa_config.size + room);
  argument.set(vhost_vdpa_config.encode({ off, len }).subarray(0, vhost_vdpa_config.size));
  return argument;
}

const groups: Row[] = [
  ["mlx5 has data queues in group 0", 0, (f) => (f.owner(), f.state(GET_GROUP, 1), f.out)],
  ["mlx5 has its control queue in group 1", 1, (f) => (f.owner(), f.state(GET_GROUP, 2), f.out)],
  ["mlx5 has rings of data queues in group 2", 2, (f) => (f.owner(), f.state(GET_DESC_GROUP, 0), f.out)],
  [
    "mlx5 has its control queue's rings in that queue's own group",
    1,
    (f) => (f.owner(), f.state(GET_DESC_GROUP, 2), f.out),
  ],
  ["mlx5 has 3 groups", 3, (f) => (f.number(VHOST.VDPA_GET_GROUP_NUM), f.out)],
  ["mlx5 has 2 address spaces", 2, (f) => (f.number(VHOST.VDPA_GET_AS_NUM), f.out)],
  ["sim has 2 groups", 2, (f) => (f.number(VHOST.VDPA_GET_GROUP_NUM), f.out), { kind: "sim" }],
  ["sim has its control queue in group 1", 1, (f) => (f.owner(), f.state(GET_GROUP, 2), f.out), {
    kind: "sim",
  }],
  ["sim has no descriptor groups", "EOPNOTSUPP", (f) => (f.owner(), f.state(GET_DESC_GROUP, 0)), {
    kind: "sim",
  }],
  ["vduse has no descriptor groups", "EOPNOTSUPP", (f) => (f.owner(), f.state(GET_DESC_GROUP, 0)), vduse],
  ["plain has one group", 1, (f) => (f.number(VHOST.VDPA_GET_GROUP_NUM), f.out), { kind: "plain" }],
  [
    "a firmware without descriptor groups has no operation for them",
    "EOPNOTSUPP",
    (f) => (f.owner(), f.state(GET_DESC_GROUP, 0)),
    { descGroup: false },
  ],
  ["a queue's group beyond the groups is EIO", "EIO", (f) => (f.owner(), f.state(GET_GROUP, 0)), {
    ops: ops({ get_vq_group: () => 3 }),
  }],
  [
    "a queue's descriptor group beyond the groups is EIO",
    "EIO",
    (f) => (f.owner(), f.state(GET_DESC_GROUP, 0)),
    {
      ops: ops({ get_vq_desc_group: () => 3 }),
    },
  ],
  ["no get_vq_group is EOPNOTSUPP", "EOPNOTSUPP", (f) => (f.owner(), f.state(GET_GROUP, 0)), {
    ops: ops({ get_vq_group: undefined }),
  }],
  ["a queue beyond the queues is ENOBUFS", "ENOBUFS", (f) => (f.owner(), f.state(GET_DESC_GROUP, 3))],
];

const binding: Row[] = [
  ["a group can be bound before DRIVER_OK", "ok", (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 2, 1))],
  [
    "a binding needs no mapping",
    1,
    (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 2, 1), f.device.spaceOf(2).asid),
  ],
  [
    "a group below the groups but not below the queue count is ENOBUFS",
    "ENOBUFS",
    (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 3, 1)),
    vduse,
  ],
  [
    "the queue count is checked before DRIVER_OK",
    "ENOBUFS",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.state(SET_GROUP_ASID, 3, 1)),
    vduse,
  ],
  ["a group beyond the groups is EINVAL", "EINVAL", (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 2, 0)), {
    kind: "sim",
  }],
  ["a space beyond the spaces is EINVAL", "EINVAL", (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 0, 2))],
  ["the device says so itself", "-22 -22", (f) => {
    return `${f.device.set_group_asid(3, 0)} ${f.device.set_group_asid(0, 2)}`;
  }],
  ["DRIVER_OK is EBUSY", "EBUSY", (f) => (f.negotiate(), f.status(DRIVER_OK), f.state(SET_GROUP_ASID, 2, 1))],
  [
    "DRIVER_OK is checked before the bounds",
    "EBUSY",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.state(SET_GROUP_ASID, 0, 9)),
  ],
  ["merely suspended is EBUSY", "EBUSY", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    return f.state(SET_GROUP_ASID, 2, 1);
  }],
  ["after a reset it is allowed again", "ok", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    f.status(0);
    return f.state(SET_GROUP_ASID, 2, 1);
  }],
  [
    "the bounds are checked before the operation is missed",
    "EINVAL",
    (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 0, 2)),
    { ops: ops({ set_group_asid: undefined }) },
  ],
  ["no set_group_asid is EOPNOTSUPP", "EOPNOTSUPP", (f) => (f.negotiate(), f.state(SET_GROUP_ASID, 0, 1)), {
    ops: ops({ set_group_asid: undefined }),
  }],
  [
    "the device itself refuses while it runs",
    -16,
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.device.set_group_asid(2, 1)),
  ],
];

const reset: Row[] = [
  ["every group goes back to space 0", "0 0 0", (f) => {
    f.negotiate();
    for (const group of [0, 1, 2]) f.state(SET_GROUP_ASID, group, 1);
    f.status(0);
    return [0, 1, 2].map((group) => f.device.spaceOf(group).asid).join(" ");
  }],
  ["the status is 0", 0, (f) => (f.negotiate(), f.status(0), f.number(VHOST.VDPA_GET_STATUS), f.out)],
  ["features are cleared", 0, (f) => (f.negotiate(), f.status(0), Number(f.device.get_driver_features()))],
  ["queues are disabled", "false", (f) => {
    f.negotiate();
    f.state(VHOST.VDPA_SET_VRING_ENABLE, 0, 1);
    f.status(0);
    return String(f.device.get_vq_ready(0));
  }],
  ["a queue's position is forgotten", 0, (f) => {
    f.negotiate();
    f.state(VHOST.SET_VRING_BASE, 0, 77);
    f.status(0);
    f.state(VHOST.GET_VRING_BASE, 0);
    return f.out;
  }],
  ["it is no longer suspended: positions are the device's when it runs again", "EINVAL", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    f.status(0);
    f.start(DRIVER_OK);
    return f.state(VHOST.SET_VRING_BASE, 0, 5);
  }],
  ["with IOTLB_PERSIST the device's mappings live on", "1000-1fff", (f) => {
    f.negotiate(true).map(1, 0x1000, 0x1000);
    f.status(0);
    return f.deviceMap(1);
  }],
  [
    "without it a device that can map 1:1 does so again",
    "0-7fffffffffffffff 8000000000000000-ffffffffffffffff",
    (f) => {
      f.negotiate(false).map(1, 0x1000, 0x1000);
      f.status(0);
      return f.deviceMap(1);
    },
    { kind: "sim" },
  ],
  ["without it another has no mappings left", "", (f) => {
    f.negotiate(false).map(1, 0x1000, 0x1000);
    f.status(0);
    return f.deviceMap(1);
  }, vduse],
  ["the face's own table is not cleared", "1000-1fff", (f) => {
    f.negotiate(false).map(1, 0x1000, 0x1000);
    f.status(0);
    return f.vhostMap(1);
  }],
  ["so the same mapping is refused until it is removed", "EFAULT", (f) => {
    f.negotiate(false).map(1, 0x1000, 0x1000);
    f.status(0);
    return f.map(1, 0x1000, 0x1000);
  }],
  ["and both agree again with the next set_map", "1000-1fff 3000-3fff", (f) => {
    f.negotiate(false).map(1, 0x1000, 0x1000);
    f.status(0);
    f.map(1, 0x3000, 0x1000);
    return f.deviceMap(1);
  }],
  [
    "the first mapping drops the 1:1 map",
    "1000-1fff",
    (f) => (f.negotiate(), f.map(1, 0x1000, 0x1000), f.deviceMap(1)),
    {
      kind: "sim",
    },
  ],
  [
    "so does the first one that comes alone",
    "1000-1fff",
    (f) => (f.negotiate(), f.map(1, 0x1000, 0x1000), f.deviceMap(1)),
    { kind: "sim", tables: false },
  ],
  ["closing clears the face's table", "", (f) => {
    f.negotiate().map(0, 0x1000, 0x1000);
    f.file.close();
    return f.vhostMap(0);
  }],
  ["closing resets the map of the device", "0-7fffffffffffffff 8000000000000000-ffffffffffffffff", (f) => {
    f.negotiate().map(0, 0x1000, 0x1000);
    f.file.close();
    return f.deviceMap(0);
  }],
];

const backend: Row[] = [
  ["mlx5 shows everything", 0x1fe, (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out)],
  ["sim lacks DESC_ASID", 0x17e, (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out), { kind: "sim" }],
  [
    "plain shows IOTLB_ASID although it has one space",
    0x4e,
    (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out),
    {
      kind: "plain",
    },
  ],
  ["persistence follows from reset_map", 0xfe, (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out), {
    persist: false,
  }],
  ["or the device says so", 0x1fe, (f) => (f.number(VHOST.GET_BACKEND_FEATURES), f.out), {
    persist: false,
    ops: ops({ get_backend_features: () => backendMask("IOTLB_PERSIST", "ENABLE_AFTER_DRIVER_OK") }),
  }],
  ["an unknown bit is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.number(VHOST.SET_BACKEND_FEATURES, 0x201)],
  ["bit 0 is unknown", "EOPNOTSUPP", (f) => f.number(VHOST.SET_BACKEND_FEATURES, 1)],
  ["SUSPEND without support is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.backend("SUSPEND"), vduse],
  ["RESUME without support is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.backend("RESUME"), vduse],
  ["DESC_ASID without IOTLB_ASID is EINVAL", "EINVAL", (f) => f.backend("DESC_ASID")],
  ["also on a device without descriptor groups", "EINVAL", (f) => f.backend("DESC_ASID"), { kind: "sim" }],
  ["DESC_ASID without support is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.backend("DESC_ASID", "IOTLB_ASID"), {
    kind: "sim",
  }],
  ["IOTLB_PERSIST without support is EOPNOTSUPP", "EOPNOTSUPP", (f) => f.backend("IOTLB_PERSIST"), {
    kind: "plain",
  }],
  ["what is offered is accepted", "ok", (f) => f.number(VHOST.SET_BACKEND_FEATURES, 0x1fe)],
  ["no owner is needed", "ok", (f) => f.backend("IOTLB_MSG_V2")],
];

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

const ioctls: Row[] = [
  ["the device is a network device", 1, (f) => (f.number(VHOST.VDPA_GET_DEVICE_ID), f.out)],
  ["the queue count has the control queue in it", 3, (f) => (f.number(VHOST.VDPA_GET_VQS_COUNT), f.out)],
  ["the largest queue size is told", 256, (f) => (f.number(VHOST.VDPA_GET_VRING_NUM), f.out)],
  ["a queue's size is told", 64, (f) => {
    f.negotiate();
    f.state(VHOST.SET_VRING_NUM, 1, 64);
    f.state(VHOST.VDPA_GET_VRING_SIZE, 1);
    return f.out;
  }],
  ["no get_vq_size is EOPNOTSUPP", "EOPNOTSUPP", (f) => (f.owner(), f.state(VHOST.VDPA_GET_VRING_SIZE, 0)), {
    ops: ops({ get_vq_size: undefined }),
  }],
  ["queue ioctls need an owner", "EPERM", (f) => f.state(VHOST.SET_VRING_NUM, 0, 64)],
  ["there is one owner", "EBUSY", (f) => (f.owner(), f.owner())],
  [
    "a queue beyond the queues is ENOBUFS",
    "ENOBUFS",
    (f) => (f.owner(), f.state(VHOST.SET_VRING_NUM, 3, 64)),
  ],
  ["an unknown ioctl is ENOTTY", "ENOTTY", (f) => (f.owner(), f.number(0x4008af60))],
  ["the owner comes first", "EPERM", (f) => f.ioctl(VHOST.SET_VRING_NUM, new Uint8Array(4))],
  [
    "then the queue's index",
    "ENOBUFS",
    (f) => (f.owner(), f.ioctl(VHOST.SET_VRING_BASE, new Uint8Array([3, 0, 0, 0]))),
  ],
  [
    "an ioctl of a queue without an argument is EFAULT",
    "EFAULT",
    (f) => (f.owner(), f.ioctl(VHOST.RESET_OWNER)),
  ],
  [
    "a pointer to too little is EFAULT",
    "EFAULT",
    (f) => (f.owner(), f.ioctl(VHOST.SET_VRING_NUM, new Uint8Array(4))),
  ],
  ["status bits can be added", "ok", (f) => (f.status(ACK), f.status(DRIVER))],
  ["status bits cannot be taken away", "EINVAL", (f) => (f.status(DRIVER), f.status(ACK))],
  ["a status of 0 resets", "ok", (f) => (f.status(DRIVER), f.status(0))],
  ["features after FEATURES_OK are EBUSY", "EBUSY", (f) => (f.negotiate(), f.features(...BASIC))],
  ["features without ACCESS_PLATFORM are EINVAL", "EINVAL", (f) => f.features("VERSION_1")],
  ["features not offered are EINVAL", "EINVAL", (f) => f.features(...BASIC, "MQ")],
  [
    "features without what they need are EINVAL",
    "EINVAL",
    (f) => f.features("VERSION_1", "ACCESS_PLATFORM", "CTRL_RX"),
  ],
  [
    "features in words are vhost-net's",
    "ENOTTY ENOTTY",
    (
      f,
    ) => (f.owner(),
      `${f.ioctl(VHOST.GET_FEATURES_ARRAY, words(2))} ${f.ioctl(VHOST.SET_FEATURES_ARRAY, words(1))}`),
  ],
  [
    "what is not known passes for an ioctl of a queue, words for its index",
    "ENOBUFS",
    (f) => (f.owner(), f.ioctl(VHOST.GET_FEATURES_ARRAY, words(3))),
  ],
  [
    "addresses of a running queue are EINVAL",
    "EINVAL",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.address(0, 0, 0, 0)),
  ],
  [
    "the position of a running queue is EINVAL",
    "EINVAL",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.state(VHOST.SET_VRING_BASE, 0, 1)),
  ],
  ["suspended, both are taken", "ok ok", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    return `${f.address(0, 0, 0, 0)} ${f.state(VHOST.SET_VRING_BASE, 0, 1)}`;
  }],
  ["resumed, not any more", "EINVAL", (f) => {
    f.negotiate();
    f.status(DRIVER_OK);
    f.ioctl(VHOST.VDPA_SUSPEND);
    f.ioctl(VHOST.VDPA_RESUME);
    return f.state(VHOST.SET_VRING_BASE, 0, 1);
  }],
  ["a position is 16 bits", "EINVAL", (f) => (f.negotiate(), f.state(VHOST.SET_VRING_BASE, 0, 0x10000))],
  ["the largest position is taken", 0xffff, (f) => {
    f.negotiate();
    f.state(VHOST.SET_VRING_BASE, 0, 0xffff);
    f.state(VHOST.GET_VRING_BASE, 0);
    return f.out;
  }],
  [
    "a misaligned descriptor table is the device's affair",
    "ok",
    (f) => (f.negotiate(), f.address(0, 8, 0, 0)),
  ],
  ["a misaligned available ring is EINVAL", "EINVAL", (f) => (f.negotiate(), f.address(0, 0, 1, 0))],
  ["a misaligned used ring is EINVAL", "EINVAL", (f) => (f.negotiate(), f.address(0, 0, 0, 2))],
  ["a misaligned log is EINVAL", "EINVAL", (f) => (f.negotiate(), f.ioctl(VHOST.SET_VRING_ADDR, logAt(2)))],
  ["an unknown address flag is EOPNOTSUPP", "EOPNOTSUPP", (f) => (f.negotiate(), f.address(0, 0, 0, 0, 2))],
  [
    "a queue size that is no power of two is EINVAL",
    "EINVAL",
    (f) => (f.negotiate(), f.state(VHOST.SET_VRING_NUM, 0, 100)),
  ],
  ["a queue size of 0 is EINVAL", "EINVAL", (f) => (f.negotiate(), f.state(VHOST.SET_VRING_NUM, 0, 0))],
  [
    "a queue size beyond the largest is EINVAL",
    "EINVAL",
    (f) => (f.negotiate(), f.state(VHOST.SET_VRING_NUM, 0, 512)),
  ],
  ["SUSPEND before DRIVER_OK does nothing", "ok", (f) => (f.negotiate(), f.ioctl(VHOST.VDPA_SUSPEND))],
  ["also where it is not supported", "ok", (f) => (f.negotiate(), f.ioctl(VHOST.VDPA_SUSPEND)), vduse],
  ["RESUME before DRIVER_OK does nothing", "ok", (f) => (f.negotiate(), f.ioctl(VHOST.VDPA_RESUME)), vduse],
  [
    "SUSPEND without support is EOPNOTSUPP",
    "EOPNOTSUPP",
    (f) => (f.negotiate(), f.status(DRIVER_OK), f.ioctl(VHOST.VDPA_SUSPEND)),
    vduse,
  ],
  ["a log is not taken", "ENOTTY", (f) => (f.owner(), f.number(VHOST.SET_LOG_BASE))],
  ["nor a file for one, and no owner is asked for", "ENOTTY", (f) => f.number(VHOST.SET_LOG_FD)],
  [
    "a memory table is taken and nothing comes of it",
    "ok ",
    (f) => (f.negotiate(), `${f.ioctl(VHOST.SET_MEM_TABLE, table(64))} ${f.vhostMap(0)}`),
  ],
  ["a memory table needs an owner", "EPERM", (f) => f.ioctl(VHOST.SET_MEM_TABLE, table(1))],
  ["more than 64 regions are E2BIG", "E2BIG", (f) => (f.owner(), f.ioctl(VHOST.SET_MEM_TABLE, table(65)))],
  [
    "a memory table with padding is EOPNOTSUPP",
    "EOPNOTSUPP",
    (f) => (f.owner(), f.ioctl(VHOST.SET_MEM_TABLE, table(1, 40, 1))),
  ],
  [
    "fewer regions than are promised are EFAULT",
    "EFAULT",
    (f) => (f.owner(), f.ioctl(VHOST.SET_MEM_TABLE, table(2, 71))),
  ],
  [
    "a region that wraps is EFAULT",
    "EFAULT",
    (f) => (f.owner(), f.ioctl(VHOST.SET_MEM_TABLE, table(1, 40, 0, 2n ** 64n - 1n, 2n))),
  ],
  ["eventfds for kicks, calls and errors are taken", "ok ok ok", (f) => {
    f.owner();
    const { SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR } = VHOST;
    return [SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR].map((request) => f.state(request, 0, 5)).join(" ");
  }],
  [
    "an eventfd for changes of the configuration is taken",
    "ok",
    (f) => f.number(VHOST.VDPA_SET_CONFIG_CALL, 5),
  ],
  ["how long to poll is kept for each queue", "0 50", (f) => {
    f.owner();
    f.state(VHOST.SET_VRING_BUSYLOOP_TIMEOUT, 1, 50);
    return [0, 1].map((index) => (f.state(VHOST.GET_VRING_BUSYLOOP_TIMEOUT, index), f.out)).join(" ");
  }],
  ["a queue is enabled and disabled", "true false", (f) => {
    f.negotiate();
    return [1, 0].map((ready) => (f.state(VHOST.VDPA_SET_VRING_ENABLE, 0, ready), f.device.get_vq_ready(0)))
      .join(" ");
  }],
  ["the position of a running queue is told, whatever it is worth", 7, (f) => {
    f.negotiate();
    f.state(VHOST.SET_VRING_BASE, 0, 7);
    f.status(DRIVER_OK);
    f.state(VHOST.GET_VRING_BASE, 0);
    return f.out;
  }],
  ["the size of the configuration is told", 24, (f) => (f.number(VHOST.VDPA_GET_CONFIG_SIZE), f.out)],
  ["the configuration is read in pieces", "020000000001", (f) => {
    const argument = config(0, 6);
    f.ioctl(VHOST.VDPA_GET_CONFIG, argument);
    return argument.subarray(vhost_vdpa_config.size).toHex();
  }],
  ["no bytes of configuration are EINVAL", "EINVAL", (f) => f.ioctl(VHOST.VDPA_GET_CONFIG, config(0, 0))],
  ["configuration beyond its end is EINVAL", "EINVAL", (f) => f.ioctl(VHOST.VDPA_GET_CONFIG, config(25, 1))],
  [
    "configuration over its end is EINVAL, too",
    "EINVAL",
    (f) => f.ioctl(VHOST.VDPA_GET_CONFIG, config(20, 5)),
  ],
  ["room for less than is asked is EFAULT", "EFAULT", (f) => f.ioctl(VHOST.VDPA_GET_CONFIG, config(0, 6, 3))],
  [
    "the configuration can be written, to no effect",
    "ok",
    (f) => f.ioctl(VHOST.VDPA_SET_CONFIG, config(0, 6)),
  ],
  ["all addresses can be used if the device does not say", "0000000000000000ffffffffffffffff", (f) => {
    const argument = new Uint8Array(16);
    f.ioctl(VHOST.VDPA_GET_IOVA_RANGE, argument);
    return argument.toHex();
  }],
];

const TABLES: Readonly<Record<string, readonly Row[]>> = {
  "groups (3.2)": groups,
  "SET_GROUP_ASID (3.3)": binding,
  "reset (3.4)": reset,
  "backend features (3.5)": backend,
  "IOTLB messages (3.6)": messages,
  "ioctls (3.7)": ioctls,
};

for (const [table, rows] of Object.entries(TABLES)) {
  for (const [rule, expected, run, options] of rows) {
    Deno.test(`vhost-vdpa, ${table}: ${rule}`, () => {
      assertEquals(run(new Face(options)), expected);
    });
  }
}

Deno.test("vhost-vdpa, groups (3.2): a device without map operations is refused when it is opened", () => {
  const open = () => new Face({ ops: ops({ set_map: undefined, dma_map: undefined }) });
  assertEquals(assertThrows(open, VhostError).code, "EOPNOTSUPP");
});
